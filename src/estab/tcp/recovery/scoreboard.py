"""The scoreboard: every segment in flight, and whether it was SACKed or is taken to be lost (RFC 2018, RFC 6675).

``pipe_bytes`` is the estimate of what is in the network: a segment counts from its transmission until it is
acknowledged, SACKed or taken to be lost, and again once it is sent again. ``lost_count`` segments wait to be sent
again.

Windows can hold ten thousands of segments, so nothing here walks all of them for one acknowledgment: a SACK block is
first compared with the runs known already, and only what is new in it is looked up; the hints in ``Losses`` say from
where to look for the next loss. Blocks count for whole segments only, and a super-segment is cut at multiples of the
segment size, so that a peer that SACKs single bytes can't make the list grow (CVE-2019-11478).
"""

from __future__ import annotations

from mypy_extensions import i32, i64

from estab.tcp.record.inflight import Losses, Run, SentSegment
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_LOSS, NO_SEQ, Tcb
from estab.tcp.window.pacing import note_sent
from estab.tcp.window.timestamps import clock, elapsed_ticks, is_older
from estab.units import MS, NEVER
from estab.wire.seq import Seq, unwrap
from estab.wire.tcp import FIN, PSH, SYN, Segment

__all__ = [
    "ask_fast_retransmit", "drop_acknowledged", "echoes_before", "find", "forget_latest", "forget_repeat",
    "forget_sent", "lose", "losses_of", "mark_head_lost", "next_lost", "note_reordering", "put_back", "read_sack",
    "remember_resent", "remember_sent", "segments_in", "split", "unmark_lost", "unmark_sacked",
    "withdraw_fast_retransmit",
]


def losses_of(tcb: Tcb) -> Losses:
    """Return the connection's losses, made now if there were none."""
    losses = tcb.losses
    if losses is None:
        losses = Losses(tcb.snd_una)
        tcb.losses = losses
    return losses


def remember_sent(tcb: Tcb, segment: SentSegment) -> None:
    """Add a segment that was sent for the first time."""
    sent = tcb.sent
    if sent is None:
        tcb.sent = [segment]
    else:
        sent.append(segment)
    segment.order = tcb.transmission_count
    tcb.transmission_count += 1
    rate = tcb.rate
    if rate is None and (segment.text_bytes() > 0 or tcb.is_rate_resting()):
        rate = tcb.measure_rate(segment.sent_ns)
    if rate is not None:
        rate.on_sent(segment, tcb.pipe_bytes, tcb.delivered_bytes, segment.sent_ns)
    length = segment.end - segment.seq
    tcb.pipe_bytes += length
    if tcb.is_paced():
        note_sent(tcb, length, segment.sent_ns)


def remember_resent(tcb: Tcb, losses: Losses, segment: SentSegment, now_ns: i64) -> None:
    """Take note that a segment was sent again."""
    if tcb.mtu_search is not None:
        tcb.mtu_search.probe_mtu = 0  # the answer to the probe tells nothing now
    segment.transmissions += 1
    segment.sent_ns = now_ns
    segment.order = tcb.transmission_count
    tcb.transmission_count += 1
    if tcb.has_sack:
        losses.resent.append(segment)
    length = segment.end - segment.seq
    if tcb.rate is not None:
        tcb.rate.on_sent(segment, tcb.pipe_bytes, tcb.delivered_bytes, now_ns)
    if tcb.is_paced():
        note_sent(tcb, length, now_ns)
    losses.prr_out_bytes += length
    if losses.undo_seq != NO_SEQ:
        losses.undo_repeats = max(losses.undo_repeats, 0) + 1
    if losses.repeated_ns == 0:
        losses.repeated_ns = now_ns
    losses.repeated_end = max(losses.repeated_end, segment.end)
    troubles = troubles_of(tcb)
    text_bytes = segment.text_bytes()
    troubles.bytes_retransmitted += text_bytes
    count = segments_in(tcb, text_bytes)
    troubles.segments_retransmitted += count
    tcb.context.counters.TcpRetransSegs += count


