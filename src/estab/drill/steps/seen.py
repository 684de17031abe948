"""From octets that the stack sent to a packet in the script's numbers, ready to be compared or shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from estab.drill.language.syntax import (
    IcmpPacket,
    IpInfo,
    PacketAction,
    Quote,
    Sequence,
    TcpOption,
    TcpPacket,
    UdpPacket,
)
from estab.drill.machine.flow import Flow
from estab.drill.steps.inject import ICMP_NAMES
from estab.drill.steps.option_bytes import decode
from estab.wire import icmp, ip, udp
from estab.wire.tcp import ACK, FIN, PSH, SYN

__all__ = ["Seen", "is_of_flow", "joined", "protocol_of", "read"]

_MASK = 0xFFFFFFFF
_ECN = ("noecn", "ect1", "ect0", "ce")


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet that the stack sent, in script numbers. ``packet`` has every field of the header."""

    at_ns: int
    version: int
    action: PacketAction
    tos: int
    ttl: int
    flow_label: int
    is_text_zero: bool
    live_val: int | None
    """The timestamp as it was on the wire."""
    live_seq: int

    @property
    def length(self) -> int:
        """Octets of text."""
        packet = self.action.packet
        if isinstance(packet, TcpPacket):
            return packet.sequence.length
        return packet.length if isinstance(packet, UdpPacket) else 0


def protocol_of(packet: ip.Packet) -> str:
    """Name a packet's protocol."""
    return {ip.TCP: "tcp", ip.UDP: "udp", ip.ICMP: "icmp", ip.ICMPV6: "icmp"}.get(packet.protocol, str(packet.protocol))


def is_of_flow(data: bytes, flow: Flow) -> bool:
    """Tell whether a packet was sent by the socket under test, ports included."""
    packet = ip.parse(data, 0)
    if packet.dst != flow.remote or (flow.local_port and packet.src != flow.local):
        return False
    protocol = protocol_of(packet)
    if protocol not in ("tcp", "udp") or protocol != flow.protocol:
        return protocol == "icmp"
    sport = int.from_bytes(data[packet.start : packet.start + 2], "big")
    dport = int.from_bytes(data[packet.start + 2 : packet.start + 4], "big")
    return dport == flow.remote_port and (sport == flow.local_port or not flow.local_port)


def read(at_ns: int, data: bytes, flow: Flow) -> Seen:
    """Read a packet that the stack sent and turn its numbers into the script's."""
    packet = ip.parse(data, 0)
    protocol = protocol_of(packet)
    live_val: int | None = None
    live_seq = 0
    shown: TcpPacket | UdpPacket | IcmpPacket
    if protocol == "tcp":
        live_seq = int.from_bytes(data[packet.start + 4 : packet.start + 8], "big")
        shown, text, live_val = _tcp(packet, flow)
    elif protocol == "udp":
        datagram = udp.parse(packet)
        text = datagram.data[datagram.start : datagram.end]
        shown = UdpPacket(len(text))
    else:
        shown, text = _icmp(packet), b""
    action = PacketAction(is_inbound=False, outer=(), ip=IpInfo(), packet=shown)
    return Seen(at_ns, int(packet.version), action, int(packet.tos), int(packet.ttl), int(packet.flow_label),
                not any(text), live_val, live_seq)


def _tcp(packet: ip.Packet, flow: Flow) -> tuple[TcpPacket, bytes, int | None]:
    data, at = packet.data, int(packet.start)
    flags = int.from_bytes(data[at + 12 : at + 14], "big") & 0x1FF
    header_bytes = (data[at + 12] >> 4) * 4
    text = data[at + header_bytes : packet.end]
    is_syn = bool(flags & SYN)
    seq = (int.from_bytes(data[at + 4 : at + 8], "big") - flow.local_offset(is_syn=is_syn)) & _MASK
    ack = int.from_bytes(data[at + 8 : at + 12], "big")
    if flags & ACK:
        ack = (ack - flow.remote_offset(is_syn=is_syn)) & _MASK
    options = decode(data[at + 20 : at + header_bytes])
    live_val = next((option.numbers[0] for option in options if option.name == "TS"), None)
    shown = TcpPacket(
        flags, None, Sequence(seq, len(text)), ack, int.from_bytes(data[at + 14 : at + 16], "big"),
        int.from_bytes(data[at + 18 : at + 20], "big"),
        tuple(_script_option(option, flow, is_syn) for option in options),
    )
    return shown, text, live_val


def _script_option(option: TcpOption, flow: Flow, is_syn: bool) -> TcpOption:
    if option.name == "sack":
        offset = flow.remote_offset(is_syn=is_syn)
        return replace(option, numbers=tuple(((number or 0) - offset) & _MASK for number in option.numbers))
    return option


def _icmp(packet: ip.Packet) -> IcmpPacket:
    message = icmp.parse(packet)
    name, code = f"type_{message.type}", f"code_{message.code}"
    for word, (kind, codes) in ICMP_NAMES[int(packet.version)].items():
        if kind == message.type:
            name = word
            code = next((text for text, number in codes.items() if number == message.code), code)
            if not codes and message.code == 0:
                code = ""
            break
    mtu = message.mtu if isinstance(message, icmp.Error) and message.mtu else None
    ident = message.ident if isinstance(message, icmp.Echo) else None
    quote = None
    if isinstance(message, icmp.Error):
        quoted = message.quoted
        quote = Quote("udp" if quoted.protocol == ip.UDP else "tcp" if quoted.protocol == ip.TCP else "raw", 0, 0)
    return IcmpPacket(name, code, mtu, ident, quote)


def joined(pieces: list[Seen]) -> Seen:
    """Put packets that follow each other together: the last one's header, the first one's place."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return first
    head, tail = first.action.packet, last.action.packet
    assert isinstance(head, TcpPacket)
    assert isinstance(tail, TcpPacket)
    length = sum(piece.length for piece in pieces)
    flags = tail.flags | (head.flags & ~(FIN | PSH))
    whole = replace(tail, sequence=Sequence(head.sequence.start, length), flags=flags)
    return replace(
        last, at_ns=last.at_ns, action=replace(last.action, packet=whole), live_seq=first.live_seq,
        is_text_zero=all(piece.is_text_zero for piece in pieces),
    )
