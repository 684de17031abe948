"""IP fragments: cut a packet, and put one together again (RFC 791 section 3.2, RFC 8200 section 4.5).

Rules: this file knows the headers and no table. Which fragments belong together, how long to wait and how much to hold
is for the host.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.errors import DropReason, WireError
from estab.wire import ip
from estab.wire.octets import Writer, put8, put16, put32, u8

__all__ = ["join", "named_at", "split"]


def split(packet: ip.Packet, mtu: i64, ident: i64) -> list[bytes]:
    """Cut a packet into fragments of up to ``mtu`` bytes.

    ``ident`` is for IPv6; IPv4 keeps the packet's own. An IPv4 fragment can be cut again. Raises ``ValueError`` if
    ``mtu`` has no room for 8 bytes of payload, and for an IPv6 packet that is a fragment already.
    """
    if packet.version == 6:
        return _split_v6(packet, mtu, ident)
    room = (mtu - (packet.start - packet.header_start)) & -8
    if room < 8:
        raise ValueError(f"mtu: {mtu} has no room for a header and 8 bytes")
    fragments: list[bytes] = []
    options = packet.options
    index = packet.start
    while index < packet.end:
        stop = min(index + room, packet.end)
        fragments.append(
            ip.emit(
                packet.src, packet.dst, packet.protocol, packet.data[index:stop], packet.ttl, packet.tos, packet.ident,
                packet.dont_fragment, 0, options, packet.fragment_offset + index - packet.start,
                packet.more_fragments or stop < packet.end,
            )
        )
        if index == packet.start:
            options = _copied_options(options)
        index = stop
    return fragments


def _copied_options(options: bytes) -> bytes:
    """Keep the options that every fragment bears: those with the copied flag (RFC 791 section 3.1)."""
    kept = b""
    index: i64 = 0
    size: i64 = len(options)
    while index < size:
        kind = u8(options, index)
        if kind == 0:
            break
        length: i64 = 1
        if kind != 1:
            length = u8(options, index + 1) if index + 1 < size else 0
            if length < 2 or index + length > size:
                break
            if (kind & 0x80) != 0:
                kept += options[index : index + length]
        index += length
    return kept


def _split_v6(packet: ip.Packet, mtu: i64, ident: i64) -> list[bytes]:
    if ip.is_fragment(packet):
        raise ValueError("packet: an IPv6 fragment is never cut again")
    data = packet.data
    name_at = named_at(packet)
    cut = packet.unfragmentable_end
    head = data[packet.header_start : cut]
    room = (mtu - len(head) - 8) & -8
    if room < 8:
        raise ValueError(f"mtu: {mtu} has no room for headers of {len(head) + 8} and 8 bytes")
    fragments: list[bytes] = []
    index = cut
    while index < packet.end:
        stop = min(index + room, packet.end)
        writer = Writer()
        _put_unfragmentable(writer, packet, ip.FRAGMENT, 8 + stop - index)
        put8(writer, u8(data, name_at))
        put8(writer, 0)
        put16(writer, index - cut | (1 if stop < packet.end else 0))
        put32(writer, ident)
        writer.write(data[index:stop])
        fragments.append(writer.getvalue())
        index = stop
    return fragments


def named_at(packet: ip.Packet) -> i64:
    """Find the octet that names the header at ``unfragmentable_end``."""
    data = packet.data
    name_at = packet.header_start + 6
    index = packet.header_start + ip.V6_HEADER_BYTES
    while index < packet.unfragmentable_end:
        size = ip.extension_bytes(u8(data, name_at), u8(data, index + 1))
        name_at = index
        index += size
    return name_at


def _put_unfragmentable(writer: Writer, packet: ip.Packet, next_header: i64, rest_bytes: i64) -> None:
    """Write IPv6 header and unfragmentable part, naming ``next_header`` and counting ``rest_bytes`` after them."""
    data = packet.data
    at = packet.header_start
    name_at = named_at(packet)
    extensions_bytes = packet.unfragmentable_end - at - ip.V6_HEADER_BYTES
    put32(writer, 0x60000000 | packet.tos << 20 | packet.flow_label)
    put16(writer, extensions_bytes + rest_bytes)
    writer.write(data[at + 6 : name_at])
    put8(writer, next_header)
    writer.write(data[name_at + 1 : packet.unfragmentable_end])


def join(first: ip.Packet, payload: bytes) -> bytes:
    """Build the whole packet from its first fragment's header and the payload of all of them, in order.

    ``first.tos`` goes into it, so that the caller can set what RFC 3168 section 5.3 says of ECN. Raises ``WireError``
    (``FRAG_TOO_FAR``) if the whole is longer than a packet can be.
    """
    length: i64 = len(payload)
    if first.version == 4:
        if first.start - first.header_start + length > ip.PACKET_BYTES_MAX:
            raise WireError(DropReason.FRAG_TOO_FAR)
        return ip.emit(
            first.src, first.dst, first.protocol, payload, first.ttl, first.tos, first.ident, first.dont_fragment, 0,
            first.options,
        )
    if first.unfragmentable_end - first.header_start - ip.V6_HEADER_BYTES + length > ip.PACKET_BYTES_MAX:
        raise WireError(DropReason.FRAG_TOO_FAR)
    writer = Writer()
    _put_unfragmentable(writer, first, first.protocol, length)
    writer.write(payload)
    return writer.getvalue()
