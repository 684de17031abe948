"""The options of multicast: what ``setsockopt`` takes, its structures, errnos and their order as Linux's."""

from __future__ import annotations

import errno
import struct
from typing import Any, Final

from estab.errors import os_error
from estab.host.sockets.groups import Multicast
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket

__all__ = [
    "get_interface", "join", "join_v6", "leave", "leave_v6", "never_read", "of", "set_all", "set_hops_v6",
    "set_interface", "set_interface_v6", "set_loop_v6", "set_ttl",
]

_INT: Final = struct.Struct("i")
_ADDRESS_BYTES: Final = 4
_MREQ: Final = struct.Struct("4s4s")
_MREQN: Final = struct.Struct("4s4si")
_MREQ6: Final = struct.Struct("16si")
_ANY: Final = bytes(4)


def of(socket: Any) -> Multicast:
    """Return what a socket says of multicast."""
    found: Multicast | None = socket.multicast
    if found is None:
        found = socket.multicast = Multicast(socket.family)
    return found


def never_read(socket: Any, now_ns: int) -> int:
    """Raise ENOPROTOOPT: the option can only be set."""
    raise os_error(errno.ENOPROTOOPT, "protocol not available: which groups a socket has joined can't be read")


def set_ttl(socket: Any, value: int, now_ns: int) -> None:
    """Set IP_MULTICAST_TTL; -1 is the default. EINVAL, for TCP always."""
    if isinstance(socket, StreamSocket) or not -1 <= value <= 255:
        raise os_error(errno.EINVAL, f"invalid argument: IP_MULTICAST_TTL is 0 to 255, on UDP, not {value}")
    of(socket).ttl = 1 if value == -1 else value


def set_hops_v6(socket: Any, given: bytes) -> None:
    """Set IPV6_MULTICAST_HOPS; -1 is the default. ENOPROTOOPT for TCP, EINVAL."""
    _ensure_not_tcp(socket, errno.ENOPROTOOPT, "IPV6_MULTICAST_HOPS")
    value = _read_int(given)
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL, f"invalid argument: IPV6_MULTICAST_HOPS is 0 to 255, not {value}")
    of(socket).hops = 1 if value == -1 else value


def set_loop_v6(socket: Any, value: int, now_ns: int) -> None:
    """Set IPV6_MULTICAST_LOOP. EINVAL if it is neither 0 nor 1."""
    if value not in (0, 1):
        raise os_error(errno.EINVAL, f"invalid argument: {value} is neither 0 nor 1")
    of(socket).is_looped_v6 = value == 1


def set_all(socket: Any, value: int, now_ns: int) -> None:
    """Set IP_MULTICAST_ALL. EINVAL if it is neither 0 nor 1."""
    if value not in (0, 1):
        raise os_error(errno.EINVAL, f"invalid argument: {value} is neither 0 nor 1")
    of(socket).takes_all = value == 1


def get_interface(socket: Any, now_ns: int) -> bytes:
    """Return the address that IP_MULTICAST_IF named; 0.0.0.0: none."""
    return of(socket).source or _ANY


def set_interface(socket: Any, value: bytes) -> None:
    """Set IP_MULTICAST_IF: an address, ``ip_mreq`` or ``ip_mreqn``. EINVAL, EADDRNOTAVAIL."""
    _ensure_not_tcp(socket, errno.EINVAL, "IP_MULTICAST_IF")
    if len(value) < _ADDRESS_BYTES:
        raise os_error(errno.EINVAL, f"invalid argument: IP_MULTICAST_IF takes an address, not {len(value)} bytes")
    address, index = value[:_ADDRESS_BYTES], 0
    if len(value) >= _MREQ.size:
        _, address, index = _read_mreq(value)
    address = b"" if address == _ANY else address
    interface = None
    if index or address:
        interface = socket.udp.groups.find_interface(b"", address, index)
        if interface is None:
            raise os_error(errno.EADDRNOTAVAIL, "cannot assign requested address: IP_MULTICAST_IF names no interface "
                           "of this host")
    multicast = of(socket)
    multicast.source, multicast.index = address, 0 if interface is None else interface.index


