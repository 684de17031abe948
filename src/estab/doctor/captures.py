"""Diagnoses a capture: every connection in it, from wherever it was taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, BinaryIO, Final

from estab.devices.capture_file import Captured, CaptureError, read_capture
from estab.devices.decapsulate import link_type_text
from estab.doctor.artefacts import artefacts, collisions
from estab.doctor.case import Case, open_case
from estab.doctor.conversation import Conversation, conversations
from estab.doctor.endings import close_unanswered, close_wait, injected, resets
from estab.doctor.exchanges import nagle, waits
from estab.doctor.finding import Finding, Report
from estab.doctor.openings import End, flood, full_servers, openings, scan
from estab.doctor.packets import read_packets
from estab.doctor.phases import find_timelines, with_periods
from estab.doctor.transfers import limits, losses, queues, silence, windows
from estab.units import SECOND, format_count

__all__ = ["diagnose_capture", "diagnose_frames", "examine"]

_HIDES: Final = {
    "vlan-collision": frozenset[str](),
    "capture-dropped": frozenset({"loss", "reordering", "spurious-retransmission", "nagle-delayed-ack", "slow-server",
                                  "slow-client", "congestion-limited", "application-limited", "reset-unread-data",
                                  "bufferbloat", "pacing-limited", "send-buffer-limited", "window-limited"}),
    "one-way-capture": frozenset({"path-silent", "mtu-black-hole", "syn-unanswered", "loss", "close-unanswered",
                                  "accept-queue-full", "spurious-retransmission"}),
    "mtu-black-hole": frozenset({"path-silent", "loss", "spurious-retransmission", "reordering", "close-unanswered"}),
    "path-silent": frozenset({"close-unanswered", "slow-server", "slow-client", "reset", "reset-unread-data"}),
    "close-unanswered": frozenset({"reset", "reset-unread-data"}),
    "peer-not-reading": frozenset({"slow-client", "slow-server", "window-limited", "application-limited", "path-silent",
                                   "loss", "spurious-retransmission", "congestion-limited"}),
    "not-reading": frozenset({"slow-client", "slow-server", "window-limited", "application-limited", "path-silent",
                              "loss", "spurious-retransmission", "congestion-limited"}),
    "injected": frozenset({"reset", "reset-unread-data", "half-open", "keepalive-race", "write-after-close",
                           "spurious-retransmission", "close-wait", "path-silent", "loss"}),
    "half-open": frozenset({"slow-client", "reset", "slow-server"}),
    "keepalive-race": frozenset({"slow-client", "reset", "slow-server", "reset-unread-data", "close-wait"}),
    "reset-unread-data": frozenset({"reset", "close-wait"}),
    "scan": frozenset({"refused", "syn-unanswered", "reset", "closed-while-connecting", "port-unreachable", "loss",
                       "accept-queue-full", "syn-flood", "half-open", "reset-unread-data"}),
    "syn-flood": frozenset({"accept-queue-full", "syn-unanswered", "loss", "closed-while-connecting",
                            "one-way-capture", "reset", "spurious-retransmission"}),
    "accept-queue-full": frozenset({"slow-server", "slow-client", "spurious-retransmission", "loss", "path-silent",
                                    "half-open", "reset", "reset-unread-data", "close-wait"}),
    "close-wait": frozenset({"slow-client", "slow-server", "half-open", "reset", "reset-unread-data"}),
    "bufferbloat": frozenset({"congestion-limited", "send-buffer-limited", "pacing-limited", "window-limited"}),
    "nagle-delayed-ack": frozenset({"application-limited"}),
}
"""What a finding explains: others of the same connection that are only its effects."""
Passing = Callable[[Iterable[Captured], BinaryIO], Iterable[Captured]]
_UNREADABLE: Final = frozenset({"capture-dropped", "one-way-capture", "captured-twice", "vlan-collision"})
_WHOLE: Final = frozenset({"scan", "syn-flood"})
"""Findings about many connections, that explain those of each."""


def diagnose_capture(path: str | PathLike[str], passing: Passing | None = None) -> Report:
    """Diagnose a capture file. ``OSError`` if it can't be read, ``CaptureError`` if it is none.

    ``passing`` is given the frames and the open file, and passes the frames on: to show how far it is.
    """
    with open(path, "rb") as file:
        try:
            reader = read_capture(file)
            report = diagnose_frames(reader if passing is None else passing(reader, file), os.fspath(path))
        except CaptureError as error:
            raise CaptureError(f"{os.fspath(path)}: {error}") from None
    if reader.cut:
        report.notes.append(f"the file is cut short: {reader.cut}; what is before the cut was used")
    if reader.dropped_count:
        report.notes.append(f"the capture says that it lost {format_count(reader.dropped_count, 'packet')}")
    return report


def diagnose_frames(frames: Iterable[Captured], source: str = "capture", until_ns: int = 0) -> Report:
    """Diagnose frames. ``until_ns`` is when nobody looked any more, if that is known to be after the last of them."""
    packets = read_packets(frames)
    report = Report(source)
    if not packets.tcp and packets.unknown_link_types:
        kinds = ", ".join(link_type_text(one) for one in sorted(packets.unknown_link_types))
        raise CaptureError(f"nothing in it can be read: {kinds}")
    start_ns = packets.tcp[0].at_ns if packets.tcp else 0
    end_ns = max((packet.at_ns for packet in packets.tcp), default=0)
    cases = [open_case(conversation, start_ns, end_ns, until_ns) for conversation in conversations(packets) if
             conversation.segments]
    report.looked_at = {"frames": packets.frames, "tcp_packets": len(packets.tcp), "connections": len(cases)}
    whole = [*scan(cases), *flood(cases)]
    report.findings = [*whole, *collisions(cases)]
    busy = _busy(cases)
    full = full_servers(cases)
    for case in cases:
        found = _explained(examine(case, busy, full), whole)
        timelines = [] if _hides_phases(found) else find_timelines(case, found)
        with_periods(found, timelines)
        report.findings.extend(found)
        report.timelines.extend(timelines)
    report.findings.sort(key=lambda finding: finding.rank)
    report.notes.extend(_notes(cases))
    if packets.left_out:
        report.left_out.append(f"{packets.left_out:,} of {packets.frames:,} frames were not looked at: the first "
                               f"{len(packets.tcp):,} segments were, which are {(end_ns - start_ns) / SECOND:.3f} s")
        report.notes.extend(report.left_out)
    return report


def examine(case: Case, busy: Mapping[End, Sequence[int]], full: set[End]) -> list[Finding]:
    """Apply every rule to one connection; what is only the effect of another finding is left out."""
    found: list[Finding] = []
    found += [*artefacts(case), *openings(case, busy, full), *injected(case), *resets(case), *close_wait(case)]
    found += [*close_unanswered(case), *silence(case), *windows(case), *losses(case), *queues(case), *nagle(case)]
    found += [*waits(case), *limits(case)]
    names = {finding.name for finding in found}
    hidden = {name for finding in names for name in _HIDES.get(finding, ())}
    kept = [finding for finding in found if finding.name not in hidden]
    for finding in kept:
        finding.parameters = {**_parameters(case, finding), **finding.parameters}
    return kept


def _parameters(case: Case, finding: Finding) -> dict[str, Any]:
    """Return what a twin of the case needs, as it was measured."""
    stream = case.main
    lasts_ns = max(1, stream.last_ns - stream.first_ns)
    first, second = case.conversation.sides
    syns = [one.packet for side in (first, second) for one in side.segments if one.is_syn]
    segments = max(1, stream.segments)
    return {
        "rtt_ms": round(case.rtt_ns / 1e6, 3) or 20.0, "loss": round(min(0.5, len(stream.losses) / segments), 5),
        "bytes": stream.bytes, "window_bytes": stream.window_bytes_max, "flight_bytes": stream.full_flight_bytes,
        "mss": stream.mss, "rate_bps": int(stream.bytes * 8 * SECOND / lasts_ns) if stream.bytes > 10_000 else 0,
        "has_timestamps": all(packet.ts_val >= 0 for packet in syns) if syns else True,
        "has_sack": all(packet.has_sack_permitted for packet in syns) if syns else True,
        "reorder": round(min(0.5, len(stream.reordered) / segments), 5), "largest": stream.largest_acked,
        "stalls": sum(pause.why == "nagle" for pause in stream.pauses) or 20,
        "spike_ms": 800 if finding.name == "spurious-retransmission" else 0,
    }


def _hides_phases(found: list[Finding]) -> bool:
    """Tell whether the capture lacks so much of a connection that why it paused can't be read off."""
    return any(finding.name in _UNREADABLE for finding in found)


