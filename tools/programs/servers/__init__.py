"""Servers of protocols whose real servers are too large, or no Python: small, and true to what clients ask."""