def set_interface_v6(socket: Any, given: bytes) -> None:
    """Set IPV6_MULTICAST_IF, the index of an interface; 0: the route's. ENOPROTOOPT for TCP, EINVAL, ENODEV."""
    _ensure_not_tcp(socket, errno.ENOPROTOOPT, "IPV6_MULTICAST_IF")
    value = _read_int(given)
    if value and socket.udp.groups.find_interface(b"", b"", value) is None:
        raise os_error(errno.ENODEV, f"no such device: this host has no interface of index {value}")
    of(socket).index_v6 = value


def join(socket: Any, value: bytes) -> None:
    """Join a group (IP_ADD_MEMBERSHIP): ``ip_mreq`` or ``ip_mreqn``. EPROTO for TCP, EINVAL, ENODEV, EADDRINUSE."""
    udp = _udp(socket, "IP_ADD_MEMBERSHIP")
    group, address, index = _read_mreq(value)
    udp.udp.groups.join(of(udp), group, b"" if address == _ANY else address, index)


def leave(socket: Any, value: bytes) -> None:
    """Leave a group (IP_DROP_MEMBERSHIP). EPROTO for TCP, EINVAL, ENODEV, EADDRNOTAVAIL."""
    udp = _udp(socket, "IP_DROP_MEMBERSHIP")
    group, address, index = _read_mreq(value)
    udp.udp.groups.leave(of(udp), group, b"" if address == _ANY else address, index)


def join_v6(socket: Any, value: bytes) -> None:
    """Join a group (IPV6_JOIN_GROUP): ``ipv6_mreq``. EINVAL, EPROTO for TCP, ENODEV, EADDRINUSE."""
    group, index = _read_mreq6(value)
    udp = _udp(socket, "IPV6_JOIN_GROUP")
    udp.udp.groups.join(of(udp), group, b"", index)


def leave_v6(socket: Any, value: bytes) -> None:
    """Leave a group (IPV6_LEAVE_GROUP). EINVAL, EPROTO for TCP, EADDRNOTAVAIL."""
    group, index = _read_mreq6(value)
    udp = _udp(socket, "IPV6_LEAVE_GROUP")
    udp.udp.groups.leave(of(udp), group, b"", index)


def _read_int(value: bytes) -> int:
    if len(value) < _INT.size:
        raise os_error(errno.EINVAL, f"invalid argument: the option takes an int, not {len(value)} bytes")
    number: int = _INT.unpack_from(value)[0]
    return number


def _read_mreq(value: bytes) -> tuple[bytes, bytes, int]:
    """Read a group and the interface that is named by its address or index."""
    if len(value) >= _MREQN.size:
        return _MREQN.unpack_from(value)
    if len(value) < _MREQ.size:
        raise os_error(errno.EINVAL, f"invalid argument: struct ip_mreq has {_MREQ.size} bytes, not {len(value)}")
    group, address = _MREQ.unpack_from(value)
    return group, address, 0


def _read_mreq6(value: bytes) -> tuple[bytes, int]:
    if len(value) < _MREQ6.size:
        raise os_error(errno.EINVAL, f"invalid argument: struct ipv6_mreq has {_MREQ6.size} bytes, not {len(value)}")
    return _MREQ6.unpack_from(value)


def _udp(socket: Any, name: str) -> DatagramSocket:
    if not isinstance(socket, DatagramSocket):
        raise os_error(errno.EPROTO, f"protocol error: {name} on a TCP socket; groups are joined by UDP sockets")
    return socket


def _ensure_not_tcp(socket: Any, number: int, name: str) -> None:
    if isinstance(socket, StreamSocket):
        words = "invalid argument" if number == errno.EINVAL else "protocol not available"
        raise os_error(number, f"{words}: {name} on a TCP socket")
