"""Reads the TCP packets of a capture, as far as a diagnosis needs them.

- Text is not kept: a packet is numbers. What the capture cut off (a snap length) is still counted by the lengths that
  the headers state.
- ICMP errors that quote a TCP segment are kept beside it: they say why the path ends.
- A packet that is no TCP, or whose header is not all there, is counted as ``other``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from estab.devices.capture_file import Captured
from estab.devices.decapsulate import LINK_TYPES, inside
from estab.wire.address import format_address

__all__ = ["ACK", "FIN", "PSH", "RST", "SEGMENTS_MAX", "SYN", "CapturedSegment", "IcmpError", "Packets", "read_packets"]

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
_TCP: Final = 6
_ICMP: Final = 1
_ICMPV6: Final = 58
_SKIPPED_HEADERS: Final = frozenset({0, 43, 60})
_FRAGMENT: Final = 44
_HEADER: Final = struct.Struct(">HHIIHHHH")
_HEAD_BYTES: Final = 32

SEGMENTS_MAX: Final = 1_000_000
"""Segments that are looked at, which take about 900 bytes each. What comes after is counted, and the report says so."""

Key = tuple[tuple[int, ...], bytes, int, bytes, int]
"""VLANs, then the two ends: source and destination, each with its port."""


@dataclass(slots=True)
class CapturedSegment:
    """One TCP segment of a capture. ``number`` counts frames from 1, as other tools do; ``seq`` is the wire's."""

    number: int
    at_ns: int
    key: Key
    seq: int
    ack: int
    flags: int
    wnd: int
    length: int
    """Octets of text, also those that the capture cut off."""
    ttl: int
    ip_id: int
    """IPv4's identification; -1 for IPv6."""
    direction: int
    mss: int = 0
    wscale: int = -1
    ts_val: int = -1
    ts_ecr: int = -1
    sack: tuple[tuple[int, int], ...] = ()
    has_sack_permitted: bool = False
    is_checksum_good: bool | None = None
    """``None``: not all of the segment was captured, so it is unknown."""
    head: bytes = b""
    """The first octets of the text, to see whether two segments of the same numbers say the same."""

    @property
    def end(self) -> int:
        """The number after the last of the segment."""
        return self.seq + self.length + (self.flags & FIN) + ((self.flags & SYN) >> 1)


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP error about a TCP segment: ``key`` is the segment's, from its sender's side."""

    number: int
    at_ns: int
    key: Key
    source: str
    kind: int
    code: int
    mtu: int
    is_v6: bool


@dataclass(slots=True)
class Packets:
    """The TCP of a capture, and what else was in it."""

    tcp: list[CapturedSegment] = field(default_factory=list)
    icmp: list[IcmpError] = field(default_factory=list)
    frames: int = 0
    others: int = 0
    left_out: int = 0
    """Frames after ``SEGMENTS_MAX`` segments."""
    unknown_link_types: set[int] = field(default_factory=set)


def read_packets(frames: Iterable[Captured]) -> Packets:
    """Take the frames of a capture."""
    found = Packets()
    keys: dict[Key, Key] = {}
    for number, frame in enumerate(frames, 1):
        found.frames = number
        if len(found.tcp) + len(found.icmp) >= SEGMENTS_MAX:
            found.left_out += 1
            continue
        if frame.link_type not in LINK_TYPES:
            found.unknown_link_types.add(frame.link_type)
        carried = inside(frame)
        if carried is None:
            found.others += 1
            continue
        packet = _read(number, frame.time_ns, carried.packet, carried.vlans, carried.direction)
        if isinstance(packet, CapturedSegment):
            packet.key = keys.setdefault(packet.key, packet.key)
            found.tcp.append(packet)
        elif packet is not None:
            found.icmp.append(packet)
        else:
            found.others += 1
    return found


def _read(
    number: int, at_ns: int, data: bytes, vlans: tuple[int, ...], direction: int,
) -> CapturedSegment | IcmpError | None:
    if data[0] >> 4 == 4:
        if len(data) < 20:
            return None
        start, end = (data[0] & 15) * 4, int.from_bytes(data[2:4], "big") or len(data)
        if int.from_bytes(data[6:8], "big") & 0x1FFF:
            return None
        protocol, ttl, ip_id, source, target = data[9], data[8], data[4] << 8 | data[5], data[12:16], data[16:20]
    else:
        if len(data) < 40:
            return None
        protocol, start = _skip_headers(data)
        end = 40 + int.from_bytes(data[4:6], "big") if data[4:6] != b"\0\0" else len(data)
        ttl, ip_id, source, target = data[7], -1, data[8:24], data[24:40]
    if protocol in (_ICMP, _ICMPV6):
        return _icmp(number, at_ns, data, start, vlans, source, protocol == _ICMPV6)
    if protocol != _TCP or len(data) < start + 20:
        return None
    sport, dport, seq, ack, offset_flags, wnd, _, _ = _HEADER.unpack_from(data, start)
    text = start + (offset_flags >> 12) * 4
    if text < start + 20 or text > end:
        return None
    packet = CapturedSegment(number, at_ns, (vlans, source, sport, target, dport), seq, ack, offset_flags & 0xFF, wnd,
                    end - text, ttl, ip_id, direction)
    _read_options(packet, data, start + 20, min(text, len(data)))
    if len(data) >= end:
        packet.is_checksum_good = _sum(data, source + target, start, end) in (0, 0xFFFF)
    packet.head = data[text:min(end, text + _HEAD_BYTES)]
    return packet


def _sum(data: bytes, addresses: bytes, start: int, end: int) -> int:
    words = addresses + (end - start + _TCP).to_bytes(4, "big") + data[start:end] + bytes((end - start) & 1)
    return int.from_bytes(words, "big") % 0xFFFF


def _skip_headers(data: bytes) -> tuple[int, int]:
    """Go over IPv6's extension headers. A fragment that is not the first ends it."""
    protocol, at = data[6], 40
    while protocol in _SKIPPED_HEADERS and at + 8 <= len(data):
        protocol, at = data[at], at + 8 + data[at + 1] * 8
    if protocol == _FRAGMENT and at + 8 <= len(data) and not int.from_bytes(data[at + 2:at + 4], "big") & 0xFFF8:
        protocol, at = data[at], at + 8
    return protocol, at


