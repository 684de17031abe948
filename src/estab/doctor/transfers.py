"""Rules about a stream of text: what was lost or sent again, silence, closed windows, and what limits it."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Final

from estab.doctor.case import Case, packet_list
from estab.doctor.conversation import Segment
from estab.doctor.exchanges import rounds
from estab.doctor.finding import Finding
from estab.doctor.stream import Pause, Repeat, Stream
from estab.units import MS, SECOND, format_bytes, format_duration

__all__ = ["follows_acks", "limits", "losses", "queues", "silence", "windows"]

_CLOSED_NS_MIN: Final = 250 * MS
_BULK_BYTES: Final = 15_000
_FULL_BYTES_MIN: Final = 500
_MISSING_NS_MIN: Final = 1500 * MS
_BLOAT_NS: Final = 60 * MS
_BLOAT_TIMES: Final = 2.5
_RETRIES2_S: Final = 924.6
_TURNS_MAX: Final = 4
"""If the two sides alternate more often, it is an exchange, which ``exchanges`` judges."""


def silence(case: Case) -> list[Finding]:
    """Find text that is repeated in vain, to the end of the capture: a silent path, or an MTU black hole."""
    found = []
    for side in (0, 1):
        stream = case.streams[side]
        if (lost := _missing(case, stream)) is not None:
            found.append(lost)
            continue
        if not stream.unacked or (stream.zero_windows and not stream.zero_windows[-1].is_open):
            continue
        if any(one.is_rst for one in case.conversation.sides[1 - side].segments):
            continue
        texts = [one for one in stream.unacked if one.length]
        if not texts:
            continue
        times = Counter(one.seq for one in texts)
        most = max(times.values())
        first = min((one for one in texts if times[one.seq] == most), key=lambda one: (one.seq, one.number))
        tries = [one for one in texts if one.seq == first.seq]
        heard_ns = max((one.at_ns for one in case.conversation.sides[1 - side].segments), default=first.at_ns)
        hole = _black_hole(case, stream, first, tries)
        if hole is not None:
            found.append(hole)
            continue
        vain = [one for one in stream.unacked if one.at_ns > heard_ns + case.vantage.to(1 - side)]
        if len(tries) < 3 or len(vain) < 2:
            continue
        waits = ", ".join(f"{(one.at_ns - tries[0].at_ns) / SECOND:.3g} s" for one in tries[1:7])
        before = [one.at_ns for one in case.conversation.segments if one.number < tries[0].number]
        idle_ns = tries[0].at_ns - max(before) if before else 0
        evidence = [f"{packet_list(tries)}: the same text of the {case.end_of(side)}, sent again after {waits}",
                    f"nothing came back since {case.seconds(heard_ns):.3f} s"]
        if idle_ns > 30 * SECOND:
            evidence.append(f"the connection had been idle for {format_duration(idle_ns)}: a firewall or NAT may have "
                            "forgotten it")
        found.append(case.finding(
            "path-silent", evidence, tries[0].at_ns, case.end_ns, 1 - side,
            cost_s=(case.end_ns - tries[0].at_ns) / SECOND,
            notices=f"recv() and send() fail with ETIMEDOUT about {_RETRIES2_S} s after the text was first sent "
                    f"(tcp_retries2=15), at {case.seconds(tries[0].at_ns) + _RETRIES2_S:.0f} s; sooner with "
                    "TCP_USER_TIMEOUT"))
    return found


def _missing(case: Case, stream: Stream) -> Finding | None:
    """Tell a hole that is never filled while only small segments come: an MTU black hole, seen from its far side."""
    waited_ns = case.end_ns - stream.missing_ns
    if not stream.missing_ns or waited_ns < max(_MISSING_NS_MIN, 4 * case.rtt_ns) or stream.mss >= stream.full_bytes:
        return None
    return case.finding("mtu-black-hole", [
        f"text of the {case.end_of(stream.side)} is missing since {case.seconds(stream.missing_ns):.3f} s, and never "
        "comes",
        f"the largest segment that came has {stream.mss} bytes; full ones would have {stream.full_bytes}",
    ], stream.missing_ns, case.end_ns, -1, cost_s=waited_ns / SECOND, confidence="likely",
        notices="the reader waits in recv() for ever; the writer's side ends with ETIMEDOUT")


def _black_hole(case: Case, stream: Stream, first: Segment, tries: list[Segment]) -> Finding | None:
    """Tell a path that takes small segments only."""
    side = stream.side
    errors = [one for one in case.conversation.icmp if (not one.is_v6 and one.kind == 3 and one.code == 4)
              or (one.is_v6 and one.kind == 2)]
    if first.length < _FULL_BYTES_MIN or len(tries) < 3:
        return None
    arrived = [stream.largest_acked]
    peer = case.conversation.sides[1 - side]
    after = [one for one in peer.segments if one.at_ns > tries[0].at_ns + case.vantage.to(1 - side)]
    if max(arrived) >= first.length:
        return None
    is_first_full = all(one.length < first.length or one.seq >= first.seq
                        for one in case.conversation.sides[side].segments)
    if not is_first_full:
        return None
    # A round trip's worth of smaller segments did arrive, before or after.
    spoke = bool(after) or any(one.length for one in peer.segments) or stream.largest_acked > 0
    if not spoke:
        return None
    evidence = [f"{packet_list(tries)}: {first.length} bytes of text, sent {len(tries)} times, never acknowledged",
                (f"the largest that arrived had {stream.largest_acked} bytes" if stream.largest_acked else
                 "smaller packets of both ends pass")]
    evidence.extend(f"packet {one.number}: ICMP says that the next link takes {one.mtu} bytes" for one in errors[:1])
    if not errors:
        evidence.append("no ICMP came that says so")
    return case.finding("mtu-black-hole", evidence, tries[0].at_ns, case.end_ns, -1,
                        cost_s=(case.end_ns - tries[0].at_ns) / SECOND,
                        confidence="sure" if stream.largest_acked and after else "likely",
                        notices=f"like a silent path: ETIMEDOUT about {_RETRIES2_S} s after the text was first sent")


def windows(case: Case) -> list[Finding]:
    """Find receivers whose window was closed for long: their programs do not read."""
    found = []
    for side in (0, 1):
        stream = case.streams[side]
        closed_ns = sum(zero.to_ns - zero.from_ns for zero in stream.zero_windows)
        long = [zero for zero in stream.zero_windows if zero.to_ns - zero.from_ns >= _CLOSED_NS_MIN]
        last = stream.zero_windows[-1] if stream.zero_windows else None
        if not long and not (last is not None and not last.is_open and last.probes):
            if stream.zero_windows and not long:
                zero = stream.zero_windows[0]
                found.append(case.finding("window-limited", [
                    f"packet {zero.number}: the window of the {case.end_of(1 - side)} is closed, for "
                    f"{format_duration(closed_ns)} in all",
                    *_overrun(stream),
                ], zero.from_ns, zero.to_ns, 1 - side, cost_s=closed_ns / SECOND, confidence="likely"))
            continue
        zero = long[0] if long else stream.zero_windows[-1]
        is_mine = case.vantage.side == 1 - side
        probes = sum(one.probes for one in stream.zero_windows)
        evidence = [f"packet {zero.number}: the {case.end_of(1 - side)} offers no window, for "
                    f"{format_duration(closed_ns)} "
                    f"in all; {probes} probes"]
        is_dead = last is not None and not last.is_open
        evidence.append("still closed at the end of the capture" if is_dead else "it opened again")
        evidence.extend(_overrun(stream))
        found.append(case.finding(
            "not-reading" if is_mine else "peer-not-reading", evidence, zero.from_ns,
            last.to_ns if last is not None else zero.to_ns, 1 - side, cost_s=closed_ns / SECOND,
            notices="a writer blocks in send(), or select() says not writable; with TCP_USER_TIMEOUT it ends with "
                    "ETIMEDOUT, "
                    "without it never, as long as the probes are answered"))
    return found


def _overrun(stream: Stream) -> list[str]:
    """Say what came beyond the window."""
    if not stream.overrun:
        return []
    return [f"{packet_list(stream.overrun)}: beyond the window, so thrown away and sent again"]


def losses(case: Case) -> list[Finding]:
    """Judge what was sent again: lost, reordered, or needless."""
    found = []
    for side in (0, 1):
        stream = case.streams[side]
        lost, needless, late = stream.losses, stream.needless, stream.reordered
        stuck = {one.number for one in stream.unacked}
        lost = [one for one in lost if one.segment.number not in stuck]
        if not stream.segments:
            continue
        if len(late) >= 2 and len(late) + len(needless) >= len(lost):
            found.append(case.finding("reordering", [
                f"{packet_list(late)}: " + (
                    "came after later ones without having been sent again" if case.vantage.side != side
                    else "acknowledge what had been reported missing, without its being sent again"),
                *([f"{len(needless)} segments were sent again needlessly for it"] if needless else []),
            ], late[0].at_ns, late[-1].at_ns, cost_s=_cost(needless)))
            continue
        is_mostly = len(needless) > len(lost) or (
            len(needless) == len(lost) and not any(one.kind == "fast" for one in lost))
        if needless and is_mostly and (
                len(needless) > 1 or stream.needless_dsack or _is_timeout(needless)):
            first, last = needless[0].segment, needless[-1].segment
            how = "reported as duplicates (DSACK)" if stream.needless_dsack else "they had arrived before"
            found.append(case.finding("spurious-retransmission", [
                f"{packet_list([one.segment for one in needless])}: sent again, and {how}",
                f"{len(needless)} of {len(needless) + len(lost)} retransmissions were needless",
            ], first.at_ns, last.at_ns, side, cost_s=_cost(needless)))
            continue
        if lost:
            timeouts = [one for one in lost if one.kind == "timeout"]
            texts = {one.segment.seq for one in lost if one.segment.length}
            share = len(texts) / max(1, stream.segments)
            found.append(case.finding("loss", [
                f"{packet_list([one.segment for one in lost])}: sent again" + (
                    f"; {len(timeouts)} by timeout" if timeouts else "; found by duplicate acknowledgments (SACK)"),
                *([f"{len(texts)} of {stream.segments} segments with text ({share:.1%})"]
                  if 0 < len(texts) <= stream.segments else []),
            ], lost[0].first_ns, lost[-1].segment.at_ns, cost_s=_cost(lost)))
    return found


def _is_timeout(needless: list[Repeat]) -> bool:
    return any(one.segment.at_ns - one.first_ns >= 200 * MS for one in needless)


def _cost(repeats: list[Repeat]) -> float:
    """Sum the time from the first sending to the repetition; overlapping repairs count once."""
    total, until = 0, 0
    for one in sorted(repeats, key=lambda one: one.first_ns):
        start = max(one.first_ns, until)
        if one.segment.at_ns > start:
            total += one.segment.at_ns - start
            until = one.segment.at_ns
    return total / SECOND


def queues(case: Case) -> list[Finding]:
    """Find a round trip that grows to many times its shortest while a transfer runs."""
    stream = case.main
    if stream.bytes < _BULK_BYTES:
        return []
    samples = _round_trips(case, stream)
    if len(samples) < 8:
        return []
    # The handshake's round trip is the shortest that is known, also if the capture stands at the receiver.
    lengths = [length for _, length in samples]
    shortest = min([*lengths, case.rtt_ns] if case.rtt_ns else lengths)
    usual = int(median(lengths))
    high = [(at, length) for at, length in samples if length > max(_BLOAT_TIMES * shortest, shortest + _BLOAT_NS)]
    if len(high) < len(samples) * 0.4:
        return []
    return [case.finding("bufferbloat", [
        f"the round trip grows from {format_duration(shortest)} to {format_duration(max(lengths))}, "
        f"half of the time it is above {format_duration(usual)}",
        f"up to {format_bytes(stream.full_flight_bytes)} are in flight at "
        f"{format_bytes(int(stream.bytes * SECOND / max(1, stream.last_ns - stream.first_ns)))}/s",
    ], high[0][0], high[-1][0], cost_s=(usual - shortest) / SECOND * 3)]


def _round_trips(case: Case, stream: Stream) -> list[tuple[int, int]]:
    """Measure round trips with their queue: from text to its acknowledgment; at the receiver, by timestamps."""
    one_way = _one_way(case, stream) if case.vantage.side != stream.side else []
    if case.vantage.side == 1 - stream.side:
        return one_way
    answered = _without_delayed([(at, length) for at, length in stream.rtts if length > 0])
    # Between the two a queue may lie on either side of the capture.
    return max(answered, one_way, key=lambda samples: median(length for _, length in samples) if samples else 0)


def _one_way(case: Case, stream: Stream) -> list[tuple[int, int]]:
    """Measure at the receiver: how much later than at best each segment came after its timestamp was taken.

    The sender's clock ticks in milliseconds with nearly all systems; if it does not, nothing is measured.
    """
    points = [(one.at_ns, one.packet.ts_val) for one in case.conversation.sides[stream.side].segments
              if one.length and one.packet.ts_val >= 0]
    if len(points) < 8:
        return []
    elapsed_ns = points[-1][0] - points[0][0]
    ticks = (points[-1][1] - points[0][1]) % 2**32
    if not 0.6 * elapsed_ns < ticks * MS < 1.5 * elapsed_ns:
        return []
    delays = [(at_ns, at_ns - points[0][0] - ((ts - points[0][1]) % 2**32) * MS) for at_ns, ts in points]
    least = min(delay for _, delay in delays)
    return [(at_ns, case.rtt_ns + delay - least) for at_ns, delay in delays]


def _without_delayed(samples: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out single samples that a delayed acknowledgment made long."""
    return [(at, min(length, following)) for (at, length), (_, following) in zip(samples, samples[1:], strict=False)]


