"""What a timer that runs out does: retransmit, probe, give up (RFC 9293 sections 3.8.3, 3.8.4, 3.8.6.1, 3.6).

Nothing is sent from here: what must be sent is noted, and ``output`` sends it.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.events import TimerFired
from estab.tcp.arriving import fastopen_client, fastopen_server, transitions
from estab.tcp.receiving import acknowledging
from estab.tcp.record.control import SSTHRESH_INFINITE
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.record.timer_table import (
    TIMER_DELAYED_ACK,
    TIMER_FIN_WAIT_2,
    TIMER_KEEPALIVE,
    TIMER_NAMES,
    TIMER_PERSIST,
    TIMER_PROBE,
    TIMER_REORDER,
    TIMER_RTO,
    TIMER_SYN_ACK,
)
from estab.tcp.recovery import mtu_search, rack, recovery
from estab.tcp.window import pacing, silence
from estab.tcp.window.rtt import back_off, end_backoff, timeout_ns
from estab.units import MS, format_duration

__all__ = ["on_deadline"]

_THIN_LINEAR_RETRIES: Final = 6
_ORPHAN_RETRIES: Final = 8
"""What 0 means for ``tcp_orphan_retries``, as on Linux."""


def on_deadline(tcb: Tcb, now_ns: i64) -> None:
    """Do what the timers that ran out by ``now_ns`` ask for."""
    if tcb.delack_ns <= now_ns and acknowledging.on_timer(tcb):
        tcb.context.counters.TcpExtDelayedACKs += 1
        _tell_timer(tcb, TIMER_DELAYED_ACK, "")
    if tcb.retransmit_ns <= now_ns:
        _on_retransmit_timer(tcb, now_ns)
    if tcb.persist_ns <= now_ns:
        _on_persist_timer(tcb, now_ns)
    if tcb.keepalive_ns <= now_ns:
        _on_keepalive_timer(tcb, now_ns)
    pacing.end_wait(tcb, now_ns)
    if tcb.linger_ns <= now_ns:
        _tell_timer(tcb, TIMER_FIN_WAIT_2, "no FIN from the peer")
        transitions.finish(tcb, "FIN-WAIT-2 timed out")


def _tell_timer(tcb: Tcb, timer: i64, detail: str) -> None:
    """Tell the observer that a timer ran out."""
    context = tcb.context
    if context.observer is not None:
        context.tell(TimerFired(context.now_ns, context.name, tcb.name(), TIMER_NAMES[timer], detail))


def _on_retransmit_timer(tcb: Tcb, now_ns: i64) -> None:
    tcb.disarm(TIMER_RTO)
    kind = tcb.timer_kind
    if kind == TIMER_SYN_ACK:
        _tell_timer(tcb, TIMER_RTO, "the SYN-ACK is not acknowledged")
        fastopen_server.on_timer(tcb, now_ns)
        return
    if tcb.in_flight_count() == 0:
        return
    if kind == TIMER_PROBE:
        _tell_timer(tcb, TIMER_PROBE, "the tail of the flight is not acknowledged")
        rack.on_probe_timer(tcb, now_ns)
        return
    if kind == TIMER_REORDER:
        _tell_timer(tcb, TIMER_REORDER, "a segment is late")
        recovery.on_reorder_timer(tcb, now_ns)
        return
    is_hopeless = _is_hopeless(tcb, now_ns)
    if tcb.fast_open is not None:
        fastopen_client.note_timeout(tcb, tcb.fast_open, now_ns, is_hopeless=is_hopeless)
    if is_hopeless:
        _give_up(tcb, now_ns)
        return
    silence.count_timeout(tcb, now_ns)
    config = tcb.context.config
    if i64(tcb.retries) == config.tcp_retries1:
        # RFC 9293 MUST-20, SHLD-9: at R1 tell IP, and note a soft error for the program.
        tcb.context.paths.suspect(tcb.remote)
        transitions.tell_soft_error(tcb, errno.ETIMEDOUT, f"{tcb.retries} retransmissions unanswered")
    if i64(tcb.retries) > config.tcp_retries1 and tcb.state != abi.SYN_SENT:
        mtu_search.on_timeout(tcb, now_ns)
    _back_off(tcb)
    _tell_timer(tcb, TIMER_RTO, f"{tcb.retries} without an answer")
    recovery.on_timeout(tcb, now_ns)
    rack.arm_rto(tcb, now_ns)


def _back_off(tcb: Tcb) -> None:
    """Double the timeout (RFC 6298 rule 5.5), but for the first of a SYN's and those of a thin stream, if set so.

    A stream is thin that has less than four segments in flight: too few for duplicates to show a loss.
    """
    config = tcb.context.config
    if tcb.state == abi.SYN_SENT and troubles_of(tcb).timeouts <= config.tcp_syn_linear_timeouts:
        return
    is_thin = tcb.state == abi.ESTABLISHED and tcb.in_flight_count() < 4 and tcb.ssthresh_bytes < SSTHRESH_INFINITE
    if is_thin and config.tcp_thin_linear_timeouts and tcb.retries <= _THIN_LINEAR_RETRIES:
        end_backoff(tcb)
        return
    back_off(tcb)


def _orphan_retries(tcb: Tcb) -> i64:
    retries = tcb.context.config.tcp_orphan_retries
    return retries if retries > 0 else _ORPHAN_RETRIES


def _doubling_ns(tcb: Tcb, retries: i64) -> i64:
    """Return how long so many retransmissions of a SYN take with a timeout that doubles, the last wait with them."""
    config = tcb.context.config
    total: i64 = 0
    wait = config.tcp_rto_initial_ns
    for _ in range(retries + 1):
        total += wait
        wait = min(2 * wait, config.tcp_rto_max_ns)
    return total


def _is_hopeless(tcb: Tcb, now_ns: i64) -> bool:
    """Tell whether R2 is reached (RFC 9293 section 3.8.3). MUST-21, MUST-22, MUST-23."""
    config = tcb.context.config
    timeout_ns = tcb.options.user_timeout_ns
    if timeout_ns > 0:
        # A shut window is no reason not to acknowledge text in flight (as Linux).
        has_tried = tcb.retries > 0 or (tcb.snd_wnd == 0 and tcb.state != abi.SYN_SENT)
        if has_tried and now_ns - tcb.first_unanswered_ns >= timeout_ns:
            return True
        if tcb.state != abi.SYN_SENT and tcb.state != abi.SYN_RECEIVED:
            return False
    if tcb.state == abi.SYN_SENT:
        if i64(tcb.retries) >= tcb.options.syn_retries + config.tcp_syn_linear_timeouts:
            return True
        # Linear timeouts make more SYNs, but none of them later (Linux's retransmits_timed_out).
        return tcb.retries > 0 and now_ns - tcb.first_unanswered_ns >= _doubling_ns(tcb, tcb.options.syn_retries)
    if tcb.state == abi.SYN_RECEIVED:
        return i64(tcb.retries) >= config.tcp_synack_retries
    if tcb.is_orphan:
        is_shut_for_long = tcb.snd_wnd == 0 and now_ns - tcb.first_unanswered_ns >= 2 * config.tcp_rto_max_ns
        return i64(tcb.retries) >= _orphan_retries(tcb) or is_shut_for_long
    return i64(tcb.retries) >= config.tcp_retries2


def _give_up(tcb: Tcb, now_ns: i64) -> None:
    counters = tcb.context.counters
    counters.TcpExtTCPAbortOnTimeout += 1
    waited = format_duration(now_ns - tcb.first_unanswered_ns)
    number: i64 = i64(tcb.soft_error) if tcb.soft_error != 0 else errno.ETIMEDOUT
    if tcb.state == abi.SYN_SENT:
        text = f"connection timed out: {tcb.retries + 1} SYNs unanswered in {waited}"
    else:
        text = f"connection timed out: {tcb.retries + 1} transmissions unanswered in {waited}"
    _tell_timer(tcb, TIMER_RTO, "given up")
    transitions.fail(tcb, number, text, "timed out")


def _on_persist_timer(tcb: Tcb, now_ns: i64) -> None:
    """Probe a shut window. RFC 9293 MUST-35, MUST-36, SHLD-30."""
    tcb.disarm(TIMER_PERSIST)
    if tcb.unsent is None and (not tcb.fin_wanted or tcb.fin_seq != NO_SEQ):
        return
    config = tcb.context.config
    limit = _orphan_retries(tcb) if tcb.is_orphan else config.tcp_retries2
    if tcb.probes_out == 0:
        silence.begin_wait(tcb, now_ns)
    silence.begin_probing(tcb, now_ns)
    shut_since_ns = troubles_of(tcb).shut_since_ns
    # As Linux and tcp(7): text may not wait for longer, though the peer answers each probe.
    timeout = tcb.options.user_timeout_ns
    is_late = timeout > 0 and now_ns - shut_since_ns >= timeout
    # As Linux: a peer that answers every probe keeps a program's connection open, but no orphan.
    is_worn_out = tcb.is_orphan and i64(tcb.backoff) >= limit and timeout_ns(tcb) >= config.tcp_rto_max_ns
    if i64(tcb.probes_out) >= limit or is_late or is_worn_out:
        _tell_timer(tcb, TIMER_PERSIST, "given up")
        tcb.context.counters.TcpExtTCPAbortOnTimeout += 1
        waited = format_duration(now_ns - (shut_since_ns if is_late else tcb.first_unanswered_ns))
        text = f"{tcb.probes_out} zero-window probes unanswered in {waited}"
        if is_late:
            text = f"the peer's window was shut for {waited}"
        transitions.fail(tcb, errno.ETIMEDOUT, f"connection timed out: {text}", "timed out")
        return
    _tell_timer(tcb, TIMER_PERSIST, f"window {tcb.snd_wnd}")
    silence.count_probe(tcb)
    back_off(tcb)
    due_ns = now_ns + timeout_ns(tcb)
    if timeout > 0:
        due_ns = min(due_ns, max(shut_since_ns + timeout, now_ns + MS))
    tcb.arm(TIMER_PERSIST, due_ns)


def _on_keepalive_timer(tcb: Tcb, now_ns: i64) -> None:
    """Ask an idle peer whether it is there (RFC 9293 section 3.8.4). MUST-24 to MUST-29."""
    tcb.disarm(TIMER_KEEPALIVE)
    is_alive = tcb.is_counted or tcb.state == abi.FIN_WAIT_1 or tcb.state == abi.FIN_WAIT_2
    if not tcb.options.keepalive or not is_alive:
        return
    if tcb.in_flight_count() > 0 or tcb.unsent is not None:
        # MUST-26: something is outstanding, and serves as a probe.
        tcb.arm(TIMER_KEEPALIVE, now_ns + tcb.options.keep_idle_ns)
        return
    idle_ns = now_ns - tcb.last_received_ns
    if idle_ns < tcb.options.keep_idle_ns:
        tcb.arm(TIMER_KEEPALIVE, tcb.last_received_ns + tcb.options.keep_idle_ns)
        return
    is_late = i64(tcb.probes_out) >= tcb.options.keep_count
    if tcb.options.user_timeout_ns > 0:
        is_late = tcb.probes_out > 0 and idle_ns >= tcb.options.user_timeout_ns
    if is_late:
        _tell_timer(tcb, TIMER_KEEPALIVE, "given up")
        tcb.context.counters.TcpExtTCPAbortOnTimeout += 1
        text = f"connection timed out: {tcb.probes_out} keepalive probes unanswered"
        text += f", silent for {format_duration(idle_ns)}"
        transitions.abort(tcb, errno.ETIMEDOUT, text, "timed out")
        return
    _tell_timer(tcb, TIMER_KEEPALIVE, f"silent for {format_duration(idle_ns)}")
    silence.count_probe(tcb)
    tcb.arm(TIMER_KEEPALIVE, now_ns + tcb.options.keep_interval_ns)
