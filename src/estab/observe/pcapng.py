"""Capture files in the pcapng format (draft-ietf-opsawg-pcapng), written as a stream and read back.

- Bytes depend only on what is written: no clock, no machine's name, no version of anything in the file.
- A file has one or more sections, each with its own interfaces. Times are nanoseconds (``if_tsresol`` 9).
- A block is whole or not there: the length is written once, at both ends, when the block is complete.

Ours, and not a library's: the one that writes pcapng from Python is untyped, had its last release in 2022, and builds
each block from generic schemas; what a capture of ours needs of the format is the few functions below.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from estab.devices.capture_file import INBOUND, OUTBOUND, CaptureError, CaptureInterface, read_capture

__all__ = [
    "INBOUND", "LINKTYPE_ETHERNET", "LINKTYPE_RAW", "OUTBOUND", "Capture", "CaptureError", "CapturedPacket",
    "Interface", "PcapngWriter", "read",
]

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 228
"""Packets of either IP version: their first four bits say which. It is the number for IPv4, because libpcap takes a
second interface of type 101 for one of another kind than the first, and then reads nothing (its #1252)."""

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
    """Write a text option, cut at a character if it is too long; nothing at all for an empty text."""
    if not text:
        return b""
    return _option(code, text.encode()[:_OPTION_BYTES_MAX].decode(errors="ignore").encode())


def _end(options: bytes) -> bytes:
    return options + struct.pack("<HH", _OPT_END, 0) if options else b""


# --- reading


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
    """All of a capture file: comments of its sections, interfaces and packets in the file's order.

    ``cut`` says where the file ends in the middle; ``""``: it is whole.
    """

    comments: list[str] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    packets: list[CapturedPacket] = field(default_factory=list)
    cut: str = ""


def read(stream: BinaryIO) -> Capture:
    """Read a whole capture (``devices.capture_file`` reads it step by step). Raises ``CaptureError``."""
    capture = Capture()
    reader = read_capture(stream)
    known: dict[int, Interface] = {}
    for frame in reader:
        assert frame.interface is not None
        interface = known.get(id(frame.interface))
        if interface is None:
            interface = known[id(frame.interface)] = _interface(frame.interface)
        capture.packets.append(
            CapturedPacket(interface, frame.time_ns, frame.data, frame.length, frame.comment, frame.direction))
    capture.comments = reader.comments
    capture.interfaces = [known.get(id(made)) or _interface(made) for made in reader.interfaces]
    capture.cut = reader.cut
    return capture


def _interface(made: CaptureInterface) -> Interface:
    return Interface(made.name, made.link_type, made.ticks_per_second, made.description)
