"""What is sent next: ``poll_segment`` is called until it has nothing more.

The order: a reset; what was lost, before anything new; the SYN; new text, within the peer's window, the congestion
window and Nagle's rule (``plan``); the FIN after the last byte; a probe; an acknowledgment that no other segment
carries. ``tcb.why`` says which rule sent it.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.tcp.ecn import classic as ecn
from estab.tcp.receiving import acknowledging
from estab.tcp.record.ecn_state import ACCURATE, Ecn
from estab.tcp.record.fast_open import FastOpen, PendingSynAck
from estab.tcp.record.inflight import Losses, SentSegment
from estab.tcp.record.tcb import CA_LOSS, CA_RECOVERY, NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_REORDER
from estab.tcp.recovery import rack
from estab.tcp.recovery.scoreboard import (
    next_lost,
    put_back,
    remember_resent,
    segments_in,
    split,
    withdraw_fast_retransmit,
)
from estab.tcp.sending.plan import (
    bare_fin,
    can_be_large,
    first_transmission,
    new_text,
    probe_text,
    take_syn_text,
)
from estab.tcp.sending.segments import WINDOW_MAX, bare_segment, syn_options, text_limit, text_segment
from estab.tcp.window import silence
from estab.tcp.window.pacing import must_wait
from estab.tcp.window.timestamps import clock
from estab.units import NEVER
from estab.wire.seq import wrap
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment

__all__ = ["poll_segment"]


def poll_segment(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Return the next segment to send, or ``None`` when there is nothing to send now."""
    if _is_silent(tcb):
        return None
    if tcb.is_reset_due:
        return _reset(tcb)
    state = tcb.state
    if state == abi.CLOSED or state == abi.LISTEN:
        return None
    fast_open = tcb.fast_open
    pending = None if fast_open is None else fast_open.pending
    if pending is not None and pending.is_due:
        return _fast_syn_ack(tcb, pending, now_ns)
    unsent = tcb.unsent
    if unsent is not None and unsent.planned > 0 and state != abi.SYN_SENT:
        return new_text(tcb, now_ns)  # decided before anything that came since
    losses = tcb.losses
    if tcb.ecn is not None and tcb.ecn.early_ack_seq != NO_SEQ:
        return _early_acknowledgment(tcb, tcb.ecn, now_ns)
    if losses is not None and pending is None:
        if losses.is_holding_back:
            segment = new_text(tcb, now_ns)
            if segment is not None:
                return segment
            if tcb.snd_nxt > tcb.recover:
                return _acknowledgment(tcb, now_ns)
            losses.is_holding_back = False
            losses.is_frto = False
        if tcb.lost_count > 0:
            segment = _retransmit(tcb, now_ns)
            if segment is not None:
                return segment
        if losses.is_probe_due:
            segment = _loss_probe(tcb, losses, now_ns)
            if segment is not None:
                return segment
    if state == abi.SYN_SENT:
        return _syn(tcb, now_ns)
    if (state != abi.SYN_RECEIVED or pending is not None) and state != abi.TIME_WAIT:
        segment = new_text(tcb, now_ns)
        if segment is None and tcb.unsent is None and tcb.fin_wanted and tcb.fin_seq == NO_SEQ:
            segment = bare_fin(tcb, now_ns)
        if segment is not None:
            return segment
        if tcb.is_probe_due:
            return _probe(tcb, now_ns)
    return _acknowledgment(tcb, now_ns)


def _is_silent(tcb: Tcb) -> bool:
    """Tell at a glance that nothing is to be sent, and nothing to be noted of what was. ``False``: look closer."""
    if tcb.is_ack_due or tcb.unsent is not None or tcb.has_sent_text or tcb.is_out_of_room or tcb.is_probe_due:
        return False
    if tcb.is_reset_due or tcb.duplicate_acks_owed > 0 or tcb.losses is not None or tcb.ecn is not None:
        return False
    if tcb.fast_open is not None or tcb.state == abi.SYN_SENT:
        return False
    return not tcb.fin_wanted or tcb.fin_seq != NO_SEQ


def _reset(tcb: Tcb) -> Segment:
    tcb.is_reset_due = False
    tcb.why = "reset"
    counters = tcb.context.counters
    counters.TcpOutRsts += 1
    segment = Segment(i64(tcb.local_port), i64(tcb.remote_port), wrap(tcb.snd_nxt), wrap(tcb.rcv_nxt), RST | ACK, 0)
    segment.tos = tcb.options.tos
    if tcb.has_timestamps:
        segment.has_timestamps = True
        segment.ts_val = clock(tcb.context.now_ns, tcb.ts_offset)
        segment.ts_ecr = tcb.ts_recent
    return segment


def _syn(tcb: Tcb, now_ns: i64) -> Segment | None:
    fast_open = tcb.fast_open
    if tcb.snd_nxt != tcb.iss or (fast_open is not None and fast_open.is_deferred):
        return None
    sent = SentSegment(tcb.iss, tcb.iss + 1, SYN, b"", 0, now_ns)
    segment = first_transmission(tcb, sent, now_ns, "connection request")
    if fast_open is not None:
        _put_fast_open(tcb, fast_open, segment, now_ns)
    return segment


