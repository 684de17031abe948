"""DCTCP (RFC 8257): the window goes down by as much as there is congestion, not by half.

Switches mark every packet that finds more than a few waiting. Once a window of text, the share of what was marked in it
is averaged into ``alpha``; if there were marks the window is reduced by half of that. So queues stay as short as
the switches' threshold. The receiver's part, an exact echo, is in ``estab.tcp.ecn.classic``; AccECN has it by itself.
Losses cost as much as Reno's. Without ECN there are no marks, and it is Reno.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.congestion.reno import Reno
from estab.tcp.record.control import CongestionControl, Flow

__all__ = ["Dctcp"]

_ONE: Final = 1024
"""Alpha counts 1024ths."""
_GAIN_SHIFT: Final = 4
"""g is 1/16 (section 3.3, and 4.2's bound)."""


class Dctcp(Reno):
    """DCTCP for one flow. ``alpha`` is in 1024ths; it begins with 1, so that the first mark halves (section 3.3)."""

    name = "dctcp"

    def __init__(self) -> None:
        self.alpha: i64 = _ONE
        self.window_end: i64 = 0
        """DCTCP.WindowEnd: the observation window is over once this is acknowledged."""
        self.segments_before: i64 = 0
        self.marked_before: i64 = 0

    def for_flow(self) -> CongestionControl:
        """Each flow has its own estimate."""
        return Dctcp()

    def is_needed_from_start(self) -> bool:
        """Marks are counted from the first packet on."""
        return True

    def needs_ecn(self) -> bool:
        """It needs marks."""
        return True

    def start(self, flow: Flow, now_ns: i64) -> None:
        """Begin to observe."""
        self.alpha = _ONE
        self._begin_window(flow)

    def _begin_window(self, flow: Flow) -> None:
        self.window_end = flow.snd_nxt
        self.segments_before = flow.delivered_segments
        self.marked_before = flow.delivered_ce

    def on_feedback(self, flow: Flow, now_ns: i64) -> None:
        """Average in the share of what was marked, once a window (section 3.3, steps 1 to 7), in segments as Linux."""
        if flow.snd_una < self.window_end:
            return
        self.alpha -= max(self.alpha >> _GAIN_SHIFT, 1 if self.alpha > 0 else 0)
        marked = flow.delivered_ce - self.marked_before
        if marked > 0:
            total = max(flow.delivered_segments - self.segments_before, 1)
            self.alpha = min(self.alpha + marked * (_ONE >> _GAIN_SHIFT) // total, _ONE)
        self._begin_window(flow)

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Reduce by half of alpha (section 3.3, step 9). Two segments at least, as Linux."""
        if not flow.has_ecn:
            return self.ssthresh(flow, now_ns)
        cwnd = flow.cwnd_bytes
        return max(cwnd - cwnd * self.alpha // (2 * _ONE), 2 * flow.full_segment_bytes())
