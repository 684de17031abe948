"""Two sockets of one host that are connected to each other."""

from __future__ import annotations

import errno
import socket as os_socket
from typing import TYPE_CHECKING

from estab.errors import os_error
from estab.sockets.socket.local import AF_UNIX
from estab.sockets.socket.socket import Socket

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["open_pair"]


def open_pair(runtime: Runtime, family: int | None = None, kind: int = os_socket.SOCK_STREAM,
              proto: int = 0) -> tuple[Socket, Socket]:
    """Connect two sockets of this host: Unix sockets, or those of an IP version over its loopback."""
    if family in (None, AF_UNIX) and runtime.is_virtual:
        return Socket.local_pair(runtime, kind, proto)
    if family == os_socket.AF_INET6:
        address, version = "::1", os_socket.AF_INET6
    elif family in (None, os_socket.AF_INET):
        address, version = "127.0.0.1", os_socket.AF_INET
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
        return first, second
    first.bind((address, 0))
    first.listen(1)
    second.connect(first.getsockname())
    process = runtime.process()
    process.open_files -= 1  # the listener is not one of the two that the program asked for
    try:
        accepted, _ = first.accept()
    finally:
        process.open_files += 1
    first.close()
    assert isinstance(accepted, Socket)
    return accepted, second
