"""What TCP does if the queue of this host's own device refuses a segment: Linux's local congestion.

It is told at once, before anything else is polled, so everything is still as the segment left it:

- Text that was never sent, and the FIN, are taken back: they are not in flight. The next acknowledgment, write or timer
  tries again; with nothing in flight the persist timer does.
- What was sent again stays lost. After a retransmission timeout it is tried again in half a second, without back-off.
- A SYN counts as sent; a bare acknowledgment or a reset is lost, as on the way.
- The congestion window goes down, once a round trip, as for a mark.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_LOSS, CA_RECOVERY, SentSegment, Tcb
from estab.tcp.record.timer_table import TIMER_KEEPALIVE, TIMER_PERSIST, TIMER_RTO
from estab.tcp.recovery import rack, recovery
from estab.tcp.recovery.scoreboard import find, forget_repeat, losses_of, segments_in
from estab.tcp.sending.plan import take_back
from estab.tcp.window import silence
from estab.tcp.window.rtt import start_backoff
from estab.units import NEVER
from estab.wire.seq import unwrap
from estab.wire.tcp import RST, SYN, Segment, segment_length

__all__ = ["on_refused"]


def on_refused(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Take note that the device did not take ``segment``, the last one that was polled of this connection."""
    if (segment.flags & RST) != 0:
        tcb.context.counters.TcpExtTCPAbortFailed += 1
        return
    seq = unwrap(segment.seq, tcb.snd_nxt)
    sent = tcb.sent
    if segment_length(segment) == 0:
        if seq == tcb.snd_una - 1:
            _probe_again_soon(tcb, now_ns)
    elif sent is not None:
        at = find(tcb, sent, seq)
        if at < len(sent) and sent[at].seq == seq:
            one = sent[at]
            if one.transmissions > 1:
                _keep_lost(tcb, one, at == tcb.sent_head, now_ns)
            elif (one.flags & SYN) == 0 and one.end == tcb.snd_nxt:
                _take_back(tcb, sent, now_ns)
    recovery.on_refused(tcb, now_ns)


def _take_back(tcb: Tcb, sent: list[SentSegment], now_ns: i64) -> None:
    losses = tcb.losses
    if losses is not None and losses.probe_end == tcb.snd_nxt:
        rack.forget_probe(losses)  # it was a tail loss probe with new text
        tcb.context.counters.TcpExtTCPLossProbes -= 1
    take_back(tcb, sent, now_ns)


def _keep_lost(tcb: Tcb, one: SentSegment, is_head: bool, now_ns: i64) -> None:
    """It was sent again, and did not leave: it is as lost as before."""
    losses = losses_of(tcb)
    counters = tcb.context.counters
    count = segments_in(tcb, one.text_bytes())
    counters.TcpExtTCPRetransFail += count
    is_probe = not one.is_marked
    forget_repeat(tcb, losses, one)
    if is_probe:
        rack.forget_probe(losses)
        counters.TcpExtTCPLossProbes -= 1
        return
    if tcb.ca_state == CA_RECOVERY:
        counters.TcpExtTCPFastRetrans -= count
    elif tcb.ca_state == CA_LOSS:
        counters.TcpExtTCPSlowStartRetrans -= count
        if is_head and tcb.retries > 0:
            _time_out_soon(tcb, now_ns)


def _time_out_soon(tcb: Tcb, now_ns: i64) -> None:
    """The timer sent it: run out again in half a second, without the back-off."""
    is_linear = tcb.state == abi.SYN_SENT and troubles_of(tcb).timeouts <= tcb.context.config.tcp_syn_linear_timeouts
    if tcb.backoff > 0 and not is_linear:
        start_backoff(tcb, i64(tcb.backoff) - 1)
    tcb.arm(TIMER_RTO, now_ns + silence.RETRY_NS)


def _probe_again_soon(tcb: Tcb, now_ns: i64) -> None:
    """A probe without text, of the peer's window or for a sign of life: again in half a second, without back-off."""
    if tcb.persist_ns != NEVER:
        if tcb.backoff > 0:
            start_backoff(tcb, i64(tcb.backoff) - 1)
        tcb.arm(TIMER_PERSIST, silence.retry_ns(tcb, now_ns))
    elif tcb.keepalive_ns != NEVER and tcb.probes_out > 0:
        silence.uncount_probe(tcb)
        tcb.arm(TIMER_KEEPALIVE, now_ns + silence.RETRY_NS)
