"""From packets to conversations: one connection each, with numbers counted from its SYNs.

- Side 0 is the client: the sender of the SYN, or, if the capture has none, the end with the higher port.
- Packets that stand in the file twice are taken out here, and counted, so that nothing after this takes an artefact of
  the capture for a retransmission.
- A new SYN with another number on the same four-tuple begins a new conversation, unless the capture shows that two
  VLANs share the four-tuple: VLANs are part of the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from estab.doctor.packets import ACK, FIN, RST, SYN, CapturedSegment, IcmpError, Key, Packets
from estab.units import MS
from estab.wire.address import format_address

__all__ = ["Conversation", "Segment", "Side", "conversations"]

_MOD: Final = 1 << 32
_HALF: Final = 1 << 31
_COPY_WITHIN_NS: Final = 2 * MS
_TWICE_SHARE: Final = 0.3
_PORT_REUSE_NS: Final = 3_000 * MS
_SEEN_MAX: Final = 4096


@dataclass(slots=True)
class Segment:
    """A segment of a conversation; ``seq``, ``ack`` and ``sack`` are counted from the SYNs, ``wnd`` is in bytes."""

    number: int
    at_ns: int
    side: int
    flags: int
    seq: int
    end: int
    ack: int
    """-1 without the ACK flag."""
    wnd: int
    length: int
    sack: tuple[tuple[int, int], ...]
    packet: CapturedSegment

    @property
    def is_syn(self) -> bool:
        """Whether it opens."""
        return self.flags & SYN != 0

    @property
    def is_fin(self) -> bool:
        """Whether it ends its sender's stream."""
        return self.flags & FIN != 0

    @property
    def is_rst(self) -> bool:
        """Whether it resets."""
        return self.flags & RST != 0

    @property
    def is_pure_ack(self) -> bool:
        """Whether it carries nothing but an acknowledgment."""
        return self.length == 0 and self.flags & (SYN | FIN | RST) == 0 and self.ack >= 0


@dataclass(slots=True)
class Side:
    """One end: its address, and what its SYN said."""

    address: bytes
    port: int
    base: int | None = None
    """The wire's number that is 0 here: the SYN's, or one before the first number seen."""
    has_syn: bool = False
    wscale: int = -1
    mss: int = 0
    segments: list[Segment] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Write the end as ``ss`` does."""
        address = format_address(self.address)
        return f"[{address}]:{self.port}" if len(self.address) == 16 else f"{address}:{self.port}"


@dataclass(slots=True)
class Conversation:
    """A connection as a capture shows it. ``index`` counts from 0 in the order of first packets."""

    index: int
    vlans: tuple[int, ...]
    sides: tuple[Side, Side]
    segments: list[Segment] = field(default_factory=list)
    copies: int = 0
    """Packets that stood in the file more than once: these were taken out."""
    comparable: int = 0
    """Packets of which copies could be told."""
    icmp: list[IcmpError] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Write the connection as the facts do, the client first."""
        return f"{self.sides[0].text}>{self.sides[1].text}"

    @property
    def is_captured_twice(self) -> bool:
        """Whether so many packets stand in the file twice that the capture is the reason."""
        return self.copies >= 2 and self.copies >= _TWICE_SHARE * max(1, self.comparable - self.copies)

    @property
    def has_handshake(self) -> bool:
        """Whether both SYNs are in the capture, so that window scales are known."""
        return self.sides[0].has_syn and self.sides[1].has_syn


def conversations(packets: Packets) -> list[Conversation]:
    """Sort packets into conversations, in the order of their first packets."""
    made: list[_Builder] = []
    current: dict[Key, _Builder] = {}
    for packet in packets.tcp:
        key = packet.key
        builder = current.get(key)
        if builder is None or builder.is_reused_by(packet):
            builder = _Builder(len(made), packet)
            made.append(builder)
            current[key] = current[_other(key)] = builder
        builder.add(packet)
    for error in packets.icmp:
        builder = current.get(error.key)
        if builder is not None:
            builder.conversation.icmp.append(error)
    return [builder.finish() for builder in made]


def _other(key: Key) -> Key:
    vlans, source, sport, target, dport = key
    return vlans, target, dport, source, sport


