"""Addresses as programs give them, with names looked up: ``("server", 80)`` becomes ``("10.0.0.2", 80)``. And what
families and kinds of sockets are called.

Compiled with the core.
"""

from __future__ import annotations

import operator
import socket as os_socket
from typing import TYPE_CHECKING, Any, Final

from estab.abi import AF_INET, AF_INET6
from estab.host.sockets.sockaddr import read_sockaddr
from estab.sockets.lookups import interface_index, lookup, numeric_address
from estab.wire.address import format_address

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["named_family", "named_kind", "numeric"]

_AF_INET: Final = int(os_socket.AF_INET)
_AF_INET6: Final = int(os_socket.AF_INET6)
_families: Final[dict[int, Any]] = {int(family): family for family in os_socket.AddressFamily}
_kinds: Final[dict[int, Any]] = {int(kind): kind for kind in os_socket.SocketKind}


def named_family(number: Any) -> os_socket.AddressFamily:
    """Return a family's name if it has one, as ``socket.socket`` does."""
    return _families.get(number, number)  # type: ignore[no-any-return]


def named_kind(number: Any) -> os_socket.SocketKind:
    """Return a kind's name if it has one."""
    return _kinds.get(number, number)  # type: ignore[no-any-return]


def numeric(runtime: Runtime, family: int, address: Any, call: str) -> Any:
    """Return ``address`` with a numeric host. ``TypeError`` for what is no address, in the name of ``call``.

    ``socket.gaierror`` if the name has no address of the family.
    """
    is_v6 = family == _AF_INET6
    if not isinstance(address, tuple) or not 2 <= len(address) <= (4 if is_v6 else 2):
        read_sockaddr(AF_INET6 if is_v6 else AF_INET, address, call)
    count = len(address)
    host = address[0]
    if isinstance(host, str):
        known = numeric_address(host)
        if known is not None and len(known) == (4 if family == _AF_INET else 16) and count == 2 and "%" not in host:
            return (format_address(known), address[1])
    elif isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    if not isinstance(host, str) or host == "" or (host == "<broadcast>" and family == _AF_INET):
        return (host, *address[1:])
    if is_v6 and (host == "<broadcast>" or host == "255.255.255.255"):
        raise OSError("address family mismatched")
    if "\0" in host:
        raise TypeError("host name must not contain null character")
    for number in address[1:]:
        operator.index(number)  # TypeError before the name is looked up
    zone = host.partition("%")[2]
    text = format_address(lookup(runtime, host, family)[0])
    if zone and count < 4:
        index = interface_index(runtime, zone)
        return (text, address[1], address[2] if count > 2 else 0, index)
    return (text, *address[1:])
