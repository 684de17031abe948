"""The recorder keeps the facts of one run, in order, and groups them under what caused them.

- It is an observer: hand it to a host or a network, or call it with each fact.
- It holds at most ``facts_max`` facts and ``frame_bytes_max`` bytes of frames. What comes after is counted in
  ``not_kept`` and forgotten: the beginning of a run explains its end, not the other way round.
- A fact between a ``CallStarted`` (or ``CallResumed``) and the next ``CallBlocked`` or ``CallReturned`` of that host
  belongs to that call. Any other follows from a frame, a timer or an action on the network: an ``Episode`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache

from estab.events import (
    BoxChanged,
    BufferChanged,
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    Event,
    FdAllocated,
    FdReleased,
    FrameReceived,
    FrameSent,
    FramesLost,
    HostChanged,
    LinkChanged,
    LinkDropped,
    LinkMarked,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    Tcb,
    TcbCreated,
    TcbReleased,
    TimerFired,
)
from estab.observe.facts import Json, event_json, plain
from estab.under_way import UnderWay

__all__ = [
    "CallRecord", "Episode", "FieldChange", "Recorder", "Wait", "calls_among", "connection_of", "edge_text", "episodes",
    "flow", "tags", "written",
]

_FRAME_FACTS = (FrameSent, FrameReceived, LinkDropped, LinkMarked)
_CALL_FACTS = (CallStarted, CallBlocked, CallResumed, CallReturned)
_TCB_FIELDS = tuple(item.name for item in fields(Tcb))


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a TCB before and after. ``before`` is ``None`` if the connection had not been seen yet."""

    connection: str
    field: str
    before: int | str | None
    after: int | str | None


@dataclass(slots=True)
class Wait:
    """A time during which a call was blocked; ``until_ns`` is ``None`` while it still is."""

    since_ns: int
    until_ns: int | None
    waits_for: str


@dataclass(slots=True)
class CallRecord:
    """One call of the sockets API with all that it changed.

    ``facts`` are those it caused, in order. ``returned_ns`` is ``None`` for a call that never returned.
    """

    host: str
    call: int
    fd: int
    name: str
    arguments: str
    started_ns: int
    returned_ns: int | None = None
    result: str = ""
    error: str = ""
    waits: list[Wait] = field(default_factory=list)
    facts: list[Event] = field(default_factory=list)
    tcb_changes: list[FieldChange] = field(default_factory=list)

    @property
    def fds(self) -> list[FdAllocated | FdReleased]:
        """Descriptors allocated and released."""
        return [fact for fact in self.facts if isinstance(fact, (FdAllocated, FdReleased))]

    @property
    def tcbs(self) -> list[TcbCreated | StateChanged | TcbReleased]:
        """TCBs made, moved along the state diagram, and released."""
        return [fact for fact in self.facts if isinstance(fact, (TcbCreated, StateChanged, TcbReleased))]

    @property
    def queues(self) -> list[QueueChanged]:
        """Changes to listeners' two queues."""
        return [fact for fact in self.facts if isinstance(fact, QueueChanged)]

    @property
    def buffers(self) -> list[BufferChanged]:
        """Changes to send and receive buffers."""
        return [fact for fact in self.facts if isinstance(fact, BufferChanged)]

    @property
    def segments(self) -> list[SegmentSent]:
        """Segments that the call sent."""
        return [fact for fact in self.facts if isinstance(fact, SegmentSent)]

    def to_json(self) -> dict[str, Json]:
        """Write the record as plain data, in a stable order."""
        return {
            "host": self.host,
            "call": self.call,
            "fd": self.fd,
            "name": self.name,
            "arguments": self.arguments,
            "started_ns": self.started_ns,
            "returned_ns": self.returned_ns,
            "result": self.result,
            "error": self.error,
            "waits": plain(self.waits),
            "fds": [event_json(fact) for fact in self.fds],
            "tcbs": [event_json(fact) for fact in self.tcbs],
            "tcb_changes": plain(self.tcb_changes),
            "queues": [event_json(fact) for fact in self.queues],
            "buffers": [event_json(fact) for fact in self.buffers],
            "segments": [event_json(fact) for fact in self.segments],
        }


@dataclass(slots=True)
class Episode:
    """Facts of one host with one cause. ``cause`` is ``call``, ``frame``, ``timer``, ``link`` or ``other``.

    For a call, ``record`` is it; one call makes several episodes when it blocks in between. For a frame, ``facts[0]``
    is its ``FrameReceived``; for a timer its ``TimerFired``.
    """

    host: str
    at_ns: int
    cause: str
    record: CallRecord | None = None
    facts: list[Event] = field(default_factory=list)
    tcb_changes: list[FieldChange] = field(default_factory=list)


