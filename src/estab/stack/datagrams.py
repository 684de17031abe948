"""A UDP socket of a stack as an asyncio transport."""

from __future__ import annotations

import asyncio
import socket as os_socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estab.abi import MSG_DONTWAIT, POLLIN, POLLOUT
from estab.sockets.socket.socket import Socket
from estab.stack.arguments import check_socket
from estab.stack.news import News
from estab.stack.transport import peer_of
from estab.stack.waiting import resolve, sock_connect

if TYPE_CHECKING:
    from estab.realtime.real import RealTime

__all__ = ["DatagramTransport", "create_datagram_endpoint"]

_READ_BYTES: Final = 65_536
_READS_PER_NEWS: Final = 64
_HIGH_BYTES: Final = 65_536


class DatagramTransport(asyncio.DatagramTransport):
    """A UDP socket of a stack as an asyncio transport."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, protocol: asyncio.BaseProtocol,
                 address: Any, on_made: Callable[[], object]) -> None:
        super().__init__({
            "socket": socket, "sockname": socket.getsockname(), "peername": peer_of(socket) or address,
        })
        self._loop = loop
        self._socket = socket
        self._protocol: Any = protocol
        self._address = address
        self._is_connected = peer_of(socket) is not None
        self._on_made = on_made
        self._buffer: deque[tuple[bytes, Any]] = deque()
        self._buffer_bytes = 0
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._is_paused = False
        self._is_closing = False
        self._is_lost = False
        self._news = News(loop, socket, self._on_news, self._lose, self.get_write_buffer_size)
        loop.call_soon(self._start)

    def _start(self) -> None:
        try:
            self._protocol.connection_made(self)
        finally:
            self._news.schedule()
            self._on_made()

    # --- writing

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram, to ``addr`` or the remote address. What there is no room for now waits."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._address:
            if addr not in (None, self._address):
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        if self._is_lost:
            return
        if self._buffer or not self._put(bytes(data), addr):
            self._buffer.append((bytes(data), addr))
            self._buffer_bytes += len(data)
            if self._buffer_bytes > self._high and not self._is_paused:
                self._is_paused = True
                self._protocol.pause_writing()

    def _put(self, data: bytes, address: Any) -> bool:
        """Send. ``False`` if there is no room; the protocol is told of errors."""
        try:
            if self._is_connected:
                self._socket.send(data, MSG_DONTWAIT)
            else:
                self._socket.sendto(data, MSG_DONTWAIT, address)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._protocol.error_received(error)
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here."""
        return self._buffer_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks, low and high, between which the protocol is resumed and paused."""
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

    # --- closing

    def is_closing(self) -> bool:
        """Tell whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close once all is sent. Nothing more is received."""
        if not self._is_closing:
            self._is_closing = True
            if not self._buffer:
                self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._lose(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is told."""
        return self._protocol  # type: ignore[no-any-return]

    # --- inside

    def _on_news(self) -> None:
        while self._buffer and self._put(*self._buffer[0]):
            self._buffer_bytes -= len(self._buffer.popleft()[0])
        if self._is_paused and self._buffer_bytes <= self._low:
            self._is_paused = False
            self._protocol.resume_writing()
        if self._is_closing and not self._buffer:
            self._lose(None)
            return
        for _ in range(_READS_PER_NEWS):
            if self._is_closing:
                return
            try:
                data, address = self._socket.recvfrom(_READ_BYTES, MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._protocol.error_received(error)
            else:
                self._protocol.datagram_received(data, address)
        if not self._is_lost and self._socket.descriptor.readiness() & (POLLIN | (POLLOUT if self._buffer else 0)):
            self._news.schedule()

    def _lose(self, error: OSError | None) -> None:
        if not self._is_lost:
            self._is_lost = self._is_closing = True
            self._buffer.clear()
            self._buffer_bytes = 0
            self._news.stop()
            self._loop.call_soon(self._end, error)

    def _end(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._socket.close()


async def create_datagram_endpoint(
    runtime: RealTime, factory: Callable[[], asyncio.BaseProtocol], local_addr: Any = None, remote_addr: Any = None, *,
    family: int = 0, proto: int = 0, flags: int = 0, reuse_port: bool | None = None,
    allow_broadcast: bool | None = None, sock: os_socket.socket | None = None,
) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
    """Open a UDP socket, and return transport and protocol."""
    if sock is not None:
        socket, address = check_socket(sock, os_socket.SOCK_DGRAM, "UDP"), None
        given = {"local_addr": local_addr, "remote_addr": remote_addr, "family": family, "proto": proto,
                 "flags": flags, "reuse_port": reuse_port, "allow_broadcast": allow_broadcast}
        if any(given.values()):
            problems = ", ".join(f"{name}={value}" for name, value in given.items() if value)
            raise ValueError(f"socket modifier keyword arguments can not be used when sock is specified. ({problems})")
        socket.setblocking(False)
    else:
        socket, address = await _open(runtime, local_addr, remote_addr, (family, proto, flags),
                                      (bool(reuse_port), bool(allow_broadcast)))
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    protocol = factory()

    def settle() -> None:
        if not ready.done():
            ready.set_result(None)

    transport = DatagramTransport(loop, socket, protocol, address, settle)
    try:
        await ready
    except BaseException:
        transport.close()
        raise
    return transport, protocol


async def _open(runtime: RealTime, local_addr: Any, remote_addr: Any, kind: tuple[int, int, int],
                modes: tuple[bool, bool]) -> tuple[Socket, Any]:
    """Make a socket for the first pair of addresses that can be had. Returns it and the remote address."""
    reuses_port, is_broadcast = modes
    errors: list[OSError] = []
    for family, proto, local, remote in await _pairs(runtime, local_addr, remote_addr, kind):
        socket = Socket(family, os_socket.SOCK_DGRAM, proto, runtime=runtime)
        try:
            if reuses_port:
                socket.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_REUSEPORT, 1)
            if is_broadcast:
                socket.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_BROADCAST, 1)
            socket.setblocking(False)
            if local is not None:
                socket.bind(local)
            if remote is not None and not is_broadcast:
                await sock_connect(socket, remote)
        except OSError as error:
            socket.close()
            errors.append(error)
        except BaseException:
            socket.close()
            raise
        else:
            return socket, remote
    raise errors[0]


async def _pairs(runtime: RealTime, local_addr: Any, remote_addr: Any,
                 kind: tuple[int, int, int]) -> list[tuple[int, int, Any, Any]]:
    """Return family, protocol, local and remote address of each way in which both addresses can be had."""
    family, proto, flags = kind
    if not (local_addr or remote_addr):
        if family == 0:
            raise ValueError("unexpected address family")
        return [(family, proto, None, None)]
    found: dict[tuple[int, int], list[Any]] = {}
    for place, address in enumerate((local_addr, remote_addr)):
        if address is None:
            continue
        if not (isinstance(address, tuple) and len(address) == 2):
            raise TypeError("2-tuple is expected")
        for info in await resolve(runtime, *address, family, os_socket.SOCK_DGRAM, proto, flags):
            found.setdefault((info[0], info[2]), [None, None])[place] = info[4]
    pairs = [(*key, *pair) for key, pair in found.items()
             if not ((local_addr and pair[0] is None) or (remote_addr and pair[1] is None))]
    if not pairs:
        raise ValueError("can not get address information")
    return pairs
