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
    acc = pseudo_header(parsed.src, parsed.dst, ip.TCP, 0)
    cut = Cut(packet[:text], parsed.header_start, parsed.start, acc, packet, text, parsed.end, segment_bytes)
    segments: list[bytes] = []
    while True:
        segment = cut.next()
        if segment is None:
            return segments
        segments.append(segment)


def begin_cut(headers: bytes, start: i64, data: bytes, index: i64, end: i64, segment_bytes: i64) -> Cut:
    """Begin to cut a super-segment of our own: ``headers``, without IP options or extensions, and ``data[index:end]``.

    ``Cut.next`` gives what ``split`` returns.
    """
    is_v4 = u8(headers, start) >> 4 == 4
    transport = start + (ip.V4_HEADER_BYTES if is_v4 else ip.V6_HEADER_BYTES)
    acc = add(headers, start + (12 if is_v4 else 8), transport, ip.TCP)
    return Cut(headers, start, transport, acc, data, index, end, segment_bytes)


@mypyc_attr(acyclic=True, free_list_len=1)
class Cut:
    """A TCP super-segment whose segments are made one after the other, each when it is asked for.

    ``headers`` has the IP header at ``network`` and the TCP header, to its end, at ``transport``; the text is
    ``data[index:end]``. ``acc`` is the sum of the pseudo-header without length.
    """

    def __init__(self, headers: bytes, network: i64, transport: i64, acc: i64, data: bytes, index: i64, end: i64,
                 segment_bytes: i64) -> None:
        size: i64 = len(headers)
        self._headers: bytes = headers
        self._network: i64 = network
        self._transport: i64 = transport
        self._is_v4: bool = u8(headers, network) >> 4 == 4
        self._ident: i64 = u16(headers, network + 4)
        self._network_acc: i64 = 0
        if self._is_v4:  # what all IPv4 headers have in common: all but total length, identification and checksum
            first = u16(headers, network) + u16(headers, network + 6) + u16(headers, network + 8)
            self._network_acc = add(headers, network + 12, transport, first)
        # What all TCP checksums have in common: pseudo-header without length, ports, ACK, window, options.
        acc += u32(headers, transport) + u32(headers, transport + 8) + u16(headers, transport + 14)
        self._transport_acc: i64 = add(headers, transport + tcp.HEADER_BYTES, size, acc) + size - transport
        self._seq: i64 = u32(headers, transport + 4)
        self._flags: i64 = u16(headers, transport + 12)
        self._urg: i64 = u16(headers, transport + 18)
        self._data: bytes = data
        self._index: i64 = index
        self._end: i64 = end
        self._segment_bytes: i64 = segment_bytes

    def next(self) -> bytes | None:
        """Return the next segment, a packet with right checksums; ``None``: there is no more."""
        index = self._index
        if index >= self._end:
            return None
        stop = min(index + self._segment_bytes, self._end)
        writer = Writer()
        writer.write(self._headers)
        self._set_network(writer, len(self._headers) - self._network + stop - index)
        self._set_transport(writer, index, stop)
        self._index = stop
        return writer.getvalue() + self._data[index:stop]

    def _set_network(self, writer: Writer, total_bytes: i64) -> None:
        at = self._network
        if not self._is_v4:
            set16(writer, at + 4, total_bytes - ip.V6_HEADER_BYTES)
            return
        ident = self._ident
        set16(writer, at + 2, total_bytes)
        set16(writer, at + 4, ident)
        set16(writer, at + 10, 0xFFFF - fold(self._network_acc + total_bytes + ident))
        self._ident = (ident + 1) & 0xFFFF

    def _set_transport(self, writer: Writer, index: i64, stop: i64) -> None:
        """Set sequence number, flags, urgent pointer and checksum of the segment whose text is ``data[index:stop]``.

        Then make numbers and flags those of the next one.
        """
        at = self._transport
        seq = self._seq
        flags = self._flags
        urg = self._urg
        size = stop - index
        if stop != self._end:
            flags &= ~(tcp.FIN | tcp.PSH)
        acc = self._transport_acc + size + seq + flags + urg
        set32(writer, at + 4, seq)
        set16(writer, at + 12, flags)
        set16(writer, at + 16, 0xFFFF - fold(add(self._data, index, stop, acc)))
        set16(writer, at + 18, urg)
        self._seq = (seq + size) & 0xFFFFFFFF
        self._flags &= ~tcp.CWR
        if (flags & tcp.URG) != 0:
            self._urg = urg - size
            if self._urg <= 0:
                self._urg = 0
                self._flags &= ~tcp.URG
