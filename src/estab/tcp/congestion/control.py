"""The protocol of congestion control: what the engine tells it, and what it may set.

A ``CongestionControl`` decides two numbers of a flow: ``cwnd_bytes`` and ``ssthresh_bytes``. The engine tells it when
text is acknowledged, when loss is found and when the retransmission timer runs out. An object without state of its
own may serve all connections; one with state is made for each by its factory. Users write their own in plain Python
by subclassing.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.tcp.timers import Endpoint

__all__ = ["SSTHRESH_INFINITE", "CongestionControl", "Flow"]

SSTHRESH_INFINITE: Final = 0x7FFFFFFF


class Flow(Endpoint):
    """What congestion control sees of a connection."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.cwnd_bytes: i64 = 0
        self.ssthresh_bytes: i64 = SSTHRESH_INFINITE
        self.pipe_bytes: i64 = 0
        """What is in flight: sent, and neither acknowledged, SACKed nor taken to be lost."""
        self.srtt_ns: i64 = 0
        """Smoothed round-trip time, 0 before the first measurement."""
        self.min_rtt_ns: i64 = 0
        self.is_cwnd_limited: bool = False
        """The window of congestion, not the program or the peer, was what held back the last send."""

    def full_segment_bytes(self) -> i64:
        """Give the sender's maximum segment size (SMSS) in bytes of text."""
        return 536

    def flight_bytes(self) -> i64:
        """Give RFC 5681's FlightSize: all that was sent and is not cumulatively acknowledged."""
        return 0


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """Decide how much may be in flight. Override what differs from a window that halves at a loss and never grows."""

    name: str = ""

    def start(self, flow: Flow, now_ns: i64) -> None:
        """Hear that the connection is established; ``flow.cwnd_bytes`` is the initial window."""

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Hear that ``acked_bytes`` of text left the network, outside of fast recovery."""

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Say what ``ssthresh_bytes`` becomes now that a loss was found (RFC 5681 equation 4)."""
        return max(flow.flight_bytes() // 2, 2 * flow.full_segment_bytes())

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """Hear that the retransmission timer ran out; the engine sets ``cwnd_bytes`` to one segment itself."""

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """Hear that a loss was a false alarm; ``cwnd_bytes`` and ``ssthresh_bytes`` are again what they were."""

    def on_recovered(self, flow: Flow, now_ns: i64) -> None:
        """Hear that a loss was repaired."""
