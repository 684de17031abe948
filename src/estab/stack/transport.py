"""A TCP connection of a stack as an asyncio transport, for the user's own event loop.

``connection_lost(None)`` says more than with the operating system's sockets: all that was written has been acknowledged
by the peer, and so has the FIN. After ``abort`` it comes at once.
"""

from __future__ import annotations

import asyncio
import socket as os_socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from estab.abi import MSG_DONTWAIT, POLLERR, POLLOUT, READ_BITS
from estab.sockets.socket.socket import Socket
from estab.stack.delivery import Delivery, close_delivered
from estab.stack.news import News

__all__ = ["StreamTransport", "peer_of"]

_READ_BYTES: Final = 262_144
_HIGH_BYTES: Final = 65_536
_ERRORS: Final = (BlockingIOError, InterruptedError)


class StreamTransport(asyncio.Transport):
    """A TCP connection of a stack as an asyncio transport. ``on_lost`` is called when it is over."""

    _start_tls_compatible = True  # what asyncio's start_tls asks for

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, protocol: asyncio.BaseProtocol,
                 on_made: Callable[[], object] | None = None, on_lost: Callable[[], object] | None = None) -> None:
        super().__init__({
            "socket": socket, "sockname": socket.getsockname(), "peername": peer_of(socket),
        })
        socket.setsockopt(os_socket.IPPROTO_TCP, os_socket.TCP_NODELAY, 1)  # as asyncio does
        self._loop = loop
        self._socket = socket
        self._protocol = protocol
        self._on_made = on_made
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._is_protocol_paused = False
        self._is_paused = False
        self._is_closing = False
        self._is_eof_wanted = False
        self._is_eof_read = False
        self._is_lost = False
        self._delivery: Delivery | None = None
        self._drained: list[asyncio.Future[None]] = []
        self._news = News(loop, socket, self._on_news, self._lose, self.get_write_buffer_size)
        loop.call_soon(self._start)

    def _start(self) -> None:
        try:
            self._protocol.connection_made(self)
        finally:
            self._news.schedule()
            if self._on_made is not None:
                self._on_made()

    def __repr__(self) -> str:
        state = "closed" if self._is_lost else "closing" if self._is_closing else "open"
        return f"<StreamTransport {state} {self._socket!r}, {len(self._buffer)} bytes to write>"

    # --- reading

    def is_reading(self) -> bool:
        """Tell whether the protocol is given what comes."""
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

    async def wait_low(self) -> None:
        """Wait until no more than the low mark waits here. ``ConnectionError`` if the connection ends before."""
        if self._is_lost:
            raise ConnectionResetError("Connection lost")
        if len(self._buffer) > self._low:
            drained: asyncio.Future[None] = self._loop.create_future()
            self._drained.append(drained)
            await drained

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
            self._finish()

    def abort(self) -> None:
        """Close at once, with a reset. What is on its way after ``close`` is left to TCP."""
        if self._delivery is not None:
            self._delivery.stop()
            self._delivery = None
            self._loop.call_soon(self._end, None)
        if not self._is_lost and self._socket.fd >= 0:
            self._socket.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._lose(None)

    def _force_close(self, error: Exception | None) -> None:
        """Close at once because of an error, as asyncio's TLS asks its transport to."""
        self._lose(error)

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
        if data:
            self._give(data)
            if not self._is_lost and self._readiness() & READ_BITS:
                self._news.schedule()
            return
        self._is_eof_read = True
        if not self._tell_eof():
            self.close()

    def _give(self, data: bytes) -> None:
        """Return the protocol what came. If it raises, that is told and the connection ends, as with asyncio's own."""
        protocol = self._protocol
        try:
            if isinstance(protocol, asyncio.BufferedProtocol):
                _fill(protocol, data)
            elif isinstance(protocol, asyncio.Protocol):
                protocol.data_received(data)
        except Exception as error:
            self._fail(error, "protocol.data_received() failed")

    def _tell_eof(self) -> bool:
        """Tell the protocol of the end of the stream. Returns whether it wants to keep the other direction."""
        protocol = self._protocol
        if not isinstance(protocol, (asyncio.Protocol, asyncio.BufferedProtocol)):
            return False
        try:
            return bool(protocol.eof_received())
        except Exception as error:
            self._fail(error, "protocol.eof_received() failed")
            return True

    def _fail(self, error: Exception, what: str) -> None:
        self._loop.call_exception_handler({
            "message": what, "exception": error, "transport": self, "protocol": self._protocol,
        })
        self._lose(error)

    def _write_more(self) -> None:
        sent = self._socket.send(self._buffer, MSG_DONTWAIT)
        del self._buffer[:sent]
        if len(self._buffer) <= self._low:
            _settle_all(self._drained, None)
            if self._is_protocol_paused:
                self._is_protocol_paused = False
                self._protocol.resume_writing()
        if not self._buffer:
            if self._is_closing:
                self._finish()
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

    def _finish(self) -> None:
        """Close the socket, all being sent, and tell the protocol once all is acknowledged."""
        if not self._is_lost:
            self._is_lost = True
            self._news.stop()
            self._delivery = close_delivered(self._loop, self._socket, self._end)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = self._is_closing = True
            self._buffer.clear()
            self._news.stop()
            self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        _settle_all(self._drained, error or ConnectionResetError("Connection lost"))
        try:
            self._protocol.connection_lost(error)
        finally:
            self._delivery = None
            self._socket.close()
            if self._on_lost is not None:
                self._on_lost()


def peer_of(socket: Socket) -> Any:
    """Return a socket's peer, ``None`` if it has none."""
    try:
        return socket.getpeername()
    except OSError:
        return None


def _settle_all(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in waiting:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
    waiting.clear()


def _fill(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Return data to a protocol that has buffers of its own."""
    view = memoryview(data)
    while view:
        buffer = memoryview(protocol.get_buffer(len(view))).cast("B")
        size = min(len(buffer), len(view))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
