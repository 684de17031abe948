"""Comparing a packet that came with the one that the script expects, field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.language.syntax import IcmpPacket, IpInfo, PacketAction, TcpOption, TcpPacket, UdpPacket
from estab.drill.language.text import option_text, packet_text
from estab.drill.machine.flow import Flow
from estab.drill.machine.settings import Settings
from estab.drill.steps.inject import icmp_numbers
from estab.drill.steps.option_bytes import encode
from estab.drill.steps.seen import Seen
from estab.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH

__all__ = ["check_follows", "check_packet", "check_timestamp"]

_ECN_NAMES: Final = ("noecn", "ect1", "ect0", "ce")
_SET: Final = ("clear", "set")
_PADDING: Final = ("nop", "eol")
_ACE: Final = ECE | CWR | AE


def check_packet(expected: PacketAction, seen: Seen, flow: Flow, settings: Settings) -> None:
    """Compare; ``MismatchError`` says the first difference and shows both packets."""
    _note_timestamps(expected.packet, seen, flow)
    try:
        _check(expected, seen, flow, settings)
    except MismatchError as difference:
        difference.expected = packet_text(expected)
        difference.got = packet_text(_shown(seen, expected, flow))
        raise


def check_follows(seen: Seen, before: Seen, missing: int) -> None:
    """See whether a packet can be the next piece of a longer segment; ``missing`` is how much text is still to come."""
    packet, previous = seen.action.packet, before.action.packet
    if not isinstance(packet, TcpPacket) or not isinstance(previous, TcpPacket):
        raise MismatchError("a segment goes on in a packet that is not TCP", got=packet_text(seen.action))
    end = (previous.sequence.start + previous.sequence.length) & 0xFFFFFFFF
    soft = FIN | PSH | CWR
    if packet.sequence.start != end:
        _differ("next piece's sequence number", end, packet.sequence.start, seen)
    if packet.flags & ~soft != previous.flags & ~soft:
        _differ("next piece's flags", previous.flags & ~soft, packet.flags & ~soft, seen)
    if (packet.ack, packet.win, packet.urg) != (previous.ack, previous.win, previous.urg):
        _differ("next piece's ack, win and urg", (previous.ack, previous.win, previous.urg),
                (packet.ack, packet.win, packet.urg), seen)
    if seen.length < missing and seen.length != before.length:
        _differ("next piece's length", before.length, seen.length, seen)


def _differ(what: str, expected: object, got: object, seen: Seen | None = None) -> None:
    text = packet_text(seen.action) if seen is not None else ""
    raise MismatchError(f"{what}: expected {expected}, got {got}", got=text)


def _check(expected: PacketAction, seen: Seen, flow: Flow, settings: Settings) -> None:
    if expected.outer:
        raise UnsupportedError(f"{expected.outer[0].kind} encapsulation is not spoken here")
    packet, got = expected.packet, seen.action.packet
    if type(packet) is not type(got):
        _differ("protocol", _protocol(packet), _protocol(got))
    _check_ip(expected.ip, seen, flow)
    if isinstance(packet, TcpPacket) and isinstance(got, TcpPacket):
        _check_tcp(packet, got, seen, settings)
    elif isinstance(packet, UdpPacket) and packet.length != seen.length:
        _differ("length", packet.length, seen.length)
    elif isinstance(packet, IcmpPacket) and isinstance(got, IcmpPacket):
        _check_icmp(packet, got, settings)
    if not seen.is_text_zero:
        raise MismatchError("the text is not what the program wrote: it holds other octets than zeros")


def _protocol(packet: TcpPacket | UdpPacket | IcmpPacket) -> str:
    return type(packet).__name__.removesuffix("Packet").upper()


def _check_ip(info: IpInfo, seen: Seen, flow: Flow) -> None:
    ecn = _ECN_NAMES[seen.tos & 3]
    if info.ecn == "ect01":
        if ecn not in ("ect0", "ect1"):
            _differ("ECN", "ect0 or ect1", ecn)
    elif info.ecn is not None and info.ecn != ecn:
        _differ("ECN", info.ecn, ecn)
    if info.tos is not None and info.tos != seen.tos:
        _differ("tos", f"{info.tos:#04x}", f"{seen.tos:#04x}")
    if info.dscp is not None and info.dscp != seen.tos >> 2:
        _differ("dscp", info.dscp, seen.tos >> 2)
    if info.ttl is not None and info.ttl != seen.ttl:
        _differ("ttl", info.ttl, seen.ttl)
    if info.flow_label:
        _check_flow_label(info.flow_label, seen.flow_label, flow)


def _check_flow_label(label: int, live: int, flow: Flow) -> None:
    """A script's labels stand for live ones: the same for the same, another for another."""
    if not live:
        raise MismatchError("flow label: expected one, and the packet has none")
    if flow.flow_label is not None:
        script_before, live_before = flow.flow_label
        if (label == script_before) != (live == live_before):
            what = "the same as before" if label == script_before else "another than before"
            raise MismatchError(f"flow label: expected {what}, got {live:#x} after {live_before:#x}")
    flow.flow_label = (label, live)


