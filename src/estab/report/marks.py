"""Bookmarks: the moments of a run that are worth a look, found by rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from estab.report.columns import AGAIN
from estab.report.tables import HELD, Tables
from estab.units import MS, format_duration

__all__ = ["Mark", "marks", "question"]

_STALLS: Final = frozenset(HELD.index(name) for name in (
    "send buffer", "peer's window", "program not reading", "loss recovery", "path dead", "waits for the timer",
))
_CUTS_MAX: Final = 12
_SILENCE_NS_MIN: Final = 100 * MS


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of time with a name. ``conn`` is -1 if it is about no connection."""

    name: str
    from_ns: int
    until_ns: int
    conn: int = -1
    side: int = 0


def question(tables: Tables) -> int:
    """Choose the connection in question: the one that carried most, of those that a host is known to have opened.

    -1 if there is none.
    """
    best = max(tables.conns, default=None,
               key=lambda conn: (max(conn.bytes), conn.hosts[0] >= 0, conn.frames, -conn.number))
    return -1 if best is None else best.number


def marks(tables: Tables) -> list[Mark]:
    """Find the bookmarks of a run, in order of time."""
    found = [*_cuts(tables), *_first_loss(tables), *_first_again(tables), *_longest_stall(tables),
             *_first_timeout(tables), *_first_overflow(tables)]
    return sorted(found, key=lambda mark: (mark.from_ns, mark.name))


def _around(name: str, from_ns: int, until_ns: int, conn: int = -1, side: int = 0) -> Mark:
    """Frame a stretch with some time before and after."""
    room = max((until_ns - from_ns) // 8, 20 * MS)
    return Mark(name, max(0, from_ns - room), until_ns + room, conn, side)


def _cuts(tables: Tables) -> list[Mark]:
    bands = [band for band in tables.bands if band.until_ns != band.from_ns]
    return [_around(f"{band.link} {band.text}", band.from_ns, tables.end_ns if band.until_ns < 0 else band.until_ns)
            for band in bands[:_CUTS_MAX]]


def _first_loss(tables: Tables) -> list[Mark]:
    frame = tables.columns["frame"]
    lost = {number for word, number in tables.words["fate"].items() if word.startswith("lost")}
    if not lost:
        return []
    rows = [row for row, fate in enumerate(frame["fate"]) if fate in lost]
    with_text = next((row for row in rows if frame["len"][row] > 0), rows[0] if rows else -1)
    if with_text < 0:
        return []
    at_ns = frame["t"][with_text]
    conn, side, seq = frame["conn"][with_text], frame["side"][with_text], frame["seq"][with_text]
    until_ns = next((frame["t"][row] for row in range(with_text + 1, len(frame["t"])) if frame["conn"][row] == conn
                     and frame["side"][row] == side and frame["seq"][row] == seq and frame["bits"][row] & 1), at_ns)
    return [_around("first loss", at_ns, until_ns, conn, side)]


def _first_again(tables: Tables) -> list[Mark]:
    """Find the first text that was sent again: a capture does not tell what was lost."""
    frame = tables.columns["frame"]
    if not tables.is_capture:
        return []
    row = next((row for row, bits in enumerate(frame["bits"]) if bits & AGAIN and frame["len"][row] > 0), -1)
    if row < 0:
        return []
    conn, side, seq, at_ns = frame["conn"][row], frame["side"][row], frame["seq"][row], frame["t"][row]
    since_ns = next((frame["t"][one] for one in range(row) if frame["conn"][one] == conn and frame["side"][one] == side
                     and frame["seq"][one] == seq and frame["len"][one] > 0), at_ns)
    return [_around("first retransmission", since_ns, at_ns, conn, side)]


def _longest_silence(tables: Tables) -> tuple[int, int, int]:
    """Find how long text was in flight and nothing of it was acknowledged: length, begin, end of the connection."""
    flow = tables.columns["flow"]
    waits: dict[int, tuple[int, int]] = {}
    best = (0, 0, 0)
    for at_ns, end, una, nxt in zip(flow["t"], flow["end"], flow["una"], flow["nxt"], strict=True):
        if end in waits and waits[end][1] != una:
            since_ns = waits.pop(end)[0]
            best = max(best, (at_ns - since_ns, since_ns, end))
        if nxt > una:
            waits.setdefault(end, (at_ns, una))
    for end, (since_ns, _) in waits.items():
        best = max(best, (tables.end_ns - since_ns, since_ns, end))
    return best if best[0] >= _SILENCE_NS_MIN else (0, 0, 0)


def _longest_stall(tables: Tables) -> list[Mark]:
    best = _longest_silence(tables) if tables.is_capture else _longest_hold(tables)
    lasted_ns, begin_ns, end = best
    if lasted_ns == 0:
        return []
    name = f"longest stall, {format_duration(lasted_ns)}"
    return [_around(name, begin_ns, begin_ns + lasted_ns, end // 2, end % 2)]


def _longest_hold(tables: Tables) -> tuple[int, int, int]:
    """Find how long a sender was held up by other things than its program and the congestion window."""
    held = tables.columns["held"]
    since: dict[int, int] = {}
    best = (0, 0, 0)
    for at_ns, end, kind in zip(held["t"], held["end"], held["kind"], strict=True):
        if kind in _STALLS:
            since.setdefault(end, at_ns)
        elif end in since:
            begin_ns = since.pop(end)
            best = max(best, (at_ns - begin_ns, begin_ns, end))
    for end, begin_ns in since.items():
        best = max(best, (tables.end_ns - begin_ns, begin_ns, end))
    return best


def _first_timeout(tables: Tables) -> list[Mark]:
    timer = tables.columns["timer"]
    wanted = {number for word, number in tables.words["note"].items() if word.startswith("retransmit")}
    row = next((row for row, what in enumerate(timer["what"]) if what in wanted), -1)
    if row < 0:
        return []
    return [_around("first timeout", timer["t"][row], timer["t"][row], timer["end"][row] // 2, timer["end"][row] % 2)]


def _first_overflow(tables: Tables) -> list[Mark]:
    backlog = tables.columns["backlog"]
    wanted = {number for word, number in tables.words["note"].items() if "overflow" in word or word == "evicted"}
    row = next((row for row, what in enumerate(backlog["what"]) if what in wanted), -1)
    return [] if row < 0 else [_around("listener's queue overflows", backlog["t"][row], backlog["t"][row])]
