"""Packetization-layer path MTU discovery (RFC 4821, RFC 8899), as Linux's ``tcp_mtu_probing``.

Routers report the path's MTU by ICMP. If they don't, large segments vanish and small ones get through: a
black hole. Setting 1: a connection whose segments time out again and again goes down to ``tcp_base_mss``, then to half
of it and so on, and from there searches for what gets through. Setting 2: every connection searches, from its start.

A probe is one segment of new text, larger than the others: half way between the largest packet that is known to get
through and the smallest that does not. Its loss says nothing of congestion. It is only sent if a loss would be
noticed and repaired fast: nothing is amiss, the window is wide enough, and enough text follows.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from estab.abi import IP_PMTUDISC_PROBE
from estab.tcp.record.inflight import MtuSearch
from estab.tcp.record.tcb import CA_OPEN, NO_SEQ, Tcb
from estab.tcp.recovery.scoreboard import ask_fast_retransmit, lose, losses_of
from estab.wire.seq import wrap
from estab.wire.tcp import Segment

__all__ = [
    "WAIT", "begin", "is_probe", "note_sent", "on_acknowledged", "on_timeout", "probe_bytes", "start_with",
    "take_failure", "take_peer_mss", "update_mss",
]

WAIT: Final = 0
"""A probe is worth waiting for: nothing else is to be sent now."""
_NONE: Final = -1
_CWND_SEGMENTS_MIN: Final = 11


def take_peer_mss(tcb: Tcb, mss: i64) -> None:
    """Take the MSS that the peer named, but never less than ``tcp_min_snd_mss``."""
    tcb.peer_mss = i32(max(mss, tcb.context.config.tcp_min_snd_mss))


def start_with(tcb: Tcb, mss: i64) -> None:
    """Before the peer names one: the MSS that it named last time (Fast Open)."""
    take_peer_mss(tcb, mss)
    tcb.mss_base = i64(tcb.peer_mss)


def update_mss(tcb: Tcb) -> None:
    """Set the largest segment from the peer's MSS, the path's MTU (RFC 9293 MUST-16), and what the search knows."""
    paths = tcb.context.paths
    mtu = paths.mtu_of(tcb.remote)
    if tcb.options.pmtu_discover >= IP_PMTUDISC_PROBE:
        mtu = paths.link_mtu_of(tcb.remote)  # the program wants to find out itself, or distrusts reports
    headers = _headers(tcb)
    mss = min(i64(tcb.peer_mss), mtu - headers)
    if tcb.options.user_mss > 0:
        mss = min(mss, tcb.options.user_mss)
    search = tcb.mtu_search
    if search is not None:
        search.high = min(search.high, mtu)
        mss = min(mss, search.low - headers)
    # No less than ``tcp_min_snd_mss``, but never more than the first link carries.
    tcb.mss_base = max(mss, min(tcb.context.config.tcp_min_snd_mss, paths.link_mtu_of(tcb.remote) - headers))
    tcb.gso_bytes = i32(paths.segment_bytes_max(tcb.remote))


def begin(tcb: Tcb, now_ns: i64) -> None:
    """Begin to search: ``tcp_base_mss`` is taken to get through."""
    headers = _headers(tcb)
    tcb.mtu_search = MtuSearch(tcb.context.config.tcp_base_mss + headers, i64(tcb.peer_mss) + headers, now_ns)


def on_timeout(tcb: Tcb, now_ns: i64) -> None:
    """Segments time out again and again: believe in a black hole, and take smaller ones (Linux's tcp_mtu_probing)."""
    config = tcb.context.config
    if config.tcp_mtu_probing == 0:
        return
    search = tcb.mtu_search
    if search is None:
        begin(tcb, now_ns)
    else:
        headers = _headers(tcb)
        mss = min(config.tcp_base_mss, (search.low - headers) // 2)
        search.low = max(mss, config.tcp_mtu_probe_floor, config.tcp_min_snd_mss) + headers
    update_mss(tcb)


def probe_bytes(tcb: Tcb, search: MtuSearch, waiting: i64, now_ns: i64) -> i64:
    """Say how much text a probe would carry now: more than 0; ``WAIT`` for room for it; -1 for no probe."""
    if search.probe_mtu > 0 or tcb.ca_state != CA_OPEN or tcb.out_of_order is not None or tcb.dsack_left != NO_SEQ:
        return _NONE
    mss = tcb.snd_mss()
    if tcb.cwnd_bytes < _CWND_SEGMENTS_MIN * mss:
        return _NONE
    # A probe is not larger than what the first link carries, which may have changed.
    high = min(search.high, tcb.context.paths.mtu_of(tcb.remote))
    size = (high + search.low) // 2 - _headers(tcb) - (tcb.mss_base - mss)
    if high - search.low < tcb.context.config.tcp_probe_threshold:
        _search_again(tcb, search, now_ns)
        return _NONE
    needed = size + (i64(tcb.reordering) + 1) * mss  # so much must follow that its loss shows
    if size <= mss or waiting < needed or tcb.snd_wnd < needed:
        return _NONE
    if tcb.snd_nxt + needed > tcb.snd_una + tcb.snd_wnd:
        return WAIT
    if tcb.pipe_bytes + 2 * mss > tcb.cwnd_bytes:
        return WAIT if tcb.pipe_bytes > 0 else _NONE
    return size


def note_sent(tcb: Tcb, search: MtuSearch, size: i64) -> None:
    """A probe of ``size`` bytes of text is the next segment."""
    search.probe_mtu = size + _headers(tcb) + (tcb.mss_base - tcb.snd_mss())
    search.probe_start = tcb.snd_nxt
    search.probe_end = tcb.snd_nxt + size


def is_probe(tcb: Tcb, segment: Segment) -> bool:
    """Tell whether a segment that is larger than others is the probe, which must not be cut."""
    search = tcb.mtu_search
    if search is None or search.probe_mtu == 0:
        return False
    length = segment.end - segment.start
    return segment.seq == wrap(search.probe_start) and length == search.probe_end - search.probe_start


def _search_again(tcb: Tcb, search: MtuSearch, now_ns: i64) -> None:
    """The search is exact enough: after ``tcp_probe_interval`` check whether the path's MTU has grown."""
    if now_ns - search.since_ns < tcb.context.config.tcp_probe_interval_ns:
        return
    headers = _headers(tcb)
    search.high = min(i64(tcb.peer_mss) + headers, tcb.context.paths.mtu_of(tcb.remote))
    search.low = tcb.mss_base + headers
    search.since_ns = now_ns


def on_acknowledged(tcb: Tcb, search: MtuSearch) -> None:
    """SND.UNA moved: if that covers the probe, so much gets through from now on."""
    if search.probe_mtu == 0 or tcb.snd_una < search.probe_end:
        return
    search.low = search.probe_mtu
    search.probe_mtu = 0
    tcb.context.counters.TcpExtTCPMTUPSuccess += 1
    update_mss(tcb)


def take_failure(tcb: Tcb, search: MtuSearch) -> bool:
    """A loss was found: tell whether it is the probe's. Then it is repaired, and the window stays as it is."""
    sent = tcb.sent
    if search.probe_mtu == 0 or tcb.snd_una != search.probe_start or sent is None:
        return False
    search.high = search.probe_mtu - 1
    search.probe_mtu = 0
    tcb.context.counters.TcpExtTCPMTUPFail += 1
    first = sent[tcb.sent_head]
    if not first.is_lost and not first.is_sacked:
        lose(tcb, losses_of(tcb), first)
    ask_fast_retransmit(tcb)
    return True


def _headers(tcb: Tcb) -> i64:
    return 60 if len(tcb.remote) == 16 else 40
