"""What several steps of several states do: take an edge of the diagram, fail, end, answer with a reset."""

from __future__ import annotations

from mypy_extensions import i32, i64, u8

from estab import abi
from estab.events import ErrorReported, StateChanged
from estab.tcp.receiving import receive
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.recovery import recovery
from estab.tcp.sending.plan import drop_unsent
from estab.tcp.state import has_edge, state_text
from estab.tcp.window.silence import note_soft_error
from estab.wire.address import is_loopback
from estab.wire.seq import unwrap, wrap
from estab.wire.tcp import ACK, RST, Segment, segment_length

__all__ = [
    "abort", "answer", "answer_for_closed", "begin_in_syn_received", "fail", "finish", "release_fast_open", "report",
    "set_state", "take_fin", "tell_soft_error",
]


def answer_for_closed(segment: Segment) -> Segment | None:
    """Return the reset that answers a segment for which there is no connection (RFC 9293 section 3.10.7.1)."""
    if (segment.flags & RST) != 0:
        return None
    if (segment.flags & ACK) != 0:
        return Segment(segment.dport, segment.sport, segment.ack, wrap(0), RST, 0)
    after = wrap(segment.seq + segment_length(segment))
    return Segment(segment.dport, segment.sport, wrap(0), after, RST | ACK, 0)


def set_state(tcb: Tcb, state: i64, why: str) -> None:
    """Take an edge of the state diagram. An edge that the diagram has not is our own mistake."""
    old = i64(tcb.state)
    assert has_edge(old, state), f"{tcb.name()}: no edge from {state_text(old)} to {state_text(state)}"
    tcb.state = u8(state)
    if tcb.is_counted and state != abi.ESTABLISHED and state != abi.CLOSE_WAIT:
        tcb.is_counted = False
        tcb.context.counters.TcpCurrEstab -= 1
    if tcb.fast_open is not None and (state == abi.CLOSED or state == abi.TIME_WAIT):
        _end_fast_open(tcb, tcb.fast_open)
    context = tcb.context
    context.wake(tcb.owner)
    if context.observer is not None:
        context.tell(StateChanged(context.now_ns, context.name, tcb.name(), state_text(old), state_text(state), why))


def begin_in_syn_received(tcb: Tcb) -> None:
    """Start in the state that a listener's half-open entry, or its cookie, has reached."""
    assert tcb.state == abi.CLOSED
    tcb.state = abi.SYN_RECEIVED


def finish(tcb: Tcb, why: str) -> None:
    """Go to CLOSED: nothing is sent any more, no timer runs. What was received can still be read."""
    recovery.forget_sent(tcb)
    drop_unsent(tcb)
    receive.finish(tcb)
    tcb.disarm_all()
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
        tcb.error = i32(number)
        troubles_of(tcb).error_text = described
    context = tcb.context
    context.wake(tcb.owner)
    if context.observer is not None:
        context.tell(ErrorReported(context.now_ns, context.name, tcb.name(), number, described, is_soft=False))


def tell_soft_error(tcb: Tcb, number: i64, text: str) -> None:
    """Note an error that ends nothing, but becomes the reason if the connection times out."""
    note_soft_error(tcb, number)
    context = tcb.context
    if context.observer is not None:
        context.tell(ErrorReported(context.now_ns, context.name, tcb.name(), number, text, is_soft=True))


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
        answer.tos = tcb.options.tos
        answer.flow_label = i64(tcb.flow_label)
        seq_fact = unwrap(answer.seq, tcb.snd_nxt) - tcb.iss
        tcb.context.reply(answer, tcb.local, tcb.remote, why, seq_fact, 0, tcb.options.ttl)


def take_fin(tcb: Tcb, seq: i64, segment: Segment) -> None:
    """RFC 9293 section 3.10.7.4, eighth. A FIN counts once all text before it is here."""
    if not receive.take_fin(tcb, seq, segment):
        return
    tcb.context.wake(tcb.owner)
    state = tcb.state
    if state == abi.ESTABLISHED or state == abi.SYN_RECEIVED:
        set_state(tcb, abi.CLOSE_WAIT, "FIN received")
    elif state == abi.FIN_WAIT_1:
        # Had our FIN been acknowledged by this segment, the fifth step would have moved us to FIN-WAIT-2.
        set_state(tcb, abi.CLOSING, "simultaneous close: FIN received")
    elif state == abi.FIN_WAIT_2:
        set_state(tcb, abi.TIME_WAIT, "FIN received")


# --- Fast Open


def release_fast_open(fast_open: FastOpen, now_ns: i64, *, is_reset: bool) -> None:
    """A server's handshake with Fast Open is over: it is pending no more, unless a reset ended it."""
    pending = fast_open.pending
    if pending is None:
        return
    fast_open.pending = None
    pending.queue.end(now_ns, is_reset=is_reset)


def _end_fast_open(tcb: Tcb, fast_open: FastOpen) -> None:
    """The connection is over, or nearly so."""
    if fast_open.is_child:
        release_fast_open(fast_open, tcb.context.now_ns, is_reset=False)
        return
    if tcb.rcv_nxt == 0:
        return  # it never was a connection
    has_text = tcb.rcv_nxt > tcb.irs + 1 + (1 if tcb.is_fin_received else 0)
    is_fin_early = tcb.peer_fin_seq != NO_SEQ and not tcb.is_fin_received
    if fast_open.has_option:
        tcb.context.fast_open.on_end(
            tcb.context.now_ns, has_text=has_text, is_fin_early=is_fin_early,
            proves_path=fast_open.is_trial and not is_loopback(tcb.remote),
        )
    fast_open.is_trial = False