def _check_tcp(packet: TcpPacket, got: TcpPacket, seen: Seen, settings: Settings) -> None:
    if packet.psp_spi is not None or packet.udp_ports is not None or packet.reset_diagnosis is not None:
        raise UnsupportedError("PSP, TCP in UDP and diagnostic payloads of resets are not spoken here")
    _check_flags(packet, got)
    sequence = packet.sequence
    if sequence.is_checked:
        start = seen.live_seq if sequence.is_absolute else got.sequence.start
        if sequence.start != start:
            _differ("sequence number", sequence.start, start)
    if sequence.length != got.sequence.length:
        _differ("length", sequence.length, got.sequence.length)
    if (packet.ack or 0) != got.ack and (sequence.is_checked or packet.ack is not None):
        _differ("ack", packet.ack or 0, got.ack)
    if packet.win is not None and packet.win != got.win and not settings.is_neutral:
        _differ("win", packet.win, got.win)
    if (packet.urg or 0) != got.urg:
        _differ("urg", packet.urg or 0, got.urg)
    if packet.options is not None:
        _check_options(packet.options, got.options or (), settings)


def _check_flags(packet: TcpPacket, got: TcpPacket) -> None:
    expected, flags = packet.flags, got.flags
    if packet.ace is not None:
        ace = (1 if flags & ECE else 0) | (2 if flags & CWR else 0) | (4 if flags & AE else 0)
        if ace != packet.ace:
            _differ("ACE", packet.ace, ace)
        expected, flags = expected & ~_ACE, flags & ~_ACE
    for name, bit in (("SYN", 2), ("FIN", FIN), ("RST", 4), ("ACK", ACK), ("PSH", PSH), ("URG", 0x20), ("ECE", ECE),
                      ("CWR", CWR), ("AE", AE)):
        if (expected ^ flags) & bit:
            is_expected = bool(expected & bit)
            raise MismatchError(f"{name}: expected {_SET[is_expected]}, got {_SET[not is_expected]}")


def _check_options(expected: tuple[TcpOption, ...], got: tuple[TcpOption, ...], settings: Settings) -> None:
    if settings.is_neutral:
        expected, got = _as_set(expected), _as_set(got)
    for index in range(max(len(expected), len(got))):
        if index >= len(got):
            raise MismatchError(f"options: expected {option_text(expected[index])}, and there are no more")
        if index >= len(expected):
            raise MismatchError(f"options: expected no more, got {option_text(got[index])}")
        _check_option(expected[index], got[index])


def _as_set(options: tuple[TcpOption, ...]) -> tuple[TcpOption, ...]:
    return tuple(sorted((option for option in options if option.name not in _PADDING), key=lambda option: option.name))


