"""Round-trip time and retransmission timeout (RFC 6298).

Samples come from segments sent once (Karn's rule) or from timestamps (RFC 7323 section 4), which tell for which
transmission an acknowledgment is.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.tcb import Tcb

__all__ = ["on_sample", "timeout_ns"]


def on_sample(tcb: Tcb, rtt_ns: i64) -> None:
    """Take one measurement into SRTT, RTTVAR and RTO. RFC 9293 MUST-18."""
    rtt_ns = max(rtt_ns, 1)
    tcb.rtt_ns = rtt_ns
    if tcb.min_rtt_ns == 0 or rtt_ns < tcb.min_rtt_ns:
        tcb.min_rtt_ns = rtt_ns
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


def timeout_ns(tcb: Tcb) -> i64:
    """Give the retransmission timeout with its back-off (RFC 6298 rule 5.5), at most ``tcp_rto_max_ns``."""
    most = tcb.context.config.tcp_rto_max_ns
    backoff = tcb.backoff
    if backoff > 30:
        return most
    return min(tcb.rto_ns << backoff, most)
