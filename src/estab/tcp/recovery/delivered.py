"""What has arrived, though no segment of the scoreboard says so.

Without SACK each duplicate acknowledgment stands for a segment that left the network. The SYN-ACK of a connection that
a listener made is not in the scoreboard, or stands there for more than it was.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery.scoreboard import segments_in

__all__ = [
    "count_duplicate_delivered", "count_syn_ack_delivered", "count_syn_ack_repeats", "ensure_syn_delivered",
    "forget_duplicates", "join_syn_and_text", "take_back_duplicates",
]


def count_duplicate_delivered(tcb: Tcb) -> None:
    """Without SACK each duplicate is a segment that left the network (RFC 5681 section 3.2).

    Never the first one, which is missing.
    """
    inflated = min(tcb.reno_sacked_bytes + tcb.snd_mss(), max(0, tcb.pipe_bytes - tcb.snd_mss()))
    tcb.delivered_bytes += inflated - tcb.reno_sacked_bytes
    if inflated > tcb.reno_sacked_bytes:
        tcb.delivered_segments += segments_in(tcb, inflated - tcb.reno_sacked_bytes)
    tcb.reno_sacked_bytes = inflated


def take_back_duplicates(tcb: Tcb, acked: i64) -> None:
    """Take back from the count of duplicates what they stood for: all of ``acked`` but the segment that was missing."""
    counted = min(tcb.reno_sacked_bytes, max(0, acked - tcb.snd_mss()))
    # Acknowledgments for a segment each take nothing back; there never is more than is in flight (as Linux).
    counted = max(counted, tcb.reno_sacked_bytes - tcb.pipe_bytes)
    tcb.delivered_bytes -= counted
    if counted > 0:
        tcb.delivered_segments -= segments_in(tcb, counted)
    tcb.reno_sacked_bytes -= counted


def forget_duplicates(tcb: Tcb) -> None:
    """What the duplicates stood for is acknowledged, or was nothing."""
    tcb.reno_sacked_bytes = 0


def count_syn_ack_repeats(tcb: Tcb, count: i64) -> None:
    """A SYN-ACK was sent again so often."""
    if count > 0:
        troubles_of(tcb).segments_retransmitted += count


def count_syn_ack_delivered(tcb: Tcb) -> None:
    """The SYN-ACK of a connection with Fast Open arrived."""
    tcb.delivered_segments += 1
    tcb.context.counters.TcpExtTCPDelivered += 1


def ensure_syn_delivered(tcb: Tcb) -> None:
    """Count the SYN-ACK that a cookie stood for."""
    if tcb.delivered_segments == 0:
        tcb.delivered_segments = 1


def join_syn_and_text(tcb: Tcb) -> None:
    """SYN and text were one segment on the wire (Fast Open)."""
    tcb.context.counters.TcpExtTCPDelivered -= tcb.delivered_segments - 1
    tcb.delivered_segments = 1
