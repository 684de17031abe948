"""Connections and servers of a stack in the user's own event loop: what asyncio's functions of these names do."""

from __future__ import annotations

import asyncio
import socket as os_socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Unpack

from estab.sockets.socket.socket import Socket
from estab.stack import serving
from estab.stack.arguments import Connecting, ConnectOptions, ServeOptions, Serving, Tls, check_socket
from estab.stack.connecting import connect
from estab.stack.tls import establish
from estab.stack.transport import StreamTransport

if TYPE_CHECKING:
    import ssl as os_ssl

    from estab.realtime.real import RealTime

__all__ = [
    "ClientCallback", "connect_accepted_socket", "create_connection", "create_server", "open_connection", "sendfile",
    "start_server",
]

_LIMIT: Final = 2**16
_FILE_BYTES: Final = 65_536

ClientCallback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
Factory = Callable[[], asyncio.BaseProtocol]


async def create_connection(runtime: RealTime, factory: Factory, host: str | None = None, port: Any = None,
                            **options: Unpack[ConnectOptions]) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect, over TLS with an ``ssl`` context, and return transport and protocol."""
    asked = Connecting(**options)
    tls = asked.tls(host)
    if host is not None or port is not None:
        if asked.sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        socket = await connect(runtime, host, port, asked)
    elif asked.sock is None:
        raise ValueError("host and port was not specified and no sock specified")
    else:
        socket = check_socket(asked.sock, os_socket.SOCK_STREAM, "Stream")
    return await _give(socket, factory, tls)


async def connect_accepted_socket(
    factory: Factory, sock: os_socket.socket, *, ssl: os_ssl.SSLContext | None = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Return transport and protocol of a connection that was accepted already."""
    asked = Serving(ssl=ssl, ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout)
    return await _give(check_socket(sock, os_socket.SOCK_STREAM, "Stream"), factory, asked.tls())


async def _give(socket: Socket, factory: Factory, tls: Tls | None) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    try:
        protocol = factory()
    except BaseException:
        socket.close()
        raise
    return await establish(socket, protocol, tls), protocol


async def open_connection(runtime: RealTime, host: str | None = None, port: Any = None, *, limit: int = _LIMIT,
                          **options: Unpack[ConnectOptions]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and return reader and writer."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(runtime, lambda: protocol, host, port, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def create_server(runtime: RealTime, factory: Factory, host: Any = None, port: Any = None,
                        **options: Unpack[ServeOptions]) -> serving.StackServer:
    """Listen, and return each connection a protocol."""
    return await serving.create_server(runtime, factory, host, port, Serving(**options))


async def start_server(runtime: RealTime, callback: ClientCallback, host: Any = None, port: Any = None, *,
                       limit: int = _LIMIT, **options: Unpack[ServeOptions]) -> serving.StackServer:
    """Listen, and call ``callback(reader, writer)`` for each connection."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, callback, loop=loop)

    return await create_server(runtime, factory, host, port, **options)


async def sendfile(transport: StreamTransport, file: Any, offset: int = 0, count: int | None = None) -> int:
    """Send a file by a transport, at the peer's speed. Returns how many bytes."""
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    loop = asyncio.get_running_loop()
    if offset:
        file.seek(offset)
    sent = 0
    try:
        while not count or sent < count:
            size = _FILE_BYTES if not count else min(_FILE_BYTES, count - sent)
            data = await loop.run_in_executor(None, file.read, size)
            if not data:
                break
            await transport.wait_low()
            transport.write(data)
            sent += len(data)
        return sent
    finally:
        if sent and hasattr(file, "seek"):
            file.seek(offset + sent)
