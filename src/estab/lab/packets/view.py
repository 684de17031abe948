"""A typed view of one packet on a link: for rules, which ask what a packet is, and not where its bytes stand.

- What is read is what stands in the bytes, also if a checksum is wrong. Addresses are text, numbers are as on the wire.
- A frame that holds no IP packet has ``version`` 0. Of a fragment only the first has ``tcp``, ``udp`` or ``icmp``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

from estab.errors import WireError
from estab.wire import arp, ethernet, ip, tcp
from estab.wire.address import format_address

__all__ = ["IcmpView", "PacketView", "TcpView", "UdpView"]

_UDP_HEADER_BYTES: Final = 8
_ICMP_HEADER_BYTES: Final = 8


class TcpView:
    """The TCP segment of a packet. ``seq`` and ``ack`` are the 32-bit numbers in the header."""

    __slots__ = ("_end", "_packet", "_start")

    def __init__(self, packet: ip.Packet) -> None:
        self._packet = packet
        self._start = packet.start
        self._end = packet.end

    def _u16(self, at: int) -> int:
        return int.from_bytes(self._packet.data[self._start + at : self._start + at + 2], "big")

    def _u32(self, at: int) -> int:
        return int.from_bytes(self._packet.data[self._start + at : self._start + at + 4], "big")

    @property
    def sport(self) -> int:
        """The source port."""
        return self._u16(0)

    @property
    def dport(self) -> int:
        """The destination port."""
        return self._u16(2)

    @property
    def seq(self) -> int:
        """The sequence number of the first octet."""
        return self._u32(4)

    @property
    def ack(self) -> int:
        """The acknowledgment number; it counts only if ``has_ack``."""
        return self._u32(8)

    @property
    def bits(self) -> int:
        """The flags as a number: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256."""
        return self._u16(12) & 0x1FF

    @property
    def flags(self) -> str:
        """The flags as tcpdump writes them: ``"S"``, ``"S."``, ``"P."``."""
        return tcp.flags_text(self.bits)

    @property
    def syn(self) -> bool:
        """Whether SYN is set."""
        return bool(self.bits & tcp.SYN)

    @property
    def fin(self) -> bool:
        """Whether FIN is set."""
        return bool(self.bits & tcp.FIN)

    @property
    def rst(self) -> bool:
        """Whether RST is set."""
        return bool(self.bits & tcp.RST)

    @property
    def psh(self) -> bool:
        """Whether PSH is set."""
        return bool(self.bits & tcp.PSH)

    @property
    def urg(self) -> bool:
        """Whether URG is set."""
        return bool(self.bits & tcp.URG)

    @property
    def has_ack(self) -> bool:
        """Whether the flag ACK is set."""
        return bool(self.bits & tcp.ACK)

    @property
    def wnd(self) -> int:
        """The window as it stands in the header, unscaled."""
        return self._u16(14)

    @property
    def length(self) -> int:
        """Octets of text."""
        return max(0, self._end - self._text_at)

    @property
    def payload(self) -> bytes:
        """The text."""
        return self._packet.data[self._text_at : self._end]

    @property
    def _text_at(self) -> int:
        return self._start + (self._packet.data[self._start + 12] >> 4) * 4

    def __repr__(self) -> str:
        return (f"TCP {self.sport} > {self.dport} [{self.flags}] seq {self.seq} ack {self.ack} length {self.length}")


class UdpView:
    """The UDP datagram of a packet."""

    __slots__ = ("_packet",)

    def __init__(self, packet: ip.Packet) -> None:
        self._packet = packet

    @property
    def sport(self) -> int:
        """The source port."""
        return int.from_bytes(self._packet.data[self._packet.start : self._packet.start + 2], "big")

    @property
    def dport(self) -> int:
        """The destination port."""
        return int.from_bytes(self._packet.data[self._packet.start + 2 : self._packet.start + 4], "big")

    @property
    def length(self) -> int:
        """Octets of payload in this packet."""
        return self._packet.end - self._packet.start - _UDP_HEADER_BYTES

    @property
    def payload(self) -> bytes:
        """The payload, as far as it is in this packet."""
        return self._packet.data[self._packet.start + _UDP_HEADER_BYTES : self._packet.end]

    def __repr__(self) -> str:
        return f"UDP {self.sport} > {self.dport} length {self.length}"


class IcmpView:
    """The ICMP or ICMPv6 message of a packet. ``is_error``: it is about another packet."""

    __slots__ = ("_packet",)

    def __init__(self, packet: ip.Packet) -> None:
        self._packet = packet

    @property
    def type(self) -> int:
        """The type: of ICMP 8 is an echo request, 3 unreachable; of ICMPv6 128 and 1."""
        return self._packet.data[self._packet.start]

    @property
    def code(self) -> int:
        """The code."""
        return self._packet.data[self._packet.start + 1]

    @property
    def is_error(self) -> bool:
        """Whether it reports a problem with a packet."""
        if self._packet.version == 6:
            return self.type < 128
        return self.type in (3, 4, 5, 11, 12)

    def __repr__(self) -> str:
        return f"ICMP type {self.type} code {self.code}"


class PacketView:
    """One packet as a rule sees it: ``link`` and ``sender`` say on which link it is and which host put it there.

    ``data`` is the whole frame; the packet begins after ``header_bytes`` of it (14 with Ethernet).
    """

    def __init__(self, link: str, sender: str, data: bytes, header_bytes: int) -> None:
        self.link = link
        self.sender = sender
        self.data = data
        self.header_bytes = header_bytes

    @cached_property
    def packet(self) -> ip.Packet | None:
        """The IP packet as the stack reads it; ``None`` if the frame holds none."""
        if self.header_bytes and self.data[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return None
        try:
            return ip.parse(self.data, self.header_bytes)
        except WireError:
            return None

    @property
    def version(self) -> int:
        """4, 6, or 0 if the frame holds no IP packet."""
        return 0 if self.packet is None else self.packet.version

    @property
    def src(self) -> str:
        """The source address, of an ARP message its sender's; ``""`` if there is none."""
        if self.packet is None:
            return "" if self.arp is None else format_address(self.arp.sender)
        return format_address(self.packet.src)

    @property
    def dst(self) -> str:
        """The destination address, of an ARP message the one that is asked for or answered; ``""``."""
        if self.packet is None:
            return "" if self.arp is None else format_address(self.arp.target)
        return format_address(self.packet.dst)

    @property
    def ttl(self) -> int:
        """TTL or hop limit; 0 without a packet."""
        return 0 if self.packet is None else self.packet.ttl

    @property
    def protocol(self) -> int:
        """The protocol number: 6 TCP, 17 UDP; -1 without a packet."""
        return -1 if self.packet is None else self.packet.protocol

    @property
    def size(self) -> int:
        """Bytes of the IP packet; of the frame without its header if it holds none."""
        packet = self.packet
        return len(self.data) - self.header_bytes if packet is None else packet.end - packet.header_start

    @property
    def is_fragment(self) -> bool:
        """Whether it is a part of a packet."""
        return self.packet is not None and ip.is_fragment(self.packet)

    @cached_property
    def arp(self) -> arp.Arp | None:
        """The ARP message, if the frame is one."""
        if not self.header_bytes or self.data[12:14] != b"\x08\x06":
            return None
        try:
            return arp.parse(self.data, ethernet.HEADER_BYTES)
        except WireError:
            return None

    @cached_property
    def tcp(self) -> TcpView | None:
        """The TCP segment, if the packet is one."""
        packet = self._with(ip.TCP, tcp.HEADER_BYTES)
        return None if packet is None else TcpView(packet)

    @cached_property
    def udp(self) -> UdpView | None:
        """The UDP datagram, if the packet is one."""
        packet = self._with(ip.UDP, _UDP_HEADER_BYTES)
        return None if packet is None else UdpView(packet)

    @cached_property
    def icmp(self) -> IcmpView | None:
        """The ICMP or ICMPv6 message, if the packet is one."""
        packet = self._with(ip.ICMPV6 if self.version == 6 else ip.ICMP, _ICMP_HEADER_BYTES)
        return None if packet is None else IcmpView(packet)

    def _with(self, protocol: int, least_bytes: int) -> ip.Packet | None:
        packet = self.packet
        if packet is None or packet.protocol != protocol or packet.fragment_offset:
            return None
        return packet if packet.end - packet.start >= least_bytes else None

    def __repr__(self) -> str:
        what = self.tcp or self.udp or self.icmp
        if self.packet is None:
            return f"<PacketView {self.sender} on {self.link}: {'no IP' if self.arp is None else 'ARP'}>"
        return f"<PacketView {self.sender} on {self.link}: {self.src} > {self.dst}: {what or self.protocol}>"
