"""CUBIC (RFC 9438): the window is a cubic function of the time since the last loss, so that long round trips don't
starve.

It grows fast towards the window at which loss was found, slowly around it, and then fast again; but never slower than
Reno would. Slow start ends by HyStart++. All in integers, so that every machine finds the same windows: times are
milliseconds here, K and W_max the RFC's.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.congestion.control import SSTHRESH_INFINITE, CongestionControl, Flow
from estab.tcp.congestion.hystart import HyStart
from estab.units import MS

__all__ = ["Cubic"]

_TIME_MAX_MS: Final = 100_000
"""Beyond this distance from K the window would be larger than any; it bounds the products below."""


class Cubic(CongestionControl):
    """CUBIC for one flow. Sizes are bytes."""

    name = "cubic"

    def __init__(self) -> None:
        self.hystart: HyStart | None = None
        self.w_max: i64 = 0
        """The window before the last reduction, less some where it had not been reached again (fast convergence)."""
        self.epoch_ns: i64 = 0
        """When this congestion avoidance began; 0 while there is none."""
        self.k_ms: i64 = 0
        self.origin: i64 = 0
        """The plateau of the curve."""
        self.w_est: i64 = 0
        """What Reno's window would be (section 4.3), in 1024ths of a byte."""
        self.credit: i64 = 0
        """Growth that is not yet a whole byte, times the window."""
        self.prior_cwnd: i64 = 0
        self.last_ns: i64 = 0
        self.undo_w_max: i64 = 0

    def for_flow(self) -> CongestionControl:
        """Each flow has its own."""
        return Cubic()

    def is_needed_from_start(self) -> bool:
        """A flow that its window never held back needs none."""
        return False

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Grow the window. Time in which the window was not what held the flow back does not count (section 5.8)."""
        gap_ns = now_ns - self.last_ns
        self.last_ns = now_ns
        if not flow.is_window_used():
            self._shift(gap_ns)
            return
        if gap_ns > 2 * flow.srtt_ns + 200 * MS:
            self._shift(gap_ns)
        if flow.cwnd_bytes < flow.ssthresh_bytes:
            acked_bytes = self._slow_start(flow, acked_bytes)
        if acked_bytes > 0:
            self._avoid_congestion(flow, acked_bytes, now_ns)

    def _shift(self, gap_ns: i64) -> None:
        if self.epoch_ns > 0:
            self.epoch_ns += gap_ns

    def _slow_start(self, flow: Flow, acked_bytes: i64) -> i64:
        """Grow by what was acknowledged, as HyStart++ allows. Returns what is left for congestion avoidance."""
        if flow.ssthresh_bytes >= SSTHRESH_INFINITE:
            hystart = self.hystart
            if hystart is None:
                hystart = HyStart()
                self.hystart = hystart
            growth = hystart.growth(flow, acked_bytes)
            flow.cwnd_bytes += growth
            if growth == 0:
                flow.ssthresh_bytes = flow.cwnd_bytes
                self.hystart = None
            return 0
        room = flow.ssthresh_bytes - flow.cwnd_bytes
        flow.cwnd_bytes += min(acked_bytes, room)
        return max(0, acked_bytes - room)

    def _avoid_congestion(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        cwnd = flow.cwnd_bytes
        mss = flow.full_segment_bytes()
        if self.epoch_ns == 0:
            self._begin_epoch(cwnd, mss, now_ns)
        # W_cubic one round trip ahead, but no more than half as much again (section 4.2).
        target = self._curve((now_ns - self.epoch_ns + flow.srtt_ns) // MS, mss)
        target = max(cwnd, min(target, cwnd + cwnd // 2))
        # Reno's estimate: alpha is 3(1-b)/(1+b) = 9/17 until the old window is reached, then 1 (section 4.3).
        if self.w_est < self.prior_cwnd * 1024:
            self.w_est += 9 * 1024 * mss * acked_bytes // (17 * cwnd)
        else:
            self.w_est += 1024 * mss * acked_bytes // cwnd
        if target == cwnd:
            self.credit += mss * acked_bytes // 100  # on the plateau: a segment in a hundred round trips, as Linux
        else:
            self.credit += (target - cwnd) * acked_bytes
        growth = self.credit // cwnd
        self.credit -= growth * cwnd
        flow.cwnd_bytes = max(cwnd + growth, self.w_est // 1024)

    def _begin_epoch(self, cwnd: i64, mss: i64, now_ns: i64) -> None:
        self.epoch_ns = max(now_ns, 1)
        self.w_est = cwnd * 1024
        self.credit = 0
        if cwnd < self.w_max:
            # K is the cube root of (W_max - cwnd) / C with C = 0.4, in segments and seconds (section 4.2, figure 2).
            self.k_ms = _cube_root((self.w_max - cwnd) * 1000 // mss * 2_500_000)
            self.origin = self.w_max
        else:
            self.k_ms = 0
            self.origin = cwnd

    def _curve(self, t_ms: i64, mss: i64) -> i64:
        """Give W_cubic(t) = C (t - K)^3 + W_max (section 4.2, figure 1)."""
        distance = max(-_TIME_MAX_MS, min(t_ms - self.k_ms, _TIME_MAX_MS))
        if distance < 0:
            distance = -distance
            return self.origin - distance * distance * distance // 1000 * (4 * mss) // 10_000_000
        return self.origin + distance * distance * distance // 1000 * (4 * mss) // 10_000_000

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Multiply by 0.7 (section 4.6), and yield to newer flows where the window did not grow back (section 4.7)."""
        return self._reduce(flow, 70)

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Reduce as for a loss; where marks are to cost less, multiply by 0.85 (RFC 8511 section 3)."""
        return self._reduce(flow, 85 if is_gentle else 70)

    def _reduce(self, flow: Flow, percent: i64) -> i64:
        cwnd = flow.cwnd_bytes
        self.undo_w_max = self.w_max
        self.prior_cwnd = cwnd
        if cwnd < self.w_max:
            self.w_max = cwnd * 17 // 20
        else:
            self.w_max = cwnd
        self.epoch_ns = 0
        self.hystart = None
        return max(cwnd * percent // 100, 2 * flow.full_segment_bytes())

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """Begin afresh after slow start (section 4.8)."""
        self.epoch_ns = 0
        self.w_max = 0

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """The old plateau stands (section 4.9)."""
        self.w_max = max(self.w_max, self.undo_w_max)
        self.epoch_ns = 0


def _cube_root(number: i64) -> i64:
    """Give the integer cube root, rounded down, of a number below 2^62."""
    low: i64 = 0
    high: i64 = 1_600_000
    while low < high:
        middle = (low + high + 1) // 2
        if middle * middle * middle <= number:
            low = middle
        else:
            high = middle - 1
    return low
