"""Rules about requests and answers: whose program is slow, how long the path is, Nagle against delayed ACKs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from estab.doctor.case import Case, packet_list
from estab.doctor.finding import Finding
from estab.units import MS, SECOND, format_duration

__all__ = ["nagle", "rounds", "waits"]

_THINKS_NS_MIN: Final = 200 * MS
_LONG_NS: Final = 130 * MS
_TRIPS_SHARE: Final = 0.35
_STALLS_SHARE: Final = 0.3
_STALL_NS_MIN: Final = 15 * MS


@dataclass(slots=True)
class _Turn:
    """Text of one side, until the other side sends."""

    side: int
    first_ns: int
    last_ns: int
    first_number: int
    last_number: int
    bytes: int = 0


def waits(case: Case) -> list[Finding]:
    """Say where the time between requests and answers goes."""
    turns = _turns(case)
    if not turns:
        return []
    thinks: tuple[list[tuple[int, int, _Turn, _Turn]], list[tuple[int, int, _Turn, _Turn]]] = ([], [])
    for before, turn in zip(turns, turns[1:], strict=False):
        think_ns = turn.first_ns - before.last_ns - case.vantage.to(turn.side)
        if think_ns > 0:
            thinks[turn.side].append((think_ns, before.last_ns, before, turn))
    found = []
    trips = len(turns) // 2
    for side, name in ((1, "slow-server"), (0, "slow-client")):
        slow = [one for one in thinks[side] if one[0] >= max(_THINKS_NS_MIN, 2 * case.rtt_ns)]
        if not slow:
            continue
        total_ns = sum(one[0] for one in slow)
        longest = max(slow, key=lambda one: one[0])
        acked = _acked_within(case, longest[2], side)
        way_ns = case.vantage.to(side)
        what = "request and answer" if side == 1 else "answer and next request"
        path = f", without the path's {format_duration(way_ns)}" if way_ns >= MS else ""
        evidence = [f"packet {longest[2].last_number} to {longest[3].first_number}: {format_duration(longest[0])} "
                    f"between {what}{path}"]
        if acked is not None:
            after = "at once" if acked - way_ns < MS else f"after {format_duration(acked)}"
            evidence.append(f"its TCP acknowledged the text {after}")
        evidence.append(f"{len(slow)} of {max(1, len(thinks[side]))} waits, {format_duration(total_ns)} in all")
        found.append(case.finding(name, evidence, slow[0][1], slow[-1][3].first_ns, side, cost_s=total_ns / SECOND,
                                  notices="the other end's recv() waits; no timer of TCP's is running",
                                  parameters={"think_ms": round(total_ns / len(slow) / 1e6, 1)}))
    trips_ns = case.rtt_ns * (trips + 1)
    lasts_ns = turns[-1].last_ns - case.conversation.segments[0].at_ns
    if case.rtt_ns >= _LONG_NS and trips >= 1 and trips_ns >= _TRIPS_SHARE * lasts_ns:
        found.append(case.finding("long-path", [
            f"a round trip takes {format_duration(case.rtt_ns)}; {trips + 1} of them are {format_duration(trips_ns)}",
        ], turns[0].first_ns, turns[-1].last_ns, cost_s=trips_ns / SECOND))
    return found


def rounds(case: Case) -> int:
    """Count how often the two sides alternated."""
    return len(_turns(case))


def _turns(case: Case) -> list[_Turn]:
    turns: list[_Turn] = []
    for segment in case.conversation.segments:
        if not segment.length or segment.is_syn or segment.is_rst:
            continue
        if segment.length == 1 and case.streams[segment.side].probes:
            continue
        if turns and turns[-1].side == segment.side:
            turn = turns[-1]
            turn.last_ns, turn.last_number = segment.at_ns, segment.number
        elif len(turns) > 1 and segment.end <= _top(turns, segment.side):
            continue
        else:
            turn = _Turn(segment.side, segment.at_ns, segment.at_ns, segment.number, segment.number)
            turns.append(turn)
        turn.bytes = max(turn.bytes, segment.end)
    return turns


def _top(turns: list[_Turn], side: int) -> int:
    return max((turn.bytes for turn in turns if turn.side == side), default=0)


def _acked_within(case: Case, before: _Turn, side: int) -> int | None:
    """Measure how soon the slow side's TCP acknowledged; ``None`` if only the answer did."""
    for segment in case.conversation.sides[side].segments:
        if segment.number > before.last_number:
            return segment.at_ns - before.last_ns if segment.is_pure_ack and segment.ack >= before.bytes else None
    return None


def nagle(case: Case) -> list[Finding]:
    """Find small writes that waited for a delayed acknowledgment."""
    found = []
    for side in (0, 1):
        stream = case.streams[side]
        stalls = [
            pause for pause in stream.pauses
            if pause.why == "nagle" and pause.length_ns >= case.rtt_ns + _STALL_NS_MIN
            and pause.length_ns <= case.rtt_ns + 400 * MS and pause.segment.length < stream.full_bytes
        ]
        itself = sum(pause.why == "self" for pause in stream.pauses)
        if len(stalls) < _STALLS_SHARE * (len(stalls) + itself) or not stalls:
            continue
        lengths = sorted(pause.length_ns for pause in stalls)
        cost_ns = sum(lengths) - len(lengths) * case.rtt_ns
        found.append(case.finding("nagle-delayed-ack", [
            f"{packet_list([pause.segment for pause in stalls])}: left only when the acknowledgment of the small "
            "segment "
            "before them came",
            f"{len(stalls)} stalls of {format_duration(lengths[len(lengths) // 2])}, the round trip is "
            f"{format_duration(case.rtt_ns)}",
        ], stalls[0].from_ns, stalls[-1].to_ns, side, cost_s=cost_ns / SECOND,
            confidence="sure" if len(stalls) > 1 else "possible",
            notices="never: each exchange is late by the other end's delayed-ACK timer (40 ms on Linux, 200 ms "
                    "elsewhere)"))
    return found
