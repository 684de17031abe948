"""What a link's hardware would do, and the header that asks for it (virtio 1.2 section 5.1.6).

Rules:

- an ``Offload`` is the virtio header: its numbers are little-endian, as TUN's are after ``TUNSETVNETLE`` and on every
  little-endian machine;
- ``split`` cuts a TCP super-segment as segmentation offload does; ``finish_checksum`` completes a partial checksum.
  Both count from scratch, so what the checksum field held before does not matter;
- ``start`` is where the IP header begins; what lies before it (an Ethernet header) goes along unchanged.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire import ip, tcp
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.octets import Writer, put8, put16, set16, set32, u8, u16, u32

__all__ = [
    "DATA_VALID", "GSO_ECN", "GSO_NONE", "GSO_TCPV4", "GSO_TCPV6", "GSO_UDP", "GSO_UDP_L4", "HEADER_BYTES",
    "HEADER_BYTES_WITH_BUFFERS", "NEEDS_CHECKSUM", "Cut", "Offload", "begin_cut", "emit", "finish_checksum",
    "for_packet", "parse", "split",
]

HEADER_BYTES: Final = 10
HEADER_BYTES_WITH_BUFFERS: Final = 12

NEEDS_CHECKSUM: Final = 1
DATA_VALID: Final = 2

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80

_TCP_CHECKSUM_AT: Final = 16
_UDP_CHECKSUM_AT: Final = 6


@mypyc_attr(acyclic=True)
class Offload:
    """The virtio header of one frame. ``checksum_start`` counts from the frame's first byte, after this header.

    ``gso_type`` is without the ECN bit, which is ``has_cwr``. ``segment_bytes`` is the text of each segment to cut.
    """

    def __init__(
        self, flags: i64 = 0, gso_type: i64 = GSO_NONE, has_cwr: bool = False, header_bytes: i64 = 0,
        segment_bytes: i64 = 0, checksum_start: i64 = 0, checksum_offset: i64 = 0,
    ) -> None:
        self.flags: i64 = flags
        self.gso_type: i64 = gso_type
        self.has_cwr: bool = has_cwr
        self.header_bytes: i64 = header_bytes
        self.segment_bytes: i64 = segment_bytes
        self.checksum_start: i64 = checksum_start
        self.checksum_offset: i64 = checksum_offset

    def is_partial_checksum(self) -> bool:
        """Whether the transport checksum holds only the pseudo-header's sum."""
        return (self.flags & NEEDS_CHECKSUM) != 0

    def is_checksum_known_good(self) -> bool:
        """Whether the receiver need not look at the checksum: it never was on a wire, or the device has looked."""
        return (self.flags & (NEEDS_CHECKSUM | DATA_VALID)) != 0


def _swap(number: i64) -> i64:
    return (number & 0xFF) << 8 | (number >> 8 & 0xFF)


def parse(data: bytes, has_buffers: bool = False) -> Offload:
    """Read the header at the beginning of ``data``; the frame is after it, 10 bytes or 12 (``has_buffers``) on.

    Raises ``WireError``: ``PKT_TOO_SMALL``, or ``DEV_HDR`` if it contradicts itself or the frame's length.
    """
    size: i64 = HEADER_BYTES_WITH_BUFFERS if has_buffers else HEADER_BYTES
    if len(data) < size:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{len(data)} bytes of a virtio header")
    gso = u8(data, 1)
    offload = Offload(
        u8(data, 0), gso & ~GSO_ECN, (gso & GSO_ECN) != 0, _swap(u16(data, 2)), _swap(u16(data, 4)),
        _swap(u16(data, 6)), _swap(u16(data, 8)),
    )
    if offload.gso_type not in (GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4):
        raise WireError(DropReason.DEV_HDR, f"segmentation type {offload.gso_type}")
    if offload.gso_type != GSO_NONE and offload.segment_bytes == 0:
        raise WireError(DropReason.DEV_HDR, "segmentation without a size")
    checksum_end = size + offload.checksum_start + offload.checksum_offset + 2
    if offload.is_partial_checksum() and checksum_end > len(data):
        raise WireError(DropReason.DEV_HDR, f"checksum field ends at {checksum_end} of {len(data)} bytes")
    return offload


