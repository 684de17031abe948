"""What an acknowledgment, or the lack of one, does to recovery and to the windows.

Where recovery stands is ``tcb.ca_state``, with Linux's names: *Open*, nothing wrong; *Disorder*, duplicates or SACKs
but no loss yet; *CWR*, the window goes down without a loss; *Recovery*, losses are being repaired (RFC 5681, 6582,
6675); *Loss*, the retransmission timer ran out. Losses are found by time if the peer sends SACK (``rack``), else by
the third duplicate acknowledgment, each of which stands for one segment that arrived. Recovery ends when all is
acknowledged that had been sent when it began: ``tcb.recover``.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.events import CongestionChanged
from estab.tcp.ecn import classic as ecn
from estab.tcp.record.acknowledged import Acknowledged
from estab.tcp.record.control import SSTHRESH_INFINITE
from estab.tcp.record.ecn_state import ACCURATE
from estab.tcp.record.inflight import Losses, SentSegment
from estab.tcp.record.sample import RateSample
from estab.tcp.record.tcb import (
    CA_CWR,
    CA_DISORDER,
    CA_LOSS,
    CA_OPEN,
    CA_RECOVERY,
    NO_SEQ,
    Tcb,
)
from estab.tcp.record.timer_table import TIMER_PERSIST, TIMER_REORDER, TIMER_RTO
from estab.tcp.recovery import cwnd, mtu_search, prr, rack, undo
from estab.tcp.recovery.delivered import count_duplicate_delivered, forget_duplicates, take_back_duplicates
from estab.tcp.recovery.scoreboard import (
    ask_fast_retransmit,
    drop_acknowledged,
    forget_sent,
    lose,
    losses_of,
    mark_head_lost,
    next_lost,
    note_reordering,
    read_sack,
    remember_sent,
    unmark_sacked,
    withdraw_fast_retransmit,
)
from estab.tcp.window import silence
from estab.tcp.window.rtt import end_backoff, on_sample
from estab.units import NEVER
from estab.wire.tcp import Segment

__all__ = [
    "begin", "forget_sent", "lose_all", "mark_head_lost", "next_lost", "on_acknowledged", "on_duplicate",
    "on_mere_feedback", "on_refused", "on_reorder_timer", "on_timeout", "remember_sent",
]


def on_acknowledged(tcb: Tcb, ack: i64, segment: Segment, now_ns: i64) -> None:
    """Take a new cumulative acknowledgment: drop what it covers, measure, move recovery and cwnd on, set the timer."""
    acked = ack - tcb.snd_una
    before = tcb.delivered_bytes
    segments_before = tcb.delivered_segments
    is_of_syn = tcb.snd_una == tcb.iss
    flight = tcb.snd_nxt - tcb.snd_una
    losses = tcb.losses
    lost_before: i64 = 0
    if losses is not None:
        _begin(losses)
        lost_before = losses.lost_bytes
        flight -= losses.sacked_bytes
    rtt_ns = drop_acknowledged(tcb, ack, segment, now_ns)
    tcb.snd_una = ack
    if tcb.mtu_search is not None:
        mtu_search.on_acknowledged(tcb, tcb.mtu_search)
    if segment.sack is not None and tcb.has_sack:
        read_sack(tcb, ack, segment, now_ns)
        losses = tcb.losses
    has_mark = False
    if tcb.ecn is not None and (not is_of_syn or tcb.ecn.mode == ACCURATE):
        has_mark = _take_feedback(tcb, segment, segments_before, before, now_ns)
        if has_mark:
            losses = losses_of(tcb)
    if rtt_ns >= 0:
        on_sample(tcb, rtt_ns)
        end_backoff(tcb)  # RFC 6298 section 5.7: a measurement ends the back-off
    tcb.context.counters.TcpExtTCPDelivered += tcb.delivered_segments - segments_before
    silence.answered(tcb, now_ns)
    tcb.duplicate_acks = 0
    again_ns: i64 = NEVER
    rate = tcb.rate
    if rate is not None:
        rate.rtt_ns = rtt_ns
    if losses is None:
        _grow(tcb, acked, now_ns)
        if rate is not None:
            _measure(tcb, rate, tcb.delivered_bytes - before, 0, now_ns)
    else:
        if not tcb.has_sack:
            take_back_duplicates(tcb, acked)
        told = Acknowledged(acked, before, flight, lost_before)
        told.has_mark = has_mark
        again_ns = _move_on(tcb, losses, segment, told, now_ns)
    if tcb.in_flight_count() == 0:
        tcb.disarm(TIMER_RTO)
        if tcb.unsent is None:
            tcb.rest_rate()
    else:
        silence.begin_wait(tcb, now_ns)
        rack.arm(tcb, now_ns)
        _look_again_at(tcb, again_ns)
    if tcb.persist_ns != NEVER and tcb.snd_wnd > 0:
        tcb.disarm(TIMER_PERSIST)


def _take_feedback(tcb: Tcb, segment: Segment, segments_before: i64, bytes_before: i64, now_ns: i64) -> bool:
    """Read what an acknowledgment tells of marks, once it is known what it delivered."""
    state = tcb.ecn
    if state is None:
        return False
    segments = tcb.delivered_segments - segments_before
    has_mark = ecn.take_feedback(tcb, state, segment, segments, tcb.delivered_bytes - bytes_before)
    if state.is_needed:
        tcb.control(now_ns).on_feedback(tcb, now_ns)
    return has_mark


def on_mere_feedback(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Take an acknowledgment that tells nothing new but, perhaps, of marks."""
    if not _take_feedback(tcb, segment, tcb.delivered_segments, tcb.delivered_bytes, now_ns):
        return
    if tcb.in_flight_count() > 0 and (tcb.ca_state == CA_OPEN or tcb.ca_state == CA_DISORDER):
        losses = losses_of(tcb)
        _reduce_for_mark(tcb, losses, tcb.snd_nxt - tcb.snd_una - losses.sacked_bytes, now_ns)


