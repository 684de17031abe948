"""Connection tracking: the flows that a box on the way knows, and when it forgets them.

- A flow is known by the ends of its packets in both directions. Without translation one is the other's inverse.
- A flow of TCP is half open until three packets have passed, open, and closed after a FIN from both sides; a reset ends
  it. Each of the three has a time, after which an idle flow is forgotten; datagrams and echoes have a time of theirs.
- At most ``flows_max`` are known; more are refused. Flows that are due are forgotten before a packet is looked up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from estab.errors import WireError
from estab.lab.packets.answers import reset_of
from estab.lab.packets.rewrite import Ends, ends_of
from estab.lab.packets.window import Window
from estab.units import NEVER, SECOND
from estab.wire import ip, tcp

__all__ = ["FLOWS_MAX", "Answer", "Flow", "Invalid", "Times", "Tracker", "WhenIdle", "is_opening"]

Answer: TypeAlias = Literal["drop", "reject"]
"""What becomes of a packet of no known flow: nobody is told, or a reset (TCP) or an ICMP error answers."""
WhenIdle: TypeAlias = Literal["forget", "reset"]
"""What happens when a flow was idle for too long: nobody is told, or both ends of a connection get a reset."""
Invalid: TypeAlias = Literal["pass", "drop"]
"""What becomes of a segment that is out of its connection's window: it passes unchanged, as on Linux, or is dropped."""

FLOWS_MAX: Final = 262_144
"""Linux's ``nf_conntrack_max`` on a machine with enough memory."""
HALF_OPEN: Final = "half open"
OPEN: Final = "open"
CLOSED: Final = "closed"
DATAGRAMS: Final = "datagrams"


@dataclass(frozen=True, slots=True)
class Times:
    """After how long an idle flow is forgotten, in nanoseconds. The defaults are Linux's ``nf_conntrack_tcp_timeout_*``
    (5 days, 60 s, 120 s) and ``nf_conntrack_udp_timeout_stream`` (120 s).
    """

    open_ns: int = 432_000 * SECOND
    half_open_ns: int = 60 * SECOND
    closed_ns: int = 120 * SECOND
    datagrams_ns: int = 120 * SECOND

    def of(self, state: str) -> int:
        """Give the time of a state."""
        return {HALF_OPEN: self.half_open_ns, OPEN: self.open_ns, CLOSED: self.closed_ns,
                DATAGRAMS: self.datagrams_ns}[state]


class Flow:
    """One flow. ``ends[0]`` are those of its first packet as it came, ``ends[1]`` those of an answer as it comes."""

    __slots__ = ("ends", "finished", "headers", "is_answered", "seen_ns", "state", "tag", "window")

    def __init__(self, there: Ends, back: Ends, tag: str = "") -> None:
        self.ends = (there, back)
        self.state = HALF_OPEN if there.protocol == ip.TCP else DATAGRAMS
        self.seen_ns = 0
        self.is_answered = False
        self.finished = 0
        """Which sides have sent a FIN: bit 0 and bit 1."""
        self.window = Window()
        self.headers = [b"", b""]
        """On a link: what stood before the last packet of each direction."""
        self.tag = tag
        """What its box notes of it: a backend."""

    @property
    def is_tcp(self) -> bool:
        """Whether it is TCP."""
        return self.ends[0].protocol == ip.TCP

    def reset_to(self, side: int) -> bytes:
        """Make the reset that the first packet's sender (0) or its receiver (1) believes: it has the number that this
        side expects. It has the ends that packets to this side have.
        """
        ends = self.ends[side].inverse
        wanted = self.window.next_wanted(side)
        seq = wanted if wanted >= 0 else self.window.end(1 - side)
        return reset_of(ends.src, ends.sport, ends.dst, ends.dport, seq, None)

    def __str__(self) -> str:
        return str(self.ends[0])


