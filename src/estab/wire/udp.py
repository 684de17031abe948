"""UDP datagrams (RFC 768; over IPv6 RFC 8200 section 8.1).

Rules: a checksum of 0 means "none" in IPv4 and is an error in IPv6; one that computes to 0 is sent as 0xFFFF. What lies
after the length in the header is not part of the datagram.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire import ip
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.octets import Writer, put16, put32, u16, u32

__all__ = ["HEADER_BYTES", "Datagram", "emit", "emit_packet", "parse"]

HEADER_BYTES: Final = 8


@mypyc_attr(acyclic=True)
class Datagram:
    """One datagram: its payload is ``data[start:end]``."""

    def __init__(self, sport: i64, dport: i64, data: bytes, start: i64, end: i64) -> None:
        self.sport: i64 = sport
        self.dport: i64 = dport
        self.data: bytes = data
        self.start: i64 = start
        self.end: i64 = end


def parse(packet: ip.Packet, is_checksum_known_good: bool = False) -> Datagram:
    """Read the datagram that an IP packet carries. Raises ``WireError``: ``UDP_INVALID``, ``UDP_CSUM``."""
    data = packet.data
    start = packet.start
    if packet.end - start < HEADER_BYTES:
        raise WireError(DropReason.UDP_INVALID, f"{packet.end - start} bytes of a UDP header")
    length = u16(data, start + 4)
    end = start + length
    if length < HEADER_BYTES or end > packet.end:
        raise WireError(DropReason.UDP_INVALID, f"length {length} in {packet.end - start} bytes")
    checksum = u16(data, start + 6)
    if checksum == 0:
        if packet.version == 6:
            raise WireError(DropReason.UDP_CSUM, "none, over IPv6")
    elif not is_checksum_known_good:
        if fold(add(data, start, end, pseudo_header(packet.src, packet.dst, ip.UDP, length))) != 0xFFFF:
            raise WireError(DropReason.UDP_CSUM)
    ports = u32(data, start)
    return Datagram(ports >> 16, ports & 0xFFFF, data, start + HEADER_BYTES, end)


def emit(sport: i64, dport: i64, payload: bytes, src: bytes, dst: bytes) -> bytes:
    """Build the datagram alone, with its checksum: what goes into one IP packet, or into fragments.

    Raises ``ValueError`` for a payload that the length field can't tell (more than 65527 bytes).
    """
    length: i64 = HEADER_BYTES + len(payload)
    if length > 0xFFFF:
        raise ValueError(f"payload: {len(payload)} bytes; a UDP datagram holds up to {0xFFFF - HEADER_BYTES}")
    acc = pseudo_header(src, dst, ip.UDP, length) + sport + dport + length
    checksum = 0xFFFF - fold(add(payload, 0, len(payload), acc))
    writer = Writer()
    put32(writer, sport << 16 | dport)
    put16(writer, length)
    put16(writer, checksum if checksum != 0 else 0xFFFF)
    return writer.getvalue() + payload


def emit_packet(sport: i64, dport: i64, payload: bytes, header: ip.IpHeader, tos: i64 = 0) -> bytes:
    """Build the whole IP packet, IPv4 or IPv6 as its source address says. ``ValueError`` if it is too long."""
    datagram = emit(sport, dport, payload, header.src, header.dst)
    return ip.emit(header.src, header.dst, ip.UDP, datagram, header.ttl, tos, header.ident, header.dont_fragment,
                   header.flow_label)