def _measure(tcb: Tcb, rate: RateSample, delivered: i64, lost: i64, now_ns: i64) -> None:
    """Close the sample of the delivery rate, and pass it on if it is asked for."""
    rate.finish(tcb.delivered_bytes, delivered, lost, tcb.min_rtt_ns, now_ns)
    if tcb.is_sampled:
        tcb.control(now_ns).on_sample(tcb, rate, now_ns)


def _grow(tcb: Tcb, acked: i64, now_ns: i64) -> None:
    """Tell congestion control, if this flow has needed any yet."""
    if tcb.is_window_used() or tcb.has_own_congestion:
        tcb.control(now_ns).on_ack(tcb, acked, now_ns)


def _begin(losses: Losses) -> None:
    """Forget what the last acknowledgment told."""
    losses.fack_before = losses.fack
    losses.dsack_left = NO_SEQ
    losses.sacked_rtt_ns = -1
    losses.has_original_arrived = False


def on_duplicate(tcb: Tcb, ack: i64, segment: Segment, now_ns: i64, *, is_duplicate: bool) -> None:
    """Take an acknowledgment that acknowledges nothing new in order while text is in flight.

    ``is_duplicate``: it is one in the sense of RFC 5681 section 2, and not only the bearer of SACK blocks.
    """
    before = tcb.delivered_bytes
    segments_before = tcb.delivered_segments
    losses = losses_of(tcb)
    _begin(losses)
    lost_before = losses.lost_bytes
    flight = tcb.snd_nxt - tcb.snd_una - losses.sacked_bytes
    if tcb.has_sack:
        if segment.sack is not None:
            read_sack(tcb, ack, segment, now_ns)
            if losses.sacked_rtt_ns >= 0:
                on_sample(tcb, losses.sacked_rtt_ns)
    elif is_duplicate:
        count_duplicate_delivered(tcb)
    has_mark = tcb.ecn is not None and _take_feedback(tcb, segment, segments_before, before, now_ns)
    tcb.context.counters.TcpExtTCPDelivered += max(0, tcb.delivered_segments - segments_before)
    if is_duplicate:
        tcb.duplicate_acks += 1
    told = Acknowledged(0, before, flight, lost_before)
    told.is_duplicate = is_duplicate
    told.has_mark = has_mark
    again_ns = _move_on(tcb, losses, segment, told, now_ns)
    if tcb.timer_kind != TIMER_RTO and not rack.may_probe(tcb):
        rack.arm_rto(tcb, now_ns)
    _look_again_at(tcb, again_ns)


