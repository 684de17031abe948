"""When to acknowledge (RFC 9293 section 3.8.6.3; MUST-40, SHLD-18, SHLD-19), and what an acknowledgment reports.

At once for every second full segment, for anything out of order, and while the connection starts; otherwise delayed, so
that an answer may carry it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from estab.tcp.record.parts import marks_of
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_DELAYED_ACK

__all__ = [
    "acknowledge", "acknowledge_late", "acknowledge_now", "acknowledge_quickly", "acknowledge_window_quickly", "begin",
    "end", "expect_answers", "leave_to_syn_ack", "note_duplicate", "note_push", "note_told", "on_acknowledgment_sent",
    "on_all_read", "on_timer", "owe_duplicate", "pay_duplicate", "report_duplicate", "set_quickack",
]

_DUPLICATES_OWED_MAX: Final = 64


def begin(tcb: Tcb) -> None:
    """Start, with RCV.NXT set: what came is acknowledged, and the next acknowledgments go at once."""
    tcb.rcv_wup = tcb.rcv_nxt
    tcb.quick_acks = i32(tcb.context.config.tcp_quick_acks)


def end(tcb: Tcb) -> None:
    """The connection is over: nothing is owed any more."""
    tcb.is_ack_due = False
    tcb.duplicate_acks_owed = 0


def acknowledge_now(tcb: Tcb) -> None:
    """Owe an acknowledgment that must not wait."""
    tcb.is_ack_due = True


def acknowledge(tcb: Tcb, now_ns: i64) -> None:
    """Owe an acknowledgment for text that came; decide whether it may wait."""
    config = tcb.context.config
    queue = tcb.out_of_order
    if tcb.rcv_nxt - tcb.rcv_wup > tcb.rcv_mss:
        # More than one full segment since the last acknowledgment (SHLD-19) …
        tcb.is_ack_due = True
    elif queue is not None or (tcb.quick_acks > 0 and not tcb.is_interactive):
        tcb.is_ack_due = True
    elif not tcb.is_ack_pending:
        tcb.is_ack_pending = True
        tcb.arm(TIMER_DELAYED_ACK, now_ns + min(config.tcp_delack_ns, config.tcp_delack_max_ns))


def acknowledge_late(tcb: Tcb, now_ns: i64) -> None:
    """Let the text that is to come carry the acknowledgment, which then needs no segment of its own (as Linux)."""
    tcb.is_ack_pending = True
    tcb.is_interactive = True
    tcb.arm(TIMER_DELAYED_ACK, now_ns + tcb.context.config.tcp_delack_max_ns)


def acknowledge_quickly(tcb: Tcb, count: i64) -> None:
    """Let the next ``count`` acknowledgments go at once, or more if so many do already."""
    tcb.quick_acks = i32(max(i64(tcb.quick_acks), count))


def acknowledge_window_quickly(tcb: Tcb) -> None:
    """Acknowledge the next segments at once: as many as half a window holds, at least two, at most sixteen."""
    count = max((tcb.rcv_adv - tcb.rcv_nxt) // (2 * tcb.rcv_mss), 2)
    acknowledge_quickly(tcb, min(count, tcb.context.config.tcp_quick_acks))


def expect_answers(tcb: Tcb, *, is_likely: bool) -> None:
    """Set whether text of ours is likely to follow, which then carries the acknowledgments (Linux's pingpong)."""
    tcb.is_interactive = is_likely


def set_quickack(tcb: Tcb, is_on: bool) -> None:
    """Acknowledge at once for now, or not (TCP_QUICKACK). What is pending then goes."""
    tcb.is_interactive = not is_on
    tcb.quick_acks = i32(tcb.context.config.tcp_quick_acks if is_on else 0)
    if is_on and tcb.is_ack_pending:
        tcb.is_ack_due = True


def on_timer(tcb: Tcb) -> bool:
    """An acknowledgment has waited long enough. Returns whether it was still owed."""
    tcb.disarm(TIMER_DELAYED_ACK)
    if not tcb.is_ack_pending:
        return False
    tcb.is_ack_due = True
    tcb.is_interactive = False
    return True


def on_acknowledgment_sent(tcb: Tcb) -> None:
    """A segment with the current RCV.NXT goes out: nothing is owed any more."""
    tcb.rcv_wup = tcb.rcv_nxt
    tcb.is_ack_due = False
    tcb.is_ack_pending = False
    tcb.disarm(TIMER_DELAYED_ACK)
    marks = tcb.marks
    if marks is not None:
        marks.dsack_left = NO_SEQ
    tcb.pushes_unread = 0
    if tcb.quick_acks > 0:
        tcb.quick_acks -= 1


def note_push(tcb: Tcb) -> None:
    """A segment came that is not full, or is full and bears PSH: the peer may have no more to send for now."""
    if tcb.pushes_unread < 2:
        tcb.pushes_unread += 1


def on_all_read(tcb: Tcb) -> None:
    """The program has read all that is here: acknowledge it, if that waits and nothing of ours is likely to carry it.

    As Linux's ``tcp_cleanup_rbuf``: a peer under Nagle's rule waits for just that.
    """
    if tcb.is_ack_pending and (tcb.pushes_unread > 1 or (tcb.pushes_unread == 1 and not tcb.is_interactive)):
        tcb.is_ack_due = True


def note_told(tcb: Tcb, seq: i64) -> None:
    """Our SYN-ACK, or an early acknowledgment, told the peer that all before ``seq`` is here."""
    tcb.rcv_wup = seq


def leave_to_syn_ack(tcb: Tcb) -> None:
    """The SYN-ACK that is to be sent acknowledges all that is here."""
    tcb.is_ack_due = False
    tcb.is_ack_pending = False
    tcb.disarm(TIMER_DELAYED_ACK)


def owe_duplicate(tcb: Tcb) -> None:
    """Owe a duplicate acknowledgment for a segment that came out of order (RFC 5681 section 4.2)."""
    if tcb.duplicate_acks_owed < _DUPLICATES_OWED_MAX:
        tcb.duplicate_acks_owed += 1


def pay_duplicate(tcb: Tcb) -> None:
    """One of the duplicate acknowledgments that are owed goes out."""
    tcb.duplicate_acks_owed -= 1


def report_duplicate(tcb: Tcb, seq: i64, end: i64) -> i64:
    """Remember text that came twice, to report as DSACK (RFC 2883), and acknowledge it at once. 1: it will be."""
    acknowledge_now(tcb)
    # An acknowledgment was lost or late: those that follow don't wait, even for text (Linux's quick-ACK mode).
    tcb.context.counters.TcpExtDelayedACKLost += 1
    tcb.is_interactive = False
    acknowledge_window_quickly(tcb)
    return note_duplicate(tcb, seq, end)


def note_duplicate(tcb: Tcb, seq: i64, end: i64) -> i64:
    """Let the next acknowledgment report ``seq`` to ``end`` as DSACK: 1, if both sides agreed on that.

    RFC 2883 section 4: an acknowledgment has one such block, for what came last.
    """
    if not tcb.has_sack or not tcb.context.config.tcp_dsack:
        return 0
    marks = marks_of(tcb)
    marks.dsack_left = seq
    marks.dsack_right = end
    return 1
