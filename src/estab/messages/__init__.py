"""Messages over any byte stream: frames, heartbeats, release on close.

Stands on nothing but Python and knows no stack: estab's sockets, the operating system's, asyncio's, trio's and anyio's
streams are all the same to it.
"""

from __future__ import annotations

from estab.messages.framing import (
    COBS,
    Buffer,
    Codec,
    Delimited,
    FixedSize,
    FrameError,
    FrameFault,
    LengthPrefixed,
    Netstring,
    VarintPrefixed,
)

__all__ = [
    "COBS", "Buffer", "Codec", "Delimited", "FixedSize", "FrameError", "FrameFault", "LengthPrefixed", "Netstring",
    "VarintPrefixed",
]
