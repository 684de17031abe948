"""What was lost, and what that does to the windows: fast retransmit and recovery, and the retransmission timeout.

``pipe_bytes`` is the estimate of what is in flight (RFC 6675): a segment counts from each transmission until it is
acknowledged, SACKed or taken to be lost. Sending is allowed while pipe is below cwnd. Without SACK each duplicate
acknowledgment stands for one segment that arrived (RFC 5681, 6582).
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.events import CongestionChanged
from estab.tcp.congestion.control import SSTHRESH_INFINITE
from estab.tcp.rtt import on_sample
from estab.tcp.tcb import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY, SentSegment, Tcb
from estab.units import MS
from estab.wire.seq import Seq, unwrap
from estab.wire.tcp import SYN, Segment

__all__ = [
    "forget_sent", "mark_lost", "next_lost", "on_acknowledged", "on_duplicate", "on_timeout", "read_sack",
    "remember_sent",
    "text_of",
]


def text_of(segment: SentSegment) -> i64:
    """Count the text bytes of a segment in flight."""
    return len(segment.data)


def remember_sent(tcb: Tcb, segment: SentSegment) -> None:
    """Add a segment that was sent for the first time."""
    sent = tcb.sent
    if sent is None:
        sent = []
        tcb.sent = sent
    sent.append(segment)
    tcb.pipe_bytes += segment.end - segment.seq


def forget_sent(tcb: Tcb) -> None:
    """Let go of everything in flight."""
    tcb.sent = None
    tcb.sent_head = 0
    tcb.pipe_bytes = 0
    tcb.lost_count = 0
    tcb.reno_sacked_bytes = 0


def on_acknowledged(tcb: Tcb, ack: i64, segment: Segment, now_ns: i64) -> None:
    """Take a new cumulative acknowledgment: drop what it covers, measure, and move recovery and cwnd on."""
    acked = ack - tcb.snd_una
    was_limited_by_loss = tcb.ca_state == CA_RECOVERY or tcb.ca_state == CA_LOSS
    rtt_ns = _drop_acknowledged(tcb, ack, segment, now_ns)
    tcb.snd_una = ack
    if rtt_ns >= 0:
        on_sample(tcb, rtt_ns)
        tcb.backoff = 0  # RFC 6298 section 5.7: a measurement ends the back-off
    tcb.retries = 0
    tcb.probes_out = 0
    tcb.soft_error = 0
    tcb.duplicate_acks = 0
    if tcb.ca_state == CA_DISORDER:
        tcb.ca_state = CA_OPEN
    if not was_limited_by_loss:
        tcb.reno_sacked_bytes = 0
        tcb.congestion.on_ack(tcb, acked, now_ns)
    elif tcb.ca_state == CA_LOSS:
        tcb.is_cwnd_limited = True  # what was lost is still to be sent: the window is what holds it back
        tcb.congestion.on_ack(tcb, acked, now_ns)
        if ack >= tcb.recover:
            _leave_recovery(tcb, now_ns)
    elif ack >= tcb.recover:
        _leave_recovery(tcb, now_ns)
    elif not tcb.has_sack:
        # RFC 6582 step 3, partial acknowledgment: the next segment is lost too.
        tcb.reno_sacked_bytes = max(0, tcb.reno_sacked_bytes - max(0, acked - tcb.snd_mss()))
        mark_head_lost(tcb)
        tcb.is_fast_retransmit_due = True


def _drop_acknowledged(tcb: Tcb, ack: i64, by: Segment, now_ns: i64) -> i64:
    """Drop what ``ack`` covers. Returns the round trip of the newest segment that was sent once.

    Where one was sent again, Karn's rule: the timestamp echoed in ``by`` must tell, and -1 where it can't.
    """
    sent = tcb.sent
    rtt_ns: i64 = -1
    if sent is None:
        return _timestamp_rtt(tcb, by, 0, now_ns)
    head = tcb.sent_head
    repeated_ns: i64 = 0
    while head < len(sent):
        segment = sent[head]
        if segment.seq >= ack:
            break
        if segment.end > ack:
            _trim_front(tcb, segment, ack)
            break
        if segment.is_lost:
            tcb.lost_count -= 1
        elif not segment.is_sacked:
            tcb.pipe_bytes -= segment.end - segment.seq
        if segment.transmissions > 1:
            repeated_ns = max(repeated_ns, segment.sent_ns)
        elif not segment.is_sacked:
            rtt_ns = now_ns - segment.sent_ns
        head += 1
    if head == len(sent):
        tcb.sent = None
        head = 0
    elif head > 32 and 2 * head > len(sent):
        del sent[:head]
        head = 0
    tcb.sent_head = head
    if rtt_ns < 0 or repeated_ns > 0:
        return _timestamp_rtt(tcb, by, repeated_ns, now_ns)
    return rtt_ns


def _trim_front(tcb: Tcb, segment: SentSegment, ack: i64) -> None:
    """Cut the acknowledged part off a segment in flight."""
    cut = ack - segment.seq
    if (segment.flags & SYN) != 0:
        segment.flags &= ~SYN
        segment.data = segment.data[cut - 1 :]
    else:
        segment.data = segment.data[cut:]
    segment.seq = ack
    if not segment.is_lost and not segment.is_sacked:
        tcb.pipe_bytes -= cut


def _timestamp_rtt(tcb: Tcb, segment: Segment, repeated_ns: i64, now_ns: i64) -> i64:
    """Measure by the echoed timestamp; its tick is a millisecond. -1 where there is none, or its echo makes no sense.

    An echo from before ``repeated_ns``, when the newest repetition went, measures nothing: the acknowledgment of an
    earlier transmission may have been lost, and the time until this one was spent waiting.
    """
    if not tcb.has_timestamps or not segment.has_timestamps or segment.ts_ecr == 0:
        return -1
    elapsed_ns: i64 = ((now_ns // MS + tcb.ts_offset - segment.ts_ecr) & 0xFFFFFFFF) * MS
    if elapsed_ns > now_ns - repeated_ns + MS:
        return -1
    return max(elapsed_ns, MS)


def _leave_recovery(tcb: Tcb, now_ns: i64) -> None:
    if tcb.ca_state == CA_RECOVERY:
        tcb.cwnd_bytes = max(tcb.ssthresh_bytes, 2 * tcb.snd_mss())
    tcb.ca_state = CA_OPEN
    tcb.reno_sacked_bytes = 0
    tcb.is_fast_retransmit_due = False
    tcb.congestion.on_recovered(tcb, now_ns)
    _tell(tcb, "recovered: everything sent before the loss is acknowledged")


def on_duplicate(tcb: Tcb, has_new_sack: bool, now_ns: i64) -> None:
    """Take an acknowledgment that acknowledges nothing new while text is in flight (RFC 5681 section 3.2)."""
    tcb.duplicate_acks += 1
    reordering = tcb.context.config.tcp_reordering
    if not tcb.has_sack:
        tcb.reno_sacked_bytes = min(tcb.reno_sacked_bytes + tcb.snd_mss(), max(0, tcb.pipe_bytes - tcb.snd_mss()))
    if tcb.ca_state == CA_RECOVERY or tcb.ca_state == CA_LOSS:
        return
    tcb.ca_state = CA_DISORDER
    # RFC 6582 section 4: after a timeout, duplicates of what was sent before it are not a new loss.
    if tcb.lost_count == 0 and tcb.duplicate_acks < reordering:
        return
    if tcb.snd_una < tcb.recover and not tcb.has_sack:
        return
    mark_head_lost(tcb)
    if tcb.lost_count > 0:
        _enter_recovery(tcb, now_ns)


def on_sacked(tcb: Tcb, now_ns: i64) -> None:
    """SACK told of something new, on whatever segment: where that shows a loss, recovery begins.

    RFC 6675 section 5.
    """
    if tcb.lost_count > 0 and tcb.ca_state != CA_RECOVERY and tcb.ca_state != CA_LOSS:
        _enter_recovery(tcb, now_ns)


def _enter_recovery(tcb: Tcb, now_ns: i64) -> None:
    tcb.ssthresh_bytes = tcb.congestion.ssthresh(tcb, now_ns)
    tcb.cwnd_bytes = tcb.ssthresh_bytes
    tcb.recover = tcb.snd_nxt
    tcb.ca_state = CA_RECOVERY
    tcb.is_fast_retransmit_due = True
    if tcb.has_sack:
        tcb.context.counters.TcpExtTCPSackRecovery += 1
    else:
        tcb.context.counters.TcpExtTCPRenoRecovery += 1
    _tell(tcb, f"fast recovery: {tcb.duplicate_acks} duplicate acknowledgments")


def read_sack(tcb: Tcb, segment: Segment) -> bool:
    """Take in SACK blocks. Returns whether they told of something new. Blocks outside of what is in flight are
    ignored.
    """
    blocks = segment.sack
    sent = tcb.sent
    if blocks is None or sent is None:
        return False
    has_news = False
    index: i64 = 0
    while index + 1 < len(blocks):
        left = unwrap(Seq(blocks[index]), tcb.snd_nxt)
        right = unwrap(Seq(blocks[index + 1]), tcb.snd_nxt)
        index += 2
        if left < right and left > tcb.snd_una and right <= tcb.snd_nxt and _mark_sacked(tcb, sent, left, right):
            has_news = True
    if has_news:
        mark_lost(tcb)
    return has_news


def _mark_sacked(tcb: Tcb, sent: list[SentSegment], left: i64, right: i64) -> bool:
    has_news = False
    at = _find(tcb, sent, left)
    while at < len(sent):
        segment = sent[at]
        if segment.end > right:
            break
        if not segment.is_sacked and segment.seq >= left:
            if segment.is_lost:
                segment.is_lost = False
                tcb.lost_count -= 1
            else:
                tcb.pipe_bytes -= segment.end - segment.seq
            segment.is_sacked = True
            has_news = True
        at += 1
    return has_news


def _find(tcb: Tcb, sent: list[SentSegment], seq: i64) -> i64:
    """Give the index of the first segment in flight at or after ``seq``."""
    low = tcb.sent_head
    high: i64 = len(sent)
    while low < high:
        middle = (low + high) // 2
        if sent[middle].seq < seq:
            low = middle + 1
        else:
            high = middle
    return low


def mark_lost(tcb: Tcb) -> None:
    """Take as lost what has three segments' worth of SACKed bytes above it (RFC 6675's IsLost)."""
    sent = tcb.sent
    if sent is None:
        return
    threshold = (tcb.context.config.tcp_reordering - 1) * tcb.snd_mss()
    above: i64 = 0
    at: i64 = len(sent) - 1
    while at >= tcb.sent_head:
        segment = sent[at]
        if segment.is_sacked:
            above += segment.end - segment.seq
        elif above > threshold and not segment.is_lost and segment.transmissions == 1:
            _lose(tcb, segment)
        at -= 1


def mark_head_lost(tcb: Tcb) -> None:
    """Take the oldest segment in flight as lost."""
    sent = tcb.sent
    if sent is None:
        return
    segment = sent[tcb.sent_head]
    if not segment.is_lost and not segment.is_sacked:
        _lose(tcb, segment)


def _lose(tcb: Tcb, segment: SentSegment) -> None:
    segment.is_lost = True
    tcb.lost_count += 1
    tcb.pipe_bytes -= segment.end - segment.seq


def next_lost(tcb: Tcb) -> i64:
    """Give the index in ``sent`` of the next segment to send again, -1 where there is none."""
    sent = tcb.sent
    if sent is None or tcb.lost_count == 0:
        return -1
    at = tcb.sent_head
    while at < len(sent):
        if sent[at].is_lost:
            return at
        at += 1
    return -1


def on_timeout(tcb: Tcb, now_ns: i64) -> None:
    """The retransmission timer ran out: everything in flight is lost, the window is one segment.

    RFC 5681 section 3.1.
    """
    counters = tcb.context.counters
    counters.TcpExtTCPTimeouts += 1
    sent = tcb.sent
    if sent is None:
        return
    if tcb.ca_state != CA_LOSS:
        # Once for a window of losses, not once for each back-off (RFC 5681 section 3.1, last paragraph).
        tcb.ssthresh_bytes = tcb.congestion.ssthresh(tcb, now_ns)
        tcb.congestion.on_timeout(tcb, now_ns)
    tcb.ca_state = CA_LOSS
    tcb.recover = tcb.snd_nxt
    tcb.cwnd_bytes = tcb.snd_mss()
    tcb.duplicate_acks = 0
    tcb.reno_sacked_bytes = 0
    tcb.is_fast_retransmit_due = True
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        # RFC 2018 section 8: the receiver may have reneged, so after a timeout SACK marks are void.
        if segment.is_sacked:
            segment.is_sacked = False
            tcb.pipe_bytes += segment.end - segment.seq
        if not segment.is_lost:
            _lose(tcb, segment)
        at += 1
    _tell(tcb, "retransmission timeout")


def _tell(tcb: Tcb, why: str) -> None:
    context = tcb.context
    if context.observer is not None:
        ssthresh = None if tcb.ssthresh_bytes >= SSTHRESH_INFINITE else tcb.ssthresh_bytes
        context.tell(CongestionChanged(context.now_ns, context.name, tcb.name(), tcb.cwnd_bytes, ssthresh, why))
