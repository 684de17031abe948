"""The options of multicast that name sources (RFC 3678): what ``setsockopt`` takes, Linux's structures and errnos.

Those of ``IPPROTO_IP`` name the interface by its address, or (``MCAST_…``) by its index, those of ``IPPROTO_IPV6`` by
its index. None can be read: a program would have to give ``getsockopt`` the group. We differ: Linux lets TCP sockets
join by them, which get nothing by it; here it is EPROTO, as of ``IP_ADD_MEMBERSHIP``.
"""

from __future__ import annotations

import errno
import socket as s
import struct
from collections.abc import Callable
from typing import Any, Final

from estab.errors import os_error
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.socket.group_options import of

__all__ = ["SOURCE_OPTIONS", "SOURCE_OPTIONS_V6"]

_MREQ_SOURCE: Final = struct.Struct("4s4s4s")
_FILTER: Final = struct.Struct("4s4sII")
_ADDRESS_BYTES: Final = 4
_GROUP_REQ: Final = struct.Struct("I4x128s")
_GROUP_SOURCE_REQ: Final = struct.Struct("I4x128s128s")
_GROUP_FILTER: Final = struct.Struct("I4x128sII")
_STORAGE_BYTES: Final = 128
_FAMILY: Final = struct.Struct("H")
_EXCLUDE, _INCLUDE = 0, 1
_ANY: Final = bytes(4)
Setter = Callable[[Any, bytes], None]


def _add_by_address(socket: Any, value: bytes, is_include: bool) -> None:
    """Name a source (``ip_mreq_source``). To be heard: join first, if the socket has not."""
    group, interface, source = _read_mreq_source(value)
    udp = _udp(socket)
    if is_include:
        _join(udp, group, interface, 0)
    udp.udp.groups.add_source(of(udp), group, interface, 0, source, is_include)


def _drop_by_address(socket: Any, value: bytes, is_include: bool) -> None:
    group, interface, source = _read_mreq_source(value)
    udp = _udp(socket)
    udp.udp.groups.drop_source(of(udp), group, interface, 0, source, is_include)


def _set_filter_by_address(socket: Any, value: bytes) -> None:
    """Set IP_MSFILTER (``ip_msfilter``)."""
    if len(value) < _FILTER.size:
        raise _too_short("ip_msfilter", _FILTER.size, value)
    group, interface, mode, count = _FILTER.unpack_from(value)
    udp = _udp(socket)
    udp.udp.groups.ensure_few(group, count)
    end = _FILTER.size + count * _ADDRESS_BYTES
    if len(value) < end:
        raise _too_short("ip_msfilter", end, value)
    sources = [value[at : at + _ADDRESS_BYTES] for at in range(_FILTER.size, end, _ADDRESS_BYTES)]
    _set_filter(udp, group, b"" if interface == _ANY else interface, 0, sources, mode)


def _join_or_leave(family: int, joins: bool) -> Setter:
    def change(socket: Any, value: bytes) -> None:
        if len(value) < _GROUP_REQ.size:
            raise _too_short("group_req", _GROUP_REQ.size, value)
        index, storage = _GROUP_REQ.unpack_from(value)
        group = _address_in(storage, family)
        if group is None:
            raise _other_family(errno.EINVAL if family == s.AF_INET else errno.EADDRNOTAVAIL)
        udp = _udp(socket)
        (udp.udp.groups.join if joins else udp.udp.groups.leave)(of(udp), group, b"", index)

    return change


def _change_source(family: int, is_include: bool, adds: bool) -> Setter:
    def change(socket: Any, value: bytes) -> None:
        is_too_long = family == s.AF_INET and len(value) > _GROUP_SOURCE_REQ.size
        if is_too_long or len(value) < _GROUP_SOURCE_REQ.size:
            raise _too_short("group_source_req", _GROUP_SOURCE_REQ.size, value)
        index, *storages = _GROUP_SOURCE_REQ.unpack_from(value)
        group, source = (_address_in(storage, family) for storage in storages)
        if group is None or source is None:
            raise _other_family()
        udp = _udp(socket)
        if adds and is_include:
            _join(udp, group, b"", index)
        groups = udp.udp.groups
        (groups.add_source if adds else groups.drop_source)(of(udp), group, b"", index, source, is_include)

    return change