def _read_options(packet: CapturedSegment, data: bytes, at: int, end: int) -> None:
    while at < end:
        kind = data[at]
        if kind == 0:
            return
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end or data[at + 1] < 2:
            return
        size = data[at + 1]
        value = data[at + 2:at + size]
        if kind == 8 and size == 10 and len(value) == 8:
            packet.ts_val, packet.ts_ecr = int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")
        elif kind == 5:
            packet.sack = tuple((int.from_bytes(value[i:i + 4], "big"), int.from_bytes(value[i + 4:i + 8], "big"))
                                for i in range(0, len(value) - 7, 8))
        elif kind == 2 and size == 4:
            packet.mss = int.from_bytes(value, "big")
        elif kind == 3 and size == 3 and value:
            packet.wscale = min(value[0], 14)
        elif kind == 4:
            packet.has_sack_permitted = True
        at += size


def _icmp(number: int, at_ns: int, data: bytes, start: int, vlans: tuple[int, ...], source: bytes,
          is_v6: bool) -> IcmpError | None:
    if len(data) < start + 8:
        return None
    kind, code = data[start], data[start + 1]
    if (kind not in (1, 2, 3, 4)) if is_v6 else (kind not in (3, 11, 12)):
        return None
    mtu = int.from_bytes(data[start + 4:start + 8] if is_v6 else data[start + 6:start + 8], "big")
    quoted = data[start + 8:]
    if is_v6:
        if len(quoted) < 44 or quoted[6] != _TCP:
            return None
        ends, ports = (quoted[8:24], quoted[24:40]), quoted[40:44]
    else:
        head = (quoted[0] & 15) * 4 if quoted else 0
        if len(quoted) < head + 4 or head < 20 or quoted[9] != _TCP:
            return None
        ends, ports = (quoted[12:16], quoted[16:20]), quoted[head:head + 4]
    key = (vlans, ends[0], int.from_bytes(ports[:2], "big"), ends[1], int.from_bytes(ports[2:], "big"))
    return IcmpError(number, at_ns, key, format_address(source), kind, code, mtu, is_v6)
