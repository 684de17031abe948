"""A firewall on a link that remembers flows, and forgets those that are idle: silently, as most in the field do.

- A flow begins with a SYN (TCP), or with any datagram or echo request, from the side that may open flows. Its packets
  pass in both directions until it has been idle for too long, or a reset ended it. Then they are dropped, and nobody is
  told; or they are rejected.
- At most ``flows_max`` are remembered; more are refused. ICMP errors, fragments after the first and what is no IP pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.errors import DropReason
from estab.lab.links.way import Way
from estab.lab.packets.rewrite import ends_of
from estab.lab.packets.tracking import Answer, Flow, Invalid, Times, Tracker, WhenIdle, is_opening
from estab.lab.packets.view import PacketView
from estab.lab.record.clock import Alarm
from estab.lab.rules.verdicts import Verdict, ok

__all__ = ["Firewall"]

_VERDICTS: Final = {
    "drop": Verdict("drop", reason=DropReason.LINK_FIREWALL),
    "reject": Verdict("reject", reason=DropReason.LINK_FIREWALL),
}


class Firewall:
    """A rule for a link (``Link.firewall`` makes it). ``flows`` are those known now."""

    def __init__(
        self, times: Times, flows_max: int, inside: str, ways: tuple[Way, Way], tell: Callable[[str], None],
        unknown: Answer = "drop", when_idle: WhenIdle = "forget", invalid: Invalid = "pass", is_loose: bool = False,
    ) -> None:
        self.inside = inside
        """The host from whose side flows may be opened; ``""``: from either."""
        self.dropped_count = 0
        """Packets of unknown or forgotten flows."""
        self.refused_count = 0
        """Flows that there was no room for."""
        self.invalid_count = 0
        """Segments that were out of their connection's window."""
        self._ways = ways
        self._tell = tell
        self._refusal = _VERDICTS[unknown]
        self._is_loose = is_loose
        self._drops_invalid = invalid == "drop"
        agenda = ways[0].agenda
        self._tracker = Tracker(times, flows_max, lambda: agenda.now_ns, self._on_forgotten)
        self._alarm = Alarm(agenda, self._on_due) if when_idle == "reset" else None

    @property
    def flows(self) -> list[str]:
        """The flows that are known now, ``tcp 10.0.0.1:4000>10.0.0.2:80``, the one that was idle longest first."""
        return [str(flow) for flow in self._tracker.flows]

    @property
    def flows_max(self) -> int:
        """How many flows are remembered at most."""
        return self._tracker.flows_max

    @flows_max.setter
    def flows_max(self, value: int) -> None:
        self._tracker.flows_max = value

    @property
    def forgotten_count(self) -> int:
        """How many flows were idle for too long."""
        return self._tracker.forgotten_count

    def forget(self) -> None:
        """Forget all flows at once, as one that was switched off and on. No reset is sent."""
        self._tracker.clear()
        self._tell("the firewall has forgotten everything")

    def __call__(self, packet: PacketView) -> Verdict:
        """Judge a packet."""
        ip_packet = packet.packet
        ends = None if ip_packet is None else ends_of(ip_packet)
        if ip_packet is None or ends is None:
            return ok
        tracker = self._tracker
        tracker.forget_idle()
        found = tracker.find(ends)
        if found is None:
            if (self.inside and packet.sender != self.inside) or not is_opening(
                    ip_packet, is_loose=self._is_loose):
                self.dropped_count += 1
                return self._refusal
            if tracker.is_full:
                self.refused_count += 1
                return self._refusal
            found = Flow(ends, ends.inverse, packet.sender), 0
            tracker.add(found[0])
        flow, direction = found
        flow.headers[direction] = packet.data[: packet.header_bytes]
        if not tracker.see(flow, direction, ip_packet):
            self.invalid_count += 1
            if self._drops_invalid:
                return _VERDICTS["drop"]
        if self._alarm is not None:
            self._alarm.set(tracker.next_due_ns())
        return ok

    def _on_due(self) -> None:
        self._tracker.forget_idle()
        if self._alarm is not None:
            self._alarm.set(self._tracker.next_due_ns())

    def _on_forgotten(self, flow: Flow) -> None:
        self._tell(f"the firewall has forgotten {flow}")
        if self._alarm is None or not flow.is_tcp or not flow.is_answered:
            return
        for side in (0, 1):
            way = next(way for way in self._ways if (way.sender == flow.tag) is (side == 1))
            way.answer(flow.headers[1 - side] + flow.reset_to(side))