class Recorder:
    """Collects facts. ``facts`` are in the order in which they came to be."""

    def __init__(self, *, facts_max: int = 1_000_000, frame_bytes_max: int = 256 * 1024 * 1024) -> None:
        if facts_max < 1:
            raise ValueError(f"facts_max: {facts_max} is too few; give 1 or more")
        if frame_bytes_max < 0:
            raise ValueError(f"frame_bytes_max: {frame_bytes_max} is negative")
        self.facts_max = facts_max
        self.frame_bytes_max = frame_bytes_max
        self.facts: list[Event] = []
        self.frame_bytes = 0
        self.not_kept = 0
        self.is_recording = True
        """If it is ``False``, facts are ignored."""
        self._episodes: tuple[int, list[Episode]] = (0, [])

    def __call__(self, event: Event) -> None:
        """Keep a fact, or count it if there is no room."""
        if not self.is_recording:
            return
        size = len(event.data) if isinstance(event, _FRAME_FACTS) else 0
        if len(self.facts) >= self.facts_max or self.frame_bytes + size > self.frame_bytes_max:
            self.not_kept += 1
            return
        self.frame_bytes += size
        self.facts.append(event)

    def clear(self) -> None:
        """Forget everything kept so far."""
        self.facts.clear()
        self.frame_bytes = 0
        self.not_kept = 0
        self._episodes = (0, [])

    # --- queries

    def hosts(self) -> list[str]:
        """Name the hosts in the order of their first facts."""
        return list(dict.fromkeys(fact.host for fact in self.facts if fact.host))

    def connections(self, host: str = "") -> list[str]:
        """Name the connections of a host (or of all), in the order of their first facts."""
        found: dict[str, None] = {}
        for fact in self.facts:
            connection = connection_of(fact)
            if connection and (not host or fact.host == host):
                found[connection] = None
        return list(found)

    def of_connection(self, connection: str, host: str = "") -> list[Event]:
        """Return the facts of a connection; with ``host``, only those told by it, else those of both ends."""
        wanted = flow(connection)
        return [
            fact for fact in self.facts
            if (not host or fact.host == host) and (name := connection_of(fact)) and flow(name) == wanted
        ]

    def calls(self, host: str = "", fd: int | None = None, name: str = "") -> list[CallRecord]:
        """Return the calls in the order in which they began, with what each changed."""
        return calls_among(self.episodes(), host, fd, name)

    def episodes(self) -> list[Episode]:
        """Group all facts by what caused them, in the order of their beginnings."""
        if self._episodes[0] != len(self.facts):
            self._episodes = (len(self.facts), episodes(self.facts))
        return list(self._episodes[1])

    def __len__(self) -> int:
        return len(self.facts)


def episodes(facts: list[Event], *, has_changes: bool = True) -> list[Episode]:
    """Group facts by what caused them, in the order of their beginnings.

    Without ``has_changes``, in half the time, ``tcb_changes`` stay empty.
    """
    return list(_Grouping(has_changes).group(facts))


def call_records(facts: list[Event]) -> dict[tuple[str, int], CallRecord]:
    """Return the calls by host and number, without what they caused: what ``episodes`` tells in a tenth of its time."""
    grouping = _Grouping(has_changes=False)
    for fact in facts:
        if isinstance(fact, _CALL_FACTS):
            grouping.note_call(fact)
    return grouping.records


def calls_among(found: list[Episode], host: str = "", fd: int | None = None, name: str = "") -> list[CallRecord]:
    """Return the calls of episodes in the order in which they began; of a host, a descriptor or a name only."""
    records: dict[int, CallRecord] = {}
    for episode in found:
        if episode.record is not None:
            records[id(episode.record)] = episode.record
    return [
        record for record in records.values()
        if (not host or record.host == host)
        and (fd is None or record.fd == fd)
        and (not name or record.name == name)
    ]


def connection_of(fact: Event) -> str:
    """Name the connection that a fact is about; empty if it is about none."""
    name = getattr(fact, "connection", "")
    return name if isinstance(name, str) else ""


@lru_cache(maxsize=4096)
def flow(connection: str) -> tuple[str, str]:
    """Name a connection alike from both ends: its two ends in order of text."""
    near, _, far = connection.partition(">")
    return (near, far) if near <= far else (far, near)


