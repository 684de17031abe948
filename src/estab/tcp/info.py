"""``Info``: what ``TCP_INFO`` tells, as named fields. Names and meanings are Linux's (``struct tcp_info``), units
last.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AccEcnInfo", "AcceptRow", "HalfOpenRow", "Info", "Queues"]


@dataclass(frozen=True, slots=True)
class AccEcnInfo:
    """The counters of AccECN (RFC 9768): ``received_…`` is ours, ``delivered_…`` what the peer tells of our text."""

    received_ce_segments: int
    """Packets that arrived CE-marked, acknowledgments too."""
    received_ce_bytes: int
    received_ect0_bytes: int
    received_ect1_bytes: int
    delivered_ce_bytes: int
    delivered_ect0_bytes: int
    delivered_ect1_bytes: int
    is_ect_off: bool
    """No packet is ECN-capable any more: something on the path mangles marks, or the handshake forbade it."""
    is_option_blocked: bool
    """Segments with the option don't get through, so none has it."""
    is_option_zeroed: bool
    """The peer's options are not believed, or came too late."""
    option_seen: int
    """Linux's number: 0 none came, 1 an empty one, 2 one with counters, 3 one that can't be believed."""


@dataclass(frozen=True, slots=True)
class Info:
    """One connection at one instant. Times are nanoseconds, sizes bytes, rates bytes a second; counts of segments, as
    they are on the wire, say so. docs/tcp-info.md tells Linux's field beside each.
    """

    state: str
    ca_state: str
    """Where loss recovery stands: ``Open``, ``Disorder``, ``CWR``, ``Recovery``, ``Loss``."""
    congestion: str
    """The congestion control's name (``TCP_CONGESTION``)."""
    retransmits: int
    """Timeouts in a row without an answer."""
    probes: int
    """Keepalive or window probes without an answer."""
    backoff: int
    """How often the timeout was doubled."""
    options: tuple[str, ...]
    """What the handshake agreed on: ``timestamps``, ``sack``, ``wscale``, ``ecn``; ``ecn-seen`` once the peer sent an
    ECN-capable packet; ``syn-data``: TCP Fast Open carried all text of the SYN; ``fast-open-child``: at the server.
    """
    snd_wscale: int
    rcv_wscale: int
    is_delivery_rate_app_limited: bool
    """``delivery_rate`` is of a time when the program had too little to send."""
    fast_open_fail: str
    """Why the SYN carried no text, or in vain: ``cookie unavailable``, ``data not acknowledged``,
    ``SYN retransmitted``; else empty.
    """
    rto_ns: int
    """The retransmission timeout, with its back-off."""
    ato_ns: int
    """How long an acknowledgment may be delayed; 0 until text came."""
    snd_mss_bytes: int
    """The most text of a segment, options taken off."""
    rcv_mss_bytes: int
    """What the peer's full segments seem to be."""
    advmss_bytes: int
    """What we told the peer a segment may carry, options taken off."""
    pmtu_bytes: int
    """The path's MTU, as far as it is known."""
    unacked_segments: int
    """Sent and not acknowledged."""
    sacked_segments: int
    """Of these, what the peer has out of order; without SACK, what its duplicates tell."""
    lost_segments: int
    """Of these, what is taken to be lost, sent again or not."""
    retrans_segments: int
    """Of these, what was sent again and is under way."""
    reordering_segments: int
    """How far the path is known to bring segments out of order."""
    total_retrans_segments: int
    bytes_retrans: int
    """Text that was sent again, all together."""
    bytes_sent: int
    """Text that was sent, repetitions too."""
    bytes_acked: int
    """Acknowledged by the peer, SYN and FIN too if this end sent them after it was made."""
    bytes_received: int
    """Received in order, the FIN too."""
    segs_out: int
    """Segments sent, of any kind."""
    segs_in: int
    """Segments received, of any kind."""
    data_segs_out: int
    """Of the segments sent, those with text."""
    data_segs_in: int
    """Of the segments received, those with text."""
    delivered_segments: int
    """Segments that the peer has, the SYN among them."""
    delivered_ce_segments: int
    """Of these, how many met congestion on the way, as far as it said."""
    accecn: AccEcnInfo | None
    """What AccECN counts, if both ends agreed on it."""
    dsack_dups_segments: int
    """Segments that the peer reported to have got twice."""
    reord_seen: int
    """How often an acknowledgment showed reordering."""
    rcv_ooopack_segments: int
    """Segments received out of order."""
    last_data_sent_ns: int
    """Since text was last sent."""
    last_data_recv_ns: int
    """Since text last came."""
    last_received_ns: int
    """Since any segment last came (``tcpi_last_ack_recv``)."""
    rtt_ns: int
    """Smoothed round-trip time."""
    rttvar_ns: int
    """Its mean deviation."""
    min_rtt_ns: int
    """The shortest round trip of the last five minutes (``tcp_min_rtt_wlen``)."""
    rcv_rtt_ns: int
    """The round trip as the receiving half measures it; 0 before it could."""
    snd_cwnd_bytes: int
    snd_ssthresh_bytes: int | None
    """``None`` while nothing was lost."""
    snd_wnd_bytes: int
    """The window that the peer offers."""
    rcv_wnd_bytes: int
    """The window that the last acknowledgment offered."""
    rcv_ssthresh_bytes: int
    """The largest window that the receive buffer allows."""
    rcv_space_bytes: int
    """What the program read in a round trip, by which the receive buffer grows."""
    pacing_rate: int
    """By which super-segments are sized, and to which a paced connection keeps; 0: no round trip was measured yet."""
    max_pacing_rate: int
    """SO_MAX_PACING_RATE; 0: no limit."""
    delivery_rate: int
    """At which the path delivered last."""
    busy_ns: int
    """How long there was something to send or unacknowledged."""
    rwnd_limited_ns: int
    """How much of that the peer's window held text back."""
    sndbuf_limited_ns: int
    """How much of that the send buffer was too small for the congestion window."""
    total_rto: int
    """Retransmission timeouts, those of the SYN too."""
    total_rto_recoveries: int
    """How often the peer was silent so long, whatever the number of timeouts."""
    total_rto_time_ns: int
    """How long all of these took until the peer answered."""
    notsent_bytes: int
    """Written and not sent (SIOCOUTQNSD)."""
    outq_bytes: int
    """Written and not acknowledged (SIOCOUTQ)."""
    inq_bytes: int
    """Received in order and not read (SIOCINQ)."""
    out_of_order_bytes: int
    """Received beyond a gap."""
    send_buffer_bytes: int
    receive_buffer_bytes: int
    timer: str
    """The next timer, as ``ss -o`` names them: ``on``, ``keepalive``, ``persist``, ``timewait``, or empty."""
    timer_ns: int
    """Until it runs out."""


@dataclass(frozen=True, slots=True)
class HalfOpenRow:
    """An entry of the half-open queue: a SYN came, our SYN-ACK is out, the third ACK is missing."""

    peer: str
    age_ns: int
    retransmissions: int


@dataclass(frozen=True, slots=True)
class AcceptRow:
    """An entry of the accept queue: established, waiting for ``accept()``; or, with Fast Open, half open still."""

    peer: str
    age_ns: int
    unread_bytes: int
    is_half_open: bool = False


@dataclass(frozen=True, slots=True)
class Queues:
    """A listener's two queues at one instant, with what overflowed since it listens."""

    policy: str
    backlog: int
    half_open: tuple[HalfOpenRow, ...]
    half_open_limit: int
    half_open_drops: int
    half_open_evictions: int
    accept: tuple[AcceptRow, ...]
    accept_limit: int
    accept_drops: int
    cookies_sent: int
    cookies_accepted: int
    cookies_failed: int
    fast_open_pending: int = 0
    """Connections in use before their handshake was done (TCP Fast Open), and those lately reset in that state."""
    fast_open_limit: int = 0
    """How many of those there may be; 0: the listener does not speak Fast Open."""
    fast_open_drops: int = 0
    """SYNs that were served without Fast Open because there were as many."""