class Tracker:
    """The flows of one box. ``on_forgotten`` is called for each that was idle for too long."""

    def __init__(self, times: Times, flows_max: int, now_ns: Callable[[], int],
                 on_forgotten: Callable[[Flow], None]) -> None:
        self.times = times
        self.flows_max = flows_max
        self.forgotten_count = 0
        self._now_ns = now_ns
        self._on_forgotten = on_forgotten
        self._by_ends: dict[Ends, tuple[Flow, int]] = {}
        self._waiting: dict[str, OrderedDict[Flow, None]] = {
            state: OrderedDict() for state in (HALF_OPEN, OPEN, CLOSED, DATAGRAMS)}
        """For each state its flows, the one that was idle longest first."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another flow."""
        return len(self) >= self.flows_max

    @property
    def flows(self) -> list[Flow]:
        """The flows that are known now, the one that was idle longest first."""
        self.forget_idle()
        found = [flow for flows in self._waiting.values() for flow in flows]
        return sorted(found, key=lambda flow: flow.seen_ns)

    def count(self, tag: str) -> int:
        """Count the flows with a tag."""
        return sum(flow.tag == tag for flows in self._waiting.values() for flow in flows)

    def find(self, ends: Ends) -> tuple[Flow, int] | None:
        """Find the flow of a packet, and its direction: 0 as the first packet went, 1 back."""
        return self._by_ends.get(ends)

    def add(self, flow: Flow) -> None:
        """Take up a flow."""
        flow.seen_ns = self._now_ns()
        self._by_ends[flow.ends[0]] = (flow, 0)
        self._by_ends[flow.ends[1]] = (flow, 1)
        self._waiting[flow.state][flow] = None

    def remove(self, flow: Flow) -> None:
        """Forget a flow now."""
        for ends in flow.ends:
            self._by_ends.pop(ends, None)
        self._waiting[flow.state].pop(flow, None)

    def clear(self) -> None:
        """Forget everything, and tell nobody."""
        self._by_ends.clear()
        for flows in self._waiting.values():
            flows.clear()

    def see(self, flow: Flow, direction: int, packet: ip.Packet) -> bool:
        """Take note of a packet of a flow. ``False``: it is a segment out of its window, and changes nothing."""
        if flow.is_tcp:
            try:
                segment = tcp.parse(packet, True)
            except WireError:
                return False
            if segment.flags & (tcp.SYN | tcp.ACK | tcp.RST) == tcp.SYN and direction == 0:
                if flow.state == OPEN:
                    return True  # the server says whether it begins anew; until then the flow is what it is
                if flow.state == CLOSED:
                    flow.window = Window()
            if not flow.window.admits(direction, segment):
                return False
            if segment.flags & tcp.RST:
                self.remove(flow)
                return True
            state = self._state(flow, direction, segment)
        else:
            state = flow.state
        del self._waiting[flow.state][flow]
        flow.state = state
        flow.seen_ns = self._now_ns()
        self._waiting[state][flow] = None
        return True

    @staticmethod
    def _state(flow: Flow, direction: int, segment: tcp.Segment) -> str:
        if segment.flags & tcp.SYN and direction == 0:
            if flow.state == CLOSED:
                flow.finished = 0  # the same ports, a new connection
            flow.is_answered = False
            return HALF_OPEN
        if segment.flags & tcp.FIN:
            flow.finished |= 1 << direction
        if flow.finished == 3:
            return CLOSED
        if direction == 1:
            flow.is_answered = True
            return flow.state
        return OPEN if flow.is_answered or not segment.flags & tcp.SYN else HALF_OPEN

    def next_due_ns(self) -> int:
        """Give when the next flow is to be forgotten; ``NEVER`` if none is known."""
        return min((next(iter(flows)).seen_ns + self.times.of(state)
                    for state, flows in self._waiting.items() if flows), default=NEVER)

    def forget_idle(self) -> None:
        """Forget flows that were idle for too long."""
        now_ns = self._now_ns()
        for state, flows in self._waiting.items():
            limit_ns = now_ns - self.times.of(state)
            while flows:
                flow = next(iter(flows))
                if flow.seen_ns > limit_ns:
                    break
                self.remove(flow)
                self.forgotten_count += 1
                self._on_forgotten(flow)


def is_opening(packet: ip.Packet, *, is_loose: bool = False) -> bool:
    """Tell whether a packet may begin a flow: a SYN, a datagram, an echo request.

    ``is_loose``: any segment but a reset, too, as on Linux (``nf_conntrack_tcp_loose``).
    """
    if packet.protocol != ip.TCP:
        ends = ends_of(packet)
        return ends is not None and (packet.protocol == ip.UDP or packet.data[packet.start] in (8, 128))
    flags = packet.data[packet.start + 13] if packet.end - packet.start >= tcp.HEADER_BYTES else 0
    if is_loose and not flags & tcp.RST:
        return True
    return flags & (tcp.SYN | tcp.ACK | tcp.RST) == tcp.SYN
