"""The ladder: segments between hosts as arrows in the order of sending, with states, calls and timers beside them.

- ``ladder`` makes rows, which are data; ``ladder_text.render`` draws them. Anything else that draws (a page) takes the
  rows.
- A row is an ``Arrow`` (a frame between two lanes) or a ``Note`` (something at one lane, or at all).
- A state beside an arrow is that of its connection once the host had done all it did at that moment; beside a
  call, that when it was made; beside its return, or beside a call that returned at once, that when it returned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from estab.events import (
    BoxChanged,
    BufferChanged,
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    CongestionChanged,
    ErrorReported,
    Event,
    FdAllocated,
    FrameReceived,
    FrameSent,
    FramesLost,
    HostChanged,
    LinkChanged,
    LinkCopied,
    LinkDropped,
    LinkQueueChanged,
    PacketDropped,
    QueueChanged,
    RttMeasured,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TimerFired,
    TimeWaitEnded,
)
from estab.observe.facts import Json, plain
from estab.observe.flights import COPY, Flight, flights
from estab.observe.fold import Fold, fold
from estab.observe.recorder import CallRecord, call_records, connection_of, edge_text, flow, tags, written
from estab.observe.text import gauge, without_numbers
from estab.units import format_count

__all__ = ["Arrow", "Ladder", "Note", "Row", "Skip", "ladder", "row_time"]


@dataclass(slots=True)
class Arrow:
    """A frame from one lane to another. ``fate`` as in ``flights``; times in nanoseconds."""

    sent_ns: int
    received_ns: int | None
    sender: str
    receiver: str
    connection: str
    label: str
    flags: str
    seq: int
    ack: int
    length: int
    wnd: int
    why: str
    fate: str
    reason: str
    detail: str
    is_retransmission: bool
    is_crossing: bool = False
    """Another frame of the same connection was under way in the other direction."""
    sender_state: str = ""
    receiver_state: str = ""
    tag: str = ""
    """Which connection, if the ladder shows more than one."""
    on_link: str = ""
    """What the link did to the frame by chance; empty for nothing."""


@dataclass(slots=True)
class Note:
    """Something at one lane; ``host`` is empty for what concerns all. ``kind`` is ``call``, ``return``, ``state``,
    ``timer``, ``queue``, ``link``, ``error``, ``drop`` or ``power``.
    """

    at_ns: int
    host: str
    kind: str
    text: str
    state: str = ""


@dataclass(slots=True)
class Skip:
    """``count`` rows up to ``until_ns`` are left out; ``text`` says which."""

    until_ns: int
    count: int
    text: str


Row = Arrow | Note | Skip
_Flow = tuple[str, str]
_Sighting = tuple[str, int | None, bytes]
_Tagged = tuple[Arrow, _Flow]
_SILENT: Final = frozenset((
    BufferChanged, CallBlocked, CallResumed, CongestionChanged, LinkQueueChanged, RttMeasured, SegmentReceived,
    SegmentSent,
))
"""Facts that have no row of their own, and change no state."""


@dataclass(slots=True)
class Ladder:
    """Lanes from left to right, rows from top to bottom."""

    lanes: list[str]
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> dict[str, Json]:
        """Write the ladder as plain data; each row says under ``row`` what it is."""
        rows: list[Json] = []
        for row in self.rows:
            shown = plain(row)
            assert isinstance(shown, dict)
            rows.append({"row": type(row).__name__.lower(), **shown})
        return {"lanes": list(self.lanes), "rows": rows}

    def folded(self) -> Ladder:
        """Return the same ladder with long repetitions replaced by a ``Skip``."""
        rows: list[Row] = []
        for item in fold(self.rows, _shape):
            if isinstance(item, Fold):
                what = "row" if item.period == 1 else f"{item.period} rows"
                text = f"the same {what} {item.times} times more"
                rows.append(Skip(row_time(item.items[-1]), len(item.items), text))
            else:
                rows.append(item)
        return Ladder(list(self.lanes), rows)

    def since(self, at_ns: int) -> Ladder:
        """Return the same ladder without the rows before a time, which are counted."""
        rows = [row for row in self.rows if row_time(row) >= at_ns]
        count = len(self.rows) - len(rows)
        text = f"{format_count(count, 'row')} before: the connection opens"
        return Ladder(list(self.lanes), [Skip(at_ns, count, text), *rows] if count else rows)


def ladder(
    facts: Sequence[Event], *, hosts: Sequence[str] = (), protocols: Collection[str] = ("tcp", "icmp", "udp"),
    kinds: Collection[str] = ("call", "return", "state", "timer", "queue", "link", "error", "drop", "power"),
) -> Ladder:
    """Draw up the ladder of a run. ``hosts`` gives the lanes from left to right (all, in the order of appearance,
    if it is empty); ``protocols`` and ``kinds`` choose arrows and notes.
    """
    return _Draftsman(list(facts), list(hosts), protocols, kinds).draw()


class _Draftsman:
    def __init__(
        self, facts: list[Event], hosts: list[str], protocols: Collection[str], kinds: Collection[str]
    ) -> None:
        self.facts = facts
        self.kinds = kinds
        self.flights = [item for item in flights(facts) if item.summary.protocol in protocols]
        self.fates = {(item.receiver, item.received_ns, item.reason) for item in self.flights if item.reason}
        self.lanes = hosts or _lanes(facts, self.flights)
        self.rows: list[Row] = []
        self.states: dict[tuple[str, _Flow], str] = {}
        self.fd_flow: dict[tuple[str, int], _Flow] = {}
        self.taken: dict[str, str] = {}
        self.queues: dict[tuple[str, str], dict[str, str]] = {}
        self.unsettled: dict[str, list[tuple[Row, bool, _Flow | int]]] = {}
        self.clock: dict[str, int] = {}

    def draw(self) -> Ladder:
        waiting: dict[_Sighting, list[_Tagged]] = {}
        arriving: dict[_Sighting, list[_Tagged]] = {}
        names = tags(item.connection for item in self.flights if item.connection)
        for item in self.flights:
            arrow = _arrow(item, names.get(_flow_of(item), ""))
            if arrow.sender in self.lanes and (arrow.receiver in self.lanes or not arrow.receiver):
                waiting.setdefault((item.sender, item.sent_ns, item.data), []).append((arrow, _flow_of(item)))
                arrived = item.damaged or item.marked or item.data
                arriving.setdefault((item.receiver, item.received_ns, arrived), []).append((arrow, _flow_of(item)))
        started = call_records(self.facts)
        for fact in self.facts:
            self._settle_before(fact)
            if type(fact) in _SILENT:
                continue
            self._follow(fact)
            if isinstance(fact, (FrameSent, LinkCopied, LinkDropped)):
                self._add_sent(waiting.get((fact.host, fact.at_ns, fact.data)))
            elif isinstance(fact, FrameReceived):
                self._add_received(arriving.get((fact.host, fact.at_ns, fact.data)))
            elif fact.host in self.lanes or isinstance(fact, LinkChanged):
                self._add_note(fact, started)
                if isinstance(fact, CallReturned):
                    self._settle(fact.host)
        for host in list(self.unsettled):
            self._settle(host)
        _mark_crossings(self.rows)
        return Ladder(self.lanes, self.rows)

    # --- arrows

    def _add_sent(self, found: list[_Tagged] | None) -> None:
        if found:
            arrow, key = found.pop(0)
            if not arrow.receiver:
                arrow.receiver = self._towards(arrow)
            self.rows.append(arrow)
            self.unsettled.setdefault(arrow.sender, []).append((arrow, True, key))

    def _add_received(self, found: list[_Tagged] | None) -> None:
        if found:
            arrow, key = found.pop(0)
            if not arrow.sender:
                self.rows.append(arrow)
            self.unsettled.setdefault(arrow.receiver, []).append((arrow, False, key))

    def _towards(self, arrow: Arrow) -> str:
        """Guess where a lost frame was going: where others of its connection went, else the nearest lane."""
        wanted = flow(arrow.connection)
        for item in self.flights:
            if item.receiver in self.lanes and item.connection and flow(item.connection) == wanted:
                if item.sender == arrow.sender:
                    return item.receiver
                if item.receiver == arrow.sender and item.sender in self.lanes:
                    return item.sender
        at = self.lanes.index(arrow.sender)
        return self.lanes[at + 1 if at + 1 < len(self.lanes) else at - 1]

    # --- states

    def _follow(self, fact: Event) -> None:
        if isinstance(fact, TcbCreated):
            key = (fact.host, flow(fact.connection))
            if self.states.get(key, "CLOSED") == "CLOSED":
                self.states[key] = fact.state
            self.fd_flow[fact.host, fact.fd] = flow(fact.connection)
        elif isinstance(fact, StateChanged):
            self.states[fact.host, flow(fact.connection)] = fact.new
        elif isinstance(fact, TimeWaitEnded):
            self.states[fact.host, flow(fact.connection)] = "CLOSED"
        elif isinstance(fact, QueueChanged) and fact.what == "taken":
            self.taken[fact.host] = fact.peer
        elif isinstance(fact, FdAllocated):
            self._follow_accepted(fact.host, fact.fd, self.taken.pop(fact.host, ""))

    def _follow_accepted(self, host: str, fd: int, peer: str) -> None:
        """A descriptor was given to the connection that was taken from a listener's queue just before."""
        self.fd_flow.pop((host, fd), None)
        for owner, key in reversed(self.states):
            if owner == host and peer and peer in key:
                self.fd_flow[host, fd] = key
                return

    def _state(self, host: str, key: _Flow) -> str:
        found = self.states.get((host, key))
        if found is not None:
            return found
        for (owner, (near, far)), state in self.states.items():
            if owner == host and "*" in (near, far) and state == "LISTEN":
                port = (far if near == "*" else near).rpartition(":")[2]
                if any(end.rpartition(":")[2] == port for end in key):
                    return state
        return ""

    def _settle_before(self, fact: Event) -> None:
        """A host begins something new: what was there before has its state now."""
        host, at_ns = fact.host, fact.at_ns
        if self.clock.get(host) != at_ns:
            self.clock[host] = at_ns
        elif not isinstance(fact, (FrameReceived, CallStarted, TimerFired)):
            return
        if host in self.unsettled:
            self._settle(host)

    def _settle(self, host: str) -> None:
        for row, is_sender, key in self.unsettled.pop(host, ()):
            known = self.fd_flow.get((host, key)) if isinstance(key, int) else key
            state = "" if known is None else self._state(host, known)
            if isinstance(row, Note):
                row.state = state
            elif isinstance(row, Arrow) and is_sender:
                row.sender_state = state
            elif isinstance(row, Arrow):
                row.receiver_state = state

    # --- notes

    def _add_note(self, fact: Event, calls: dict[tuple[str, int], CallRecord]) -> None:
        note = self._queues(fact) if isinstance(fact, QueueChanged) else _note(fact, calls)
        if note is None or note.kind not in self.kinds or (note.kind == "drop" and self._is_arrows_fate(fact)):
            return
        self.rows.append(note)
        connection = connection_of(fact)
        if isinstance(fact, (CallStarted, CallReturned)):
            self.unsettled.setdefault(note.host, []).append((note, True, fact.fd))
            if isinstance(fact, CallStarted) and calls[fact.host, fact.call].waits:
                self._settle(note.host)
        elif connection and note.kind != "queue":
            self.unsettled.setdefault(note.host, []).append((note, True, flow(connection)))


    def _is_arrows_fate(self, fact: Event) -> bool:
        """Tell whether an arrow says already that this packet was dropped."""
        return isinstance(fact, PacketDropped) and (fact.host, fact.at_ns, fact.reason) in self.fates

    def _queues(self, fact: QueueChanged) -> Note | None:
        """Write both queues of a listener, joined with what was written of them at the same moment."""
        queues = self.queues.setdefault((fact.host, fact.connection), {})
        queues[fact.queue] = gauge(fact.depth, fact.limit)
        shown = "  ".join(f"{name} {queues[name]}" for name in ("half-open", "accept") if name in queues)
        last = self.rows[-1] if self.rows else None
        what = fact.what
        if isinstance(last, Note) and (last.kind, last.host, last.at_ns) == ("queue", fact.host, fact.at_ns):
            what = f"{last.text.rpartition(': ')[2]}, {what}"
            self.rows.pop()
        return Note(fact.at_ns, fact.host, "queue", f"{shown}: {what}")


