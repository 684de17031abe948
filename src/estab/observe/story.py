"""A run step by step: each call, segment and timer, and the descriptors, TCBs, queues, buffers and segments it changed.

- Told from facts only: a sentence here is a form that facts fill in. What did not happen can't be told.
- A step is an episode: a call until it blocks or returns, a frame that arrived, a timer that ran out.
- ``story`` makes lines with roles; long repetitions are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

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
    FdAllocated,
    FdReleased,
    FrameReceived,
    FramesLost,
    HostChanged,
    LinkChanged,
    LinkDropped,
    LinkMarked,
    PacketDropped,
    PathMtuChanged,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TcbReleased,
    TimerFired,
    TimeWaitEnded,
)
from estab.observe.flights import flights
from estab.observe.fold import Fold, fold
from estab.observe.recorder import (
    CallRecord,
    Episode,
    FieldChange,
    connection_of,
    edge_text,
    episodes,
    flow,
    tags,
    written,
)
from estab.observe.text import Line, Span, cells, clip, flush_left, gauge, pieces, without_numbers, wrapped
from estab.units import format_bytes, format_count, format_duration

__all__ = ["call_details", "story"]

_TIME: Final = 10
_LABEL: Final = 9
_NARROW: Final = 72
"""Below this width details don't stand in a column of their own."""
_HOST_MAX: Final = 30
"""How much of that the names of hosts may take."""
_TOLD_FIELDS: Final = ("snd_una", "snd_nxt", "snd_wnd", "rcv_nxt", "rcv_wnd", "cwnd_bytes", "ssthresh_bytes", "rto_ns")

_Detail = tuple[str, str, str]
"""Label, text, role."""
_Names = dict[tuple[str, str], str]
"""What tells each connection from the others, by its two ends; empty if there is only one."""


def story(
    facts: Sequence[Event], *, width: int = 100, hosts: Collection[str] = (), since_ns: int = 0,
    say: Callable[[str], str] = str,
) -> list[Line]:
    """Tell a run. ``hosts`` chooses whose steps are told; all if it is empty. What was before ``since_ns`` is
    counted. ``say`` translates each text before it is broken into lines.
    """
    names = tags(connection for fact in facts if (connection := connection_of(fact)))
    labels = _labels(list(facts), names)
    steps = [step for episode in episodes(list(facts)) if (step := _Step.of(episode, labels, names)) is not None
             and (not hosts or not episode.host or episode.host in hosts)]
    columns = max((len(step.host) for step in steps), default=0)
    result: list[Line] = []
    before = sum(step.at_ns < since_ns for step in steps)
    if before:
        text = f"⋮ {format_count(before, 'step')} before: the connection opens"
        result.extend(_skipped(say(text), width))
        steps = [step for step in steps if step.at_ns >= since_ns]
    _leave_out_known_options(steps)
    for item in fold(steps, _Step.shape):
        if isinstance(item, Fold):
            steps_text = "step" if item.period == 1 else f"{item.period} steps"
            text = f"⋮ the same {steps_text} {item.times} times more, until {_time(item.items[-1].at_ns)}"
            result.extend(_skipped(say(text), width))
        else:
            result.extend(item.lines(columns, width, say))
    return result


def call_details(record: CallRecord) -> list[tuple[str, str]]:
    """Tell what a call changed, each change with its label as in the story: fd, tcb, state, queue, buffer, sends …"""
    found = [detail[:2] for fact in record.facts if (detail := _detail(fact, {})) is not None]
    changes = ", ".join(_change(change) for change in record.tcb_changes if _is_told(change))
    return [*found, ("tcb", changes)] if changes else found


def _skipped(text: str, width: int) -> Iterator[Line]:
    """Say what is left out, under the steps."""
    indent = _TIME + 2 if width >= _NARROW else 2
    for part in wrapped(text, width - indent):
        yield Span(" " * indent), Span(part, "skip")


def _leave_out_known_options(steps: list[_Step]) -> None:
    """Tell what a host's SYNs offer only once, as long as it is the same."""
    known: set[tuple[str, str]] = set()
    for step in steps:
        for detail in [detail for detail in step.details if detail[0] == "options"]:
            if (step.host, detail[1]) in known:
                step.details.remove(detail)
            known.add((step.host, detail[1]))


