"""How addresses are looked up on a host. ``names`` has the functions that programs call.

Compiled with the core: each connection of a program asks here for an address, most of them several times.
"""

from __future__ import annotations

import operator
import socket as os_socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from estab.errors import tell
from estab.wire.address import format_address, is_v4_mapped, parse_address, unmap_v4

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["AddrInfo", "check_labels", "getaddrinfo", "interface_index", "lookup", "numeric_address", "unknown"]

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
_LABEL_MAX: Final = 63
_INT_MAX: Final = 0x7FFFFFFF
_INT_SIGN: Final = 0x80000000
"""Of a C ``int``, in which glibc keeps a port: a number less than 0 is the name of no service."""
_numeric: Final[dict[str, bytes | None]] = {}
"""What was asked for lately: its address, or that it is a name."""

# As plain integers: to ask an enumeration for its bits takes a microsecond.
_AF_UNSPEC: Final = int(os_socket.AF_UNSPEC)
_AF_INET: Final = int(os_socket.AF_INET)
_AF_INET6: Final = int(os_socket.AF_INET6)
_SOCK_STREAM: Final = int(os_socket.SOCK_STREAM)
_SOCK_RAW: Final = int(os_socket.SOCK_RAW)
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
        short = _short_address(host)
        if short is None:
            raise unknown(runtime.why_unknown(host))
        found = [short]
    if family == _AF_INET and address is not None and is_v4_mapped(address):
        return [unmap_v4(address)]
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
        number, mark, _ = text.partition("%")
        try:
            address = parse_address(number)
        except ValueError:
            address = None
        if mark and address is not None and len(address) == 4:
            address = None  # only IPv6 has zones
        if len(_numeric) >= _TEXTS_MAX:
            _numeric.clear()
        _numeric[text] = address
    return address


def check_labels(name: str) -> None:
    """Raise ``UnicodeError`` if a label of a name is too long, or empty, as Python does before it asks for one."""
    if len(name) > _LABEL_MAX or ".." in name:
        name.encode("idna")


def _short_address(text: str) -> bytes | None:
    """Read an IPv4 address that is written in fewer parts (``127.1``), or not in decimal, as ``inet_aton`` does."""
    if not text[:1].isdigit() or len(text.split()) != 1 or "\0" in text:
        return None
    try:
        return os_socket.inet_aton(text)
    except OSError:
        return None


def getaddrinfo(runtime: Runtime, host: Any, port: Any, family: Any, type: Any, proto: Any,
                flags: Any) -> list[AddrInfo]:
    """Translate a host and a port into addresses, as ``socket.getaddrinfo``."""
    of_family: int = operator.index(family)
    kind_asked: int = operator.index(type)
    proto_asked: int = operator.index(proto)
    bits: int = operator.index(flags)
    text = host.decode("latin-1") if isinstance(host, bytes) else host
    if text is not None and not isinstance(text, str):
        raise TypeError("getaddrinfo() argument 1 must be string or None")
    if isinstance(host, str):
        check_labels(host)
    if port is not None and port.__class__ is not int and not isinstance(port, (str, bytes)):
        raise OSError("Int or String expected")
    if of_family != _AF_UNSPEC and of_family != _AF_INET and of_family != _AF_INET6:
        raise os_socket.gaierror(os_socket.EAI_FAMILY, "ai_family not supported")
    kinds = _STREAM
    if kind_asked != _SOCK_STREAM or (proto_asked != 0 and proto_asked != _IPPROTO_TCP):
        kinds = _kinds_of(kind_asked, proto_asked, host is not None or port is not None)
    if not kinds:
        raise os_socket.gaierror(os_socket.EAI_SOCKTYPE, "ai_socktype not supported")
    if kind_asked == _SOCK_RAW and port is not None:
        raise os_socket.gaierror(os_socket.EAI_SERVICE, "Servname not supported for ai_socktype")
    number: int = 0
    if isinstance(port, int) and port >= 0 and port <= _INT_MAX:
        number = port & 0xFFFF
    else:
        kinds, number = _port(port, kinds, bits)
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
    """Return the kinds of sockets, with their protocols, that are asked for: one of them if any is named, as glibc."""
    found = [(kind, number) for kind, number in (_EVERY_KIND if has_raw else _KINDS)
             if type in (0, kind) and proto in (0, number or proto)]
    return tuple(found[:1] if type or proto else found)


def unknown(what: str) -> OSError:
    """Make the error for a name that is not known."""
    return tell(os_socket.gaierror(os_socket.EAI_NONAME, "Name or service not known"), what)


def _active(runtime: Runtime, text: str, family: int, flags: int) -> list[bytes]:
    if flags & _NUMERICHOST and numeric_address(text) is None and _short_address(text) is None:
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
    if isinstance(port, int):
        if port & _INT_SIGN == 0:
            return kinds, port & 0xFFFF
        port = str(port)
    elif isinstance(port, bytes):
        port = port.decode("latin-1")
    if port.isascii() and port.isdigit() and not int(port) & _INT_SIGN:
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
