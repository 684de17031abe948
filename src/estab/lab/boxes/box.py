"""What all boxes on a host have: a table of flows, and the change of each packet by its flow.

- A packet of a known flow gets the other ends that its flow has, in both directions. An ICMP error about one is changed
  with what it quotes. A fragment after the first goes as the first did; one whose first was not seen is dropped.
- A packet of no flow is its box's to judge: it begins a flow, is none of the box's business, or is unknown.
- What an engine says of a changed packet (no route, too large, hops used up) goes to the one that sent it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from estab.errors import DropReason
from estab.events import BoxChanged
from estab.host.engine import Engine
from estab.host.ip.hook import PacketHook
from estab.lab.packets.answers import refusal
from estab.lab.packets.rewrite import Ends, ends_of, quoted_ends, with_ends, with_quoted_ends
from estab.lab.packets.tracking import FLOWS_MAX, Answer, Flow, Invalid, Times, Tracker, WhenIdle, is_opening
from estab.lab.record.clock import Agenda, Alarm
from estab.wire import ip, tcp
from estab.wire.address import format_address

__all__ = ["Box", "Boxes", "Conduct", "Seat"]

_FRAGMENTS_MAX: Final = 1024
_NEAR: Final = 64
"""So many ports after the wanted one are tried before others."""
_PORTS: Final = (1024, 65_535)

_FragmentKey = tuple[bytes, bytes, int, int]


class Seat(Protocol):
    """The host that a box is on."""

    engine: Engine

    @property
    def name(self) -> str:
        """The host's name."""

    @property
    def agenda(self) -> Agenda:
        """What is to happen on the network."""

    def flush(self) -> None:
        """Put the host's frames on their links."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a box does with what it does not know, or not any more."""

    times: Times = field(default_factory=Times)
    flows_max: int = FLOWS_MAX
    unknown: Answer = "drop"
    when_idle: WhenIdle = "forget"
    invalid: Invalid = "pass"
    is_loose: bool = False
    """A segment in the middle of a connection may begin a flow."""
    ports: tuple[int, int] = _PORTS
    """The ports that it may use of its host, the first and the last."""


