"""IPv4 (RFC 791) and IPv6 (RFC 8200) packets.

Rules:

- ``parse`` gives a ``Packet`` or raises ``WireError``. What lies after the length in the header (padding of short
  Ethernet frames) is cut off;
- IPv4 options are kept and not obeyed. IPv6 extension headers are walked up to the transport header, or up to the
  fragment header of a real fragment, whose payload begins after it. The Authentication Header is none that we know:
  this stack could not verify it (RFC 4302 section 3.4.2);
- what only the destination of an IPv6 packet may object to (an unknown option, a routing header) is no ``WireError``,
  as a router must pass it on: it is noted in ``problem_code`` for local delivery;
- all indexes are into ``data``; offsets and lengths are bytes.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire.address import is_multicast
from estab.wire.checksum import add, fold
from estab.wire.octets import Writer, put8, put16, put32, put64, s64, set16, u8, u16, u32

__all__ = [
    "AH", "DESTINATION_OPTIONS", "DISCARD_SILENTLY", "ESP", "FRAGMENT", "HOP_BY_HOP", "ICMP", "ICMPV6", "IGMP",
    "NO_NEXT_HEADER", "NO_PROBLEM", "PACKET_BYTES_MAX", "ROUTING", "TCP", "UDP", "V4_HEADER_BYTES", "V6_HEADER_BYTES",
    "Ends", "IpHeader", "Packet", "emit", "emit_header", "extension_bytes", "forwarded", "header_of", "is_extension",
    "is_fragment", "parse", "set_ecn_ce",
]

V4_HEADER_BYTES: Final = 20
V6_HEADER_BYTES: Final = 40
PACKET_BYTES_MAX: Final = 65535

# Protocol numbers; IPv6 numbers its extension headers from the same list.
HOP_BY_HOP: Final = 0
ICMP: Final = 1
IGMP: Final = 2
TCP: Final = 6
UDP: Final = 17
ROUTING: Final = 43
FRAGMENT: Final = 44
ESP: Final = 50
AH: Final = 51
ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60

NO_PROBLEM: Final = -1
DISCARD_SILENTLY: Final = -2

EXTENSION_HEADERS_MAX: Final = 16
"""More than these in one packet are an attack, not a need (RFC 8504 section 5.3 allows a limit)."""

_PAD1: Final = 0
_PADN: Final = 1
_TUNNEL_LIMIT: Final = 4
_ROUTER_ALERT: Final = 5
_TCP_HEADER_BYTES: Final = 20


@mypyc_attr(acyclic=True, free_list_len=1)  # one is made for each packet, and most are gone before the next
class Packet:
    """One IP packet as it lies in ``data``: header from ``header_start``, payload ``data[start:end]``.

    IPv6: ``protocol`` is the last one of the chain of headers, ``tos`` the traffic class, ``ttl`` the hop limit.
    ``fragment_offset`` is in bytes. For IPv6 ``ident``, ``more_fragments`` and ``fragment_offset`` come from the
    fragment header; ``unfragmentable_end`` is where that header begins, or would.

    ``next_header_at`` is where the octet stands that names ``protocol``, counted from ``header_start`` (IPv6).

    ``problem_code`` is for the destination: the code of the Parameter Problem to answer with, pointing at
    ``problem_pointer`` (counted from ``header_start``); ``NO_PROBLEM``; or ``DISCARD_SILENTLY``.
    """

    def __init__(
        self, version: i64, src: bytes, dst: bytes, protocol: i64, ttl: i64, tos: i64,
        data: bytes, start: i64, end: i64, header_start: i64,
    ) -> None:
        self.version: i64 = version
        self.src: bytes = src
        self.dst: bytes = dst
        self.protocol: i64 = protocol
        self.ttl: i64 = ttl
        self.tos: i64 = tos
        self.data: bytes = data
        self.start: i64 = start
        self.end: i64 = end
        self.header_start: i64 = header_start
        self.ident: i64 = 0
        self.flow_label: i64 = 0
        self.fragment_offset: i64 = 0
        self.dont_fragment: bool = False
        self.more_fragments: bool = False
        self.options: bytes = b""
        self.unfragmentable_end: i64 = start
        self.next_header_at: i64 = 6
        self.problem_code: i64 = NO_PROBLEM
        self.problem_pointer: i64 = 0


def header_of(packet: Packet) -> Packet:
    """Return the packet's headers alone: the same fields, with ``data`` from its first byte to its payload."""
    header = Packet(
        packet.version, packet.src, packet.dst, packet.protocol, packet.ttl, packet.tos,
        packet.data[packet.header_start : packet.start], packet.start - packet.header_start,
        packet.start - packet.header_start, 0,
    )
    header.ident = packet.ident
    header.flow_label = packet.flow_label
    header.dont_fragment = packet.dont_fragment
    header.more_fragments = packet.more_fragments
    header.options = packet.options
    header.unfragmentable_end = packet.unfragmentable_end - packet.header_start
    header.next_header_at = packet.next_header_at
    return header


