"""From a packet of the script to octets on the wire. Texts are zeros, as in packetdrill."""

from __future__ import annotations

from typing import Final

from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.language.syntax import IcmpPacket, IpInfo, PacketAction, TcpOption, TcpPacket, UdpPacket
from estab.drill.machine.flow import Flow
from estab.drill.machine.settings import Settings
from estab.drill.steps.option_bytes import encode
from estab.wire import ip
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.icmp_message import build
from estab.wire.tcp import ACK, AE, CWR, ECE, SYN
from estab.wire.udp import emit as emit_udp

__all__ = ["ICMP_NAMES", "icmp_numbers", "packet_bytes"]

_MASK: Final = 0xFFFFFFFF
_ECN_BITS: Final = {"noecn": 0, "ect0": 2, "ect1": 1, "ce": 3}
_V4_UNREACHABLE: Final = (
    "net_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable", "frag_needed",
    "source_route_failed", "net_unknown", "host_unknown", "source_host_isolated", "net_prohibited", "host_prohibited",
    "net_unreachable_for_tos", "host_unreachable_for_tos", "packet_filtered", "precedence_violation",
    "precedence_cutoff",
)
_V6_UNREACHABLE: Final = (
    "net_unreachable", "admin_prohibited", "not_neighbour", "address_unreachable", "port_unreachable",
)
_Names = dict[str, tuple[int, dict[str, int]]]
ICMP_NAMES: Final[dict[int, _Names]] = {
    4: {
        "echo_reply": (0, {}), "unreachable": (3, {name: code for code, name in enumerate(_V4_UNREACHABLE)}),
        "source_quench": (4, {}), "redirect": (5, {}), "echo_request": (8, {}),
        "time_exceeded": (11, {"ttl_exceeded_in_transit": 0, "frag_reass_exceeded": 1, "exceeded_ttl": 0,
                               "exceeded_frag_time": 1}),
        "parameter_problem": (12, {}), "timestamp_request": (13, {}), "timestamp_reply": (14, {}),
        "information_request": (15, {}), "information_reply": (16, {}), "address_mask_request": (17, {}),
        "address_mask_reply": (18, {}),
    },
    6: {
        "unreachable": (1, {**{name: code for code, name in enumerate(_V6_UNREACHABLE)}, "no_route": 0}),
        "packet_too_big": (2, {}), "time_exceeded": (3, {"exceeded_hop_limit": 0, "exceeded_frag_time": 1}),
        "parameter_problem": (4, {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2}),
        "echo_request": (128, {}), "echo_reply": (129, {}),
    },
}
"""ICMP's types and codes by IP version and name."""


def packet_bytes(action: PacketAction, flow: Flow, settings: Settings) -> bytes:
    """Build the IP packet that ``action`` injects into ``flow``. ``MismatchError`` on the impossible."""
    if action.outer:
        raise UnsupportedError(f"{action.outer[0].kind} encapsulation is not spoken here")
    packet = action.packet
    if isinstance(packet, TcpPacket):
        protocol, payload = ip.TCP, _tcp(packet, flow, settings)
    elif isinstance(packet, UdpPacket):
        source, destination = packet.ports or (0, 0)
        protocol = ip.UDP
        source, destination = source or flow.remote_port, destination or flow.local_port
        payload = emit_udp(source, destination, bytes(packet.length), flow.remote, flow.local)
    else:
        protocol, payload = ip.ICMPV6 if settings.is_v6 else ip.ICMP, _icmp(packet, flow, settings)
    info = action.ip
    ttl = 255 if info.ttl is None else info.ttl
    label = info.flow_label or 0
    return ip.emit(flow.remote, flow.local, protocol, payload, ttl=ttl, tos=tos_of(info), flow_label=label)


def tos_of(info: IpInfo) -> int:
    """Put together the traffic class octet."""
    tos = info.tos or 0
    if info.dscp is not None:
        tos = tos & 3 | info.dscp << 2
    if info.ecn is not None:
        tos = tos & 0xFC | _ECN_BITS[info.ecn]
    return tos