class _Builder:
    def __init__(self, index: int, first: CapturedSegment) -> None:
        vlans, source, sport, target, dport = first.key
        is_from_server = first.flags & (SYN | ACK) == SYN | ACK or (not first.flags & SYN and sport < dport)
        ends = (Side(target, dport), Side(source, sport)) if is_from_server else (
            Side(source, sport), Side(target, dport))
        self.conversation = Conversation(index, vlans, ends)
        self._client = (ends[0].address, ends[0].port)
        self._packets: list[tuple[CapturedSegment, int]] = []
        self._seen_ns: dict[tuple[object, ...], int] = {}
        """When packets that could be told from others were last seen: those of which a copy may still come."""
        self._seen_most = _SEEN_MAX
        self._copies: list[int] = []
        self._syns: dict[int, int] = {}
        self._is_over = False
        self._last_ns = first.at_ns

    def is_reused_by(self, packet: CapturedSegment) -> bool:
        """Tell whether a packet opens another connection on the same ports."""
        if packet.flags & (SYN | ACK | RST) != SYN:
            return False
        side = self._side(packet)
        known = self._syns.get(side)
        if known is None:
            return bool(self._packets)
        is_other = known != packet.seq
        return is_other and (self._is_over or packet.at_ns - self._last_ns > _PORT_REUSE_NS or len(self._syns) == 2)

    def add(self, packet: CapturedSegment) -> None:
        """Take the next packet."""
        side = self._side(packet)
        self._last_ns = packet.at_ns
        conversation = self.conversation
        if packet.length or packet.flags & (SYN | FIN) or packet.ip_id > 0:
            conversation.comparable += 1
            identity = _identity(packet, side)
            if packet.at_ns - self._seen_ns.get(identity, -_HALF * MS) <= _COPY_WITHIN_NS:
                conversation.copies += 1
                self._copies.append(len(self._packets))
            self._see(identity, packet.at_ns)
        self._packets.append((packet, side))
        if packet.flags & SYN:
            self._syns.setdefault(side, packet.seq)
        if packet.flags & (RST | FIN):
            self._is_over = True

    def finish(self) -> Conversation:
        """Number everything from the SYNs."""
        conversation = self.conversation
        copies = set(self._copies)
        is_twice = conversation.is_captured_twice
        if is_twice:
            self._seen_ns.clear()
        for at, (packet, side) in enumerate(self._packets):
            if at in copies or (is_twice and self._is_same_ack(packet, side)):
                continue
            self._number(packet, side)
        self._packets.clear()
        self._seen_ns.clear()
        return conversation

    def _see(self, identity: tuple[object, ...], at_ns: int) -> None:
        """Remember a packet, and forget those that are too old to be copied."""
        self._seen_ns[identity] = at_ns
        if len(self._seen_ns) > self._seen_most:
            self._seen_ns = {one: seen for one, seen in self._seen_ns.items() if at_ns - seen <= _COPY_WITHIN_NS}
            self._seen_most = max(_SEEN_MAX, 2 * len(self._seen_ns))

    def _side(self, packet: CapturedSegment) -> int:
        return 0 if (packet.key[1], packet.key[2]) == self._client else 1

    def _is_same_ack(self, packet: CapturedSegment, side: int) -> bool:
        """Tell whether an acknowledgment, in a file that has all twice, stands just before."""
        if packet.length or packet.flags & (SYN | FIN):
            return False
        identity = _identity(packet, side)
        is_same = packet.at_ns - self._seen_ns.get(identity, -_HALF * MS) <= _COPY_WITHIN_NS
        self._see(identity, packet.at_ns)
        return is_same

    def _number(self, packet: CapturedSegment, side: int) -> None:
        sides = self.conversation.sides
        mine, peer = sides[side], sides[1 - side]
        is_syn = packet.flags & SYN != 0
        if is_syn and not mine.has_syn:
            mine.base, mine.has_syn = packet.seq, True
            mine.wscale, mine.mss = packet.wscale, packet.mss
        if mine.base is None:
            mine.base = (packet.seq - 1) % _MOD
        if packet.flags & ACK and peer.base is None and not packet.flags & RST:
            peer.base = (packet.ack - 1) % _MOD
        near = mine.segments[-1].end if mine.segments else 0
        seq = _unwrap(packet.seq, mine.base, near)
        ack = -1
        sack: tuple[tuple[int, int], ...] = ()
        if packet.flags & ACK and peer.base is not None:
            at = peer.segments[-1].end if peer.segments else 0
            ack = _unwrap(packet.ack, peer.base, at)
            sack = tuple((_unwrap(left, peer.base, at), _unwrap(right, peer.base, at)) for left, right in packet.sack)
        is_scaled = not is_syn and self.conversation.sides[0].wscale >= 0 and self.conversation.sides[1].wscale >= 0
        wnd = packet.wnd << mine.wscale if is_scaled else packet.wnd
        end = seq + packet.length + (packet.flags & FIN) + (is_syn and 1)
        made = Segment(packet.number, packet.at_ns, side, packet.flags, seq, end, ack, wnd, packet.length, sack, packet)
        mine.segments.append(made)
        self.conversation.segments.append(made)


def _unwrap(seq: int, base: int, near: int) -> int:
    """Place a number of the wire on the line that begins at ``base``, nearest to ``near``."""
    relative = (seq - base) % _MOD
    return near + ((relative - near + _HALF) % _MOD) - _HALF


def _identity(packet: CapturedSegment, side: int) -> tuple[object, ...]:
    """Return all that tells a packet from another one; its TTL may differ between two places of a capture."""
    return (side, packet.seq, packet.ack, packet.flags, packet.wnd, packet.length, packet.ip_id, packet.ts_val,
            packet.ts_ecr, packet.sack, packet.head)
