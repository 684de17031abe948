"""Capture files in the pcapng format (draft-ietf-opsawg-pcapng), written as a stream and read back.

- Bytes depend only on what is written: no clock, no machine's name, no version of anything in the file.
- A file has one or more sections, each with its own interfaces. Times are nanoseconds (``if_tsresol`` 9).
- A block is whole or not there: the length is written once, at both ends, when the block is complete.

Ours, and not a library's: the one that writes pcapng from Python is untyped, had its last release in 2022, and builds
each block from generic schemas; what a capture of ours needs of the format is the few functions below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

__all__ = [
    "INBOUND", "LINKTYPE_ETHERNET", "LINKTYPE_RAW", "OUTBOUND", "Capture", "CaptureError", "CapturedPacket",
    "Interface", "PcapngWriter", "read",
]

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101
INBOUND: Final = 1
OUTBOUND: Final = 2

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_OPT_END: Final = 0
_OPT_COMMENT: Final = 1
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_DESCRIPTION: Final = 3
_IF_TSRESOL: Final = 9
_EPB_FLAGS: Final = 2
_OPTION_BYTES_MAX: Final = 65_535
_BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024


class PcapngWriter:
    """Writes sections, interfaces and packets to a binary stream. The stream stays the caller's to close."""

    def __init__(self, stream: BinaryIO, *, application: str = "estab") -> None:
        self._stream = stream
        self._application = application
        self._interfaces = -1

    def section(self, comment: str = "") -> None:
        """Begin a section; its interfaces count from 0. ``comment`` says what was recorded and how to do it again."""
        options = _text_option(_OPT_COMMENT, comment) + _text_option(_SHB_USERAPPL, self._application)
        self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + _end(options))
        self._interfaces = 0

    def interface(self, name: str, link_type: int, *, description: str = "") -> int:
        """Add an interface to the section. Returns its number, for ``packet``."""
        if self._interfaces < 0:
            raise ValueError("an interface belongs to a section: call section() first")
        options = (
            _text_option(_IF_NAME, name) + _text_option(_IF_DESCRIPTION, description) + _option(_IF_TSRESOL, bytes([9]))
        )
        self._block(_INTERFACE, struct.pack("<HHI", link_type, 0, 0) + _end(options))
        self._interfaces += 1
        return self._interfaces - 1

    def packet(self, interface: int, at_ns: int, data: bytes, *, comment: str = "", direction: int = 0) -> None:
        """Write a packet. ``direction`` is ``INBOUND``, ``OUTBOUND`` or 0 for unknown."""
        if not 0 <= interface < self._interfaces:
            raise ValueError(f"interface: this section has no number {interface}")
        if at_ns < 0:
            raise ValueError(f"at_ns: {at_ns} is before the epoch")
        options = _text_option(_OPT_COMMENT, comment)
        if direction:
            options += _option(_EPB_FLAGS, struct.pack("<I", direction))
        head = struct.pack("<IIIII", interface, at_ns >> 32, at_ns & 0xFFFFFFFF, len(data), len(data))
        self._block(_PACKET, head + _padded(data) + _end(options))

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._stream.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _text_option(code: int, text: str) -> bytes:
    """Write a text option, cut at a character where it is too long; nothing at all for an empty text."""
    if not text:
        return b""
    return _option(code, text.encode()[:_OPTION_BYTES_MAX].decode(errors="ignore").encode())


def _end(options: bytes) -> bytes:
    return options + struct.pack("<HH", _OPT_END, 0) if options else b""


# --- reading


class CaptureError(ValueError):
    """The file is not a capture that we can read; says at which byte and why."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a capture. ``ticks_per_second`` is what its times count."""

    name: str
    link_type: int
    ticks_per_second: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """A packet of a capture. ``length`` is what it was on the wire; ``data`` may have been cut by the capture."""

    interface: Interface
    at_ns: int
    data: bytes
    length: int
    comment: str = ""
    direction: int = 0


@dataclass(slots=True)
class Capture:
    """All of a capture file: comments of its sections, interfaces and packets in the file's order."""

    comments: list[str] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    packets: list[CapturedPacket] = field(default_factory=list)


def read(stream: BinaryIO) -> Capture:
    """Read a pcapng file, of either byte order. Unknown blocks are skipped. Raises ``CaptureError``."""
    capture = Capture()
    section: list[Interface] = []
    for offset, kind, body, order in _blocks(stream):
        try:
            if kind == _SECTION:
                section = []
                capture.comments.extend(_texts(body[16:], order, _OPT_COMMENT))
            elif kind == _INTERFACE:
                section.append(_read_interface(body, order))
                capture.interfaces.append(section[-1])
            elif kind == _PACKET:
                capture.packets.append(_read_packet(body, order, section))
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise CaptureError(f"damaged block at byte {offset}: {error}") from error
    return capture


def _blocks(stream: BinaryIO) -> Iterator[tuple[int, int, bytes, str]]:
    """Cut the stream into blocks: offset, type, body, byte order."""
    offset, order = 0, ""
    while head := stream.read(8):
        if len(head) < 8:
            raise CaptureError(f"the file ends inside a block at byte {offset}")
        start = b""
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            start = stream.read(4)
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(start, "")
        if not order:
            raise CaptureError(f"not a pcapng file: no section header at byte {offset}")
        kind, length = struct.unpack(order + "II", head)
        if length < 12 + len(start) or length % 4 or length > _BLOCK_BYTES_MAX:
            raise CaptureError(f"a block at byte {offset} has the impossible length {length}")
        rest = stream.read(length - 8 - len(start))
        if len(rest) != length - 8 - len(start) or rest[-4:] != head[4:]:
            raise CaptureError(f"the block at byte {offset} is cut short or its two lengths differ")
        yield offset, kind, start + rest[:-4], order
        offset += length


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == _OPT_END:
            return
        if at + 4 + length > len(data):
            raise struct.error(f"option {code} runs over the end of its block")
        yield code, data[at + 4:at + 4 + length]
        at += 4 + length + -length % 4


def _texts(data: bytes, order: str, code: int) -> list[str]:
    return [value.decode() for found, value in _options(data, order) if found == code]


def _read_interface(body: bytes, order: str) -> Interface:
    link_type, _, _ = struct.unpack_from(order + "HHI", body)
    ticks = 1_000_000
    for code, value in _options(body[8:], order):
        if code == _IF_TSRESOL:
            exponent = value[0] & 0x7F
            ticks = 1 << exponent if value[0] & 0x80 else 10**exponent
    name = "".join(_texts(body[8:], order, _IF_NAME)[:1])
    return Interface(name, link_type, ticks, "".join(_texts(body[8:], order, _IF_DESCRIPTION)[:1]))


def _read_packet(body: bytes, order: str, section: list[Interface]) -> CapturedPacket:
    number, high, low, kept, length = struct.unpack_from(order + "IIIII", body)
    interface = section[number]
    data = body[20:20 + kept]
    if len(data) != kept:
        raise struct.error(f"{kept} bytes of packet announced, {len(data)} there")
    options = body[20 + kept + -kept % 4:]
    direction = 0
    for code, value in _options(options, order):
        if code == _EPB_FLAGS:
            direction = struct.unpack(order + "I", value)[0] & 3
    ticks = high << 32 | low
    at_ns = ticks * 1_000_000_000 // interface.ticks_per_second
    return CapturedPacket(interface, at_ns, data, length, "\n".join(_texts(options, order, _OPT_COMMENT)), direction)
