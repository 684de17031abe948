"""A segment arrives: RFC 9293 section 3.10.7.4, a function a step, in the RFC's order.

LISTEN is in ``listener``, SYN-SENT in ``syn_sent``, TIME-WAIT in ``timewait``, no connection at all in
``transitions.answer_for_closed``. Here are all other states. Nothing is sent from here: what must be sent is noted in
the TCB, and ``output`` sends it. Each step returns whether the segment goes on to the next.
"""

from __future__ import annotations

import errno

from mypy_extensions import i64

from estab import abi
from estab.errors import DropReason
from estab.tcp.arriving import fastopen_server, syn_sent
from estab.tcp.arriving.opening import count_established, establish
from estab.tcp.arriving.transitions import abort, answer, fail, finish, release_fast_open, set_state, take_fin
from estab.tcp.ecn import classic as ecn
from estab.tcp.receiving import receive
from estab.tcp.receiving.acknowledging import acknowledge_now, report_duplicate
from estab.tcp.record.fast_open import FastOpen, PendingSynAck
from estab.tcp.record.parts import marks_of, troubles_of
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_FIN_WAIT_2, TIMER_PERSIST
from estab.tcp.recovery import recovery
from estab.tcp.recovery.cwnd import restart_after_idle
from estab.tcp.recovery.delivered import ensure_syn_delivered
from estab.tcp.window import chrono, send_window, silence, timestamps
from estab.tcp.window.rtt import end_backoff
from estab.wire.seq import unwrap
from estab.wire.tcp import ACK, FIN, RST, SYN, Segment, segment_length

__all__ = ["segment_arrives"]