class _Step:
    """An episode, as it will be told."""

    def __init__(self, host: str, at_ns: int, head: Span, aside: str, details: list[_Detail]) -> None:
        self.host = host
        self.at_ns = at_ns
        self.head = head
        self.aside = aside
        self.details = details

    @classmethod
    def of(cls, episode: Episode, labels: dict[bytes, str], names: _Names) -> _Step | None:
        """Tell an episode; ``None`` if nothing in it is worth a line."""
        details = list(_details(episode, labels, names))
        head = _head(episode, labels, names)
        if head is None:
            return cls(episode.host, episode.at_ns, Span("by itself", "waits"), "", details) if details else None
        return cls(episode.host, episode.at_ns, head[0], head[1], details)

    def shape(self) -> tuple[object, ...]:
        """Steps of equal shape tell the same, but for numbers."""
        return (self.host, without_numbers(self.head.text),
                tuple((label, without_numbers(text)) for label, text, _ in self.details))

    def lines(self, columns: int, width: int, say: Callable[[str], str]) -> Iterator[Line]:
        indent = _TIME + 2 + columns + 2
        when = Span(_time(self.at_ns).rjust(_TIME) + "  ", "time")
        who = Span(self.host.ljust(columns) + "  ", "host")
        if width < _NARROW or width - columns < _NARROW - _HOST_MAX:
            yield when, who
            indent = 2
            head, aside = clip(say(self.head.text), width - indent), say(self.aside)
            yield Span(" " * indent), Span(head, self.head.role)
            for part in wrapped(aside, width - indent - 2) if aside else ():
                yield Span(" " * (indent + 2)), Span(part, "waits")
        else:
            head = clip(say(self.head.text), width - indent)
            aside = clip(say(self.aside), max(width - indent - cells(head) - 2, 0))
            yield when, who, Span(head, self.head.role), Span("  " + aside, "waits")
        for label, text, role in self.details:
            room = width - indent - 2 - _LABEL
            for number, part in enumerate(_broken(say(text), room)):
                shown = "" if number else say(label)
                yield (Span(" " * (indent + 2)), Span(flush_left(shown, _LABEL), "label"), Span(part, role))


def _broken(text: str, room: int) -> list[str]:
    """Break a text between words, and a word that is too long for a line where the line ends."""
    return [piece for line in wrapped(text, room) for piece in pieces(line, room)]


# --- heads


def _labels(facts: list[Event], names: _Names) -> dict[bytes, str]:
    """Describe each frame as its sender does, by its bytes; ARP and ND are not told."""
    labels: dict[bytes, str] = {}
    for item in flights(facts):
        if item.summary.protocol not in ("arp", "nd"):
            told = item.segment or item.heard
            text = _segment(told) if told is not None else item.summary.text
            labels[item.data] = _tagged(item.connection, names) + text
            if item.marked:
                labels[item.marked] = labels[item.data]
    return labels


def _head(episode: Episode, labels: dict[bytes, str], names: _Names) -> tuple[Span, str] | None:
    """Say in a few words what began or ended a step."""
    first = episode.facts[0]
    record = episode.record
    if record is not None:
        return _call_head(episode)
    if isinstance(first, LinkChanged):
        return Span(f"link {first.link}: {first.what}", "link"), ""
    if isinstance(first, BoxChanged):
        return Span(f"{first.box} {first.what}", "link"), ""
    if isinstance(first, FramesLost):
        return Span(first.text, "drop"), ""
    if isinstance(first, HostChanged):
        return Span(first.what, "link"), ""
    if isinstance(first, TimerFired):
        return Span(f"{_tagged(first.connection, names)}{first.timer} timer runs out", "timer"), first.detail
    if isinstance(first, FrameReceived):
        return _frame_head(episode, labels.get(first.data, ""), names)
    return None


def _call_head(episode: Episode) -> tuple[Span, str]:
    record = episode.record
    assert record is not None
    starts = any(isinstance(fact, CallStarted) for fact in episode.facts)
    resumed = any(isinstance(fact, CallResumed) for fact in episode.facts)
    returned = [fact for fact in episode.facts if isinstance(fact, CallReturned)]
    blocked = [fact for fact in episode.facts if isinstance(fact, CallBlocked)]
    head = f"▸ {written(record)}" if starts else f"◂ fd {record.fd}: {record.name}"
    aside = ""
    if returned:
        head += f" → {returned[-1].error or returned[-1].result}"
        if not starts:
            waited = sum((wait.until_ns or wait.since_ns) - wait.since_ns for wait in record.waits)
            aside = f"after waiting {format_duration(waited)}" if waited else ""
    elif blocked:
        aside = f"sleeps: {blocked[-1].waits_for.removeprefix(f'{record.name}() on ')}"
    elif resumed:
        aside = "goes on"
    failed = bool(returned and returned[-1].error)
    return Span(head, "error" if failed else "call"), aside


def _frame_head(episode: Episode, label: str, names: _Names) -> tuple[Span, str] | None:
    arrived = [fact for fact in episode.facts if isinstance(fact, SegmentReceived)]
    if arrived:
        label = _tagged(arrived[0].connection, names) + _segment(arrived[0])
    return (Span(f"arrives {label}", "arrow"), "") if label else None