def _tcp(packet: TcpPacket, flow: Flow, settings: Settings) -> bytes:
    if packet.psp_spi is not None or packet.udp_ports is not None or packet.reset_diagnosis is not None:
        raise UnsupportedError("PSP, TCP in UDP and diagnostic payloads of resets are not spoken here")
    is_syn = bool(packet.flags & SYN)
    sequence = packet.sequence
    seq = sequence.start if sequence.is_absolute else (sequence.start + flow.remote_offset(is_syn=is_syn)) & _MASK
    ack = packet.ack or 0
    if packet.flags & ACK:
        ack = (ack + flow.local_offset(is_syn=is_syn)) & _MASK
    options = b"".join(encode(_live(option, packet, flow, settings)) for option in packet.options or ())
    if len(options) % 4:
        raise MismatchError(f"the options take {len(options)} octets, which is no multiple of 4: pad with nop or eol")
    if len(options) > 40:
        raise MismatchError(f"the options take {len(options)} octets, and a TCP header has room for 40")
    flags = packet.flags
    if packet.ace is not None:
        flags |= (packet.ace & 1 and ECE) | (packet.ace & 2 and CWR) | (packet.ace & 4 and AE)
    source, destination = packet.ports or (0, 0)
    header_bytes = 20 + len(options)
    fourth = (header_bytes // 4) << 28 | flags << 16 | (packet.win or 0)
    head = b"".join([
        (source or flow.remote_port).to_bytes(2, "big"), (destination or flow.local_port).to_bytes(2, "big"),
        seq.to_bytes(4, "big"), ack.to_bytes(4, "big"), fourth.to_bytes(4, "big"),
    ])
    tail = (packet.urg or 0).to_bytes(2, "big") + options + bytes(sequence.length)
    return head + _checksum(head + b"\0\0" + tail, flow) + tail


def _checksum(segment: bytes, flow: Flow) -> bytes:
    acc = pseudo_header(flow.remote, flow.local, ip.TCP, len(segment))
    return (0xFFFF - int(fold(add(segment, 0, len(segment), acc)))).to_bytes(2, "big")


def _live(option: TcpOption, packet: TcpPacket, flow: Flow, settings: Settings) -> TcpOption:
    """Turn what an option says of the stack's own numbers into live ones."""
    if option.name == "sack":
        offset = flow.local_offset(is_syn=bool(packet.flags & SYN))
        return TcpOption("sack", tuple(((number or 0) + offset) & _MASK for number in option.numbers))
    if option.name == "TS" and packet.flags & ACK and not option.is_absolute:
        ecr = flow.live_ecr(option.numbers[1] or 0, settings.has_scaled_ecr)
        return TcpOption("TS", (option.numbers[0], ecr))
    return option


# --- ICMP


def icmp_numbers(packet: IcmpPacket, is_v6: bool) -> tuple[int, int]:
    """Look up type and code. ``MismatchError`` if the IP version has no such name."""
    version = 6 if is_v6 else 4
    if packet.type not in ICMP_NAMES[version]:
        raise MismatchError(f"ICMP over IPv{version} has no type {packet.type!r}")
    kind, codes = ICMP_NAMES[version][packet.type]
    if packet.code.startswith("code_") and packet.code[5:].isdecimal():
        return kind, int(packet.code[5:])
    if packet.code and packet.code not in codes:
        raise MismatchError(f"ICMP over IPv{version}: {packet.type} has no code {packet.code!r}")
    return kind, codes.get(packet.code, 0)


def _icmp(packet: IcmpPacket, flow: Flow, settings: Settings) -> bytes:
    kind, code = icmp_numbers(packet, settings.is_v6)
    word = packet.mtu or 0
    if packet.type in ("echo_request", "echo_reply"):
        ident = flow.local_port if packet.ident is None else packet.ident
        word = ident << 16
    body = b""
    if packet.quote is not None or packet.type not in ("echo_request", "echo_reply"):
        body = _quoted(packet, flow)
    return build(flow.remote, flow.local, kind, code, word, body)


def _quoted(packet: IcmpPacket, flow: Flow) -> bytes:
    """Build what the error quotes: the stack's own packet, its IP header and eight octets."""
    quote = packet.quote
    if quote is not None and quote.protocol == "raw":
        return bytes(quote.length)
    ports = flow.local_port.to_bytes(2, "big") + flow.remote_port.to_bytes(2, "big")
    length = quote.length if quote is not None else 0
    if flow.protocol == "udp" or (quote is not None and quote.protocol == "udp"):
        transport = ports + (8 + length).to_bytes(2, "big") + b"\0\0"
        return ip.emit(flow.local, flow.remote, ip.UDP, transport + bytes(length), ttl=64)[: _quote_bytes(flow)]
    start = quote.start if quote is not None else 0
    seq = (start + flow.local_offset(is_syn=False)) & _MASK
    transport = ports + seq.to_bytes(4, "big") + bytes(12 + length)
    return ip.emit(flow.local, flow.remote, ip.TCP, transport, ttl=64)[: _quote_bytes(flow)]


def _quote_bytes(flow: Flow) -> int:
    return (20 if len(flow.local) == 4 else 40) + 8
