"""What goes next: ``poll_segment`` is asked until it has nothing more.

The order: a reset; what was lost, before anything new; the SYN; new text, within the peer's window, the congestion
window and Nagle's rule; the FIN behind the last byte; a probe; an acknowledgment that nothing carried. ``tcb.why``
says which rule sent it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp import rack, receive
from estab.tcp.inflight import Losses, SentSegment
from estab.tcp.rtt import timeout_ns
from estab.tcp.scoreboard import next_lost, remember_resent, remember_sent, split
from estab.tcp.tcb import CA_LOSS, CA_RECOVERY, NO_SEQ, TIMER_PROBE, TIMER_REORDER, Tcb
from estab.units import MS, NEVER
from estab.wire.seq import wrap
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Segment

__all__ = ["bare_segment", "poll_segment"]

_WINDOW_MAX: Final = 0xFFFF


def poll_segment(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Give the next segment to send, or ``None`` when there is nothing to send now."""
    if tcb.is_reset_due:
        return _reset(tcb)
    state = tcb.state
    if state == abi.CLOSED or state == abi.LISTEN:
        return None
    losses = tcb.losses
    if losses is not None:
        if losses.is_holding_back:
            segment = _new_text(tcb, now_ns)
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
    if state != abi.SYN_RECEIVED and state != abi.TIME_WAIT:
        if tcb.unsent is not None:
            segment = _new_text(tcb, now_ns)
            if segment is not None:
                return segment
        elif tcb.fin_wanted and tcb.fin_seq == NO_SEQ:
            segment = _bare_fin(tcb, now_ns)
            if segment is not None:
                return segment
        if tcb.is_probe_due:
            return _probe(tcb, now_ns)
    return _acknowledgment(tcb, now_ns)


# --- building