def _set_filter_of(family: int) -> Setter:
    def change(socket: Any, value: bytes) -> None:
        """Set MCAST_MSFILTER (``group_filter``)."""
        if len(value) < _GROUP_FILTER.size:
            raise _too_short("group_filter", _GROUP_FILTER.size, value)
        index, storage, mode, count = _GROUP_FILTER.unpack_from(value)
        udp = _udp(socket)
        udp.udp.groups.ensure_few(bytes(4 if family == s.AF_INET else 16), count)
        end = _GROUP_FILTER.size + count * _STORAGE_BYTES
        if len(value) < end:
            raise _too_short("group_filter", end, value)
        group = _address_in(storage, family)
        if group is None:
            raise _other_family(errno.EADDRNOTAVAIL if family == s.AF_INET else errno.EINVAL)
        sources = []
        for at in range(_GROUP_FILTER.size, end, _STORAGE_BYTES):
            source = _address_in(value[at : at + _STORAGE_BYTES], family)
            if source is None:
                raise _other_family()
            sources.append(source)
        _set_filter(udp, group, b"", index, sources, mode)

    return change


def _join(udp: DatagramSocket, group: bytes, address: bytes, index: int) -> None:
    """Join a group to hear nobody yet; that the socket has joined already is no error."""
    try:
        udp.udp.groups.join(of(udp), group, address, index, is_include=True)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise


def _set_filter(udp: DatagramSocket, group: bytes, address: bytes, index: int, sources: list[bytes], mode: int) -> None:
    if mode not in (_EXCLUDE, _INCLUDE):
        raise os_error(errno.EINVAL, f"invalid argument: {mode} is neither MCAST_INCLUDE nor MCAST_EXCLUDE")
    udp.udp.groups.set_filter(of(udp), group, address, index, sources, mode == _INCLUDE)


def _read_mreq_source(value: bytes) -> tuple[bytes, bytes, bytes]:
    if len(value) != _MREQ_SOURCE.size:
        raise _too_short("ip_mreq_source", _MREQ_SOURCE.size, value)
    group, interface, source = _MREQ_SOURCE.unpack(value)
    return group, b"" if interface == _ANY else interface, source


def _address_in(storage: bytes, family: int) -> bytes | None:
    """Cut the address out of a ``sockaddr_storage``; ``None`` if it is of another family."""
    if _FAMILY.unpack_from(storage)[0] != family:
        return None
    return storage[4:8] if family == s.AF_INET else storage[8:24]


def _udp(socket: Any) -> DatagramSocket:
    if not isinstance(socket, DatagramSocket):
        raise os_error(errno.EPROTO, "protocol error: groups are joined by UDP sockets, and this is a TCP socket")
    return socket


def _too_short(name: str, size: int, value: bytes) -> OSError:
    return os_error(errno.EINVAL, f"invalid argument: struct {name} has {size} bytes here, not {len(value)}")


def _other_family(number: int = errno.EADDRNOTAVAIL) -> OSError:
    words = "invalid argument" if number == errno.EINVAL else "cannot assign requested address"
    return os_error(number, f"{words}: an address is of another family than the option")


def _of_family(family: int) -> dict[str, Setter]:
    return {
        "MCAST_JOIN_GROUP": _join_or_leave(family, joins=True),
        "MCAST_LEAVE_GROUP": _join_or_leave(family, joins=False),
        "MCAST_BLOCK_SOURCE": _change_source(family, is_include=False, adds=True),
        "MCAST_UNBLOCK_SOURCE": _change_source(family, is_include=False, adds=False),
        "MCAST_JOIN_SOURCE_GROUP": _change_source(family, is_include=True, adds=True),
        "MCAST_LEAVE_SOURCE_GROUP": _change_source(family, is_include=True, adds=False),
        "MCAST_MSFILTER": _set_filter_of(family),
    }


SOURCE_OPTIONS: Final[dict[str, Setter]] = {
    "IP_ADD_SOURCE_MEMBERSHIP": lambda socket, value: _add_by_address(socket, value, is_include=True),
    "IP_DROP_SOURCE_MEMBERSHIP": lambda socket, value: _drop_by_address(socket, value, is_include=True),
    "IP_BLOCK_SOURCE": lambda socket, value: _add_by_address(socket, value, is_include=False),
    "IP_UNBLOCK_SOURCE": lambda socket, value: _drop_by_address(socket, value, is_include=False),
    "IP_MSFILTER": _set_filter_by_address,
    **_of_family(s.AF_INET),
}
"""Of ``IPPROTO_IP``, by name: how each is set."""
SOURCE_OPTIONS_V6: Final[dict[str, Setter]] = _of_family(s.AF_INET6)
"""Of ``IPPROTO_IPV6``."""
