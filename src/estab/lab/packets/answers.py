"""What a box on the way answers in place of the receiver: a reset, or an ICMP error that says "prohibited".

- The answer to a segment is a reset with the numbers that RFC 9293 section 3.10.7.1 gives it, as from the receiver.
- Nothing answers a reset, an ICMP error, a fragment but the first, or what went to a group (RFC 1122 section 3.2.2).
"""

from __future__ import annotations

from estab.errors import WireError
from estab.wire import icmp, ip, tcp
from estab.wire.address import is_broadcast, is_multicast, is_unspecified
from estab.wire.seq import Seq

__all__ = ["framed_back", "prohibited", "refusal", "reset", "reset_of"]


def refusal(packet: ip.Packet, *, by_icmp: bool = False) -> bytes | None:
    """Answer a packet that is refused: TCP with a reset, unless ``by_icmp``, all else with an ICMP error."""
    if packet.protocol == ip.TCP and not by_icmp:
        return reset(packet)
    return prohibited(packet, packet.dst)


def reset(packet: ip.Packet) -> bytes | None:
    """Make the reset that answers a segment; ``None`` for what is a reset itself, or cut off."""
    if packet.fragment_offset:
        return None
    try:
        segment = tcp.parse(packet, True)
    except WireError:
        return None
    if segment.flags & tcp.RST:
        return None
    if segment.flags & tcp.ACK:
        return reset_of(packet.dst, segment.dport, packet.src, segment.sport, int(segment.ack), None)
    ack = (int(segment.seq) + tcp.segment_length(segment)) & 0xFFFFFFFF
    return reset_of(packet.dst, segment.dport, packet.src, segment.sport, 0, ack)


def reset_of(src: bytes, sport: int, dst: bytes, dport: int, seq: int, ack: int | None) -> bytes:
    """Make a reset from one end to the other, with an acknowledgment if ``ack`` is a number."""
    flags = tcp.RST if ack is None else tcp.RST | tcp.ACK
    segment = tcp.Segment(sport, dport, Seq(seq), Seq(ack or 0), flags, 0)
    return tcp.emit_packet(segment, ip.IpHeader(src, dst, dont_fragment=True))


def prohibited(packet: ip.Packet, source: bytes) -> bytes | None:
    """Make the error "administratively prohibited" about a packet, from ``source``; ``None`` where none is due."""
    if packet.fragment_offset or icmp.is_error(packet) or is_multicast(packet.dst) or is_broadcast(packet.dst):
        return None
    if is_unspecified(packet.src) or is_multicast(packet.src):
        return None
    is_v4 = packet.version == 4
    code = icmp.ADMINISTRATIVELY_PROHIBITED_V4 if is_v4 else icmp.ADMINISTRATIVELY_PROHIBITED_V6
    message = icmp.Error(packet.version, icmp.UNREACHABLE, code, packet.data[packet.header_start : packet.end])
    payload = icmp.emit(message, source, packet.src)
    return ip.emit(source, packet.src, ip.ICMP if is_v4 else ip.ICMPV6, payload)


def framed_back(frame: bytes, header_bytes: int, packet: bytes) -> bytes:
    """Put the answer to a frame into a frame that goes back: its Ethernet addresses change places."""
    return packet if not header_bytes else frame[6:12] + frame[:6] + frame[12:header_bytes] + packet