def limits(case: Case) -> list[Finding]:
    """Say what a transfer waited for most, with the share of its time, each with its period."""
    stream = case.main
    duration_ns = stream.last_ns - stream.first_ns
    if stream.bytes < _BULK_BYTES or duration_ns <= 0 or stream.segments < 12 or rounds(case) > _TURNS_MAX:
        return []
    spent: dict[str, list[Pause]] = {}
    for pause in stream.pauses:
        spent.setdefault(pause.why, []).append(pause)
    total = sum(pause.length_ns for pause in stream.pauses)
    shares = {why: sum(pause.length_ns for pause in pauses) / total for why, pauses in spent.items()} if total else {}
    itself = shares.get("self", 0.0)
    acked = shares.get("ack", 0.0) + shares.get("nagle", 0.0) + shares.get("burst", 0.0)
    name = follows_acks(case, stream)
    named = {"window-limited": shares.get("window", 0.0)}
    if name == "pacing-limited":
        named[name] = itself + acked
    else:
        named["application-limited"] = itself + shares.get("answer", 0.0)
        named[name] = acked
    found = []
    for name, share in sorted(named.items(), key=lambda item: -item[1]):
        if share >= 0.25:
            from_ns, to_ns = _period(stream, name)
            found.append(case.finding(name, _limit_evidence(case, stream, name), from_ns, to_ns,
                                      1 - stream.side if name == "window-limited" else stream.side,
                                      share=min(1.0, share), cost_s=share * duration_ns / SECOND))
    return found


