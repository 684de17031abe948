"""RACK-TLP: losses by time, and a probe if the tail of a flight may be lost (RFC 8985).

RACK: a segment is lost when one sent later has arrived and it itself is late by more than the reordering window. The
window is nothing until the path has been seen to reorder, then a quarter of the shortest round trip, more if DSACKs
say that too much was sent again. TLP: after two round trips of silence the last segment, or a new one, is sent, so
that its SACK tells RACK what is missing; that spares a retransmission timeout.

Retransmission, probe and reordering share one place in the table of timers: one of them runs at a time.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.record.inflight import Losses, SentSegment
from estab.tcp.record.tcb import CA_CWR, CA_LOSS, CA_OPEN, CA_RECOVERY, NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_PERSIST, TIMER_PROBE, TIMER_RTO
from estab.tcp.recovery.scoreboard import find, lose, losses_of
from estab.tcp.window.rtt import timeout_ns
from estab.units import MS, NEVER

__all__ = [
    "arm", "arm_rto", "detect", "forget_probe", "on_dsack", "on_probe_timer", "on_recovered", "reordering_window_ns",
]

_PERSIST: Final = 16
"""Recoveries without a DSACK after which the window goes back to a quarter of a round trip."""
_STATIC_WINDOW: Final = 2
_NO_DUPTHRESH: Final = 4
"""Bits of ``tcp_recovery``."""
_SLACK_NS: Final = 2 * MS
"""For the peer's timers, as Linux's TCP_TIMEOUT_MIN."""


# --- the timer


def arm_rto(tcb: Tcb, now_ns: i64) -> None:
    """Start the retransmission timer (RFC 6298 rules 5.1 and 5.3), cut short by the user timeout."""
    due_ns = now_ns + timeout_ns(tcb)
    is_shut = tcb.snd_wnd == 0 and tcb.state != abi.SYN_SENT
    if tcb.options.user_timeout_ns > 0 and (tcb.retries > 0 or is_shut):
        due_ns = min(due_ns, max(tcb.first_unanswered_ns + tcb.options.user_timeout_ns, now_ns + MS))
    tcb.arm(TIMER_RTO, due_ns)
    tcb.disarm(TIMER_PERSIST)


def arm(tcb: Tcb, now_ns: i64) -> None:
    """Start the timer again, text having been sent or acknowledged: for a probe if one may help, else for RTO."""
    if tcb.in_flight_count() == 0:
        tcb.disarm(TIMER_RTO)
        return
    arm_rto(tcb, now_ns)
    if may_probe(tcb):
        tcb.arm(TIMER_PROBE, min(now_ns + probe_timeout_ns(tcb), tcb.retransmit_ns))


def may_probe(tcb: Tcb) -> bool:
    """Tell whether a tail loss probe may be scheduled (RFC 8985 section 7.2)."""
    if not tcb.has_sack or tcb.srtt_ns == 0 or (tcb.ca_state != CA_OPEN and tcb.ca_state != CA_CWR):
        return False
    losses = tcb.losses
    if losses is not None and (losses.probe_end != NO_SEQ or losses.sacked_count > 0):
        return False
    return tcb.backoff == 0 and tcb.state != abi.SYN_SENT and tcb.context.config.tcp_early_retrans >= 3


def probe_timeout_ns(tcb: Tcb) -> i64:
    """Return PTO: two round trips, and for a single segment the longest time that a peer delays an acknowledgment."""
    wait_ns = 2 * tcb.srtt_ns
    if tcb.in_flight_count() == 1 and tcb.snd_nxt - tcb.snd_una <= tcb.mss_base:
        return wait_ns + tcb.context.config.tcp_rto_min_ns
    return wait_ns + _SLACK_NS


# --- losses by time


def detect(tcb: Tcb, now_ns: i64) -> i64:
    """Take as lost what is late (RFC 8985 section 6.2, step 5). Returns when to look again, ``NEVER`` for not at all.

    We differ in the timer: it is for the first segment that may become late, not for the last, so that nothing but that
    first one need be looked at.
    """
    losses = tcb.losses
    sent = tcb.sent
    if losses is None or sent is None or losses.rack_order < 0:
        return NEVER
    late_ns = losses.rack_rtt_ns + reordering_window_ns(tcb, losses)
    return min(_detect_once(tcb, losses, sent, late_ns, now_ns), _detect_resent(tcb, losses, late_ns, now_ns))


def _detect_once(tcb: Tcb, losses: Losses, sent: list[SentSegment], late_ns: i64, now_ns: i64) -> i64:
    """Look at segments sent once: their order in sequence is their order in time."""
    at = find(tcb, sent, losses.once_seq)
    again_ns: i64 = NEVER
    while at < len(sent):
        one = sent[at]
        if not one.is_sacked and not one.is_lost and one.transmissions == 1:
            if not _is_before(one, losses):
                break
            if one.sent_ns + late_ns > now_ns:
                again_ns = one.sent_ns + late_ns
                break
            lose(tcb, losses, one)
        at += 1
    losses.once_seq = sent[at].seq if at < len(sent) else tcb.snd_nxt
    return again_ns


def _detect_resent(tcb: Tcb, losses: Losses, late_ns: i64, now_ns: i64) -> i64:
    """Look at segments sent again, in the order in which they were: lost retransmissions."""
    resent = losses.resent
    head = losses.resent_head
    again_ns: i64 = NEVER
    while head < len(resent):
        one = resent[head]
        if not one.is_sacked and not one.is_lost and one.end > tcb.snd_una:
            if not _is_before(one, losses):
                break
            if one.sent_ns + late_ns > now_ns:
                again_ns = one.sent_ns + late_ns
                break
            lose(tcb, losses, one)
            tcb.context.counters.TcpExtTCPLostRetransmit += 1
        head += 1
    if head == len(resent):
        resent.clear()
        head = 0
    elif head > 32 and 2 * head > len(resent):
        del resent[:head]
        head = 0
    losses.resent_head = head
    return again_ns


def _is_before(one: SentSegment, losses: Losses) -> bool:
    """Tell whether a segment was sent before the latest-sent of all that arrived.

    We differ: RFC 8985 orders by time, and at equal times by sequence number, which takes a retransmission for older
    than new text sent at the same instant. In virtual time instants are often equal, so transmissions are numbered;
    the pieces of a super-segment have one number and their own order.
    """
    return one.order < losses.rack_order or (one.order == losses.rack_order and one.end < losses.rack_end)


def reordering_window_ns(tcb: Tcb, losses: Losses) -> i64:
    """Return RACK.reo_wnd: how much later than RTT a segment may come (RFC 8985 section 6.2, step 4)."""
    if not losses.is_reordering_seen:
        if tcb.ca_state == CA_RECOVERY or tcb.ca_state == CA_LOSS:
            return 0
        is_ruled = (tcb.context.config.tcp_recovery & _NO_DUPTHRESH) == 0
        if is_ruled and losses.sacked_bytes >= i64(tcb.reordering) * tcb.snd_mss():
            return 0  # three segments above it arrived: RFC 5681's duplicate-acknowledgment rule
    return min(losses.window_multiplier * (tcb.min_rtt_ns // 4), tcb.srtt_ns)


def on_dsack(tcb: Tcb, losses: Losses) -> None:
    """Grow the reordering window, once a round trip: something was sent again that had arrived."""
    if losses.dsack_round != NO_SEQ and tcb.snd_una >= losses.dsack_round:
        losses.dsack_round = NO_SEQ
    if losses.dsack_left == NO_SEQ or losses.dsack_round != NO_SEQ:
        return
    if (tcb.context.config.tcp_recovery & _STATIC_WINDOW) != 0:
        return
    losses.dsack_round = tcb.snd_nxt
    losses.window_multiplier += 1
    losses.window_persist = _PERSIST


def on_recovered(losses: Losses) -> None:
    """Shrink the reordering window again after sixteen recoveries without a DSACK."""
    if losses.window_persist > 0:
        losses.window_persist -= 1
        if losses.window_persist == 0:
            losses.window_multiplier = 1


# --- tail loss probe


def on_probe_timer(tcb: Tcb, now_ns: i64) -> None:
    """PTO ran out: a probe is due; after it, only RTO is left (RFC 8985 section 7.3)."""
    losses = losses_of(tcb)
    losses.is_probe_due = True
    losses.probe_end = NO_SEQ
    arm_rto(tcb, now_ns)


def forget_probe(losses: Losses) -> None:
    """The probe never left: nothing is awaited of it."""
    losses.probe_end = NO_SEQ


def take_probe_answer(tcb: Tcb, losses: Losses, ack: i64, is_bare_duplicate: bool) -> bool:
    """See what an acknowledgment says of the probe (RFC 8985 section 7.4.2). ``True``: the probe repaired a loss."""
    if losses.probe_end == NO_SEQ or ack < losses.probe_end:
        return False
    if not losses.is_probe_repeat:
        losses.probe_end = NO_SEQ  # it carried new text, which arrived
    elif losses.dsack_left != NO_SEQ and losses.dsack_right == losses.probe_end:
        losses.probe_end = NO_SEQ  # original and probe both arrived
    elif ack > losses.probe_end:
        losses.probe_end = NO_SEQ
        return True
    elif is_bare_duplicate:
        losses.probe_end = NO_SEQ  # the second of two acknowledgments for the same: both arrived
    return False
