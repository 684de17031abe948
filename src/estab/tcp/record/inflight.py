"""What is remembered of text in flight: the segments sent, and, once something goes wrong, what is known of the losses.

Only data is here; the lines below the fields name the files that may write them. A connection that loses nothing has no
``Losses``.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.tcp.record.numbers import NO_SEQ
from estab.units import NEVER
from estab.wire.tcp import FIN, SYN

__all__ = ["Losses", "MtuSearch", "Run", "SentSegment"]


@mypyc_attr(acyclic=True, free_list_len=1)
class SentSegment:
    """A segment in flight: ``seq`` to ``end`` with its text, until it is acknowledged.

    Its text is a part of what the program wrote, which is kept whole as long as it is needed for that. ``tcb`` says how
    the lines below the fields are read.
    """

    def __init__(self, seq: i64, end: i64, flags: i64, data: bytes, start: i64, sent_ns: i64) -> None:
        self.seq = seq
        """seq: its first octet that is not acknowledged. Writers: recovery/scoreboard."""
        self.end = end
        """seq: the one after its last; SYN and FIN count. Writers: recovery/scoreboard."""
        self.flags = flags
        """bits: of the header, as sent. Writers: recovery/scoreboard."""
        self.data = data
        """octets: what holds its text. Writers: none."""
        self.start = start
        """count: octets of ``data`` before its text. Writers: recovery/scoreboard."""
        self.sent_ns = sent_ns
        """ns, time: when it was last sent; ``order`` tells equal times apart. Writers: recovery/scoreboard."""
        self.order: i64 = 0
        """number: of its last transmission, among those of the connection. Writers: recovery/scoreboard."""
        self.transmissions: i64 = 1
        """count: how often it was sent. Writers: recovery/scoreboard."""
        self.is_sacked: bool = False
        """yes or no: the peer has it, and something before it is missing. Writers: recovery/scoreboard."""
        self.is_lost: bool = False
        """yes or no: taken to be lost and not sent again yet. Writers: recovery/scoreboard."""
        self.is_marked: bool = False
        """yes or no: taken to be lost, and that neither taken back nor repaired yet: sent again, it stays so. Writers:
        recovery/scoreboard.
        """
        # For the delivery rate, if it is measured: how things stood when the segment was sent.
        self.is_app_limited: bool = False
        """yes or no: the program had no more to send then. Writers: record/sample, recovery/scoreboard."""
        self.delivered_bytes: i64 = 0
        """bytes: what was delivered until then. Writers: record/sample, recovery/scoreboard."""
        self.delivered_ns: i64 = 0
        """ns, time: when something was last delivered. Writers: record/sample, recovery/scoreboard."""
        self.first_sent_ns: i64 = 0
        """ns, time: when the flight began that it belongs to. Writers: record/sample, recovery/scoreboard."""

    def text_bytes(self) -> i64:
        """Count the octets of its text, which stands in ``data`` from ``start`` on."""
        return self.end - self.seq - (self.flags & FIN) - ((self.flags & SYN) >> 1)


@mypyc_attr(acyclic=True)
class Run:
    """A run of SACKed segments without a gap. ``tcb`` says how the lines below the fields are read."""

    def __init__(self, left: i64, right: i64) -> None:
        self.left = left
        """seq: its first octet. Writers: recovery/scoreboard."""
        self.right = right
        """seq: the one after its last. Writers: recovery/scoreboard."""


class Losses:
    """What one connection knows of its losses. Made at the first sign of one, released when none is left.

    ``tcb`` says how the lines below the fields are read.
    """

    def __init__(self, snd_una: i64) -> None:
        # The scoreboard (RFC 2018).
        self.runs: list[Run] = []
        """record: what is SACKed, in order and apart, cut to whole segments: never more runs than segments in flight.
        Writers: none.
        """
        self.sacked_bytes: i64 = 0
        """bytes: in flight and SACKed. Writers: recovery/scoreboard."""
        self.sacked_count: i64 = 0
        """segments: the same. Writers: recovery/scoreboard."""
        self.lost_seq: i64 = snd_una
        """seq: no segment that begins below this is lost: where to look for the next one to send again. Writers:
        recovery/scoreboard.
        """
        self.has_marks: bool = False
        """yes or no: some segment in flight may be marked as lost. Writers: recovery/scoreboard."""
        self.lost_bytes: i64 = 0
        """bytes: all that was ever taken to be lost. Writers: recovery/scoreboard."""
        # RACK (RFC 8985 section 5).
        self.once_seq: i64 = snd_una
        """seq: each segment below this is SACKed, lost or sent again: where to look for losses among those sent once.
        Writers: recovery/rack, recovery/scoreboard.
        """
        self.resent: list[SentSegment] = []
        """record: segments sent again, in order of their latest transmission; some are acknowledged by now. Writers:
        recovery/recovery.
        """
        self.resent_head: i64 = 0
        """count: places at the start of ``resent`` that are done with. Writers: recovery/rack, recovery/recovery."""
        self.rack_order: i64 = -1
        """number: the latest-sent transmission that arrived (RACK.xmit_ts), -1 for none. Writers: recovery/scoreboard.
        """
        self.rack_end: i64 = 0
        """seq: the end of the same (RACK.end_seq). Writers: recovery/scoreboard."""
        self.rack_rtt_ns: i64 = 0
        """ns: its round trip (RACK.rtt). Writers: recovery/scoreboard."""
        self.fack: i64 = snd_una
        """seq: the highest number known to have arrived (RACK.fack). Writers: recovery/scoreboard."""
        self.fack_before: i64 = snd_una
        """seq: the same before the acknowledgment at hand. Writers: recovery/recovery."""
        self.late_seq: i64 = NEVER
        """seq: the lowest original that the acknowledgment at hand brings and that others had overtaken. Writers:
        recovery/scoreboard.
        """
        self.is_reordering_seen: bool = False
        """yes or no: the path has brought segments out of order (RACK.reordering_seen). Writers: recovery/scoreboard.
        """
        self.window_multiplier: i64 = 1
        """count: quarters of the round trip that a segment may be late (RACK.reo_wnd_mult). Writers: recovery/rack."""
        self.window_persist: i64 = 0
        """count: recoveries for which the multiplier stays (RACK.reo_wnd_persist). Writers: recovery/rack."""
        self.dsack_round: i64 = NO_SEQ
        """seq: SND.NXT when a DSACK last raised the multiplier (RACK.dsack_round). Writers: recovery/rack."""
        # Tail loss probe (RFC 8985 section 7).
        self.is_probe_due: bool = False
        """yes or no: a tail loss probe must go now. Writers: recovery/rack, recovery/recovery, sending/output."""
        self.probe_end: i64 = NO_SEQ
        """seq: SND.NXT when the probe was sent, until the episode ends (TLP.end_seq). Writers: recovery/rack,
        recovery/recovery, sending/output.
        """
        self.is_probe_repeat: bool = False
        """yes or no: the probe carried old text (TLP.is_retrans). Writers: sending/output."""
        # Proportional rate reduction (RFC 9937).
        self.prr_delivered_bytes: i64 = 0
        """bytes: delivered since recovery began (prr_delivered). Writers: recovery/prr."""
        self.prr_out_bytes: i64 = 0
        """bytes: sent since recovery began (prr_out). Writers: recovery/prr, recovery/scoreboard, sending/plan."""
        self.flight_bytes: i64 = 0
        """bytes: in flight when recovery began (RecoverFS). Writers: recovery/prr."""
        # Undoing a false alarm.
        self.undo_seq: i64 = NO_SEQ
        """seq: SND.UNA when the episode began, while it can be undone. Writers: recovery/undo."""
        self.undo_repeats: i64 = -1
        """count: retransmissions since then for which no DSACK came; -1 while there are none. Writers:
        recovery/scoreboard, recovery/undo.
        """
        self.undo_until: i64 = 0
        """seq: SND.NXT when recovery ended: once that is acknowledged no DSACK will come any more. Writers:
        recovery/recovery.
        """
        self.repeated_ns: i64 = 0
        """ns, time: when the first retransmission was sent of all that may still be under way. Writers:
        recovery/scoreboard, recovery/undo.
        """
        self.repeated_end: i64 = 0
        """seq: all of these lie below. Writers: recovery/scoreboard."""
        self.prior_cwnd_bytes: i64 = 0
        """bytes: cwnd before the episode (RFC 4015 section 3.2). Writers: recovery/undo."""
        self.prior_ssthresh_bytes: i64 = 0
        """bytes: ssthresh before the episode. Writers: recovery/undo."""
        self.is_frto: bool = False
        """yes or no: F-RTO watches the answers to a timeout (RFC 5682). Writers: recovery/undo, sending/output."""
        self.is_holding_back: bool = False
        """yes or no: F-RTO sends new text first. Writers: recovery/undo, sending/output."""
        # What the latest acknowledgment told.
        self.has_original_arrived: bool = False
        """yes or no: it covers text from before the episode that was never sent again. Writers: recovery/recovery,
        recovery/scoreboard.
        """
        self.dsack_left: i64 = NO_SEQ
        """seq: left edge of the duplicate that it reports (RFC 2883). Writers: recovery/recovery, recovery/scoreboard.
        """
        self.dsack_right: i64 = NO_SEQ
        """seq: right edge of the same. Writers: recovery/scoreboard."""
        self.sacked_rtt_ns: i64 = -1
        """ns: the round trip of a segment that it SACKed and that was sent once, -1 for none. Writers:
        recovery/recovery, recovery/scoreboard.
        """


@mypyc_attr(acyclic=True)
class MtuSearch:
    """A search for the path's MTU by probes: packets of ``low`` bytes get through, those above ``high`` don't."""

    def __init__(self, low: i64, high: i64, now_ns: i64) -> None:
        self.low = low
        """bytes: the largest packet that is known to get through. Writers: recovery/mtu_search."""
        self.high = high
        """bytes: the largest packet that may get through. Writers: recovery/mtu_search."""
        self.since_ns = now_ns
        """ns, time: when the search began. Writers: recovery/mtu_search."""
        self.probe_mtu: i64 = 0
        """bytes: size of the packet that is under way as a probe, 0 for none. Writers: recovery/mtu_search,
        recovery/scoreboard.
        """
        self.probe_start: i64 = 0
        """seq: where its text begins. Writers: recovery/mtu_search."""
        self.probe_end: i64 = 0
        """seq: where its text ends. Writers: recovery/mtu_search."""