def forget_latest(tcb: Tcb, sent: list[SentSegment]) -> None:
    """Take the latest new segment out of the flight: it never left."""
    latest = sent.pop()
    tcb.pipe_bytes -= latest.end - latest.seq
    if tcb.sent_head >= len(sent):
        tcb.sent = None
        tcb.sent_head = 0
    if tcb.mtu_search is not None and tcb.mtu_search.probe_start == latest.seq:
        tcb.mtu_search.probe_mtu = 0


def forget_repeat(tcb: Tcb, losses: Losses, segment: SentSegment) -> None:
    """Take back that a segment was sent again: it never left, and is still lost if it was. Karn's rule holds for it."""
    losses.prr_out_bytes -= segment.end - segment.seq
    if len(losses.resent) > losses.resent_head and losses.resent[-1] is segment:
        losses.resent.pop()
    if segment.is_marked:
        losses.lost_bytes -= segment.end - segment.seq  # ``lose`` counts it again
        lose(tcb, losses, segment)


def forget_sent(tcb: Tcb) -> None:
    """Discard everything in flight."""
    tcb.sent = None
    tcb.sent_head = 0
    tcb.losses = None
    tcb.pipe_bytes = 0
    tcb.lost_count = 0
    tcb.reno_sacked_bytes = 0


def drop_acknowledged(tcb: Tcb, ack: i64, segment: Segment, now_ns: i64) -> i64:
    """Drop what ``ack`` covers. Returns the round trip of the newest segment that was sent once.

    If one was sent again, Karn's rule: the timestamp echoed in ``segment`` must tell, and -1 if it can't.
    """
    sent = tcb.sent
    rtt_ns: i64 = -1
    if sent is None:
        return _timestamp_rtt(tcb, segment, 0, now_ns)
    losses = tcb.losses
    rate = tcb.rate
    head = tcb.sent_head
    repeated_ns: i64 = 0
    while head < len(sent):
        first = sent[head]
        if first.seq >= ack:
            break
        if first.end > ack:
            if first.transmissions == 1 and not first.is_sacked and ack - first.seq >= tcb.snd_mss():
                rtt_ns = now_ns - first.sent_ns  # a packet of a super-segment measures as well as all of them
            _trim_front(tcb, first, ack)
            break
        length = first.end - first.seq
        if first.is_sacked:
            if losses is not None:
                losses.sacked_bytes -= length
                losses.sacked_count -= 1
        else:
            tcb.delivered_bytes += length
            tcb.delivered_segments += segments_in(tcb, length)
            if rate is not None:
                rate.on_delivered(first)
            if first.is_lost:
                tcb.lost_count -= 1
            else:
                tcb.pipe_bytes -= length
            if first.transmissions == 1:
                rtt_ns = now_ns - first.sent_ns
            if losses is not None:
                _deliver(tcb, losses, first, segment, now_ns)
        if first.transmissions > 1:
            repeated_ns = max(repeated_ns, first.sent_ns)
        head += 1
    if head == len(sent):
        tcb.sent = None
        head = 0
    elif head > 32 and 2 * head > len(sent):
        del sent[:head]
        head = 0
    tcb.sent_head = head
    if losses is not None:
        _drop_runs(losses, ack)
        if repeated_ns > 0 and not tcb.has_sack:
            losses.has_original_arrived = False  # it may have waited for the one that was repeated (RFC 5682)
    if rtt_ns < 0 or repeated_ns > 0:
        return _timestamp_rtt(tcb, segment, repeated_ns, now_ns)
    return rtt_ns


def segments_in(tcb: Tcb, length: i64) -> i64:
    """Count the packets that so much text of one segment went in: more than one if it was a super-segment."""
    mss = tcb.snd_mss()
    if length <= mss:
        return 1
    return (length + mss - 1) // mss


