"""Reads captures: pcap in both byte orders, with micro- or nanoseconds, and pcapng with all of its blocks; gzip too.

- One reader for all that reads captures here. ``link_type`` says what a frame is; ``devices.decapsulate`` finds the IP
  packet in it.
- A file that ends in the middle (tcpdump was killed, the disk was full) gives what stands before the cut, and ``cut``
  says where it is. Bytes that contradict themselves raise ``CaptureError``, which says where.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

__all__ = ["INBOUND", "OUTBOUND", "CaptureError", "CaptureInterface", "CaptureReader", "Captured", "read_capture"]

INBOUND: Final = 1
OUTBOUND: Final = 2

_FRAME_BYTES_MAX: Final = 1 << 20
_BLOCK_BYTES_MAX: Final = 64 << 20
_CLASSIC: Final = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}
"""Magic numbers: nanoseconds of a tick, and the size of a frame's header (the third is Kuznetzov's variant)."""
_GZIP: Final = b"\x1f\x8b"
_SECTION: Final = 0x0A0D0D0A
_SECTION_ORDER: Final = 0x1A2B3C4D
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_STATISTICS: Final = 5
_PACKET: Final = 6
_OPT_END: Final = 0
_OPT_COMMENT: Final = 1
_IF_NAME: Final = 2
_IF_DESCRIPTION: Final = 3
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14
_EPB_FLAGS: Final = 2
_ISB_DROPS: Final = frozenset({5, 7})
_SECOND: Final = 1_000_000_000


class CaptureError(ValueError):
    """A file is no capture, or contradicts itself."""


@dataclass(slots=True)
class CaptureInterface:
    """An interface of a capture. ``ticks_per_second`` is what its times count; ``snaplen`` 0: frames are whole."""

    link_type: int
    ticks_per_second: int = 1_000_000
    offset_s: int = 0
    snaplen: int = 0
    name: str = ""
    description: str = ""
    dropped_count: int = 0
    """Packets that the capture itself says it lost (interface statistics)."""

    def time_ns(self, high: int, low: int) -> int:
        """Turn the two halves of a time into nanoseconds since 1970."""
        return ((high << 32 | low) * _SECOND) // self.ticks_per_second + self.offset_s * _SECOND


@dataclass(frozen=True, slots=True)
class Captured:
    """One frame. ``time_ns`` counts from 1970, -1 if the file has no time; ``link_type`` says what a frame is."""

    time_ns: int
    link_type: int
    data: bytes
    length: int = field(default=0, compare=False)
    """What it was on the wire; ``data`` may have been cut by the capture."""
    comment: str = field(default="", compare=False)
    direction: int = field(default=0, compare=False)
    """``INBOUND``, ``OUTBOUND``, or 0 if the file does not say."""
    interface: CaptureInterface | None = field(default=None, compare=False)


class CaptureReader:
    """An iterator over the frames of a capture, in the file's order. ``CaptureError``.

    ``comments`` are those of its sections and ``interfaces`` what was met so far; ``cut`` says, at the end, where the
    file ends in the middle (``""``: it does not).
    """

    def __init__(self, file: BinaryIO) -> None:
        self.comments: list[str] = []
        self.interfaces: list[CaptureInterface] = []
        self.cut = ""
        self._file = file
        self._offset = 0
        self._frames = self._start()

    @property
    def dropped_count(self) -> int:
        """Packets that the capture itself says it lost."""
        return sum(interface.dropped_count for interface in self.interfaces)

    def __iter__(self) -> Iterator[Captured]:
        return self

    def __next__(self) -> Captured:
        try:
            return next(self._frames)
        except _CutError as cut:
            self.cut = str(cut)
            raise StopIteration from None

    def _start(self) -> Iterator[Captured]:
        magic = self._read(4)
        if magic[:2] == _GZIP:
            self._file = cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, _Rest(magic, self._file)), mode="rb"))
            self._offset = 0
            magic = self._read(4)
        if len(magic) == 4:
            for order in "<>":
                number = struct.unpack(f"{order}I", magic)[0]
                if number in _CLASSIC:
                    return self._classic(order, *_CLASSIC[number])
            if struct.unpack("<I", magic)[0] == _SECTION:
                return self._pcapng()
        what = f"it begins with {magic.hex()}" if magic else "it is empty"
        raise CaptureError(f"neither pcap nor pcapng: {what}")

    # --- pcap

    def _classic(self, order: str, tick_ns: int, head_bytes: int) -> Iterator[Captured]:
        header = self._exactly(20, "the file's header")
        link_type = struct.unpack(f"{order}I", header[16:20])[0] & 0x0FFFFFFF
        interface = CaptureInterface(link_type, _SECOND // tick_ns)
        self.interfaces.append(interface)
        while head := self._read(head_bytes):
            if len(head) < head_bytes:
                raise _CutError(f"it ends inside of a frame's header at byte {self._offset}")
            seconds, ticks, size, length = struct.unpack(f"{order}IIII", head[:16])
            if size > _FRAME_BYTES_MAX:
                raise CaptureError(f"a frame of {size} bytes at byte {self._offset}")
            data = self._exactly(size, "a frame")
            yield Captured(seconds * _SECOND + ticks * tick_ns, link_type, data, length, interface=interface)

    # --- pcapng

    def _pcapng(self) -> Iterator[Captured]:
        order = ""
        interfaces: list[CaptureInterface] = []
        kind_bytes = _SECTION.to_bytes(4, "little")
        while len(kind_bytes) == 4:
            at = self._offset - 4
            kind = int.from_bytes(kind_bytes, "big" if order == ">" else "little")
            size_bytes = self._exactly(4, "a block's length")
            start = b""
            if kind == _SECTION:
                start = self._exactly(4, "a section's byte order")
                order = next((one for one in "<>" if struct.unpack(f"{one}I", start)[0] == _SECTION_ORDER), "")
                if not order:
                    raise CaptureError(f"no byte order at byte {self._offset}: {start.hex()}")
                interfaces = []
            size = struct.unpack(f"{order}I", size_bytes)[0]
            if not 12 + len(start) <= size <= _BLOCK_BYTES_MAX or size % 4:
                raise CaptureError(f"the block at byte {at} has the impossible length {size}")
            body = self._exactly(size - 12 - len(start), "a block")
            if self._exactly(4, "a block's end") != size_bytes:
                raise CaptureError(f"the two lengths of the block at byte {at} differ")
            try:
                found = self._block(kind, body, order, interfaces)
            except (struct.error, IndexError) as error:
                raise CaptureError(f"damaged block at byte {at}: {error}") from None
            if found is not None:
                yield found
            kind_bytes = self._read(4)
        if kind_bytes:
            raise _CutError(f"it ends inside of a block's kind at byte {self._offset}")

    def _block(self, kind: int, body: bytes, order: str, interfaces: list[CaptureInterface]) -> Captured | None:
        """Take one block. Those that hold no packet and nothing of use here are passed over."""
        if kind == _SECTION:
            self.comments += _texts(body[12:], order, _OPT_COMMENT)
        elif kind == _INTERFACE:
            interfaces.append(_read_interface(body, order))
            self.interfaces.append(interfaces[-1])
        elif kind == _STATISTICS:
            counts = [struct.unpack(f"{order}Q", value)[0] for code, value in _options(body[12:], order)
                      if code in _ISB_DROPS and len(value) == 8]
            interfaces[struct.unpack(f"{order}I", body[:4])[0]].dropped_count = max(counts, default=0)
        elif kind in (_PACKET, _OLD_PACKET):
            return _read_packet(kind, body, order, interfaces)
        elif kind == _SIMPLE_PACKET:
            length = struct.unpack_from(f"{order}I", body)[0]
            interface = interfaces[0]
            # Section 4.4: what was kept is the smaller of the packet's length and the interface's.
            kept = min(length, interface.snaplen or length)
            if len(body) - 4 < kept:
                raise struct.error(f"a packet block that holds {len(body) - 4} of {kept} bytes")
            return Captured(-1, interface.link_type, body[4:4 + kept], length, interface=interface)
        return None

    # --- bytes

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except EOFError:
            data = b""
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CaptureError(f"damaged gzip at byte {self._offset}: {error}") from None
        self._offset += len(data)
        return data

    def _exactly(self, size: int, what: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise _CutError(f"it ends inside of {what}, at byte {self._offset}: {len(data)} of {size} bytes")
        return data


def read_capture(file: BinaryIO) -> CaptureReader:
    """Read a capture: the frames in the file's order. ``CaptureError``."""
    return CaptureReader(file)


