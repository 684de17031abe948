"""What is remembered of text in flight: the segments sent, and, once something goes wrong, what is known of the losses.

Only data lives here. ``scoreboard``, ``rack``, ``prr``, ``undo`` and ``recovery`` change it. A connection that loses
nothing has no ``Losses``.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.tcp.record.numbers import NO_SEQ
from estab.units import NEVER

__all__ = ["Losses", "MtuSearch", "Run", "SentSegment"]


@mypyc_attr(acyclic=True, free_list_len=1)
class SentSegment:
    """A segment in flight: ``seq`` to ``end`` with its text, until it is acknowledged."""

    def __init__(self, seq: i64, end: i64, flags: i64, data: bytes, sent_ns: i64) -> None:
        self.seq = seq
        self.end = end
        self.flags = flags
        self.data = data
        self.sent_ns = sent_ns
        """When it was last sent; ``order`` numbers the transmissions of a connection, as instants may be equal."""
        self.order: i64 = 0
        self.transmissions: i64 = 1
        self.is_sacked: bool = False
        self.is_lost: bool = False
        """Taken to be lost and not sent again yet."""
        self.is_marked: bool = False
        """Taken to be lost, and that neither taken back nor repaired yet: sent again, it stays so."""
        # For the delivery rate, if it is measured: how things stood when the segment was sent.
        self.is_app_limited: bool = False
        self.delivered_bytes: i64 = 0
        self.delivered_ns: i64 = 0
        self.first_sent_ns: i64 = 0


@mypyc_attr(acyclic=True)
class Run:
    """A run of SACKed segments without a gap, ``left`` to ``right``."""

    def __init__(self, left: i64, right: i64) -> None:
        self.left = left
        self.right = right


class Losses:
    """What one connection knows of its losses. Made at the first sign of one, released when none is left."""

    def __init__(self, snd_una: i64) -> None:
        # The scoreboard (RFC 2018).
        self.runs: list[Run] = []
        """What is SACKed, in order and apart, cut to whole segments: never more runs than segments in flight."""
        self.sacked_bytes: i64 = 0
        self.sacked_count: i64 = 0
        self.lost_seq: i64 = snd_una
        """No segment that begins below this is lost: where to look for the next one to send again."""
        self.has_marks: bool = False
        """Some segment in flight may be marked as lost."""
        self.lost_bytes: i64 = 0
        """All that was ever taken to be lost."""
        # RACK (RFC 8985 section 5).
        self.once_seq: i64 = snd_una
        """Each segment below this is SACKed, lost or sent again: where to look for losses among those sent once."""
        self.resent: list[SentSegment] = []
        """Segments sent again, in order of their latest transmission; some are acknowledged by now."""
        self.resent_head: i64 = 0
        self.rack_order: i64 = -1
        """The number of the latest-sent transmission that arrived, and where it ends: RACK.xmit_ts and RACK.end_seq."""
        self.rack_end: i64 = 0
        self.rack_rtt_ns: i64 = 0
        self.fack: i64 = snd_una
        """The highest number known to have arrived; ``fack_before``: before the acknowledgment at hand."""
        self.fack_before: i64 = snd_una
        self.late_seq: i64 = NEVER
        """The lowest original that the acknowledgment at hand brings and that others had overtaken."""
        self.is_reordering_seen: bool = False
        self.window_multiplier: i64 = 1
        """RACK.reo_wnd_mult: quarters of the round trip that a segment may be late."""
        self.window_persist: i64 = 0
        self.dsack_round: i64 = NO_SEQ
        # Tail loss probe (RFC 8985 section 7).
        self.is_probe_due: bool = False
        self.probe_end: i64 = NO_SEQ
        """TLP.end_seq: SND.NXT when the probe was sent, until the episode ends."""
        self.is_probe_repeat: bool = False
        """TLP.is_retrans: the probe carried old text."""
        # Proportional rate reduction (RFC 9937).
        self.prr_delivered_bytes: i64 = 0
        self.prr_out_bytes: i64 = 0
        self.flight_bytes: i64 = 0
        """RecoverFS: what was in flight when recovery began."""
        # Taking back a false alarm.
        self.undo_seq: i64 = NO_SEQ
        """SND.UNA when the episode began, while it can be taken back."""
        self.undo_repeats: i64 = -1
        """Retransmissions since that no DSACK was seen for; -1 while there are none."""
        self.undo_until: i64 = 0
        """SND.NXT when recovery ended: once that is acknowledged no DSACK will come any more."""
        self.repeated_ns: i64 = 0
        """When the first retransmission went of all that may still be under way; they lie below ``repeated_end``."""
        self.repeated_end: i64 = 0
        self.prior_cwnd_bytes: i64 = 0
        self.prior_ssthresh_bytes: i64 = 0
        self.is_frto: bool = False
        """F-RTO watches the answers to a timeout."""
        self.is_holding_back: bool = False
        """F-RTO sends new text first."""
        # What the latest acknowledgment told.
        self.has_original_arrived: bool = False
        """Text from before the episode that was never sent again."""
        self.dsack_left: i64 = NO_SEQ
        self.dsack_right: i64 = NO_SEQ
        self.sacked_rtt_ns: i64 = -1
        """The round trip of a segment that it SACKed and that was sent once, -1 for none."""


@mypyc_attr(acyclic=True)
class MtuSearch:
    """A search for the path's MTU by probes: packets of ``low`` bytes get through, those above ``high`` don't."""

    def __init__(self, low: i64, high: i64, now_ns: i64) -> None:
        self.low = low
        self.high = high
        self.since_ns = now_ns
        """When the search began."""
        self.probe_mtu: i64 = 0
        """Size of the packet that is under way as a probe, 0 for none; its text is ``probe_start`` to ``probe_end``."""
        self.probe_start: i64 = 0
        self.probe_end: i64 = 0
