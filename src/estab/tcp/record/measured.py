"""What is kept of a connection once text flows, of places in the text, and of how the round trip varies.

Only data is here; the lines below the fields name the files that may write them. A connection that has neither sent nor
received text has no ``Traffic``, one without urgent or repeated text, or a FIN out of order, no ``Marks``, and one
whose round trip has not grown since its minimum no ``LaterMinima``.
"""

from __future__ import annotations

from mypy_extensions import i32, i64, mypyc_attr, u8

from estab.tcp.record.numbers import NO_SEQ

__all__ = ["LaterMinima", "Marks", "Traffic"]


@mypyc_attr(acyclic=True, free_list_len=1)
class Traffic:
    """How text was sent and read: made with the first text of either direction.

    ``snd_nxt`` and ``copied_seq``: where sending and reading begin. ``sent_ns`` and ``text_ns``: when the connection
    was established. ``tcb`` says how the lines below the fields are read.
    """

    def __init__(self, snd_nxt: i64, sent_ns: i64, copied_seq: i64, text_ns: i64) -> None:
        # What the sender's time is spent on.
        self.busy_ns: i64 = 0
        """ns: spent with something to send; while ``chrono`` counts it, less the time since when. Writers:
        window/chrono.
        """
        # Whether the congestion window is used (RFC 7661).
        self.usage_seq: i64 = snd_nxt
        """seq: SND.NXT when ``max_out_bytes`` and ``is_cwnd_limited`` were noted; they hold until it is acknowledged.
        Writers: recovery/cwnd.
        """
        self.used_ns: i64 = sent_ns
        """ns, time: when the window was last used up. Writers: recovery/cwnd."""
        # Which text was pushed, or small.
        self.pushed_seq: i64 = snd_nxt
        """seq: end of the last text that was written with PSH (RFC 9293 section 3.9.1.2). Writers: sending/plan,
        sending/writing.
        """
        self.snd_sml: i64 = 0
        """seq: end of the last small segment sent (Minshall's variant of Nagle's rule, RFC 9293 section 3.7.4).
        Writers: sending/plan.
        """
        # What was measured of the delivery rate, while nothing is in flight.
        self.reported_rate: i64 = 0
        """bytes a second: ``rate.reported_rate``. Writers: record/tcb."""
        # How fast the program reads, for the size of the receive buffer.
        self.tune_seq: i64 = copied_seq
        """seq: ``copied_seq`` when the measurement began. Writers: receiving/rightsizing."""
        self.tune_ns: i64 = text_ns
        """ns, time: when the measurement began. Writers: receiving/rightsizing."""
        self.rcv_rtt_ns: i64 = 0
        """ns: the round trip as a receiver sees it: by echoed timestamps (RFC 7323 section 4), or by how long a window
        takes to arrive. Writers: receiving/rightsizing.
        """
        self.rcv_rtt_seq: i64 = 0
        """seq: the end of the window whose arrival is timed. Writers: receiving/rightsizing."""
        self.rcv_rtt_since_ns: i64 = 0
        """ns, time: since when it is timed. Writers: receiving/rightsizing."""
        self.rcv_rtt_echo: i64 = -1
        """ticks: the echoed timestamp that was measured last, -1 for none. Writers: receiving/rightsizing."""
        # Small ones.
        self.used_bytes: i32 = 0
        """bytes: the most that was in flight since the window was last used up. Writers: recovery/cwnd."""
        self.chrono: u8 = 0
        """number: what time is spent on, as ``window/chrono`` numbers it. Writers: window/chrono."""
        self.is_rated: bool = False
        """yes or no: the delivery rate was measured, and will be when something is sent again. Writers: record/tcb."""
        self.is_reported_limited: bool = True
        """yes or no: ``rate.is_reported_limited``. Writers: record/tcb."""


@mypyc_attr(acyclic=True, free_list_len=1)
class Marks:
    """Places in the text where something is that is not there always. ``tcb`` says how the lines below the fields are
    read.
    """

    def __init__(self) -> None:
        # In what is sent.
        self.snd_up: i64 = NO_SEQ
        """seq: after our urgent byte (SND.UP), until it is acknowledged. Writers: arriving/arrives, connection."""
        # In what comes.
        self.urgent_seq: i64 = NO_SEQ
        """seq: place of the peer's urgent byte, until it is read past (RFC 6093). Writers: receiving/receive."""
        self.has_urgent_byte: bool = False
        """yes or no: the segment with that byte came, perhaps out of order. Writers: receiving/receive."""
        self.peer_fin_seq: i64 = NO_SEQ
        """seq: where the peer's FIN stands, if it came out of order. Writers: receiving/receive."""
        self.dsack_left: i64 = NO_SEQ
        """seq: left edge of text that came twice, to be reported (RFC 2883). Writers: receiving/acknowledging."""
        self.dsack_right: i64 = NO_SEQ
        """seq: right edge of the same. Writers: receiving/acknowledging."""


@mypyc_attr(acyclic=True)
class LaterMinima:
    """The least round trips measured after the least of all, for when that is too old. ``tcb`` says how the lines below
    the fields are read.

    Made when a round trip was longer than the least; until then that one counts for all three.
    """

    def __init__(self, rtt_ns: i64, at_ns: i64) -> None:
        self.second_rtt_ns: i64 = rtt_ns
        """ns: the least round trip measured after the least of all. Writers: window/rtt."""
        self.second_rtt_at_ns: i64 = at_ns
        """ns, time: when ``second_rtt_ns`` was measured. Writers: window/rtt."""
        self.third_rtt_ns: i64 = rtt_ns
        """ns: the least round trip measured after the second. Writers: window/rtt."""
        self.third_rtt_at_ns: i64 = at_ns
        """ns, time: when ``third_rtt_ns`` was measured. Writers: window/rtt."""
