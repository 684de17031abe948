"""Rules about the opening of a connection: no answer, a refusal, queues that are full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from estab.doctor.case import Case, packet_list
from estab.doctor.conversation import Segment
from estab.doctor.finding import Finding
from estab.units import MS, SECOND, format_duration

__all__ = ["End", "flood", "full_servers", "openings", "scan"]

_SCAN_TARGETS_MIN: Final = 15
_SCAN_FAILED_SHARE: Final = 0.7
_FLOOD_MIN: Final = 40
_FLOOD_SHARE: Final = 0.6
_WAITED_SHARE: Final = 0.3
_WAITED_NS_MIN: Final = 900 * MS
_GIVEN_UP_NS: Final = SECOND
"""A client whose SYN was not sent again had given up by then."""
_ICMP_TEXT: Final = {0: "network", 1: "host", 2: "protocol", 3: "port", 9: "network by policy", 10: "host by policy",
                     13: "by a filter"}


End = tuple[bytes, int]


def openings(case: Case, busy: Mapping[End, Sequence[int]], full: set[End]) -> list[Finding]:
    """Judge the opening. ``busy``: when handshakes began that a server (address, port) completed; ``full``:
    those that ignore handshakes which are done.
    """
    conversation = case.conversation
    client, server = conversation.sides
    syns = [one for one in client.segments if one.is_syn]
    answers = [one for one in server.segments if one.is_syn]
    if not syns:
        return []
    refusals = [one for one in server.segments if one.is_rst]
    if refusals and not answers:
        return [_refused(case, syns, refusals)]
    unreachable = [one for one in conversation.icmp if not answers and one.kind in (1, 3)
                   and not (one.kind == 3 and one.code == 4 and not one.is_v6)]
    if unreachable:
        error = unreachable[0]
        what = _ICMP_TEXT.get(error.code, f"code {error.code}")
        return [case.finding("port-unreachable", [
            f"packet {error.number}: {error.source} says that the destination is unreachable ({what})",
        ], syns[0].at_ns, error.at_ns, 1, notices="at once: connect() fails with EHOSTUNREACH or ECONNREFUSED")]
    if not answers:
        return _unanswered(case, syns, busy.get((server.address, server.port), ()))
    return _answered(case, syns, answers, (server.address, server.port) in full)


def full_servers(cases: Sequence[Case]) -> set[End]:
    """Name servers that are there and take no more: by handshakes that they ignore, or by many SYNs that had to wait.

    One SYN that was sent again is a loss; a third of all, to a server that answers the rest, is none.
    """
    by_server: dict[End, list[Case]] = {}
    for case in cases:
        server = case.conversation.sides[1]
        by_server.setdefault((server.address, server.port), []).append(case)
    found = set()
    for end, theirs in by_server.items():
        waited = sum(_waited(case) for case in theirs)
        is_there = any(case.conversation.sides[1].has_syn for case in theirs)
        is_slow = is_there and waited >= 2 and waited >= _WAITED_SHARE * len(theirs)
        if is_slow or any(_ignores_ack(case) for case in theirs):
            found.add(end)
    return found


def _ignores_ack(case: Case) -> bool:
    """Tell whether the server repeats its SYN-ACK although the handshake is done."""
    return any(finding.name == "accept-queue-full" for finding in openings(case, {}, set()))


def _waited(case: Case) -> bool:
    """Tell whether a SYN was sent again before it had an answer."""
    syns = [one for one in case.conversation.sides[0].segments if one.is_syn]
    answers = [one for one in case.conversation.sides[1].segments if one.is_syn or one.is_rst]
    return len(syns) > 1 and (not answers or syns[1].at_ns < answers[0].at_ns)


def _refused(case: Case, syns: list[Segment], refusals: list[Segment]) -> Finding:
    return case.finding("refused", [
        f"{packet_list(refusals)}: a reset in answer to the SYN ({packet_list(syns)})",
    ], syns[0].at_ns, refusals[-1].at_ns, 1,
        notices=f"at once: connect() failed with ECONNREFUSED after "
                f"{format_duration(refusals[0].at_ns - syns[0].at_ns)}")


def _unanswered(case: Case, syns: list[Segment], taken_ns: Sequence[int]) -> list[Finding]:
    """Judge SYNs without an answer. ``taken_ns``: when the handshakes began that the same port completed."""
    ends = [one for one in case.conversation.sides[0].segments if one.is_fin or one.is_rst]
    waited_ns = max(syns[-1].at_ns, case.end_ns if len(syns) > 1 else 0) - syns[0].at_ns
    if len(syns) < 2 and case.end_ns - syns[0].at_ns < _WAITED_NS_MIN:
        return []
    if ends and len(syns) < 3:
        return [case.finding("closed-while-connecting", [
            f"packet {ends[0].number}: the client ended it {format_duration(ends[0].at_ns - syns[0].at_ns)} after its "
            "SYN, before any answer",
        ], syns[0].at_ns, ends[0].at_ns, 0)]
    times = ", ".join(f"{(one.at_ns - syns[0].at_ns) / SECOND:.3g} s" for one in syns[1:7])
    evidence = [f"{packet_list(syns)}: SYN" + (f", again after {times}" if times else "") + "; no packet came back"]
    notices = ("connect() fails with ETIMEDOUT when tcp_syn_retries (6) are used up, about 131 s after the first SYN "
               "(127 s before Linux 6.5), or when the program's own timeout ends it")
    soon = [at_ns for at_ns in taken_ns if 0 < at_ns - syns[0].at_ns < _GIVEN_UP_NS]
    if len(syns) == 1 and soon:
        return [case.finding("closed-while-connecting", [
            f"packet {syns[0].number}: SYN, never sent again: the client gave up before a SYN is repeated, after 1 s",
            f"the same port took a SYN {format_duration(soon[0] - syns[0].at_ns)} later: this one, or its answer, was "
            "lost",
        ], syns[0].at_ns, syns[0].at_ns, 0, confidence="likely")]
    if taken_ns:
        evidence.append("the same port answered other SYNs in this capture: it is there, and takes no more")
        return [case.finding("accept-queue-full", evidence, syns[0].at_ns, syns[0].at_ns + waited_ns, 1,
                             notices=notices, cost_s=waited_ns / SECOND, confidence="likely")]
    return [case.finding("syn-unanswered", evidence, syns[0].at_ns, syns[0].at_ns + waited_ns, 1, notices=notices,
                         cost_s=waited_ns / SECOND)]


def _answered(case: Case, syns: list[Segment], answers: list[Segment], is_full: bool) -> list[Finding]:
    conversation = case.conversation
    acks = [one for one in conversation.sides[0].segments if not one.is_syn and one.ack >= 1]
    found = []
    fins = [one for one in conversation.sides[0].segments if one.is_fin and one.at_ns < answers[0].at_ns]
    if fins:
        found.append(case.finding("closed-while-connecting", [
            f"packet {fins[0].number}: FIN {format_duration(fins[0].at_ns - syns[0].at_ns)} after the SYN; the answer "
            f"came in packet {answers[0].number}, after {format_duration(answers[0].at_ns - syns[0].at_ns)}",
        ], syns[0].at_ns, answers[0].at_ns, 0))
    given_up = next((one for one in conversation.sides[0].segments if one.is_rst and one.at_ns >= answers[0].at_ns),
                    None)
    if given_up is not None and not acks:
        return [*found, case.finding("closed-while-connecting", [
            f"packet {given_up.number}: the client's reset to the SYN-ACK (packet {answers[0].number}): its program "
            f"had given up before that came, {format_duration(answers[0].at_ns - syns[0].at_ns)} after the SYN",
        ], syns[0].at_ns, given_up.at_ns, 0,
            notices="its program gave up itself: connect() timed out, or close() was called")]
    repeated = [one for one in answers[1:] if acks and one.at_ns > acks[0].at_ns + case.vantage.to(1)]
    is_sure = len(repeated) >= 2 or (repeated and case.vantage.side == 1)
    ignored = [one for one in conversation.sides[0].segments if one.length and repeated and
               one.at_ns < repeated[-1].at_ns]
    if repeated and (is_sure or ignored):
        found.append(case.finding("accept-queue-full", [
            f"{packet_list(repeated)}: the SYN-ACK again, although the handshake's last ACK (packet {acks[0].number}) "
            f"{'had arrived' if case.vantage.side == 1 else 'was sent'}",
            *([f"text of the client ({packet_list(ignored)}) is ignored meanwhile"] if ignored else []),
        ], acks[0].at_ns, repeated[-1].at_ns, 1, cost_s=(repeated[-1].at_ns - acks[0].at_ns) / SECOND,
            notices="the client's connect() has returned; its first recv() waits",
            confidence="sure" if is_sure else "likely"))
    elif len(syns) > 1 and syns[1].at_ns < answers[0].at_ns and is_full:
        found.append(case.finding("accept-queue-full", [
            f"{packet_list(syns)}: the SYN had to be sent {len(syns)} times; the port ignores others that are done",
        ], syns[0].at_ns, answers[0].at_ns, 1, cost_s=(answers[0].at_ns - syns[0].at_ns) / SECOND,
            confidence="possible", notices=f"connect() took {format_duration(answers[0].at_ns - syns[0].at_ns)}"))
    elif len(syns) > 1 and syns[1].at_ns < answers[0].at_ns:
        found.append(case.finding("loss", [
            f"{packet_list(syns)}: the SYN or its answer was lost, it had to be sent {len(syns)} times",
        ], syns[0].at_ns, answers[0].at_ns, cost_s=(answers[0].at_ns - syns[0].at_ns) / SECOND, confidence="likely"))
    return found


def scan(cases: Sequence[Case]) -> list[Finding]:
    """Find addresses that try many ports or hosts in vain."""
    tried: dict[bytes, list[Case]] = {}
    for case in cases:
        if case.conversation.sides[0].has_syn:
            tried.setdefault(case.conversation.sides[0].address, []).append(case)
    found = []
    for theirs in tried.values():
        targets = {(case.conversation.sides[1].address, case.conversation.sides[1].port) for case in theirs}
        failed = [case for case in theirs if not case.streams[0].bytes and not case.streams[1].bytes]
        if len(targets) < _SCAN_TARGETS_MIN or len(failed) < _SCAN_FAILED_SHARE * len(theirs):
            continue
        first, last = theirs[0], theirs[-1]
        refused = sum(any(one.is_rst for one in case.conversation.sides[1].segments) for case in theirs)
        made = Finding("scan", first.conversation.sides[0].text.rpartition(":")[0], [
            f"{len(theirs)} SYNs to {len(targets)} ports or hosts, {refused} refused, {len(failed)} without any text",
        ], first.seconds(first.conversation.segments[0].at_ns), last.seconds(last.conversation.segments[-1].at_ns),
            who=first.conversation.sides[0].text.rpartition(":")[0])
        found.append(made)
    return found


def flood(cases: Sequence[Case]) -> list[Finding]:
    """Find listeners whose handshakes mostly do not end."""
    by_server: dict[tuple[bytes, int], list[Case]] = {}
    for case in cases:
        server = case.conversation.sides[1]
        if case.conversation.sides[0].has_syn:
            by_server.setdefault((server.address, server.port), []).append(case)
    found = []
    for theirs in by_server.values():
        dead = [case for case in theirs if not any(
            not one.is_syn and one.ack >= 1 for one in case.conversation.sides[0].segments)
            and not any(one.is_rst for one in case.conversation.sides[1].segments)]
        if len(dead) < _FLOOD_MIN or len(dead) < _FLOOD_SHARE * len(theirs):
            continue
        answered = sum(case.conversation.sides[1].has_syn for case in dead)
        sources = {case.conversation.sides[0].address for case in dead}
        first, last = dead[0], dead[-1]
        name = first.conversation.sides[1].text
        found.append(Finding("syn-flood", name, [
            f"{len(dead)} of {len(theirs)} handshakes with {name} never ended, from {len(sources)} addresses",
            f"{answered} of them were answered by a SYN-ACK, none of those by an ACK",
        ], first.seconds(first.conversation.segments[0].at_ns), last.seconds(last.conversation.segments[-1].at_ns),
            who=name))
    return found
