"""Programs that the scenes of ``estab explain`` are made of."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from estab.lab.network import Network

__all__ = ["connect", "pair", "quietly", "set_options", "sink", "source"]


def pair(net: Network, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None,
          **link: Any) -> tuple[Any, Any, Any]:
    """Make a client and a server, with a link of 10 ms."""
    here, there = net.host("client", **(client or {})), net.host("server", **(server or {}))
    return here, there, net.link(here, there, **{"delay": "10ms", **link})


def quietly(function: Callable[..., object], *args: Any) -> Callable[[], None]:
    """Make a program of a function that may fail: the failure is what is shown."""
    def program() -> None:
        with contextlib.suppress(OSError):
            function(*args)
    return program


def sink(port: int = 80, pause_s: float = 0, backlog: int = 8, **options: int) -> Callable[[], None]:
    """Serve: read all that comes, to the end, then close."""
    def serve() -> None:
        with socket.create_server(("", port), backlog=backlog) as listener:
            set_options(listener, options)
            with listener.accept()[0] as connection:
                time.sleep(pause_s)
                while connection.recv(65536):
                    pass
    return quietly(serve)


def source(total: int, port: int = 80, **options: int) -> Callable[[], None]:
    """Connect, send so much, close, and wait for the other end's close."""
    def send() -> None:
        with socket.socket() as caller:
            set_options(caller, options)
            caller.connect(("server", port))
            caller.sendall(bytes(total))
            caller.shutdown(socket.SHUT_WR)
            caller.recv(1)
    return quietly(send)


def set_options(sock: socket.socket, options: dict[str, int]) -> None:
    """Set options by name."""
    for name, value in options.items():
        level = socket.IPPROTO_TCP if name.startswith("TCP") else socket.SOL_SOCKET
        sock.setsockopt(level, getattr(socket, name, 47), value)


def connect(caller: socket.socket, port: int = 80) -> None:
    """Connect to the server."""
    caller.connect(("server", port))
