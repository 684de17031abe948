"""From the syntax tree back to packetdrill text: how failures show what was expected and what came."""

from __future__ import annotations

from estab.drill.language.syntax import (
    Encapsulation,
    IcmpPacket,
    IpInfo,
    PacketAction,
    Quote,
    TcpOption,
    TcpPacket,
    UdpPacket,
)
from estab.units import SECOND
from estab.wire.tcp import ACK

__all__ = ["option_text", "options_text", "packet_text", "time_text"]

_LETTERS = "FSRPUEWA"
_BITS = (0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80, 0x100)
_COUNTERS = {"ECN0": ("e0b", "ceb", "e1b"), "ECN1": ("e1b", "ceb", "e0b")}


def time_text(time_ns: int) -> str:
    """Write a time as seconds, to the microsecond."""
    return f"{time_ns // SECOND}.{time_ns % SECOND // 1000:06}"


def packet_text(action: PacketAction) -> str:
    """Write a packet as a script does, without its time."""
    parts = ["<" if action.is_inbound else ">", *(_outer_text(outer) for outer in action.outer)]
    if shown := _ip_text(action.ip):
        parts.append(f"[{shown}]")
    packet = action.packet
    if isinstance(packet, TcpPacket):
        parts.append(_tcp_text(packet))
    elif isinstance(packet, UdpPacket):
        parts.append(f"udp {_ports_text(packet.ports)}({packet.length})")
    else:
        parts.append(_icmp_text(packet))
    return " ".join(parts)


def options_text(options: tuple[TcpOption, ...] | None) -> str:
    """Write options in their angle brackets; nothing for none."""
    if options is None:
        return "<...>"
    return f"<{','.join(map(option_text, options))}>" if options else ""


def option_text(option: TcpOption) -> str:
    """Write one option."""
    numbers = option.numbers
    if option.name == "TS":
        value = "..." if numbers[0] is None else str(numbers[0])
        return f"TS val {value} ecr {numbers[1]}{'!' if option.is_absolute else ''}"
    if option.name == "sack":
        return "sack " + " ".join(f"{numbers[at]}:{numbers[at + 1]}" for at in range(0, len(numbers), 2))
    if option.name.removeprefix("exp") in _COUNTERS:
        words = _COUNTERS[option.name.removeprefix("exp")]
        pairs = zip(words, numbers, strict=False)
        return f"{option.name[:-1]} " + " ".join(f"{word} {number}" for word, number in pairs)
    if option.name == "raw":
        return option.data.hex()
    if option.name == "gen":
        return f"gen-{option.kind} {option.data.hex()}".rstrip()
    if option.name == "exp":
        return f"exp-{option.data[:2].hex()} {option.data[2:].hex()}".rstrip()
    return " ".join([option.name, *map(str, numbers), *([option.data.hex()] if option.data else [])])


def _outer_text(outer: Encapsulation) -> str:
    ends = f" {outer.source} > {outer.destination}" if outer.source else ""
    return f"{outer.kind}{ends}:"


def _ip_text(ip: IpInfo) -> str:
    parts = [] if ip.ecn is None else [ip.ecn]
    if ip.tos is not None:
        parts.append(f"tos {ip.tos:#04x}")
    if ip.dscp is not None:
        parts.append(f"dscp {ip.dscp}")
    if ip.flow_label is not None:
        parts.append(f"flowlabel {ip.flow_label:#x}")
    if ip.ttl is not None:
        parts.append(f"ttl {ip.ttl}")
    return ",".join(parts)


def _ports_text(ports: tuple[int, int] | None) -> str:
    return f"{ports[0]} > {ports[1]} " if ports else ""


def _flags_text(packet: TcpPacket) -> str:
    letters = "".join(letter for letter, bit in zip(_LETTERS, _BITS, strict=True) if packet.flags & bit)
    if packet.ace is not None:
        return f"{letters}.{packet.ace}"
    return (letters + ("." if packet.flags & ACK else "")) or "-"


def _tcp_text(packet: TcpPacket) -> str:
    sequence = packet.sequence
    parts = [_ports_text(packet.ports).strip(), _flags_text(packet)]
    if sequence.is_checked:
        end = (sequence.start + sequence.length) & 0xFFFFFFFF
        parts.append(f"{sequence.start}:{end}({sequence.length}){'!' if sequence.is_absolute else ''}")
    else:
        parts.append(f"...({sequence.length})")
    for word, value in (("ack", packet.ack), ("win", packet.win), ("urg", packet.urg)):
        if value is not None:
            parts.append(f"{word} {value}")
    parts.append(options_text(packet.options))
    return " ".join(part for part in parts if part)


def _icmp_text(packet: IcmpPacket) -> str:
    parts = ["icmp", packet.type, packet.code]
    if packet.mtu is not None:
        parts.append(f"mtu {packet.mtu}")
    if packet.ident is not None:
        parts.append(f"id {packet.ident}")
    if packet.quote is not None:
        parts.append(f"[{_quote_text(packet.quote)}]")
    return " ".join(part for part in parts if part)


def _quote_text(quote: Quote) -> str:
    if quote.protocol != "tcp":
        return f"{quote.protocol} ({quote.length})"
    return f"{quote.start}:{quote.start + quote.length}({quote.length})"