def bare_segment(tcb: Tcb, seq: i64, flags: i64, now_ns: i64) -> Segment:
    """Build a segment without text: numbers, window, timestamps. RFC 9293 MUST-45: always the connection's own
    address.
    """
    segment = Segment(tcb.local_port, tcb.remote_port, wrap(seq), wrap(0), flags, 0)
    segment.tos = tcb.tos
    if (flags & ACK) != 0:
        segment.ack = wrap(tcb.rcv_nxt)
    if (flags & SYN) != 0:
        segment.wnd = min(receive.select_window(tcb), _WINDOW_MAX)  # the window of a SYN is never scaled
    else:
        segment.wnd = min(receive.select_window(tcb) >> tcb.rcv_wscale, _WINDOW_MAX)
    if tcb.has_timestamps:
        segment.has_timestamps = True
        segment.ts_val = (now_ns // MS + tcb.ts_offset) & 0xFFFFFFFF
        if (flags & ACK) != 0:
            segment.ts_ecr = tcb.ts_recent
    if (flags & ACK) != 0 and (flags & SYN) == 0:
        if tcb.has_sack and (tcb.out_of_order is not None or tcb.dsack_left != NO_SEQ):
            segment.sack = _sack_blocks(tcb)
        receive.on_acknowledgment_sent(tcb)
    return segment


def _sack_blocks(tcb: Tcb) -> list[int] | None:
    """List up to three blocks beside timestamps, four without (RFC 2018 section 3); a DSACK goes first (RFC 2883)."""
    most: i64 = 4
    if tcb.has_timestamps:
        most = 3
    blocks: list[int] = []
    if tcb.dsack_left != NO_SEQ:
        blocks.append(tcb.dsack_left)
        blocks.append(tcb.dsack_right)
        most -= 1
    queue = tcb.out_of_order
    if queue is not None:
        blocks.extend(queue.blocks(most))
    if not blocks:
        return None
    return [number & 0xFFFFFFFF for number in blocks]


def _text_segment(tcb: Tcb, sent: SentSegment, now_ns: i64) -> Segment:
    """Build a segment with the text, SYN and FIN of ``sent``."""
    flags = sent.flags
    if (flags & SYN) == 0 or tcb.state != abi.SYN_SENT:
        flags |= ACK
    segment = bare_segment(tcb, sent.seq, flags, now_ns)
    if (flags & SYN) != 0:
        _syn_options(tcb, segment)
    segment.data = sent.data
    segment.start = 0
    segment.end = len(sent.data)
    if tcb.snd_up != NO_SEQ and tcb.snd_up > sent.seq:
        # RFC 9293 MUST-62: the pointer is the number of the octet after the urgent data.
        segment.flags |= URG
        segment.urg = min(tcb.snd_up - sent.seq, 0xFFFF)
    return segment


def _syn_options(tcb: Tcb, segment: Segment) -> None:
    config = tcb.context.config
    segment.mss = receive_mss(tcb)  # RFC 9293 MUST-14, MUST-65, SHLD-5
    answers = tcb.state != abi.SYN_SENT
    if tcb.has_sack if answers else config.tcp_sack:
        segment.sack_permitted = True
    if tcb.has_wscale if answers else config.tcp_window_scaling:
        segment.wscale = tcb.rcv_wscale
    if not answers and config.tcp_timestamps:
        segment.has_timestamps = True
        segment.ts_val = (tcb.context.now_ns // MS + tcb.ts_offset) & 0xFFFFFFFF


def receive_mss(tcb: Tcb) -> i64:
    """Give the MSS to advertise: the link's MTU less the fixed headers (RFC 9293 MUST-67)."""
    headers: i64 = 60 if len(tcb.remote) == 16 else 40
    mss = tcb.context.paths.mtu_of(tcb.remote) - headers
    if tcb.user_mss > 0:
        mss = min(mss, tcb.user_mss)
    return max(min(mss, 0xFFFF), 64)


# --- what goes out


def _reset(tcb: Tcb) -> Segment:
    tcb.is_reset_due = False
    tcb.why = "reset"
    counters = tcb.context.counters
    counters.TcpOutRsts += 1
    segment = Segment(tcb.local_port, tcb.remote_port, wrap(tcb.snd_nxt), wrap(tcb.rcv_nxt), RST | ACK, 0)
    segment.tos = tcb.tos
    if tcb.has_timestamps:
        segment.has_timestamps = True
        segment.ts_val = (tcb.context.now_ns // MS + tcb.ts_offset) & 0xFFFFFFFF
        segment.ts_ecr = tcb.ts_recent
    return segment


def _syn(tcb: Tcb, now_ns: i64) -> Segment | None:
    if tcb.snd_nxt != tcb.iss:
        return None
    sent = SentSegment(tcb.iss, tcb.iss + 1, SYN, b"", now_ns)
    return _first_transmission(tcb, sent, now_ns, "connection request")


def _first_transmission(tcb: Tcb, sent: SentSegment, now_ns: i64, why: str) -> Segment:
    tcb.why = why
    remember_sent(tcb, sent)
    tcb.snd_nxt = sent.end
    losses = tcb.losses
    if losses is not None:
        losses.prr_out_bytes += sent.end - sent.seq
    if tcb.retransmit_ns == NEVER or tcb.timer_kind == TIMER_PROBE:
        rack.arm(tcb, now_ns)
    if tcb.in_flight_count() == 1:
        tcb.first_unanswered_ns = now_ns
    if len(sent.data) > 0:
        tcb.context.counters.TcpExtTCPOrigDataSent += 1
        # Text that answers text: acknowledgments may ride on it (Linux's pingpong).
        if now_ns - tcb.last_text_ns < tcb.context.config.tcp_delack_ns and tcb.rcv_nxt > tcb.irs + 1:
            tcb.is_interactive = True
    return _text_segment(tcb, sent, now_ns)


def _retransmit(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send again the first segment taken to be lost, cut to what a segment may hold now."""
    at = next_lost(tcb)
    sent = tcb.sent
    losses = tcb.losses
    if at < 0 or sent is None or losses is None:
        return None
    lost = sent[at]
    is_head = at == tcb.sent_head
    allowed = tcb.cwnd_bytes - (tcb.pipe_bytes - tcb.reno_sacked_bytes)
    limit = _text_limit(tcb)
    if not tcb.is_fast_retransmit_due:
        if tcb.pipe_bytes > 0 and min(lost.end - lost.seq, limit) > allowed:
            return None
    if tcb.pacing_rate > 0 and not is_head and _must_wait(tcb, now_ns):
        return None
    edge = tcb.snd_una + tcb.snd_wnd
    if lost.seq >= edge and not is_head:
        return None  # RFC 9293 SHLD-16: only inside the (shrunk) window; the first of all is its own probe
    tcb.is_fast_retransmit_due = False
    if lost.seq < edge < lost.seq + limit:
        limit = edge - lost.seq
    if len(lost.data) > limit:
        split(tcb, sent, at, limit)
    lost.is_lost = False
    tcb.lost_count -= 1
    tcb.pipe_bytes += lost.end - lost.seq
    remember_resent(tcb, losses, lost, now_ns)
    counters = tcb.context.counters
    if (lost.flags & SYN) != 0:
        counters.TcpExtTCPSynRetrans += 1
    if tcb.ca_state == CA_LOSS:
        counters.TcpExtTCPSlowStartRetrans += 1
        tcb.why = f"retransmission: timeout {tcb.retries}" if tcb.context.observer is not None else "retransmission"
    elif tcb.ca_state == CA_RECOVERY:
        counters.TcpExtTCPFastRetrans += 1
        tcb.why = "fast retransmission"
    else:
        tcb.why = "retransmission"
    if tcb.retransmit_ns == NEVER or (is_head and tcb.timer_kind != TIMER_REORDER):
        rack.arm_rto(tcb, now_ns)
    return _text_segment(tcb, lost, now_ns)


def _loss_probe(tcb: Tcb, losses: Losses, now_ns: i64) -> Segment | None:
    """Send a tail loss probe: a new segment where there is one and the peer has room, else the last one again.

    RFC 8985 section 7.3. The congestion window does not hold it back.
    """
    losses.is_probe_due = False
    sent = tcb.sent
    if sent is None or tcb.state == abi.SYN_RECEIVED or losses.probe_end != NO_SEQ:
        return None
    counters = tcb.context.counters
    mss = _text_limit(tcb)
    unsent = tcb.unsent
    room = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    if unsent is not None and room > 0 and min(unsent.size, mss) <= room:
        counters.TcpExtTCPLossProbes += 1
        losses.is_probe_repeat = False
        segment = _send_text(tcb, min(unsent.size, mss), unsent.size, mss, now_ns)
    else:
        at: i64 = len(sent) - 1
        last = sent[at]
        length: i64 = len(last.data)
        if last.is_lost or last.is_sacked:
            return None
        if length > mss:
            split(tcb, sent, at, (length - 1) // mss * mss)
            last = sent[at + 1]
        counters.TcpExtTCPLossProbes += 1
        losses.is_probe_repeat = True
        remember_resent(tcb, losses, last, now_ns)
        segment = _text_segment(tcb, last, now_ns)
    losses.probe_end = tcb.snd_nxt
    tcb.why = "retransmission: tail loss probe" if losses.is_probe_repeat else "new data: tail loss probe"
    rack.arm_rto(tcb, now_ns)
    return segment


def _text_limit(tcb: Tcb) -> i64:
    """Give the most text one segment to the wire may carry now; SACK blocks take their part."""
    limit = tcb.snd_mss()
    if tcb.has_sack and (tcb.out_of_order is not None or tcb.dsack_left != NO_SEQ):
        blocks = _sack_blocks(tcb)
        if blocks is not None:
            limit -= 4 + 4 * len(blocks)  # two NOPs, kind, length, eight bytes a block
    return max(limit, 8)


def _new_text(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send text that was never sent, where window, congestion window and Nagle's rule allow."""
    unsent = tcb.unsent
    if unsent is None:
        return None
    waiting = unsent.size
    mss = _text_limit(tcb)
    in_window = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    pipe = tcb.pipe_bytes - tcb.reno_sacked_bytes
    in_cwnd = _congestion_room(tcb, pipe, mss)
    count = min(waiting, in_window)
    if count <= 0:
        if tcb.in_flight_count() == 0 and tcb.persist_ns == NEVER:
            _arm_persist(tcb, now_ns)
        return None
    most = mss
    if tcb.gso_bytes > mss:
        most = tcb.gso_bytes // mss * mss
    if tcb.pacing_rate > 0:
        if _must_wait(tcb, now_ns):
            return None
        if most > mss:
            # As Linux's TSO autosizing: a millisecond's worth, but no less than two segments.
            most = min(most, max(tcb.pacing_rate // 1000 // mss, 2) * mss)
    count = min(count, most)
    if count > in_cwnd:
        if in_cwnd < mss and count > in_cwnd:
            _note_full_window(tcb, tcb.snd_nxt)
            return None
        count = in_cwnd // mss * mss
        _note_full_window(tcb, tcb.snd_nxt + count)
    if count > mss:
        rest = count % mss
        if rest != 0 and (count < waiting or not _may_send_small(tcb)):
            count -= rest
    elif count < mss and not _may_send_partial(tcb, count, waiting, now_ns):
        return None
    return _send_text(tcb, count, waiting, mss, now_ns)


def _must_wait(tcb: Tcb, now_ns: i64) -> bool:
    """Tell whether pacing holds text back: up to a millisecond's worth may go at once, then its time must pass."""
    ahead_ns = tcb.pace_ns - now_ns
    if ahead_ns <= 0:
        tcb.is_pacing = False
    elif ahead_ns > MS:
        tcb.is_pacing = True
    return tcb.is_pacing


def _note_full_window(tcb: Tcb, end: i64) -> None:
    """The congestion window is what holds text back: until what is in flight, up to ``end``, is acknowledged."""
    tcb.is_cwnd_limited = True
    tcb.usage_seq = end


def _congestion_room(tcb: Tcb, pipe: i64, mss: i64) -> i64:
    """Give how much congestion control lets into the network now. With nothing in flight, at least one segment.

    That is limited transmit as well (RFC 3042): what the first two duplicates tell has left the pipe, so that new text
    takes its place.
    """
    room = tcb.cwnd_bytes - pipe
    if pipe <= 0:
        room = max(room, mss)
    return room


def _may_send_small(tcb: Tcb) -> bool:
    """Apply Nagle's rule to a last, partial segment (RFC 9293 SHLD-7, MUST-17).

    Minshall's variant, as Linux: only a small segment in flight holds back another, so that the tail of a large write
    does not wait for its full segments.
    """
    return tcb.nodelay or tcb.fin_wanted or tcb.snd_sml <= tcb.snd_una or tcb.snd_up > tcb.snd_nxt


def _may_send_partial(tcb: Tcb, count: i64, waiting: i64, now_ns: i64) -> bool:
    """Decide on less than a full segment: silly-window avoidance and Nagle (RFC 9293 MUST-38, section 3.8.6.2.1)."""
    if count == waiting:
        return _may_send_small(tcb)
    # The window cuts it off. Half of the largest window ever offered is worth sending; less waits for the override
    # timer.
    if count >= tcb.max_snd_wnd // 2 or tcb.is_probe_due:
        return True
    if tcb.in_flight_count() == 0 and tcb.persist_ns == NEVER:
        _arm_persist(tcb, now_ns)
    return False


def _send_text(tcb: Tcb, count: i64, waiting: i64, mss: i64, now_ns: i64) -> Segment:
    unsent = tcb.unsent
    assert unsent is not None
    data = unsent.take(count)
    flags: i64 = 0
    end = tcb.snd_nxt + count
    if count == waiting:
        tcb.unsent = None
        flags |= PSH  # RFC 9293 MUST-61: the last segment of what was written
        if tcb.fin_wanted and end < tcb.snd_una + tcb.snd_wnd:
            flags |= FIN
            tcb.fin_seq = end
            end += 1
        # All is out: the window held nothing back, unless it is full now, or half full while it doubles each round
        # trip.
        in_use = tcb.pipe_bytes + count
        if in_use + mss > tcb.cwnd_bytes or (tcb.cwnd_bytes < tcb.ssthresh_bytes and 2 * in_use >= tcb.cwnd_bytes):
            _note_full_window(tcb, end)
    if count > mss:
        flags |= PSH  # as Linux: each burst says of itself that the sender has no more of it to come
    if count % mss != 0:
        tcb.snd_sml = end
    tcb.is_probe_due = False
    sent = SentSegment(tcb.snd_nxt, end, flags, data, now_ns)
    return _first_transmission(tcb, sent, now_ns, "new data")


def _bare_fin(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send a FIN that no text could carry."""
    if tcb.snd_wnd == 0 and tcb.in_flight_count() == 0 and not tcb.is_probe_due:
        if tcb.persist_ns == NEVER:
            _arm_persist(tcb, now_ns)
        return None
    if tcb.snd_nxt >= tcb.snd_una + tcb.snd_wnd and tcb.in_flight_count() > 0:
        return None
    tcb.is_probe_due = False
    tcb.fin_seq = tcb.snd_nxt
    sent = SentSegment(tcb.snd_nxt, tcb.snd_nxt + 1, FIN, b"", now_ns)
    return _first_transmission(tcb, sent, now_ns, "no more data")


def _arm_persist(tcb: Tcb, now_ns: i64) -> None:
    """Start probing a shut window after one timeout, then with back-off (RFC 9293 SHLD-29, SHLD-30)."""
    tcb.backoff = 0
    tcb.persist_ns = now_ns + timeout_ns(tcb)


def _probe(tcb: Tcb, now_ns: i64) -> Segment:
    """Ask the peer for its window or a sign of life: an empty segment with an old number, which it must answer.

    RFC 9293 MUST-36, SHLD-12. We differ: the RFC's window probe carries an octet of new text; like Linux we send none,
    so that nothing has to be taken back when the window stays shut.
    """
    tcb.is_probe_due = False
    is_window_probe = tcb.unsent is not None or (tcb.fin_wanted and tcb.fin_seq == NO_SEQ)
    tcb.why = "zero-window probe" if is_window_probe else "keepalive probe"
    counters = tcb.context.counters
    if is_window_probe:
        counters.TcpExtTCPWinProbe += 1
    else:
        counters.TcpExtTCPKeepAlive += 1
    return bare_segment(tcb, tcb.snd_una - 1, ACK, now_ns)


def _acknowledgment(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send the acknowledgment that nothing carried. Every out-of-order segment gets its duplicate.

    RFC 5681 section 4.2.
    """
    if tcb.duplicate_acks_owed > 0:
        tcb.duplicate_acks_owed -= 1
        tcb.why = "duplicate acknowledgment"
        return bare_segment(tcb, tcb.snd_nxt, ACK, now_ns)
    if not tcb.is_ack_due:
        return None
    tcb.why = "acknowledgment"
    return bare_segment(tcb, tcb.snd_nxt, ACK, now_ns)