_PERIODS: Final = {"window-limited": ("window",), "application-limited": ("self", "answer")}
"""The pauses that say when a limit held; the other limits hold for the whole transfer."""


def _period(stream: Stream, name: str) -> tuple[int, int]:
    """Say from when to when a limit held: nearly all of its pauses lie between."""
    pauses = [pause for pause in stream.pauses if pause.why in _PERIODS.get(name, ()) and pause.length_ns]
    if not pauses:
        return stream.first_ns, stream.last_ns
    edge = len(pauses) // 20
    return pauses[edge].from_ns, pauses[len(pauses) - 1 - edge].to_ns


def follows_acks(case: Case, stream: Stream) -> str:
    """Name what holds a sender up that goes on with each acknowledgment, or evenly: a pace, its buffer, the window."""
    if _is_paced(case, stream) or _is_spread(case, stream):
        return "pacing-limited"
    return "send-buffer-limited" if _is_flat(case, stream) else "congestion-limited"


def _limit_evidence(case: Case, stream: Stream, name: str) -> list[str]:
    rate = stream.bytes * SECOND / max(1, stream.last_ns - stream.first_ns)
    evidence = [f"{format_bytes(stream.bytes)} of the {case.end_of(stream.side)} at {format_bytes(int(rate))}/s"]
    if name == "window-limited":
        evidence.append(f"the window offered is {format_bytes(stream.window_bytes_max)} at most, the round trip "
                        f"{format_duration(case.rtt_ns)}")
    elif name == "send-buffer-limited":
        evidence.append(f"never more than {format_bytes(stream.full_flight_bytes)} in flight, of a window of "
                        f"{format_bytes(stream.window_bytes_max)}; no loss explains it")
    elif name == "application-limited":
        waits = [pause for pause in stream.pauses if pause.why in ("self", "answer")]
        evidence.append(f"{len(waits)} pauses with room in the window, the longest "
                        f"{format_duration(max((pause.length_ns for pause in waits), default=0))}")
    elif name == "pacing-limited":
        evidence.append("the segments leave evenly, whether acknowledgments come or not")
    return evidence


