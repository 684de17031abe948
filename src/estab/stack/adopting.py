"""The user's own event loop, taught about a stack: for libraries that open their connections by the loop's methods.

While a loop is adopted, its methods that make connections look at their caller. A task of a stack (``Stack.installed``)
gets the stack's connections, and so does a socket of a stack. For all other callers they do what the loop does.
"""

from __future__ import annotations

import asyncio
import functools
import socket as os_socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from estab.abi import WRITE_BITS
from estab.realtime.real import RealTime
from estab.sockets import names
from estab.sockets.polling.event_loop import EventLoop
from estab.sockets.runtime import current
from estab.sockets.socket.socket import Socket
from estab.stack import datagrams, streams, tls, waiting
from estab.stack.news import News
from estab.stack.transport import StreamTransport

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["adopted"]

Method = Callable[..., Any]


@contextmanager
def adopted() -> Iterator[None]:
    """Teach the loop that runs here, if one does, about stacks in the body. Nests. Loops of estab know already."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    if isinstance(loop, EventLoop) or hasattr(loop.create_connection, "estab_original"):
        yield
        return
    methods = _methods(loop)
    for name, method in methods.items():
        setattr(loop, name, method)
    try:
        yield
    finally:
        for name in methods:
            delattr(loop, name)


def _methods(loop: asyncio.AbstractEventLoop) -> dict[str, Method]:
    """Return what stands in for methods of a loop."""
    writers = _Writers(loop)
    found = {name: _by_caller(loop, name, function) for name, function in _BY_CALLER.items()}
    found |= {name: _by_socket(loop, name, function) for name, function in _BY_SOCKET.items()}
    found |= {name: _by_transport(loop, name, function) for name, function in _BY_TRANSPORT.items()}
    found["connect_accepted_socket"] = _accepted(loop)
    found["add_writer"] = writers.add
    found["remove_writer"] = writers.remove
    return found


def _here() -> RealTime | None:
    """Return the stack whose task runs here."""
    runtime = current()
    return runtime if isinstance(runtime, RealTime) else None


def _by_caller(loop: asyncio.AbstractEventLoop, name: str, function: Callable[..., Coroutine[Any, Any, Any]]) -> Method:
    """Make a method that is the stack's for a task of a stack, and for a socket of one."""
    original: Method = getattr(loop, name)

    @functools.wraps(original)
    async def method(*args: Any, **kwargs: Any) -> Any:
        sock = kwargs.get("sock")
        runtime = _here() if sock is None else sock.runtime if isinstance(sock, Socket) else None
        if runtime is None or kwargs.get("family") == getattr(os_socket, "AF_UNIX", -1):
            return await original(*args, **kwargs)
        return await function(runtime, *args, **kwargs)

    method.estab_original = original  # type: ignore[attr-defined]
    return method


def _by_socket(loop: asyncio.AbstractEventLoop, name: str, function: Callable[..., Coroutine[Any, Any, Any]]) -> Method:
    """Make a method that is the stack's for its sockets."""
    original: Method = getattr(loop, name)

    @functools.wraps(original)
    async def method(sock: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("fallback", None) if isinstance(sock, Socket) else None
        return await (function if isinstance(sock, Socket) else original)(sock, *args, **kwargs)

    return method


def _by_transport(loop: asyncio.AbstractEventLoop, name: str,
                  function: Callable[..., Coroutine[Any, Any, Any]]) -> Method:
    """Make a method that is the stack's for its transports."""
    original: Method = getattr(loop, name)

    @functools.wraps(original)
    async def method(transport: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(transport, StreamTransport):
            return await original(transport, *args, **kwargs)
        kwargs.pop("fallback", None)
        return await function(transport, *args, **kwargs)

    return method


def _accepted(loop: asyncio.AbstractEventLoop) -> Method:
    original: Method = loop.connect_accepted_socket

    @functools.wraps(original)
    async def method(protocol_factory: Any, sock: Any, **kwargs: Any) -> Any:
        function = streams.connect_accepted_socket if isinstance(sock, Socket) else original
        return await function(protocol_factory, sock, **kwargs)

    return method


async def _getnameinfo(runtime: RealTime, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
    return await asyncio.get_running_loop().run_in_executor(None, names.getnameinfo, runtime, sockaddr, flags)


async def _getaddrinfo(runtime: RealTime, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                       flags: int = 0) -> Any:
    return await waiting.resolve(runtime, host, port, family, type, proto, flags)


_BY_CALLER: Final[dict[str, Method]] = {
    "create_connection": streams.create_connection, "create_server": streams.create_server,
    "create_datagram_endpoint": datagrams.create_datagram_endpoint, "getaddrinfo": _getaddrinfo,
    "getnameinfo": _getnameinfo,
}
_BY_SOCKET: Final[dict[str, Method]] = {
    "sock_recv": waiting.sock_recv, "sock_recv_into": waiting.sock_recv_into, "sock_recvfrom": waiting.sock_recvfrom,
    "sock_recvfrom_into": waiting.sock_recvfrom_into, "sock_sendall": waiting.sock_sendall,
    "sock_sendto": waiting.sock_sendto, "sock_connect": waiting.sock_connect, "sock_accept": waiting.sock_accept,
    "sock_sendfile": waiting.sock_sendfile,
}
_BY_TRANSPORT: Final[dict[str, Method]] = {"start_tls": tls.start_tls, "sendfile": streams.sendfile}


class _Writers:
    """``add_writer`` and ``remove_writer``: the descriptor of a stack's socket tells only when there is to read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._original_add: Method = loop.add_writer
        self._original_remove: Method = loop.remove_writer
        self._writers: dict[Socket, _Writer] = {}

    def add(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """Call a function as long as a socket can take text."""
        socket = _find(fd)
        if socket is None:
            self._original_add(fd, callback, *args)
            return
        self.remove(socket)
        self._writers[socket] = _Writer(self._loop, socket, functools.partial(callback, *args))

    def remove(self, fd: Any) -> bool:
        """Undo it. ``False`` if there is nothing to undo."""
        socket = _find(fd)
        if socket is None:
            return bool(self._original_remove(fd))
        writer = self._writers.pop(socket, None)
        if writer is not None:
            writer.stop()
        return writer is not None


class _Writer:
    """Calls a function as long as a socket can take text."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, call: Callable[[], object]) -> None:
        self._socket = socket
        self._call = call
        self._is_stopped = False
        self._news = News(loop, socket, self._look, self._end)
        self._news.schedule()

    def stop(self) -> None:
        """Call it no more."""
        self._is_stopped = True
        self._news.stop()

    def _look(self) -> None:
        if self._socket.fd >= 0 and self._socket.descriptor.readiness() & WRITE_BITS:
            self._call()
            if not self._is_stopped:
                self._news.schedule()

    def _end(self, error: OSError) -> None:
        self._call()


def _find(fd: Any) -> Socket | None:
    """Find the socket of a stack that an object or a number stands for."""
    if isinstance(fd, Socket):
        return fd
    runtime = _here()
    number = fd if isinstance(fd, int) else fd.fileno()
    found = runtime.by_number.get(number) if runtime is not None else None
    return found if isinstance(found, Socket) else None
