"""The parts of a connection that are made when they are first needed."""

from __future__ import annotations

from estab.tcp.record.measured import Marks, Traffic
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.troubles import Troubles

__all__ = ["marks_of", "traffic_of", "troubles_of"]


def troubles_of(tcb: Tcb) -> Troubles:
    """Return the connection's troubles, made now if there were none."""
    troubles = tcb.troubles
    if troubles is None:
        troubles = Troubles()
        tcb.troubles = troubles
    return troubles


def traffic_of(tcb: Tcb) -> Traffic:
    """Return what is kept of the connection's text, made now if there was none: before the times of the last text and
    ``copied_seq`` tell of it.
    """
    traffic = tcb.traffic
    if traffic is None:
        traffic = Traffic(tcb.snd_nxt, tcb.last_sent_ns, tcb.copied_seq, tcb.last_text_ns)
        tcb.traffic = traffic
    return traffic


def marks_of(tcb: Tcb) -> Marks:
    """Return the places that are marked in the connection's text, made now if there were none."""
    marks = tcb.marks
    if marks is None:
        marks = Marks()
        tcb.marks = marks
    return marks
