"""Calls of a stack's sockets that an event loop waits for: what asyncio's ``loop.sock_…`` methods do."""

from __future__ import annotations

import asyncio
import socket as os_socket
from collections.abc import Callable
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Final, TypeVar

from estab.abi import MSG_DONTWAIT, READ_BITS, WRITE_BITS
from estab.sockets import names
from estab.stack.news import News, runtime_of

if TYPE_CHECKING:
    from estab.realtime.real import RealTime
    from estab.sockets.socket.socket import Socket

__all__ = [
    "resolve", "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom",
    "sock_recvfrom_into", "sock_sendall", "sock_sendfile", "sock_sendto", "until_ready",
]

T = TypeVar("T")

_CHUNK_BYTES: Final = 262_144


async def until_ready(socket: Socket, bits: int) -> None:
    """Wait until one of the POLL ``bits`` holds. ``OSError``: EBADF or ENETDOWN, if socket or stack is closed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if not ready.done() and socket.fd >= 0 and socket.descriptor.readiness() & bits:
            ready.set_result(None)

    def fail(error: OSError) -> None:
        if not ready.done():
            ready.set_exception(error)

    news = News(loop, socket, look, fail)
    try:
        look()
        await ready
    finally:
        news.stop()


async def _attempt(socket: Socket, bits: int, attempt: Callable[[], T]) -> T:
    """Try, and wait for POLL ``bits`` and try again, while the socket says EAGAIN."""
    if asyncio.get_running_loop().get_debug() and socket.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")
    while True:
        try:
            return attempt()
        except (BlockingIOError, InterruptedError):
            await until_ready(socket, bits)


async def sock_recv(socket: Socket, size: int) -> bytes:
    """Receive up to ``size`` bytes."""
    return await _attempt(socket, READ_BITS, partial(socket.recv, size, MSG_DONTWAIT))


async def sock_recv_into(socket: Socket, buffer: Any) -> int:
    """Receive into a buffer. Returns how many bytes."""
    return await _attempt(socket, READ_BITS, partial(socket.recv_into, buffer, 0, MSG_DONTWAIT))


async def sock_recvfrom(socket: Socket, size: int) -> tuple[bytes, Any]:
    """Receive a datagram, and say from whom."""
    return await _attempt(socket, READ_BITS, partial(socket.recvfrom, size, MSG_DONTWAIT))


async def sock_recvfrom_into(socket: Socket, buffer: Any, size: int = 0) -> tuple[int, Any]:
    """Receive a datagram into a buffer. Returns how many bytes, and from whom."""
    return await _attempt(socket, READ_BITS, partial(socket.recvfrom_into, buffer, size or len(buffer), MSG_DONTWAIT))


async def sock_sendall(socket: Socket, data: Any) -> None:
    """Send all."""
    view = memoryview(data).cast("B")
    at = 0
    while at < len(view):
        at += await _attempt(socket, WRITE_BITS, partial(socket.send, view[at:], MSG_DONTWAIT))


async def sock_sendto(socket: Socket, data: Any, address: Any) -> int:
    """Send a datagram."""
    return await _attempt(socket, WRITE_BITS, partial(socket.sendto, data, MSG_DONTWAIT, address))


async def sock_accept(socket: Socket) -> tuple[os_socket.socket, Any]:
    """Take a connection: a socket that does not block, and the peer's address."""
    made, address = await _attempt(socket, READ_BITS, socket.accept)
    made.setblocking(False)
    return made, address


async def sock_connect(socket: Socket, address: Any) -> None:
    """Connect. A host's name is looked up, and its first address is taken."""
    if socket.family in (os_socket.AF_INET, os_socket.AF_INET6) and isinstance(address, tuple):
        found = await resolve(runtime_of(socket), address[0], address[1], int(socket.family), int(socket.type))
        if len(address) == 2 or len(found[0][4]) == 2:
            address = found[0][4]
    try:
        socket.connect(address)
    except (BlockingIOError, InterruptedError):
        await until_ready(socket, WRITE_BITS)
        socket.connect(address)


async def sock_sendfile(socket: Socket, file: Any, offset: int = 0, count: int | None = None) -> int:
    """Send a file from ``offset`` on, up to ``count`` bytes. Returns how many."""
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if socket.type != os_socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None and index(count) <= 0:
        raise ValueError(f"count must be a positive integer (got {count!r})")
    if index(offset) < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")
    loop = asyncio.get_running_loop()
    if offset:
        file.seek(offset)
    sent = 0
    try:
        while count is None or sent < count:
            size = _CHUNK_BYTES if count is None else min(_CHUNK_BYTES, count - sent)
            data = await loop.run_in_executor(None, file.read, size)
            if not data:
                break
            await sock_sendall(socket, data)
            sent += len(data)
        return sent
    finally:
        if sent and hasattr(file, "seek"):
            file.seek(offset + sent)


async def resolve(runtime: RealTime, host: Any, port: Any, family: int, kind: int = os_socket.SOCK_STREAM,
                  proto: int = 0, flags: int = 0) -> list[names.AddrInfo]:
    """Look a name up: at once if no server has to be asked, else in a thread."""
    try:
        return names.getaddrinfo(runtime, host, port, family, kind, proto,
                                 flags | (os_socket.AI_NUMERICHOST if host else 0))
    except os_socket.gaierror:
        look_up = partial(names.getaddrinfo, runtime, host, port, family, kind, proto, flags)
        return await asyncio.get_running_loop().run_in_executor(None, look_up)
