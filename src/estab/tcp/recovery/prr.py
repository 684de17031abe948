"""Proportional rate reduction: how fast to send while a loss is repaired (RFC 9937, which replaces RFC 6937).

For what arrives, a share of it may leave, so that by the end of recovery as much is in flight as ssthresh says, and the
acknowledgment clock never stops on the way. If losses already emptied the network below that, as much may leave as
arrives, and a segment more while acknowledgments show progress without further loss.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.record.inflight import Losses
from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery.cwnd import set_window

__all__ = ["on_acknowledgment", "start"]


def start(tcb: Tcb, losses: Losses, flight_bytes: i64) -> None:
    """Begin: ``flight_bytes`` is RecoverFS, what was in flight and not SACKed before the acknowledgment at hand."""
    losses.prr_delivered_bytes = 0
    losses.prr_out_bytes = 0
    losses.flight_bytes = max(flight_bytes, tcb.snd_mss())


def on_acknowledgment(tcb: Tcb, losses: Losses, delivered_bytes: i64, *, is_safe: bool) -> None:
    """Set cwnd after an acknowledgment that delivered text. ``is_safe``: SND.UNA moved, nothing new was lost."""
    if delivered_bytes <= 0:
        return
    losses.prr_delivered_bytes += delivered_bytes
    mss = tcb.snd_mss()
    # Without SACK there can be more duplicates than segments in flight.
    pipe = max(0, tcb.pipe_bytes - tcb.reno_sacked_bytes)
    ssthresh = tcb.ssthresh_bytes
    if pipe > ssthresh:
        flight = losses.flight_bytes
        count = (losses.prr_delivered_bytes * ssthresh + flight - 1) // flight - losses.prr_out_bytes
    else:
        count = max(losses.prr_delivered_bytes - losses.prr_out_bytes, delivered_bytes)
        if is_safe:
            count += mss
        count = min(ssthresh - pipe, count)
    if losses.prr_out_bytes == 0:
        count = max(count, mss)  # the fast retransmission itself
    set_window(tcb, max(pipe + max(count, 0), mss))  # never less than what the clock needs to go on
