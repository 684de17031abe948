"""Reads captures: classic pcap, in both byte orders and with micro- or nanoseconds, and pcapng.

A file is input from outside: what is cut off or contradicts itself raises ``CaptureError``, which says where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

__all__ = ["CaptureError", "Captured", "ip_packet", "read_capture"]

_FRAME_BYTES_MAX: Final = 1 << 20
_BLOCK_BYTES_MAX: Final = 16 << 20
_CLASSIC: Final = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
_SECTION: Final = 0x0A0D0D0A
_SECTION_ORDER: Final = 0x1A2B3C4D
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_PACKET: Final = 6
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14
_SECOND: Final = 1_000_000_000

_NULL: Final = 0
_ETHERNET: Final = 1
_LINUX_SLL: Final = 113
_LOOP: Final = 108
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_LINUX_SLL2: Final = 276
_VLANS: Final = frozenset({0x8100, 0x88A8})
_IP_ETHERTYPES: Final = frozenset({0x0800, 0x86DD})


class CaptureError(ValueError):
    """A file is no capture, or is damaged."""


@dataclass(frozen=True, slots=True)
class Captured:
    """One frame of a capture. ``time_ns`` counts from 1970; ``link_type`` is the file's number for what a frame is."""

    time_ns: int
    link_type: int
    data: bytes


def read_capture(file: BinaryIO) -> Iterator[Captured]:
    """Give the frames of a capture in the file's order. ``CaptureError``."""
    magic = _exactly(file, 4, "the first bytes")
    for order in "<>":
        number = struct.unpack(f"{order}I", magic)[0]
        if number in _CLASSIC:
            return _read_classic(file, order, _CLASSIC[number])
    if struct.unpack("<I", magic)[0] == _SECTION:
        return _read_pcapng(file)
    raise CaptureError(f"neither pcap nor pcapng: it begins with {magic.hex()}")


def ip_packet(frame: Captured) -> bytes | None:
    """Give the IP packet in a frame, ``None`` where it carries something else."""
    data, kind = frame.data, frame.link_type
    if kind in _RAW:
        packet = data
    elif kind in (_NULL, _LOOP):
        packet = data[4:]
    elif kind == _ETHERNET:
        at = 12
        while len(data) >= at + 2 and int.from_bytes(data[at : at + 2], "big") in _VLANS:
            at += 4
        packet = _behind_ethertype(data, at, at + 2)
    elif kind == _LINUX_SLL:
        packet = _behind_ethertype(data, 14, 16)
    elif kind == _LINUX_SLL2:
        packet = _behind_ethertype(data, 0, 20)
    else:
        return None
    return packet if packet and packet[0] >> 4 in (4, 6) else None


def _behind_ethertype(data: bytes, at: int, start: int) -> bytes:
    return data[start:] if int.from_bytes(data[at : at + 2], "big") in _IP_ETHERTYPES else b""


def _read_classic(file: BinaryIO, order: str, tick_ns: int) -> Iterator[Captured]:
    header = _exactly(file, 20, "the file's header")
    link_type = struct.unpack(f"{order}I", header[16:20])[0] & 0x0FFFFFFF
    while head := file.read(16):
        if len(head) < 16:
            raise CaptureError(f"cut off inside of a frame's header at byte {file.tell()}")
        seconds, ticks, size, _ = struct.unpack(f"{order}IIII", head)
        if size > _FRAME_BYTES_MAX:
            raise CaptureError(f"a frame of {size} bytes at byte {file.tell()}")
        yield Captured(seconds * _SECOND + ticks * tick_ns, link_type, _exactly(file, size, "a frame"))


@dataclass(slots=True)
class _Interface:
    link_type: int
    ticks_per_second: int = 1_000_000
    offset_s: int = 0

    def time_ns(self, high: int, low: int) -> int:
        return ((high << 32 | low) * _SECOND) // self.ticks_per_second + self.offset_s * _SECOND


def _read_pcapng(file: BinaryIO) -> Iterator[Captured]:
    order = ""
    interfaces: list[_Interface] = []
    kind_bytes = _SECTION.to_bytes(4, "little")
    while len(kind_bytes) == 4:
        kind = int.from_bytes(kind_bytes, "big" if order == ">" else "little")
        size_bytes = _exactly(file, 4, "a block's length")
        start = b""
        if kind == _SECTION:
            start = _exactly(file, 4, "a section's byte order")
            order = next((one for one in "<>" if struct.unpack(f"{one}I", start)[0] == _SECTION_ORDER), "")
            if not order:
                raise CaptureError(f"no byte order at byte {file.tell()}: {start.hex()}")
            interfaces = []
        size = struct.unpack(f"{order}I", size_bytes)[0]
        if not 12 + len(start) <= size <= _BLOCK_BYTES_MAX or size % 4:
            raise CaptureError(f"a block of {size} bytes at byte {file.tell()}")
        body = _exactly(file, size - 12 - len(start), "a block")
        _exactly(file, 4, "a block's end")
        if kind == _INTERFACE:
            interfaces.append(_read_interface(body, order))
        elif kind in (_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            yield _read_packet(kind, body, order, interfaces)
        kind_bytes = file.read(4)
    if kind_bytes:
        raise CaptureError("cut off inside of a block's kind")


def _read_interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise CaptureError("an interface block that is too short")
    made = _Interface(struct.unpack(f"{order}H", body[:2])[0])
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack(f"{order}HH", body[at : at + 4])
        value = body[at + 4 : at + 4 + size]
        if code == _IF_TSRESOL and len(value) == 1:
            power = value[0] & 0x7F
            made.ticks_per_second = min(2**power if value[0] & 0x80 else 10 ** min(power, 18), 2**62)
        elif code == _IF_TSOFFSET and len(value) == 8:
            made.offset_s = struct.unpack(f"{order}q", value)[0]
        at += 4 + (size + 3 & ~3)
    return made


def _read_packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Captured:
    try:
        if kind == _SIMPLE_PACKET:
            size = struct.unpack(f"{order}I", body[:4])[0]
            return Captured(0, interfaces[0].link_type, body[4 : 4 + size])
        if kind == _PACKET:
            number, high, low, size = struct.unpack(f"{order}IIII", body[:16])
        else:
            number, _, high, low, size = struct.unpack(f"{order}HHIII", body[:16])
        interface = interfaces[number]
    except (struct.error, IndexError):
        raise CaptureError("a packet block that is too short, or of an interface that was not described") from None
    data = body[20 : 20 + size]
    if len(data) < size:
        raise CaptureError(f"a packet block that holds {len(data)} of {size} bytes")
    return Captured(interface.time_ns(high, low), interface.link_type, data)


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise CaptureError(f"cut off inside of {what}: {len(data)} of {size} bytes")
    return data
