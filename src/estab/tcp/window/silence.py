"""A peer that does not answer: how often it was asked again, since when, and what its answer ends.

Timeouts of text that was sent and probes of an idle or shut peer are counted apart (RFC 9293 sections 3.8.3, 3.8.4 and
3.8.6.1). When to ask, and when to give up, is in ``arriving/timeouts``.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i32, i64

from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import Tcb
from estab.units import MS

__all__ = [
    "RETRY_NS", "answered", "begin_probing", "begin_wait", "count_probe", "count_timeout", "end_probes", "end_probing",
    "end_retries", "note_soft_error", "resume_probing", "retry_ns", "set_retries", "take_probe", "take_soft_error",
    "uncount_probe",
]


RETRY_NS: Final = 500 * MS
"""After so long a timer tries again what the device's queue refused."""


def begin_wait(tcb: Tcb, now_ns: i64) -> None:
    """Something is asked of the peer from now on, or it has just answered and more is unanswered."""
    tcb.first_unanswered_ns = now_ns


def count_timeout(tcb: Tcb, now_ns: i64) -> None:
    """The retransmission timer ran out."""
    troubles = troubles_of(tcb)
    if tcb.retries == 0:
        troubles.rto_recoveries += 1
        troubles.rto_since_ns = now_ns
    tcb.retries += 1
    troubles.timeouts += 1


def set_retries(tcb: Tcb, count: i64) -> None:
    """Take over the count of timeouts of a SYN-ACK (Fast Open)."""
    tcb.retries = i32(count)


def end_retries(tcb: Tcb) -> None:
    """The timeouts so far count no more."""
    tcb.retries = 0


def answered(tcb: Tcb, now_ns: i64) -> None:
    """The peer acknowledged something new: all counts begin again."""
    tcb.retries = 0
    troubles = tcb.troubles
    if troubles is not None and troubles.rto_since_ns > 0:
        troubles.rto_time_ns += now_ns - troubles.rto_since_ns
        troubles.rto_since_ns = 0
    tcb.probes_out = 0
    tcb.soft_error = 0


def count_probe(tcb: Tcb) -> None:
    """Ask the peer for its window or a sign of life, with the next segment."""
    tcb.probes_out += 1
    tcb.is_probe_due = True


def begin_probing(tcb: Tcb, now_ns: i64) -> None:
    """Text waits for the peer's window from now on, unless it does already: answers to probes end nothing."""
    troubles = troubles_of(tcb)
    if troubles.shut_since_ns == 0:
        troubles.shut_since_ns = now_ns


def end_probing(tcb: Tcb) -> None:
    """The window lets text go."""
    troubles = tcb.troubles
    if troubles is not None:
        troubles.shut_since_ns = 0


def retry_ns(tcb: Tcb, now_ns: i64) -> i64:
    """Say when to probe again after the device refused a probe: in half a second (Linux's
    TCP_RESOURCE_PROBE_INTERVAL), but no later than the user timeout.
    """
    due_ns = now_ns + RETRY_NS
    timeout_ns = tcb.options.user_timeout_ns
    if timeout_ns > 0 and tcb.shut_since_ns > 0:
        due_ns = min(due_ns, max(tcb.shut_since_ns + timeout_ns, now_ns + MS))
    return due_ns


def resume_probing(tcb: Tcb, probes_out: i64, since_ns: i64) -> None:
    """What seemed to end the probing never left: text waits as before."""
    tcb.probes_out = i32(probes_out)
    troubles_of(tcb).shut_since_ns = since_ns


def uncount_probe(tcb: Tcb) -> None:
    """The probe never left."""
    tcb.probes_out -= 1


def take_probe(tcb: Tcb) -> None:
    """The probe that was due is sent, or something that serves as one."""
    tcb.is_probe_due = False


def end_probes(tcb: Tcb) -> None:
    """The peer gave a sign of life."""
    tcb.probes_out = 0


def take_soft_error(tcb: Tcb) -> i64:
    """Return the soft error that a router reported, and forget it; 0 if there is none. Our own doubts stay: silence
    that lasts becomes the reason by itself.
    """
    number = i64(tcb.soft_error)
    if number == errno.ETIMEDOUT:
        return 0
    tcb.soft_error = 0
    return number


def note_soft_error(tcb: Tcb, number: i64) -> None:
    """Remember the errno to give as the reason if the connection times out (RFC 9293 section 3.9.2.2)."""
    tcb.soft_error = i32(number)