class Box(PacketHook):
    """A box on a host. ``flows`` are those known now; the counts say what it did."""

    def __init__(self, seat: Seat, name: str, conduct: Conduct) -> None:
        self.name = name
        self.seat = seat
        self.conduct = conduct
        self.dropped_count = 0
        """Packets of flows that are not known, or not any more, and of fragments whose first was not seen."""
        self.refused_count = 0
        """Flows that there was no room for: in the table, or no port for them."""
        self.invalid_count = 0
        """Segments that were out of their connection's window."""
        self._tracker = Tracker(conduct.times, conduct.flows_max, lambda: seat.agenda.now_ns, self._on_forgotten)
        self._alarm = Alarm(seat.agenda, self._on_due) if conduct.when_idle == "reset" else None
        self._last_port = conduct.ports[0] - 1
        """The port that was chosen last."""
        self._fragments: dict[_FragmentKey, Ends | None] = {}
        """How the first fragment of each packet was changed; ``None``: it was not."""

    # --- for its users

    @property
    def flows(self) -> list[str]:
        """The flows that are known now, the one that was idle longest first: as they come, and as they go on."""
        return [f"{flow} as {str(flow.ends[1].inverse).partition(' ')[2]}" for flow in self._tracker.flows]

    @property
    def forgotten_count(self) -> int:
        """How many flows were idle for too long."""
        return self._tracker.forgotten_count

    def forget(self) -> None:
        """Forget all flows at once, as a box that starts anew. Nobody is told."""
        self.clear()
        self.tell("has forgotten everything")

    def clear(self) -> None:
        """Forget all flows."""
        self._tracker.clear()
        self._fragments.clear()

    # --- for its host

    def arriving(self, interface_index: int, packet: ip.Packet) -> ip.Packet | None:
        """Change a packet by its flow, or judge one of none."""
        tracker = self._tracker
        tracker.forget_idle()
        if packet.fragment_offset:
            return self._fragment(packet)
        ends = ends_of(packet)
        if ends is None:
            return self._error(packet)
        found = tracker.find(ends)
        if found is None:
            judged = self.judge(interface_index, packet, ends)
            if not isinstance(judged, Flow):
                return judged
            found = judged, 0
        flow, direction = found
        if not tracker.see(flow, direction, packet):
            self.invalid_count += 1
            if self.conduct.invalid == "drop":
                self.drop(packet, DropReason.FLOW_INVALID)
                return None
            return packet
        if self._alarm is not None:
            self._alarm.set(tracker.next_due_ns())
        return self._changed(packet, ends, flow.ends[1 - direction].inverse)

    def as_sent(self, packet: ip.Packet) -> ip.Packet:
        """Undo the change of a packet."""
        ends = ends_of(packet)
        found = None if ends is None else self._tracker.find(ends.inverse)
        if ends is None or found is None:
            return packet
        flow, direction = found
        before = flow.ends[1 - direction]
        return packet if before == ends else with_ends(packet, before)

    # --- for the kinds of boxes

    def judge(self, interface_index: int, packet: ip.Packet, ends: Ends) -> Flow | ip.Packet | None:
        """Judge a packet of no flow: a new flow, the packet as it is, or ``None``, it was dealt with."""
        raise NotImplementedError

    def begin(self, packet: ip.Packet, there: Ends, back: Ends | None, tag: str = "") -> Flow | None:
        """Begin a flow, if its packet may and there is room; ``None``: the packet was dealt with."""
        if not is_opening(packet, is_loose=self.conduct.is_loose):
            self.unknown(packet)
            return None
        if back is None or self._tracker.is_full:
            self.refused_count += 1
            self.drop(packet, DropReason.FLOW_TABLE_FULL)
            return None
        flow = Flow(there, back, tag)
        self._tracker.add(flow)
        return flow

    def unknown(self, packet: ip.Packet) -> None:
        """Drop a packet of an unknown flow, or reject it."""
        self.dropped_count += 1
        self.drop(packet, DropReason.FLOW_UNKNOWN)
        if self.conduct.unknown == "reject":
            answer = refusal(packet)
            if answer is not None:
                self.send(answer)

    def drop(self, packet: ip.Packet, reason: DropReason) -> None:
        """Count a packet that goes no further, and tell."""
        what = ends_of(packet) or f"{format_address(packet.src)} > {format_address(packet.dst)}"
        self.seat.engine.context.drop(reason, "", f"{self.name}: {what}")

    def free_port(self, back: Ends, wanted: int, *, is_preserving: bool = True) -> Ends | None:
        """Find a port of the host for the answers ``back`` of a flow: the wanted one, else the next that is free."""
        low, high = self.conduct.ports
        if is_preserving and low <= wanted <= high and self._is_free(back._replace(dport=wanted)):
            return self._with_port(back, wanted)
        count = high - low + 1
        begin = wanted if is_preserving else self._last_port
        for step in range(1, count + _NEAR):
            if step == _NEAR:
                begin = self._last_port - step  # all near it are in use: go on where a port was found last
            port = low + (begin - low + step) % count
            if self._is_free(back._replace(dport=port)):
                self._last_port = port
                return self._with_port(back, port)
        return None

    @staticmethod
    def _with_port(back: Ends, port: int) -> Ends:
        is_echo = back.protocol not in (ip.TCP, ip.UDP)
        return back._replace(dport=port, sport=port if is_echo else back.sport)

    def _is_free(self, back: Ends) -> bool:
        return self._tracker.find(self._with_port(back, back.dport)) is None and not self.is_own(back)

    def is_own(self, ends: Ends) -> bool:
        """Tell whether a socket of the host itself waits for packets with these ends."""
        engine = self.seat.engine
        if ends.protocol == ip.TCP:
            key = tcp.make_key(ends.src, ends.dst, ends.sport, ends.dport)
            return key in engine.demux.table or engine.demux.find_listener(ends.dst, ends.dport, key) is not None
        if ends.protocol == ip.UDP:
            return engine.udp.find(ends.dst, ends.dport, ends.src, ends.sport) is not None
        return False

    def send(self, packet: bytes) -> None:
        """Send a packet that the box made."""
        engine = self.seat.engine
        path = engine.paths.find(ip.parse(packet, 0).dst)
        if path is not None and not path.is_local:
            engine.output.transmit(path, packet)

    def tell(self, what: str) -> None:
        """Tell what became of the box."""
        observer = self.seat.engine.observer
        if observer is not None:
            observer(BoxChanged(self.seat.agenda.now_ns, self.seat.name, self.name, what))

    # --- inside

    def _changed(self, packet: ip.Packet, ends: Ends, wanted: Ends) -> ip.Packet:
        if packet.more_fragments:
            if len(self._fragments) >= _FRAGMENTS_MAX:
                del self._fragments[next(iter(self._fragments))]
            self._fragments[_fragment_key(packet)] = wanted if wanted != ends else None
        return packet if wanted == ends else with_ends(packet, wanted)

    def _fragment(self, packet: ip.Packet) -> ip.Packet | None:
        key = _fragment_key(packet)
        if key in self._fragments:
            wanted = self._fragments[key]
            return packet if wanted is None else with_ends(packet, wanted)
        if not self.concerns(packet):
            return packet
        self.dropped_count += 1
        self.drop(packet, DropReason.FLOW_UNKNOWN)
        return None

    def concerns(self, packet: ip.Packet) -> bool:
        """Tell whether a fragment whose first was not seen may be of a flow of this box."""
        return False

    def _error(self, packet: ip.Packet) -> ip.Packet:
        """Change an ICMP error about a packet of a flow; all else passes."""
        quoted = quoted_ends(packet)
        found = None if quoted is None else self._tracker.find(quoted.inverse)
        if quoted is None or found is None:
            return packet
        flow, direction = found
        inner, outer = flow.ends[1 - direction], flow.ends[1 - direction].inverse
        if inner == quoted:
            return packet
        # A box that changes the source of this direction hides whoever reports; else only the other end is hidden.
        hides_source = outer.src != flow.ends[direction].src
        source = outer.src if hides_source or packet.src == quoted.dst else packet.src
        return with_quoted_ends(packet, source, outer.dst, inner)

    def _on_due(self) -> None:
        self._tracker.forget_idle()
        if self._alarm is not None:
            self._alarm.set(self._tracker.next_due_ns())
        self.seat.flush()

    def _on_forgotten(self, flow: Flow) -> None:
        self.tell(f"has forgotten {flow}")
        if self._alarm is not None and flow.is_tcp and flow.is_answered:
            self.reset(flow)

    def reset(self, flow: Flow) -> None:
        """Send a reset to both ends of a connection."""
        for side in (0, 1):
            self.send(flow.reset_to(side))


class Boxes(PacketHook):
    """The boxes of one host. A packet passes them in the order in which they were made."""

    def __init__(self) -> None:
        self.all: list[Box] = []
        self.at_boot: list[Callable[[], None]] = []
        """What is done when the host starts again."""

    def arriving(self, interface_index: int, packet: ip.Packet) -> ip.Packet | None:
        """Let each box change a packet."""
        taken: ip.Packet | None = packet
        for box in self.all:
            if taken is None:
                return None
            taken = box.arriving(interface_index, taken)
        return taken

    def as_sent(self, packet: ip.Packet) -> ip.Packet:
        """Undo what they did."""
        for box in reversed(self.all):
            packet = box.as_sent(packet)
        return packet

    def restart(self, engine: Engine) -> None:
        """Be on the engine of a host that starts again: the boxes are there, and know no flows."""
        for box in self.all:
            box.clear()
        engine.set_hook(self)
        for action in self.at_boot:
            action()


def _fragment_key(packet: ip.Packet) -> _FragmentKey:
    return packet.src, packet.dst, packet.protocol, packet.ident
