"""What one connection takes of the host's memory, and whether it gets more.

What is charged is what is held: bytes that are kept whole for a little text count whole, and each record counts.
So small segments and a small MSS cost their sender its room, and not us our memory.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb
from estab.units import NEVER

__all__ = ["RECORD_BYTES", "charge", "may_write", "receive_room", "received_bytes", "written_bytes"]

RECORD_BYTES: Final = 256
"""What a segment in flight counts beside its text: Linux's ``sk_buff``, and about what its record takes here."""


def charge(tcb: Tcb) -> None:
    """Charge the host for what the connection holds now."""
    held: i64 = 0
    if tcb.received is not None or tcb.out_of_order is not None:
        held = received_bytes(tcb)
    if tcb.unsent is not None or tcb.sent is not None:
        held += written_bytes(tcb)
    change = held - tcb.charged_bytes
    if change != 0:
        tcb.charged_bytes = held
        tcb.context.memory.add(change, tcb.context.now_ns)


def received_bytes(tcb: Tcb) -> i64:
    """Count the memory of text that came, in order or not."""
    held: i64 = 0
    received = tcb.received
    if received is not None:
        held = received.memory_bytes()
    queue = tcb.out_of_order
    if queue is not None:
        held += queue.memory_bytes()
    return held


def written_bytes(tcb: Tcb) -> i64:
    """Count the memory of text that was written and is not acknowledged."""
    held: i64 = 0
    unsent = tcb.unsent
    if unsent is not None:
        held = unsent.memory_bytes()
    count = tcb.in_flight_count()
    sent = tcb.sent
    if count > 0 and sent is not None:
        # What was acknowledged of the oldest write is held with the rest of it.
        held += sent[tcb.sent_head].start + tcb.snd_nxt - tcb.snd_una + count * RECORD_BYTES
    return held


def receive_room(tcb: Tcb) -> i64:
    """Give how many bytes of text may be taken in: any, or as much as ``tcp_rmem`` promises if the host has no more."""
    context = tcb.context
    if not context.memory.is_full():
        return NEVER
    return max(context.config.tcp_rmem[0] - received_bytes(tcb), 0)


def may_write(tcb: Tcb) -> bool:
    """Tell the same of text to send. A connection that may not has text in flight, whose acknowledgment wakes it."""
    context = tcb.context
    return not context.memory.is_full() or written_bytes(tcb) < context.config.tcp_wmem[0]
