"""Listening sockets of a stack as an asyncio server."""

from __future__ import annotations

import asyncio
import errno
import os
import socket as os_socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estab.errors import explain, os_error
from estab.sockets.socket.socket import Socket
from estab.stack.arguments import WAITS_FOR_CONNECTIONS, Serving, Tls, check_socket
from estab.stack.news import News
from estab.stack.tls import make_transport
from estab.stack.waiting import resolve

if TYPE_CHECKING:
    from estab.realtime.real import RealTime
    from estab.stack.transport import StreamTransport

__all__ = ["StackServer", "create_server"]

_ACCEPTS_PER_NEWS: Final = 64
Factory = Callable[[], asyncio.BaseProtocol]


class StackServer(asyncio.AbstractServer):
    """Listening sockets of a stack. A context manager, as asyncio's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: list[Socket], factory: Factory, backlog: int,
                 tls: Tls | None) -> None:
        self._loop = loop
        self._listeners: list[Socket] | None = listeners
        self._factory = factory
        self._backlog = backlog
        self._tls = tls
        self._news: list[News] = []
        self._is_serving = False
        self._forever: asyncio.Future[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._transports: dict[StreamTransport, None] = {}

    def __repr__(self) -> str:
        return f"<StackServer sockets={self.sockets!r}>"

    @property
    def sockets(self) -> tuple[Socket, ...]:
        """The listening sockets; none once closed."""
        return tuple(self._listeners or ())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that serves."""
        return self._loop

    def is_serving(self) -> bool:
        """Tell whether it takes connections."""
        return self._is_serving

    async def start_serving(self) -> None:
        """Take connections, if it does not yet."""
        self.listen()
        await asyncio.sleep(0)

    def listen(self) -> None:
        """Take connections from now on."""
        if self._is_serving or self._listeners is None:
            return
        self._is_serving = True
        for listener in self._listeners:
            listener.listen(self._backlog)
            self._news.append(News(self._loop, listener, lambda found=listener: self._accept(found), self._end))  # type: ignore[misc]

    async def serve_forever(self) -> None:
        """Serve until cancelled, or until the server or the stack is closed: ``CancelledError``, or ENETDOWN."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._listeners is None:
            raise RuntimeError(f"server {self!r} is closed")
        self.listen()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Take no more connections. Those that there are go on."""
        listeners, self._listeners = self._listeners, None
        self._is_serving = False
        for news in self._news:
            news.stop()
        for listener in listeners or ():
            listener.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        self._settle()

    def close_clients(self) -> None:
        """Close all connections that were accepted."""
        for transport in tuple(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        """Reset all connections that were accepted."""
        for transport in tuple(self._transports):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it takes no more connections; since Python 3.12 also until those that there are have ended."""
        if self._listeners is None and not (WAITS_FOR_CONNECTIONS and self._transports):
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def __aenter__(self) -> StackServer:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        await self.wait_closed()

    # --- inside

    def _settle(self) -> None:
        if self._listeners is None and not (WAITS_FOR_CONNECTIONS and self._transports):
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    def _end(self, error: OSError) -> None:
        """End because a listener was closed, or the stack."""
        if self._forever is not None and not self._forever.done():
            self._forever.set_exception(error)
        self.close()

    def _accept(self, listener: Socket) -> None:
        for _ in range(_ACCEPTS_PER_NEWS):
            try:
                made, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._loop.call_exception_handler({"message": "accept failed", "exception": error, "socket": listener})
                return
            assert isinstance(made, Socket)
            self._take(made)
        for news in self._news:
            news.schedule()

    def _take(self, made: Socket) -> None:
        made.setblocking(False)
        try:
            protocol = self._factory()
        except BaseException:
            made.close()
            raise
        transport: StreamTransport

        def forget() -> None:
            self._transports.pop(transport, None)
            self._settle()

        transport = make_transport(self._loop, made, protocol, self._tls, None, forget)
        self._transports[transport] = None


async def create_server(runtime: RealTime, factory: Factory, host: Any = None, port: Any = None,
                        options: Serving | None = None) -> StackServer:
    """Listen on the addresses of ``host`` (``None``: on all), and return each connection a protocol."""
    asked = options if options is not None else Serving()
    tls = asked.tls()
    loop = asyncio.get_running_loop()
    if host is not None or port is not None:
        if asked.sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        listeners = await _bind(runtime, asked.hosts(host), port, asked)
    elif asked.sock is None:
        raise ValueError("Neither host/port nor sock were specified")
    else:
        listeners = [check_socket(asked.sock, os_socket.SOCK_STREAM, "Stream")]
    for listener in listeners:
        listener.setblocking(False)
    server = StackServer(loop, listeners, factory, asked.backlog, tls)
    if asked.start_serving:
        try:
            server.listen()
        except BaseException:
            server.close()
            raise
    return server


async def _bind(runtime: RealTime, hosts: list[str | None], port: Any, asked: Serving) -> list[Socket]:
    """Make sockets that are bound to every address, to each once."""
    found: dict[tuple[Any, ...], int] = {}
    for host in hosts:
        for info in await resolve(runtime, host, port, asked.family, os_socket.SOCK_STREAM, 0, asked.flags):
            if host is not None or info[0] in _versions(runtime):
                found[info[4]] = info[0]
    listeners: list[Socket] = []
    try:
        for address, version in found.items():
            listener = Socket(version, os_socket.SOCK_STREAM, runtime=runtime)
            listeners.append(listener)
            _prepare(listener, asked)
            try:
                listener.bind(address)
            except OSError as error:
                raise os_error(error.errno or errno.EADDRINUSE, f"error while attempting to bind on address "
                               f"{address!r}: {explain(error)}") from None
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _prepare(listener: Socket, asked: Serving) -> None:
    reuses = os.name == "posix" if asked.reuse_address is None else asked.reuse_address
    for option, is_on in ((os_socket.SO_REUSEADDR, reuses), (os_socket.SO_KEEPALIVE, asked.keep_alive)):
        if is_on:
            listener.setsockopt(os_socket.SOL_SOCKET, option, 1)
    if asked.reuse_port:
        listener.setsockopt(os_socket.SOL_SOCKET, os_socket.SO_REUSEPORT, 1)
    if listener.family == os_socket.AF_INET6:
        listener.setsockopt(os_socket.IPPROTO_IPV6, os_socket.IPV6_V6ONLY, 1)


def _versions(runtime: RealTime) -> list[int]:
    """Return the IP versions that the stack has addresses of."""
    sizes = {len(address.address) for interface in runtime.engine.interfaces[1:] for address in interface.addresses}
    return [version for version, size in ((os_socket.AF_INET, 4), (os_socket.AF_INET6, 16)) if size in sizes]