def _timestamp_rtt(tcb: Tcb, segment: Segment, repeated_ns: i64, now_ns: i64) -> i64:
    """Measure by the echoed timestamp; its tick is a millisecond. -1 if there is none, or its echo makes no sense.

    An echo from before ``repeated_ns``, when the newest repetition went, measures nothing: the acknowledgment of an
    earlier transmission may have been lost, and the time until this one was spent waiting.
    """
    if not tcb.has_timestamps or not segment.has_timestamps or segment.ts_ecr == 0:
        return -1
    elapsed_ns = elapsed_ticks(now_ns, tcb.ts_offset, segment.ts_ecr) * MS
    if elapsed_ns > now_ns - repeated_ns + MS:
        return -1
    return max(elapsed_ns, MS)


def _drop_runs(losses: Losses, ack: i64) -> None:
    runs = losses.runs
    count: i64 = 0
    while count < len(runs) and runs[count].right <= ack:
        count += 1
    if count > 0:
        del runs[:count]


def _trim_front(tcb: Tcb, segment: SentSegment, ack: i64) -> None:
    """Cut the acknowledged part off a segment in flight."""
    cut = ack - segment.seq
    if (segment.flags & SYN) != 0:
        segment.flags &= ~SYN
        segment.start -= 1
    segment.start += cut
    segment.seq = ack
    if segment.is_sacked:
        losses = tcb.losses
        if losses is not None:
            losses.sacked_bytes -= cut
        return
    tcb.delivered_bytes += cut
    length = segment.end - segment.seq
    tcb.delivered_segments += segments_in(tcb, length + cut) - segments_in(tcb, length)
    if not segment.is_lost:
        tcb.pipe_bytes -= cut


# --- SACK


def read_sack(tcb: Tcb, ack: i64, segment: Segment, now_ns: i64) -> bool:
    """Take in SACK blocks. Returns whether they told of something new. Blocks outside of the flight are ignored."""
    blocks = segment.sack
    if blocks is None:
        return False
    losses = losses_of(tcb)
    has_news = False
    index: i64 = _read_dsack(tcb, losses, ack, blocks)
    while index + 1 < len(blocks):
        left = unwrap(Seq(blocks[index]), tcb.snd_nxt)
        right = unwrap(Seq(blocks[index + 1]), tcb.snd_nxt)
        index += 2
        if left >= right or right > tcb.snd_nxt or right <= tcb.snd_una:
            tcb.context.counters.TcpExtTCPSACKDiscard += 1 if left >= right or right > tcb.snd_nxt else 0
        elif left > tcb.snd_una and left > ack and _take_block(tcb, losses, left, right, segment, now_ns):
            has_news = True
    return has_news


