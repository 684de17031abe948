"""Unix sockets of programs of one host, in virtual time: names, credentials and options as programs see them.

The host has the sockets themselves (``host.sockets.local``); ``rights`` passes descriptors by them.
"""

from __future__ import annotations

import errno
import os
import socket as os_socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estab.errors import os_error
from estab.host.sockets.local import LocalSocket
from estab.sockets.socket.timeval import read_timeval, write_timeval

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["AF_UNIX", "credentials_of", "get_local_option", "read_name", "set_local_option", "show_name"]

AF_UNIX: Final = getattr(os_socket, "AF_UNIX", -1)
_PATH_BYTES_MAX: Final = 108
"""``sizeof(sun_path)``: an abstract name may fill it, a path needs room for the zero after it."""
_CREDENTIALS: Final = struct.Struct("3i")
_INT_BYTES: Final = 4
_DOMAIN: Final = getattr(os_socket, "SO_DOMAIN", 39)
_PROTOCOL: Final = getattr(os_socket, "SO_PROTOCOL", 38)
_PEERCRED: Final = getattr(os_socket, "SO_PEERCRED", 17)
_ACCEPTCONN: Final = os_socket.SO_ACCEPTCONN


def read_name(address: Any, call: str) -> bytes:
    """Read the address of a Unix socket: a path, or bytes that begin with zero for an abstract name."""
    if isinstance(address, str):
        name = os.fsencode(address)
    else:
        try:
            name = memoryview(address).tobytes()
        except TypeError:
            error = TypeError(f"a bytes-like object is required, not '{type(address).__name__}'")
            error.add_note(f"{call}(): a Unix socket's address is a path, or bytes")
            raise error from None
    if len(name) + (name[:1] != b"\0") > _PATH_BYTES_MAX:
        raise OSError("AF_UNIX path too long")
    return name if name[:1] == b"\0" else name.partition(b"\0")[0]


def show_name(name: bytes) -> str | bytes:
    """Return a name as Python shows it: a path as text, an abstract name as bytes, ``""`` for none."""
    return name if name[:1] == b"\0" else os.fsdecode(name)


def credentials_of(runtime: Runtime) -> tuple[int, int, int]:
    """Return process, user and group of the program that runs here."""
    user, group = getattr(os, "getuid", None), getattr(os, "getgid", None)
    return runtime.process().pid, user() if user is not None else 0, group() if group is not None else 0


# --- options: what is not here is ENOPROTOOPT, and of another level EOPNOTSUPP

_Get = Callable[[LocalSocket], int | bytes]

_FLAGS: Final = {os_socket.SO_KEEPALIVE, os_socket.SO_REUSEADDR, os_socket.SO_BROADCAST,
                 os_socket.SO_OOBINLINE, os_socket.SO_DONTROUTE, getattr(os_socket, "SO_PASSCRED", 16)}
"""Options that are kept, and change nothing."""


_READ: Final[dict[int, _Get]] = {
    os_socket.SO_TYPE: lambda host: int(host.kind), _DOMAIN: lambda host: 1, _PROTOCOL: lambda host: 0,
    os_socket.SO_ERROR: lambda host: host.take_error(), _ACCEPTCONN: lambda host: int(host.is_listening()),
    os_socket.SO_SNDBUF: lambda host: int(host.send_buffer_bytes),
    os_socket.SO_RCVBUF: lambda host: int(host.receive_buffer_bytes),
    os_socket.SO_RCVTIMEO: lambda host: write_timeval(host.receive_timeout_ns),
    os_socket.SO_SNDTIMEO: lambda host: write_timeval(host.send_timeout_ns),
    os_socket.SO_RCVLOWAT: lambda host: 1, os_socket.SO_LINGER: lambda host: bytes(8),
    _PEERCRED: lambda host: _CREDENTIALS.pack(*host.peer_credentials),
}


def get_local_option(host: LocalSocket, level: int, name: int) -> int | bytes:
    """Read an option of a Unix socket."""
    _ensure_level(level)
    if name in _FLAGS:
        return int(name in host.flags)
    get = _READ.get(name)
    if get is None:
        raise os_error(errno.ENOPROTOOPT, f"protocol not available: no option {name} on a Unix socket")
    return get(host)


def set_local_option(host: LocalSocket, level: int, name: int, value: int | bytes) -> None:
    """Set an option of a Unix socket."""
    _ensure_level(level)
    if name == os_socket.SO_RCVTIMEO:
        host.receive_timeout_ns = read_timeval(value)
        return
    if name == os_socket.SO_SNDTIMEO:
        host.send_timeout_ns = read_timeval(value)
        return
    if name == os_socket.SO_LINGER:
        return  # nothing is left to be sent when a Unix socket is closed
    if isinstance(value, bytes) and len(value) < _INT_BYTES:
        raise os_error(errno.EINVAL, f"invalid argument: option {name} takes an int, not {len(value)} bytes")
    number = value if isinstance(value, int) else int.from_bytes(value[:_INT_BYTES], sys.byteorder, signed=True)
    if name in _FLAGS:
        host.set_flag(name, is_on=number != 0)
    elif name == os_socket.SO_SNDBUF:
        host.set_send_buffer(2 * (number & 0xFFFFFFFF))  # as Linux: less than 0 is more than any limit
    elif name == os_socket.SO_RCVBUF:
        host.receive_buffer_bytes = max(2304, min(2 * (number & 0xFFFFFFFF), 425_984))
    elif name != os_socket.SO_RCVLOWAT:
        raise os_error(errno.ENOPROTOOPT, f"protocol not available: option {name} of a Unix socket can't be set")


def _ensure_level(level: int) -> None:
    if level != os_socket.SOL_SOCKET:
        raise os_error(errno.EOPNOTSUPP, f"operation not supported: a Unix socket has no options of level {level}")
