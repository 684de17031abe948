"""The arguments of asyncio's functions, as a stack takes them: names, types, defaults, what does not go together."""

from __future__ import annotations

import socket as os_socket
import ssl as os_ssl
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from estab.sockets.socket.socket import Socket

__all__ = [
    "WAITS_FOR_CONNECTIONS", "Address", "ConnectOptions", "Connecting", "DatagramOptions", "ServeOptions", "Serving",
    "Tls", "check_socket", "own_socket",
]

Address = tuple[Any, ...]


class ConnectOptions(TypedDict, total=False):
    """What ``create_connection`` and ``open_connection`` take beside host and port; see asyncio's documentation."""

    ssl: os_ssl.SSLContext | bool | None
    family: int
    proto: int
    flags: int
    sock: os_socket.socket | None
    local_addr: Address | None
    server_hostname: str | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    happy_eyeballs_delay: float | None
    interleave: int | None
    all_errors: bool


class ServeOptions(TypedDict, total=False):
    """What ``create_server`` and ``start_server`` take beside host and port; see asyncio's documentation."""

    family: int
    flags: int
    sock: os_socket.socket | None
    backlog: int
    ssl: os_ssl.SSLContext | None
    reuse_address: bool | None
    reuse_port: bool | None
    keep_alive: bool | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    start_serving: bool


class DatagramOptions(TypedDict, total=False):
    """What ``create_datagram_endpoint`` takes beside the addresses; see asyncio's documentation."""

    family: int
    proto: int
    flags: int
    reuse_port: bool | None
    allow_broadcast: bool | None
    sock: os_socket.socket | None


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is to be encrypted."""

    context: os_ssl.SSLContext
    server_hostname: str | None
    handshake_timeout: float | None
    shutdown_timeout: float | None
    is_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """The options of a connection that is opened, with their defaults."""

    ssl: os_ssl.SSLContext | bool | None = None
    family: int = 0
    proto: int = 0
    flags: int = 0
    sock: os_socket.socket | None = None
    local_addr: Address | None = None
    server_hostname: str | None = None
    ssl_handshake_timeout: float | None = None
    ssl_shutdown_timeout: float | None = None
    happy_eyeballs_delay: float | None = None
    interleave: int | None = None
    all_errors: bool = False

    def tls(self, host: str | None) -> Tls | None:
        """Return how to encrypt, ``None`` for not at all. ``ValueError`` for what means nothing then."""
        if not self.ssl:
            for name in ("server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is only meaningful with ssl")
            return None
        if self.server_hostname is None and not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        wanted = host if self.server_hostname is None else self.server_hostname
        context = os_ssl.create_default_context() if self.ssl is True else self.ssl
        return Tls(context, wanted, self.ssl_handshake_timeout, self.ssl_shutdown_timeout)

    def step(self) -> int:
        """Return how many addresses of the first family come before one of another; 0: they stay as they are."""
        if self.interleave is None:
            return 0 if self.happy_eyeballs_delay is None else 1
        return self.interleave


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The options of a server, with their defaults."""

    family: int = 0
    flags: int = os_socket.AI_PASSIVE
    sock: os_socket.socket | None = None
    backlog: int = 100
    ssl: os_ssl.SSLContext | None = None
    reuse_address: bool | None = None
    reuse_port: bool | None = None
    keep_alive: bool | None = None
    ssl_handshake_timeout: float | None = None
    ssl_shutdown_timeout: float | None = None
    start_serving: bool = True

    def tls(self) -> Tls | None:
        """Return how to encrypt, ``None`` for not at all. ``ValueError`` for what means nothing then."""
        if isinstance(self.ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        if self.ssl is None:
            for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is only meaningful with ssl")
            return None
        return Tls(self.ssl, None, self.ssl_handshake_timeout, self.ssl_shutdown_timeout, is_server=True)

    def hosts(self, host: Any) -> list[str | None]:
        """Return the hosts to listen on: ``None`` is every address of the stack."""
        if host is None or isinstance(host, str) or not isinstance(host, Iterable):
            return [host or None]
        return [each or None for each in host]


def check_socket(sock: Any, kind: int, what: str) -> Socket:
    """Return a socket that a program passed in, if it is one of a stack's and of the right kind. ``ValueError``."""
    found = own_socket(sock)
    if found.type != kind:
        raise ValueError(f"A {what} Socket was expected, got {sock!r}")
    return found


def own_socket(sock: Any) -> Socket:
    """Return a socket that a program passed in, if it is one of a stack's. ``ValueError``, ``TypeError`` over TLS."""
    if isinstance(sock, os_ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")
    if not isinstance(sock, Socket):
        raise ValueError(f"sock: {sock!r} is not a socket of a stack; make it by stack.socket()")
    return sock


WAITS_FOR_CONNECTIONS = sys.version_info >= (3, 12)
"""Whether ``Server.wait_closed`` waits for the connections, too, as asyncio's does since Python 3.12."""
