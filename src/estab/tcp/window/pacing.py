"""The pace: at what rate text may leave, and how much of it at once.

Every connection has a rate, by which super-segments are sized. It is kept to if the congestion control asks for that
(BBR), if the program set SO_MAX_PACING_RATE, or on a host with ``tcp_pacing``, as under Linux's fq.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb
from estab.units import MS, NEVER, SECOND, US

__all__ = ["GSO_BYTES_MAX", "end_wait", "is_first_window", "must_wait", "note_sent", "super_segments"]

GSO_BYTES_MAX: Final = 65_215
"""The largest super-segment: Linux's ``sk_gso_max_size`` less the largest headers."""
_UNPACED: Final = 10
"""So many segments leave before pacing begins, as in Linux: the first window is a burst."""


def super_segments(tcb: Tcb, mss: i64) -> i64:
    """Return how many segments a super-segment may hold now (Linux's ``tcp_tso_autosize``).

    A millisecond's worth at the pace, and on a path shorter than 16 ms a share of the largest there is, half of it for
    each half millisecond; but no less than ``tcp_min_tso_segs``.
    """
    size = tcb.pace() // 1024
    steps = tcb.min_rtt_ns // US >> 9
    if steps < 32:
        size += GSO_BYTES_MAX >> steps
    return max(min(size, GSO_BYTES_MAX) // mss, tcb.context.config.tcp_min_tso_segs)


def must_wait(tcb: Tcb, now_ns: i64) -> bool:
    """Tell whether pacing holds text back: up to a millisecond's worth may go at once, then its time must pass."""
    ahead_ns = tcb.pace_ns - now_ns
    if ahead_ns <= 0:
        tcb.is_pacing = False
    elif ahead_ns > MS:
        tcb.is_pacing = True
    return tcb.is_pacing


def end_wait(tcb: Tcb, now_ns: i64) -> None:
    """Let text leave again if its time has come; there may be none by now (a tail loss probe does not wait)."""
    if tcb.pace_ns <= now_ns:
        tcb.is_pacing = False


def is_first_window(tcb: Tcb, ahead: i64) -> bool:
    """Tell whether the next segment, ``ahead`` others before it, is one of those that leave without a pace."""
    return tcb.pacing_rate == 0 and tcb.data_segs_out + ahead < _UNPACED


def note_sent(tcb: Tcb, length: i64, sent_ns: i64) -> None:
    """Set when the next text may leave, after ``length`` bytes at ``sent_ns``.

    What leaves later than it might have, for want of window or text, makes the next wait shorter by as much, up to half
    of it (Linux's ``tcp_update_skb_after_send``, and fq). We differ: not at a pace that the congestion control set. BBR
    loses much by it on lossy paths here.
    """
    late_ns = max(sent_ns - tcb.pace_ns, 0) if tcb.pacing_rate == 0 else 0
    pace_ns = max(tcb.pace_ns, sent_ns)
    rate = tcb.pace()
    if rate < NEVER and not is_first_window(tcb, 0):
        wait_ns = length * SECOND // max(rate, 1)
        pace_ns += wait_ns - min(wait_ns // 2, late_ns)
    tcb.wait_until(pace_ns)
