"""What several steps of several states do: take an edge of the diagram, fail, end, answer with a reset."""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.events import ErrorReported, StateChanged
from estab.tcp import recovery
from estab.tcp.state import state_text
from estab.tcp.tcb import Tcb
from estab.units import NEVER
from estab.wire.seq import unwrap, wrap
from estab.wire.tcp import ACK, RST, Segment, segment_length

__all__ = ["abort", "answer", "answer_for_closed", "fail", "finish", "report", "set_state"]


def answer_for_closed(segment: Segment) -> Segment | None:
    """Give the reset that answers a segment for which there is no connection (RFC 9293 section 3.10.7.1)."""
    if (segment.flags & RST) != 0:
        return None
    if (segment.flags & ACK) != 0:
        return Segment(segment.dport, segment.sport, segment.ack, wrap(0), RST, 0)
    after = wrap(segment.seq + segment_length(segment))
    return Segment(segment.dport, segment.sport, wrap(0), after, RST | ACK, 0)


def set_state(tcb: Tcb, state: i64, why: str) -> None:
    """Take an edge of the state diagram."""
    old = tcb.state
    tcb.state = state
    if tcb.is_counted and state != abi.ESTABLISHED and state != abi.CLOSE_WAIT:
        tcb.is_counted = False
        tcb.context.counters.TcpCurrEstab -= 1
    context = tcb.context
    context.wake(tcb.owner)
    if context.observer is not None:
        context.tell(StateChanged(context.now_ns, context.name, tcb.name(), state_text(old), state_text(state), why))


def finish(tcb: Tcb, why: str) -> None:
    """Go to CLOSED: nothing is sent any more, no timer runs. What was received can still be read."""
    recovery.forget_sent(tcb)
    tcb.unsent = None
    tcb.out_of_order = None
    tcb.retransmit_ns = NEVER
    tcb.persist_ns = NEVER
    tcb.delack_ns = NEVER
    tcb.keepalive_ns = NEVER
    tcb.linger_ns = NEVER
    tcb.is_ack_due = False
    tcb.duplicate_acks_owed = 0
    if tcb.state != abi.CLOSED:
        set_state(tcb, abi.CLOSED, why)


def fail(tcb: Tcb, number: i64, text: str, why: str) -> None:
    """End the connection with an error for its program.

    RFC 9293 MUST-12: an abort is told apart from an end of stream.
    """
    if number != 0:
        report(tcb, number, text)
    if tcb.state == abi.SYN_SENT:
        tcb.context.counters.TcpAttemptFails += 1
    finish(tcb, why)


def report(tcb: Tcb, number: i64, text: str) -> None:
    """Leave an error for the program to find (SO_ERROR)."""
    described = f"{text} ({tcb.name()})"
    if not tcb.is_orphan:
        tcb.error = number
        tcb.error_text = described
    context = tcb.context
    context.wake(tcb.owner)
    if context.observer is not None:
        context.tell(ErrorReported(context.now_ns, context.name, tcb.name(), number, described, False))


def abort(tcb: Tcb, number: i64, text: str, why: str) -> None:
    """End the connection and tell the peer with a reset."""
    if tcb.state != abi.CLOSED and tcb.state != abi.SYN_SENT:
        tcb.is_reset_due = True
    fail(tcb, number, text, why)


def answer(tcb: Tcb, segment: Segment, why: str) -> None:
    """Send the reset of section 3.10.7.1 for a segment that does not belong to this handshake."""
    answer = answer_for_closed(segment)
    if answer is not None:
        tcb.context.counters.TcpOutRsts += 1
        tcb.context.reply(answer, tcb.local, tcb.remote, why, unwrap(answer.seq, tcb.snd_nxt) - tcb.iss, 0)
