"""What one frame says, in a line: for ladders and captures.

- Any bytes have a ``Summary``; a frame that is not understood says so.
- Nothing tells of a frame whether it begins with an Ethernet or an IP header, so ``is_ethernet`` looks: an IP packet
  states its own length, and that length is the frame's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from estab.errors import WireError
from estab.frozen import quickly_made
from estab.wire import arp, ethernet, icmp, ip, nd, tcp, udp
from estab.wire.address import format_address

__all__ = ["Summary", "dissect", "is_ethernet"]

_PROBLEMS: Final = {
    icmp.UNREACHABLE: "unreachable", icmp.PACKET_TOO_BIG: "packet too big", icmp.TIME_EXCEEDED: "time exceeded",
    icmp.PARAMETER_PROBLEM: "parameter problem", icmp.REDIRECT: "redirect",
}


@quickly_made
@dataclass(frozen=True, slots=True)
class Summary:
    """What a frame says. ``protocol`` is ``tcp``, ``udp``, ``icmp``, ``arp``, ``nd`` or ``other``; numbers are those
    on the wire.
    """

    protocol: str
    text: str
    """A line without addresses: ``S seq=1 ack=0 len=0``, ``who has 10.0.0.2``."""
    source: str = ""
    destination: str = ""
    """Address and port if there is one, as ``events`` writes them."""
    flags: str = ""
    seq: int = 0
    ack: int = 0
    length: int = 0
    wnd: int = 0
    ecn: str = ""
    """The ECN field, ``ECT(0)``, ``ECT(1)`` or ``CE``; empty for Not-ECT and for what is not TCP."""

    @property
    def connection(self) -> str:
        """Name the connection as the sender's side does; empty for what is not TCP."""
        return f"{self.source}>{self.destination}" if self.protocol == "tcp" else ""


def is_ethernet(data: bytes) -> bool:
    """Say whether a frame begins with an Ethernet header rather than an IP one."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return int.from_bytes(data[2:4], "big") != len(data)
    if len(data) >= 40 and data[0] >> 4 == 6:
        return int.from_bytes(data[4:6], "big") + 40 != len(data)
    return True


def dissect(data: bytes) -> Summary:
    """Read a frame. Never raises, whatever the bytes."""
    try:
        if not is_ethernet(data):
            return _packet(data, 0)
        frame = ethernet.parse(data)
        if frame.ethertype == ethernet.ARP:
            return _arp(data, frame.start)
        if frame.ethertype in (ethernet.IPV4, ethernet.IPV6):
            return _packet(data, frame.start)
        return Summary("other", f"EtherType 0x{frame.ethertype:04x}, {len(data)} bytes")
    except WireError as error:
        return Summary("other", f"{len(data)} bytes: {error}")


def _arp(data: bytes, start: int) -> Summary:
    message = arp.parse(data, start)
    sender, target = format_address(message.sender), format_address(message.target)
    text = f"who has {target}" if message.operation == arp.REQUEST else f"{sender} is here"
    return Summary("arp", text, sender, target)


def _packet(data: bytes, start: int) -> Summary:
    packet = ip.parse(data, start)
    source, destination = _address(packet.src), _address(packet.dst)
    if packet.fragment_offset:
        return Summary("other", f"fragment at {packet.fragment_offset}", source, destination)
    if packet.protocol == ip.TCP and not packet.more_fragments:
        return _tcp(packet, source, destination)
    if packet.protocol == ip.UDP and not packet.more_fragments:
        datagram = udp.parse(packet, True)
        length = datagram.end - datagram.start
        return Summary("udp", f"UDP len={length}", _end(source, datagram.sport), _end(destination, datagram.dport),
                       length=length)
    if packet.protocol in (ip.ICMP, ip.ICMPV6):
        return _icmp(packet, source, destination)
    return Summary("other", f"protocol {packet.protocol}, {packet.end - packet.start} bytes", source, destination)


def _tcp(packet: ip.Packet, source: str, destination: str) -> Summary:
    segment = tcp.parse(packet, True)
    flags = tcp.flags_text(segment.flags)
    length = tcp.text_length(segment)
    ecn = tcp.ecn_text(segment.tos)
    text = f"{flags} seq={segment.seq} ack={segment.ack} len={length}" + (f" {ecn}" if ecn else "")
    return Summary("tcp", text, _end(source, segment.sport), _end(destination, segment.dport), flags, int(segment.seq),
                   int(segment.ack), length, segment.wnd, ecn)


def _icmp(packet: ip.Packet, source: str, destination: str) -> Summary:
    kind = packet.data[packet.start] if packet.end > packet.start else 0
    if packet.version == 6 and nd.FIRST_TYPE <= kind <= nd.LAST_TYPE:
        return Summary("nd", f"neighbour discovery, type {kind}", source, destination)
    message = icmp.parse(packet, True)
    if isinstance(message, icmp.Echo):
        return Summary("icmp", "echo reply" if message.is_reply else "echo request", source, destination)
    if isinstance(message, icmp.Error):
        about = _PROBLEMS.get(int(message.problem), "error") + (f" (mtu {message.mtu})" if message.mtu else "")
        return Summary("icmp", f"ICMP {about}, code {message.code}", source, destination)
    return Summary("icmp", f"ICMP type {kind}", source, destination)


@lru_cache(maxsize=4096)
def _address(data: bytes) -> str:
    return format_address(data)


@lru_cache(maxsize=4096)
def _end(address: str, port: int) -> str:
    """Write an address and port as the facts do."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