def _is_paced(case: Case, stream: Stream) -> bool:
    """Tell an even pace: full segments at even distances, while the round trip stays short."""
    if stream.losses and len(stream.losses) > 0.02 * stream.segments:
        return False
    gaps = [pause for pause in stream.pauses if pause.why != "burst"]
    if len(gaps) < 12:
        return False
    gaps = gaps[len(gaps) // 5:]
    full = [pause for pause in gaps if not pause.is_short]
    if len(full) < 0.75 * len(gaps):
        return False
    rtt_ns = case.rtt_ns
    lengths = sorted(pause.length_ns for pause in full)
    middle = lengths[len(lengths) // 2]
    even = [length for length in lengths if 0.6 * middle <= length <= 1.5 * middle]
    if len(even) < 0.7 * len(lengths):
        return False
    if case.vantage.side == stream.side:
        # Paced text does not wait for acknowledgments: most of it leaves by itself.
        itself = sum(pause.why == "self" for pause in full)
        return itself >= 0.4 * len(full)
    if 0.75 * rtt_ns <= middle <= 1.3 * rtt_ns:
        return False  # one burst a round trip: a window, or a buffer
    return not _has_queue(case, stream) and not _bursts(stream)


def _is_spread(case: Case, stream: Stream) -> bool:
    """Tell at the receiver whether text comes all the time: in each quarter of a round trip about as much."""
    rtt_ns = case.rtt_ns
    if rtt_ns < 4 * MS or stream.losses or case.vantage.side == stream.side or _has_queue(case, stream):
        return False
    bins: dict[int, int] = {}
    for at_ns, _ in stream.flights[len(stream.flights) // 4:]:
        at = at_ns * 4 // rtt_ns
        bins[at] = bins.get(at, 0) + 1
    if len(bins) < 12:
        return False
    first, last = min(bins), max(bins)
    counts = [bins.get(at, 0) for at in range(first, last + 1)]
    mean = sum(counts) / len(counts)
    return mean >= 1.5 and sum(0.4 * mean <= count <= 1.7 * mean for count in counts) >= 0.85 * len(counts)


def _has_queue(case: Case, stream: Stream) -> bool:
    """Tell whether round trips are mostly far above the shortest."""
    lengths = sorted(length for _, length in _round_trips(case, stream))
    return bool(lengths) and lengths[len(lengths) // 2] > 2.2 * max(case.rtt_ns, lengths[0])


def _bursts(stream: Stream) -> bool:
    """Tell whether many segments leave at once, then none for a while."""
    burst = sum(pause.why == "burst" for pause in stream.pauses)
    return burst > 0.6 * max(1, len(stream.pauses))


def _is_flat(case: Case, stream: Stream) -> bool:
    """Tell a flight that stays at one size below the window, for many round trips, without any loss."""
    if stream.losses or case.rtt_ns <= 0:
        return False
    tops: list[int] = []
    at_ns, top = stream.first_ns, 0
    for when_ns, flight in stream.flights:
        if when_ns - at_ns >= case.rtt_ns:
            tops.append(top)
            at_ns, top = when_ns, 0
        top = max(top, flight)
    if len(tops) < 6:
        return False
    later = tops[len(tops) // 4:]
    half = len(later) // 2
    usual = median(later)
    grows = median(later[half:]) > 1.2 * median(later[:half])
    even = sum(0.5 * usual <= top <= 2 * usual for top in later) >= 0.85 * len(later)
    is_below = usual < 0.8 * stream.window_bytes_max or not stream.window_bytes_max
    return even and not grows and is_below
