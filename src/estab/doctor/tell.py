"""Tells a report in lines of 80 columns: what was found, by what, for how long, when a program notices, what to do.

Findings of one cause are reported together: the first in full, then the other connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from estab.doctor.causes import CAUSES
from estab.doctor.finding import Finding, Report
from estab.observe.text import Line, Span, wrapped
from estab.units import SECOND, format_count, format_duration

__all__ = ["tell"]

_LABEL: Final = 10
_OTHERS: Final = 4
_PHASES: Final = 12
_TRANSFERS: Final = 3
_ROLES: Final = {"fault": "lost", "slow": "again", "limit": "queue", "artefact": "state", "note": "legend"}


def tell(report: Report, width: int = 80, *, has_cures: bool = True) -> list[Line]:
    """Write a report."""
    looked = ", ".join(_looked(name, count) for name, count in report.looked_at.items())
    lines: list[Line] = [(Span(report.source, "heading"), Span(f": {looked}" if looked else "", "legend"))]
    groups: dict[str, list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault(finding.name, []).append(finding)
    for group in groups.values():
        lines.append(())
        lines.extend(_group(group, width, has_cures))
    if not groups:
        is_empty = report.looked_at.get("tcp_packets") == 0
        lines.extend([(), (Span("nothing was judged" if is_empty else "nothing wrong was found", "finding"),)])
    lines.extend(_phases(report, width))
    if report.notes:
        lines.append(())
        for note in report.notes:
            lines.extend(_labelled("note", note, width))
    return lines


def _phases(report: Report, width: int) -> Iterator[Line]:
    """Tell the phases of the largest transfers that have more than one."""
    several = sorted((one for one in report.timelines if len(one.phases) > 1), key=lambda one: -one.bytes)
    for timeline in several[:_TRANSFERS]:
        yield ()
        yield Span("PHASES", "state"), Span("  "), Span(f"of the text of the {timeline.who}", "heading")
        if timeline.subject:
            yield from _labelled("where", timeline.subject, width)
        for phase in timeline.phases[:_PHASES]:
            time = f"{phase.from_s:.3f} s to {phase.to_s:.3f} s"
            yield (Span("  "), Span(time.ljust(max(len(time), 26)), "time"), Span(" "),
                   Span(CAUSES[phase.name].title, _ROLES[CAUSES[phase.name].kind]), Span(f", {phase.share:.0%} of it"))
        if len(timeline.phases) > _PHASES:
            yield Span("  "), Span(f"{len(timeline.phases) - _PHASES} more", "legend")
    if len(several) > _TRANSFERS:
        yield from _labelled("also", f"{len(several) - _TRANSFERS:,} more transfers have phases: --json has all", width)


def _looked(name: str, count: int) -> str:
    words = name.replace("_", " ").removesuffix("s").replace("tcp packet", "TCP packet")
    return f"{count:,} in TIME-WAIT" if name == "time_wait" else format_count(count, words)


def _group(group: list[Finding], width: int, has_cures: bool) -> Iterator[Line]:
    first = group[0]
    cause = first.cause
    kind = cause.kind.upper()
    when = _when(first)
    title = cause.title + (f" ({first.confidence})" if first.confidence != "sure" else "")
    room = max(0, width - len(kind) - 2 - len(title) - len(when))
    gap = " " * room if room else "  "
    yield Span(kind, _ROLES[cause.kind]), Span("  "), Span(title, "heading"), Span(gap), Span(when, "time")
    yield from _labelled("where", _where(first), width)
    for sentence in first.evidence:
        yield from _labelled("evidence", sentence, width)
    if first.share is not None:
        yield from _labelled("share", f"{first.share:.0%} of the time that there was something to send", width)
    if first.notices:
        yield from _labelled("notices", first.notices, width)
    if has_cures:
        for number, cure in enumerate(first.cures or cause.cures):
            yield from _labelled("" if number else "cures", cure, width)
    others = group[1:]
    for finding in others[:_OTHERS]:
        yield from _labelled("also", f"{_where(finding)} {_when(finding)}".rstrip(), width)
    if len(others) > _OTHERS:
        yield from _labelled("also", f"{len(others) - _OTHERS:,} more", width)


def _where(finding: Finding) -> str:
    parts = [finding.subject]
    if finding.process:
        parts.append(finding.process)
    elif finding.who and finding.who not in finding.subject:
        parts.append(f"by the {finding.who}" if finding.who[:6] in ("client", "server") else finding.who)
    return ", ".join(parts)


def _when(finding: Finding) -> str:
    """Say the period: of sockets, for how long until now; of captures, from when to when."""
    if finding.from_s is None or finding.to_s is None:
        return ""
    if finding.from_s <= 0 and finding.to_s == 0:
        return f"for {format_duration(int(-finding.from_s * SECOND))}" if finding.from_s else ""
    times = f"{len(finding.periods)} times, " if len(finding.periods) > 1 else ""
    return f"{times}{finding.from_s:.3f} s to {finding.to_s:.3f} s"


def _labelled(label: str, text: str, width: int) -> Iterator[Line]:
    for number, part in enumerate(wrapped(text, width - _LABEL - 2)):
        yield Span("  "), Span(("" if number else label).ljust(_LABEL), "label"), Span(part)
