"""The timers of one connection: one table, one next deadline.

Each timer is a time in nanoseconds, or ``NEVER`` while it is not armed. Only this file writes these times: others call
``arm`` and ``disarm``. One place serves four timers of which only one can run at a time: retransmission, tail loss
probe, reordering (RFC 8985 section 6.3) and the SYN-ACK of a connection with Fast Open; ``timer_kind`` says which.
Facts (``TimerFired``) and ``TCP_INFO`` name timers by the tables here.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr, u8

from estab.tcp.record.timers import Endpoint
from estab.units import NEVER

__all__ = [
    "TIMER_DELAYED_ACK", "TIMER_FIN_WAIT_2", "TIMER_KEEPALIVE", "TIMER_NAMES", "TIMER_NAMES_OF_SS", "TIMER_NONE",
    "TIMER_PACING", "TIMER_PERSIST", "TIMER_PROBE", "TIMER_REORDER", "TIMER_RTO", "TIMER_SYN_ACK", "SeldomTimers",
    "TimerTable",
]

TIMER_NONE: Final = -1
TIMER_RTO: Final = 0
"""Retransmission (RFC 6298)."""
TIMER_PROBE: Final = 1
"""Tail loss probe (RFC 8985 section 7)."""
TIMER_REORDER: Final = 2
"""A segment that may only have been reordered becomes late (RFC 8985 section 6.3)."""
TIMER_SYN_ACK: Final = 3
"""A connection with Fast Open waits for the acknowledgment of its SYN-ACK."""
TIMER_PERSIST: Final = 4
"""Probe a shut window (RFC 9293 section 3.8.6.1)."""
TIMER_DELAYED_ACK: Final = 5
"""An acknowledgment has waited long enough (RFC 9293 section 3.8.6.3)."""
TIMER_KEEPALIVE: Final = 6
"""Ask an idle peer whether it is there (RFC 9293 section 3.8.4)."""
TIMER_FIN_WAIT_2: Final = 7
"""End of FIN-WAIT-2 for a connection without a program (``tcp_fin_timeout``)."""
TIMER_PACING: Final = 8
"""The pace lets the next text go."""

TIMER_NAMES: Final = (
    "retransmit", "loss-probe", "reordering", "retransmit", "persist", "delayed-ack", "keepalive", "fin-wait-2",
    "pacing",
)
"""How facts name each timer."""
TIMER_NAMES_OF_SS: Final = ("on", "on", "on", "on", "persist", "delack", "keepalive", "timewait", "timewait")
"""How ``Info.timer`` names each, which is how ``ss -o`` does."""


@mypyc_attr(acyclic=True)
class SeldomTimers:
    """The timers that few connections need. ``tcb`` says how the lines below the fields are read."""

    def __init__(self) -> None:
        self.persist_ns: i64 = NEVER
        """ns, time: the next probe of a shut window (RFC 9293 section 3.8.6.1). Writers: record/timer_table."""
        self.keepalive_ns: i64 = NEVER
        """ns, time: the next look at an idle peer (RFC 9293 section 3.8.4). Writers: record/timer_table."""
        self.linger_ns: i64 = NEVER
        """ns, time: the end of FIN-WAIT-2 for a connection without a program. Writers: record/timer_table."""
        self.pace_ns: i64 = 0
        """ns, time: when the next text may leave, at ``pacing_rate``. Writers: record/timer_table."""


class TimerTable(Endpoint):
    """An endpoint with timers. ``due_ns`` of the base is the next deadline as the host's queue knows it."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.timer_kind: u8 = TIMER_RTO
        """number: what ``retransmit_ns`` is for (``TIMER_RTO`` to ``TIMER_SYN_ACK``). Writers: record/timer_table."""
        self.is_pacing: bool = False
        """yes or no: the pace holds text back now, and ``pace_ns`` is a deadline. Writers: window/pacing."""
        self.retransmit_ns: i64 = NEVER
        """ns, time: retransmission, probe, reordering or SYN-ACK, as ``timer_kind`` says. Writers: record/timer_table.
        """
        self.delack_ns: i64 = NEVER
        """ns, time: how long an acknowledgment may wait (RFC 9293 section 3.8.6.3). Writers: record/timer_table."""
        self.seldom: SeldomTimers | None = None
        """record: the timers that few connections need; ``None`` while none of them was armed. Writers:
        record/timer_table.
        """

    @property
    def persist_ns(self) -> i64:
        """When a shut window is probed next."""
        seldom = self.seldom
        if seldom is None:
            return NEVER
        return seldom.persist_ns

    @property
    def keepalive_ns(self) -> i64:
        """When an idle peer is looked at next."""
        seldom = self.seldom
        if seldom is None:
            return NEVER
        return seldom.keepalive_ns

    @property
    def linger_ns(self) -> i64:
        """When FIN-WAIT-2 ends for a connection without a program."""
        seldom = self.seldom
        if seldom is None:
            return NEVER
        return seldom.linger_ns

    @property
    def pace_ns(self) -> i64:
        """When the next text may leave, at the pace."""
        seldom = self.seldom
        if seldom is None:
            return 0
        return seldom.pace_ns

    def wait_until(self, pace_ns: i64) -> None:
        """Let the next text leave at ``pace_ns``, at the pace."""
        seldom = self._own_seldom()
        seldom.pace_ns = pace_ns

    def _own_seldom(self) -> SeldomTimers:
        seldom = self.seldom
        if seldom is None:
            seldom = SeldomTimers()
            self.seldom = seldom
        return seldom

    def arm(self, timer: i64, due_ns: i64) -> None:
        """Let a timer run out at ``due_ns``."""
        if timer <= TIMER_SYN_ACK:
            self.retransmit_ns = due_ns
            self.timer_kind = u8(timer)
        elif timer == TIMER_DELAYED_ACK:
            self.delack_ns = due_ns
        elif due_ns != NEVER or self.seldom is not None:
            self._arm_seldom(self._own_seldom(), timer, due_ns)

    def _arm_seldom(self, seldom: SeldomTimers, timer: i64, due_ns: i64) -> None:
        if timer == TIMER_KEEPALIVE:
            seldom.keepalive_ns = due_ns
        elif timer == TIMER_PERSIST:
            seldom.persist_ns = due_ns
        else:
            assert timer == TIMER_FIN_WAIT_2
            seldom.linger_ns = due_ns

    def disarm(self, timer: i64) -> None:
        """Stop a timer. For any of the four that share a place: whichever of them runs."""
        if timer <= TIMER_SYN_ACK:
            self.retransmit_ns = NEVER
        else:
            self.arm(timer, NEVER)

    def disarm_all(self) -> None:
        """Stop all timers; the pace stays."""
        self.retransmit_ns = NEVER
        self.delack_ns = NEVER
        seldom = self.seldom
        if seldom is not None:
            seldom.persist_ns = NEVER
            seldom.keepalive_ns = NEVER
            seldom.linger_ns = NEVER

    def deadline_ns(self) -> i64:
        """Return the soonest of the timers, ``NEVER`` if none is armed."""
        due_ns = min(self.retransmit_ns, self.delack_ns)
        seldom = self.seldom
        if seldom is not None:
            due_ns = min(min(due_ns, seldom.persist_ns), min(seldom.keepalive_ns, seldom.linger_ns))
            if self.is_pacing:
                due_ns = min(due_ns, seldom.pace_ns)
        return due_ns

    def next_timer(self) -> i64:
        """Tell which timer runs out at ``deadline_ns``; ``TIMER_NONE`` if none is armed."""
        due_ns = self.deadline_ns()
        if due_ns == NEVER:
            return TIMER_NONE
        if due_ns == self.retransmit_ns:
            return i64(self.timer_kind)
        if due_ns == self.persist_ns:
            return TIMER_PERSIST
        if due_ns == self.keepalive_ns:
            return TIMER_KEEPALIVE
        if due_ns == self.delack_ns:
            return TIMER_DELAYED_ACK
        return TIMER_FIN_WAIT_2 if due_ns == self.linger_ns else TIMER_PACING
