"""A stack as an asyncio program uses it: methods with the names, arguments and results of asyncio's own.

``open_connection`` and ``start_server`` are asyncio's functions, the others methods of its event loop. Each starts the
stack if need be, and sees to connections of the stack only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as os_socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Unpack

from estab.sockets import names
from estab.sockets.runtime import Wait
from estab.stack import datagrams, streams, waiting
from estab.stack.arguments import ConnectOptions, DatagramOptions, ServeOptions, own_socket
from estab.stack.delivery import Drain
from estab.units import SECOND

if TYPE_CHECKING:
    import ssl as os_ssl

    from estab.realtime.real import RealTime
    from estab.stack.serving import StackServer

__all__ = ["DRAIN_S", "InLoop"]

DRAIN_S: Final = 5.0
"""How long the end of a ``with`` waits for what is not acknowledged."""

Factory = Callable[[], asyncio.BaseProtocol]
Connection = tuple[asyncio.Transport, asyncio.BaseProtocol]


class InLoop(ABC):
    """The methods of a ``Stack`` for an asyncio program."""

    runtime: RealTime

    @abstractmethod
    async def start(self) -> Any:
        """Run the engine in the event loop that runs here, if nothing runs it yet."""

    # --- streams

    async def open_connection(self, host: str | None = None, port: Any = None, *, limit: int = 2**16,
                              **options: Unpack[ConnectOptions]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, as ``asyncio.open_connection``, with all its options.

        ``await writer.wait_closed()`` after ``writer.close()`` returns when the peer has acknowledged everything; if
        that can't be any more, it raises.
        """
        await self.start()
        return await streams.open_connection(self.runtime, host, port, limit=limit, **options)

    async def start_server(self, client_connected_cb: streams.ClientCallback, host: Any = None, port: Any = None, *,
                           limit: int = 2**16, **options: Unpack[ServeOptions]) -> StackServer:
        """Listen, and call ``client_connected_cb(reader, writer)`` for each connection, as ``asyncio.start_server``."""
        await self.start()
        return await streams.start_server(self.runtime, client_connected_cb, host, port, limit=limit, **options)

    # --- protocols

    async def create_connection(self, protocol_factory: Factory, host: str | None = None, port: Any = None,
                                **options: Unpack[ConnectOptions]) -> Connection:
        """Connect, as the event loop's method of this name, with all its options."""
        await self.start()
        return await streams.create_connection(self.runtime, protocol_factory, host, port, **options)

    async def create_server(self, protocol_factory: Factory, host: Any = None, port: Any = None,
                            **options: Unpack[ServeOptions]) -> StackServer:
        """Listen, as the event loop's method of this name, with all its options."""
        await self.start()
        return await streams.create_server(self.runtime, protocol_factory, host, port, **options)

    async def connect_accepted_socket(
        self, protocol_factory: Factory, sock: os_socket.socket, *, ssl: os_ssl.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    ) -> Connection:
        """Return transport and protocol of a connection that was accepted already."""
        await self.start()
        return await streams.connect_accepted_socket(
            protocol_factory, sock, ssl=ssl, ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout)

    async def create_datagram_endpoint(
        self, protocol_factory: Factory, local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None, **options: Unpack[DatagramOptions],
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Open a UDP socket, as the event loop's method of this name, with all its options."""
        await self.start()
        return await datagrams.create_datagram_endpoint(
            self.runtime, protocol_factory, local_addr, remote_addr, **options)

    # --- sockets that don't block, and names

    async def sock_connect(self, sock: os_socket.socket, address: Any) -> None:
        """Connect a socket of the stack, as the event loop's method of this name; so with the others."""
        await self.start()
        await waiting.sock_connect(own_socket(sock), address)

    async def sock_accept(self, sock: os_socket.socket) -> tuple[os_socket.socket, Any]:
        """Take a connection from a listening socket of the stack."""
        await self.start()
        return await waiting.sock_accept(own_socket(sock))

    async def sock_recv(self, sock: os_socket.socket, nbytes: int) -> bytes:
        """Receive up to ``nbytes`` bytes."""
        await self.start()
        return await waiting.sock_recv(own_socket(sock), nbytes)

    async def sock_recv_into(self, sock: os_socket.socket, buf: Any) -> int:
        """Receive into a buffer. Returns how many bytes."""
        await self.start()
        return await waiting.sock_recv_into(own_socket(sock), buf)

    async def sock_recvfrom(self, sock: os_socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram, and say from whom."""
        await self.start()
        return await waiting.sock_recvfrom(own_socket(sock), bufsize)

    async def sock_recvfrom_into(self, sock: os_socket.socket, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """Receive a datagram into a buffer. Returns how many bytes, and from whom."""
        await self.start()
        return await waiting.sock_recvfrom_into(own_socket(sock), buf, nbytes)

    async def sock_sendall(self, sock: os_socket.socket, data: Any) -> None:
        """Send all."""
        await self.start()
        await waiting.sock_sendall(own_socket(sock), data)

    async def sock_sendto(self, sock: os_socket.socket, data: Any, address: Any) -> int:
        """Send a datagram."""
        await self.start()
        return await waiting.sock_sendto(own_socket(sock), data, address)

    async def sock_sendfile(self, sock: os_socket.socket, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file. Returns how many bytes."""
        await self.start()
        return await waiting.sock_sendfile(own_socket(sock), file, offset, count)

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                          flags: int = 0) -> list[names.AddrInfo]:
        """Look a name up as the stack does."""
        await self.start()
        return await waiting.resolve(self.runtime, host, port, family, type, proto, flags)

    # --- what is on its way

    async def drain(self, timeout: float | None = None) -> None:
        """Wait until the peers have acknowledged all that was written on this stack, and each FIN.

        That holds for open connections and for those that were closed. ``TimeoutError`` after ``timeout`` seconds,
        ENETDOWN if the stack is closed. A connection that ends with an error is not waited for.
        """
        await self.start()
        await asyncio.wait_for(self._drained(), timeout)

    async def _drained(self) -> None:
        runtime, drain = self.runtime, Drain(self.runtime)
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def look() -> None:
            if drain.is_done() or runtime.is_over:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(news.set)

        with runtime.lock:
            runtime.flush()
            if drain.is_done():
                return
            runtime.hooks.append(look)
        try:
            await news.wait()
        finally:
            with runtime.lock:
                runtime.hooks.remove(look)
        if runtime.is_over:
            raise runtime.down_error(f"{drain.describe()}, which is closed")

    def _wait_drained(self, timeout_s: float) -> None:
        """Wait likewise in a thread that may block, for some time."""
        runtime, drain = self.runtime, Drain(self.runtime)
        with runtime.lock:
            runtime.flush()
            runtime.wait(Wait(drain.is_done, drain.describe, runtime.now_ns + int(timeout_s * SECOND)))
