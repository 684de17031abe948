"""Names and addresses on a host: what ``getaddrinfo`` and its relatives give there.

Errors are ``socket.gaierror`` and ``socket.herror`` with the system's numbers. Services (``"http"``) are the system's.
"""

from __future__ import annotations

import socket as os_socket
from operator import index
from typing import TYPE_CHECKING, Any, Final

from estab.errors import tell
from estab.sockets import lookups
from estab.sockets.arguments import c_int
from estab.sockets.lookups import AddrInfo, check_labels, lookup, unknown
from estab.wire.address import format_address, parse_address

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["AddrInfo", "getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo"]


def getaddrinfo(runtime: Runtime, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0,
                flags: int = 0) -> list[AddrInfo]:
    """Translate a host and a port into addresses to connect or bind to, as ``socket.getaddrinfo``."""
    return lookups.getaddrinfo(runtime, host, port, family, type, proto, flags)


def gethostbyname(runtime: Runtime, name: str) -> str:
    """Return a name's first IPv4 address, as text."""
    return format_address(_v4(runtime, name, "gethostbyname")[0])


def gethostbyname_ex(runtime: Runtime, name: str) -> tuple[str, list[str], list[str]]:
    """Return a name, its other names (none) and all its IPv4 addresses."""
    found = _v4(runtime, name, "gethostbyname_ex")
    return _text(name, "gethostbyname_ex"), [], [format_address(address) for address in found]


def gethostbyaddr(runtime: Runtime, name: str) -> tuple[str, list[str], list[str]]:
    """Return the names of an address, and the address. ``herror`` if it has no name."""
    address = lookup(runtime, _text(name, "gethostbyaddr"), os_socket.AF_UNSPEC)[0]
    names = runtime.reverse(address)
    if not names:
        raise tell(os_socket.herror(1, "Unknown host"), f"{format_address(address)} has no name on this network")
    return names[0], names[1:], [format_address(address)]


def getnameinfo(runtime: Runtime, sockaddr: Any, flags: int) -> tuple[str, str]:
    """Return the name and the service of an address."""
    flags, host, mark, zone = c_int(flags), "", "", ""
    if isinstance(sockaddr, tuple) and sockaddr and isinstance(sockaddr[0], str):
        host, mark, zone = sockaddr[0].partition("%")
        if ":" in host and zone:
            sockaddr = (host, *sockaddr[1:])
        else:
            mark = zone = ""
    try:
        numbers = _getnameinfo(sockaddr, flags & ~_LOOK_UP | _NUMERIC)  # it refuses what it does not take
    except os_socket.gaierror as error:
        raise tell(error, f"{sockaddr[0]!r} is not numeric, or {sockaddr[1]!r} no port") from None
    port = int(numbers[1])
    scope = index(sockaddr[3]) & 0xFFFFFFFF if len(sockaddr) > 3 else 0
    address = parse_address(numbers[0].partition("%")[0])
    if scope and not zone:
        is_known = 0 < scope < len(runtime.engine.interfaces)
        mark, zone = "%", runtime.engine.interfaces[scope].name if is_known else str(scope)
    host = f"{format_address(address)}{mark}{zone}"
    names = [] if flags & os_socket.NI_NUMERICHOST else runtime.reverse(address)
    if not names and flags & os_socket.NI_NAMEREQD:
        raise unknown(f"{host} has no name on this network")
    return names[0] if names else host, _service(port, flags)


_getnameinfo: Final = os_socket.getnameinfo
_NUMERIC: Final = int(os_socket.NI_NUMERICHOST | os_socket.NI_NUMERICSERV)
_LOOK_UP: Final = int(os_socket.NI_NAMEREQD)


def _text(name: Any, call: str) -> str:
    """Return a host as text. ``TypeError`` for what is neither that nor bytes."""
    if isinstance(name, (bytes, bytearray)):
        return name.decode("latin-1")
    if not isinstance(name, str):
        what = "None" if name is None else type(name).__name__
        raise TypeError(f"{call}() argument 1 must be str, bytes or bytearray, not {what}")
    check_labels(name)
    return name


def _v4(runtime: Runtime, given: Any, call: str) -> list[bytes]:
    name = _text(given, call)
    if name in ("", "0.0.0.0"):
        return [b"\0\0\0\0"]
    if name == "<broadcast>":
        return [b"\xff\xff\xff\xff"]
    return lookup(runtime, name, os_socket.AF_INET)


def _service(port: int, flags: int) -> str:
    if not flags & os_socket.NI_NUMERICSERV:
        try:
            return os_socket.getservbyport(port, "udp" if flags & os_socket.NI_DGRAM else "tcp")
        except OSError:
            pass
    return str(port)
