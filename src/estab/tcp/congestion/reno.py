"""Reno: slow start and congestion avoidance (RFC 5681), counted in bytes (RFC 3465 with L = 2)."""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.record.control import CongestionControl, Flow

__all__ = ["Reno"]


class Reno(CongestionControl):
    """Add a segment a round trip, halve at a loss (the base class's rule). Stateless: one object serves all
    connections.
    """

    name = "reno"

    def is_needed_from_start(self) -> bool:
        """Reno keeps nothing."""
        return False

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Grow the window: by what was acknowledged below ssthresh, by a segment a round trip above (RFC 5681 section
        3.1).

        A window that was not used up does not grow (RFC 7661's principle).
        """
        if not flow.is_window_used():
            return
        mss = flow.full_segment_bytes()
        cwnd = flow.cwnd_bytes
        if cwnd < flow.ssthresh_bytes:
            cwnd += min(acked_bytes, 2 * mss)
        else:
            cwnd += max(1, mss * min(acked_bytes, 2 * mss) // cwnd)
        flow.cwnd_bytes = cwnd

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Halve for a mark, too; if marks are to cost less than losses, keep four fifths (RFC 8511 section 3)."""
        if not is_gentle:
            return self.ssthresh(flow, now_ns)
        return max(flow.flight_bytes() * 4 // 5, 2 * flow.full_segment_bytes())
