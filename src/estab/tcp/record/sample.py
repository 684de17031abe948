"""How fast the path delivers: a rate for each acknowledgment (draft-ietf-ccwg-bbr section 4.1, as Linux's tcp_rate.c).

A segment remembers how much had been delivered when it was sent. When it is acknowledged, what was delivered in
between, over the longer of the times that sending and acknowledging it took, is a sample of the path's rate. A sample
is limited by the program if there was a time without enough to send. The latest sample that tells something new
(the program did not limit it, or it is no less than the one before) is what ``TCP_INFO`` reports.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.tcp.record.inflight import SentSegment
from estab.units import SECOND

__all__ = ["RateSample"]


@mypyc_attr(acyclic=True, free_list_len=1)
class RateSample:
    """The latest sample, and what the next one needs. ``rate`` is bytes a second, 0 if there is no new one."""

    def __init__(self, now_ns: i64) -> None:
        self.rate: i64 = 0
        self.is_app_limited: bool = False
        self.reported_rate: i64 = 0
        """What ``tcpi_delivery_rate`` tells."""
        self.is_reported_limited: bool = True
        self.prior_delivered_bytes: i64 = 0
        """What had been delivered when the latest-sent of the segments now acknowledged was sent: it counts rounds."""
        self.acked_bytes: i64 = 0
        """Newly acknowledged or SACKed."""
        self.lost_bytes: i64 = 0
        """Newly taken to be lost."""
        self.rtt_ns: i64 = -1
        """A round trip measured just now, -1 for none."""
        self.delivered_ns: i64 = now_ns
        """When something was last delivered."""
        self._first_sent_ns: i64 = now_ns
        self._prior_ns: i64 = 0
        self._send_ns: i64 = 0
        self._app_limited_until: i64 = 0

    def on_sent(self, segment: SentSegment, pipe_bytes: i64, delivered_bytes: i64, now_ns: i64) -> None:
        """Stamp a segment that is being sent, with what was in flight before it."""
        if pipe_bytes == 0:
            self._first_sent_ns = now_ns
            self.delivered_ns = now_ns
        segment.first_sent_ns = self._first_sent_ns
        segment.delivered_ns = self.delivered_ns
        segment.delivered_bytes = delivered_bytes
        segment.is_app_limited = self._app_limited_until > 0

    def on_delivered(self, segment: SentSegment) -> None:
        """Take in a segment that was acknowledged; the latest-sent one of an acknowledgment counts."""
        if self._prior_ns == 0 or segment.delivered_bytes > self.prior_delivered_bytes:
            self.prior_delivered_bytes = segment.delivered_bytes
            self._prior_ns = segment.delivered_ns
            self.is_app_limited = segment.is_app_limited
            self._send_ns = segment.sent_ns - segment.first_sent_ns
            self._first_sent_ns = segment.sent_ns

    def note_program_is_slow(self, delivered_bytes: i64, pipe_bytes: i64) -> None:
        """The program has nothing to send, and the window has room: until what is in flight arrived, samples say so."""
        self._app_limited_until = max(delivered_bytes + pipe_bytes, 1)

    def finish(self, delivered_bytes: i64, acked_bytes: i64, lost_bytes: i64, min_rtt_ns: i64, now_ns: i64) -> None:
        """Close the sample of one acknowledgment."""
        self.rate = 0
        self.acked_bytes = acked_bytes
        self.lost_bytes = lost_bytes
        if self._app_limited_until > 0 and delivered_bytes > self._app_limited_until:
            self._app_limited_until = 0
        if acked_bytes > 0:
            self.delivered_ns = now_ns
        if self._prior_ns == 0:
            return
        interval_ns = max(self._send_ns, now_ns - self._prior_ns)
        self._prior_ns = 0
        if interval_ns >= min_rtt_ns and interval_ns > 0:  # shorter is an artefact of compressed acknowledgments
            self.rate = (delivered_bytes - self.prior_delivered_bytes) * SECOND // interval_ns
            if not self.is_app_limited or self.rate >= self.reported_rate:
                self.reported_rate = self.rate
                self.is_reported_limited = self.is_app_limited
