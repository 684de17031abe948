"""Diagnoses a recording of the lab: what each host saw, as if it had been captured there.

Both ends are known, so a verdict says which host it is seen from; the sender's comes first. What no capture shows, a
recording does: packets that a host's own queue dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from estab.devices.capture_file import INBOUND, OUTBOUND, Captured
from estab.doctor.captures import diagnose_frames
from estab.doctor.finding import Finding, Report
from estab.errors import DropReason
from estab.events import Event, FrameReceived, FrameSent, HostChanged, PacketDropped
from estab.observe.dissect import is_ethernet
from estab.units import SECOND, format_count

__all__ = ["diagnose_facts", "frames_of"]

_ETHERNET, _RAW = 1, 228
_LOOPBACK = "lo"
_DROPS_MIN = 3
"""Fewer packets that a connection lost in its own host are no reason for anything."""


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


def _dropped_locally(facts: Sequence[Event]) -> list[Finding]:
    """Find connections whose packets their own host's queue dropped."""
    drops: dict[tuple[str, str], list[PacketDropped]] = {}
    for fact in facts:
        if isinstance(fact, PacketDropped) and fact.reason is DropReason.QDISC_DROP:
            drops.setdefault((fact.host, fact.connection), []).append(fact)
    start_ns = next((fact.at_ns for fact in facts if isinstance(fact, (FrameSent, FrameReceived))), 0)
    found = []
    for (host, connection), those in drops.items():
        if len(those) >= _DROPS_MIN:
            evidence = [f"{format_count(len(those), 'packet')} dropped before leaving the host: {those[0].detail} "
                        "(QDISC_DROP)", f"seen from {host}"]
            from_s, to_s = (max(0, one.at_ns - start_ns) / SECOND for one in (those[0], those[-1]))
            found.append(Finding("dropped-locally", connection or host, evidence, from_s, to_s, host))
    return found


def _quiet_until(facts: Sequence[Event], end_ns: int) -> int:
    """Return until when connections stayed as their last packets left them: a host without power has none any more."""
    last_ns = max((fact.at_ns for fact in facts if isinstance(fact, (FrameSent, FrameReceived))), default=0)
    return next((fact.at_ns for fact in facts if isinstance(fact, HostChanged) and fact.what == "power off"
                 and fact.at_ns >= last_ns), end_ns)


def diagnose_facts(facts: Sequence[Event], source: str = "recording", end_ns: int = 0) -> Report:
    """Diagnose a run from its facts. A finding on which two hosts agree is reported once.

    ``end_ns`` is when the recording ended: it may go on after the last fact.
    """
    until_ns = _quiet_until(facts, end_ns)
    hosts = list(dict.fromkeys(fact.host for fact in facts if isinstance(fact, (FrameSent, FrameReceived))))
    report = Report(source)
    known: set[tuple[str, str]] = set()
    for host in hosts:
        seen = diagnose_frames(frames_of(facts, host), host, until_ns)
        for finding in seen.findings:
            if (finding.name, finding.subject) not in known:
                known.add((finding.name, finding.subject))
                finding.evidence.append(f"seen from {host}")
                report.findings.append(finding)
        _keep_timelines(report, seen)
        for name, count in seen.looked_at.items():
            report.looked_at[name] = max(report.looked_at.get(name, 0), count)
    report.findings.extend(_dropped_locally(facts))
    report.looked_at["hosts"] = len(hosts)
    report.findings.sort(key=lambda finding: finding.rank)
    return report
