"""The receiving half: text in order, the window we offer, the peer's FIN, and reading.

The window: never shrunk (RFC 9293 SHLD-14), never offered in silly pieces (MUST-39), at most what the buffer can
take. When to acknowledge is in ``acknowledging``.
"""

from __future__ import annotations

from mypy_extensions import i64, u8

from estab.errors import DropReason
from estab.events import BufferChanged
from estab.tcp.config import Config
from estab.tcp.receiving import acknowledging, rightsizing
from estab.tcp.receiving.acknowledging import (
    acknowledge,
    acknowledge_now,
    acknowledge_window_quickly,
    note_duplicate,
    owe_duplicate,
    report_duplicate,
)
from estab.tcp.record.buffers import ByteQueue
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES
from estab.tcp.record.options import Options
from estab.tcp.record.parts import marks_of, traffic_of, troubles_of
from estab.tcp.record.reassembly import PIECE_BYTES, Reassembly
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.window import memory
from estab.wire.tcp import FIN, PSH, URG, Segment

__all__ = [
    "accept_text", "begin_transfer", "discard", "drop_unread", "finish", "first_window", "fix_buffer",
    "forget_early_fin", "is_at_urgent_mark", "note_arrival", "note_offered", "note_urgent", "read", "read_urgent",
    "select_window", "set_scale", "space_bytes", "start", "take_fin", "window_scale",
]


def start(tcb: Tcb, irs: i64) -> None:
    """Set the receive side from the peer's SYN, numbered ``irs``: RCV.NXT, and nothing read yet.

    What our SYN offered stays offered (RFC 9293 SHLD-14).
    """
    offered = min(tcb.rcv_adv - tcb.rcv_nxt, 0xFFFF)  # by our SYN, if it was sent; the window of a SYN is not scaled
    tcb.irs = irs
    tcb.rcv_nxt = irs + 1
    tcb.copied_seq = tcb.rcv_nxt
    tcb.rcv_adv = tcb.rcv_nxt + offered
    tcb.last_received_ns = tcb.context.now_ns
    acknowledging.begin(tcb)


