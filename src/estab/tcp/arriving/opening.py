"""What an opening settles, whoever began it: options, segment size, and where an established connection starts."""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery import mtu_search
from estab.tcp.window.room import expand_send_buffer
from estab.tcp.window.windows import initial_cwnd
from estab.units import SECOND
from estab.wire.tcp import Segment

__all__ = ["agree_options", "begin_transfer", "count_established", "establish"]


def agree_options(tcb: Tcb, segment: Segment, wants_timestamps: bool) -> None:
    """Take the peer's SYN options: what both sides offered is on (RFC 7323 section 1.3, RFC 2018 section 2)."""
    config = tcb.context.config
    is_v6 = len(tcb.remote) == 16
    # RFC 9293 MUST-15: without the option the peer takes 536 octets, 1220 over IPv6.
    peer_mss: i64 = segment.mss if segment.mss > 0 else (1220 if is_v6 else 536)
    tcb.peer_mss = max(peer_mss, config.tcp_min_snd_mss)
    tcb.has_sack = config.tcp_sack and segment.sack_permitted
    tcb.has_timestamps = wants_timestamps and segment.has_timestamps
    if tcb.has_timestamps:
        tcb.ts_recent = segment.ts_val
        tcb.ts_recent_ns = tcb.context.now_ns
    tcb.has_wscale = config.tcp_window_scaling and segment.wscale >= 0
    if tcb.has_wscale:
        tcb.snd_wscale = min(segment.wscale, 14)  # RFC 7323 section 2.3
    else:
        tcb.snd_wscale = 0
        tcb.rcv_wscale = 0
    mtu_search.update_mss(tcb)


def establish(tcb: Tcb, now_ns: i64) -> None:
    """The handshake is done: text may flow, and the connection counts."""
    begin_transfer(tcb, now_ns)
    count_established(tcb, now_ns)


def begin_transfer(tcb: Tcb, now_ns: i64) -> None:
    """Set the first congestion window (RFC 6928; one segment where the SYN was lost), timeout and buffers."""
    config = tcb.context.config
    if config.tcp_mtu_probing >= 2:
        mtu_search.begin(tcb, now_ns)
        if not tcb.is_passive:
            mtu_search.update_mss(tcb)  # who accepts starts from the path's MTU, as on Linux
    mss = tcb.snd_mss()
    window = initial_cwnd(tcb)
    if tcb.segments_retransmitted > 1 or (tcb.ecn is not None and tcb.ecn.is_handshake_marked):
        window = mss
    tcb.cwnd_bytes = window
    if tcb.srtt_ns == 0 and (tcb.backoff > 0 or tcb.timeouts > 0):
        # RFC 6298 rule 5.7: the SYN's timeout was too short or its answer lost; begin again with three seconds.
        tcb.rto_ns = max(tcb.rto_ns, 3 * SECOND)
        tcb.backoff = 0
    tcb.ca_state = 0
    tcb.pushed_seq = tcb.snd_nxt
    tcb.usage_seq = tcb.snd_nxt
    tcb.used_ns = now_ns
    expand_send_buffer(tcb)
    tcb.tune_ns = now_ns
    tcb.tune_space_bytes = min(config.tcp_initial_cwnd * mss, tcb.receive_buffer_bytes // 4)  # half of the first window
    tcb.last_received_ns = now_ns
    tcb.last_text_ns = now_ns  # "since text last came" counts from here
    tcb.last_sent_ns = now_ns
    if tcb.congestion.is_needed_from_start():
        tcb.control(now_ns)


def count_established(tcb: Tcb, now_ns: i64) -> None:
    """Count the connection in CurrEstab, and start its keepalive."""
    tcb.context.counters.TcpCurrEstab += 1
    tcb.is_counted = True
    if tcb.keepalive:
        tcb.keepalive_ns = now_ns + tcb.keep_idle_ns
    tcb.context.wake(tcb.owner)
