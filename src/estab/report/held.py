"""What holds a sender up now: rules over what its TCB, its peer and the links say. Numbers are those of ``HELD``.

The rules in their order: a connection that is not open yet waits for its handshake; one with nothing unacknowledged
and nothing to send waits for its program; a silent path comes before all that the sender may think; loss recovery
before the window that it sets; then what the stack itself says (``events.Tcb.limited_by``).
"""

from __future__ import annotations

from typing import Final

from estab.events import Tcb
from estab.report.tables import HELD

__all__ = ["End", "held_by"]

NOTHING, HANDSHAKE, NOT_WRITING, SEND_BUFFER, PEER_WINDOW, NOT_READING, CWND, RECOVERY, PACING, DEAD, TIMER, NAGLE = (
    range(len(HELD))
)
_OPENING: Final = frozenset({"SYN-SENT", "SYN-RECEIVED"})
_SENDING: Final = frozenset({"ESTABLISHED", "CLOSE-WAIT"})


class End:
    """One end of a connection, as last reported."""

    __slots__ = ("buffer", "cc", "conn", "flow", "held", "held_before", "is_unheard", "iss", "number", "peer",
                 "sent_to", "side", "tcb")

    def __init__(self, number: int) -> None:
        self.number = number
        self.conn = number // 2
        self.side = number % 2
        self.peer: End | None = None
        self.tcb: Tcb | None = None
        self.held = -1
        self.held_before = -1
        """What held it up before that: two changes at one time are one."""
        self.is_unheard = False
        """Something was in flight when a cable on its way was cut, and nothing came since."""
        self.flow: tuple[int, ...] = ()
        self.cc: tuple[int, ...] = ()
        self.buffer: tuple[int, ...] = ()
        """A row of the table ``buffer``: as the TCB said, and as writes and reads have changed it since."""
        self.sent_to = -1
        """How far it has sent, relative; -1 before its SYN."""
        self.iss = -1
        """The number on the wire of its SYN; -1 if not known."""

    def unsent_bytes(self) -> int:
        """Count what the program wrote and was never sent."""
        return self.buffer[1] if self.buffer else 0

    def unread_bytes(self) -> int:
        """Count what has arrived in order and the program did not read."""
        return self.buffer[3] if self.buffer else 0


def held_by(end: End, is_cut: bool) -> int:
    """Say what holds ``end`` up, as a number of ``HELD``. ``is_cut``: a cable on its way is cut."""
    tcb = end.tcb
    if tcb is None:
        return NOTHING
    in_flight = tcb.snd_nxt - tcb.snd_una
    unsent_bytes = end.unsent_bytes()
    if tcb.state in _OPENING:
        return DEAD if is_cut and in_flight else HANDSHAKE
    if in_flight == 0 and unsent_bytes == 0:
        return NOT_WRITING if tcb.state in _SENDING else NOTHING
    if is_cut:
        return DEAD
    if tcb.retries > 0 or end.is_unheard:
        return TIMER
    if tcb.ca_state in ("Recovery", "Loss"):
        return RECOVERY
    if tcb.limited_by == "peer window":
        return NOT_READING if end.peer is not None and end.peer.unread_bytes() > 0 else PEER_WINDOW
    if tcb.limited_by == "pacing":
        return PACING
    if tcb.limited_by == "send buffer":
        return SEND_BUFFER
    if unsent_bytes == 0:
        return NOT_WRITING if tcb.state in _SENDING else NOTHING
    if unsent_bytes < tcb.mss_bytes and tcb.pipe_bytes + unsent_bytes <= tcb.cwnd_bytes:
        return NAGLE
    return CWND