def is_fragment(packet: Packet) -> bool:
    """Whether this is a part of a packet. An IPv6 "atomic" fragment (RFC 6946) is whole."""
    return packet.more_fragments or packet.fragment_offset != 0


@mypyc_attr(acyclic=True)
class Ends:
    """The addresses of the IPv4 packet that a caller of ``parse`` parsed last. Mostly the next one has the same, and
    gets the same objects: none is made, and that they are the same is seen without a look at them.
    """

    def __init__(self) -> None:
        self.src: bytes = b""
        self.dst: bytes = b""
        self.src_number: i64 = -1
        """The same as a number, -1 before there is any."""
        self.dst_number: i64 = -1


def parse(data: bytes, start: i64 = 0, ends: Ends | None = None) -> Packet:
    """Read the IP packet that begins at ``start``. ``ends``: what the caller keeps from one packet to the next.

    Raises ``WireError``: ``UNHANDLED_PROTO`` for other versions, ``PKT_TOO_SMALL`` if bytes are missing,
    ``IP_INHDR``, ``IP_CSUM``, ``FRAG_TOO_FAR``, ``IPV6_BAD_EXTHDR``.
    """
    size: i64 = len(data)
    if start < 0 or start >= size:
        raise WireError(DropReason.PKT_TOO_SMALL, "no IP header")
    version = u8(data, start) >> 4
    if version == 4:
        return _parse_v4(data, start, size, ends)
    if version == 6:
        return _parse_v6(data, start, size)
    raise WireError(DropReason.UNHANDLED_PROTO, f"IP version {version}")


def _parse_v4(data: bytes, header_start: i64, size: i64, ends: Ends | None) -> Packet:
    if size - header_start < V4_HEADER_BYTES:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{size - header_start} bytes of an IPv4 header")
    # Eight octets at a time: to take a field out of a number costs less than to read it.
    first = s64(data, header_start)
    header_bytes = (first >> 54) & 0x3C
    total_bytes = (first >> 32) & 0xFFFF
    start = header_start + header_bytes
    end = header_start + total_bytes
    if header_bytes < V4_HEADER_BYTES or total_bytes < header_bytes:
        raise WireError(DropReason.IP_INHDR, f"header of {header_bytes} in a packet of {total_bytes} bytes")
    if end > size:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{size - header_start} of {total_bytes} bytes")
    second = s64(data, header_start + 8)
    dst_number = u32(data, header_start + 16)
    acc = (first & 0xFFFFFFFF) + ((first >> 32) & 0xFFFFFFFF) + (second & 0xFFFFFFFF) + ((second >> 32) & 0xFFFFFFFF)
    acc += dst_number
    if header_bytes != V4_HEADER_BYTES:
        acc = add(data, header_start + V4_HEADER_BYTES, start, acc)
    if fold(acc) != 0xFFFF:
        raise WireError(DropReason.IP_CSUM)
    if ends is None:
        src = data[header_start + 12 : header_start + 16]
        dst = data[header_start + 16 : header_start + 20]
    else:
        src_number = second & 0xFFFFFFFF
        if src_number != ends.src_number:
            ends.src_number, ends.src = src_number, data[header_start + 12 : header_start + 16]
        if dst_number != ends.dst_number:
            ends.dst_number, ends.dst = dst_number, data[header_start + 16 : header_start + 20]
        src = ends.src
        dst = ends.dst
    packet = Packet(
        4, src, dst, (second >> 48) & 0xFF, (second >> 56) & 0xFF, (first >> 48) & 0xFF, data, start, end, header_start,
    )
    packet.ident = (first >> 16) & 0xFFFF
    if (first & 0xFFFF) != 0:
        packet.dont_fragment = (first & 0x4000) != 0
        packet.more_fragments = (first & 0x2000) != 0
        packet.fragment_offset = (first & 0x1FFF) << 3
        if packet.fragment_offset + end - start > PACKET_BYTES_MAX:
            raise WireError(DropReason.FRAG_TOO_FAR)
    if header_bytes != V4_HEADER_BYTES:
        packet.options = data[header_start + V4_HEADER_BYTES : start]
    return packet