def _read_dsack(tcb: Tcb, losses: Losses, ack: i64, blocks: list[int]) -> i64:
    """Note a duplicate that the peer reports: its first block, at or below the acknowledgment or inside the second
    block.

    RFC 2883 sections 4.1 and 4.2. Returns the index of the first block that is not one.
    """
    if len(blocks) < 2:
        return 0
    left = unwrap(Seq(blocks[0]), tcb.snd_nxt)
    right = unwrap(Seq(blocks[1]), tcb.snd_nxt)
    counters = tcb.context.counters
    if left >= right or right > tcb.snd_nxt:
        return 0
    if right <= ack:
        counters.TcpExtTCPDSACKRecv += 1
    elif len(blocks) >= 4 and (
        unwrap(Seq(blocks[2]), tcb.snd_nxt) <= left and right <= unwrap(Seq(blocks[3]), tcb.snd_nxt)
    ):
        counters.TcpExtTCPDSACKOfoRecv += 1
    else:
        return 0
    # Older than anything that was in flight a window ago: not about text of ours (as Linux's tcp_is_sackblock_valid).
    if left >= tcb.snd_una - max(i64(tcb.max_snd_wnd), 1):
        duplicates = segments_in(tcb, right - left)
        troubles_of(tcb).dsack_dups += duplicates
        counters.TcpExtTCPDSACKRecvSegs += duplicates
        losses.dsack_left = left
        losses.dsack_right = right
        if losses.undo_seq != NO_SEQ and right > losses.undo_seq and losses.undo_repeats > 0:
            mss = tcb.snd_mss()
            losses.undo_repeats = max(0, losses.undo_repeats - (right - left + mss - 1) // mss)
    return 2


def _take_block(tcb: Tcb, losses: Losses, left: i64, right: i64, segment: Segment, now_ns: i64) -> bool:
    """Mark what a block tells, if any of it is new, and join it to the runs it touches."""
    sent = tcb.sent
    runs = losses.runs
    at = _first_run(runs, left)
    if sent is None or (at < len(runs) and runs[at].left <= left and right <= runs[at].right):
        return False
    first = _cut_at(tcb, sent, left, is_left=True)
    end = _cut_at(tcb, sent, right, is_left=False)
    if first >= end:
        return False
    left = sent[first].seq
    right = sent[end - 1].end
    at = _first_run(runs, left)
    before: i64 = losses.sacked_count
    place = left
    upto = at
    while upto < len(runs) and runs[upto].left <= right:
        run = runs[upto]
        if place < run.left:
            _mark(tcb, losses, sent, place, min(right, run.left), segment, now_ns)
        place = max(place, run.right)
        upto += 1
    if place < right:
        _mark(tcb, losses, sent, place, right, segment, now_ns)
    if upto == at:
        runs.insert(at, Run(left, right))
    else:
        merged = runs[at]
        merged.left = min(merged.left, left)
        merged.right = max(right, runs[upto - 1].right)
        if upto - at > 1:
            del runs[at + 1 : upto]
    return losses.sacked_count != before


def _first_run(runs: list[Run], left: i64) -> i64:
    """Return the index of the first run that ends at or after ``left``."""
    high: i64 = len(runs)
    if high == 0 or runs[high - 1].right < left:
        return high
    low: i64 = 0
    while low < high:
        middle = (low + high) // 2
        if runs[middle].right < left:
            low = middle + 1
        else:
            high = middle
    return low


def _cut_at(tcb: Tcb, sent: list[SentSegment], seq: i64, *, is_left: bool) -> i64:
    """Return the index of the first segment at or after ``seq``, cutting a super-segment there that ``seq`` lies in.

    The cut is at a multiple of the segment size: above a block's left edge, below its right edge.
    """
    at = find(tcb, sent, seq)
    if at == tcb.sent_head or sent[at - 1].end <= seq:
        return at
    inner = sent[at - 1]
    mss = tcb.snd_mss()
    length = inner.text_bytes()
    into = seq - inner.seq
    into -= into % mss
    if is_left and into < seq - inner.seq:
        into += mss
    if into <= 0:
        return at - 1
    if into >= length or length != inner.end - inner.seq - (inner.flags & FIN):
        return at
    split(tcb, sent, at - 1, into)
    return at


def _mark(
    tcb: Tcb, losses: Losses, sent: list[SentSegment], left: i64, right: i64, segment: Segment, now_ns: i64,
) -> None:
    """Mark the segments from ``left`` to ``right`` as SACKed; no run holds any of them."""
    at = find(tcb, sent, left)
    while at < len(sent):
        one = sent[at]
        if one.seq >= right:
            break
        at += 1
        if one.is_sacked:
            continue
        length = one.end - one.seq
        if one.is_lost:
            one.is_lost = False
            tcb.lost_count -= 1
        else:
            tcb.pipe_bytes -= length
        one.is_sacked = True
        losses.sacked_bytes += length
        losses.sacked_count += 1
        tcb.delivered_bytes += length
        tcb.delivered_segments += segments_in(tcb, length)
        if tcb.rate is not None:
            tcb.rate.on_delivered(one)
        if one.transmissions == 1:
            losses.sacked_rtt_ns = now_ns - one.sent_ns
        _deliver(tcb, losses, one, segment, now_ns)


def unmark_sacked(tcb: Tcb) -> None:
    """Forget all SACKs: the peer reneged (RFC 2018 section 8)."""
    sent = tcb.sent
    losses = tcb.losses
    if sent is None or losses is None:
        return
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        if segment.is_sacked:
            segment.is_sacked = False
            length = segment.end - segment.seq
            tcb.pipe_bytes += length
            tcb.delivered_bytes -= length
            tcb.delivered_segments -= segments_in(tcb, length)
        at += 1
    losses.runs.clear()
    losses.sacked_bytes = 0
    losses.sacked_count = 0
    losses.once_seq = tcb.snd_una


# --- losses


def find(tcb: Tcb, sent: list[SentSegment], seq: i64) -> i64:
    """Return the index of the first segment in flight at or after ``seq``."""
    low = tcb.sent_head
    high: i64 = len(sent)
    while low < high:
        middle = (low + high) // 2
        if sent[middle].seq < seq:
            low = middle + 1
        else:
            high = middle
    return low


def lose(tcb: Tcb, losses: Losses, segment: SentSegment) -> None:
    """Take a segment as lost: it is out of the network, and will be sent again."""
    length = segment.end - segment.seq
    segment.is_lost = True
    segment.is_marked = True
    losses.has_marks = True
    tcb.lost_count += 1
    tcb.pipe_bytes -= length
    losses.lost_bytes += length
    if segment.seq < losses.lost_seq:
        losses.lost_seq = segment.seq


def unmark_lost(tcb: Tcb, losses: Losses) -> None:
    """Take all that was lost and not sent again as still in flight, and nothing as lost any more."""
    sent = tcb.sent
    if sent is None or not losses.has_marks:
        return
    losses.has_marks = False
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        segment.is_marked = False
        if segment.is_lost:
            segment.is_lost = False
            tcb.lost_count -= 1
            tcb.pipe_bytes += segment.end - segment.seq
            if segment.transmissions > 1:
                losses.resent.append(segment)
        at += 1
    losses.once_seq = tcb.snd_una


def mark_head_lost(tcb: Tcb) -> None:
    """Take the oldest segment in flight as lost: one alone, also if it was sent as part of a super-segment."""
    sent = tcb.sent
    if sent is None:
        return
    segment = sent[tcb.sent_head]
    if not segment.is_lost and not segment.is_sacked:
        mss = tcb.snd_mss()
        if segment.text_bytes() > mss and (segment.flags & SYN) == 0:
            split(tcb, sent, tcb.sent_head, mss)
        lose(tcb, losses_of(tcb), segment)


def next_lost(tcb: Tcb) -> i64:
    """Return the index in ``sent`` of the next segment to send again, -1 if there is none."""
    sent = tcb.sent
    losses = tcb.losses
    if sent is None or losses is None or tcb.lost_count == 0:
        return -1
    at = find(tcb, sent, losses.lost_seq)
    while at < len(sent):
        segment = sent[at]
        if segment.is_lost:
            losses.lost_seq = segment.seq
            return at
        at += 1
    losses.lost_seq = tcb.snd_nxt
    return -1


def split(tcb: Tcb, sent: list[SentSegment], at: i64, limit: i64) -> None:
    """Cut a segment in flight in two, the first with ``limit`` bytes of text."""
    first = sent[at]
    rest = SentSegment(first.seq + limit, first.end, first.flags, first.data, first.start + limit, first.sent_ns)
    rest.transmissions = first.transmissions
    rest.order = first.order
    rest.is_app_limited = first.is_app_limited
    rest.delivered_bytes = first.delivered_bytes
    rest.delivered_ns = first.delivered_ns
    rest.first_sent_ns = first.first_sent_ns
    rest.is_sacked = first.is_sacked
    rest.is_lost = first.is_lost
    rest.is_marked = first.is_marked
    losses = tcb.losses
    if rest.is_lost:
        tcb.lost_count += 1
    if losses is not None:
        if rest.is_sacked:
            losses.sacked_count += 1
        if rest.transmissions > 1 and not rest.is_lost and not rest.is_sacked:
            losses.resent.append(rest)
    first.end = first.seq + limit
    first.flags &= ~(FIN | PSH)
    sent.insert(at + 1, rest)


def put_back(tcb: Tcb, segment: SentSegment) -> None:
    """A segment that was lost is sent again: it is in the network once more."""
    segment.is_lost = False
    tcb.lost_count -= 1
    tcb.pipe_bytes += segment.end - segment.seq


def ask_fast_retransmit(tcb: Tcb) -> None:
    """Let the next lost segment go whatever the congestion window (RFC 5681 section 3.2 step 3)."""
    tcb.is_fast_retransmit_due = True


def withdraw_fast_retransmit(tcb: Tcb) -> None:
    """That segment went, or need not go."""
    tcb.is_fast_retransmit_due = False


# --- what each delivered segment tells


def _deliver(tcb: Tcb, losses: Losses, one: SentSegment, segment: Segment, now_ns: i64) -> None:
    """Take in that a segment arrived, as ``segment`` says (RFC 8985 section 6.2, steps 1 to 3)."""
    if one.end > losses.fack:
        losses.fack = one.end
    if one.seq < losses.fack_before and one.transmissions == 1:
        losses.late_seq = min(losses.late_seq, one.seq)  # a hole below what had arrived was filled by the original
    if one.transmissions == 1 and one.end <= tcb.recover:
        losses.has_original_arrived = True
    rtt_ns = now_ns - one.sent_ns
    if one.transmissions > 1:
        # We differ, as Linux does: RFC 8985 compares the echoed timestamp here too. But what is selectively
        # acknowledged came out of order, and its acknowledgment echoes the last segment in order (RFC 7323 section
        # 4.3): that would be older always, and no probe would ever tell of a loss. The sixteenth is for probes that are
        # shorter, and so quicker, than what was measured.
        if rtt_ns < tcb.min_rtt_ns - tcb.min_rtt_ns // 16:
            return  # an earlier transmission arrived, not the latest
        if not one.is_sacked and echoes_before(tcb, segment, one.sent_ns):
            return
    losses.rack_rtt_ns = rtt_ns
    if one.order > losses.rack_order or (one.order == losses.rack_order and one.end > losses.rack_end):
        losses.rack_order = one.order
        losses.rack_end = one.end


def note_reordering(tcb: Tcb, losses: Losses) -> None:
    """Learn from the acknowledgment at hand how far the path brings segments out of order (RFC 8985 section 6.2).

    As on Linux: the distance from the lowest original that came late to the highest number that had arrived.
    """
    late = losses.late_seq
    losses.late_seq = NEVER
    if late >= losses.fack:
        return
    if tcb.ca_state == CA_LOSS and losses.undo_seq == NO_SEQ:
        return
    mss = tcb.snd_mss()
    distance = (losses.fack - late + mss - 1) // mss
    if distance > i64(tcb.reordering):
        tcb.reordering = i32(min(distance, tcb.context.config.tcp_max_reordering))
    troubles_of(tcb).reord_seen += 1
    losses.is_reordering_seen = True
    tcb.context.counters.TcpExtTCPSACKReorder += 1


def echoes_before(tcb: Tcb, segment: Segment, sent_ns: i64) -> bool:
    """Tell whether an acknowledgment echoes a timestamp from before ``sent_ns`` (RFC 7323 section 4)."""
    if not tcb.has_timestamps or not segment.has_timestamps or segment.ts_ecr == 0:
        return False
    return is_older(segment.ts_ecr, clock(sent_ns, tcb.ts_offset))