def _look_again_at(tcb: Tcb, again_ns: i64) -> None:
    """Let the timer come sooner, for a segment that may turn out to be late."""
    if again_ns < tcb.retransmit_ns:
        tcb.arm(TIMER_REORDER, again_ns)


def _move_on(tcb: Tcb, losses: Losses, segment: Segment, told: Acknowledged, now_ns: i64) -> i64:
    """Find losses and take the step to the next state, with what that does to cwnd. Returns when to look again."""
    again_ns: i64 = NEVER
    acked = told.acked_bytes
    if tcb.has_sack:
        if losses.late_seq != NEVER:
            note_reordering(tcb, losses)
        rack.on_dsack(tcb, losses)
        again_ns = rack.detect(tcb, now_ns)
    is_bare = told.is_duplicate and segment.sack is None
    if losses.probe_end != NO_SEQ and rack.take_probe_answer(tcb, losses, tcb.snd_una, is_bare):
        _reduce_for_probe(tcb, losses, now_ns)
    if losses.undo_seq != NO_SEQ:
        _take_back_false_alarm(tcb, losses, segment, told, now_ns)
    state = tcb.ca_state
    was_reducing = state == CA_RECOVERY or state == CA_CWR
    # CWR lasts until more than that is acknowledged, so that the peer's echo has ended, too (as Linux).
    end = tcb.recover + 1 if state == CA_CWR else tcb.recover
    if (was_reducing or state == CA_LOSS) and acked > 0 and tcb.snd_una >= end:
        _leave(tcb, losses, now_ns)
        state = tcb.ca_state
    elif state == CA_RECOVERY and acked > 0 and not tcb.has_sack:
        mark_head_lost(tcb)  # RFC 6582 section 3.2 step 3, partial acknowledgment: the next segment is lost too
        ask_fast_retransmit(tcb)
    if state == CA_OPEN or state == CA_DISORDER or state == CA_CWR:
        if not tcb.has_sack:
            _count_duplicates(tcb)
        if tcb.lost_count > 0 and tcb.snd_una < tcb.snd_nxt:
            _enter_recovery(tcb, losses, told.flight_before, now_ns, has_mark=told.has_mark)
        elif state == CA_CWR:
            # A window is reduced once a round trip, whatever the marks in it.
            if acked > 0:
                forget_duplicates(tcb)  # progress
        elif told.has_mark:
            _reduce_for_mark(tcb, losses, told.flight_before, now_ns)
        else:
            # With SACK a duplicate that selects nothing new says nothing (as Linux): a probe may still be sent.
            has_doubts = losses.sacked_count > 0 or (tcb.duplicate_acks > 0 and not tcb.has_sack)
            tcb.ca_state = CA_DISORDER
            if not has_doubts:
                tcb.ca_state = CA_OPEN
                forget_duplicates(tcb)
    state = tcb.ca_state
    rate = tcb.rate
    if rate is not None:
        if acked == 0:
            rate.rtt_ns = losses.sacked_rtt_ns
        _measure(tcb, rate, tcb.delivered_bytes - told.delivered_before, losses.lost_bytes - told.lost_before, now_ns)
    if tcb.is_sampled:
        pass  # the window is the congestion control's alone
    elif state == CA_RECOVERY or state == CA_CWR:
        # If nothing was lost there is nothing to catch up with: CWR never sends more than arrives (as Linux).
        is_safe = acked > 0 and losses.lost_bytes == told.lost_before and state == CA_RECOVERY
        prr.on_acknowledgment(tcb, losses, tcb.delivered_bytes - told.delivered_before, is_safe=is_safe)
    elif not was_reducing:
        # What SACKs told of before is not counted again. If the path is known to bring segments out of order, what
        # they tell of lets the window grow at once; else only progress in order does (as Linux).
        delivered = max(tcb.delivered_bytes - told.delivered_before, 0)
        if acked > 0 or (delivered > 0 and tcb.has_sack and i64(tcb.reordering) > tcb.context.config.tcp_reordering):
            if state == CA_LOSS:
                cwnd.note_limited(tcb)
            _grow(tcb, delivered, now_ns)
    if tcb.sent is None and state == CA_OPEN and _has_nothing_to_remember(losses):
        tcb.losses = None
    return again_ns