def _parse_v6(data: bytes, header_start: i64, size: i64) -> Packet:
    start = header_start + V6_HEADER_BYTES
    if size < start:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{size - header_start} bytes of an IPv6 header")
    first = u32(data, header_start)
    second = u32(data, header_start + 4)
    end = start + (second >> 16)
    if end > size:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{size - header_start} of {end - header_start} bytes")
    protocol = (second >> 8) & 0xFF
    packet = Packet(
        6, data[header_start + 8 : header_start + 24], data[header_start + 24 : start],
        protocol, second & 0xFF, (first >> 20) & 0xFF, data, start, end, header_start,
    )
    packet.flow_label = first & 0xFFFFF
    if protocol != TCP and protocol != UDP and protocol != ICMPV6:
        _walk_extension_headers(packet)
    return packet


def _walk_extension_headers(packet: Packet) -> None:
    """Move ``start`` and ``protocol`` over the extension headers (RFC 8200 section 4)."""
    data = packet.data
    count: i64 = 0
    is_unfragmentable = True
    while is_extension(packet.protocol):
        header = packet.protocol
        index = packet.start
        if header == HOP_BY_HOP and count != 0:
            # RFC 8200 section 4: only directly after the IPv6 header
            _note_problem(packet, 1, packet.header_start + packet.next_header_at)
            return
        count += 1
        if count > EXTENSION_HEADERS_MAX:
            raise WireError(DropReason.IPV6_BAD_EXTHDR, f"more than {EXTENSION_HEADERS_MAX} extension headers")
        if packet.end - index < 8:
            raise WireError(DropReason.IPV6_BAD_EXTHDR, "extension header cut off")
        size = extension_bytes(header, u8(data, index + 1))
        if size > packet.end - index:
            raise WireError(DropReason.IPV6_BAD_EXTHDR, f"extension header of {size} bytes cut off")
        packet.protocol = u8(data, index)
        packet.start = index + size
        packet.next_header_at = index - packet.header_start
        if header == FRAGMENT:
            is_unfragmentable = False
            _read_fragment_header(packet, index)
            if is_fragment(packet):
                if packet.fragment_offset == 0 and not _has_whole_chain(packet):
                    _note_problem(packet, 3, packet.header_start)  # RFC 7112, RFC 8200 section 4.5
                return
        elif header == ROUTING:
            if u8(data, index + 3) != 0:
                _note_problem(packet, 0, index + 2)  # RFC 8200 section 4.4: a routing type we don't know
        else:
            _check_options(packet, index + 2, packet.start)
        if is_unfragmentable and header in (HOP_BY_HOP, ROUTING):
            packet.unfragmentable_end = packet.start


def is_extension(protocol: i64) -> bool:
    """Whether this next header is one that ``parse`` walks over."""
    return protocol in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS)


def _has_whole_chain(packet: Packet) -> bool:
    """Whether a first fragment holds all headers, the upper-layer header among them (RFC 8200 section 4.5)."""
    header = packet.protocol
    index = packet.start
    while is_extension(header) and header != FRAGMENT:
        if packet.end - index < 8:
            return False
        size = extension_bytes(header, u8(packet.data, index + 1))
        header = u8(packet.data, index)
        index += size
    needed: i64 = 1
    if header == TCP:
        needed = _TCP_HEADER_BYTES
    elif header in (UDP, ICMPV6, FRAGMENT):
        needed = 8
    elif header == NO_NEXT_HEADER:
        needed = 0
    return packet.end - index >= needed


