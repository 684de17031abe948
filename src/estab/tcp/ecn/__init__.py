"""Explicit congestion notification: classic (RFC 3168) and accurate (RFC 9768)."""
