"""Frames, heartbeats and release on close, over any byte stream. Knows no stack."""