def _put_fast_open(tcb: Tcb, fast_open: FastOpen, segment: Segment, now_ns: i64) -> None:
    """Let the SYN bring option and text; to the scoreboard the text is a segment of its own (RFC 7413 section 4.2)."""
    if fast_open.cookie is not None:
        segment.fast_open = fast_open.cookie
        segment.is_fast_open_experimental = fast_open.is_experimental
        fast_open.has_option = True
        tcb.why = "connection request: Fast Open" if fast_open.cookie else "connection request: asks for a cookie"
    unsent = tcb.unsent
    if unsent is None:
        return
    text = take_syn_text(tcb, unsent, now_ns)
    segment.data = text.data
    segment.start = text.start
    segment.end = text.start + text.text_bytes()
    fast_open.has_text = True
    tcb.why = "connection request with data: Fast Open"


def _fast_syn_ack(tcb: Tcb, pending: PendingSynAck, now_ns: i64) -> Segment:
    """Answer the SYN of a connection that is in use already; what it brought is acknowledged, too."""
    pending.is_due = False
    tcb.why = "connection accepted: Fast Open"
    if pending.retransmissions > 0:
        tcb.why = f"retransmission: SYN-ACK {pending.retransmissions}"
    segment = bare_segment(tcb, tcb.iss, SYN | ACK, now_ns)
    syn_options(tcb, segment)
    if pending.cookie is not None:
        segment.fast_open = pending.cookie
        segment.is_fast_open_experimental = pending.syn.is_fast_open_experimental
    is_ecn_needed = tcb.ecn is not None and tcb.ecn.is_needed
    again = pending.retransmissions
    ecn.mark_syn_ack(
        tcb.context.config, pending.ecn_mode, pending.syn, segment, is_needed=is_ecn_needed, is_repeat=again > 0,
        is_late=again > 1,
    )
    if again > 1 and tcb.ecn is not None and tcb.ecn.mode == ACCURATE:
        tcb.ecn.is_ect_off = True  # this one did not ask for ECN (RFC 9768 section 3.1.5)
    acknowledging.note_told(tcb, tcb.rcv_nxt)
    return segment