def extension_bytes(header: i64, length_field: i64) -> i64:
    """Return the length of an extension header from its second octet: at least 8."""
    if header == FRAGMENT:
        return 8
    return (length_field + 1) * 8


def _read_fragment_header(packet: Packet, index: i64) -> None:
    offset_and_flags = u16(packet.data, index + 2)
    packet.unfragmentable_end = index
    packet.fragment_offset = offset_and_flags & 0xFFF8
    packet.more_fragments = (offset_and_flags & 1) != 0
    packet.ident = u32(packet.data, index + 4)
    payload_bytes = packet.end - packet.start
    if packet.more_fragments and (payload_bytes & 7) != 0:  # RFC 8200 section 4.5
        _note_problem(packet, 0, packet.header_start + 4)
    elif index - packet.header_start - V6_HEADER_BYTES + packet.fragment_offset + payload_bytes > PACKET_BYTES_MAX:
        _note_problem(packet, 0, index + 2)


def _check_options(packet: Packet, index: i64, end: i64) -> None:
    """Walk the options of a hop-by-hop or destination options header (RFC 8200 section 4.2)."""
    data = packet.data
    while index < end:
        kind = u8(data, index)
        if kind == _PAD1:
            index += 1
            continue
        if index + 2 > end or index + 2 + u8(data, index + 1) > end:
            raise WireError(DropReason.IPV6_BAD_EXTHDR, f"option {kind} runs out of its header")
        if kind != _PADN and kind != _TUNNEL_LIMIT and kind != _ROUTER_ALERT:
            action = kind >> 6
            if action == 1 or (action == 3 and is_multicast(packet.dst)):
                _note_problem(packet, DISCARD_SILENTLY, index)
            elif action != 0:
                _note_problem(packet, 2, index)
        index += 2 + u8(data, index + 1)


def _note_problem(packet: Packet, code: i64, index: i64) -> None:
    if packet.problem_code == NO_PROBLEM:
        packet.problem_code = code
        packet.problem_pointer = index - packet.header_start


@mypyc_attr(acyclic=True)
class IpHeader:
    """What a sender decides of an IP header. A sender of many packets keeps one and changes it for each.

    The traffic class is not here: it belongs to the segment or datagram.
    """

    def __init__(
        self, src: bytes, dst: bytes, ttl: i64 = 64, ident: i64 = 0, dont_fragment: bool = False, flow_label: i64 = 0,
    ) -> None:
        self.src = src
        self.dst = dst
        self.ttl = ttl
        """TTL (IPv4), hop limit (IPv6)."""
        self.ident = ident
        """The identification (IPv4 only); it means something only if a packet may be cut (RFC 6864)."""
        self.dont_fragment = dont_fragment
        self.flow_label = flow_label
        """IPv6 only (RFC 6437)."""


def emit_header(writer: Writer, header: IpHeader, tos: i64, protocol: i64, payload_bytes: i64) -> None:
    """Write an IPv4 header without options, or an IPv6 header, as the length of the source address says."""
    src = header.src
    if len(src) == 4:
        _put_v4_header(
            writer, src, header.dst, protocol, payload_bytes, header.ttl, tos, header.ident,
            0x4000 if header.dont_fragment else 0, b"",
        )
    else:
        put32(writer, 0x60000000 | ((tos & 0xFF) << 20) | (header.flow_label & 0xFFFFF))
        put32(writer, (payload_bytes << 16) | (protocol << 8) | (header.ttl & 0xFF))
        writer.write(src)
        writer.write(header.dst)


