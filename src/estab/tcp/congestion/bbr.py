"""BBR, version 1 (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016; Linux's tcp_bbr.c).

A model of the path in two numbers, its bandwidth (the most delivered in ten round trips) and its propagation delay (the
shortest round trip of ten seconds), sets the pace; the window is twice their product. It probes for more bandwidth: for
one round trip in eight it sends a quarter more, then a quarter less, so that the queue drains; and once in ten seconds
it lets the path run empty to measure the delay. Loss as such lowers nothing.

We differ from Linux: no detection of policers (lt_bw) and no allowance for aggregated acknowledgments (extra_acked).
The phase in which a flow begins follows from its addresses, not from chance.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.control import CongestionControl, Flow
from estab.tcp.record.sample import RateSample
from estab.units import MS, NEVER, SECOND

__all__ = ["Bbr"]

_STARTUP: Final = 0
_DRAIN: Final = 1
_PROBE_BW: Final = 2
_PROBE_RTT: Final = 3

_UNIT: Final = 1000
"""Gains are thousandths."""
_HIGH_GAIN: Final = 2885
"""2 / ln 2: doubles what is delivered each round trip."""
_DRAIN_GAIN: Final = 346
_CYCLE: Final = [1250, 750, 1000, 1000, 1000, 1000, 1000, 1000]
_ROUNDS: Final = 10
"""Round trips for which a bandwidth is remembered."""
_RTT_WINDOW_NS: Final = 10 * SECOND
_PROBE_RTT_NS: Final = 200 * MS
_SEGMENTS_MIN: Final = 4


class _Peak:
    """A bandwidth and the round trip in which it was seen."""

    def __init__(self, rate: i64, round_count: i64) -> None:
        self.rate = rate
        self.round_count = round_count


class Bbr(CongestionControl):
    """BBR for one flow. Rates are bytes a second."""

    name = "bbr"

    def __init__(self) -> None:
        self.mode: i64 = _STARTUP
        self.peaks: list[_Peak] = []
        """Bandwidths, falling, each the highest since the one before it."""
        self.min_rtt_ns: i64 = NEVER
        self.min_rtt_at_ns: i64 = 0
        self.round_count: i64 = 0
        self.round_end_bytes: i64 = 0
        self.is_round_start: bool = False
        self.full_rate: i64 = 0
        self.full_rounds: i64 = 0
        self.is_full: bool = False
        """The bandwidth no longer grew for three rounds: the pipe is full."""
        self.pacing_gain: i64 = _HIGH_GAIN
        self.cwnd_gain: i64 = _HIGH_GAIN
        self.phase: i64 = 0
        self.phase_ns: i64 = 0
        self.prior_cwnd: i64 = 0
        self.is_recovering: bool = False
        self.is_conserving: bool = False
        """In the first round of recovery as much is sent as arrives, and no more."""
        self.probe_done_ns: i64 = 0
        self.has_probe_round: bool = False
        self.initial_cwnd: i64 = 0

    def for_flow(self) -> CongestionControl:
        """Each flow has its own."""
        return Bbr()

    def wants_samples(self) -> bool:
        """BBR needs them."""
        return True

    def start(self, flow: Flow, now_ns: i64) -> None:
        """Begin with a guess of the pace: the initial window in the handshake's round trip."""
        self.initial_cwnd = flow.cwnd_bytes
        self.min_rtt_at_ns = now_ns
        if flow.min_rtt_ns > 0:
            self.min_rtt_ns = flow.min_rtt_ns
        rtt_ns = flow.srtt_ns if flow.srtt_ns > 0 else MS
        flow.pacing_rate = max(flow.cwnd_bytes * SECOND // rtt_ns * _HIGH_GAIN // _UNIT, 1)

    # --- the model

    def on_sample(self, flow: Flow, sample: RateSample, now_ns: i64) -> None:
        """Take an acknowledgment: bring the model up to date, then pace and window."""
        self._update_bandwidth(flow, sample)
        self._update_phase(flow, sample, now_ns)
        self._look_whether_full(sample)
        self._look_whether_drained(flow, now_ns)
        self._update_min_rtt(flow, sample, now_ns)
        self._set_gains()
        self._set_pace(flow)
        self._set_window(flow, sample)

    def rate(self) -> i64:
        """Return the bottleneck's bandwidth, as far as it is known."""
        return self.peaks[0].rate if self.peaks else 0

    def _update_bandwidth(self, flow: Flow, sample: RateSample) -> None:
        self.is_round_start = False
        if sample.acked_bytes > 0 and sample.prior_delivered_bytes >= self.round_end_bytes:
            self.round_end_bytes = flow.delivered_bytes
            self.round_count += 1
            self.is_round_start = True
            self.is_conserving = False
        if sample.rate == 0 or (sample.is_app_limited and sample.rate < self.rate()):
            return
        peaks = self.peaks
        while peaks and peaks[-1].rate <= sample.rate:
            peaks.pop()
        peaks.append(_Peak(sample.rate, self.round_count))
        while peaks[0].round_count <= self.round_count - _ROUNDS:
            del peaks[0]

    def _product(self, gain: i64) -> i64:
        """Return bandwidth times delay times a gain, in bytes."""
        if self.min_rtt_ns == NEVER:
            return self.initial_cwnd
        return self.rate() * (self.min_rtt_ns // 1000) // 1_000_000 * gain // _UNIT

    def _update_phase(self, flow: Flow, sample: RateSample, now_ns: i64) -> None:
        """Take the next gain of the cycle when its time has come."""
        if self.mode != _PROBE_BW:
            return
        gain = _CYCLE[self.phase]
        is_over = now_ns - self.phase_ns > self.min_rtt_ns
        if gain > _UNIT:
            is_over = is_over and (sample.lost_bytes > 0 or flow.pipe_bytes >= self._product(gain))
        elif gain < _UNIT:
            is_over = is_over or flow.pipe_bytes <= self._product(_UNIT)
        if is_over:
            self.phase = (self.phase + 1) % len(_CYCLE)
            self.phase_ns = now_ns

    def _look_whether_full(self, sample: RateSample) -> None:
        if self.is_full or not self.is_round_start or sample.is_app_limited:
            return
        rate = self.rate()
        if rate >= self.full_rate * 5 // 4:
            self.full_rate = rate
            self.full_rounds = 0
            return
        self.full_rounds += 1
        self.is_full = self.full_rounds >= 3

    def _look_whether_drained(self, flow: Flow, now_ns: i64) -> None:
        if self.mode == _STARTUP and self.is_full:
            self.mode = _DRAIN
        if self.mode == _DRAIN and flow.pipe_bytes <= self._product(_UNIT):
            self._probe_bandwidth(flow, now_ns)

    def _probe_bandwidth(self, flow: Flow, now_ns: i64) -> None:
        self.mode = _PROBE_BW
        seed: i64 = sum(flow.key)
        self.phase = seed % 7
        if self.phase > 0:
            self.phase += 1  # any phase but the one that drains
        self.phase_ns = now_ns

    def _update_min_rtt(self, flow: Flow, sample: RateSample, now_ns: i64) -> None:
        is_old = now_ns > self.min_rtt_at_ns + _RTT_WINDOW_NS
        rtt_ns = sample.rtt_ns
        if rtt_ns >= 0 and (rtt_ns < self.min_rtt_ns or is_old):
            self.min_rtt_ns = max(rtt_ns, 1)
            self.min_rtt_at_ns = now_ns
        if is_old and self.mode != _PROBE_RTT:
            self.mode = _PROBE_RTT
            self.prior_cwnd = self._saved_cwnd(flow)
            self.probe_done_ns = 0
        if self.mode == _PROBE_RTT:
            self._probe_rtt(flow, now_ns)

    def _probe_rtt(self, flow: Flow, now_ns: i64) -> None:
        """Keep the pipe nearly empty for 200 ms and a round trip."""
        if self.probe_done_ns == 0:
            if flow.pipe_bytes <= _SEGMENTS_MIN * flow.full_segment_bytes():
                self.probe_done_ns = now_ns + _PROBE_RTT_NS
                self.has_probe_round = False
                self.round_end_bytes = flow.delivered_bytes
            return
        if self.is_round_start:
            self.has_probe_round = True
        if self.has_probe_round and now_ns > self.probe_done_ns:
            self.min_rtt_at_ns = now_ns
            flow.cwnd_bytes = max(flow.cwnd_bytes, self.prior_cwnd)
            if self.is_full:
                self._probe_bandwidth(flow, now_ns)
            else:
                self.mode = _STARTUP

    # --- what follows from it

    def _set_gains(self) -> None:
        if self.mode == _STARTUP:
            self.pacing_gain = _HIGH_GAIN
            self.cwnd_gain = _HIGH_GAIN
        elif self.mode == _DRAIN:
            self.pacing_gain = _DRAIN_GAIN
            self.cwnd_gain = _HIGH_GAIN
        elif self.mode == _PROBE_BW:
            self.pacing_gain = _CYCLE[self.phase]
            self.cwnd_gain = 2 * _UNIT
        else:
            self.pacing_gain = _UNIT
            self.cwnd_gain = _UNIT

    def _set_pace(self, flow: Flow) -> None:
        rate = self.rate() * self.pacing_gain // _UNIT * 99 // 100  # a little below, so that no queue stays
        if rate > 0 and (self.is_full or rate > flow.pacing_rate):
            flow.pacing_rate = rate

    def _set_window(self, flow: Flow, sample: RateSample) -> None:
        mss = flow.full_segment_bytes()
        cwnd = flow.cwnd_bytes
        if sample.lost_bytes > 0 and self.is_recovering:
            cwnd = max(cwnd - sample.lost_bytes, mss)
        target = self._product(self.cwnd_gain) + 3 * mss
        if self.is_conserving:
            cwnd = max(cwnd, flow.pipe_bytes + sample.acked_bytes)
        elif self.is_full:
            cwnd = min(cwnd + sample.acked_bytes, target)
        elif cwnd < target or flow.delivered_bytes < self.initial_cwnd:
            cwnd += sample.acked_bytes
        cwnd = max(cwnd, _SEGMENTS_MIN * mss)
        if self.mode == _PROBE_RTT:
            cwnd = min(cwnd, _SEGMENTS_MIN * mss)
        flow.cwnd_bytes = cwnd

    # --- losses

    def _saved_cwnd(self, flow: Flow) -> i64:
        if self.is_recovering or self.mode == _PROBE_RTT:
            return max(self.prior_cwnd, flow.cwnd_bytes)
        return flow.cwnd_bytes

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Loss sets no threshold. For a round as much is sent as arrives, then the model says again what fits."""
        self.prior_cwnd = self._saved_cwnd(flow)
        self.is_recovering = True
        self.is_conserving = True
        self.round_end_bytes = flow.delivered_bytes
        flow.cwnd_bytes = flow.pipe_bytes + flow.full_segment_bytes()
        return flow.ssthresh_bytes

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Marks change nothing: version 1 goes by its model alone (as Linux)."""
        return flow.ssthresh_bytes

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """Look for the bandwidth again."""
        self.is_conserving = False
        self.full_rate = 0

    def on_recovered(self, flow: Flow, now_ns: i64) -> None:
        """The window is as it was before the loss."""
        self.is_recovering = False
        self.is_conserving = False
        flow.cwnd_bytes = max(flow.cwnd_bytes, self.prior_cwnd)

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """Whether the pipe is full is to be found out again."""
        self.on_recovered(flow, now_ns)
        self.full_rate = 0
        self.full_rounds = 0
