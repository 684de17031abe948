"""Connections and servers of a stack in the user's own event loop: what asyncio's functions of these names do."""

from __future__ import annotations

import asyncio
import errno
import socket as os_socket
import ssl as os_ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from estab.abi import POLLERR, POLLHUP, POLLOUT
from estab.cpython import app_transport
from estab.errors import os_error
from estab.sockets import names
from estab.sockets.socket.socket import Socket
from estab.stack.transport import News, StreamTransport

if TYPE_CHECKING:
    from estab.realtime.real import RealTime

__all__ = ["Server", "create_connection", "create_server", "open_connection", "start_server"]

_CONNECTED: Final = POLLOUT | POLLHUP | POLLERR
_LIMIT: Final = 2**16
_ACCEPTS_PER_NEWS: Final = 64

ClientCallback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


async def connect(runtime: RealTime, host: str, port: int, family: int, local_addr: tuple[str, int] | None) -> Socket:
    """Connect to the first address of a name that accepts. If none does, the last error is raised."""
    loop = asyncio.get_running_loop()
    found = await resolve(runtime, host, port, family)
    failure: OSError | None = None
    for version, _, _, _, address in found:
        socket = Socket(version, os_socket.SOCK_STREAM, runtime=runtime)
        try:
            socket.setblocking(False)
            if local_addr is not None:
                socket.bind(local_addr)
            await _connect_one(loop, socket, address)
        except OSError as error:
            socket.close()
            failure = error
        except BaseException:
            socket.close()
            raise
        else:
            return socket
    raise failure if failure is not None else os_error(errno.EADDRNOTAVAIL, f"{host!r} has no address")


async def resolve(runtime: RealTime, host: str | None, port: int, family: int, flags: int = 0) -> list[Any]:
    """Look a name up: at once if no server has to be asked, else in a thread."""
    try:
        return list(names.getaddrinfo(runtime, host, port, family, os_socket.SOCK_STREAM, 0,
                                      flags | (os_socket.AI_NUMERICHOST if host else 0)))
    except os_socket.gaierror:
        loop = asyncio.get_running_loop()
        look_up = lambda: names.getaddrinfo(runtime, host, port, family, os_socket.SOCK_STREAM, 0, flags)  # noqa: E731
        return list(await loop.run_in_executor(None, look_up))


async def _connect_one(loop: asyncio.AbstractEventLoop, socket: Socket, address: Any) -> None:
    number = socket.connect_ex(address)
    if number == 0:
        return
    if number != errno.EINPROGRESS:
        socket.connect(address)
        return
    done: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if socket.descriptor.readiness() & _CONNECTED and not done.done():
            done.set_result(None)

    news = News(loop, socket, look)
    try:
        await done
    finally:
        news.stop()
    socket.connect(address)