def _has_nothing_to_remember(losses: Losses) -> bool:
    return not losses.is_reordering_seen and losses.window_multiplier == 1 and losses.undo_seq == NO_SEQ


def _take_back_false_alarm(tcb: Tcb, losses: Losses, segment: Segment, told: Acknowledged, now_ns: i64) -> None:
    """Check whether this acknowledgment shows a false alarm, or that no later one can show it any more."""
    counters = tcb.context.counters
    state = tcb.ca_state
    has_advanced = told.acked_bytes > 0
    if state == CA_LOSS:
        has_sacked = losses.sacked_rtt_ns >= 0
        if undo.process_timeout_answer(tcb, losses, has_advanced, has_sacked, told.is_duplicate):
            counters.TcpExtTCPSpuriousRTOs += 1
            undo.take_back(tcb, losses, now_ns)
            _tell(tcb, "the timeout was spurious (F-RTO): the windows are as before")
            return
    if undo.is_false_alarm(tcb, losses, segment, has_advanced):
        if state == CA_LOSS:
            counters.TcpExtTCPLossUndo += 1
        elif tcb.snd_una >= tcb.recover:
            counters.TcpExtTCPFullUndo += 1
        else:
            counters.TcpExtTCPPartialUndo += 1
        undo.take_back(tcb, losses, now_ns)
        _tell(tcb, "nothing was lost: the windows are as before")
    elif state == CA_OPEN and has_advanced and tcb.snd_una > losses.undo_until:
        undo.forget(losses)


def _count_duplicates(tcb: Tcb) -> None:
    """Take the oldest segment as lost at the third duplicate (RFC 5681 section 3.2)."""
    if tcb.duplicate_acks < tcb.reordering:
        return
    if tcb.snd_una < tcb.recover:
        return  # RFC 6582 section 4: duplicates of what was sent before a timeout are not a new loss
    mark_head_lost(tcb)


def _reduce_for_mark(tcb: Tcb, losses: Losses, flight_bytes: i64, now_ns: i64) -> None:
    """Packets were marked: the window goes down as for a loss, once a round trip (RFC 3168 section 6.1.2)."""
    is_gentle = tcb.context.config.tcp_abe
    cwnd.set_ssthresh(tcb, tcb.control(now_ns).ssthresh_for_mark(tcb, is_gentle, now_ns))
    _enter_cwr(tcb, losses, flight_bytes)
    _tell(tcb, "congestion experienced: packets were marked")


def on_refused(tcb: Tcb, now_ns: i64) -> None:
    """The queue of our own device refused a segment: the window goes down once a round trip (Linux's tcp_enter_cwr)."""
    losses = losses_of(tcb)
    if tcb.ca_state >= CA_CWR:
        undo.keep_reduction(losses)
        return
    cwnd.set_ssthresh(tcb, tcb.control(now_ns).ssthresh(tcb, now_ns))
    _enter_cwr(tcb, losses, tcb.pipe_bytes - tcb.reno_sacked_bytes)
    _tell(tcb, "the queue of this host's device is full")


