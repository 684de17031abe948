"""How addresses are looked up on a host. ``names`` has the functions that programs call.

Compiled with the core: each connection of a program asks here for an address, most of them several times.
"""

from __future__ import annotations

import operator
import socket as os_socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from estab.errors import tell
from estab.wire.address import format_address, parse_address

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["AddrInfo", "getaddrinfo", "interface_index", "lookup", "numeric_address", "unknown"]

AddrInfo = tuple[os_socket.AddressFamily, os_socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]

_Kind = tuple[os_socket.SocketKind, int]
_KINDS: Final[tuple[_Kind, ...]] = (
    (os_socket.SOCK_STREAM, int(os_socket.IPPROTO_TCP)),
    (os_socket.SOCK_DGRAM, int(os_socket.IPPROTO_UDP)),
)
_PROTOCOLS: Final = ((int(os_socket.IPPROTO_TCP), "tcp"), (int(os_socket.IPPROTO_UDP), "udp"))
_EVERY_KIND: Final[tuple[_Kind, ...]] = (*_KINDS, (os_socket.SOCK_RAW, 0))
_STREAM: Final[tuple[_Kind, ...]] = _KINDS[:1]
_V4_FAMILY: Final = os_socket.AF_INET
_V6_FAMILY: Final = os_socket.AF_INET6
_TEXTS_MAX: Final = 4096
_numeric: Final[dict[str, bytes | None]] = {}
"""What was asked for lately: its address, or that it is a name."""

# As plain integers: to ask an enumeration for its bits takes a microsecond.
_AF_UNSPEC: Final = int(os_socket.AF_UNSPEC)
_AF_INET: Final = int(os_socket.AF_INET)
_AF_INET6: Final = int(os_socket.AF_INET6)
_SOCK_STREAM: Final = int(os_socket.SOCK_STREAM)
_IPPROTO_TCP: Final = int(os_socket.IPPROTO_TCP)
_CANONNAME: Final = int(os_socket.AI_CANONNAME)
_NUMERICHOST: Final = int(os_socket.AI_NUMERICHOST)
_NUMERICSERV: Final = int(os_socket.AI_NUMERICSERV)
_PASSIVE: Final = int(os_socket.AI_PASSIVE)


def lookup(runtime: Runtime, host: str, family: int) -> list[bytes]:
    """Return the addresses of a numeric host or of a name, IPv4 first. ``gaierror`` if there are none."""
    address = numeric_address(host)
    found = runtime.resolve(host, _AF_UNSPEC) if address is None else [address]
    if not found:
        raise unknown(runtime.why_unknown(host))
    if family == _AF_UNSPEC:
        return found
    size = 4 if family == _AF_INET else 16 if family == _AF_INET6 else 0
    of_family = [address for address in found if len(address) == size]
    if not of_family:
        number = os_socket.EAI_ADDRFAMILY if hasattr(os_socket, "EAI_ADDRFAMILY") else os_socket.EAI_NONAME
        raise tell(os_socket.gaierror(number, "Address family for hostname not supported"),
                   f"{host!r} has no address of that family")
    return of_family


def numeric_address(text: str) -> bytes | None:
    """Read an address, with or without a zone; ``None`` for a name."""
    address = _numeric.get(text, b"")
    if address == b"":
        try:
            address = parse_address(text.partition("%")[0])
        except ValueError:
            address = None
        if len(_numeric) >= _TEXTS_MAX:
            _numeric.clear()
        _numeric[text] = address
    return address


