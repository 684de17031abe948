"""Diagnoses a recording of the lab: what each host saw, as if it had been captured there.

Both ends are known, so a verdict says which host it is seen from; the sender's comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from estab.devices.capture_file import INBOUND, OUTBOUND, Captured
from estab.doctor.captures import diagnose_frames
from estab.doctor.finding import Report
from estab.events import Event, FrameReceived, FrameSent
from estab.observe.dissect import is_ethernet

__all__ = ["diagnose_facts", "frames_of"]

_ETHERNET, _RAW = 1, 228
_LOOPBACK = "lo"


def frames_of(facts: Iterable[Event], host: str) -> list[Captured]:
    """Return what a host sent and received on its links, in order."""
    found = []
    for fact in facts:
        if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == host and fact.interface != _LOOPBACK:
            kind = _ETHERNET if is_ethernet(fact.data) else _RAW
            direction = OUTBOUND if isinstance(fact, FrameSent) else INBOUND
            found.append(Captured(fact.at_ns, kind, fact.data, len(fact.data), direction=direction))
    return found


def _keep_timelines(report: Report, seen: Report) -> None:
    """Keep each transfer's phases once: as its sender saw them, if that is known."""
    for timeline in seen.timelines:
        at = next((number for number, one in enumerate(report.timelines)
                   if (one.subject, one.side) == (timeline.subject, timeline.side)), -1)
        if at < 0:
            report.timelines.append(timeline)
        elif timeline.is_at_sender:
            report.timelines[at] = timeline


def diagnose_facts(facts: Sequence[Event], source: str = "recording") -> Report:
    """Diagnose a run from its facts. A finding on which two hosts agree is reported once."""
    hosts = list(dict.fromkeys(fact.host for fact in facts if isinstance(fact, (FrameSent, FrameReceived))))
    report = Report(source)
    known: set[tuple[str, str]] = set()
    for host in hosts:
        seen = diagnose_frames(frames_of(facts, host), host)
        for finding in seen.findings:
            if (finding.name, finding.subject) not in known:
                known.add((finding.name, finding.subject))
                finding.evidence.append(f"seen from {host}")
                report.findings.append(finding)
        _keep_timelines(report, seen)
        for name, count in seen.looked_at.items():
            report.looked_at[name] = max(report.looked_at.get(name, 0), count)
    report.looked_at["hosts"] = len(hosts)
    report.findings.sort(key=lambda finding: finding.rank)
    return report
