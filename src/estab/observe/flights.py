"""Flights: each frame from the moment it was sent to what became of it.

- Frames are paired by their bytes: what one host sent is what another received, or what a link took out. A
  retransmission with the same bytes pairs in the order of sending.
- A TCP frame has the ``SegmentSent`` that was reported before it, with the relative numbers and the rule that sent it.
  A frame that was not reported (a script's, or a peer's that is not observed) has its relative numbers from the
  ``SegmentReceived`` at its far end.
- A packet that arrived and went no further there is ``dropped``, with its reason; ``lost`` is what never arrived.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from estab.errors import DropReason
from estab.events import (
    BufferChanged,
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    CongestionChanged,
    Event,
    FrameReceived,
    FrameSent,
    LinkCopied,
    LinkDamaged,
    LinkDelayed,
    LinkDropped,
    LinkHeld,
    LinkMarked,
    LinkQueueChanged,
    PacketDropped,
    RttMeasured,
    SegmentReceived,
    SegmentSent,
    TimerFired,
)
from estab.observe.dissect import Summary, dissect, is_ethernet
from estab.units import format_duration

__all__ = ["COPY", "Flight", "flights"]

COPY: Final = "a copy of a frame that was sent before"
"""The text in place of the rule that sent a segment, for other frames."""


_OF_NO_FRAME: Final = frozenset((
    BufferChanged, CallBlocked, CallReturned, CongestionChanged, LinkQueueChanged, RttMeasured,
))
"""Facts that say nothing of frames."""


@dataclass(slots=True)
class Flight:
    """One frame. ``fate`` is ``under way``, ``arrived``, ``dropped`` or ``lost``; ``reason`` says why in the last two.

    ``sender`` is empty for a frame that came from outside of what was observed.
    """

    sender: str
    interface: str
    sent_ns: int
    data: bytes
    summary: Summary
    sent_as: int
    """The number of the fact by which it was sent, among all."""
    segment: SegmentSent | None = None
    heard: SegmentReceived | None = None
    """What its receiver reported of it, if its sender reported nothing."""
    is_retransmission: bool = False
    is_copy: bool = False
    """The same bytes were sent before, and TCP reported no segment for these: a copy was put on the link."""
    is_of_link: bool = False
    """No host has sent it: the link made it, a copy of one that its sender did send."""
    receiver: str = ""
    received_on: str = ""
    received_ns: int | None = None
    received_as: int = 0
    """The number of the fact by which it was received, among all: the order of what came at one instant."""
    fate: str = "under way"
    reason: DropReason | None = None
    detail: str = ""
    marked: bytes = b""
    """The frame as it arrived, if a link marked it CE on the way."""
    damaged: bytes = b""
    """The frame as it arrived, if a bit of it flipped on the way."""
    on_link: str = ""
    """What a link did to the frame by chance: held it back, copied it, damaged it. Empty for nothing."""

    @property
    def connection(self) -> str:
        """Name the connection as the sender does; empty for what is not TCP."""
        return self.segment.connection if self.segment is not None else self.summary.connection


def flights(facts: list[Event]) -> list[Flight]:
    """Follow every frame of a run. In the order of sending."""
    return _Tower().follow(facts)


class _Tower:
    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self.number = 0
        """Of the fact that is looked at."""
        self.under_way: dict[bytes, deque[Flight]] = {}
        self.untold: dict[tuple[str, str], deque[SegmentSent]] = {}
        self.segments: dict[tuple[str, bytes], SegmentSent] = {}
        self.sent_to: dict[tuple[str, str], int] = {}
        self.last_in: dict[str, Flight] = {}
        self.heard_by_all: dict[bytes, Flight] = {}
        """Frames to a group on Ethernet that arrived somewhere: a switch brings them to others too."""

    def follow(self, facts: list[Event]) -> list[Flight]:
        for self.number, fact in enumerate(facts):
            if type(fact) in _OF_NO_FRAME:
                continue
            if isinstance(fact, SegmentSent):
                self.untold.setdefault((fact.host, fact.connection), deque()).append(fact)
                self.last_in.pop(fact.host, None)  # what is dropped from here on may be the answer
            elif isinstance(fact, FrameSent):
                self._send(fact)
            elif isinstance(fact, FrameReceived):
                self._receive(fact)
            elif isinstance(fact, SegmentReceived):
                self._hear(fact)
            elif isinstance(fact, LinkDropped):
                self._lose(fact)
            elif isinstance(fact, LinkMarked):
                self._mark(fact)
            elif isinstance(fact, LinkDamaged):
                self._damage(fact)
            elif isinstance(fact, LinkCopied):
                self._copy(fact)
            elif isinstance(fact, LinkHeld):
                self._hold(fact)
            elif isinstance(fact, LinkDelayed):
                self._delay(fact)
            elif isinstance(fact, PacketDropped):
                self._drop(fact)
            elif isinstance(fact, (CallStarted, CallResumed, TimerFired)):
                self.last_in.pop(fact.host, None)
        return self.flights

    def _send(self, fact: FrameSent) -> None:
        flight = Flight(fact.host, fact.interface, fact.at_ns, fact.data, dissect(fact.data), self.number)
        told = self.untold.get((fact.host, flight.summary.connection))
        if told and told[0].flags == flight.summary.flags:
            flight.segment = self.segments[fact.host, fact.data] = told.popleft()
            flight.is_retransmission = self._is_again(flight.segment)
        elif (fact.host, fact.data) in self.segments:
            flight.segment = self.segments[fact.host, fact.data]
            flight.is_copy = flight.is_retransmission = True
        self.flights.append(flight)
        self.under_way.setdefault(fact.data, deque()).append(flight)

    def _is_again(self, segment: SegmentSent) -> bool:
        """Say whether all of a segment was sent before, and note how far its connection has got."""
        key = (segment.host, segment.connection)
        end = segment.seq + segment.length + ("S" in segment.flags) + ("F" in segment.flags)
        if end == segment.seq:
            return False
        furthest = self.sent_to.get(key)
        if "S" in segment.flags and furthest is not None and furthest > end:
            furthest = None  # the same ports, a new connection
        is_again = furthest is not None and end <= furthest
        self.sent_to[key] = end if furthest is None else max(furthest, end)
        return is_again

    def _take(self, data: bytes, host: str, is_sender: bool) -> Flight | None:
        """Take the oldest flight with these bytes: sent by the host, or by any other."""
        waiting = self.under_way.get(data)
        for flight in waiting or ():
            if (flight.sender == host) is is_sender:
                assert waiting is not None
                waiting.remove(flight)
                if not waiting:
                    del self.under_way[data]
                return flight
        return None

    def _receive(self, fact: FrameReceived) -> None:
        flight = self._take(fact.data, fact.host, is_sender=False) or self._take(fact.data, fact.host, is_sender=True)
        is_to_group = _is_to_group(fact.data)
        if flight is None and is_to_group and fact.data in self.heard_by_all:
            self.last_in[fact.host] = self.heard_by_all[fact.data]
            return
        if flight is None:
            flight = Flight("", "", fact.at_ns, fact.data, dissect(fact.data), self.number)
            self.flights.append(flight)
        if is_to_group:
            self.heard_by_all[fact.data] = flight
        flight.receiver, flight.received_on, flight.received_ns = fact.host, fact.interface, fact.at_ns
        flight.received_as = self.number
        flight.fate = "arrived"
        self.last_in[fact.host] = flight

    def _hear(self, fact: SegmentReceived) -> None:
        flight = self.last_in.get(fact.host)
        if flight is not None and flight.received_ns == fact.at_ns and flight.segment is None:
            if flight.summary.flags == fact.flags:
                flight.heard = fact

    def _lose(self, fact: LinkDropped) -> None:
        flight = self._take(fact.data, fact.host, is_sender=True) or self._take(fact.data, fact.host, is_sender=False)
        if flight is None and fact.data in self.heard_by_all:
            return  # one of the copies that a switch made of it
        if flight is None:
            flight = Flight(fact.host, fact.link, fact.at_ns, fact.data, dissect(fact.data), self.number,
                            is_of_link=True)
            self.flights.append(flight)
        flight.fate, flight.reason = "lost", fact.reason

    def _mark(self, fact: LinkMarked) -> None:
        """A link changed a frame under way: from now on it is known by its new bytes."""
        flight = self._take(fact.before, fact.host, is_sender=True)
        if flight is not None:
            flight.marked = fact.data
            self.under_way.setdefault(fact.data, deque()).append(flight)

    def _damage(self, fact: LinkDamaged) -> None:
        """A bit flipped: from now on the frame is known by its new bytes."""
        flight = self._take(fact.before, fact.host, is_sender=True)
        if flight is not None:
            flight.damaged = fact.data
            flight.on_link = _and(flight.on_link, f"bit {fact.bit} flipped on the link")
            self.under_way.setdefault(fact.data, deque()).append(flight)

    def _copy(self, fact: LinkCopied) -> None:
        """A second frame with the same bytes is under way."""
        first = next((one for one in self.under_way.get(fact.data, ()) if one.sender == fact.host), None)
        if first is not None:
            copy = Flight(first.sender, first.interface, fact.at_ns, first.data, first.summary, self.number,
                          first.segment, is_copy=True, is_of_link=True, damaged=first.damaged, marked=first.marked,
                          on_link="a copy that the link made")
            first.on_link = _and(first.on_link, "the link made a copy")
            self.flights.append(copy)
            self.under_way[fact.data].append(copy)

    def _hold(self, fact: LinkHeld) -> None:
        """The frame is late: the last one with these bytes, since a copy is held apart from its first."""
        flight = next((one for one in reversed(self.under_way.get(fact.data, ())) if one.sender == fact.host), None)
        if flight is not None:
            later = "one later frame has" if fact.overtakers == 1 else f"{fact.overtakers} later frames have"
            flight.on_link = _and(flight.on_link, f"held back by the link until {later} passed")

    def _delay(self, fact: LinkDelayed) -> None:
        flight = next((one for one in reversed(self.under_way.get(fact.data, ())) if one.sender == fact.host), None)
        if flight is not None:
            by = format_duration(fact.by_ns)
            sign = "" if fact.by_ns < 0 else "+"
            flight.on_link = _and(flight.on_link, f"{by} later by a rule" if fact.why == "rule" else
                                  f"overtaken: jitter {sign}{by}")

    def _drop(self, fact: PacketDropped) -> None:
        flight = self.last_in.get(fact.host)
        if flight is not None and flight.received_ns == fact.at_ns and flight.fate == "arrived":
            flight.fate, flight.reason, flight.detail = "dropped", fact.reason, fact.detail


def _is_to_group(frame: bytes) -> bool:
    """Tell whether a frame is to a group of hosts on an Ethernet segment."""
    return len(frame) > 14 and frame[0] & 1 == 1 and is_ethernet(frame)


def _and(before: str, also: str) -> str:
    return f"{before}; {also}" if before else also
