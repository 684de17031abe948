"""From a program's write to the send queue: pieces, PSH, and what leaves while the write goes on.

As Linux's ``tcp_sendmsg``: text joins the last piece until that holds ``size_goal`` bytes; a new piece needs free
memory, so that a write may overshoot the buffer by one. Half of the peer's largest window without a PSH forces one, and
what is ready leaves while the write still goes on, which makes room in the last piece.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES
from estab.tcp.record.parts import traffic_of
from estab.tcp.record.sendqueue import SendQueue
from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery.cwnd import restart_after_idle
from estab.tcp.sending import plan
from estab.tcp.window import chrono, memory
from estab.tcp.window.pacing import GSO_BYTES_MAX
from estab.tcp.window.room import has_room, note_full

__all__ = ["force_push", "release_held", "size_goal", "write"]


def write(tcb: Tcb, data: bytes, start: i64, end: i64, flags: i64, now_ns: i64, *, is_kept: bool) -> i64:
    """Take as much of ``data[start:end]`` as there is room for; returns how much.

    ``flags`` are MSG_OOB, MSG_MORE and MSG_EOR. What is not all of ``data`` is copied, unless it ``is_kept``: the
    caller keeps ``data`` in any case.
    """
    total = end - start
    if total <= 0:
        return 0
    is_urgent = (flags & abi.MSG_OOB) != 0
    goal: i64 = tcb.snd_mss() if is_urgent else size_goal(tcb)
    queue = tcb.unsent
    is_begun = queue is not None
    if queue is None:
        if not has_room(tcb):
            note_full(tcb)
            return 0
        queue = SendQueue()
        tcb.unsent = queue
        chrono.start(tcb, chrono.BUSY, now_ns)
    written: i64 = 0
    is_short = False
    while True:
        piece = queue.tail()
        if piece is None or piece.is_closed or piece.size >= goal:
            if is_begun and not has_room(tcb):
                is_short = True
                note_full(tcb)
                break
            is_begun = True
            piece = queue.begin_piece()
            tcb.is_push_forced = False
            restart_after_idle(tcb, now_ns)
        elif piece.planned >= goal and not has_room(tcb):
            # A piece whose text leaves is filled again, but not for as long as the peer's window lets text leave.
            is_short = True
            note_full(tcb)
            break
        count = min(goal - piece.size, total - written)
        queue.extend(piece, count)
        if written == 0:
            piece.is_pushed = False
        written += count
        if written == total:
            if (flags & abi.MSG_EOR) != 0:
                piece.is_closed = True
            break
        if piece.size < goal or is_urgent:
            continue
        if _must_push(tcb):
            _push_here(tcb, queue)
            while plan.plan(tcb, queue, now_ns, is_forced=True, is_single=False):
                pass
        elif queue.has_one_piece():
            plan.plan(tcb, queue, now_ns, is_forced=True, is_single=True)
    if written == 0:
        return 0
    if is_kept:
        queue.share(data, start, start + written)
    else:
        queue.store(data, start, start + written)
    memory.charge(tcb)
    tcb.is_more_coming = (flags & abi.MSG_MORE) != 0 and not is_short
    if not tcb.is_more_coming or _must_push(tcb):
        _push_here(tcb, queue)
    if is_short:
        while plan.plan(tcb, queue, now_ns, is_forced=True, is_single=False):
            pass
    return written


def force_push(tcb: Tcb) -> None:
    """Let what waits in the last piece leave, whatever Nagle's rule and TCP_CORK say."""
    tcb.is_push_forced = True


def release_held(tcb: Tcb) -> None:
    """Send what MSG_MORE held back: an acknowledgment came, as in Linux."""
    tcb.is_more_coming = False


def size_goal(tcb: Tcb) -> i64:
    """Return how many bytes a piece should hold: what a super-segment can, and half of the peer's largest window."""
    mss = tcb.snd_mss()
    if tcb.context.memory.is_full():
        return mss
    window = i64(tcb.max_snd_wnd)
    if window > DEFAULT_MSS_BYTES:
        window //= 2
    goal: i64 = GSO_BYTES_MAX
    if 0 < window < goal:
        goal = window
    return max(goal // mss * mss, mss)


def _must_push(tcb: Tcb) -> bool:
    """Tell whether more than half of the peer's largest window was written since the last PSH."""
    return tcb.write_end() > traffic_of(tcb).pushed_seq + i64(tcb.max_snd_wnd) // 2


def _push_here(tcb: Tcb, queue: SendQueue) -> None:
    """Let the last byte written bear PSH (RFC 9293 MUST-61)."""
    traffic_of(tcb).pushed_seq = tcb.write_end()
    piece = queue.tail()
    if piece is not None:
        piece.is_pushed = True
    elif queue.planned > 0:
        queue.push_last_burst()