def emit(offload: Offload, has_buffers: bool = False) -> bytes:
    """Build the header; with ``has_buffers`` it says one buffer."""
    writer = Writer()
    put8(writer, offload.flags)
    put8(writer, offload.gso_type | (GSO_ECN if offload.has_cwr else 0))
    put16(writer, _swap(offload.header_bytes))
    put16(writer, _swap(offload.segment_bytes))
    put16(writer, _swap(offload.checksum_start))
    put16(writer, _swap(offload.checksum_offset))
    if has_buffers:
        put16(writer, _swap(1))
    return writer.getvalue()


def for_packet(packet: bytes, segment_bytes: i64, is_partial_checksum: bool, start: i64 = 0) -> Offload:
    """Describe a packet of ours that goes out whole: what the device is still to do to it.

    A TCP packet with more text than ``segment_bytes`` (not 0) is to be cut, which needs a partial checksum; a TCP or
    UDP packet with ``is_partial_checksum`` is to be completed. Raises ``WireError`` if ``packet`` is none.
    """
    parsed = ip.parse(packet, start)
    is_tcp = parsed.protocol == ip.TCP and parsed.end - parsed.start >= tcp.HEADER_BYTES
    if not is_partial_checksum or ip.is_fragment(parsed) or not (is_tcp or parsed.protocol == ip.UDP):
        return Offload()
    offload = Offload(
        flags=NEEDS_CHECKSUM, checksum_start=parsed.start,
        checksum_offset=_TCP_CHECKSUM_AT if is_tcp else _UDP_CHECKSUM_AT,
    )
    if is_tcp and segment_bytes > 0:
        header_end = parsed.start + (u8(packet, parsed.start + 12) >> 4) * 4
        if parsed.end - header_end > segment_bytes:
            offload.gso_type = GSO_TCPV4 if parsed.version == 4 else GSO_TCPV6
            offload.has_cwr = (u8(packet, parsed.start + 13) & tcp.CWR) != 0
            offload.header_bytes = header_end
            offload.segment_bytes = segment_bytes
    return offload


def finish_checksum(packet: bytes, start: i64 = 0) -> bytes:
    """Return the packet with its TCP or UDP checksum computed; any other packet, and a fragment, as it is.

    Raises ``WireError`` if ``packet`` is none.
    """
    parsed = ip.parse(packet, start)
    begin = parsed.start
    end = parsed.end
    field: i64
    if parsed.protocol == ip.TCP and end - begin >= tcp.HEADER_BYTES:
        field = begin + _TCP_CHECKSUM_AT
    elif parsed.protocol == ip.UDP and end - begin >= 8:
        field = begin + _UDP_CHECKSUM_AT
    else:
        return packet
    if ip.is_fragment(parsed):
        return packet
    acc = pseudo_header(parsed.src, parsed.dst, parsed.protocol, end - begin)
    checksum = 0xFFFF - fold(add(packet, field + 2, end, add(packet, begin, field, acc)))
    if checksum == 0 and parsed.protocol == ip.UDP:
        checksum = 0xFFFF
    return packet[:field] + bytes([checksum >> 8, checksum & 0xFF]) + packet[field + 2 :]


def split(packet: bytes, segment_bytes: i64, start: i64 = 0) -> list[bytes]:
    """Cut a TCP super-segment into segments of up to ``segment_bytes`` of text, each a packet with right checksums.

    The first alone keeps CWR (RFC 3168 section 6.1.2), the last alone FIN and PSH; IPv4's identification counts up. A
    packet that needs no cutting comes back alone, its checksum completed. Raises ``WireError`` if ``packet`` is
    none, ``ValueError`` for a size below 1.
    """
    if segment_bytes < 1:
        raise ValueError(f"segment_bytes: {segment_bytes}; a segment needs at least 1")
    parsed = ip.parse(packet, start)
    if parsed.protocol != ip.TCP or ip.is_fragment(parsed) or parsed.end - parsed.start <= tcp.HEADER_BYTES:
        return [finish_checksum(packet, start)]
    text = parsed.start + (u8(packet, parsed.start + 12) >> 4) * 4
    if parsed.end - text <= segment_bytes:
        return [finish_checksum(packet, start)]
    if text < parsed.start + tcp.HEADER_BYTES:
        raise WireError(DropReason.TCP_INVALID_HEADER, "data offset inside the header")
    cut = Cut(packet, parsed, text, segment_bytes)
    segments: list[bytes] = []
    while True:
        segment = cut.next()
        if segment is None:
            return segments
        segments.append(segment)