def segment_arrives(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Take a segment whose addresses and ports are this connection's."""
    state = tcb.state
    if state == abi.SYN_SENT:
        syn_sent.segment_arrives(tcb, segment, now_ns)
        return
    if state == abi.CLOSED or state == abi.LISTEN:
        tcb.context.drop(DropReason.TCP_CLOSE, tcb.name(), "")
        return
    fast_open = tcb.fast_open
    if fast_open is not None:
        pending = fast_open.pending
        if pending is not None and fastopen_server.is_answered_again(tcb, pending, segment, now_ns):
            return
    seq = unwrap(segment.seq, tcb.rcv_nxt)
    if not _check_timestamp(tcb, seq, segment, now_ns):
        return
    if not _check_sequence(tcb, seq, segment, now_ns):
        return
    if (segment.flags & RST) != 0:
        _check_reset(tcb, seq, now_ns)
        return
    if (segment.flags & SYN) != 0:
        _check_syn(tcb, segment, now_ns)
        return
    if not _check_acknowledgment(tcb, seq, segment, now_ns):
        return
    if tcb.ecn is not None:
        ecn.on_arrival(tcb, tcb.ecn, segment)
    _remember_timestamp(tcb, seq, segment, now_ns)
    receive.note_arrival(tcb, now_ns)
    if tcb.state != abi.TIME_WAIT and tcb.state != abi.CLOSED:
        receive.note_urgent(tcb, seq, segment)
    if segment.end > segment.start and not _take_text(tcb, seq, segment, now_ns):
        return
    if (segment.flags & FIN) != 0 or tcb.peer_fin_seq != NO_SEQ:
        take_fin(tcb, seq, segment)


# --- 3.10.7.4, first: sequence number, with PAWS before it (RFC 7323 section 5.3)


def _check_timestamp(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> bool:
    if not tcb.has_timestamps:
        return True
    if not segment.has_timestamps:
        # We differ from RFC 7323 section 3.2, which drops it (SHOULD): Linux takes it, and peers exist that forget
        # the option.
        return True
    if (segment.flags & RST) == 0 and timestamps.is_from_the_past(tcb, segment, now_ns):
        context = tcb.context
        context.counters.TcpExtPAWSEstab += 1
        context.drop(DropReason.TCP_RFC7323_PAWS, tcb.name(), f"{segment.ts_val} after {tcb.ts_recent}")
        if segment_length(segment) > 0 or seq != tcb.rcv_nxt:
            _acknowledge_invalid(tcb, now_ns)
        return False
    return True


def _remember_timestamp(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> None:
    """Keep the timestamp to echo (RFC 7323 section 4.3, rule 2).

    Only a segment in the window counts, or an old one could forge it.
    """
    if not tcb.has_timestamps or not segment.has_timestamps or seq > tcb.rcv_wup:
        return
    timestamps.remember(tcb, segment, now_ns)


def _check_sequence(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> bool:
    """RFC 9293 section 3.10.7.4, table 6. An unacceptable segment is acknowledged, unless it is a reset."""
    length = segment_length(segment)
    end = seq + length
    edge = max(tcb.rcv_adv, tcb.rcv_nxt)
    if length == 0:
        is_acceptable = seq == tcb.rcv_nxt or tcb.rcv_nxt <= seq < edge
        if seq == edge and seq > tcb.rcv_nxt and (segment.flags & (RST | SYN | ACK)) == ACK:
            # We differ: the RFC answers this one and drops it, Linux takes it as if it were in the window. A peer that
            # filled the window sends such, and all that it acknowledges would be lost. So it is answered and used.
            _acknowledge_invalid(tcb, now_ns)
            is_acceptable = True
    else:
        is_acceptable = end > tcb.rcv_nxt and seq < edge
        if edge == tcb.rcv_nxt and seq == tcb.rcv_nxt:
            # Window zero: the text can't be taken, but ACK, URG and RST are still good (MUST-66).
            is_acceptable = (segment.flags & (RST | ACK)) != 0
    if is_acceptable or (tcb.state == abi.SYN_RECEIVED and _is_crossing_syn_ack(tcb, segment)):
        return True
    reason = DropReason.TCP_OLD_SEQUENCE if end <= tcb.rcv_nxt else DropReason.TCP_INVALID_SEQUENCE
    tcb.context.drop(reason, tcb.name(), f"{seq - tcb.irs}:{end - tcb.irs}, expected {tcb.rcv_nxt - tcb.irs}")
    if (segment.flags & RST) != 0:
        return False
    is_old_text = length > 0 and end <= tcb.rcv_nxt
    if is_old_text and (segment.flags & SYN) == 0:
        tcb.context.counters.TcpExtTCPDSACKOldSent += report_duplicate(tcb, seq, end)
        if end >= tcb.rcv_wup and (segment.flags & ACK) != 0:
            _use_repeated(tcb, seq, segment, now_ns)
            return False
    if (segment.flags & SYN) != 0:
        if tcb.ecn is not None:
            ecn.note_syn_ack(tcb, tcb.ecn, segment)
        _challenge(tcb)
    elif is_old_text or (length > 0 and tcb.state == abi.TIME_WAIT):
        # A retransmission: our ACK was lost or late. The peer needs it at once (RFC 9293 MUST-13's reason).
        acknowledge_now(tcb)
    else:
        _acknowledge_invalid(tcb, now_ns)
    return False


def _use_repeated(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> None:
    """Use ACK, window and timestamp of a repeated segment, which was the last that we acknowledged.

    RFC 9293 appendix A.2: its ACK and window may be news, and a peer that repeats its FIN acknowledges ours by it. Its
    timestamp is the one to echo, as the peer measures by this transmission (as Linux).
    """
    if _check_acknowledgment(tcb, seq, segment, now_ns):
        if tcb.ecn is not None:
            ecn.on_arrival(tcb, tcb.ecn, segment)
        _remember_timestamp(tcb, seq, segment, now_ns)
        receive.note_arrival(tcb, now_ns)
    acknowledge_now(tcb)


def _acknowledge_invalid(tcb: Tcb, now_ns: i64) -> None:
    """Acknowledge an unacceptable segment, at a bounded rate, so that two ends out of step don't answer for ever."""
    interval = tcb.context.config.tcp_invalid_ratelimit_ns
    troubles = troubles_of(tcb)
    if now_ns - troubles.last_challenge_ns < interval:
        tcb.context.counters.TcpExtTCPACKSkippedSeq += 1
        return
    troubles.last_challenge_ns = now_ns
    acknowledge_now(tcb)


def _challenge(tcb: Tcb) -> None:
    """Answer what looks like a blind attack with an acknowledgment, at a limited rate.

    RFC 5961 sections 3 to 5 and 7.
    """
    if not tcb.context.may_challenge():
        tcb.context.counters.TcpExtTCPACKSkippedChallenge += 1
        return
    tcb.context.counters.TcpExtTCPChallengeACK += 1
    acknowledge_now(tcb)


# --- second: the RST bit


def _check_reset(tcb: Tcb, seq: i64, now_ns: i64) -> None:
    """RFC 9293 section 3.10.7.4, second; RFC 5961 section 3.2: only the exact number resets. SHLD-2: text is
    ignored.
    """
    if seq != tcb.rcv_nxt and not tcb.context.config.tcp_insecure_rst:
        tcb.context.drop(DropReason.TCP_RESET, tcb.name(), f"{seq - tcb.irs}, expected {tcb.rcv_nxt - tcb.irs}")
        fast_open = tcb.fast_open
        if fast_open is not None and fast_open.has_option and tcb.rcv_nxt == tcb.irs + 1:
            if tcb.state == abi.ESTABLISHED:
                tcb.context.fast_open.pause(now_ns)  # as Linux: a middle box that dropped the text now resets
        _challenge(tcb)
        return
    counters = tcb.context.counters
    fast_open = tcb.fast_open
    if fast_open is not None and fast_open.pending is not None:
        counters.TcpAttemptFails += 1
        release_fast_open(fast_open, now_ns, is_reset=tcb.owner is not None or tcb.is_orphan)
        fail(tcb, errno.ECONNRESET, "connection reset by peer", "reset received")
        return
    if tcb.state == abi.SYN_RECEIVED:
        # RFC 9293 MUST-11: only a simultaneous open comes here; a half-open entry of a listener is its own record.
        counters.TcpAttemptFails += 1
        fail(tcb, errno.ECONNREFUSED, "connection refused: reset during a simultaneous open", "reset received")
        return
    counters.TcpEstabResets += 1
    if tcb.state == abi.CLOSE_WAIT:
        fail(tcb, errno.EPIPE, "broken pipe: the peer closed, then reset the connection", "reset received")
    elif tcb.state == abi.TIME_WAIT:
        fail(tcb, 0, "", "reset received")
    else:  # in CLOSING and LAST-ACK, too, as Linux: the peer may not have what we sent
        fail(tcb, errno.ECONNRESET, "connection reset by peer", "reset received")


# --- fourth: the SYN bit


def _check_syn(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """RFC 9293 section 3.10.7.4, fourth; RFC 5961 section 4.2: a SYN on a synchronized connection gets a challenge
    ACK.
    """
    context = tcb.context
    if tcb.ecn is not None:
        ecn.note_syn_ack(tcb, tcb.ecn, segment)
    if tcb.state == abi.SYN_RECEIVED and _is_crossing_syn_ack(tcb, segment):
        if _check_acknowledgment(tcb, tcb.irs + 1, segment, now_ns):
            if tcb.snd_una > tcb.iss + 1:  # as Linux: the SYN came twice, and the second one answers text of ours
                report_duplicate(tcb, tcb.irs, tcb.irs + 1)
            acknowledge_now(tcb)
        return
    if context.config.tcp_insecure_syn and tcb.state != abi.SYN_RECEIVED:
        abort(tcb, errno.ECONNRESET, "connection reset: SYN in the window", "SYN in the window")
        return
    context.counters.TcpExtTCPSYNChallenge += 1
    context.drop(DropReason.TCP_SYN_IN_WINDOW, tcb.name(), "")
    _challenge(tcb)


def _is_crossing_syn_ack(tcb: Tcb, segment: Segment) -> bool:
    """Tell the other half of a simultaneous open: the peer's SYN again, now with an acknowledgment (figure 8).
    MUST-10.
    """
    return (segment.flags & (SYN | ACK | RST)) == (SYN | ACK) and unwrap(segment.seq, tcb.irs) == tcb.irs


# --- fifth: the ACK field


def _check_acknowledgment(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> bool:
    """RFC 9293 section 3.10.7.4, fifth."""
    context = tcb.context
    if (segment.flags & ACK) == 0:
        context.drop(DropReason.TCP_NO_ACK, tcb.name(), "")
        return False
    ack = unwrap(segment.ack, tcb.snd_nxt)
    fast_open = tcb.fast_open
    if fast_open is not None and fast_open.pending is not None and tcb.snd_una <= ack <= tcb.snd_nxt:
        ecn.on_third_segment(tcb, segment)
        _end_fast_handshake(tcb, fast_open, fast_open.pending, now_ns)
    if tcb.state == abi.SYN_RECEIVED:
        ecn.on_third_segment(tcb, segment)
        if ack <= tcb.snd_una or ack > tcb.snd_nxt:
            answer(tcb, segment, "acknowledges what was not sent")
            context.drop(DropReason.TCP_INVALID_ACK_SEQUENCE, tcb.name(), "")
            return False
        # RFC 7323 section 2.2: the window of a segment with SYN, as in a simultaneous open, is never scaled.
        scale: i64 = 0
        if (segment.flags & SYN) == 0:
            scale = i64(tcb.snd_wscale)
        send_window.take(tcb, segment.wnd << scale, seq, ack)
        set_state(tcb, abi.ESTABLISHED, "our SYN is acknowledged")
        recovery.on_acknowledged(tcb, min(ack, tcb.snd_nxt), segment, now_ns)
        ensure_syn_delivered(tcb)
        establish(tcb, now_ns)
        if tcb.fin_wanted:
            set_state(tcb, abi.FIN_WAIT_1, "closed while opening")
    elif ack > tcb.snd_nxt:
        context.drop(DropReason.TCP_ACK_UNSENT_DATA, tcb.name(), f"{ack - tcb.iss}, sent {tcb.snd_nxt - tcb.iss}")
        if context.config.tcp_answer_early_acks:  # RFC 9293 section 3.10.7.4; Linux only drops it
            _challenge(tcb)
        return False
    elif ack < tcb.snd_una:
        if ack < tcb.snd_una - min(max(i64(tcb.max_snd_wnd), 1), tcb.snd_una - tcb.iss):
            # RFC 5961 section 5.2 (RFC 9293 MAY-12), but no number from before our SYN: no peer can have seen it (as
            # Linux since 6.7).
            context.drop(DropReason.TCP_TOO_OLD_ACK, tcb.name(), "")
            _challenge(tcb)
            return False
        if tcb.has_sack and segment.sack is not None:
            recovery.on_duplicate(tcb, ack, segment, now_ns, is_duplicate=False)
    else:
        _use_acknowledgment(tcb, seq, ack, segment, now_ns)
    return _after_acknowledgment(tcb, now_ns)


def _end_fast_handshake(tcb: Tcb, fast_open: FastOpen, pending: PendingSynAck, now_ns: i64) -> None:
    """The third segment of a handshake with Fast Open: the connection is in use already, and goes on as it is."""
    fastopen_server.complete(tcb, fast_open, pending, now_ns)
    if tcb.state == abi.SYN_RECEIVED:
        set_state(tcb, abi.ESTABLISHED, "our SYN-ACK is acknowledged")
        count_established(tcb, now_ns)


def _use_acknowledgment(tcb: Tcb, seq: i64, ack: i64, segment: Segment, now_ns: i64) -> None:
    """Move SND.UNA and the send window; notice duplicates."""
    window = segment.wnd << i64(tcb.snd_wscale)
    if ack > tcb.snd_una:
        recovery.on_acknowledged(tcb, ack, segment, now_ns)
        if segment.end == segment.start:
            tcb.context.counters.TcpExtTCPPureAcks += 1
        if tcb.snd_up != NO_SEQ and ack >= tcb.snd_up:
            marks_of(tcb).snd_up = NO_SEQ
        chrono.stop_if_idle(tcb, now_ns)
    elif tcb.in_flight_count() > 0 or (tcb.losses is not None and segment.sack is not None):
        is_duplicate = window == tcb.snd_wnd and segment_length(segment) == 0
        if is_duplicate or (segment.sack is not None and tcb.has_sack):
            recovery.on_duplicate(tcb, ack, segment, now_ns, is_duplicate=is_duplicate)
        elif tcb.ecn is not None:
            recovery.on_mere_feedback(tcb, segment, now_ns)
    elif tcb.ecn is not None:
        recovery.on_mere_feedback(tcb, segment, now_ns)
    # RFC 9293 section 3.10.7.4: only a newer segment, or a newer acknowledgment, may move the window (MUST-34).
    if tcb.snd_wl1 < seq or (tcb.snd_wl1 == seq and tcb.snd_wl2 <= ack):
        was_shut = tcb.snd_wnd == 0
        send_window.take(tcb, window, seq, ack)
        if tcb.unsent is not None:
            restart_after_idle(tcb, now_ns)
        if window > 0 and was_shut:
            silence.end_probing(tcb)
            tcb.disarm(TIMER_PERSIST)
            end_backoff(tcb)
    # An acknowledgment of a probe keeps a connection open for as long as the window stays shut (MUST-37).
    silence.end_probes(tcb)
    if tcb.snd_wnd == 0:
        # Nor does what was in flight when it shut time out: its retransmissions are probes (SHLD-17).
        silence.end_retries(tcb)


def _after_acknowledgment(tcb: Tcb, now_ns: i64) -> bool:
    """What the acknowledgment of our FIN does to the state."""
    is_fin_acknowledged = tcb.fin_seq != NO_SEQ and tcb.snd_una > tcb.fin_seq
    if not is_fin_acknowledged:
        return True
    state = tcb.state
    if state == abi.FIN_WAIT_1:
        set_state(tcb, abi.FIN_WAIT_2, "our FIN is acknowledged")
        if tcb.is_orphan and tcb.options.fin_timeout_ns < 0:  # as Linux: its program does not care for the peer's FIN
            tcb.context.counters.TcpExtTCPAbortOnData += 1
            finish(tcb, "TCP_LINGER2 below 0: no FIN-WAIT-2")
            return False
        if tcb.is_orphan:
            tcb.arm(TIMER_FIN_WAIT_2, now_ns + tcb.options.fin_timeout_ns)
    elif state == abi.CLOSING:
        set_state(tcb, abi.TIME_WAIT, "our FIN is acknowledged")
        return False
    elif state == abi.LAST_ACK:
        finish(tcb, "our FIN is acknowledged")
        return False
    return True


# --- seventh: the text; eighth: the FIN bit


def _take_text(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> bool:
    """RFC 9293 section 3.10.7.4, seventh. Text for a socket that is closed, or shut both ways, is a reset (SHLD-3)."""
    state = tcb.state
    if state == abi.ESTABLISHED or state == abi.FIN_WAIT_1 or state == abi.FIN_WAIT_2:
        end = seq + (segment.end - segment.start)
        is_unwanted = tcb.is_orphan or (tcb.is_read_shut and state != abi.ESTABLISHED)
        if is_unwanted and end > tcb.rcv_nxt:
            tcb.context.counters.TcpExtTCPAbortOnData += 1
            tcb.context.drop(DropReason.TCP_ABORT_ON_DATA, tcb.name(), f"{end - tcb.rcv_nxt} bytes")
            # Linux's form: the reset takes the number that the peer acknowledged, which is the one that it expects.
            answer(tcb, segment, "text arrived after close")
            fail(tcb, errno.ECONNRESET, "connection reset: text arrived after close", "text arrived after close")
            return False
        if tcb.peer_fin_seq != NO_SEQ and seq >= tcb.peer_fin_seq:
            return True  # text beyond the peer's own FIN
        if end > tcb.rcv_nxt and seq <= tcb.rcv_nxt and tcb.rcv_adv <= tcb.rcv_nxt:
            tcb.context.drop(DropReason.TCP_ZEROWINDOW, tcb.name(), f"{end - tcb.rcv_nxt} bytes")
            tcb.context.counters.TcpExtTCPZeroWindowDrop += 1
            acknowledge_now(tcb)
            return False
        receive.accept_text(tcb, seq, segment, now_ns)
        receive.forget_early_fin(tcb)
    return True
