"""The three services that every stack is tried with: echo (RFC 862), discard (RFC 863), chargen (RFC 864)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.host.sockets.stream import StreamSocket
from estab.serve.services import ENDS_MAX, Service
from estab.tcp.connection import Connection

__all__ = ["PATTERN", "Chargen", "Discard", "Echo"]

READ_BYTES: Final = 262_144
_SMALL_BYTES: Final = 2048


class Echo(Service):
    """Sends back every byte. While the peer does not take its own bytes back, no more are read from it."""

    def __init__(self, ends_max: i64 = ENDS_MAX) -> None:
        super().__init__("echo", ends_max)
        self.has_deadlines = False
        self.wants_opening = False

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Send back what came."""
        connection = end.connection
        if connection is None or _is_over(connection):
            self.close(end, now_ns)
            return
        if connection.state == abi.SYN_RECEIVED:
            return  # text can be here already (Fast Open), but none can be sent yet
        while (unread := connection.unread_bytes()) > 0:
            size = unread
            if size > _SMALL_BYTES:  # what is written whole is not copied
                size = min(connection.room(), READ_BYTES)
                if size <= 0:
                    break
            # What is written is what there was room for; only that much is taken from what was received.
            count = connection.write(connection.read(size, is_peek=True, now_ns=now_ns), now_ns)
            if count == 0:
                break
            if count == unread:
                connection.discard(now_ns)
            else:
                connection.read(count, is_peek=False, now_ns=now_ns)
        if connection.is_eof():
            self.close(end, now_ns)
        else:
            end.demux.touch(connection)


class Discard(Service):
    """Reads and forgets; closes when the peer does."""

    def __init__(self, ends_max: i64 = ENDS_MAX) -> None:
        super().__init__("discard", ends_max)
        self.has_deadlines = False
        self.wants_opening = False

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Drop what came."""
        connection = end.connection
        if connection is None or _is_over(connection):
            self.close(end, now_ns)
            return
        connection.discard(now_ns)
        if connection.is_eof():
            self.close(end, now_ns)
        else:
            end.demux.touch(connection)


def _pattern() -> bytes:
    """Write RFC 864's lines: 72 of the 95 printing characters, each line begins one later than the one before."""
    ring = bytes(range(32, 127))
    return b"".join((ring[first:] + ring)[:72] + b"\r\n" for first in range(95))


PATTERN: Final = _pattern()
"""All of chargen's text: from here on it repeats."""
_PERIOD: Final = 7030
_BLOCK: Final = 77_330
"""A multiple of the period: from any place of the first period on it holds what a super-segment does."""


class Chargen(Service):
    """Sends RFC 864's pattern for as long as the peer takes it. What the peer says is read and forgotten."""

    def __init__(self, ends_max: i64 = ENDS_MAX) -> None:
        super().__init__("chargen", ends_max)
        self.has_deadlines = False
        self._block: bytes = PATTERN * (_BLOCK // _PERIOD)

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Fill the send buffer."""
        connection = end.connection
        if connection is None or _is_over(connection):
            self.close(end, now_ns)
            return
        connection.discard(now_ns)
        if connection.is_eof():
            self.close(end, now_ns)
            return
        end.demux.touch(connection)
        while connection.state != abi.SYN_RECEIVED and connection.is_writable():
            count = min(connection.room(), connection.write_goal(), _BLOCK - _PERIOD)
            at = (connection.snd_nxt - connection.iss - 1 + connection.unsent_bytes()) % _PERIOD
            if connection.write_kept(self._block, at, at + count, now_ns) == 0:
                break


def _is_over(connection: Connection) -> bool:
    """Tell whether nothing more can be sent: the peer reset it, or it failed."""
    return connection.error != 0 or connection.state == abi.CLOSED or connection.state == abi.TIME_WAIT
