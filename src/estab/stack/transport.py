"""asyncio transports over sockets of a stack, for the user's own event loop.

The loop knows nothing of the stack: if a socket has news, the thread that runs the engine makes the loop call the
transport.
"""

from __future__ import annotations

import asyncio
import socket as os_socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from estab.abi import MSG_DONTWAIT, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP
from estab.cpython import get_ident
from estab.sockets.socket.socket import Socket

__all__ = ["News", "StreamTransport"]

_READ: Final = POLLIN | POLLRDHUP | POLLHUP | POLLERR
_READ_BYTES: Final = 262_144
_HIGH_BYTES: Final = 65_536
_ERRORS: Final = (BlockingIOError, InterruptedError)


class News:
    """Makes a loop call a function, once for any amount of news of one socket. Any thread may report news."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, call: Callable[[], None]) -> None:
        self._loop = loop
        self._ident = get_ident()
        self._call = call
        self._is_scheduled = False
        self._watches = socket.runtime.watches
        self._fd = socket.fd
        self._watches.add(self._fd, self)

    def on_ready(self, fd: int, bits: int) -> None:
        """Begin to receive the socket's news."""
        if not bits & POLLNVAL:
            self.schedule()

    def schedule(self) -> None:
        """Call the function soon, in the loop."""
        if self._is_scheduled:
            return
        self._is_scheduled = True
        if get_ident() == self._ident:
            self._loop.call_soon(self._run)
            return
        try:
            self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:
            self._is_scheduled = False  # the loop was closed

    def stop(self) -> None:
        """Receive no more news."""
        self._watches.remove(self._fd, self)
        self._call = _nothing

    def _run(self) -> None:
        self._is_scheduled = False
        self._call()


class StreamTransport(asyncio.Transport):
    """A TCP connection of a stack as an asyncio transport."""

    _start_tls_compatible = True  # what asyncio's start_tls asks for

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({
            "socket": socket, "sockname": socket.getsockname(), "peername": _peer_of(socket),
        })
        self._loop = loop
        self._socket = socket
        self._protocol = protocol
        self._buffer = bytearray()
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._is_protocol_paused = False
        self._is_paused = False
        self._is_closing = False
        self._is_eof_wanted = False
        self._is_eof_read = False
        self._is_lost = False
        self._news = News(loop, socket, self._on_news)
        loop.call_soon(self._start)

    def _start(self) -> None:
        self._protocol.connection_made(self)
        self._news.schedule()

    # --- reading

    def is_reading(self) -> bool:
        """Tell whether the protocol gets what arrives."""
        return not self._is_paused and not self._is_closing

    def pause_reading(self) -> None:
        """Deliver nothing to the protocol for now; the peer's window closes as the buffer fills."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Deliver to the protocol again."""
        if self._is_paused and not self._is_closing:
            self._is_paused = False
            self._news.schedule()

    # --- writing

    def write(self, data: Any) -> None:
        """Send, or keep what the send buffer has no room for."""
        if self._is_eof_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")
        view = memoryview(data).cast("B")
        if not len(view) or self._is_lost:
            return
        at = 0
        if not self._buffer:
            try:
                at = self._socket.send(view, MSG_DONTWAIT)
            except _ERRORS:
                at = 0
            except OSError as error:
                self._lose(error)
                return
        if at < len(view):
            self._buffer += view[at:]
            self._pause_protocol()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """End sending once all is sent."""
        if self._is_closing or self._is_eof_wanted:
            return
        self._is_eof_wanted = True
        if not self._buffer:
            self._shut()

    def can_write_eof(self) -> bool:
        """Tell that TCP can end one direction."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks, low and high, at which the protocol is resumed and paused."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set those marks."""
        if high is None:
            high = _HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_protocol()

    # --- closing

    def is_closing(self) -> bool:
        """Tell whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close once all is sent. Nothing more is read."""
        if self._is_closing:
            return
        self._is_closing = True
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once, with a reset if something was not sent."""
        if not self._is_lost and self._socket.fd >= 0:
            self._socket.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._lose(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Deliver to another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol to which this delivers."""
        return self._protocol

    # --- inside

    def _on_news(self) -> None:
        try:
            if self._buffer:
                self._write_more()
            # Once for each report, so that connections share a loop fairly; if there is more, it is reported again.
            if not self._is_lost and not self._is_paused and not self._is_closing and not self._is_eof_read:
                self._read()
            elif not self._is_lost and self._readiness() & POLLERR:
                self._socket.recv(1, MSG_DONTWAIT)
        except _ERRORS:
            return
        except OSError as error:
            self._lose(error)

    def _readiness(self) -> int:
        return self._socket.descriptor.readiness() if self._socket.fd >= 0 else 0

    def _read(self) -> None:
        data = self._socket.recv(_READ_BYTES)
        protocol = self._protocol
        if data:
            if isinstance(protocol, asyncio.BufferedProtocol):
                _fill(protocol, data)
            elif isinstance(protocol, asyncio.Protocol):
                protocol.data_received(data)
            if not self._is_lost and self._readiness() & _READ:
                self._news.schedule()
            return
        self._is_eof_read = True
        if not isinstance(protocol, (asyncio.Protocol, asyncio.BufferedProtocol)) or not protocol.eof_received():
            self.close()

    def _write_more(self) -> None:
        sent = self._socket.send(self._buffer, MSG_DONTWAIT)
        del self._buffer[:sent]
        if self._is_protocol_paused and len(self._buffer) <= self._low:
            self._is_protocol_paused = False
            self._protocol.resume_writing()
        if not self._buffer:
            if self._is_closing:
                self._lose(None)
            elif self._is_eof_wanted:
                self._shut()
        elif self._readiness() & POLLOUT:
            self._news.schedule()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(os_socket.SHUT_WR)
        except OSError as error:
            self._lose(error)

    def _pause_protocol(self) -> None:
        if len(self._buffer) > self._high and not self._is_protocol_paused:
            self._is_protocol_paused = True
            self._protocol.pause_writing()

    def _lose(self, error: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._buffer.clear()
        self._news.stop()
        self._loop.call_soon(self._end, error)

    def _end(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._socket.close()


def _fill(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Deliver data to a protocol that has buffers of its own."""
    view = memoryview(data)
    while view:
        buffer = memoryview(protocol.get_buffer(len(view))).cast("B")
        size = min(len(buffer), len(view))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]


def _peer_of(socket: Socket) -> Any:
    try:
        return socket.getpeername()
    except OSError:
        return None


def _nothing() -> None: ...