def _explained(found: list[Finding], whole: list[Finding]) -> list[Finding]:
    hidden = {name for finding in whole for name in _HIDES.get(finding.name, ())}
    return [finding for finding in found if finding.name not in hidden]


def _busy(cases: list[Case]) -> dict[End, list[int]]:
    """Return when the handshakes began that each server completed in the capture."""
    found: dict[End, list[int]] = {}
    for case in cases:
        if _is_established(case.conversation):
            server = case.conversation.sides[1]
            began_ns = next(one.at_ns for one in case.conversation.segments if one.is_syn)
            found.setdefault((server.address, server.port), []).append(began_ns)
    return found


def _is_established(conversation: Conversation) -> bool:
    return conversation.has_handshake and any(
        not one.is_syn and one.ack >= 1 for one in conversation.sides[0].segments)


def _notes(cases: list[Case]) -> list[str]:
    """Say where the capture was taken, and what can't be known from there."""
    if not cases:
        return ["there is no TCP in it"]
    largest = max(cases, key=lambda case: len(case.conversation.segments))
    notes = [f"{largest.conversation.name} was {largest.vantage.text}"]
    side = largest.main.side
    if largest.vantage.side == 1 - side and largest.main.bytes:
        notes.append("from the receiver: why the sender waits (congestion window, send buffer, pace) is guessed from "
                     "when "
                     "its segments come; what was lost before the capture shows as holes only")
    elif largest.vantage.side == side and largest.main.bytes:
        notes.append("from the sender: what the receiving program does shows only in its window")
    without = sum(not any(side.has_syn for side in case.conversation.sides) for case in cases)
    if without:
        notes.append(f"{format_count(without, 'connection')} began before the capture: window scales are not known "
                     "there, so "
                     "nothing is said about windows but that they are closed")
    return notes
