"""The protocol of congestion control: what the engine tells it, and what it may set.

A ``CongestionControl`` decides three numbers of a flow: ``cwnd_bytes``, ``ssthresh_bytes`` and ``pacing_rate``. The
engine tells it when text is acknowledged, when loss is found and when the retransmission timer runs out. One that
keeps nothing of its own may serve all connections; one with state gives each flow its own (``for_flow``). Users write
their own in plain Python by subclassing; docs/congestion.md shows how.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64, mypyc_attr

from estab.tcp.record.ecn_state import Ecn
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES
from estab.tcp.record.sample import RateSample
from estab.tcp.record.timer_table import TimerTable

__all__ = ["SSTHRESH_INFINITE", "CongestionControl", "Flow"]

SSTHRESH_INFINITE: Final = 0x7FFFFFFF


class Flow(TimerTable):
    """What congestion control sees of a connection. It may set ``cwnd_bytes``, ``ssthresh_bytes`` and ``pacing_rate``.

    The rest is the engine's.

    ``tcb`` says how the lines below the fields are read.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.has_ecn: bool = False
        """yes or no: both ends agreed on ECN (RFC 3168, RFC 9768). Writers: ecn/classic."""
        self.is_cwnd_limited: bool = False
        """yes or no: the congestion window, not the program or the peer, held back this window's sends (RFC 7661).
        Writers: recovery/cwnd.
        """
        self.is_sampled: bool = False
        """yes or no: the congestion control asked for ``sample``. Writers: record/tcb."""
        self.max_out_bytes: i32 = 0
        """bytes: the most that was in flight in this window, acknowledged or not. Writers: recovery/cwnd."""
        self.cwnd_bytes: i64 = 0
        """bytes: the congestion window (RFC 5681 section 2). Writers: congestion/bbr, congestion/cubic,
        congestion/reno, recovery/cwnd.
        """
        self.ssthresh_bytes: i64 = SSTHRESH_INFINITE
        """bytes: where slow start ends (RFC 5681 section 3.1). Writers: congestion/cubic, recovery/cwnd."""
        self.pacing_rate: i64 = 0
        """bytes a second: at which text may leave; 0: as fast as the window allows. Writers: congestion/bbr,
        record/tcb.
        """
        self.pipe_bytes: i64 = 0
        """bytes: in flight: sent, and neither acknowledged, SACKed nor taken to be lost (RFC 6675's pipe). Writers:
        recovery/scoreboard.
        """
        self.snd_una: i64 = 0
        """seq: the oldest number that is not acknowledged (SND.UNA, RFC 9293 section 3.3.1). Writers: record/tcb,
        recovery/recovery.
        """
        self.snd_nxt: i64 = 0
        """seq: the next number to send (SND.NXT, RFC 9293 section 3.3.1). Writers: record/tcb, sending/plan."""
        self.delivered_bytes: i64 = 0
        """bytes: all that is known to have arrived, in order or SACKed, each byte once. Writers: recovery/delivered,
        recovery/scoreboard.
        """
        self.delivered_segments: i64 = 0
        """segments: the same; the SYN counts. Writers: recovery/delivered, recovery/scoreboard."""
        self.ecn: Ecn | None = None
        """record: explicit congestion notification, as asked for or agreed on (RFC 3168, RFC 9768). Writers:
        ecn/classic.
        """
        self.srtt_ns: i64 = 0
        """ns: smoothed round-trip time (RFC 6298), 0 before the first measurement. Writers: window/rtt."""
        self.rtt_ns: i64 = 0
        """ns: the latest measurement. Writers: window/rtt."""
        self.min_rtt_ns: i64 = 0
        """ns: the least of the last ``tcp_min_rtt_wlen``, 0 before the first measurement. Writers: window/rtt."""
        self.rate: RateSample | None = None
        """record: the path's delivery rate; ``None`` before text was sent, and while nothing is in flight. Writers:
        record/tcb.
        """

    @property
    def delivered_ce(self) -> i64:
        """How many of ``delivered_segments`` met congestion, as far as the peer's feedback says."""
        ecn = self.ecn
        if ecn is None:
            return 0
        return ecn.delivered_ce

    @property
    def sample(self) -> RateSample | None:
        """The delivery rate, if the congestion control asked for it."""
        return self.rate if self.is_sampled else None

    def is_window_used(self) -> bool:
        """Tell whether the window may grow: it is the limit, or, in slow start, less than twice what was in flight."""
        if self.is_cwnd_limited:
            return True
        return self.cwnd_bytes < self.ssthresh_bytes and self.cwnd_bytes < 2 * i64(self.max_out_bytes)

    def is_paced(self) -> bool:
        """Tell whether text keeps to the pace."""
        return False

    def pace(self) -> i64:
        """Return the pace in bytes a second: congestion control's own, or what follows from window and round trip."""
        return self.pacing_rate

    def full_segment_bytes(self) -> i64:
        """Return the sender's maximum segment size (SMSS) in bytes of text."""
        return DEFAULT_MSS_BYTES

    def flight_bytes(self) -> i64:
        """Return RFC 5681's FlightSize: all that was sent and is not cumulatively acknowledged."""
        return 0


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """Decides how much may be in flight. This base class halves the window at a loss and never grows it; override.

    Each call gets what any of them may need: the flow, and the time ``now_ns``.
    """

    name: str = ""

    def for_flow(self) -> CongestionControl:
        """Return the object that serves one flow: this one, or, if there is state to keep, a new one."""
        return self

    def is_needed_from_start(self) -> bool:
        """Say whether a flow must have its own from its first segment, or only once the window holds it back."""
        return True

    def wants_samples(self) -> bool:
        """Say whether the delivery rate is to be measured, and the window is this object's alone, also in recovery."""
        return False

    def needs_ecn(self) -> bool:
        """Tell whether it needs marks: then ECN is requested, whatever ``tcp_ecn``, and ``on_feedback`` is called."""
        return False

    def start(self, flow: Flow, now_ns: i64) -> None:
        """The flow has this congestion control now; for a new connection ``cwnd_bytes`` is the initial window."""

    def on_ack(self, flow: Flow, acked_bytes: i64, now_ns: i64) -> None:
        """``acked_bytes`` of text were acknowledged, outside of fast recovery."""

    def on_sample(self, flow: Flow, sample: RateSample, now_ns: i64) -> None:
        """An acknowledgment came, in recovery too; its delivery rate was measured."""

    def ssthresh(self, flow: Flow, now_ns: i64) -> i64:
        """Return the new ``ssthresh_bytes`` after a loss was found (RFC 5681 equation 4)."""
        return max(flow.flight_bytes() // 2, 2 * flow.full_segment_bytes())

    def ssthresh_for_mark(self, flow: Flow, is_gentle: bool, now_ns: i64) -> i64:
        """Return the new ``ssthresh_bytes`` after packets were marked, not lost; once a round trip at most.

        ``is_gentle``: the stack wants marks to cost less than losses (RFC 8511), for those that know how.
        """
        return self.ssthresh(flow, now_ns)

    def on_feedback(self, flow: Flow, now_ns: i64) -> None:
        """An acknowledgment came, in recovery too; ``delivered_segments`` and ``delivered_ce`` are up to date."""

    def on_timeout(self, flow: Flow, now_ns: i64) -> None:
        """The retransmission timer ran out; the engine sets ``cwnd_bytes`` to one segment itself."""

    def on_undone(self, flow: Flow, now_ns: i64) -> None:
        """A loss was a false alarm; ``cwnd_bytes`` and ``ssthresh_bytes`` are again what they were."""

    def on_recovered(self, flow: Flow, now_ns: i64) -> None:
        """A loss was repaired."""
