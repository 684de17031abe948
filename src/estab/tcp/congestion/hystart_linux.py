"""HyStart as Linux's CUBIC has it (Ha and Rhee 2011; ``tcp_cubic.c``): leave slow start at the first sign of a queue.

Two signs, each looked for once the window is ``cubic_hystart_low_window``. Delay: the shortest of more than eight round
trips of a round exceeds the flow's shortest by an eighth, no less than 4 ms, no more than 16 ms. The train: an unbroken
row of acknowledgments, each close to the one before, already lasts as long as the shortest round trip (half of it if
nothing paces the flow), so that what is in flight fills the path. Either ends slow start at once.

Rounds are counted from the first acknowledgment with that window on, as in kernels up to 6.12, for which packetdrill's
scripts are written. Later kernels count them from the start, and may end slow start some acknowledgments sooner.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.config import Config
from estab.tcp.record.control import Flow
from estab.units import MS, NEVER, SECOND

__all__ = ["DELAY", "TRAIN", "LinuxHyStart"]

TRAIN: Final = 1
DELAY: Final = 2
"""Bits of ``cubic_hystart_detect``."""
_SAMPLES: Final = 8
_DELAY_MIN: Final = 4 * MS
_DELAY_MAX: Final = 16 * MS
_SUPER_SEGMENTS_BYTES: Final = 4 * 65_536
"""Acknowledgments may be late by as much as four super-segments take to leave at the pace, at most a millisecond."""


class LinuxHyStart:
    """What one flow's round trips and trains tell. It finds the end of slow start once, until ``reset``."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.delay_min_ns: i64 = NEVER
        self.is_found: bool = False
        self.round_end: i64 = 0
        self.round_ns: i64 = 0
        """When the round began, and its last acknowledgment that continued the train."""
        self.train_ns: i64 = 0
        self.round_rtt_ns: i64 = NEVER
        self.samples: i64 = 0

    def reset(self) -> None:
        """Begin afresh, as after a retransmission timeout."""
        self.delay_min_ns = NEVER
        self.is_found = False
        self.round_end = 0

    def is_over(self, flow: Flow, rtt_ns: i64, now_ns: i64) -> bool:
        """Take a round trip that was just measured; say whether slow start is over, which it says once."""
        rtt_ns = max(rtt_ns, 1)
        self.delay_min_ns = min(self.delay_min_ns, rtt_ns)
        if self.is_found or flow.cwnd_bytes >= flow.ssthresh_bytes:
            return False
        config = self._config
        if flow.cwnd_bytes < config.cubic_hystart_low_window * flow.full_segment_bytes():
            return False
        if flow.snd_una > self.round_end:
            self.round_end = flow.snd_nxt
            self.round_ns = now_ns
            self.train_ns = now_ns
            self.round_rtt_ns = NEVER
            self.samples = 0
        detect = config.cubic_hystart_detect
        if (detect & TRAIN) != 0 and self._is_train_long(flow, now_ns):
            self.is_found = True
        if (detect & DELAY) != 0 and self._is_delayed(rtt_ns):
            self.is_found = True
        return self.is_found

    def _is_train_long(self, flow: Flow, now_ns: i64) -> bool:
        if now_ns - self.train_ns > self._config.cubic_hystart_ack_delta_ns:
            return False  # the train is broken; only the next round begins another
        self.train_ns = now_ns
        limit_ns = self.delay_min_ns
        pace = flow.pace()
        if pace > 0:
            limit_ns += min(_SUPER_SEGMENTS_BYTES * SECOND // pace, MS)
        if not flow.is_paced():
            limit_ns //= 2
        return now_ns - self.round_ns > limit_ns

    def _is_delayed(self, rtt_ns: i64) -> bool:
        self.round_rtt_ns = min(self.round_rtt_ns, rtt_ns)
        if self.samples < _SAMPLES:
            self.samples += 1
            return False
        allowed_ns = max(_DELAY_MIN, min(self.delay_min_ns // 8, _DELAY_MAX))
        return self.round_rtt_ns > self.delay_min_ns + allowed_ns
