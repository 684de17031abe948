"""CUBIC (RFC 9438): the window is a cubic function of the time since the last loss, so that long round trips don't
starve.

It grows fast towards the window at which loss was found, slowly around it, and then fast again; but never slower than
Reno would. Slow start ends by HyStart++, or by Linux's HyStart. All in integers, so that every machine finds the same
windows: times are milliseconds here, K and W_max the RFC's.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.config import Config
from estab.tcp.congestion.hystart import HyStart
from estab.tcp.congestion.hystart_linux import LinuxHyStart
from estab.tcp.record.control import SSTHRESH_INFINITE, CongestionControl, Flow
from estab.units import MS, NEVER, SECOND

__all__ = ["Cubic"]

_LINUX_HYSTART: Final = 1
_HYSTART_PLUS_PLUS: Final = 2
"""Values of ``cubic_hystart``."""
_TIME_MAX_MS: Final = 100_000
"""Beyond this distance from K the window would be larger than any; it bounds the products below."""

_CURVE_NS: Final = SECOND // 32
_CURVE_NS_LEAST: Final = MS
"""While the window stays, the curve is evaluated once a round trip, of a length between these two. Linux does so 32
times a second: if losses come faster than that, it does not see that Reno would be ahead (section 4.3)."""
_COUNT_BEFORE_LOSS: Final = 20
"""Until a loss was seen growth is no less than a segment for so many, as in Linux: no plateau is known yet."""


class Cubic(CongestionControl):
    """CUBIC for one flow. Sizes are bytes."""

    name = "cubic"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.linux_hystart: LinuxHyStart | None = None
        self.hystart: HyStart | None = None
        self.w_max: i64 = 0
        """The window before the last reduction, less some if it had not been reached again (fast convergence)."""
        self.epoch_ns: i64 = 0
        """When this congestion avoidance began; 0 while there is none."""
        self.k_ms: i64 = 0
        self.origin: i64 = 0
        """The plateau of the curve."""
        self.w_est: i64 = 0
        """What Reno's window would be (section 4.3), in 1024ths of a byte."""
        self.count: i64 = 2
        """So many segments acknowledged make the window grow by one, as of ``curve_ns``, for ``curve_cwnd``."""
        self.curve_ns: i64 = 0
        self.curve_cwnd: i64 = 0
        self.acked_bytes: i64 = 0
        """Acknowledged since ``curve_ns``."""
        self.credit: i64 = 0
        """Acknowledged and not yet made into growth."""
        self.prior_cwnd: i64 = 0
        self.last_ns: i64 = 0
        self.undo_w_max: i64 = 0

    def for_flow(self) -> CongestionControl:
        """Each flow has its own."""
        return Cubic(self._config)

    def is_needed_from_start(self) -> bool:
        """A flow that is never limited by its window needs none."""
        return False

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Grow the window. Time in which the program held the flow back does not count (section 5.8)."""
        if self._config.cubic_hystart == _LINUX_HYSTART:
            self._look_for_end(flow, now_ns)
        gap_ns = now_ns - self.last_ns
        self.last_ns = now_ns
        is_used = flow.is_window_used()
        if gap_ns > 2 * flow.srtt_ns + 200 * MS:
            self._shift(max(0, gap_ns - flow.rtt_ns))  # the flow was idle until it sent what is acknowledged now
        elif not is_used and not flow.is_pacing:
            self._shift(gap_ns)
        if not is_used:
            return
        if flow.cwnd_bytes < flow.ssthresh_bytes:
            acked_bytes = self._slow_start(flow, acked_bytes)
        if acked_bytes > 0:
            self._avoid_congestion(flow, acked_bytes, now_ns)

    def _shift(self, gap_ns: i64) -> None:
        if self.epoch_ns > 0:
            self.epoch_ns += gap_ns

    def _slow_start(self, flow: Flow, acked_bytes: i64) -> i64:
        """Grow by what was acknowledged, as HyStart++ allows. Returns what is left for congestion avoidance."""
        if flow.ssthresh_bytes >= SSTHRESH_INFINITE and self._config.cubic_hystart == _HYSTART_PLUS_PLUS:
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

    def _look_for_end(self, flow: Flow, now_ns: i64) -> None:
        """Let slow start be over if Linux's HyStart says so. Right after a recovery it measures nothing."""
        rate = flow.rate
        rtt_ns = flow.rtt_ns if rate is None else rate.rtt_ns
        if rtt_ns < 0 or (self.epoch_ns > 0 and now_ns - self.epoch_ns < SECOND):
            return
        hystart = self.linux_hystart
        if hystart is None:
            hystart = LinuxHyStart(self._config)
            hystart.delay_min_ns = flow.min_rtt_ns if flow.min_rtt_ns > 0 else NEVER
            self.linux_hystart = hystart
        if hystart.is_over(flow, rtt_ns, now_ns):
            flow.ssthresh_bytes = flow.cwnd_bytes

    def _avoid_congestion(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """Grow by a segment for so many acknowledged, as the curve says; what is left over counts later."""
        cwnd = flow.cwnd_bytes
        mss = flow.full_segment_bytes()
        self.acked_bytes += acked_bytes
        if self.epoch_ns == 0 or cwnd != self.curve_cwnd or now_ns - self.curve_ns > self._patience_ns(flow):
            self._look_at_curve(flow, cwnd, mss, now_ns)
        each = self.count * mss
        growth: i64 = 0
        if self.credit >= each:
            self.credit = 0  # gathered while growth was slower: it is worth a segment now, and no more
            growth = mss
        self.credit += acked_bytes
        growth += self.credit // each * mss
        self.credit %= each
        flow.cwnd_bytes = cwnd + growth

    def _patience_ns(self, flow: Flow) -> i64:
        return min(_CURVE_NS, max(flow.min_rtt_ns, _CURVE_NS_LEAST))

    def _look_at_curve(self, flow: Flow, cwnd: i64, mss: i64, now_ns: i64) -> None:
        """Find how many segments must be acknowledged for one of growth, in whole segments, as Linux does."""
        self.curve_cwnd = cwnd
        self.curve_ns = now_ns
        acked_bytes = self.acked_bytes
        self.acked_bytes = 0
        if self.epoch_ns == 0:
            self._begin_epoch(cwnd, mss, now_ns)
        # W_cubic one round trip ahead (section 4.2). We differ: the shortest one, as Linux; a queue is no distance.
        target = self._curve((now_ns - self.epoch_ns + flow.min_rtt_ns) // MS, mss)
        segments = max(cwnd // mss, 1)
        count = 100 * segments  # on the plateau: a segment in a hundred round trips
        ahead = target // mss - segments
        if ahead > 0:
            count = segments // ahead
        if self.w_max == 0:
            count = min(count, _COUNT_BEFORE_LOSS)
        # Reno's estimate: alpha is 3(1-b)/(1+b) = 9/17 until the old window is reached, then 1 (section 4.3).
        if self.w_est < self.prior_cwnd * 1024:
            self.w_est += 9 * 1024 * mss * acked_bytes // (17 * cwnd)
        else:
            self.w_est += 1024 * mss * acked_bytes // cwnd
        ahead = self.w_est // 1024 // mss - segments
        if ahead > 0:
            count = min(count, segments // ahead)
        self.count = max(count, 2)  # no more than half as much again in a round trip (section 4.2)

    def _begin_epoch(self, cwnd: i64, mss: i64, now_ns: i64) -> None:
        self.epoch_ns = max(now_ns, 1)
        self.w_est = cwnd * 1024
        if cwnd < self.w_max:
            # K is the cube root of (W_max - cwnd) / C with C = 0.4, in segments and seconds (section 4.2, figure 2).
            self.k_ms = _cube_root((self.w_max - cwnd) * 1000 // mss * 2_500_000)
            self.origin = self.w_max
        else:
            self.k_ms = 0
            self.origin = cwnd

    def _curve(self, t_ms: i64, mss: i64) -> i64:
        """Return W_cubic(t) = C (t - K)^3 + W_max (section 4.2, figure 1)."""
        distance = max(-_TIME_MAX_MS, min(t_ms - self.k_ms, _TIME_MAX_MS))
        if distance < 0:
            distance = -distance
            return self.origin - distance * distance * distance // 1000 * (4 * mss) // 10_000_000
        return self.origin + distance * distance * distance // 1000 * (4 * mss) // 10_000_000

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Multiply by 0.7 (section 4.6), and yield to newer flows if the window did not grow back (section 4.7)."""
        return self._reduce(flow, 70)

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Reduce as for a loss; if marks are to cost less, multiply by 0.85 (RFC 8511 section 3)."""
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
        self.credit = 0
        self.hystart = None
        return max(cwnd * percent // 100, 2 * flow.full_segment_bytes())

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """Begin afresh after slow start (section 4.8)."""
        self.epoch_ns = 0
        self.w_max = 0
        self.credit = 0
        if self.linux_hystart is not None:
            self.linux_hystart.reset()

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """The old plateau holds (section 4.9)."""
        self.w_max = max(self.w_max, self.undo_w_max)
        self.epoch_ns = 0


def _cube_root(number: i64) -> i64:
    """Return the integer cube root, rounded down, of a number below 2^62."""
    low: i64 = 0
    high: i64 = 1_600_000
    while low < high:
        middle = (low + high + 1) // 2
        if middle * middle * middle <= number:
            low = middle
        else:
            high = middle - 1
    return low
