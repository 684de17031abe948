"""``Info``: what ``TCP_INFO`` tells, as named fields. Names and meanings are Linux's (``struct tcp_info``), units
last.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AcceptRow", "HalfOpenRow", "Info", "Queues"]


@dataclass(frozen=True, slots=True)
class Info:
    """One connection at one instant. Times are nanoseconds, sizes bytes; counts of segments say so."""

    state: str
    ca_state: str
    """Where loss recovery stands: ``Open``, ``Disorder``, ``CWR``, ``Recovery``, ``Loss``."""
    congestion: str
    retransmits: int
    """Retransmissions of the oldest segment without an answer."""
    probes: int
    backoff: int
    options: tuple[str, ...]
    """What the handshake agreed on: ``timestamps``, ``sack``, ``wscale``, ``ecn``; ``ecn-seen`` once the peer sent an
    ECN-capable packet.
    """
    snd_wscale: int
    rcv_wscale: int
    rto_ns: int
    snd_mss_bytes: int
    rcv_mss_bytes: int
    advmss_bytes: int
    pmtu_bytes: int
    unacked_segments: int
    lost_segments: int
    total_retrans_segments: int
    bytes_retrans: int
    delivered_segments: int
    """Segments that the peer has, the SYN among them."""
    delivered_ce_segments: int
    """Of these, how many met congestion on the way, as far as it said."""
    last_data_recv_ns: int
    """Since text last came."""
    last_received_ns: int
    """Since any segment last came."""
    rtt_ns: int
    rttvar_ns: int
    min_rtt_ns: int
    snd_cwnd_bytes: int
    snd_ssthresh_bytes: int | None
    snd_wnd_bytes: int
    rcv_wnd_bytes: int
    rcv_space_bytes: int
    notsent_bytes: int
    outq_bytes: int
    """Written and not acknowledged (SIOCOUTQ)."""
    inq_bytes: int
    """Received in order and not read (SIOCINQ)."""
    out_of_order_bytes: int
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
