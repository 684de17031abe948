"""Two sockets of one host that are connected to each other, and pipes."""

from __future__ import annotations

import errno
import socket as os_socket
from typing import TYPE_CHECKING

from estab.errors import os_error
from estab.sockets.socket.local import AF_UNIX, LOOPBACK
from estab.sockets.socket.socket import Socket

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["open_pair", "open_pipe"]


def open_pair(runtime: Runtime, family: int | None = None, kind: int = os_socket.SOCK_STREAM) -> tuple[Socket, Socket]:
    """Connect two sockets of this host over its loopback. If Linux has Unix sockets here, they look like such."""
    if family == os_socket.AF_INET6:
        address, version = "::1", os_socket.AF_INET6
    elif family in (None, os_socket.AF_INET, AF_UNIX):
        address, version = LOOPBACK, os_socket.AF_INET
    else:
        raise os_error(errno.EAFNOSUPPORT, f"address family not supported by protocol: {family}")
    runtime.ensure_may_open(2)
    first = Socket(version, kind, runtime=runtime)
    second = Socket(version, kind, runtime=runtime)
    if kind & 0xF == os_socket.SOCK_DGRAM:
        first.bind((address, 0))
        second.bind((address, 0))
        first.connect(second.getsockname())
        second.connect(first.getsockname())
        return _as_unix(first, family), _as_unix(second, family)
    first.bind((address, 0))
    first.listen(1)
    second.connect(first.getsockname())
    process = runtime.process()
    process.open_files -= 1  # where there are Unix sockets, nothing listens between the two
    try:
        accepted, _ = first.accept()
    finally:
        process.open_files += 1
    first.close()
    assert isinstance(accepted, Socket)
    return _as_unix(accepted, family), _as_unix(second, family)


def open_pipe(runtime: Runtime, *, is_blocking: bool = True) -> tuple[int, int]:
    """Make a pipe: the numbers of the end to read from, and of the end to write to."""
    reader, writer = open_pair(runtime, AF_UNIX)
    for end in (reader, writer):
        end.setblocking(is_blocking)
        # What is written to a pipe can be read at once, also if it is little.
        end.setsockopt(os_socket.IPPROTO_TCP, os_socket.TCP_NODELAY, 1)
    return reader.detach(), writer.detach()


def _as_unix(sock: Socket, family: int | None) -> Socket:
    """Let the end of a pair look like a Unix socket, if one was requested: its family, and no addresses."""
    if family in (None, AF_UNIX) and AF_UNIX != -1:
        sock.show_as_unix()
    return sock