def _check_option(expected: TcpOption, got: TcpOption) -> None:
    if expected.name == "TS" and got.name == "TS":
        return  # values are compared in ``check_timestamp``, which knows how much time has passed
    if encode(expected) != encode(got):
        _differ("options", option_text(expected), option_text(got))


def _note_timestamps(packet: TcpPacket | UdpPacket | IcmpPacket, seen: Seen, flow: Flow) -> None:
    if not isinstance(packet, TcpPacket):
        return
    for option in packet.options or ():
        if option.name == "TS" and option.numbers[0] is not None and seen.live_val is not None:
            flow.note_val(option.numbers[0], seen.live_val)


def check_timestamp(expected: PacketAction, seen: Seen, flow: Flow, settings: Settings, passed_ns: int) -> None:
    """Compare the timestamp's value, if the script's clock ticks (``--tcp_ts_tick_usecs``).

    ``passed_ns`` is the time since the script began, of which the tolerance is a share.
    """
    packet = expected.packet
    if not settings.ts_tick_ns or seen.live_val is None or not isinstance(packet, TcpPacket):
        return
    tolerance_ns = max(settings.tolerance_ns, settings.tolerance_percent / 100 * passed_ns)
    for option in packet.options or ():
        if option.name == "TS" and option.numbers[0] is not None:
            away = (flow.script_val(seen.live_val) - option.numbers[0] + 2**31) % 2**32 - 2**31
            if abs(away) * settings.ts_tick_ns > tolerance_ns:
                raise MismatchError(f"TS val: expected {option.numbers[0]}, got {flow.script_val(seen.live_val)}",
                               packet_text(expected), packet_text(_shown(seen, expected, flow)))


def _check_icmp(packet: IcmpPacket, got: IcmpPacket, settings: Settings) -> None:
    if icmp_numbers(packet, settings.is_v6) != icmp_numbers(got, settings.is_v6):
        _differ("ICMP type and code", f"{packet.type} {packet.code}".strip(), f"{got.type} {got.code}".strip())
    if packet.mtu is not None and packet.mtu != got.mtu:
        _differ("mtu", packet.mtu, got.mtu)
    if packet.ident is not None and packet.ident != got.ident:
        _differ("id", packet.ident, got.ident)


def _shown(seen: Seen, expected: PacketAction, flow: Flow) -> PacketAction:
    """Return what came with as much detail as the script has, so that the two lines differ only where they differ."""
    info, packet = expected.ip, seen.action.packet
    ip = IpInfo(
        ecn=_ECN_NAMES[seen.tos & 3] if info.ecn is not None else None, tos=seen.tos if info.tos is not None else None,
        dscp=seen.tos >> 2 if info.dscp is not None else None,
        flow_label=seen.flow_label if info.flow_label is not None else None,
        ttl=seen.ttl if info.ttl is not None else None,
    )
    if isinstance(packet, TcpPacket):
        wanted = expected.packet
        win = packet.win if isinstance(wanted, TcpPacket) and wanted.win is not None else None
        ack = packet.ack if packet.flags & ACK or packet.ack else None
        options = tuple(_with_script_val(option, seen, flow) for option in packet.options or ())
        packet = replace(packet, win=win, ack=ack, urg=packet.urg or None, options=options)
        if isinstance(wanted, TcpPacket) and wanted.ace is not None:
            ace = (1 if packet.flags & ECE else 0) | (2 if packet.flags & CWR else 0) | (4 if packet.flags & AE else 0)
            packet = replace(packet, flags=packet.flags & ~_ACE, ace=ace)
    return replace(seen.action, ip=ip, packet=packet)


def _with_script_val(option: TcpOption, seen: Seen, flow: Flow) -> TcpOption:
    if option.name != "TS" or seen.live_val is None:
        return option
    return replace(option, numbers=(flow.script_val(seen.live_val), option.numbers[1]))
