"""What active and passive opens settle: options, segment size, and the first values of an established connection."""

from __future__ import annotations

from mypy_extensions import i64, u8

from estab.tcp.receiving import receive
from estab.tcp.record.numbers import default_mss_bytes
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.timer_table import TIMER_KEEPALIVE
from estab.tcp.record.troubles import NO_TROUBLES
from estab.tcp.recovery import cwnd, mtu_search, recovery
from estab.tcp.window import rtt, timestamps
from estab.tcp.window.room import expand_send_buffer, fix_send_buffer
from estab.wire.tcp import Segment

__all__ = ["agree_options", "begin_transfer", "count_established", "establish"]


def agree_options(tcb: Tcb, segment: Segment, wants_timestamps: bool) -> None:
    """Take the peer's SYN options: what both sides offered is on (RFC 7323 section 1.3, RFC 2018 section 2)."""
    config = tcb.context.config
    peer_mss: i64 = segment.mss if segment.mss > 0 else default_mss_bytes(tcb.remote)  # RFC 9293 MUST-15
    mtu_search.take_peer_mss(tcb, peer_mss)
    tcb.has_sack = config.tcp_sack and segment.sack_permitted
    tcb.has_timestamps = wants_timestamps and segment.has_timestamps
    if tcb.has_timestamps:
        timestamps.begin(tcb, segment.ts_val, tcb.context.now_ns)
    tcb.has_wscale = config.tcp_window_scaling and segment.wscale >= 0
    if tcb.has_wscale:
        tcb.snd_wscale = u8(min(segment.wscale, 14))  # RFC 7323 section 2.3
    else:
        tcb.snd_wscale = 0
        receive.set_scale(tcb, 0)
    mtu_search.update_mss(tcb)
    if config.tcp_round_buffers:
        _round_buffers(tcb, tcb.mss_base)


def establish(tcb: Tcb, now_ns: i64) -> None:
    """The handshake is done: text may flow, and the connection counts."""
    begin_transfer(tcb, now_ns)
    count_established(tcb, now_ns)


def begin_transfer(tcb: Tcb, now_ns: i64) -> None:
    """Set the first congestion window (RFC 6928; one segment if the SYN was lost), timeout and buffers."""
    config = tcb.context.config
    if config.tcp_mtu_probing >= 2:
        mtu_search.begin(tcb, now_ns)
        if not tcb.is_passive:
            mtu_search.update_mss(tcb)  # a passive open starts from the path's MTU, as on Linux
    mss = tcb.snd_mss()
    window = cwnd.initial_cwnd(tcb)
    troubles = NO_TROUBLES if tcb.troubles is None else tcb.troubles
    if troubles.segments_retransmitted > 1 or (tcb.ecn is not None and tcb.ecn.is_handshake_marked):
        window = mss
    cwnd.begin(tcb, window, now_ns)
    if tcb.srtt_ns == 0 and (tcb.backoff > 0 or troubles.timeouts > 0):
        rtt.begin_again(tcb)
    recovery.begin(tcb)
    expand_send_buffer(tcb)
    receive.begin_transfer(tcb, config.tcp_initial_cwnd * mss, now_ns)
    tcb.last_sent_ns = now_ns
    if tcb.congestion.is_needed_from_start():
        tcb.control(now_ns)


def _round_buffers(tcb: Tcb, mss: i64) -> None:
    """Let both buffers hold whole segments, as FreeBSD's ``tcp_mss``. Half of each is text."""
    receive.fix_buffer(tcb, (tcb.receive_buffer_bytes // 2 + mss - 1) // mss * mss * 2)
    fix_send_buffer(tcb, (tcb.send_buffer_bytes // 2 + mss - 1) // mss * mss * 2)


def count_established(tcb: Tcb, now_ns: i64) -> None:
    """Count the connection in CurrEstab, and start its keepalive."""
    tcb.context.counters.TcpCurrEstab += 1
    tcb.is_counted = True
    if tcb.options.keepalive:
        tcb.arm(TIMER_KEEPALIVE, now_ns + tcb.options.keep_idle_ns)
    tcb.context.wake(tcb.owner)