def _enter_cwr(tcb: Tcb, losses: Losses, flight_bytes: i64) -> None:
    undo.forget(losses)
    prr.start(tcb, losses, flight_bytes)
    tcb.recover = tcb.snd_nxt
    tcb.ca_state = CA_CWR
    losses.probe_end = NO_SEQ
    ecn.queue_cwr(tcb)


def _enter_recovery(tcb: Tcb, losses: Losses, flight_bytes: i64, now_ns: i64, *, has_mark: bool) -> None:
    counters = tcb.context.counters
    if tcb.mtu_search is not None and tcb.ca_state < CA_CWR and mtu_search.take_failure(tcb, tcb.mtu_search):
        return  # what was lost was a probe of the path's MTU, which says nothing of congestion
    undo.start(tcb, losses)
    if has_mark or tcb.ca_state == CA_CWR:
        undo.keep_reduction(losses)
    if tcb.ca_state != CA_CWR:
        ecn.queue_cwr(tcb)
        cwnd.set_ssthresh(tcb, tcb.control(now_ns).ssthresh(tcb, now_ns))
        prr.start(tcb, losses, flight_bytes)
    tcb.recover = tcb.snd_nxt
    tcb.ca_state = CA_RECOVERY
    losses.probe_end = NO_SEQ
    rack.arm_rto(tcb, now_ns)
    if tcb.has_sack:
        counters.TcpExtTCPSackRecovery += 1
        _tell(tcb, f"fast recovery: {tcb.lost_count} segments late (RACK)")
    else:
        counters.TcpExtTCPRenoRecovery += 1
        _tell(tcb, f"fast recovery: {tcb.duplicate_acks} duplicate acknowledgments")


def _leave(tcb: Tcb, losses: Losses, now_ns: i64) -> None:
    if tcb.ca_state != CA_LOSS and not tcb.is_sampled:
        cwnd.set_window(tcb, max(tcb.ssthresh_bytes, 2 * tcb.snd_mss()))  # RFC 9937: what PRR worked towards
    if tcb.ca_state == CA_CWR:
        tcb.ca_state = CA_OPEN
        forget_duplicates(tcb)
        _tell(tcb, "everything sent before the window went down is acknowledged")
        return
    tcb.ca_state = CA_OPEN
    forget_duplicates(tcb)
    withdraw_fast_retransmit(tcb)
    undo.end_watch(losses)
    losses.undo_until = tcb.snd_nxt
    rack.on_recovered(losses)
    tcb.control(now_ns).on_recovered(tcb, now_ns)
    _tell(tcb, "recovered: everything sent before the loss is acknowledged")


def _reduce_for_probe(tcb: Tcb, losses: Losses, now_ns: i64) -> None:
    """A probe repaired a loss before it was noticed: it counts as congestion all the same (RFC 8985 section 7.4)."""
    tcb.context.counters.TcpExtTCPLossProbeRecovery += 1
    ecn.queue_cwr(tcb)
    cwnd.set_ssthresh(tcb, tcb.control(now_ns).ssthresh(tcb, now_ns))
    if not tcb.is_sampled:
        cwnd.set_window(tcb, max(tcb.ssthresh_bytes, 2 * tcb.snd_mss()))
    _tell(tcb, "a tail loss probe repaired a loss")


# --- timers


def on_reorder_timer(tcb: Tcb, now_ns: i64) -> None:
    """A segment that might only have been reordered is now late (RFC 8985 section 6.3)."""
    losses = losses_of(tcb)
    flight = tcb.snd_nxt - tcb.snd_una - losses.sacked_bytes
    again_ns = rack.detect(tcb, now_ns)
    rack.arm_rto(tcb, now_ns)
    if tcb.lost_count > 0 and tcb.ca_state != CA_RECOVERY and tcb.ca_state != CA_LOSS:
        _enter_recovery(tcb, losses, flight, now_ns, has_mark=False)
        if not tcb.is_sampled and tcb.ca_state == CA_RECOVERY:
            prr.on_acknowledgment(tcb, losses, 1, is_safe=False)
    _look_again_at(tcb, again_ns)