def begin_cut(packet: bytes, segment_bytes: i64, start: i64) -> Cut:
    """Begin to cut a super-segment of our own; ``Cut.next`` gives what ``split`` returns."""
    parsed = ip.parse(packet, start)
    return Cut(packet, parsed, parsed.start + (u8(packet, parsed.start + 12) >> 4) * 4, segment_bytes)


@mypyc_attr(acyclic=True)
class Cut:
    """A TCP super-segment whose segments are made one after the other, each when it is asked for."""

    def __init__(self, packet: bytes, parsed: ip.Packet, text: i64, segment_bytes: i64) -> None:
        self._packet: bytes = packet
        self._parsed: ip.Packet = parsed
        self._text: i64 = text
        self._segment_bytes: i64 = segment_bytes
        self._head: bytes = packet[:text]
        self._network_acc: i64 = _network_acc(parsed)
        self._transport_acc: i64 = _transport_acc(parsed, text)
        self._index: i64 = text
        self._number: i64 = 0

    def next(self) -> bytes | None:
        """Return the next segment, a packet with right checksums; ``None``: there is no more."""
        parsed = self._parsed
        index = self._index
        if index >= parsed.end:
            return None
        text = self._text
        stop = min(index + self._segment_bytes, parsed.end)
        writer = Writer()
        writer.write(self._head)
        _set_network(writer, parsed, self._network_acc, stop - index + text - parsed.header_start, self._number)
        _set_transport(writer, parsed, self._transport_acc, text, index, stop)
        self._index = stop
        self._number += 1
        return writer.getvalue() + self._packet[index:stop]


def _network_acc(parsed: ip.Packet) -> i64:
    """Sum what all IPv4 headers have in common: all but total length, identification and checksum."""
    if parsed.version == 6:
        return 0
    data = parsed.data
    at = parsed.header_start
    return add(data, at + 12, parsed.start, u16(data, at) + u16(data, at + 6) + u16(data, at + 8))


def _transport_acc(parsed: ip.Packet, text: i64) -> i64:
    """Sum what all TCP checksums have in common: pseudo-header without length, ports, ACK, window, options."""
    data = parsed.data
    at = parsed.start
    acc = pseudo_header(parsed.src, parsed.dst, ip.TCP, 0) + u32(data, at) + u32(data, at + 8) + u16(data, at + 14)
    return add(data, at + tcp.HEADER_BYTES, text, acc)


def _set_network(writer: Writer, parsed: ip.Packet, acc: i64, total_bytes: i64, number: i64) -> None:
    at = parsed.header_start
    if parsed.version == 6:
        set16(writer, at + 4, total_bytes - ip.V6_HEADER_BYTES)
        return
    ident = (parsed.ident + number) & 0xFFFF
    set16(writer, at + 2, total_bytes)
    set16(writer, at + 4, ident)
    set16(writer, at + 10, 0xFFFF - fold(acc + total_bytes + ident))


def _set_transport(writer: Writer, parsed: ip.Packet, acc: i64, text: i64, index: i64, stop: i64) -> None:
    """Set sequence number, flags, urgent pointer and checksum of the segment whose text is ``data[index:stop]``."""
    data = parsed.data
    at = parsed.start
    seq = (u32(data, at + 4) + index - text) & 0xFFFFFFFF
    offset_and_flags = u16(data, at + 12)
    urg = u16(data, at + 18)
    if index != text:
        offset_and_flags &= ~tcp.CWR
        if (offset_and_flags & tcp.URG) != 0:
            urg -= index - text
            if urg <= 0:
                urg = 0
                offset_and_flags &= ~tcp.URG
    if stop != parsed.end:
        offset_and_flags &= ~(tcp.FIN | tcp.PSH)
    acc += stop - index + text - at + seq + offset_and_flags + urg
    set32(writer, at + 4, seq)
    set16(writer, at + 12, offset_and_flags)
    set16(writer, at + 16, 0xFFFF - fold(add(data, index, stop, acc)))
    set16(writer, at + 18, urg)
