"""What ``TCP_INFO`` tells of a connection, gathered from its TCB with Linux's meaning (tcp_get_info)."""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.congestion.registry import name_of
from estab.tcp.info import AccEcnInfo, Info
from estab.tcp.record.control import SSTHRESH_INFINITE
from estab.tcp.record.ecn_state import ACCURATE, OPTION_ZEROED
from estab.tcp.record.fast_open import FAIL_NAMES
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_NAMES_OF_SS, TIMER_NONE
from estab.tcp.record.troubles import NO_TROUBLES
from estab.tcp.recovery.scoreboard import segments_in
from estab.tcp.sending import segments
from estab.tcp.state import state_text
from estab.tcp.window import chrono
from estab.tcp.window.rtt import timeout_ns
from estab.units import NEVER

__all__ = ["ca_name", "limited_by", "rate_told", "report", "timer_name"]

_CA_NAMES = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_LIMITS = ("idle", "busy", "peer window", "send buffer")


class _Flight:
    """What is in flight, counted in segments of the wire, as Linux's packets_out and the rest."""

    def __init__(self, tcb: Tcb) -> None:
        self.unacked: i64 = 0
        self.sacked: i64 = 0
        self.lost: i64 = 0
        self.retrans: i64 = 0
        sent = tcb.sent
        if sent is None:
            return
        at = tcb.sent_head
        while at < len(sent):
            one = sent[at]
            at += 1
            count = segments_in(tcb, one.text_bytes())
            self.unacked += count
            if one.is_sacked:
                self.sacked += count
                continue
            if one.is_marked:
                self.lost += count
            if one.transmissions > 1 and not one.is_lost:
                self.retrans += count


def report(tcb: Tcb, inq_bytes: i64, now_ns: i64) -> Info:
    """Gather everything. ``inq_bytes`` is what waits to be read."""
    flight = _Flight(tcb)
    sacked = flight.sacked
    if not tcb.has_sack:
        sacked = tcb.reno_sacked_bytes // max(tcb.snd_mss(), 1)
    queue = tcb.out_of_order
    traffic = tcb.traffic
    troubles = NO_TROUBLES if tcb.troubles is None else tcb.troubles
    due_ns = tcb.deadline_ns()
    timer = timer_name(tcb)
    header: i64 = 12 if tcb.has_timestamps else 0
    stuck_ns: i64 = now_ns - troubles.rto_since_ns if troubles.rto_since_ns > 0 else 0
    received: i64 = max(tcb.rcv_nxt - tcb.irs - 1, 0) if tcb.rcv_nxt > 0 else 0
    peer_ns = chrono.spent_ns(tcb, chrono.PEER_WINDOW, now_ns)
    buffer_ns = chrono.spent_ns(tcb, chrono.SEND_BUFFER, now_ns)
    return Info(
        state=state_text(i64(tcb.state)), ca_state=ca_name(tcb), congestion=name_of(tcb.congestion),
        retransmits=tcb.retries, probes=tcb.probes_out, backoff=tcb.backoff, options=_options(tcb),
        snd_wscale=tcb.snd_wscale, rcv_wscale=tcb.rcv_wscale,
        is_delivery_rate_app_limited=tcb.is_reported_limited(),
        fast_open_fail=FAIL_NAMES[0 if tcb.fast_open is None else tcb.fast_open.fail],
        rto_ns=timeout_ns(tcb), ato_ns=tcb.context.config.tcp_delack_ns if tcb.data_segs_in > 0 else 0,
        snd_mss_bytes=tcb.snd_mss(), rcv_mss_bytes=tcb.rcv_mss, advmss_bytes=segments.receive_mss(tcb) - header,
        pmtu_bytes=tcb.context.paths.mtu_of(tcb.remote), unacked_segments=flight.unacked, sacked_segments=sacked,
        lost_segments=flight.lost, retrans_segments=flight.retrans, reordering_segments=tcb.reordering,
        total_retrans_segments=troubles.segments_retransmitted, bytes_retrans=troubles.bytes_retransmitted,
        bytes_sent=_first_sent_bytes(tcb) + troubles.bytes_retransmitted,
        bytes_acked=max(tcb.snd_una - tcb.iss - (1 if tcb.is_passive else 0), 0), bytes_received=received,
        segs_out=tcb.segs_out, segs_in=tcb.segs_in, data_segs_out=tcb.data_segs_out, data_segs_in=tcb.data_segs_in,
        delivered_segments=tcb.delivered_segments, delivered_ce_segments=tcb.delivered_ce,
        accecn=_accecn(tcb),
        dsack_dups_segments=troubles.dsack_dups, reord_seen=troubles.reord_seen,
        rcv_ooopack_segments=troubles.rcv_ooopack, last_data_sent_ns=now_ns - tcb.last_sent_ns,
        last_data_recv_ns=now_ns - tcb.last_text_ns, last_received_ns=now_ns - tcb.last_received_ns,
        rtt_ns=tcb.srtt_ns, rttvar_ns=tcb.rttvar_ns, min_rtt_ns=tcb.min_rtt_ns,
        rcv_rtt_ns=0 if traffic is None else traffic.rcv_rtt_ns,
        snd_cwnd_bytes=tcb.cwnd_bytes or tcb.context.config.tcp_initial_cwnd * tcb.snd_mss(),
        snd_ssthresh_bytes=None if tcb.ssthresh_bytes >= SSTHRESH_INFINITE else tcb.ssthresh_bytes,
        snd_wnd_bytes=tcb.snd_wnd, rcv_wnd_bytes=max(0, tcb.rcv_adv - tcb.rcv_wup),
        rcv_ssthresh_bytes=tcb.receive_buffer_bytes // 2, rcv_space_bytes=tcb.tune_space_bytes,
        pacing_rate=rate_told(tcb.pace()), max_pacing_rate=rate_told(tcb.options.max_pacing_rate),
        delivery_rate=tcb.reported_rate(),
        busy_ns=chrono.spent_ns(tcb, chrono.BUSY, now_ns) + peer_ns + buffer_ns, rwnd_limited_ns=peer_ns,
        sndbuf_limited_ns=buffer_ns, total_rto=troubles.timeouts, total_rto_recoveries=troubles.rto_recoveries,
        total_rto_time_ns=troubles.rto_time_ns + stuck_ns, notsent_bytes=tcb.unsent_bytes(),
        outq_bytes=tcb.outq_bytes(), inq_bytes=inq_bytes, out_of_order_bytes=0 if queue is None else queue.size_bytes,
        send_buffer_bytes=tcb.send_buffer_bytes, receive_buffer_bytes=tcb.receive_buffer_bytes, timer=timer,
        timer_ns=max(0, due_ns - now_ns) if timer else 0,
    )