def _note(fact: Event, calls: dict[tuple[str, int], CallRecord]) -> Note | None:
    """Write the note of a fact, or ``None`` for one that an arrow or a state already tells."""
    if isinstance(fact, CallStarted):
        record = calls[fact.host, fact.call]
        text = written(record)
        return Note(fact.at_ns, fact.host, "call", text if record.waits else text + _outcome(record))
    if isinstance(fact, CallReturned):
        record = calls[fact.host, fact.call]
        text = f"fd {fact.fd}: {fact.name}{_outcome(record)}"
        return Note(fact.at_ns, fact.host, "return", text) if record.waits else None
    if isinstance(fact, TimerFired):
        return Note(fact.at_ns, fact.host, "timer", f"{fact.timer} timer" + (f": {fact.detail}" if fact.detail else ""))
    if isinstance(fact, TimeWaitEnded):
        return Note(fact.at_ns, fact.host, "state", f"TIME-WAIT ended: {fact.why}")
    if isinstance(fact, StateChanged):
        return Note(fact.at_ns, fact.host, "state", edge_text(fact))
    if isinstance(fact, ErrorReported):
        return Note(fact.at_ns, fact.host, "error", ("noted: " if fact.is_soft else "error: ") + fact.text)
    if isinstance(fact, HostChanged):
        return Note(fact.at_ns, fact.host, "power", fact.what)
    if isinstance(fact, FramesLost):
        where = fact.where.removeprefix("the ").removeprefix("its ").replace(" was ", " ")
        return Note(fact.at_ns, fact.host, "power", f"{fact.frames:,} frames of {fact.interface} lost: {where}")
    if isinstance(fact, BoxChanged):
        return Note(fact.at_ns, fact.host, "power", f"{fact.box} {fact.what}")
    if isinstance(fact, LinkChanged):
        return Note(fact.at_ns, "", "link", f"{fact.link}: {fact.what}")
    if isinstance(fact, PacketDropped):
        return Note(fact.at_ns, fact.host, "drop", f"dropped: {fact.reason.value}")
    return None


