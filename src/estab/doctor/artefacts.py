"""Rules about the capture itself: what looks like a fault, and is none of the connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from estab.doctor.case import Case, packet_list
from estab.doctor.finding import Finding
from estab.units import MS, format_bytes

__all__ = ["artefacts", "collisions"]

_COPY_NS_MAX: Final = 5 * MS
_BAD_SHARE: Final = 0.5
_UNSEEN_ACKS_MIN: Final = 3
_UNSEEN_SHARE: Final = 0.002


def artefacts(case: Case) -> list[Finding]:
    """Find what the capture did to one conversation."""
    found = []
    conversation = case.conversation
    first, last = conversation.segments[0].at_ns, conversation.segments[-1].at_ns
    if conversation.is_captured_twice:
        times = conversation.comparable / max(1, conversation.comparable - conversation.copies)
        found.append(case.finding("captured-twice", [
            f"{conversation.copies} packets stand in the file again within 2 ms, the same to the bit: each "
            f"{times:.1f} times",
        ], first, last))
    if not conversation.sides[1].segments or not conversation.sides[0].segments:
        acks = {one.ack for one in conversation.segments}
        if len(conversation.segments) > 3 and (len(acks) > 3 or len({one.seq for one in conversation.segments}) > 4):
            found.append(case.finding("one-way-capture", [
                f"{len(conversation.segments)} packets of one end, none of the other, and yet it goes on",
            ], first, last))
    else:
        found.extend(_unseen(case))
    found.extend(_offload(case))
    return found


def _unseen(case: Case) -> list[Finding]:
    unseen = [(stream.unseen_bytes, stream.unseen, stream) for stream in case.streams if stream.unseen_bytes > 0]
    if not unseen:
        return []
    count = sum(bytes_ for bytes_, _, _ in unseen)
    total = sum(stream.bytes for stream in case.streams) + count
    acks_count = sum(len(segments) for _, segments, _ in unseen)
    if not case.conversation.has_handshake and acks_count < _UNSEEN_ACKS_MIN:
        return []  # what was under way when the capture began
    if count < 2 and count < _UNSEEN_SHARE * total:
        return []
    acks = [segment for _, segments, _ in unseen for segment in segments]
    acks.sort(key=lambda one: one.number)
    return [case.finding("capture-dropped", [
        f"{packet_list(acks)}: acknowledge text that is not in the file ({format_bytes(count)} of "
        f"{format_bytes(total)})",
    ], acks[0].at_ns, acks[-1].at_ns)]


def _offload(case: Case) -> list[Finding]:
    shares = []
    for side in case.conversation.sides:
        known = [one for one in side.segments if one.packet.is_checksum_good is not None]
        bad = [one for one in known if one.packet.is_checksum_good is False]
        shares.append((len(bad) / len(known) if known else 0.0, bad))
    for at in (0, 1):
        share, bad = shares[at]
        if share >= _BAD_SHARE and len(bad) >= 2 and shares[1 - at][0] < 0.1:
            return [case.finding("checksum-offload", [
                f"{share:.0%} of the packets of the {case.end_of(at)} have a wrong checksum, and they are answered",
                "so the capture was taken on that machine",
            ], bad[0].at_ns, bad[-1].at_ns, at)]
    return []


def collisions(cases: Sequence[Case]) -> list[Finding]:
    """Find four-tuples that stand for several connections in different VLANs, or one that was captured in several."""
    ends: dict[frozenset[tuple[bytes, int]], list[Case]] = {}
    for case in cases:
        key = frozenset((side.address, side.port) for side in case.conversation.sides)
        ends.setdefault(key, []).append(case)
    found = []
    for theirs in ends.values():
        vlans = {case.conversation.vlans for case in theirs}
        if len(vlans) < 2:
            continue
        firsts: dict[tuple[int, ...], dict[tuple[int, int, int], int]] = {}
        for case in theirs:
            for one in case.conversation.segments:
                firsts.setdefault(case.conversation.vlans, {}).setdefault(
                    (one.side, one.packet.seq, one.packet.ack), one.at_ns)
        first, last = theirs[0], theirs[-1]
        where = ", ".join(" in ".join(str(one) for one in reversed(tags)) or "none" for tags in sorted(vlans))
        values = list(firsts.values())
        is_same = any(_is_copy(a, b) for at, a in enumerate(values) for b in values[at + 1:])
        name = "captured-twice" if is_same else "vlan-collision"
        found.append(Finding(name, first.conversation.name, [
            f"VLANs {where}: " + ("the same packets in each" if is_same else "each with sequence numbers of its own"),
        ], first.seconds(first.conversation.segments[0].at_ns), last.seconds(last.conversation.segments[-1].at_ns)))
    return found


def _is_copy(first: dict[tuple[int, int, int], int], second: dict[tuple[int, int, int], int]) -> bool:
    """Tell whether two VLANs show the same packets at the same time: one connection, captured at two places."""
    shared = first.keys() & second.keys()
    if len(shared) <= 0.5 * min(len(first), len(second)):
        return False
    lags = sorted(abs(first[key] - second[key]) for key in shared)
    return lags[len(lags) // 2] <= _COPY_NS_MAX