class _CutError(Exception):
    """The file ends in the middle."""


class _Rest:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self._start = start
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size < 0 or not self._start:
            start, self._start = self._start, b""
            return start + self._file.read(size)
        start, self._start = self._start[:size], self._start[size:]
        return start


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(f"{order}HH", data, at)
        if code == _OPT_END:
            return
        if at + 4 + size > len(data):
            raise struct.error(f"option {code} runs over the end of its block")
        yield code, data[at + 4:at + 4 + size]
        at += 4 + (size + 3 & ~3)


def _texts(data: bytes, order: str, code: int) -> list[str]:
    return [value.decode(errors="replace") for found, value in _options(data, order) if found == code]


def _read_interface(body: bytes, order: str) -> CaptureInterface:
    link_type, _, snaplen = struct.unpack_from(f"{order}HHI", body)
    made = CaptureInterface(link_type, snaplen=snaplen)
    for code, value in _options(body[8:], order):
        if code == _IF_TSRESOL and len(value) == 1:
            power = value[0] & 0x7F
            made.ticks_per_second = min(2**power if value[0] & 0x80 else 10 ** min(power, 18), 2**62)
        elif code == _IF_TSOFFSET and len(value) == 8:
            made.offset_s = struct.unpack(f"{order}q", value)[0]
        elif code == _IF_NAME:
            made.name = value.decode(errors="replace")
        elif code == _IF_DESCRIPTION:
            made.description = value.decode(errors="replace")
    return made


def _read_packet(kind: int, body: bytes, order: str, interfaces: list[CaptureInterface]) -> Captured:
    if kind == _PACKET:
        number, high, low, size, length = struct.unpack_from(f"{order}IIIII", body)
    else:
        number, _, high, low, size, length = struct.unpack_from(f"{order}HHIIII", body)
    if number >= len(interfaces):
        raise IndexError(f"a packet of interface {number}, which was not described")
    interface = interfaces[number]
    data = body[20:20 + size]
    if len(data) < size:
        raise struct.error(f"{size} bytes of packet announced, {len(data)} there")
    direction, comments = 0, []
    for code, value in _options(body[20 + (size + 3 & ~3):], order):
        if code == _EPB_FLAGS and len(value) == 4:
            direction = struct.unpack(f"{order}I", value)[0] & 3
        elif code == _OPT_COMMENT:
            comments.append(value.decode(errors="replace"))
    return Captured(interface.time_ns(high, low), interface.link_type, data, length, "\n".join(comments), direction,
                    interface)