def emit(
    src: bytes, dst: bytes, protocol: i64, payload: bytes, ttl: i64 = 64, tos: i64 = 0, ident: i64 = 0,
    dont_fragment: bool = False, flow_label: i64 = 0, options: bytes = b"",
    fragment_offset: i64 = 0, more_fragments: bool = False,
) -> bytes:
    """Build a whole packet, IPv4 or IPv6 as the length of ``src`` says.

    ``options`` are IPv4's, filled up to a multiple of 4 with end-of-list. With ``fragment_offset`` (bytes, a multiple
    of 8) or ``more_fragments`` the packet is a fragment, in IPv6 with a fragment header. Raises ``ValueError`` for what
    no packet can hold.
    """
    if len(src) != len(dst) or (len(src) != 4 and len(src) != 16):
        raise ValueError(f"src and dst: {len(src)} and {len(dst)} bytes; both need 4 or both 16")
    if (fragment_offset & 7) != 0 or fragment_offset < 0 or fragment_offset > 0xFFF8:
        raise ValueError(f"fragment_offset: {fragment_offset} is not a multiple of 8 up to 65528")
    writer = Writer()
    is_part = fragment_offset != 0 or more_fragments
    size: i64 = len(payload)
    if len(src) == 16:
        if is_part:
            size += 8
        if options or size > PACKET_BYTES_MAX:
            raise ValueError(f"payload of {len(payload)} bytes, options {options!r}: no IPv6 packet holds these")
        header = IpHeader(src, dst, ttl, flow_label=flow_label)
        emit_header(writer, header, tos, FRAGMENT if is_part else protocol, size)
        if is_part:
            put8(writer, protocol)
            put8(writer, 0)
            put16(writer, fragment_offset | (1 if more_fragments else 0))
            put32(writer, ident)
    else:
        options += bytes(-len(options) & 3)
        if len(options) > 40 or V4_HEADER_BYTES + len(options) + size > PACKET_BYTES_MAX:
            raise ValueError(f"options of {len(options)} and payload of {size} bytes do not fit into a packet")
        fragment_word = fragment_offset >> 3 | (0x2000 if more_fragments else 0) | (0x4000 if dont_fragment else 0)
        _put_v4_header(writer, src, dst, protocol, size, ttl, tos, ident, fragment_word, options)
    return writer.getvalue() + payload


def _put_v4_header(
    writer: Writer, src: bytes, dst: bytes, protocol: i64, payload_bytes: i64,
    ttl: i64, tos: i64, ident: i64, fragment_word: i64, options: bytes,
) -> None:
    """Write any IPv4 header."""
    header_bytes: i64 = V4_HEADER_BYTES + len(options)
    first = 0x40000000 | header_bytes << 22 | (tos & 0xFF) << 16 | (header_bytes + payload_bytes)
    second = (ident & 0xFFFF) << 16 | fragment_word
    third = ttl << 24 | protocol << 16
    src_number = u32(src, 0)
    dst_number = u32(dst, 0)
    acc = first + second + third + src_number + dst_number
    if header_bytes != V4_HEADER_BYTES:
        acc = add(options, 0, len(options), acc)
    put64(writer, first, second)
    put64(writer, third | (0xFFFF - fold(acc)), src_number)
    put32(writer, dst_number)
    if header_bytes != V4_HEADER_BYTES:
        writer.write(options)


def forwarded(packet: Packet) -> bytes:
    """Return the packet as a router sends it on: one hop less to live, IPv4's checksum adjusted (RFC 1624), no padding.

    The caller has seen that ``ttl`` is above 1.
    """
    data = packet.data
    at = packet.header_start
    if packet.version == 6:
        return data[at : at + 7] + bytes([packet.ttl - 1]) + data[at + 8 : packet.end]
    new_sum = 0xFFFF - fold((0xFFFF - u16(data, at + 10)) + 0xFEFF)
    writer = Writer()
    writer.write(data[at : packet.end])
    set16(writer, 8, (packet.ttl - 1) << 8 | packet.protocol)
    set16(writer, 10, new_sum)
    return writer.getvalue()


def set_ecn_ce(packet: Packet) -> bytes:
    """Return the packet with its ECN field set to Congestion Experienced, as a router's queue marks it (RFC 3168)."""
    data = packet.data
    at = packet.header_start
    if packet.version == 6:
        return data[at : at + 1] + bytes([u8(data, at + 1) | 0x30]) + data[at + 2 : packet.end]
    grown = (u8(data, at + 1) | 3) - u8(data, at + 1)
    new_sum = 0xFFFF - fold((0xFFFF - u16(data, at + 10)) + grown)
    changed = bytes([u8(data, at + 1) | 3])
    checksum = bytes([new_sum >> 8, new_sum & 0xFF])
    return data[at : at + 1] + changed + data[at + 2 : at + 10] + checksum + data[at + 12 : packet.end]