# --- details


def _details(episode: Episode, labels: dict[bytes, str], names: _Names) -> Iterator[_Detail]:
    """Return what a step changed, in the order of the facts, the TCB's fields at the end."""
    is_timer_head = isinstance(episode.facts[0], TimerFired)
    for fact in episode.facts[1:] if is_timer_head else episode.facts:
        detail = _on_link(fact, labels) if isinstance(fact, (LinkDropped, LinkMarked)) else _detail(fact, names)
        if detail is not None:
            yield detail
        if isinstance(fact, SegmentSent) and "S" in fact.flags and _options(fact.options):
            yield "options", _options(fact.options), ""
    changes = ", ".join(_change(change) for change in episode.tcb_changes if _is_told(change))
    if changes:
        yield "tcb", changes, ""


def _on_link(fact: LinkDropped | LinkMarked, labels: dict[bytes, str]) -> _Detail | None:
    if isinstance(fact, LinkMarked):
        label = labels.get(fact.before, "")
        return ("marked", f"{label}: {fact.why}", "queue") if label else None
    label = labels.get(fact.data, "")
    return ("lost", f"{label}: {fact.reason.value}", "lost") if label else None


def _detail(fact: Event, names: _Names) -> _Detail | None:
    match fact:
        case FdAllocated():
            return "fd", f"{fact.fd} allocated ({fact.kind})", ""
        case FdReleased():
            return "fd", f"{fact.fd} released", ""
        case TcbCreated():
            return "tcb", f"made, {fact.state}" + (f" ({fact.why})" if fact.why else ""), "state"
        case TcbReleased():
            return "tcb", f"released: {fact.why}", "state"
        case StateChanged():
            return "state", edge_text(fact) + (f" ({fact.why})" if fact.why else ""), "state"
        case QueueChanged():
            peer = f" {fact.peer}" if fact.peer else ""
            return "queue", f"{fact.queue} {gauge(fact.depth, fact.limit)}: {fact.what}{peer}", "queue"
        case BufferChanged():
            limit = f" of {format_bytes(fact.limit_bytes)}" if fact.limit_bytes else ""
            return "buffer", f"{fact.which} {format_bytes(fact.size_bytes)}{limit}: {fact.what}", ""
        case SegmentSent():
            why = f" ({fact.why})" if fact.why else ""
            return "sends", _tagged(fact.connection, names) + _segment(fact) + why, "arrow"
        case _:
            return _rare_detail(fact)


def _rare_detail(fact: Event) -> _Detail | None:
    match fact:
        case PacketDropped():
            return "dropped", fact.reason.value + (f" ({fact.detail})" if fact.detail else ""), "drop"
        case TimerFired():
            return "timer", fact.timer + (f": {fact.detail}" if fact.detail else ""), "timer"
        case CongestionChanged():
            return "cwnd", f"{format_bytes(fact.cwnd_bytes)}: {fact.why}", ""
        case CookieChecked():
            return "cookie", ("good" if fact.is_valid else "bad") + (f": {fact.detail}" if fact.detail else ""), "queue"
        case TimeWaitEnded():
            return "state", f"TIME-WAIT ended: {fact.why}", "state"
        case ErrorReported():
            return "error", ("noted only: " if fact.is_soft else "for the program: ") + fact.text, "error"
        case PathMtuChanged():
            return "mtu", f"{fact.destination}: {fact.mtu} ({fact.why})", ""
        case _:
            return None


def _tagged(connection: str, names: _Names) -> str:
    """Write which connection it is, if there are several."""
    name = names.get(flow(connection), "") if connection else ""
    return f"{name} " if name else ""


def _segment(fact: SegmentSent | SegmentReceived) -> str:
    ack = f" ack={fact.ack}" if "." in fact.flags else ""
    mark = f" {fact.ecn}" if fact.ecn else ""
    return f"{fact.flags} seq={fact.seq}{ack} len={fact.length} wnd={fact.wnd}{mark}"


def _options(text: str) -> str:
    """Leave out the timestamps, which differ in every segment and inform no reader."""
    return ", ".join(part for part in text.split(",") if not part.startswith("TS "))


def _is_told(change: FieldChange) -> bool:
    """Tell a field's change if there was something before; the state is told by its own fact."""
    return change.field in _TOLD_FIELDS and change.before is not None


def _change(change: FieldChange) -> str:
    if change.field == "rto_ns" and isinstance(change.before, int) and isinstance(change.after, int):
        return f"rto {format_duration(change.before)} → {format_duration(change.after)}"
    return f"{change.field.removesuffix('_bytes')} {change.before} → {change.after}"


# --- words


def _time(at_ns: int) -> str:
    return format_duration(at_ns) if at_ns else "0"
