"""Room in the send buffer: when a write finds some, and when a program that found none is told that there is some."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb
from estab.tcp.window import chrono, memory

__all__ = ["expand_send_buffer", "fix_send_buffer", "has_room", "is_spacious", "note_full", "notice_room"]

_HEADERS_BYTES: Final = 640
"""MAX_TCP_HEADER and ``skb_shared_info``, which Linux counts for each segment of a send buffer."""
_SK_BUFF_BYTES: Final = 256
_BUFFER_BYTES: Final = 1280
"""What a buffer costs beside its text: the sk_buff, room for the largest headers, and ``skb_shared_info``."""


def has_room(tcb: Tcb) -> bool:
    """Tell whether a new piece may begin: the buffer is not full, and unsent text is below TCP_NOTSENT_LOWAT."""
    if tcb.notsent_bytes() >= notsent_lowat(tcb) or not memory.may_write(tcb):
        return False
    return _memory_bytes(tcb) < tcb.send_buffer_bytes


def _memory_bytes(tcb: Tcb) -> i64:
    """Estimate what Linux would count for the text (``sk_wmem_queued``): its bytes, and an sk_buff for each piece.

    No less than it takes here: with a small MSS, or after SACK cut what is in flight, the records take the most.
    """
    buffers: i64 = 0
    unsent = tcb.unsent
    if unsent is not None:
        buffers = unsent.piece_count()
    flight = tcb.pipe_bytes
    if flight > 0:
        buffers += 1 + flight // max(tcb.cwnd_bytes // 2, 1)
    return tcb.outq_bytes() + max(buffers * _BUFFER_BYTES, tcb.in_flight_count() * memory.RECORD_BYTES)


def notsent_lowat(tcb: Tcb) -> i64:
    """Return TCP_NOTSENT_LOWAT, the socket's own or the stack's."""
    lowat_bytes = tcb.options.notsent_lowat_bytes
    return lowat_bytes if lowat_bytes > 0 else tcb.context.config.tcp_notsent_lowat


def is_spacious(tcb: Tcb) -> bool:
    """Tell whether a third of the send buffer is free and unsent text is below half of TCP_NOTSENT_LOWAT.

    That is when Linux's ``poll`` says writable and a blocked write goes on (``sk_stream_min_wspace``). If it is not
    so, the program that asked is told once it is.
    """
    queued = _memory_bytes(tcb)
    is_small = tcb.send_buffer_bytes - queued >= queued // 2 and 2 * tcb.notsent_bytes() < notsent_lowat(tcb)
    if is_small and memory.may_write(tcb):
        return True
    note_full(tcb)
    return False


def note_full(tcb: Tcb) -> None:
    """A program found no room: it is told once there is some."""
    tcb.is_out_of_room = True


def notice_room(tcb: Tcb, now_ns: i64) -> None:
    """Tell the program that waits for room, if it does and there is enough now. Let the buffer grow before."""
    if not tcb.is_out_of_room:
        return
    if tcb.pipe_bytes - tcb.reno_sacked_bytes + tcb.snd_mss() <= tcb.cwnd_bytes:
        expand_send_buffer(tcb)  # a window that is full shows no need of more buffer
    if is_spacious(tcb):
        tcb.is_out_of_room = False
        chrono.stop(tcb, chrono.SEND_BUFFER, now_ns)
        tcb.context.wake(tcb.owner)


def expand_send_buffer(tcb: Tcb) -> None:
    """Let the send buffer hold two congestion windows, headers and all, up to ``tcp_wmem``'s most."""
    if tcb.options.is_send_buffer_fixed or tcb.context.memory.is_pressed:
        return
    config = tcb.context.config
    mss = tcb.snd_mss()
    each: i64 = 1024
    while each < i64(tcb.peer_mss) + _HEADERS_BYTES:
        each *= 2
    segments = max(max(config.tcp_initial_cwnd, tcb.cwnd_bytes // mss), config.tcp_reordering + 1)
    wanted: i64 = min(2 * segments * (each + _SK_BUFF_BYTES), config.tcp_wmem[2])
    if wanted > tcb.send_buffer_bytes:
        tcb.send_buffer_bytes = wanted


def fix_send_buffer(tcb: Tcb, size_bytes: i64) -> None:
    """Let the send buffer have this size from now on (SO_SNDBUF)."""
    tcb.send_buffer_bytes = size_bytes
