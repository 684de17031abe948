"""New text: how much of it goes now, within the peer's window, the congestion window, Nagle's rule and the pace.

``plan`` is Linux's ``tcp_write_xmit``, one super-segment at a time: it takes text off the send queue's pieces into a
burst, and ``new_text`` makes segments of the bursts. A super-segment is half of the congestion window at most, and a
millisecond's worth at the pace that the window and the round trip give, or more on a path that is very short.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.context import WindowProbe
from estab.tcp.ecn import accurate as accecn
from estab.tcp.receiving.acknowledging import expect_answers
from estab.tcp.record.parts import traffic_of
from estab.tcp.record.sendqueue import Piece, SendQueue
from estab.tcp.record.tcb import CA_OPEN, SentSegment, Tcb
from estab.tcp.record.timer_table import TIMER_PERSIST, TIMER_PROBE, TIMER_RTO
from estab.tcp.recovery import cwnd, mtu_search, rack
from estab.tcp.recovery.scoreboard import forget_latest, remember_sent
from estab.tcp.sending.segments import text_limit, text_segment
from estab.tcp.window import chrono, silence
from estab.tcp.window.pacing import is_first_window, must_wait, super_segments
from estab.tcp.window.room import notice_room
from estab.tcp.window.rtt import end_backoff, timeout_ns
from estab.units import MS, NEVER
from estab.wire.tcp import FIN, PSH, Segment

__all__ = [
    "bare_fin", "can_be_large", "drop_unsent", "first_transmission", "new_text", "plan", "probe_text",
    "put_on_syn", "take_back", "take_syn_text",
]


def first_transmission(tcb: Tcb, sent: SentSegment, now_ns: i64, why: str) -> Segment:
    """Put ``sent`` in flight: it takes its numbers, is remembered until it is acknowledged, and starts the timer."""
    tcb.why = why
    remember_sent(tcb, sent)
    tcb.snd_nxt = sent.end
    losses = tcb.losses
    if losses is not None:
        losses.prr_out_bytes += sent.end - sent.seq
    if tcb.retransmit_ns == NEVER or tcb.timer_kind == TIMER_PROBE:
        rack.arm(tcb, now_ns)
    if tcb.in_flight_count() == 1:
        silence.begin_wait(tcb, now_ns)
    if sent.text_bytes() > 0:
        tcb.context.counters.TcpExtTCPOrigDataSent += 1
        # Text that answers text: acknowledgments may ride on it (Linux's pingpong).
        if now_ns - tcb.last_text_ns < tcb.context.config.tcp_delack_ns and tcb.rcv_nxt > tcb.irs + 1:
            expect_answers(tcb, is_likely=True)
    return text_segment(tcb, sent, now_ns)


def put_on_syn(tcb: Tcb, data: bytes) -> None:
    """Let the SYN carry ``data`` (Fast Open)."""
    text = SendQueue()
    text.append(data)
    tcb.unsent = text


def take_syn_text(tcb: Tcb, queue: SendQueue, now_ns: i64) -> SentSegment:
    """Take the text that the SYN carries; to the scoreboard it is a segment of its own (RFC 7413 section 4.2)."""
    end = tcb.snd_nxt + queue.size
    data, start = queue.take(queue.size)
    tcb.unsent = None
    text = SentSegment(tcb.snd_nxt, end, PSH, data, start, now_ns)
    remember_sent(tcb, text)
    tcb.snd_nxt = end
    tcb.context.counters.TcpExtTCPOrigDataSent += 1
    return text


def drop_unsent(tcb: Tcb) -> None:
    """Discard what was written and will never be sent."""
    tcb.unsent = None


# --- emitting


def new_text(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send text that was never sent, if window, congestion window and Nagle's rule allow."""
    queue = tcb.unsent
    if queue is None:
        if tcb.has_sent_text:
            _end_round(tcb, now_ns)
        if tcb.is_out_of_room:
            notice_room(tcb, now_ns)
        return None
    search = tcb.mtu_search
    if search is not None and queue.planned == 0:
        size = mtu_search.probe_bytes(tcb, search, queue.size, now_ns)
        if size == mtu_search.WAIT:
            return None
        if size > 0 and queue.grow_first(size):
            mtu_search.note_sent(tcb, search, size)
            queue.plan(size, is_pushed=False)
            return _emit(tcb, queue, now_ns, size)
    if queue.planned == 0 and not plan(tcb, queue, now_ns, is_forced=False, is_single=False):
        _end_round(tcb, now_ns)
        if tcb.is_out_of_room:
            notice_room(tcb, now_ns)
        return None
    return _emit(tcb, queue, now_ns, 0)