def getaddrinfo(runtime: Runtime, host: Any, port: Any, family: Any, type: Any, proto: Any,
                flags: Any) -> list[AddrInfo]:
    """Translate a host and a port into addresses, as ``socket.getaddrinfo``."""
    of_family: int = operator.index(family)
    kind_asked: int = operator.index(type)
    proto_asked: int = operator.index(proto)
    bits: int = operator.index(flags)
    if of_family != _AF_UNSPEC and of_family != _AF_INET and of_family != _AF_INET6:
        raise os_socket.gaierror(os_socket.EAI_FAMILY, "ai_family not supported")
    kinds = _STREAM
    if kind_asked != _SOCK_STREAM or (proto_asked != 0 and proto_asked != _IPPROTO_TCP):
        kinds = _kinds_of(kind_asked, proto_asked, host is not None or port is not None)
    if not kinds:
        raise os_socket.gaierror(os_socket.EAI_SOCKTYPE, "ai_socktype not supported")
    number: int = 0
    if isinstance(port, int) and not isinstance(port, bool):
        number = port & 0xFFFF
    else:
        kinds, number = _port(port, kinds, bits)
    text = host.decode("ascii") if isinstance(host, (bytes, bytearray)) else host
    if text is not None and not isinstance(text, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    addresses = _passive(bits, of_family) if text is None else _active(runtime, text, of_family, bits)
    name: str = text or "" if bits & _CANONNAME else ""
    scope = 0 if text is None or "%" not in text else interface_index(runtime, text.partition("%")[2])
    result: list[AddrInfo] = []
    for address in addresses:
        shown = format_address(address)
        for kind, protocol in kinds:
            if len(address) == 4:
                result.append((_V4_FAMILY, kind, protocol or proto_asked, name, (shown, number)))
            else:
                result.append((_V6_FAMILY, kind, protocol or proto_asked, name, (shown, number, 0, scope)))
            name = ""
    return result


@lru_cache(maxsize=256)
def _kinds_of(type: int, proto: int, has_raw: bool) -> tuple[_Kind, ...]:
    """Return the kinds of sockets, with their protocols, that are asked for."""
    return tuple([(kind, number) for kind, number in (_EVERY_KIND if has_raw else _KINDS)
                  if type in (0, kind) and proto in (0, number or proto)])


def unknown(what: str) -> OSError:
    """Make the error for a name that is not known."""
    return tell(os_socket.gaierror(os_socket.EAI_NONAME, "Name or service not known"), what)


def _active(runtime: Runtime, text: str, family: int, flags: int) -> list[bytes]:
    if flags & _NUMERICHOST and numeric_address(text) is None:
        raise unknown(f"{text!r} is not numeric")
    return lookup(runtime, text, family)


def _passive(flags: int, family: int) -> list[bytes]:
    v4, v6 = (bytes(4), bytes(16)) if flags & _PASSIVE else (b"\x7f\0\0\x01", bytes(15) + b"\x01")
    return [v4, v6] if family == _AF_UNSPEC else [v4 if family == _AF_INET else v6]


def interface_index(runtime: Runtime, zone: str) -> int:
    """Return the interface that an address names after its ``%``, by number or name; 0 if it names none."""
    if not zone or (zone.isascii() and zone.isdigit()):
        return int(zone or 0)
    interface = runtime.engine.find_interface(zone)
    if interface is None:
        raise unknown(f"no interface {zone!r} on {runtime.name}")
    return interface.index


def _port(port: Any, kinds: tuple[_Kind, ...], flags: int) -> tuple[tuple[_Kind, ...], int]:
    """Return the kinds of sockets that have a port, and its number: a service may be known for UDP only (``ntp``)."""
    if port is None:
        return kinds, 0
    if isinstance(port, (bytes, bytearray)):
        port = port.decode("ascii")
    if not isinstance(port, str):
        raise OSError("Int or String expected")
    if port.isascii() and port.isdigit():
        return kinds, int(port) & 0xFFFF
    if not port:
        return kinds, 0
    if not flags & _NUMERICSERV:
        known = {protocol: number for protocol, name in _PROTOCOLS if (number := _service_number(port, name))}
        having = tuple([kind for kind in kinds if kind[1] in known])
        if having:
            return having, known[having[0][1]]
    raise tell(os_socket.gaierror(os_socket.EAI_SERVICE, "Servname not supported for ai_socktype"),
               f"{port!r} is no service")


def _service_number(name: str, protocol: str) -> int:
    """Return the port of a service, 0 if it is not known."""
    try:
        return os_socket.getservbyname(name, protocol)
    except OSError:
        return 0
