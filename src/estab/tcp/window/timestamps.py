"""The timestamps option (RFC 7323): our clock, and what of the peer's clock is remembered.

Our clock ticks once a millisecond and starts at an offset of its own for each pair of addresses.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb
from estab.units import MS, SECOND
from estab.wire.tcp import Segment

__all__ = ["begin", "clock", "elapsed_ticks", "is_from_the_past", "is_older", "remember", "take_newer"]

_IDLE_NS: Final = 24 * 24 * 3600 * SECOND
"""A peer's timestamp says nothing of order any more after so long (RFC 7323 section 5.5)."""


def clock(now_ns: i64, offset: i64) -> i64:
    """Return TSval at ``now_ns``, 32 bits, of a connection whose clock starts at ``offset``."""
    return (now_ns // MS + offset) & 0xFFFFFFFF


def elapsed_ticks(now_ns: i64, offset: i64, echo: i64) -> i64:
    """Return how many ticks ago, modulo 2**32, our clock showed the echoed TSecr."""
    return (now_ns // MS + offset - echo) & 0xFFFFFFFF


def is_older(ts_val: i64, ts_recent: i64) -> bool:
    """Tell whether the peer's timestamp lies before the one remembered (RFC 7323 section 5.2)."""
    return ((ts_val - ts_recent) & 0xFFFFFFFF) > 0x7FFFFFFF


def begin(tcb: Tcb, ts_val: i64, now_ns: i64) -> None:
    """Remember the first timestamp of the peer, its SYN's."""
    tcb.ts_recent = ts_val
    tcb.ts_recent_ns = now_ns


def is_from_the_past(tcb: Tcb, segment: Segment, now_ns: i64) -> bool:
    """Tell whether PAWS calls a segment old, unless the connection was idle for too long to say (section 5)."""
    return is_older(segment.ts_val, tcb.ts_recent) and now_ns - tcb.ts_recent_ns < _IDLE_NS


def remember(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Keep the timestamp to echo, unless it is from the past (section 4.3, rule 2). The caller knows its place."""
    if not is_older(segment.ts_val, tcb.ts_recent) or now_ns - tcb.ts_recent_ns >= _IDLE_NS:
        tcb.ts_recent = segment.ts_val
        tcb.ts_recent_ns = now_ns


def take_newer(tcb: Tcb, segment: Segment) -> None:
    """Echo the timestamp of a SYN that the peer repeats, if it is newer."""
    if tcb.has_timestamps and segment.has_timestamps and not is_older(segment.ts_val, tcb.ts_recent):
        tcb.ts_recent = segment.ts_val
