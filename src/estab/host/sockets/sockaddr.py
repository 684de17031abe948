"""Socket addresses as programs write them, and as the stack keeps them.

A program's is ``(host, port)``, or ``(host, port, flowinfo, scope)`` with AF_INET6; the host is numeric or ``""``
(names are resolved floors above). The stack's is the packet's own form: 4 bytes for IPv4, 16 for IPv6, ``b""`` for
the wildcard. An AF_INET6 socket speaks IPv4 through mapped addresses (``::ffff:10.0.0.1``, RFC 4038); inside, such an
address is its 4 bytes.
"""

from __future__ import annotations

import errno
from operator import index
from typing import Final

from mypy_extensions import i64

from estab.abi import AF_INET
from estab.errors import os_error
from estab.wire.address import (
    format_address,
    is_link_local,
    is_unspecified,
    is_v4_mapped,
    map_v4,
    parse_address,
    unmap_v4,
)

__all__ = ["ANY", "Endpoint", "SockAddr", "ensure_has_scope", "is_scoped", "read_sockaddr", "write_sockaddr"]

SockAddr = tuple[str, int] | tuple[str, int, int, int]

ANY: Final = b""
"""The wildcard address."""
_UNSIGNED_MAX: Final = 0xFFFFFFFF
_FLOWINFO_MAX: Final = 0xFFFFF


class Endpoint:
    """One end: ``address`` is 4 or 16 bytes, or ``ANY``; ``scope`` is an interface's index, 0 if none was given."""

    def __init__(self, address: bytes, port: i64, scope: i64, is_v4: bool) -> None:
        self.address: bytes = address
        self.port: i64 = port
        self.scope: i64 = scope
        self.is_v4: bool = is_v4
        """The address is IPv4, also if it is 0.0.0.0; with AF_INET6, that it was written as a mapped one."""


def ensure_has_scope(remote: bytes, scope: i64, local: bytes) -> None:
    """Raise EINVAL, as Linux does, if an address that every link has is given without its interface.

    ``local``: what the socket is bound to; an address of a link says the interface, too.
    """
    if len(remote) != 16 or scope != 0 or (local and is_link_local(local)):
        return
    if is_link_local(remote) or (remote[0] == 0xFF and 1 <= remote[1] & 0xF <= 2):
        raise os_error(errno.EINVAL, f"invalid argument: {format_address(remote)} needs its interface: (host, port, 0, "
                       "index), or a name like fe80::1%eth0")


def read_sockaddr(family: i64, address: object, call: str) -> Endpoint:
    """Read a program's address. ``call`` names the function for the error's text.

    Raises what Python's socket raises, in its words: ``TypeError`` on a wrong shape, ``OverflowError`` on a port
    beyond 65535, and ``OSError`` EAFNOSUPPORT or EINVAL on a host that is no address of the family.
    """
    if not isinstance(address, tuple):
        name = "AF_INET" if family == AF_INET else "AF_INET6"
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    sizes = (2,) if family == AF_INET else (2, 3, 4)
    if len(address) not in sizes:
        error = TypeError("AF_INET address must be a pair (host, port)" if family == AF_INET else
                          "AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
        error.add_note(f"{call}() got {address!r}")
        raise error
    text: object = address[0]
    if not isinstance(text, str):
        raise TypeError(f"str, bytes or bytearray expected, not {'NoneType' if text is None else type(text).__name__}")
    port: int = index(address[1])
    flowinfo: int = index(address[2]) & _UNSIGNED_MAX if len(address) > 2 else 0
    scope: int = index(address[3]) & _UNSIGNED_MAX if len(address) > 3 else 0
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    if flowinfo > _FLOWINFO_MAX:
        raise OverflowError(f"{call}(): flowinfo must be 0-1048575.")
    return _read_host(family, text, port, scope, call)


def _read_host(family: i64, text: str, port: i64, scope: i64, call: str) -> Endpoint:
    if text == "":
        return Endpoint(ANY, port, scope, family == AF_INET)
    if text == "<broadcast>" and family == AF_INET:
        return Endpoint(b"\xff\xff\xff\xff", port, scope, is_v4=True)
    try:
        packed = parse_address(text.partition("%")[0])
    except ValueError:
        raise os_error(errno.EINVAL, f"{call}: {text!r} is not a numeric address") from None
    if (len(packed) == 4) != (family == AF_INET):
        wants = "IPv4" if family == AF_INET else "IPv6"
        raise os_error(errno.EAFNOSUPPORT, f"{call}: {text!r} is not an {wants} address, and the socket is")
    is_v4 = len(packed) == 4
    if is_v4_mapped(packed):
        packed, is_v4 = unmap_v4(packed), True
    if is_unspecified(packed):
        packed = ANY
    return Endpoint(packed, port, scope, is_v4)


def write_sockaddr(family: i64, address: bytes, port: i64, scope: i64) -> SockAddr:
    """Write an address as the program of a socket of that family sees it."""
    if family == AF_INET:
        return (format_address(address) if address else "0.0.0.0", port)
    if not address:
        return ("::", port, 0, 0)
    shown = map_v4(address) if len(address) == 4 else address
    return (format_address(shown), port, 0, scope)


def is_scoped(address: bytes) -> bool:
    """Tell whether an address means something only with an interface beside it."""
    return len(address) == 16 and is_link_local(address)