def probe_text(tcb: Tcb, queue: SendQueue, now_ns: i64) -> Segment:
    """Send a segment of new text, whatever holds it back but the peer's window; the caller has looked at that."""
    piece = queue.first()
    if piece is not None and queue.planned == 0:
        queue.plan(min(piece.size, text_limit(tcb, now_ns)), is_pushed=False)
    return _emit(tcb, queue, now_ns, 0)


def _emit(tcb: Tcb, queue: SendQueue, now_ns: i64, probe_bytes: i64) -> Segment:
    """Make the next segment of the bursts; all of it, whatever the segment size, if it is a probe of the MTU."""
    burst = queue.next_burst()
    assert burst is not None
    mss = text_limit(tcb, now_ns)
    count = burst.size
    if count > mss and probe_bytes == 0:
        count = min(count, i64(tcb.gso_bytes) // mss * mss if can_be_large(tcb, mss) else mss)
    is_last = count == burst.size
    flags: i64 = PSH if is_last and burst.is_pushed else 0
    data, start = queue.take(count)
    end = tcb.snd_nxt + count
    if queue.size == 0:
        tcb.unsent = None
        if tcb.fin_wanted and end < tcb.snd_una + tcb.snd_wnd:
            flags |= FIN
            tcb.is_fin_sent = True
            end += 1
    if tcb.is_probe_due or tcb.persist_ns != NEVER:
        _remember_probing(tcb)
    if tcb.is_probe_due:
        silence.take_probe(tcb)
        silence.end_probes(tcb)
        end_backoff(tcb)
    tcb.disarm(TIMER_PERSIST)
    silence.end_probing(tcb)
    tcb.has_sent_text = True
    sent = SentSegment(tcb.snd_nxt, end, flags, data, start, now_ns)
    return first_transmission(tcb, sent, now_ns, "new data")


def bare_fin(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send a FIN that no text could carry."""
    if tcb.snd_wnd == 0 and tcb.in_flight_count() == 0 and not tcb.is_probe_due:
        if tcb.persist_ns == NEVER:
            _arm_persist(tcb, now_ns)
        return None
    if tcb.snd_nxt >= tcb.snd_una + tcb.snd_wnd and tcb.in_flight_count() > 0:
        return None
    flags: i64 = FIN
    if tcb.is_probe_due or tcb.persist_ns != NEVER:
        _remember_probing(tcb)
        if tcb.is_probe_due and tcb.snd_nxt < tcb.snd_una + tcb.snd_wnd:
            flags |= PSH  # the device refused it before (Linux's tcp_write_wakeup)
    silence.take_probe(tcb)
    tcb.is_fin_sent = True
    sent = SentSegment(tcb.snd_nxt, tcb.snd_nxt + 1, flags, b"", 0, now_ns)
    return first_transmission(tcb, sent, now_ns, "no more data")


# --- what the device refused


def take_back(tcb: Tcb, sent: list[SentSegment], now_ns: i64) -> None:
    """Put the latest new text, or the FIN, back: the device refused it. If nothing else is in flight, the persist timer
    tries again, as Linux's does: after a timeout, and then each half second.
    """
    latest = sent[-1]
    forget_latest(tcb, sent)
    tcb.snd_nxt = latest.seq
    if (latest.flags & FIN) != 0:
        tcb.is_fin_sent = False
    if tcb.losses is not None:
        tcb.losses.prr_out_bytes -= latest.end - latest.seq
    count = latest.text_bytes()
    if count > 0:
        tcb.context.counters.TcpExtTCPOrigDataSent -= 1
        queue = tcb.unsent
        if queue is None:
            queue = SendQueue()
            tcb.unsent = queue
        queue.give_back(latest.data, latest.start, count, is_pushed=(latest.flags & PSH) != 0)
    traffic = tcb.traffic
    if traffic is not None and traffic.snd_sml > tcb.snd_nxt:
        traffic.snd_sml = tcb.snd_una  # Nagle's rule let it go: no other small segment was in flight
    probe = tcb.context.window_probe
    tcb.context.window_probe = None
    if tcb.in_flight_count() > 0:
        return
    tcb.disarm(TIMER_RTO)
    if probe is None or probe.seq != latest.seq or probe.key != tcb.key:
        _arm_persist(tcb, now_ns)
        return
    silence.resume_probing(tcb, probe.probes_out, probe.since_ns)
    tcb.arm(TIMER_PERSIST, silence.retry_ns(tcb, now_ns) if probe.is_probe else probe.due_ns)


def _remember_probing(tcb: Tcb) -> None:
    tcb.context.window_probe = WindowProbe(tcb.key, tcb.snd_nxt, i64(tcb.probes_out), tcb.shut_since_ns, tcb.persist_ns,
                                           is_probe=tcb.is_probe_due)


def _end_round(tcb: Tcb, now_ns: i64) -> None:
    """Everything that may leave has left: note whether the congestion window ended it."""
    is_limited = tcb.is_round_limited or tcb.pipe_bytes - tcb.reno_sacked_bytes + tcb.snd_mss() > tcb.cwnd_bytes
    tcb.is_round_limited = False
    if tcb.has_sent_text or is_limited:
        tcb.has_sent_text = False
        cwnd.validate(tcb, is_limited, now_ns)
        if tcb.is_out_of_room and tcb.unsent is None and not tcb.is_window_used():
            chrono.start(tcb, chrono.SEND_BUFFER, now_ns)  # the window has room, but the program none to write more


def _arm_persist(tcb: Tcb, now_ns: i64) -> None:
    """Start probing a shut window after one timeout, then with back-off (RFC 9293 SHLD-29, SHLD-30)."""
    end_backoff(tcb)
    tcb.arm(TIMER_PERSIST, now_ns + timeout_ns(tcb))


# --- deciding


def plan(tcb: Tcb, queue: SendQueue, now_ns: i64, *, is_forced: bool, is_single: bool) -> bool:
    """Decide on the next burst; ``False`` when nothing may leave now.

    ``is_forced`` sets Nagle's rule and TCP_CORK aside, ``is_single`` the gathering of larger super-segments.
    """
    piece = queue.first()
    if piece is None:
        return False
    mss = text_limit(tcb, now_ns)
    pipe = tcb.pipe_bytes - tcb.reno_sacked_bytes + queue.planned
    start = tcb.snd_nxt + queue.planned
    in_window = tcb.snd_una + tcb.snd_wnd - start
    if tcb.is_probe_due and in_window > 0 and queue.planned == 0:
        # What the override timer releases.
        _commit(tcb, queue, min(min(piece.size, mss), in_window), mss, is_pushed=True)
        return True
    if tcb.is_paced():
        if must_wait(tcb, now_ns) or (queue.planned > 0 and not is_first_window(tcb, queue.planned // mss)):
            return False
    room = tcb.cwnd_bytes - pipe
    if pipe <= 0:
        room = max(room, mss)
    needed = min(piece.size, mss)
    if room < needed:
        tcb.is_round_limited = True
        return False
    if in_window < needed:
        chrono.start(tcb, chrono.PEER_WINDOW, now_ns)  # the next segment does not fit into the peer's window
    else:
        chrono.stop(tcb, chrono.PEER_WINDOW, now_ns)
    if in_window < needed and not _may_send_silly(tcb, in_window):
        _wait_for_window(tcb, queue, now_ns)
        return False
    if piece.size < mss and not queue.has_one_piece() and not piece.is_closed:
        queue.grow_first(mss)
        piece = queue.first()
        assert piece is not None
    is_tail = queue.has_one_piece()
    count = piece.size
    if count <= mss:
        if is_tail and not is_forced and _must_gather(tcb, queue, is_partial=count < mss):
            _wait_for_window(tcb, queue, now_ns)
            return False
    else:
        most: i64 = 1
        if can_be_large(tcb, mss):
            most = min(super_segments(tcb, mss), i64(tcb.gso_bytes) // mss)
        segments = min(min(max(room // mss, 1), max(tcb.cwnd_bytes // mss // 2, 1)), most)
        if not is_single and _should_defer(tcb, piece, is_tail, room // mss * mss, in_window, most, mss, now_ns):
            return False
        count = min(count, segments * mss)
        if count > in_window:
            count = in_window
        partial = count % mss
        if partial != 0 and count > mss:
            is_cut = count < piece.size
            if is_cut or (is_tail and not is_forced and _must_gather(tcb, queue, is_partial=True)):
                count -= partial
    if count > in_window:
        count = in_window
    _commit(tcb, queue, count, mss, is_pushed=False)
    return True


def _commit(tcb: Tcb, queue: SendQueue, count: i64, mss: i64, *, is_pushed: bool) -> None:
    """Take the text into a burst."""
    end = tcb.snd_nxt + queue.planned + count
    traffic = traffic_of(tcb)
    if count % mss != 0:
        traffic.snd_sml = end
    if is_pushed and traffic.pushed_seq < end:
        traffic.pushed_seq = end
    queue.plan(count, is_pushed=is_pushed)


def can_be_large(tcb: Tcb, mss: i64) -> bool:
    """Tell whether the link takes super-segments, and nothing in their headers would be wrong once they are cut."""
    if i64(tcb.gso_bytes) <= mss or (tcb.context.is_told_by_packet and tcb.context.observer is not None):
        return False
    return tcb.ecn is None or accecn.can_be_cut(tcb.ecn)


def _should_defer(
    tcb: Tcb, piece: Piece, is_tail: bool, in_cwnd: i64, in_window: i64, most: i64, mss: i64, now_ns: i64,
) -> bool:
    """Wait for the next acknowledgment to let a larger super-segment go? (Linux's ``tcp_tso_should_defer``.)

    Only while acknowledgments come fast and the next is near, and less than a ``tcp_tso_win_divisor``'th of the window
    is free.
    """
    divisor = tcb.context.config.tcp_tso_win_divisor
    if divisor == 0 or tcb.ca_state != CA_OPEN or now_ns - tcb.last_sent_ns >= MS:
        return False
    limit = min(in_window, in_cwnd)
    if limit >= most * mss or (not is_tail and limit >= piece.size):
        return False
    if limit >= min(tcb.snd_wnd, tcb.cwnd_bytes) // divisor:
        return False
    sent = tcb.sent
    if sent is None or tcb.sent_head >= len(sent):
        return False
    if sent[tcb.sent_head].sent_ns + tcb.srtt_ns - now_ns > min(tcb.srtt_ns // 2, MS):
        return False
    if in_cwnd < in_window:
        if in_cwnd <= piece.size:
            tcb.is_round_limited = True
            return True
    elif in_window <= piece.size:
        return True
    return not (tcb.fin_wanted or piece.is_closed)


def _must_gather(tcb: Tcb, queue: SendQueue, *, is_partial: bool) -> bool:
    """Tell whether a last, partial segment waits: TCP_CORK, MSG_MORE, or Nagle's rule (RFC 9293 SHLD-7, MUST-17).

    Minshall's variant, as Linux: only a small segment in flight holds back another, so that the tail of a large write
    does not wait for its full segments.
    """
    if not is_partial or tcb.fin_wanted or tcb.is_push_forced or tcb.snd_up > tcb.snd_nxt + queue.planned:
        return False
    if tcb.options.is_corked or tcb.is_more_coming:
        return True
    return not tcb.options.nodelay and traffic_of(tcb).snd_sml > tcb.snd_una


def _may_send_silly(tcb: Tcb, in_window: i64) -> bool:
    """Avoid the silly window (RFC 9293 MUST-38, section 3.8.6.2.1): half of the largest ever offered is worth it."""
    return in_window > 0 and in_window >= i64(tcb.max_snd_wnd) // 2


def _wait_for_window(tcb: Tcb, queue: SendQueue, now_ns: i64) -> None:
    """No acknowledgment will come, as nothing is in flight: a timer must override what holds the text back."""
    if queue.planned == 0 and tcb.in_flight_count() == 0 and tcb.persist_ns == NEVER and not tcb.is_probe_due:
        _arm_persist(tcb, now_ns)
