"""Unix sockets and pipes between programs of one host, in virtual time.

The host's loopback carries them: a name stands for a port of 127.0.0.1, a pipe is a connected pair. Each host has names
of its own and makes no files for them; two hosts may use the same. Credentials and descriptors (SCM_CREDENTIALS,
SCM_RIGHTS) can't be passed.
"""

from __future__ import annotations

import errno
import os
import socket as os_socket
import weakref
from typing import TYPE_CHECKING, Any, Final

from estab.errors import os_error

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["AF_UNIX", "LOOPBACK", "LocalNames", "local_names", "read_name"]

AF_UNIX: Final = getattr(os_socket, "AF_UNIX", -1)
LOOPBACK: Final = "127.0.0.1"
_PATH_BYTES_MAX: Final = 108

Name = str | bytes


class LocalNames:
    """The names of Unix sockets on one host, and the port of each."""

    def __init__(self) -> None:
        self._ports: dict[Name, int] = {}
        self._names: dict[int, Name] = {}

    def add(self, name: Name, port: int) -> None:
        """Let a name stand for a port. It stays until ``remove``, as a file does."""
        self._ports[name] = port
        self._names[port] = name

    def has(self, name: Name) -> bool:
        """Tell whether there is such a name."""
        return name in self._ports

    def remove(self, name: Name) -> None:
        """Remove a name. What is connected stays connected."""
        self._names.pop(self._ports.pop(name), None)

    def port(self, name: Name) -> int:
        """Find the port of a name. ENOENT if there is none."""
        port = self._ports.get(name)
        if port is None:
            raise os_error(errno.ENOENT, f"no such file or directory: no Unix socket {name!r} on this host")
        return port

    def name(self, port: int) -> Name:
        """Find the name of a port; empty if it has none."""
        return self._names.get(port, "")


_names: weakref.WeakKeyDictionary[Runtime, LocalNames] = weakref.WeakKeyDictionary()


def local_names(runtime: Runtime) -> LocalNames:
    """Return a host's names of Unix sockets."""
    found = _names.get(runtime)
    if found is None:
        found = _names[runtime] = LocalNames()
    return found


def read_name(address: Any, call: str) -> Name:
    """Read the address of a Unix socket: a path, or bytes that begin with zero for an abstract name."""
    if isinstance(address, (str, os.PathLike)):
        text = os.fspath(address)
        name: Name = text.decode() if isinstance(text, bytes) else text
    elif isinstance(address, (bytes, bytearray)):
        name = bytes(address) if address[:1] == b"\0" else os.fsdecode(bytes(address))
    else:
        raise TypeError(f"{call}(): a Unix socket's address is a path, not {type(address).__name__}")
    if len(name if isinstance(name, bytes) else os.fsencode(name)) >= _PATH_BYTES_MAX:
        raise OSError("AF_UNIX path too long")
    return name
