"""New text: how much of it goes now, within the peer's window, the congestion window, Nagle's rule and the pace."""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp import accecn, chrono, mtu_search, rack
from estab.tcp.rtt import timeout_ns
from estab.tcp.scoreboard import remember_sent
from estab.tcp.segments import text_limit, text_segment
from estab.tcp.tcb import TIMER_PROBE, SentSegment, Tcb
from estab.units import MS, NEVER
from estab.wire.tcp import FIN, PSH, Segment

__all__ = ["bare_fin", "first_transmission", "must_wait", "new_text", "send_text"]


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
        tcb.first_unanswered_ns = now_ns
    if len(sent.data) > 0:
        tcb.context.counters.TcpExtTCPOrigDataSent += 1
        # Text that answers text: acknowledgments may ride on it (Linux's pingpong).
        if now_ns - tcb.last_text_ns < tcb.context.config.tcp_delack_ns and tcb.rcv_nxt > tcb.irs + 1:
            tcb.is_interactive = True
    return text_segment(tcb, sent, now_ns)


def new_text(tcb: Tcb, now_ns: i64) -> Segment | None:
    """Send text that was never sent, where window, congestion window and Nagle's rule allow."""
    unsent = tcb.unsent
    if unsent is None:
        return None
    waiting = unsent.size
    mss = text_limit(tcb, now_ns)
    in_window = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    search = tcb.mtu_search
    if search is not None:
        size = mtu_search.probe_bytes(tcb, search, waiting, now_ns)
        if size == mtu_search.WAIT:
            return None
        if size > 0:
            mtu_search.note_sent(tcb, search, size)
            return send_text(tcb, size, waiting, size, now_ns)
    pipe = tcb.pipe_bytes - tcb.reno_sacked_bytes
    in_cwnd = _congestion_room(tcb, pipe, mss)
    count = min(waiting, in_window)
    if count < waiting and count < mss and in_cwnd >= mss:
        chrono.start(tcb, chrono.PEER_WINDOW, now_ns)  # the next segment does not fit into the peer's window
    elif tcb.chrono == chrono.PEER_WINDOW:
        chrono.stop(tcb, chrono.PEER_WINDOW, now_ns)
    if count <= 0:
        if tcb.in_flight_count() == 0 and tcb.persist_ns == NEVER:
            _arm_persist(tcb, now_ns)
        return None
    most = mss
    if tcb.gso_bytes > mss and (tcb.ecn is None or accecn.can_be_cut(tcb.ecn)):
        most = tcb.gso_bytes // mss * mss
    if tcb.pacing_rate > 0:
        if must_wait(tcb, now_ns):
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
    return send_text(tcb, count, waiting, mss, now_ns)


def must_wait(tcb: Tcb, now_ns: i64) -> bool:
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


def send_text(tcb: Tcb, count: i64, waiting: i64, mss: i64, now_ns: i64) -> Segment:
    """Send the next ``count`` bytes of the ``waiting``, with the FIN where it is wanted behind the last."""
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
        if tcb.is_room_wanted and in_use + mss <= tcb.cwnd_bytes:
            chrono.start(tcb, chrono.SEND_BUFFER, now_ns)  # the window has room, but the program none to write more
    if count > mss:
        flags |= PSH  # as Linux: each burst says of itself that the sender has no more of it to come
    if count % mss != 0:
        tcb.snd_sml = end
    tcb.is_probe_due = False
    sent = SentSegment(tcb.snd_nxt, end, flags, data, now_ns)
    return first_transmission(tcb, sent, now_ns, "new data")


def bare_fin(tcb: Tcb, now_ns: i64) -> Segment | None:
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
    return first_transmission(tcb, sent, now_ns, "no more data")


def _arm_persist(tcb: Tcb, now_ns: i64) -> None:
    """Start probing a shut window after one timeout, then with back-off (RFC 9293 SHLD-29, SHLD-30)."""
    tcb.backoff = 0
    tcb.persist_ns = now_ns + timeout_ns(tcb)
