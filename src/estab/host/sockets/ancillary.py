"""Ancillary data: what ``recvmsg`` tells beside a datagram, and what ``sendmsg`` is told (RFC 3542, Linux's ``ip(7)``).

- A socket's options say which items it wants (``wanted``, a set of bits). They come in Linux's order.
- What ``sendmsg`` gives holds for that datagram alone. Messages of a level that is not the destination's IP version
  are passed over, unknown ones of its level are EINVAL, as on Linux.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import Final

from mypy_extensions import i64

from estab.abi import (
    IP_PKTINFO,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_TCLASS,
    SCM_CREDENTIALS,
    SCM_RIGHTS,
    SOL_SOCKET,
    TCP_CM_INQ,
)
from estab.errors import os_error
from estab.wire.address import is_v4_mapped, map_v4, unmap_v4

__all__ = [
    "WANTS_HOPLIMIT", "WANTS_PKTINFO", "WANTS_PKTINFO6", "WANTS_TCLASS", "WANTS_TOS", "WANTS_TTL", "Ancillary",
    "SendControl", "describe_arrival", "describe_inq", "read_stream_control",
]

Ancillary = tuple[int, int, bytes]
"""One item: level, type and data."""

WANTS_PKTINFO: Final = 1
"""IP_PKTINFO: the address that the datagram was sent to, and the interface that it came in by."""
WANTS_TTL: Final = 2
WANTS_TOS: Final = 4
WANTS_PKTINFO6: Final = 8
WANTS_HOPLIMIT: Final = 16
WANTS_TCLASS: Final = 32

_INT: Final = Struct("i")
_PKTINFO: Final = Struct("i4s4s")
_PKTINFO6: Final = Struct("16si")


def describe_arrival(
    wanted: i64, destination: bytes, own: bytes, scope: i64, ttl: i64, tos: i64, has_v6_socket: bool,
) -> list[Ancillary]:
    """Return what the socket wants to know of a datagram, in Linux's order. ``own``: an answer's source address."""
    found: list[Ancillary] = []
    if wanted == 0:
        return found
    is_v4 = len(destination) == 4
    if (wanted & WANTS_PKTINFO6) != 0 and has_v6_socket:
        address = map_v4(destination) if is_v4 else destination
        found.append((IPPROTO_IPV6, IPV6_PKTINFO, _PKTINFO6.pack(address, int(scope))))
    if not is_v4:
        if (wanted & WANTS_HOPLIMIT) != 0:
            found.append((IPPROTO_IPV6, IPV6_HOPLIMIT, _INT.pack(int(ttl))))
        if (wanted & WANTS_TCLASS) != 0:
            found.append((IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(int(tos))))
        return found
    if (wanted & WANTS_PKTINFO) != 0:
        found.append((IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(int(scope), own, destination)))
    if (wanted & WANTS_TTL) != 0:
        found.append((IPPROTO_IP, IP_TTL, _INT.pack(int(ttl))))
    if (wanted & WANTS_TOS) != 0:
        found.append((IPPROTO_IP, IP_TOS, bytes([int(tos)])))
    return found


def describe_inq(count: i64) -> Ancillary:
    """Say how many bytes wait to be read (TCP_CM_INQ)."""
    return IPPROTO_TCP, TCP_CM_INQ, _INT.pack(int(min(count, 0x7FFFFFFF)))


class SendControl:
    """What ``sendmsg`` says of one datagram; -1, ``b""`` and 0: nothing, the socket's own holds."""

    def __init__(self) -> None:
        self.ttl: i64 = -1
        self.tos: i64 = -1
        self.source: bytes = b""
        self.scope: i64 = 0

    def read(self, items: list[Ancillary], is_v4: bool) -> None:
        """Take what the items say for a destination of that IP version. EINVAL on one that makes no sense."""
        for level, kind, data in items:
            if level == SOL_SOCKET:
                _check_socket_level(kind)
            elif level == IPPROTO_IP and is_v4:
                self._read_v4(kind, data)
            elif level == IPPROTO_IPV6 and (not is_v4 or kind == IPV6_PKTINFO):
                self._read_v6(kind, data, is_v4)

    def _read_v4(self, kind: int, data: bytes) -> None:
        if kind == IP_PKTINFO and len(data) == _PKTINFO.size:
            index, source, _ = _PKTINFO.unpack(data)
            self.scope = index
            self.source = b"" if source == b"\0\0\0\0" else source
        elif kind == IP_TTL and len(data) == _INT.size:
            self.ttl = _number(data, 1, "IP_TTL")
        elif kind == IP_TOS and len(data) == _INT.size:
            self.tos = _number(data, 0, "IP_TOS")
        elif kind == IP_TOS and len(data) == 1:
            self.tos = data[0]
        else:
            raise _refusal("IPPROTO_IP", kind, data)

    def _read_v6(self, kind: int, data: bytes, is_v4: bool) -> None:
        if kind == IPV6_PKTINFO and len(data) >= _PKTINFO6.size:
            source, index = _PKTINFO6.unpack_from(data)
            self.scope = index
            if source == bytes(16):
                self.source = b""
            elif is_v4 != is_v4_mapped(source):
                raise os_error(errno.EINVAL, "invalid argument: IPV6_PKTINFO has a source of the other IP version")
            else:
                self.source = unmap_v4(source) if is_v4 else source
        elif kind == IPV6_HOPLIMIT and len(data) == _INT.size:
            self.ttl = _number(data, -1, "IPV6_HOPLIMIT")
        elif kind == IPV6_TCLASS and len(data) == _INT.size:
            self.tos = _number(data, -1, "IPV6_TCLASS")
        else:
            raise _refusal("IPPROTO_IPV6", kind, data)


def read_stream_control(items: list[Ancillary]) -> None:
    """Check what ``sendmsg`` is told on a TCP socket: IP's items are passed over, as on Linux. EINVAL."""
    for level, kind, _ in items:
        if level == SOL_SOCKET:
            _check_socket_level(kind)


def _check_socket_level(kind: int) -> None:
    """Skip descriptors and credentials, which only Unix sockets carry."""
    if kind != SCM_RIGHTS and kind != SCM_CREDENTIALS:
        raise os_error(errno.EINVAL, f"invalid argument: no ancillary data of type {kind} at SOL_SOCKET can be sent")


def _number(data: bytes, low: int, name: str) -> int:
    value: int = _INT.unpack(data)[0]
    if not low <= value <= 255:
        raise os_error(errno.EINVAL, f"invalid argument: {name} is {low} to 255, not {value}")
    return value


def _refusal(level: str, kind: int, data: bytes) -> OSError:
    return os_error(errno.EINVAL, f"invalid argument: no ancillary data of type {kind} and {len(data)} bytes at "
                    f"{level} can be sent")
