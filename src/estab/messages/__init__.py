"""Messages over any byte stream: frames, heartbeats, release on close.

It needs only Python and knows no stack: it works on estab's sockets, the operating system's, and the streams of
asyncio, trio and anyio. (``AnyioChannel`` needs anyio, and is imported when it is first used.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estab.messages.asyncio_channel import AsyncioChannel
from estab.messages.asyncio_serving import AsyncioServer, serve_asyncio
from estab.messages.channel import Channel
from estab.messages.close_wait import CloseWaitWatch, Stuck, process_rows
from estab.messages.exchange import EndOfStreamError
from estab.messages.facts import SocketFacts, socket_facts
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
from estab.messages.heartbeat import Heartbeat, PeerLostError, Pulse
from estab.messages.release import AsyncioReaper, Drained, Reaper
from estab.messages.serving import Server, Stopped, serve

if TYPE_CHECKING:
    from estab.messages.anyio_channel import AnyioChannel

__all__ = [
    "COBS", "AnyioChannel", "AsyncioChannel", "AsyncioReaper", "AsyncioServer", "Buffer", "Channel", "CloseWaitWatch",
    "Codec", "Delimited", "Drained", "EndOfStreamError", "FixedSize", "FrameError", "FrameFault", "Heartbeat",
    "LengthPrefixed", "Netstring", "PeerLostError", "Pulse", "Reaper", "Server", "SocketFacts", "Stopped", "Stuck",
    "VarintPrefixed", "process_rows", "serve", "serve_asyncio", "socket_facts",
]


def __getattr__(name: str) -> object:
    if name == "AnyioChannel":
        from estab.messages.anyio_channel import AnyioChannel

        return AnyioChannel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
