"""What is measured of a connection once text flows: how it is sent, how it is read, and how the round trip varies.

Only data is here; the lines below the fields name the files that may write them. A connection that has sent no text has
no ``Usage``, one that has received none no ``Tuning``, and one whose round trip has not grown since its minimum no
``LaterMinima``.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

__all__ = ["LaterMinima", "Tuning", "Usage"]


@mypyc_attr(acyclic=True)
class Usage:
    """What a sender's time is spent on, and whether it uses the congestion window. Made with the first text.

    ``snd_nxt`` and ``since_ns``: the number of that text, and when the connection was established. ``tcb`` says how the
    lines below the fields are read.
    """

    def __init__(self, snd_nxt: i64, since_ns: i64) -> None:
        self.chrono: i64 = 0
        """number: what the time since ``chrono_ns`` is spent on, as ``window/chrono`` numbers it. Writers:
        window/chrono.
        """
        self.chrono_ns: i64 = 0
        """ns, time: since when. Writers: window/chrono."""
        self.busy_ns: i64 = 0
        """ns: spent with something to send, before ``chrono_ns``. Writers: window/chrono."""
        self.peer_window_ns: i64 = 0
        """ns: spent waiting for the peer's window, before ``chrono_ns``. Writers: window/chrono."""
        self.send_buffer_ns: i64 = 0
        """ns: spent with too small a send buffer, before ``chrono_ns``. Writers: window/chrono."""
        # Whether the congestion window is used (RFC 7661).
        self.usage_seq: i64 = snd_nxt
        """seq: SND.NXT when ``max_out_bytes`` and ``is_cwnd_limited`` were noted; they hold until it is acknowledged.
        Writers: recovery/cwnd.
        """
        self.used_bytes: i64 = 0
        """bytes: the most that was in flight since the window was last used up. Writers: recovery/cwnd."""
        self.used_ns: i64 = since_ns
        """ns, time: when the window was last used up. Writers: recovery/cwnd."""


@mypyc_attr(acyclic=True)
class Tuning:
    """How fast the program reads, for the size of the receive buffer. Made with the first text that comes.

    ``copied_seq`` and ``since_ns``: where reading begins, and when the connection was established. ``tcb`` says how the
    lines below the fields are read.
    """

    def __init__(self, copied_seq: i64, since_ns: i64) -> None:
        self.tune_seq: i64 = copied_seq
        """seq: ``copied_seq`` when the measurement began. Writers: receiving/rightsizing."""
        self.tune_ns: i64 = since_ns
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
