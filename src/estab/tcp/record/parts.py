"""The parts of a connection that are made when they are first needed."""

from __future__ import annotations

from estab.tcp.record.measured import Tuning, Usage
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.troubles import Troubles

__all__ = ["troubles_of", "tuning_of", "usage_of"]


def troubles_of(tcb: Tcb) -> Troubles:
    """Return the connection's troubles, made now if there were none."""
    troubles = tcb.troubles
    if troubles is None:
        troubles = Troubles()
        tcb.troubles = troubles
    return troubles


def usage_of(tcb: Tcb) -> Usage:
    """Return what is measured of the sender, made now if no text was sent yet."""
    usage = tcb.usage
    if usage is None:
        usage = Usage(tcb.snd_nxt, tcb.last_sent_ns)
        tcb.usage = usage
    return usage


def tuning_of(tcb: Tcb) -> Tuning:
    """Return what is measured of the receiver, made now if no text came yet: before ``last_text_ns`` is its time."""
    tuning = tcb.tuning
    if tuning is None:
        tuning = Tuning(tcb.copied_seq, tcb.last_text_ns)
        tcb.tuning = tuning
    return tuning