def begin_transfer(tcb: Tcb, first_window_bytes: i64, now_ns: i64) -> None:
    """The handshake is done: count from here when something last came, and what is read in a round trip."""
    rightsizing.begin(tcb, min(first_window_bytes, tcb.receive_buffer_bytes // 4), now_ns)
    tcb.last_received_ns = now_ns
    tcb.last_text_ns = now_ns


def note_arrival(tcb: Tcb, now_ns: i64) -> None:
    """An acceptable segment came."""
    tcb.last_received_ns = now_ns


def finish(tcb: Tcb) -> None:
    """The connection is over: nothing comes any more. What was received can still be read."""
    tcb.out_of_order = None
    acknowledging.end(tcb)


def drop_unread(tcb: Tcb) -> None:
    """Discard text that will not be read."""
    if tcb.received is not None:
        tcb.received = None
        memory.charge(tcb)


def fix_buffer(tcb: Tcb, size_bytes: i64) -> None:
    """Let the receive buffer have this size from now on (SO_RCVBUF)."""
    tcb.receive_buffer_bytes = size_bytes


# --- the window


def window_scale(config: Config, options: Options) -> i64:
    """Choose the scale so that the largest buffer's window can be told (RFC 7323 section 2.3), as Linux does."""
    if not config.tcp_window_scaling:
        return 0
    space: i64 = max(config.tcp_rmem[2], config.rmem_max)
    if options.is_receive_buffer_fixed:
        space = options.receive_buffer_bytes
    if options.window_clamp_bytes > 0:
        space = min(space, options.window_clamp_bytes)
    scale: i64 = 0
    while space > 0xFFFF and scale < 14:
        space >>= 1
        scale += 1
    return scale


def first_window(options: Options) -> i64:
    """Return the window of a SYN-ACK in bytes, which no scale applies to."""
    window = min(options.receive_buffer_bytes // 2, 0xFFFF)
    return window if options.window_clamp_bytes == 0 else min(window, options.window_clamp_bytes)


def set_scale(tcb: Tcb, scale: i64) -> None:
    """Scale our windows so, or not at all (0) as the peer does not scale its own (RFC 7323 section 2.2)."""
    tcb.rcv_wscale = u8(scale)


def note_offered(tcb: Tcb, window: i64) -> None:
    """A SYN or SYN-ACK offered a window: the right edge is no less than that."""
    tcb.rcv_adv = max(tcb.rcv_adv, tcb.rcv_nxt + window)


def space_bytes(tcb: Tcb) -> i64:
    """Return the room for more text. Half the buffer is kept for what holding bytes costs, as in Linux
    (tcp_adv_win_scale 1).
    """
    held = tcb.unread_bytes()
    queue = tcb.out_of_order
    if queue is not None and not tcb.context.config.tcp_round_buffers:
        held += queue.size_bytes
    return tcb.receive_buffer_bytes // 2 - held


def select_window(tcb: Tcb) -> i64:
    """Choose the window to offer, in bytes, and move the right edge. RFC 9293 MUST-39, SHLD-14; section 3.8.6.2.2."""
    offered = max(0, tcb.rcv_adv - tcb.rcv_nxt)
    full = tcb.largest_window()
    space = min(space_bytes(tcb), full)
    if tcb.context.memory.is_pressed and space < full // 2:
        space = min(space, 4 * tcb.rcv_mss)
    if tcb.is_fast_child():
        space = min(space, offered)  # until the handshake is done, no more than the SYN-ACK offers
    mss = min(tcb.rcv_mss, full)
    scale = i64(tcb.rcv_wscale)
    if space < mss or (space < full // 16 and space < offered + mss):
        window: i64 = 0
    elif scale > 0:
        window = (space >> scale) << scale
        if window == 0:
            window = 1 << scale
    elif tcb.context.config.tcp_round_buffers:
        window = space
    elif offered <= space - mss or offered > space:
        window = space // mss * mss
    else:
        window = offered
    window = min(window, 0xFFFF << scale)
    if window < offered:
        # Never move the right edge left; round up so that scaling does not do it either. If that would let a peer that
        # sends byte by byte push the edge past the buffer, round down: a few octets less than was offered.
        window = ((offered + (1 << scale) - 1) >> scale) << scale
        if window > offered and tcb.receive_buffer_bytes // 2 - space_bytes(tcb) + window > tcb.receive_buffer_bytes:
            window = (offered >> scale) << scale
        window = min(window, 0xFFFF << scale)
    edge = tcb.rcv_nxt + window
    if edge > tcb.rcv_adv:
        tcb.rcv_adv = edge
    counters = tcb.context.counters
    if window == 0 and offered != 0:
        counters.TcpExtTCPToZeroWindowAdv += 1
    elif window != 0 and offered == 0 and tcb.is_counted:
        counters.TcpExtTCPFromZeroWindowAdv += 1
    return window


def accept_text(tcb: Tcb, seq: i64, segment: Segment, now_ns: i64) -> None:
    """Take the segment's text, already known to be acceptable, at ``seq`` (RFC 9293 section 3.10.7.4, seventh step)."""
    start_at = segment.start
    length = segment.end - start_at
    end = seq + length
    traffic = traffic_of(tcb)
    _note_size(tcb, length, segment.flags, now_ns)
    rightsizing.measure(tcb, traffic, segment, now_ns)
    if seq < tcb.rcv_nxt:
        tcb.context.counters.TcpExtTCPDSACKOldSent += report_duplicate(tcb, seq, min(end, tcb.rcv_nxt))
        cut = tcb.rcv_nxt - seq
        if cut >= length:
            return
        start_at += cut
        seq = tcb.rcv_nxt
    edge = max(tcb.rcv_adv, tcb.rcv_nxt)
    if end > edge:
        end = edge  # beyond the window: cut off, will be sent again
        if end <= seq:
            acknowledge_now(tcb)
            return
    if tcb.context.memory.is_full():
        end = min(end, seq + _room_of_host(tcb, seq))
        if end <= seq:
            return
    if seq == tcb.rcv_nxt:
        if tcb.out_of_order is not None:
            _has_memory(tcb, tcb.out_of_order, seq, end - seq)
        is_reported = tcb.dsack_left != NO_SEQ
        _append(tcb, segment.data, start_at, end)
        if not tcb.is_ack_due:
            acknowledge(tcb, now_ns)
        if tcb.out_of_order is not None:
            if not is_reported:
                _report_overlap(tcb, tcb.out_of_order, seq, end)
            _close_gap(tcb)
    else:
        _hold(tcb, seq, segment.data[start_at : start_at + (end - seq)])
    memory.charge(tcb)
    if (segment.flags & PSH) != 0 and tcb.owner is not None:
        tcb.context.wake(tcb.owner)


def _append(tcb: Tcb, data: bytes, start_at: i64, end: i64) -> None:
    """Take in ``data`` from ``start_at`` on, up to the number ``end``."""
    received = tcb.received
    if received is None:
        received = ByteQueue()
        tcb.received = received
    received.append_part(data, start_at, start_at + (end - tcb.rcv_nxt))
    tcb.rcv_nxt = end
    if received.memory_bytes() > tcb.receive_buffer_bytes and received.memory_bytes() > 2 * received.size:
        received.collapse()
        tcb.context.counters.TcpExtTCPRcvCollapsed += 1
    _tell_buffer(tcb, "text arrived in order")
    tcb.context.wake(tcb.owner)


def _close_gap(tcb: Tcb) -> None:
    """Take over what the new text now reaches."""
    queue = tcb.out_of_order
    received = tcb.received
    if queue is None or received is None:
        return
    before = tcb.rcv_nxt
    tcb.rcv_nxt = queue.take_into(received, tcb.rcv_nxt)
    # RFC 5681 section 4.2: a segment that fills a gap is acknowledged at once.
    acknowledge_now(tcb)
    if queue.is_empty():
        tcb.out_of_order = None
    if tcb.rcv_nxt != before:
        _tell_buffer(tcb, "a gap was filled")


def _report_overlap(tcb: Tcb, queue: Reassembly, seq: i64, end: i64) -> None:
    """Report the first part of new text that was held already (RFC 2883 section 4.2)."""
    left, right = queue.first_overlap(seq, end)
    if left < right:
        if left < tcb.rcv_nxt:
            tcb.context.counters.TcpExtTCPDSACKOldSent += note_duplicate(tcb, left, right)
        else:
            tcb.context.counters.TcpExtTCPDSACKOfoSent += note_duplicate(tcb, left, right)


def _hold(tcb: Tcb, seq: i64, text: bytes) -> None:
    """Keep text from beyond a gap, and tell the peer at once that there is one (RFC 5681 section 4.2)."""
    counters = tcb.context.counters
    troubles_of(tcb).rcv_ooopack += 1
    queue = _queue_of(tcb)
    if queue.holds(seq, seq + len(text)):
        counters.TcpExtTCPOFOMerge += 1
        queue.touch(seq)
        tcb.context.counters.TcpExtTCPDSACKOfoSent += report_duplicate(tcb, seq, seq + len(text))
    elif _has_memory(tcb, queue, seq, len(text) + PIECE_BYTES):
        _report_overlap(tcb, queue, seq, seq + len(text))
        queue.add(seq, text)
        counters.TcpExtTCPOFOQueue += 1
    else:
        counters.TcpExtTCPOFODrop += 1
        if queue.is_empty():
            tcb.out_of_order = None
    acknowledge_now(tcb)
    owe_duplicate(tcb)


def _room_of_host(tcb: Tcb, seq: i64) -> i64:
    """The host has no memory for more: give how many bytes at ``seq`` the connection may hold all the same.

    As Linux's ``tcp_try_rmem_schedule``: text from beyond gaps makes room; what finds none is dropped, and sent again.
    """
    counters = tcb.context.counters
    room = memory.receive_room(tcb)
    queue = tcb.out_of_order
    if room == 0 and queue is not None:
        counters.TcpExtPruneCalled += 1
        if queue.prune(seq, tcb.context.config.tcp_rmem[0]):
            counters.TcpExtOfoPruned += 1
            memory.charge(tcb)
            room = memory.receive_room(tcb)
    if room == 0:
        counters.TcpExtTCPRcvQDrop += 1
        tcb.context.drop(DropReason.PROTO_MEM, tcb.name(), "")
        acknowledge_now(tcb)
    return room


def _has_memory(tcb: Tcb, queue: Reassembly, seq: i64, needed: i64) -> bool:
    """Tell whether ``needed`` bytes more may be held for text at ``seq``, after dropping some from farther away.

    As Linux's ``tcp_prune_ofo_queue``: an eighth of the buffer is freed at least, so that it is not done for every
    segment, and nothing before the text at hand is dropped for it.
    """
    most = tcb.receive_buffer_bytes
    over = tcb.unread_bytes() + queue.memory_bytes() + needed - most
    if over <= 0:
        return True
    if queue.prune(seq, max(over, most // 8)):
        tcb.context.counters.TcpExtOfoPruned += 1
    return tcb.unread_bytes() + queue.memory_bytes() + needed <= most


# --- the peer's FIN


def take_fin(tcb: Tcb, seq: i64, segment: Segment) -> bool:
    """Take a FIN, of this segment at ``seq`` or of one that came before. ``True``: all text before it is here now.

    RFC 9293 section 3.10.7.4, eighth.
    """
    has_fin = (segment.flags & FIN) != 0
    fin_seq = tcb.peer_fin_seq
    if has_fin and fin_seq == NO_SEQ:
        fin_seq = seq + (segment.end - segment.start)
        if fin_seq != tcb.rcv_nxt:
            marks_of(tcb).peer_fin_seq = fin_seq
            if fin_seq > tcb.rcv_nxt:
                _hold_fin(tcb, fin_seq, segment.end == segment.start)
    if tcb.is_fin_received or tcb.rcv_nxt != fin_seq:
        if has_fin:
            acknowledge_now(tcb)
        return False
    tcb.is_fin_received = True
    tcb.rcv_nxt += 1
    tcb.out_of_order = None
    acknowledge_now(tcb)
    return True


def forget_early_fin(tcb: Tcb) -> None:
    """Text came from beyond a FIN that was received early: the FIN was not the peer's."""
    if tcb.peer_fin_seq != NO_SEQ and tcb.rcv_nxt > tcb.peer_fin_seq:
        marks_of(tcb).peer_fin_seq = NO_SEQ


def _hold_fin(tcb: Tcb, seq: i64, is_bare: bool) -> None:
    """Note a FIN from beyond a gap: it is reported like text, so that the peer finds what was lost before it.

    ``is_bare``: it came without text, for which a duplicate acknowledgment would be owed already.
    """
    _queue_of(tcb).add_fin(seq)
    acknowledge_now(tcb)
    if is_bare:
        owe_duplicate(tcb)


def _queue_of(tcb: Tcb) -> Reassembly:
    queue = tcb.out_of_order
    if queue is None:
        queue = Reassembly()
        tcb.out_of_order = queue
    return queue


def _note_size(tcb: Tcb, length: i64, flags: i64, now_ns: i64) -> None:
    """Learn how large the peer's full segments are, and whether it is a conversation or a bulk transfer."""
    if length < tcb.rcv_mss or (length == tcb.rcv_mss and (flags & PSH) != 0):
        acknowledging.note_push(tcb)
    if length > tcb.rcv_mss:
        tcb.rcv_mss = min(length, max(tcb.mss_base, 1460))
    elif length >= DEFAULT_MSS_BYTES and tcb.rcv_mss < length:
        tcb.rcv_mss = length
    if now_ns - tcb.last_text_ns > tcb.rto_ns:
        # The sender begins again after a pause or a timeout, and needs its clock (as Linux).
        acknowledge_window_quickly(tcb)
    tcb.last_text_ns = now_ns


def read(tcb: Tcb, size: i64, is_peek: bool, now_ns: i64) -> bytes:
    """Take up to ``size`` bytes in order; the urgent byte is left out unless it is inline.

    RFC 6093, as Linux does it.
    """
    received = tcb.received
    if received is None or size <= 0:
        return b""
    if tcb.urgent_seq != NO_SEQ:
        before_mark = tcb.urgent_seq - tcb.copied_seq
        if before_mark == 0 and not tcb.options.is_oob_inline:
            if is_peek:
                return received.peek(1, size)
            received.drop(1)
            tcb.copied_seq += 1
            _pass_urgent(tcb)
        elif before_mark > 0:
            size = min(size, before_mark)
    if is_peek:
        return received.peek(0, size)
    data = received.take(size)
    _on_read(tcb, received, len(data), now_ns)
    return data


def discard(tcb: Tcb, now_ns: i64) -> i64:
    """Discard all text that waits, the urgent byte, too; returns how many bytes."""
    received = tcb.received
    if received is None:
        return 0
    count = received.size
    received.drop(count)
    _on_read(tcb, received, count, now_ns)
    return count


def _on_read(tcb: Tcb, received: ByteQueue, count: i64, now_ns: i64) -> None:
    tcb.copied_seq += count
    if tcb.urgent_seq != NO_SEQ and tcb.copied_seq > tcb.urgent_seq:
        _pass_urgent(tcb)
    if received.size == 0:
        tcb.received = None
    memory.charge(tcb)
    if count > 0:
        _tell_buffer(tcb, "the program read")
        wanted = rightsizing.wanted_buffer(tcb, now_ns)
        if wanted > 0:
            tcb.receive_buffer_bytes = wanted
            _tell_buffer(tcb, "the receive buffer grew")
        _offer_more(tcb)


def _offer_more(tcb: Tcb) -> None:
    """After a read: tell the peer of new room if that is worth a segment (RFC 9293 MUST-39), or pay what is owed."""
    if tcb.is_fin_received or (tcb.fast_open is not None and tcb.rcv_nxt == tcb.fast_open.text_end):
        return
    if tcb.is_ack_pending and tcb.rcv_nxt - tcb.rcv_wup > tcb.rcv_mss:
        acknowledge_now(tcb)
        return
    if tcb.received is None:
        acknowledging.on_all_read(tcb)
    offered = tcb.rcv_adv - tcb.rcv_nxt
    full = tcb.receive_buffer_bytes // 2
    space = min(min(space_bytes(tcb), full), 0xFFFF << i64(tcb.rcv_wscale))  # of two each: of three it is a call
    mss = min(tcb.rcv_mss, full)
    if space >= mss and space - offered >= min(full // 2, max(2 * mss, offered)):
        acknowledge_now(tcb)


def note_urgent(tcb: Tcb, seq: i64, segment: Segment) -> None:
    """Take in an urgent pointer (RFC 9293 section 3.8.5; RFC 6093), and whether the urgent octet is in this segment.

    MUST-30, MUST-32. As on Linux the octet has come though the text is not taken: out of order, or reset for it.
    """
    if (segment.flags & URG) != 0 and segment.urg != 0:
        _note_pointer(tcb, seq, segment)
    marks = tcb.marks
    if marks is None or marks.urgent_seq == NO_SEQ or marks.has_urgent_byte:
        return
    if seq <= marks.urgent_seq < seq + segment.end - segment.start:
        marks.has_urgent_byte = True
        tcb.context.wake(tcb.owner)


def _note_pointer(tcb: Tcb, seq: i64, segment: Segment) -> None:
    """The pointer tells the octet after the urgent one (MUST-62); we keep the place of the urgent octet itself."""
    place = seq + segment.urg - 1
    if place < tcb.copied_seq or place < tcb.urgent_seq or place >= max(tcb.rcv_adv, tcb.rcv_nxt) + 0xFFFF:
        return
    if place > tcb.urgent_seq:
        received = tcb.received
        if tcb.urgent_seq == tcb.copied_seq and received is not None and not tcb.options.is_oob_inline:
            # As Linux does: reading stands at the old mark, whose byte is lost; it is not part of the stream.
            received.drop(1)
            tcb.copied_seq += 1
            if received.size == 0:
                tcb.received = None
        marks = marks_of(tcb)
        marks.urgent_seq = place
        marks.has_urgent_byte = False
        tcb.is_urgent_new = True
        tcb.is_urgent_read = False
        tcb.context.wake(tcb.owner)


def read_urgent(tcb: Tcb, is_peek: bool) -> int:
    """Return the urgent octet (MSG_OOB), -1 if it has not come yet, -2 if there is none to give."""
    if tcb.urgent_seq == NO_SEQ or tcb.is_urgent_read or tcb.options.is_oob_inline:
        return -2
    received = tcb.received
    offset = tcb.urgent_seq - tcb.copied_seq
    if received is None or offset >= received.size:
        return -1
    if not is_peek:
        tcb.is_urgent_read = True
        tcb.is_urgent_new = False
    return received.peek(offset, 1)[0]


def is_at_urgent_mark(tcb: Tcb) -> bool:
    """Tell whether the next byte to read is the urgent one (SIOCATMARK). RFC 9293 MUST-33."""
    return tcb.urgent_seq != NO_SEQ and tcb.copied_seq == tcb.urgent_seq


def _pass_urgent(tcb: Tcb) -> None:
    marks = marks_of(tcb)
    marks.urgent_seq = NO_SEQ
    marks.has_urgent_byte = False
    tcb.is_urgent_new = False


def _tell_buffer(tcb: Tcb, what: str) -> None:
    context = tcb.context
    if context.observer is not None:
        context.tell(BufferChanged(
            context.now_ns, context.name, tcb.name(), "receive", tcb.unread_bytes(), tcb.receive_buffer_bytes, what,
        ))
