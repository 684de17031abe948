"""When a transfer was held up by what: its phases, from when to when.

A verdict has a period: a connection is limited by its program now, and lossy later. Each pause between two new segments
has one reason (``stream``). Time is cut into bins of two round trips and more; a bin belongs to the reason that took
most of it, or to loss if repairs took ``_LOSS_SHARE`` of it. Bins of one reason in a row are a phase. What lasts for
one bin only belongs to the phase around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from estab.doctor.case import Case
from estab.doctor.finding import Finding, Phase, Timeline
from estab.doctor.stream import Pause, Stream
from estab.doctor.transfers import follows_acks
from estab.units import MS

__all__ = ["find_timelines", "with_periods"]

_BINS_MAX: Final = 100
_BIN_NS_MIN: Final = 10 * MS
_LOSS_SHARE: Final = 0.1
_LOSS_GAP_BINS: Final = 8
_BYTES_MIN: Final = 15_000
_SEGMENTS_MIN: Final = 12
_STOPS: Final = ("path-silent", "mtu-black-hole", "peer-not-reading", "not-reading")
"""Findings that are the whole reason for as long as they last."""
_REASONS: Final = {"window": "window-limited", "loss": "loss", "self": "application-limited",
                   "answer": "application-limited", "nagle": "nagle-delayed-ack"}

_Span = tuple[int, int, str]


def find_timelines(case: Case, findings: Sequence[Finding]) -> list[Timeline]:
    """Find the phases of each direction that carried much text, or any if it was stopped.

    ``findings``: what was found of this connection.
    """
    made = []
    stops = [finding for finding in findings if finding.name in _STOPS]
    for side, stream in enumerate(case.streams):
        is_short = (stream.bytes < _BYTES_MIN or stream.segments < _SEGMENTS_MIN
                    or stream.last_ns <= stream.first_ns)
        if is_short and not (stops and stream.bytes and stream is case.main):
            continue
        phases = _phases(case, stream, findings)
        if phases:
            made.append(Timeline(case.conversation.name, case.end_of(side), side, phases, stream.bytes,
                                 case.vantage.side == side))
    return made


def with_periods(findings: Sequence[Finding], timelines: Sequence[Timeline]) -> None:
    """Tell each finding in which phases it held; a limit's time is from the first to the last of them."""
    for finding in findings:
        phases = [phase for timeline in timelines if timeline.subject == finding.subject
                  for phase in timeline.phases if phase.name == finding.name]
        finding.periods = [(phase.from_s, phase.to_s) for phase in phases]
        if phases and finding.cause.kind == "limit":
            finding.from_s, finding.to_s = phases[0].from_s, phases[-1].to_s


