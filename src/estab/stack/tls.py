"""A transport of a stack with what is above it: the protocol, or asyncio's TLS and the protocol above it."""

from __future__ import annotations

import asyncio
import ssl as os_ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, Final

from estab.cpython import app_transport
from estab.sockets.socket.socket import Socket
from estab.stack.arguments import Tls
from estab.stack.transport import StreamTransport

__all__ = ["establish", "make_transport", "start_tls"]

_Protocol: Final[Any] = sslproto.SSLProtocol


def make_transport(loop: asyncio.AbstractEventLoop, socket: Socket, protocol: asyncio.BaseProtocol, tls: Tls | None,
                   ready: asyncio.Future[None] | None = None,
                   on_lost: Callable[[], object] | None = None) -> StreamTransport:
    """Make the transport of a socket. ``ready`` is done when the protocol has it, after the handshake with TLS."""
    if tls is None:
        return StreamTransport(loop, socket, protocol, lambda: _settle(ready), on_lost)
    above = _Protocol(loop, protocol, tls.context, ready, tls.is_server, tls.server_hostname,
                      ssl_handshake_timeout=tls.handshake_timeout, ssl_shutdown_timeout=tls.shutdown_timeout)
    return StreamTransport(loop, socket, above, None, on_lost)


async def establish(socket: Socket, protocol: asyncio.BaseProtocol, tls: Tls | None) -> Any:
    """Return the transport for a protocol over a connected socket: TCP's, or after the handshake that of TLS."""
    loop = asyncio.get_running_loop()
    socket.setblocking(False)
    ready: asyncio.Future[None] = loop.create_future()
    transport = make_transport(loop, socket, protocol, tls, ready)
    try:
        await ready
    except BaseException:
        transport.close()
        raise
    return transport if tls is None else app_transport(transport.get_protocol())


async def start_tls(transport: StreamTransport, protocol: asyncio.BaseProtocol, context: os_ssl.SSLContext, *,
                    server_side: bool = False, server_hostname: str | None = None,
                    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None) -> Any:
    """Encrypt a connection from now on, as the event loop's method of this name. Returns the transport for it."""
    if not isinstance(context, os_ssl.SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {context!r}")
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    above = _Protocol(loop, protocol, context, ready, server_side, server_hostname, call_connection_made=False,
                      ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout)
    transport.pause_reading()
    transport.set_protocol(above)
    made = loop.call_soon(above.connection_made, transport)
    resumed = loop.call_soon(transport.resume_reading)
    try:
        await ready
    except BaseException:
        transport.close()
        made.cancel()
        resumed.cancel()
        raise
    return app_transport(above)


def _settle(ready: asyncio.Future[None] | None) -> None:
    if ready is not None and not ready.done():
        ready.set_result(None)
