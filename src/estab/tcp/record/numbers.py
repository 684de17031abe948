"""Numbers that mean the same everywhere in TCP."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

__all__ = ["BACKOFFS_MAX", "DEFAULT_MSS_BYTES", "DEFAULT_MSS_BYTES_V6", "NO_SEQ", "default_mss_bytes"]

BACKOFFS_MAX: Final = 30
"""A timeout is not doubled more often: it reaches its limit long before, and after 33 times an i64 wraps."""
NO_SEQ: Final = -1
"""Stands for no sequence number."""
DEFAULT_MSS_BYTES: Final = 536
"""The MSS of a peer that named none: the least IPv4 packet less 40 octets of headers (RFC 9293 MUST-15)."""
DEFAULT_MSS_BYTES_V6: Final = 1220
"""The same over IPv6, whose least MTU is 1280 octets."""


def default_mss_bytes(remote: bytes) -> i64:
    """Return the MSS of a peer at ``remote`` that named none (RFC 9293 section 3.7.1)."""
    return DEFAULT_MSS_BYTES_V6 if len(remote) == 16 else DEFAULT_MSS_BYTES