def on_timeout(tcb: Tcb, now_ns: i64) -> None:
    """The retransmission timer ran out: what is late is lost, and the window is one segment more than is not late.

    RFC 5681 section 3.1, RFC 8985 section 6.3.
    """
    counters = tcb.context.counters
    counters.TcpExtTCPTimeouts += 1
    sent = tcb.sent
    if sent is None:
        return
    losses = losses_of(tcb)
    if sent[tcb.sent_head].is_sacked:
        # We differ from RFC 2018 section 8, which voids all SACKs at a timeout: only a peer that SACKed the very
        # segment that it does not acknowledge has reneged. So does Linux.
        counters.TcpExtTCPSACKReneging += 1
        unmark_sacked(tcb)
    was_recovering = tcb.ca_state == CA_RECOVERY
    if tcb.ca_state != CA_LOSS:
        undo.start(tcb, losses)
        # Once for a window of losses, not once for each back-off (RFC 5681 section 3.1, last paragraph).
        cwnd.set_ssthresh(tcb, tcb.control(now_ns).ssthresh(tcb, now_ns))
        tcb.control(now_ns).on_timeout(tcb, now_ns)
        ecn.queue_cwr(tcb)
    tcb.ca_state = CA_LOSS
    tcb.recover = tcb.snd_nxt
    tcb.duplicate_acks = 0
    forget_duplicates(tcb)
    ask_fast_retransmit(tcb)
    losses.probe_end = NO_SEQ
    losses.is_probe_due = False
    undo.start_timeout(tcb, losses, was_recovering)
    _lose_late(tcb, losses, sent, now_ns)
    cwnd.set_window(tcb, tcb.pipe_bytes + tcb.snd_mss())
    _tell(tcb, "retransmission timeout")


def begin(tcb: Tcb) -> None:
    """The handshake is done: whatever was lost in it is repaired."""
    tcb.ca_state = CA_OPEN


def lose_all(tcb: Tcb, why: str) -> None:
    """Take all that is in flight as lost, and not by congestion: the windows stay. What follows is slow start."""
    sent = tcb.sent
    if sent is None or tcb.in_flight_count() == 0:
        return
    losses = losses_of(tcb)
    undo.forget(losses)
    tcb.ca_state = CA_LOSS
    tcb.recover = tcb.snd_nxt
    ask_fast_retransmit(tcb)
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        if not segment.is_sacked and not segment.is_lost:
            lose(tcb, losses, segment)
        at += 1
    _tell(tcb, why)


def _lose_late(tcb: Tcb, losses: Losses, sent: list[SentSegment], now_ns: i64) -> None:
    """Take as lost the first segment, and with SACK those that are late, else all (RFC 8985 section 6.3)."""
    rtt_ns = losses.rack_rtt_ns
    if rtt_ns == 0:
        rtt_ns = tcb.srtt_ns
    edge_ns = now_ns
    if tcb.has_sack and rtt_ns > 0:
        edge_ns = now_ns - rtt_ns - rack.reordering_window_ns(tcb, losses)
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        if not segment.is_sacked and not segment.is_lost and (at == tcb.sent_head or segment.sent_ns <= edge_ns):
            lose(tcb, losses, segment)
        at += 1
    losses.resent = [segment for segment in losses.resent[losses.resent_head :] if not segment.is_lost]
    losses.resent_head = 0


def _tell(tcb: Tcb, why: str) -> None:
    context = tcb.context
    if context.observer is not None:
        ssthresh = None if tcb.ssthresh_bytes >= SSTHRESH_INFINITE else tcb.ssthresh_bytes
        context.tell(CongestionChanged(context.now_ns, context.name, tcb.name(), tcb.cwnd_bytes, ssthresh, why))