class _Grouping:
    """One pass over the facts: which call is under way on each host, and what each TCB looked like last."""

    def __init__(self, has_changes: bool) -> None:
        self.has_changes = has_changes
        self.records: dict[tuple[str, int], CallRecord] = {}
        self.under_way = UnderWay()
        self.open: dict[str, Episode] = {}
        self.tcbs: dict[tuple[str, str], dict[str, int | str | None]] = {}

    def group(self, facts: list[Event]) -> Iterator[Episode]:
        for fact in facts:
            previous = self.open.get(fact.host)
            episode = self._place(fact, previous)
            if episode is not previous:
                self.open[fact.host] = episode
                yield episode
            episode.facts.append(fact)
            if episode.record is not None and not isinstance(fact, _CALL_FACTS):
                episode.record.facts.append(fact)
            if self.has_changes:
                self._follow_tcb(fact, episode)

    def _place(self, fact: Event, previous: Episode | None) -> Episode:
        """Choose the episode of a fact: the one that is open on its host, or a new one."""
        before = self.under_way.call_now(fact.host)
        number = self.under_way.call_of(fact)
        if isinstance(fact, (CallStarted, CallResumed, CallReturned, CallBlocked)):
            record = self.note_call(fact)
            if before == number and previous is not None and previous.record is record:
                return previous
            return Episode(fact.host, fact.at_ns, "call", record)
        running = self.records.get((fact.host, number))
        if running is not None:
            if previous is not None and previous.record is running:
                return previous
            return Episode(fact.host, fact.at_ns, "call", running)
        cause = _cause(fact)
        if previous is None or previous.record is not None or previous.at_ns != fact.at_ns or cause != "other":
            return Episode(fact.host, fact.at_ns, cause)
        return previous

    def note_call(self, fact: CallStarted | CallResumed | CallReturned | CallBlocked) -> CallRecord:
        """Find or begin the record of a call and note what this fact says of it."""
        key = (fact.host, fact.call)
        record = self.records.get(key)
        if record is None or isinstance(fact, CallStarted):
            name = "" if isinstance(fact, (CallResumed, CallBlocked)) else fact.name
            arguments = fact.arguments if isinstance(fact, CallStarted) else ""
            record = self.records[key] = CallRecord(fact.host, fact.call, fact.fd, name, arguments, fact.at_ns)
        if record.waits and record.waits[-1].until_ns is None:
            record.waits[-1].until_ns = fact.at_ns
        if isinstance(fact, CallBlocked):
            record.waits.append(Wait(fact.at_ns, None, fact.waits_for))
        elif isinstance(fact, CallReturned):
            record.returned_ns, record.result, record.error = fact.at_ns, fact.result, fact.error
        return record

    def _follow_tcb(self, fact: Event, episode: Episode) -> None:
        """Keep each TCB's last known fields, and note what an episode and its call changed in them."""
        after: dict[str, int | str | None]
        if isinstance(fact, (SegmentSent, SegmentReceived)) and fact.tcb is not None:
            after = {name: getattr(fact.tcb, name) for name in _TCB_FIELDS}
        elif isinstance(fact, StateChanged):
            after = {"state": fact.new}
        elif isinstance(fact, TcbCreated):
            after = {"state": fact.state}
        else:
            return
        connection = connection_of(fact)
        known = self.tcbs.setdefault((fact.host, connection), {})
        if isinstance(fact, StateChanged):
            known.setdefault("state", fact.old)
        for name, value in after.items():
            before = known.get(name)
            known[name] = value
            if before == value:
                continue
            change = FieldChange(connection, name, before, value)
            _note_change(episode.tcb_changes, change)
            if episode.record is not None:
                _note_change(episode.record.tcb_changes, change)


def _note_change(changes: list[FieldChange], change: FieldChange) -> None:
    """Add a change, joined with an earlier one of the same field: the first ``before``, the last ``after``."""
    for index, earlier in enumerate(changes):
        if earlier.connection == change.connection and earlier.field == change.field:
            if earlier.before == change.after:
                del changes[index]
            else:
                changes[index] = FieldChange(change.connection, change.field, earlier.before, change.after)
            return
    changes.append(change)


def _cause(fact: Event) -> str:
    """Say what begins an episode: a frame, a timer, an action on a link; ``other`` facts join the one before them."""
    if isinstance(fact, FrameReceived):
        return "frame"
    if isinstance(fact, TimerFired):
        return "timer"
    if isinstance(fact, (LinkChanged, HostChanged, BoxChanged, FramesLost)):
        return "link"
    return "other"


def edge_text(fact: StateChanged) -> str:
    """Write an edge of the state diagram.

    RFC 9293 lets a listener's own TCB take it when a SYN comes. Here, as everywhere, the SYN makes a connection beside
    the listener, which stays in LISTEN.
    """
    if fact.old == "LISTEN" and fact.new == "SYN-RECEIVED":
        return f"new: {fact.new}; the listener stays in LISTEN"
    if fact.old == "SYN-RECEIVED" and fact.new == "LISTEN":
        return f"{fact.old} → gone; the listener stays in LISTEN"
    return f"{fact.old} → {fact.new}"


def tags(connections: Iterable[str]) -> dict[tuple[str, str], str]:
    """Name each connection by the port that tells it from the others; nothing if there is only one."""
    found = [key for key in dict.fromkeys(map(flow, connections)) if "*" not in key]
    if len(found) < 2:
        return {}
    ports = [[end.rpartition(":")[2] for end in pair] for pair in found]
    shared = {port for port in {port for pair in ports for port in pair} if sum(port in pair for pair in ports) > 1}
    return {key: " ".join(port for port in pair if port not in shared) for key, pair in zip(found, ports, strict=True)}


def written(record: CallRecord) -> str:
    """Write a call with the descriptor that it was made on."""
    text = f"{record.name}({record.arguments})"
    return text if record.name == "socket" or record.fd < 0 else f"fd {record.fd}: {text}"
