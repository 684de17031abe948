"""Round-trip time and retransmission timeout (RFC 6298).

Samples come from segments sent once (Karn's rule) or from timestamps (RFC 7323 section 4), which tell for which
transmission an acknowledgment is.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from estab.events import RttMeasured
from estab.tcp.record.measured import LaterMinima
from estab.tcp.record.tcb import Tcb
from estab.units import SECOND

__all__ = ["back_off", "begin_again", "end_backoff", "on_sample", "start_backoff", "timeout_ns"]

_RTO_AFTER_LOST_SYN_NS: Final = 3 * SECOND


def on_sample(tcb: Tcb, rtt_ns: i64) -> None:
    """Take one measurement into SRTT, RTTVAR and RTO. RFC 9293 MUST-18."""
    rtt_ns = max(rtt_ns, 1)
    tcb.rtt_ns = rtt_ns
    _note_minimum(tcb, rtt_ns)
    if tcb.srtt_ns == 0:
        tcb.srtt_ns = rtt_ns
        tcb.rttvar_ns = rtt_ns // 2
    else:
        error = tcb.srtt_ns - rtt_ns
        if error < 0:
            error = -error
        tcb.rttvar_ns += (error - tcb.rttvar_ns) // 4
        tcb.srtt_ns += (rtt_ns - tcb.srtt_ns) // 8
    config = tcb.context.config
    # The floor lies under the variance, as in Linux: a steady path of 50 ms waits 250 ms, not 200.
    rto = tcb.srtt_ns + max(4 * tcb.rttvar_ns, config.tcp_rto_min_ns)
    tcb.rto_ns = min(rto, config.tcp_rto_max_ns)
    context = tcb.context
    if context.observer is not None:
        context.tell(RttMeasured(
            context.now_ns, context.name, tcb.name(), rtt_ns, tcb.srtt_ns, tcb.rttvar_ns, tcb.rto_ns,
        ))


def _note_minimum(tcb: Tcb, rtt_ns: i64) -> None:
    """Keep the least of the last ``tcp_min_rtt_wlen``: Kathleen Nichols' filter of three samples, as Linux's minmax."""
    now_ns = tcb.context.now_ns
    if tcb.min_rtt_ns == 0 or rtt_ns <= tcb.min_rtt_ns:
        tcb.min_rtt_ns = rtt_ns
        tcb.min_rtt_at_ns = now_ns
        tcb.later_minima = None  # it counts for all three
        return
    later = tcb.later_minima
    if later is None:
        later = LaterMinima(tcb.min_rtt_ns, tcb.min_rtt_at_ns)
        tcb.later_minima = later
    window_ns = tcb.context.config.tcp_min_rtt_wlen_ns
    if rtt_ns <= later.second_rtt_ns:
        later.second_rtt_ns = rtt_ns
        later.second_rtt_at_ns = now_ns
        _third_rtt(later, rtt_ns, now_ns)
    elif rtt_ns <= later.third_rtt_ns:
        _third_rtt(later, rtt_ns, now_ns)
    age_ns = now_ns - tcb.min_rtt_at_ns
    if age_ns > window_ns:
        _next_minimum(tcb, later, rtt_ns, now_ns)
        if now_ns - tcb.min_rtt_at_ns > window_ns:
            _next_minimum(tcb, later, rtt_ns, now_ns)
    elif later.second_rtt_at_ns == tcb.min_rtt_at_ns and age_ns > window_ns // 4:
        later.second_rtt_ns = rtt_ns
        later.second_rtt_at_ns = now_ns
        _third_rtt(later, rtt_ns, now_ns)
    elif later.third_rtt_at_ns == later.second_rtt_at_ns and age_ns > window_ns // 2:
        _third_rtt(later, rtt_ns, now_ns)


def _next_minimum(tcb: Tcb, later: LaterMinima, rtt_ns: i64, now_ns: i64) -> None:
    tcb.min_rtt_ns = later.second_rtt_ns
    tcb.min_rtt_at_ns = later.second_rtt_at_ns
    later.second_rtt_ns = later.third_rtt_ns
    later.second_rtt_at_ns = later.third_rtt_at_ns
    _third_rtt(later, rtt_ns, now_ns)


def _third_rtt(later: LaterMinima, rtt_ns: i64, now_ns: i64) -> None:
    later.third_rtt_ns = rtt_ns
    later.third_rtt_at_ns = now_ns


def back_off(tcb: Tcb) -> None:
    """Double the timeout (RFC 6298 rule 5.5)."""
    tcb.backoff += 1


def end_backoff(tcb: Tcb) -> None:
    """Let the timeout be RTO again."""
    tcb.backoff = 0


def start_backoff(tcb: Tcb, count: i64) -> None:
    """Begin with a timeout that is doubled so often, as the SYN-ACK's was."""
    tcb.backoff = i32(count)


def begin_again(tcb: Tcb) -> None:
    """The SYN's timeout was too short or its answer lost: begin with three seconds (RFC 6298 rule 5.7)."""
    tcb.rto_ns = max(tcb.rto_ns, _RTO_AFTER_LOST_SYN_NS)
    tcb.backoff = 0


def timeout_ns(tcb: Tcb) -> i64:
    """Return the retransmission timeout with its back-off (RFC 6298 rule 5.5), at most ``tcp_rto_max_ns``."""
    most = tcb.context.config.tcp_rto_max_ns
    if tcb.backoff == 0:
        return min(tcb.rto_ns, most)
    if tcb.backoff > 30:
        return most
    return min(tcb.rto_ns << i64(tcb.backoff), most)