def ca_name(tcb: Tcb) -> str:
    """Name where loss recovery stands, as Linux does."""
    return _CA_NAMES[tcb.ca_state]


def timer_name(tcb: Tcb) -> str:
    """Name the timer that runs out next, as ``ss -o`` does; empty if none is armed."""
    timer = tcb.next_timer()
    return "" if timer == TIMER_NONE else TIMER_NAMES_OF_SS[timer]


def limited_by(tcb: Tcb) -> str:
    """Name what a sender's time is spent on now (``events.Tcb.limited_by``)."""
    if tcb.is_pacing and chrono.spent_on(tcb) == chrono.BUSY:
        return "pacing"
    return _LIMITS[chrono.spent_on(tcb)]


def rate_told(rate: i64) -> i64:
    """Return a rate as ``Info`` does: 0 if there is no limit."""
    return 0 if rate >= NEVER else rate


def _accecn(tcb: Tcb) -> AccEcnInfo | None:
    ecn = tcb.ecn
    if ecn is None or ecn.mode != ACCURATE:
        return None
    return AccEcnInfo(
        received_ce_segments=ecn.ce_packets, received_ce_bytes=ecn.ce_bytes, received_ect0_bytes=ecn.ect0_bytes,
        received_ect1_bytes=ecn.ect1_bytes, delivered_ce_bytes=ecn.told_ce_bytes,
        delivered_ect0_bytes=ecn.told_ect0_bytes, delivered_ect1_bytes=ecn.told_ect1_bytes, is_ect_off=ecn.is_ect_off,
        is_option_blocked=ecn.is_option_blocked, is_option_zeroed=ecn.option_seen == OPTION_ZEROED,
        option_seen=ecn.option_seen,
    )


def _options(tcb: Tcb) -> tuple[str, ...]:
    options: list[str] = []
    if tcb.has_timestamps:
        options.append("timestamps")
    if tcb.has_sack:
        options.append("sack")
    if tcb.has_wscale:
        options.append("wscale")
    if tcb.has_ecn:
        options.append("ecn")
        if tcb.ecn is not None and tcb.ecn.is_seen:
            options.append("ecn-seen")
    fast_open = tcb.fast_open
    if fast_open is not None and fast_open.is_text_acknowledged:
        options.append("syn-data")
    if fast_open is not None and fast_open.is_child:
        options.append("fast-open-child")
    return tuple(options)


def _first_sent_bytes(tcb: Tcb) -> i64:
    """Count the text that was sent, repetitions left out: what is between our SYN and our FIN."""
    count = tcb.snd_nxt - tcb.iss
    if count > 0:
        count -= 1
    if tcb.fin_seq != NO_SEQ:
        count -= 1
    return count
