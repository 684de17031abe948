"""Dynamic right-sizing: the receive buffer grows with what the program takes in a round trip, as Linux's.

A receiver that only acknowledges has no round trip of its own to measure. Two things tell it: the timestamp that the
peer echoes with each full segment, and, without timestamps, how long it takes a whole window to arrive.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from estab.tcp.record.measured import Traffic
from estab.tcp.record.tcb import Tcb
from estab.tcp.window.timestamps import elapsed_ticks
from estab.units import MS
from estab.wire.tcp import Segment

__all__ = ["begin", "measure", "wanted_buffer"]

_SPACE_BYTES_MAX: Final = 0x7FFFFFFF


def begin(tcb: Tcb, space_bytes: i64, now_ns: i64) -> None:
    """Text may come from now on; ``space_bytes`` a round trip are no reason to grow."""
    tcb.tune_space_bytes = i32(space_bytes)
    if tcb.traffic is not None:
        tcb.traffic.tune_ns = now_ns


def measure(tcb: Tcb, traffic: Traffic, segment: Segment, now_ns: i64) -> None:
    """Take a segment with text as a measure of the round trip (Linux's tcp_rcv_rtt_measure and _measure_ts)."""
    if tcb.has_timestamps and segment.has_timestamps:
        _measure_echo(tcb, traffic, segment, now_ns)
    if traffic.rcv_rtt_since_ns == 0:
        _time_window(tcb, traffic, now_ns)
    elif tcb.rcv_nxt >= traffic.rcv_rtt_seq:
        # A window took so long: only ever a bound from above, as the peer may have paused.
        sample_ns = max(now_ns - traffic.rcv_rtt_since_ns, 1000)
        if traffic.rcv_rtt_ns == 0 or sample_ns < traffic.rcv_rtt_ns:
            traffic.rcv_rtt_ns = sample_ns
        _time_window(tcb, traffic, now_ns)


def _time_window(tcb: Tcb, traffic: Traffic, now_ns: i64) -> None:
    traffic.rcv_rtt_seq = max(tcb.rcv_adv, tcb.rcv_nxt)
    traffic.rcv_rtt_since_ns = now_ns


def _measure_echo(tcb: Tcb, traffic: Traffic, segment: Segment, now_ns: i64) -> None:
    """Measure by the echo, once for each, and only with full segments: others may have waited for the program."""
    if segment.ts_ecr == traffic.rcv_rtt_echo:
        return
    traffic.rcv_rtt_echo = segment.ts_ecr
    if segment.end - segment.start < tcb.rcv_mss or segment.ts_ecr == 0:
        return
    ticks = elapsed_ticks(now_ns, tcb.ts_offset, segment.ts_ecr)
    if ticks > 0x7FFFFFFF:
        return
    sample_ns = max(ticks, 1) * MS
    if traffic.rcv_rtt_ns == 0 or sample_ns < traffic.rcv_rtt_ns:
        traffic.rcv_rtt_ns = sample_ns
    elif tcb.rcv_nxt == tcb.copied_seq:  # unread text delays the acknowledgments, and so the echo
        traffic.rcv_rtt_ns += (sample_ns - traffic.rcv_rtt_ns) // 8


def wanted_buffer(tcb: Tcb, now_ns: i64) -> i64:
    """After the program read: give the buffer that a sender at this rate fills, 0 if nothing is to change.

    Twice what was read in the last round trip, for slow start doubles it, and more if the rate grows still faster;
    twice again, as half of a buffer is window.
    """
    config = tcb.context.config
    traffic = tcb.traffic
    if traffic is None:
        return 0
    rtt_ns = traffic.rcv_rtt_ns
    if rtt_ns == 0 or now_ns - traffic.tune_ns < rtt_ns:
        return 0
    copied = tcb.copied_seq - traffic.tune_seq - tcb.unread_bytes()  # what waits unread came too late to count
    before = i64(tcb.tune_space_bytes)
    wanted: i64 = 0
    if copied > before:
        tcb.tune_space_bytes = i32(min(copied, _SPACE_BYTES_MAX))
        if config.tcp_moderate_rcvbuf and not tcb.options.is_receive_buffer_fixed and not tcb.context.memory.is_pressed:
            window = 2 * copied + 16 * tcb.rcv_mss
            if before > 0:
                window += 2 * (window * min(copied - before, before) // before)
            wanted = min(2 * window, config.tcp_rmem[2])
    traffic.tune_ns = now_ns
    traffic.tune_seq = tcb.copied_seq
    if wanted > tcb.receive_buffer_bytes:
        return wanted
    return 0
