"""The protocol of congestion control: what the engine tells it, and what it may set.

A ``CongestionControl`` decides three numbers of a flow: ``cwnd_bytes``, ``ssthresh_bytes`` and ``pacing_rate``. The
engine tells it when text is acknowledged, when loss is found and when the retransmission timer runs out. One that
keeps nothing of its own may serve all connections; one with state gives each flow its own (``for_flow``). Users write
their own in plain Python by subclassing; docs/congestion.md shows how.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.tcp.record.sample import RateSample
from estab.tcp.record.timers import Endpoint

__all__ = ["SSTHRESH_INFINITE", "CongestionControl", "Flow"]

SSTHRESH_INFINITE: Final = 0x7FFFFFFF


class Flow(Endpoint):
    """What congestion control sees of a connection. It may set the first three; the rest is the engine's."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.cwnd_bytes: i64 = 0
        self.ssthresh_bytes: i64 = SSTHRESH_INFINITE
        self.pacing_rate: i64 = 0
        """Bytes a second at which text may leave; 0: as fast as the window allows."""
        self.pipe_bytes: i64 = 0
        """What is in flight: sent, and neither acknowledged, SACKed nor taken to be lost."""
        self.snd_una: i64 = 0
        self.snd_nxt: i64 = 0
        self.delivered_bytes: i64 = 0
        """All that is known to have arrived, in order or SACKed, each byte once."""
        self.delivered_segments: i64 = 0
        """The same in segments; the SYN counts."""
        self.delivered_ce: i64 = 0
        """Of these, how many met congestion, as far as the peer's feedback says (RFC 3168, RFC 9768)."""
        self.has_ecn: bool = False
        """Both ends agreed on ECN."""
        self.srtt_ns: i64 = 0
        """Smoothed round-trip time, 0 before the first measurement."""
        self.rtt_ns: i64 = 0
        """The latest measurement."""
        self.min_rtt_ns: i64 = 0
        self.rate: RateSample | None = None
        """The path's delivery rate, measured since text was first sent."""
        self.sample: RateSample | None = None
        """The same, where the congestion control asked for it."""
        self.is_cwnd_limited: bool = False
        """The congestion window, not the program or the peer, is what held back this window's sends."""
        self.is_pacing: bool = False
        """The pace is what holds text back now."""
        self.max_out_bytes: i64 = 0
        """The most that was in flight in this window, acknowledged or not."""

    def is_window_used(self) -> bool:
        """Tell whether the window may grow: it is the limit, or, in slow start, less than twice what was in flight."""
        if self.is_cwnd_limited:
            return True
        return self.cwnd_bytes < self.ssthresh_bytes and self.cwnd_bytes < 2 * self.max_out_bytes

    def is_paced(self) -> bool:
        """Tell whether text keeps to the pace."""
        return False

    def pace(self) -> i64:
        """Give the pace in bytes a second: congestion control's own, or what follows from window and round trip."""
        return self.pacing_rate

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

    def for_flow(self) -> CongestionControl:
        """Give the object that serves one flow: this one, or, where there is state to keep, a new one."""
        return self

    def is_needed_from_start(self) -> bool:
        """Say whether a flow must have its own from its first segment, or only once the window holds it back."""
        return True

    def wants_samples(self) -> bool:
        """Say whether the delivery rate is to be measured, and the window is this object's alone, also in recovery."""
        return False

    def needs_ecn(self) -> bool:
        """Say whether this one lives on marks: ECN is asked for, whatever ``tcp_ecn``, and ``on_feedback`` called."""
        return False

    def start(self, flow: Flow, now_ns: i64) -> None:
        """Hear that the flow is now this one's; for a new connection ``cwnd_bytes`` is the initial window."""

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Hear that ``acked_bytes`` of text were acknowledged, outside of fast recovery."""

    def on_sample(self, flow: Flow, sample: RateSample, now_ns: i64) -> None:
        """Hear of every acknowledgment, in recovery too, and of what it says of the delivery rate."""

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Say what ``ssthresh_bytes`` becomes now that a loss was found (RFC 5681 equation 4)."""
        return max(flow.flight_bytes() // 2, 2 * flow.full_segment_bytes())

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Say what ``ssthresh_bytes`` becomes now that packets were marked, not lost; once a round trip at most.

        ``is_gentle``: the stack wants marks to cost less than losses (RFC 8511), for those that know how.
        """
        return self.ssthresh(flow, now_ns)

    def on_feedback(self, flow: Flow, now_ns: i64) -> None:
        """Hear of every acknowledgment, in recovery too, with ``delivered_segments`` and ``delivered_ce`` counted."""

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """Hear that the retransmission timer ran out; the engine sets ``cwnd_bytes`` to one segment itself."""

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """Hear that a loss was a false alarm; ``cwnd_bytes`` and ``ssthresh_bytes`` are again what they were."""

    def on_recovered(self, flow: Flow, now_ns: i64) -> None:
        """Hear that a loss was repaired."""