async def create_connection(runtime: RealTime, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *,
                            ssl: os_ssl.SSLContext | bool | None = None, server_hostname: str | None = None,
                            family: int = 0, local_addr: tuple[str, int] | None = None,
                            ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect, over TLS with an ``ssl`` context, and return transport and protocol."""
    loop = asyncio.get_running_loop()
    socket = await connect(runtime, host, port, family, local_addr)
    protocol = factory()
    ready: asyncio.Future[None] = loop.create_future()
    if ssl:
        context = os_ssl.create_default_context() if ssl is True else ssl
        tls = sslproto.SSLProtocol(loop, protocol, context, ready, False, server_hostname or host)
        transport = StreamTransport(loop, socket, tls)
        try:
            await ready
        except BaseException:
            transport.close()
            raise
        return app_transport(tls), protocol
    transport = StreamTransport(loop, socket, protocol)
    loop.call_soon(_settle, ready)
    await ready
    return transport, protocol


async def open_connection(runtime: RealTime, host: str, port: int, *, limit: int = _LIMIT,
                          **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and return reader and writer."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(runtime, lambda: protocol, host, port, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class Server(asyncio.AbstractServer):
    """A listening socket whose connections are given protocols."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: list[Socket],
                 factory: Callable[[], asyncio.BaseProtocol], ssl: os_ssl.SSLContext | None) -> None:
        self._loop = loop
        self._listeners = listeners
        self._factory = factory
        self._ssl = ssl
        self._news = [News(loop, listener, self._accept) for listener in listeners]
        self._closed: asyncio.Future[None] = loop.create_future()

    @property
    def sockets(self) -> tuple[Socket, ...]:
        """The listening sockets; none once closed."""
        return tuple(self._listeners)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that it runs in."""
        return self._loop

    def is_serving(self) -> bool:
        """Tell whether it takes connections."""
        return bool(self._listeners)

    async def start_serving(self) -> None:
        """Do nothing: it serves from its start on."""

    async def serve_forever(self) -> None:
        """Wait until it is closed; close it if the wait is cancelled."""
        try:
            await asyncio.shield(self._closed)
        finally:
            self.close()

    def close(self) -> None:
        """Take no more connections. The existing ones go on."""
        listeners, self._listeners = self._listeners, []
        for news in self._news:
            news.stop()
        for listener in listeners:
            listener.close()
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until it takes no more connections."""
        await asyncio.shield(self._closed)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        await self.wait_closed()

    def _accept(self) -> None:
        for listener in self._listeners:
            for _ in range(_ACCEPTS_PER_NEWS):
                try:
                    made, _ = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    break
                except OSError as error:
                    self._loop.call_exception_handler({"message": "accept failed", "exception": error})
                    break
                self._take(made)
            else:
                for news in self._news:
                    news.schedule()

    def _take(self, made: Any) -> None:
        made.setblocking(False)
        protocol = self._factory()
        if self._ssl is not None:
            protocol = sslproto.SSLProtocol(self._loop, protocol, self._ssl, None, True)  # type: ignore[arg-type]
        StreamTransport(self._loop, made, protocol)


async def create_server(runtime: RealTime, factory: Callable[[], asyncio.BaseProtocol], host: str | None, port: int, *,
                        family: int = 0, backlog: int = 100, ssl: os_ssl.SSLContext | None = None,
                        reuse_address: bool = True, reuse_port: bool = False) -> Server:
    """Listen on the addresses of ``host`` (``None``: on all), and give each connection a protocol."""
    loop = asyncio.get_running_loop()
    if host:
        infos = await resolve(runtime, host, port, family, os_socket.AI_PASSIVE)
        found = [(info[0], info[4][0]) for info in infos]
    else:
        found = [(version, "") for version in _versions(runtime) if family in (0, version)]
    listeners: list[Socket] = []
    try:
        for version, text in found:
            listener = Socket(version, os_socket.SOCK_STREAM, runtime=runtime)
            listeners.append(listener)
            listener.setblocking(False)
            if reuse_address:
                listener.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_REUSEPORT, 1)
            if version == os_socket.AF_INET6:
                listener.setsockopt(os_socket.IPPROTO_IPV6, os_socket.IPV6_V6ONLY, 1)
            listener.bind((text, port))
            listener.listen(backlog)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return Server(loop, listeners, factory, ssl)


async def start_server(runtime: RealTime, callback: ClientCallback, host: str | None, port: int, *,
                       limit: int = _LIMIT, **options: Any) -> Server:
    """Listen, and call ``callback(reader, writer)`` for each connection."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, callback, loop=loop)

    return await create_server(runtime, factory, host, port, **options)


def _versions(runtime: RealTime) -> list[int]:
    """Return the IP versions that the stack has addresses of."""
    sizes = {len(address.address) for interface in runtime.engine.interfaces[1:] for address in interface.addresses}
    return [version for version, size in ((os_socket.AF_INET, 4), (os_socket.AF_INET6, 16)) if size in sizes]


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
