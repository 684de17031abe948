"""Rows for what is no frame and no segment: calls and their waits, states, timers, queues, links, notes."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estab.events import (
    BoxChanged,
    BufferChanged,
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    CongestionChanged,
    CookieChecked,
    ErrorReported,
    Event,
    FramesLost,
    HostChanged,
    LinkChanged,
    LinkConditions,
    NeighborChanged,
    PathMtuChanged,
    QueueChanged,
    SocketSampled,
    StateChanged,
    TcbCreated,
    TcbReleased,
    TimerFired,
    TimeWaitEnded,
)
from estab.report.ends import Ends
from estab.report.tables import Band, Way
from estab.units import format_duration

__all__ = ["Rest"]

_OVER = ("CLOSED", "TIME-WAIT")
_SAMPLED = ("{host} has a kernel's TCP: what is drawn of its windows, timers, buffers and states was sampled every "
            "{every} (inet_diag), a dot for each sample that differs from the one before. What was between two samples "
            "is not known. Its segments are all here.")


@dataclass(slots=True)
class _Call:
    """A call under way."""

    since_ns: int
    host: int
    fd: int
    name: str
    arguments: str
    number: int
    blocked_ns: int = -1
    waits_for: str = ""


class Rest(Ends):
    """The handlers of those facts, by type, in ``on_rest``."""

    def __init__(self, *, has_payload: bool = False) -> None:
        super().__init__(has_payload=has_payload)
        self._calls: dict[tuple[str, int], _Call] = {}
        self._running: dict[str, int] = {}
        self._links: dict[tuple[str, str], int] = {}
        self._listeners: dict[tuple[str, str], int] = {}
        self._open_bands: dict[tuple[str, str], Band] = {}
        self.on_rest: dict[type[Event], Callable[[Any], None]] = {
            CallStarted: self._started, CallBlocked: self._blocked, CallResumed: self._resumed,
            CallReturned: self._returned, TcbCreated: self._created, TcbReleased: self._released,
            StateChanged: self._state, TimerFired: self._timer, CongestionChanged: self._congestion,
            QueueChanged: self._backlog, BufferChanged: self._buffer, LinkChanged: self._link,
            LinkConditions: self._conditions, HostChanged: self._power, ErrorReported: self._error,
            CookieChecked: self._cookie, TimeWaitEnded: self._time_wait, PathMtuChanged: self._mtu,
            NeighborChanged: self._neighbor, BoxChanged: self._box, SocketSampled: self._sampled,
            FramesLost: self._lost,
        }

    def forget_causes(self, host: str) -> None:
        """Note that something else than a frame comes: what is dropped from here on follows from that."""

    # --- calls

    def running(self, host: str) -> int:
        """Return the number of the call that runs on a host; -1 for none."""
        return self._running.get(host, -1)

    def _started(self, fact: CallStarted) -> None:
        self.forget_causes(fact.host)
        self._calls[fact.host, fact.call] = _Call(
            fact.at_ns, self.host(fact.host), fact.fd, fact.name, fact.arguments, fact.call,
        )
        self._running[fact.host] = fact.call

    def _blocked(self, fact: CallBlocked) -> None:
        self._running.pop(fact.host, None)
        call = self._calls.get((fact.host, fact.call))
        if call is not None:
            call.blocked_ns, call.waits_for = fact.at_ns, fact.waits_for

    def _resumed(self, fact: CallResumed) -> None:
        self.forget_causes(fact.host)
        self._running[fact.host] = fact.call
        call = self._calls.get((fact.host, fact.call))
        if call is not None:
            self._waited(call, fact.at_ns)

    def _waited(self, call: _Call, at_ns: int) -> None:
        if call.blocked_ns >= 0 and at_ns > call.blocked_ns:
            self.add("wait", call.blocked_ns, at_ns, call.host, call.number, self.word("what", call.waits_for))
        call.blocked_ns = -1

    def _returned(self, fact: CallReturned) -> None:
        if self._running.get(fact.host) == fact.call:
            del self._running[fact.host]
        call = self._calls.pop((fact.host, fact.call), None)
        if call is None:
            call = _Call(fact.at_ns, self.host(fact.host), fact.fd, fact.name, "", fact.call)
        self._waited(call, fact.at_ns)
        self._end_call(call, fact.at_ns, fact.error or fact.result)

    def _end_call(self, call: _Call, until_ns: int, result: str) -> None:
        self.add("call", call.since_ns, until_ns, call.host, call.fd, self.word("name", call.name),
                 self.word("args", call.arguments), self.word("result", result), call.number)

    def unfinished(self) -> dict[str, dict[str, array[int]]]:
        """Return the rows of ``call`` and ``wait`` for calls that are still under way, ``until`` -1."""
        rows = Ends()
        rows.words = self.words
        for call in self._calls.values():
            rows.add("call", call.since_ns, -1, call.host, call.fd, self.word("name", call.name),
                     self.word("args", call.arguments), 0, call.number)
            if call.blocked_ns >= 0:
                rows.add("wait", call.blocked_ns, -1, call.host, call.number, self.word("what", call.waits_for))
        return {table: rows.columns[table] for table in ("call", "wait")}

    # --- states, timers, windows

    def _created(self, fact: TcbCreated) -> None:
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is not None:
            self.add("state", fact.at_ns, end.number, self.word("state", fact.state), self.word("note", fact.why))

    def _released(self, fact: TcbReleased) -> None:
        self._ended(fact.host, fact.connection, fact.at_ns, "released", fact.why)

    def _time_wait(self, fact: TimeWaitEnded) -> None:
        self._ended(fact.host, fact.connection, fact.at_ns, "released", f"TIME-WAIT ended: {fact.why}")

    def _ended(self, host: str, connection: str, at_ns: int, state: str, why: str) -> None:
        end = self.end(host, connection, at_ns)
        if end is not None:
            self.over(connection)
            if end.tcb is not None and end.tcb.state != "TIME-WAIT" and end.held >= 0:
                end.held = -1
                self.put("held", at_ns, end.number, 0)
            self.add("state", at_ns, end.number, self.word("state", state), self.word("note", why))

    def _state(self, fact: StateChanged) -> None:
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is not None:
            self.add("state", fact.at_ns, end.number, self.word("state", fact.new), self.word("note", fact.why))
            if fact.new in _OVER:
                self.over(fact.connection)

    def _timer(self, fact: TimerFired) -> None:
        self.forget_causes(fact.host)
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is not None:
            what = fact.timer + (f": {fact.detail}" if fact.detail else "")
            self.add("timer", fact.at_ns, end.number, self.word("note", what))

    def _congestion(self, fact: CongestionChanged) -> None:
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is not None:
            self.add("cong", fact.at_ns, end.number, self.word("note", fact.why))

    # --- queues and buffers

    def _backlog(self, fact: QueueChanged) -> None:
        self._queue(fact, fact.queue, fact.depth, fact.limit, fact.what)

    def _queue(self, fact: QueueChanged | SocketSampled, queue: str, depth: int, limit: int, what: str) -> None:
        key = (fact.host, fact.connection)
        number = self._listeners.get(key)
        if number is None:
            number = self._listeners[key] = len(self.listeners)
            self.listeners.append((self.host(fact.host), fact.connection.partition(">")[0]))
        self.add("backlog", fact.at_ns, number, self.word("queue", queue), depth, limit, self.word("note", what))

    def _buffer(self, fact: BufferChanged) -> None:
        """A buffer changed between two segments: by a write or a read."""
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is None or not end.buffer or end.tcb is None:
            return
        send, unsent, sendmax, unread, ooo, recvmax, window = end.buffer
        if fact.which == "send":
            unsent = max(0, unsent + fact.size_bytes - send)
            send, sendmax = fact.size_bytes, fact.limit_bytes
        else:
            unread, recvmax = fact.size_bytes, fact.limit_bytes
        end.buffer = (send, unsent, sendmax, unread, ooo, recvmax, window)
        self.put("buffer", fact.at_ns, end.number, *end.buffer)
        self.judge(end, fact.at_ns)  # Nagle's rule may hold back what was written: no segment tells of it

    # --- links, hosts, the rest

    def way_of_link(self, link: str, host: str) -> int:
        """Return the number of a link's way from a host."""
        number = self._links.get((link, host))
        if number is None:
            number = self._links[link, host] = len(self.ways)
            self.ways.append(Way(link, self.host(host)))
        return number

    def _conditions(self, fact: LinkConditions) -> None:
        number = self._links[fact.link, fact.host] = self.way(fact.host, fact.interface or fact.link)
        way = self.ways[number]
        if not fact.interface:
            self.switches.add(self.host(fact.host))
        way.link, way.target = fact.link, self.host(fact.receiver)
        skipped = ("at_ns", "host", "link", "interface", "receiver")
        way.conditions = {name: getattr(fact, name) for name in fact.__dataclass_fields__ if name not in skipped}
        if fact.is_cut:
            self.cut_ways.add(number)
        else:
            self.cut_ways.discard(number)
        self.judge_all(fact.at_ns)

    def _link(self, fact: LinkChanged) -> None:
        begins = fact.what if fact.what.startswith("cut") else ""
        self._band(fact.link, fact.at_ns, fact.what, begins=begins, ends="healed")

    def _box(self, fact: BoxChanged) -> None:
        self._band(f"{fact.host}: {fact.box}", fact.at_ns, fact.what, begins="", ends="")
        self._note(fact, "", f"{fact.box} {fact.what}")

    def _lost(self, fact: FramesLost) -> None:
        self._band(fact.host, fact.at_ns, fact.text, begins="", ends="")
        self._note(fact, "", fact.text)
        self.missing.append(f"{fact.host} {fact.text}")

    # --- a kernel's sockets

    def _sampled(self, fact: SocketSampled) -> None:
        near, _, far = fact.connection.partition(">")
        if far != "*" and self.find(near, far) is None:
            return  # nothing of it was on a link: it is between programs of the host, or was not sent yet
        note = _SAMPLED.format(host=fact.host, every=format_duration(fact.every_ns))
        if note not in self.missing:
            self.missing.append(note)
        if far == "*":
            if fact.state == "LISTEN":
                self._queue(fact, "accept", fact.recv_q, fact.send_q, "sampled")
            return
        end = self.end(fact.host, fact.connection, fact.at_ns)
        assert end is not None
        self.sampled[end.number] = fact.every_ns
        before = "" if end.tcb is None else end.tcb.state
        if fact.state == "gone":
            self._ended(fact.host, fact.connection, fact.at_ns, "released", "sampled: it is gone")
        elif fact.state != before:
            self.add("state", fact.at_ns, end.number, self.word("state", fact.state), self.word("note", "sampled"))
            if fact.state in _OVER:
                self.over(fact.connection)
        if fact.tcb is not None:
            self.follow(end, fact.tcb, fact.at_ns)

    def _power(self, fact: HostChanged) -> None:
        if fact.what in ("suspended", "paused", "resumed"):
            begins = "" if fact.what == "resumed" else fact.what
            self._band(fact.host, fact.at_ns, fact.what, begins=begins, ends="resumed")
        else:
            if fact.what == "power off" and (fact.host, "resumed") in self._open_bands:
                self._open_bands.pop((fact.host, "resumed")).until_ns = fact.at_ns
            self._band(fact.host, fact.at_ns, fact.what, begins="power off", ends="power on")
        self._note(fact, "", fact.what)

    def _band(self, what: str, at_ns: int, change: str, *, begins: str, ends: str) -> None:
        """Note the weather: a cut lasts until it is healed, any other change stands at its time."""
        if change == ends and (what, ends) in self._open_bands:
            self._open_bands.pop((what, ends)).until_ns = at_ns
            return
        band = Band(what, change, at_ns, at_ns)
        if change == begins:
            band.until_ns = -1
            self._open_bands[what, ends] = band
        self.bands.append(band)

    def _note(self, fact: Event, connection: str, text: str) -> None:
        end = self.end(fact.host, connection, fact.at_ns) if connection else None
        self.add("note", fact.at_ns, self.host(fact.host), -1 if end is None else end.number, self.word("note", text))

    def _error(self, fact: ErrorReported) -> None:
        self._note(fact, fact.connection, ("noted only: " if fact.is_soft else "error for the program: ") + fact.text)

    def _cookie(self, fact: CookieChecked) -> None:
        verdict = "good" if fact.is_valid else "bad"
        self._note(fact, fact.connection, f"SYN cookie {verdict}" + (f": {fact.detail}" if fact.detail else ""))

    def _mtu(self, fact: PathMtuChanged) -> None:
        self._note(fact, "", f"path MTU to {fact.destination} is {fact.mtu}: {fact.why}")

    def _neighbor(self, fact: NeighborChanged) -> None:
        self._note(fact, "", f"neighbour {fact.address}: {fact.state}")
