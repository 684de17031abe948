"""The congestion window and ssthresh: what sets them beside congestion control, and what becomes of an unused window.

A congestion control grows and shrinks the two by its own rules. Everything else that changes them is here, and others
ask for it: the first window, recovery (PRR), a timeout, taking back a false alarm, and rest (RFC 2861, RFC 7661's
principle).

As Linux's ``tcp_cwnd_validate``: the window counts as used while it, and not the program or the peer, is what holds
text back; in slow start also while it is less than twice what was in flight. One that was not used for a retransmission
timeout goes half the way down to what was, and a flow that rested begins again with the first window, unless
``tcp_slow_start_after_idle`` is off.
"""

from __future__ import annotations

from mypy_extensions import i32, i64

from estab.tcp.record.measured import Traffic
from estab.tcp.record.parts import traffic_of
from estab.tcp.record.tcb import CA_CWR, CA_OPEN, CA_RECOVERY, Tcb

__all__ = [
    "begin", "initial_cwnd", "note_limited", "restart_after_idle", "restore", "set_ssthresh", "set_window", "validate",
]


def begin(tcb: Tcb, cwnd_bytes: i64, now_ns: i64) -> None:
    """Start with a window, whose use is watched from now on."""
    tcb.cwnd_bytes = cwnd_bytes
    if tcb.traffic is not None or tcb.snd_una < tcb.snd_nxt:  # text of the SYN is in flight (Fast Open)
        tcb.traffic = Traffic(tcb.snd_nxt, now_ns, tcb.copied_seq, now_ns)


def set_window(tcb: Tcb, cwnd_bytes: i64) -> None:
    """Set cwnd, as a step of recovery says."""
    tcb.cwnd_bytes = cwnd_bytes


def set_ssthresh(tcb: Tcb, ssthresh_bytes: i64) -> None:
    """Set ssthresh, as congestion control answers to a loss or a mark."""
    tcb.ssthresh_bytes = ssthresh_bytes


def restore(tcb: Tcb, cwnd_bytes: i64, ssthresh_bytes: i64) -> None:
    """Bring both windows back to what they were before a false alarm, if they are lower now (RFC 4015 section 3.2)."""
    tcb.cwnd_bytes = max(tcb.cwnd_bytes, cwnd_bytes)
    tcb.ssthresh_bytes = max(tcb.ssthresh_bytes, ssthresh_bytes)


def note_limited(tcb: Tcb) -> None:
    """What was lost is still to be sent: the window holds it back."""
    tcb.is_cwnd_limited = True


def initial_cwnd(tcb: Tcb) -> i64:
    """Return the first congestion window in bytes (RFC 6928)."""
    segments = tcb.context.paths.initial_cwnd(tcb.remote)  # the route's
    if segments == 0:
        segments = tcb.context.config.tcp_initial_cwnd
    return segments * tcb.snd_mss()


def validate(tcb: Tcb, is_limited: bool, now_ns: i64) -> None:
    """Take note of a round of sending. ``is_limited``: the congestion window ended it."""
    traffic = traffic_of(tcb)
    out = tcb.snd_nxt - tcb.snd_una
    if tcb.snd_una >= traffic.usage_seq or is_limited or (not tcb.is_cwnd_limited and out > i64(tcb.max_out_bytes)):
        tcb.is_cwnd_limited = is_limited
        tcb.max_out_bytes = i32(out)
        traffic.usage_seq = tcb.snd_nxt
    if tcb.is_window_used():
        traffic.used_bytes = 0
        traffic.used_ns = now_ns
        return
    traffic.used_bytes = i32(max(i64(traffic.used_bytes), out))
    is_own_rule = tcb.is_sampled  # as BBR, which knows itself when it is limited by the program
    if tcb.context.config.tcp_slow_start_after_idle and now_ns - traffic.used_ns >= tcb.rto_ns and not is_own_rule:
        _shrink_unused(tcb, traffic, now_ns)


def _shrink_unused(tcb: Tcb, traffic: Traffic, now_ns: i64) -> None:
    """Go half the way to what was used (RFC 2861 section 3)."""
    if tcb.ca_state == CA_OPEN and not tcb.is_out_of_room:
        used = max(i64(traffic.used_bytes), initial_cwnd(tcb))
        if used < tcb.cwnd_bytes:
            tcb.ssthresh_bytes = _ssthresh_kept(tcb)
            tcb.cwnd_bytes = (tcb.cwnd_bytes + used) // 2
        traffic.used_bytes = 0
    traffic.used_ns = now_ns


def restart_after_idle(tcb: Tcb, now_ns: i64) -> None:
    """Begin again with the first window after an idle time: each timeout of silence halves the window down to it."""
    if not tcb.context.config.tcp_slow_start_after_idle or tcb.is_sampled or tcb.snd_nxt > tcb.snd_una:
        return
    rto_ns = tcb.rto_ns  # without its back-off, as in Linux
    rest_ns = now_ns - tcb.last_sent_ns
    if rest_ns <= rto_ns:
        return
    floor = min(initial_cwnd(tcb), tcb.cwnd_bytes)
    cwnd = tcb.cwnd_bytes
    tcb.ssthresh_bytes = _ssthresh_kept(tcb)
    rest_ns -= rto_ns
    while rest_ns > 0 and cwnd > floor:
        cwnd //= 2
        rest_ns -= rto_ns
    tcb.cwnd_bytes = max(cwnd, floor)
    traffic = traffic_of(tcb)
    traffic.used_bytes = 0
    traffic.used_ns = now_ns


def _ssthresh_kept(tcb: Tcb) -> i64:
    """Remember three quarters of a window that is given up without a loss."""
    if tcb.ca_state == CA_CWR or tcb.ca_state == CA_RECOVERY:
        return tcb.ssthresh_bytes
    return max(tcb.ssthresh_bytes, tcb.cwnd_bytes // 2 + tcb.cwnd_bytes // 4)