def _phases(case: Case, stream: Stream, findings: Sequence[Finding]) -> list[Phase]:
    acked = follows_acks(case, stream)
    spans = [(pause.from_ns, pause.to_ns, _reason(pause, acked)) for pause in stream.pauses if pause.length_ns > 0]
    stops = [(case.start_ns + int((finding.from_s or 0) * 1e9), case.start_ns + int((finding.to_s or 0) * 1e9),
              finding.name) for finding in findings if finding.name in _STOPS]
    if not spans and not stops:
        return []
    begin_ns = spans[0][0] if spans else min(from_ns for from_ns, _, _ in stops)
    end_ns = max(until_ns for _, until_ns, _ in (*spans[-1:], *stops))
    width_ns = max((end_ns - begin_ns) // _BINS_MAX, 2 * case.rtt_ns, _BIN_NS_MIN)
    names = _joined(_bins(spans, stops, begin_ns, end_ns, width_ns))
    phases: list[Phase] = []
    at = 0
    while at < len(names):
        until = at
        while until < len(names) and names[until] == names[at]:
            until += 1
        from_ns = begin_ns if not phases else _edge(spans, stops, names[at], begin_ns + at * width_ns, width_ns)
        if phases:
            phases[-1] = _cut(phases[-1], case.seconds(from_ns))
        to_ns = min(end_ns, begin_ns + until * width_ns)
        phases.append(Phase(names[at], case.seconds(from_ns), case.seconds(to_ns),
                            _share([*spans, *stops], names[at], from_ns, to_ns)))
        at = until
    return phases


def _reason(pause: Pause, acked: str) -> str:
    """Name the cause of a pause. ``acked``: what holds the sender up that goes on with each acknowledgment."""
    if pause.why == "self" and acked == "pacing-limited" and not pause.is_short:
        return acked
    if pause.why == "ack" and pause.is_short and acked == "congestion-limited":
        # After a segment that was not full nothing was left to send, whatever came before the next one left.
        return "application-limited"
    return _REASONS.get(pause.why, acked)


def _cut(phase: Phase, to_s: float) -> Phase:
    return Phase(phase.name, phase.from_s, max(phase.from_s, to_s), phase.share)


def _bins(spans: list[_Span], stops: list[_Span], begin_ns: int, end_ns: int, width_ns: int) -> list[str]:
    """Name each bin by what took most of it; an empty name where nothing did."""
    took: list[dict[str, int]] = [{} for _ in range(max(1, -(-(end_ns - begin_ns) // width_ns)))]
    for from_ns, to_ns, name in (*spans, *stops):
        weight = 1000 if (from_ns, to_ns, name) in stops else 1
        for at in range(max(0, (from_ns - begin_ns) // width_ns), len(took)):
            left_ns = begin_ns + at * width_ns
            if left_ns >= to_ns:
                break
            both_ns = min(to_ns, left_ns + width_ns) - max(from_ns, left_ns)
            if both_ns > 0:
                took[at][name] = took[at].get(name, 0) + weight * both_ns
    return [_name(one) for one in took]


def _name(took: dict[str, int]) -> str:
    total = sum(took.values())
    if not total:
        return ""
    most = max(took, key=lambda name: took[name])
    is_lossy = took.get("loss", 0) >= _LOSS_SHARE * total and most not in _STOPS
    return "loss" if is_lossy else most


def _joined(names: list[str]) -> list[str]:
    """Join bins: losses that follow each other soon are one phase; what lasts one bin is part of what is around it."""
    lossy = [at for at, name in enumerate(names) if name == "loss"]
    for first, second in zip(lossy, lossy[1:], strict=False):
        between = set(names[first + 1:second])
        if second - first <= _LOSS_GAP_BINS and not between & {"application-limited", "window-limited", *_STOPS}:
            names[first:second] = ["loss"] * (second - first)
    for at, name in enumerate(names):
        before = names[at - 1] if at else ""
        after = names[at + 1] if at + 1 < len(names) else ""
        is_alone = name not in (before, after) and name not in _STOPS and len(names) > 1
        if not name or (is_alone and before and (before == after or not after or at + 1 == len(names))):
            names[at] = before or name
        elif is_alone and after:
            names[at] = before or after
    for at in range(len(names) - 2, -1, -1):
        if not names[at]:
            names[at] = names[at + 1]
    return names


def _edge(spans: list[_Span], stops: list[_Span], name: str, near_ns: int, width_ns: int) -> int:
    """Say when a phase began: with the first pause of its reason that reaches into its first bin."""
    for from_ns, to_ns, reason in (*stops, *spans):
        if reason == name and near_ns - width_ns < to_ns and to_ns > near_ns:
            return max(near_ns - width_ns, min(from_ns, near_ns + width_ns))
    return near_ns


def _share(spans: list[_Span], name: str, from_ns: int, to_ns: int) -> float:
    took_ns = sum(max(0, min(to_ns, until_ns) - max(from_ns, since_ns)) for since_ns, until_ns, reason in spans
                  if reason == name)
    return min(1.0, took_ns / max(1, to_ns - from_ns))