def _outcome(record: CallRecord) -> str:
    if record.error:
        return f" → {record.error}"
    return f" → {record.result}" if record.returned_ns is not None else ""


def _lanes(facts: list[Event], all_flights: list[Flight]) -> list[str]:
    """Return the hosts that sent or received, in the order of first mention; ``""`` stands for other hosts."""
    busy = {name for item in all_flights for name in (item.sender, item.receiver)}
    lanes = [name for name in dict.fromkeys(fact.host for fact in facts) if name and name in busy]
    if any(not item.sender for item in all_flights):
        lanes.append("")
    return lanes or [name for name in dict.fromkeys(fact.host for fact in facts) if name]


def _flow_of(item: Flight) -> _Flow:
    return flow(item.connection)


def _arrow(item: Flight, tag: str) -> Arrow:
    told = item.segment or item.heard
    summary = item.summary
    if told is not None:
        seq, ack, length, wnd = told.seq, told.ack, told.length, told.wnd
    else:
        seq, ack, length, wnd = summary.seq, summary.ack, summary.length, summary.wnd
    flags = summary.flags
    reason = "" if item.reason is None else item.reason.value
    label = summary.text
    if summary.protocol == "tcp":
        label = f"{flags} seq={seq}" + (f" ack={ack}" if "." in flags else "") + f" len={length} wnd={wnd}"
        if item.marked or summary.ecn:
            label += f" {summary.ecn} → CE" if item.marked and summary.ecn != "CE" else f" {summary.ecn}"
    why = COPY if item.is_copy and not item.on_link else item.segment.why if item.segment is not None else ""
    return Arrow(
        item.sent_ns, item.received_ns, item.sender, item.receiver, item.connection, label, flags, seq, ack, length,
        wnd, why, item.fate, reason, item.detail, item.is_retransmission, tag=tag, on_link=item.on_link,
    )


def _mark_crossings(rows: list[Row]) -> None:
    """Mark frames of one connection that passed each other on the way."""
    last: dict[tuple[_Flow, str], Arrow] = {}
    for row in rows:
        if not isinstance(row, Arrow) or not row.connection:
            continue
        key = flow(row.connection)
        other = last.get((key, row.receiver))
        if other is not None and other.received_ns is not None and row.received_ns is not None:
            if other.received_ns > row.sent_ns:
                other.is_crossing = row.is_crossing = True
        last[key, row.sender] = row


def row_time(row: Row) -> int:
    """Return when it happened, or began."""
    if isinstance(row, Arrow):
        return row.sent_ns
    return row.at_ns if isinstance(row, Note) else row.until_ns


def _shape(row: Row) -> tuple[object, ...]:
    """Rows of equal shape tell the same story: numbers that grow do not count."""
    if isinstance(row, Arrow):
        return ("arrow", row.sender, row.receiver, row.flags, row.fate, without_numbers(row.reason),
                row.why.partition(":")[0], row.is_retransmission, row.length > 0, row.sender_state, row.receiver_state)
    if isinstance(row, Note):
        return ("note", row.host, row.kind, without_numbers(row.text))
    return ("skip", id(row))

