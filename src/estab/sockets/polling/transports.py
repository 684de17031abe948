"""What asyncio makes of a connection of ours: its own transport for a TCP socket, with fewer steps to make and end one.

- ``new_transport`` does what ``_make_socket_transport`` of asyncio's selector event loop does.
- Its transports are of a class derived from asyncio's, with the same attributes. What is written here does what three
  constructors of asyncio do, in their order, on CPython 3.11; other versions use their own.

Only ``estab.cpython``, ``callbacks`` and this file use what CPython keeps for itself.
"""

from __future__ import annotations

import sys
from asyncio import BufferedProtocol
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY
from typing import Any, Final

from estab.cpython import SocketTransport, TransportSocket, make_transport, set_result_unless_cancelled

__all__ = ["IS_KNOWN", "new_transport"]

IS_KNOWN: Final = sys.version_info[:2] == (3, 11)
"""Whether this CPython's asyncio is the one that was read."""
_HIGH_WATER: Final = 64 * 1024
_LOW_WATER: Final = 16 * 1024
_FAMILIES: Final = (AF_INET, AF_INET6)


class _Transport(SocketTransport):
    """One that is made in one step."""

    def __init__(self, loop: Any, sock: Any, protocol: Any, waiter: Any, extra: Any, server: Any) -> None:
        self._read_ready_cb = None
        self._extra = extra = {} if extra is None else extra
        self._loop = loop
        self._protocol_paused = False
        self._high_water = _HIGH_WATER
        self._low_water = _LOW_WATER
        extra["socket"] = TransportSocket(sock)
        try:
            extra["sockname"] = sock.getsockname()
        except OSError:
            extra["sockname"] = None
        if "peername" not in extra:
            try:
                extra["peername"] = sock.getpeername()
            except OSError:
                extra["peername"] = None
        self._sock = sock
        self._sock_fd = number = sock.fileno()
        self._read_ready_cb = (
            self._read_ready__get_buffer if isinstance(protocol, BufferedProtocol) else self._read_ready__data_received)
        self._protocol = protocol
        self._protocol_connected = True
        self._server = server
        self._buffer = bytearray()
        self._conn_lost = 0
        self._closing = self._paused = False
        if server is not None:
            server._attach()
        loop._transports[number] = self
        self._eof = False
        self._empty_waiter = None
        if sock.proto == IPPROTO_TCP and sock.type == SOCK_STREAM and sock.family in _FAMILIES:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        call_soon = loop.call_soon
        call_soon(protocol.connection_made, self)
        call_soon(self._add_reader, number, self._read_ready)
        if waiter is not None:
            call_soon(set_result_unless_cancelled, waiter, None)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            if self._protocol_connected:
                self._protocol.connection_lost(exc)
        finally:
            self._sock.close()
            self._sock = self._protocol = self._loop = None
            server = self._server
            if server is not None:
                server._detach()
                self._server = None
        waiter: Any = self._empty_waiter
        if waiter is not None:
            waiter.set_exception(ConnectionError("Connection is closed by peer"))
        self._read_ready_cb = None


_Transport.__name__ = _Transport.__qualname__ = SocketTransport.__name__  # its repr, in logs
_Transport._call_connection_lost.__qualname__ = f"{SocketTransport.__name__}._call_connection_lost"
new_transport: Final[Any] = _Transport if IS_KNOWN else make_transport
