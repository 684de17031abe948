"""HyStart++: leave slow start before it overruns the path (RFC 9406).

Rounds are windows of text. When the shortest round trip of a round is clearly longer than that of the round before, a
queue is building: growth goes on at a quarter of its speed (Conservative Slow Start) for five rounds, and if the round
trip does not get shorter again in that time, slow start is over.

We differ: without RFC 9406's limit of eight segments for one acknowledgment (section 4.2's L), as Linux: one
acknowledgment may be for a super-segment.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.control import Flow
from estab.units import MS, NEVER

__all__ = ["HyStart"]

_RTT_THRESH_MIN: Final = 4 * MS
_RTT_THRESH_MAX: Final = 16 * MS
_RTT_DIVISOR: Final = 8
_SAMPLES: Final = 8
_GROWTH_DIVISOR: Final = 4
_ROUNDS: Final = 5


class HyStart:
    """The rounds of one flow's slow start."""

    def __init__(self) -> None:
        self.round_end: i64 = 0
        self.last_rtt_ns: i64 = NEVER
        self.round_rtt_ns: i64 = NEVER
        self.samples: i64 = 0
        self.baseline_ns: i64 = NEVER
        """Round trip when Conservative Slow Start began."""
        self.rounds: i64 = 0
        """Rounds of Conservative Slow Start; 0 in ordinary slow start."""

    def growth(self, flow: Flow, acked_bytes: i64) -> i64:
        """Say by how much the window grows for an acknowledgment, 0 if slow start is over. RFC 9406 section 4.2."""
        if flow.snd_una >= self.round_end:
            self._next_round(flow)
            if self.rounds > _ROUNDS:
                return 0
        if flow.rtt_ns > 0:
            self.round_rtt_ns = min(self.round_rtt_ns, flow.rtt_ns)
            self.samples += 1
        if self.samples >= _SAMPLES and self.last_rtt_ns < NEVER:
            if self.rounds == 0:
                limit_ns = max(_RTT_THRESH_MIN, min(self.last_rtt_ns // _RTT_DIVISOR, _RTT_THRESH_MAX))
                if self.round_rtt_ns >= self.last_rtt_ns + limit_ns:
                    self.baseline_ns = self.round_rtt_ns
                    self.rounds = 1
            elif self.round_rtt_ns < self.baseline_ns:
                self.rounds = 0  # the delay went down again: it was no queue of ours
        if self.rounds > 0:
            return max(1, acked_bytes // _GROWTH_DIVISOR)
        return acked_bytes

    def _next_round(self, flow: Flow) -> None:
        self.round_end = flow.snd_nxt
        self.last_rtt_ns = self.round_rtt_ns
        self.round_rtt_ns = NEVER
        self.samples = 0
        if self.rounds > 0:
            self.rounds += 1
