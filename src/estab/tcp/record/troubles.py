"""What has gone wrong on one connection so far: most connections end without any of it.

Only data is here; the lines below the fields name the files that may write them. A connection on which nothing went
wrong has no ``Troubles``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.units import NEVER

__all__ = ["NO_TROUBLES", "Troubles"]


@mypyc_attr(acyclic=True)
class Troubles:
    """Counts of what went wrong, which ``TCP_INFO`` tells until the connection ends.

    ``tcb`` says how the lines below the fields are read.
    """

    def __init__(self) -> None:
        # As the sender.
        self.timeouts: i64 = 0
        """count: all retransmission timeouts of the connection (``tcpi_total_rto``). Writers: window/silence."""
        self.rto_recoveries: i64 = 0
        """count: how often the peer was silent so long, whatever the number of timeouts. Writers: window/silence.
        """
        self.rto_since_ns: i64 = 0
        """ns, time: when the retransmission timer first ran out since the peer last acknowledged something; 0: it did
        not. Writers: window/silence.
        """
        self.rto_time_ns: i64 = 0
        """ns: how long all of these took until the peer answered. Writers: window/silence."""
        self.bytes_retransmitted: i64 = 0
        """bytes: text that was sent again (``tcpi_bytes_retrans``). Writers: recovery/scoreboard."""
        self.segments_retransmitted: i64 = 0
        """segments: sent again (``tcpi_total_retrans``). Writers: recovery/delivered, recovery/scoreboard."""
        self.shut_since_ns: i64 = 0
        """ns, time: since when text waits for the peer's window and probes go (RFC 9293 section 3.8.6.1); 0: it does
        not. Writers: window/silence.
        """
        self.peer_window_ns: i64 = 0
        """ns: spent waiting for the peer's window; as ``busy_ns``. Writers: window/chrono."""
        self.send_buffer_ns: i64 = 0
        """ns: spent with too small a send buffer; as ``busy_ns``. Writers: window/chrono."""
        self.dsack_dups: i64 = 0
        """segments: that the peer reports to have got twice (RFC 2883). Writers: recovery/scoreboard."""
        self.reord_seen: i64 = 0
        """count: acknowledgments that showed reordering. Writers: recovery/scoreboard."""
        self.error_text: str = ""
        """text: what ended the connection, for the message of its error. Writers: arriving/transitions."""
        # As the receiver.
        self.rcv_ooopack: i64 = 0
        """segments: received out of order. Writers: receiving/receive."""
        self.last_challenge_ns: i64 = -NEVER
        """ns, time: when an unacceptable segment was last acknowledged (RFC 5961 section 7). Writers: arriving/arrives.
        """


NO_TROUBLES: Final = Troubles()
"""What to read for a connection without any. Nobody writes to it."""