def _retransmit(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send again the first segment taken to be lost, cut to what a segment may hold now."""
    at = next_lost(tcb)
    sent = tcb.sent
    losses = tcb.losses
    if at < 0 or sent is None or losses is None:
        return None
    lost = sent[at]
    if (tcb.state == abi.SYN_SENT or tcb.state == abi.SYN_RECEIVED) and (lost.flags & SYN) == 0:
        return None  # text after the SYN waits for the handshake
    is_head = at == tcb.sent_head
    allowed = tcb.cwnd_bytes - (tcb.pipe_bytes - tcb.reno_sacked_bytes)
    limit = text_limit(tcb, now_ns)
    if not tcb.is_fast_retransmit_due:
        if tcb.pipe_bytes > 0 and min(lost.end - lost.seq, limit) > allowed:
            return None
    if tcb.is_paced() and not is_head and must_wait(tcb, now_ns):
        return None
    edge = tcb.snd_una + tcb.snd_wnd
    if lost.seq >= edge and not is_head:
        return None  # RFC 9293 SHLD-16: only inside the (shrunk) window; the first of all is its own probe
    withdraw_fast_retransmit(tcb)
    most = limit
    if can_be_large(tcb, limit) and allowed > limit and not tcb.is_paced():
        most = min(allowed, i64(tcb.gso_bytes)) // limit * limit  # as one super-segment, as far as the window goes
    if lost.seq < edge < lost.seq + most:
        most = edge - lost.seq
    if lost.text_bytes() > most:
        split(tcb, sent, at, most)
    put_back(tcb, lost)
    remember_resent(tcb, losses, lost, now_ns)
    counters = tcb.context.counters
    count = segments_in(tcb, lost.text_bytes())
    if (lost.flags & SYN) != 0:
        counters.TcpExtTCPSynRetrans += 1
    if tcb.ca_state == CA_LOSS:
        counters.TcpExtTCPSlowStartRetrans += count
        tcb.why = "retransmission"
        if tcb.retries > 0 and tcb.context.observer is not None:
            tcb.why = f"retransmission: timeout {tcb.retries}"
    elif tcb.ca_state == CA_RECOVERY:
        counters.TcpExtTCPFastRetrans += count
        tcb.why = "fast retransmission"
    else:
        tcb.why = "retransmission"
    if tcb.retransmit_ns == NEVER or (is_head and tcb.timer_kind != TIMER_REORDER):
        rack.arm_rto(tcb, now_ns)
    segment = text_segment(tcb, lost, now_ns)
    if lost.text_bytes() > limit:
        segment.flags |= PSH  # as Linux: each super-segment says that its sender has no more of it to come
    return segment


def _loss_probe(tcb: Tcb, losses: Losses, now_ns: i64) -> Segment | None:
    """Send a tail loss probe: a new segment if there is one and the peer has room, else the last one again.

    RFC 8985 section 7.3. The congestion window does not hold it back.
    """
    losses.is_probe_due = False
    sent = tcb.sent
    if sent is None or tcb.state == abi.SYN_RECEIVED or losses.probe_end != NO_SEQ:
        return None
    counters = tcb.context.counters
    mss = text_limit(tcb, now_ns)
    unsent = tcb.unsent
    room = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    if unsent is not None and room > 0 and min(unsent.size, mss) <= room:
        counters.TcpExtTCPLossProbes += 1
        losses.is_probe_repeat = False
        segment = probe_text(tcb, unsent, now_ns)
    else:
        at: i64 = len(sent) - 1
        last = sent[at]
        length = last.text_bytes()
        if last.is_lost or last.is_sacked:
            return None
        if length > mss:
            split(tcb, sent, at, (length - 1) // mss * mss)
            last = sent[at + 1]
        counters.TcpExtTCPLossProbes += 1
        losses.is_probe_repeat = True
        remember_resent(tcb, losses, last, now_ns)
        segment = text_segment(tcb, last, now_ns)
    losses.probe_end = tcb.snd_nxt
    tcb.why = "retransmission: tail loss probe" if losses.is_probe_repeat else "new data: tail loss probe"
    rack.arm_rto(tcb, now_ns)
    return segment


def _probe(tcb: Tcb, now_ns: i64) -> Segment:
    """Ask the peer for its window or a sign of life: an empty segment with an old number, which it must answer.

    RFC 9293 MUST-36, SHLD-12. We differ: the RFC's window probe carries an octet of new text; like Linux we send none,
    so that nothing has to be taken back when the window stays shut.
    """
    silence.take_probe(tcb)
    is_window_probe = tcb.unsent is not None or (tcb.fin_wanted and tcb.fin_seq == NO_SEQ)
    tcb.why = "zero-window probe" if is_window_probe else "keepalive probe"
    counters = tcb.context.counters
    if is_window_probe:
        counters.TcpExtTCPWinProbe += 1
    else:
        counters.TcpExtTCPKeepAlive += 1
    return _pure(tcb, tcb.snd_una - 1, now_ns)


def _acknowledgment(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send the acknowledgment that nothing carried. Every out-of-order segment gets its duplicate.

    RFC 5681 section 4.2.
    """
    if tcb.duplicate_acks_owed > 0:
        acknowledging.pay_duplicate(tcb)
        tcb.why = "duplicate acknowledgment"
        return _pure(tcb, _acceptable_seq(tcb), now_ns)
    if not tcb.is_ack_due:
        return None
    is_fin_out = tcb.fin_seq == tcb.snd_nxt - 1 and tcb.snd_una <= tcb.fin_seq
    if tcb.context.config.tcp_repeat_fin and is_fin_out and tcb.rcv_nxt != tcb.rcv_wup:
        tcb.why = "acknowledgment, with the FIN again"
        return bare_segment(tcb, tcb.fin_seq, FIN | ACK, now_ns)
    tcb.why = "acknowledgment"
    return _pure(tcb, _acceptable_seq(tcb), now_ns)


def _early_acknowledgment(tcb: Tcb, state: Ecn, now_ns: i64) -> Segment:
    """Acknowledge what came before marks began or ended, as it was marked (RFC 8257 section 3.2)."""
    seq = ecn.take_early_ack(state)
    is_echoing = state.is_echoing
    state.is_echoing = state.is_early_echo
    tcb.why = "acknowledgment: the marks change"
    segment = _pure(tcb, _acceptable_seq(tcb), now_ns)
    state.is_echoing = is_echoing
    # The right edge of the window is that of the segment that acknowledges everything, which comes next.
    segment.ack = wrap(seq)
    segment.wnd = min(segment.wnd + ((tcb.rcv_nxt - seq) >> i64(tcb.rcv_wscale)), WINDOW_MAX)
    acknowledging.note_told(tcb, seq)
    acknowledging.acknowledge_now(tcb)
    return segment


def _acceptable_seq(tcb: Tcb) -> i64:
    """Return the number of a segment without text: SND.NXT, or the right edge of a window that the peer has shrunk.

    With a number beyond that edge the peer would not take the acknowledgment (RFC 9293 section 3.8.6; Linux's
    ``tcp_acceptable_seq``).

    An edge that is off by less than a unit of the window's scale is rounding, and no shrinking (RFC 7323 section 2.4).
    """
    edge = tcb.snd_una + tcb.snd_wnd
    if tcb.snd_nxt <= edge or (tcb.has_wscale and tcb.snd_nxt - edge < (1 << i64(tcb.snd_wscale))):
        return tcb.snd_nxt
    return edge


def _pure(tcb: Tcb, seq: i64, now_ns: i64) -> Segment:
    """Build an acknowledgment without text, with what it tells of marks."""
    segment = bare_segment(tcb, seq, ACK, now_ns)
    if tcb.ecn is not None:
        ecn.mark_pure(tcb, tcb.ecn, segment, now_ns)
    return segment
