"""Building a segment from a TCB: numbers, window, flags, options and text."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.context import Paths
from estab.tcp.ecn import accurate as accecn
from estab.tcp.ecn import classic as ecn
from estab.tcp.receiving import receive
from estab.tcp.receiving.acknowledging import on_acknowledgment_sent
from estab.tcp.record.ecn_state import ACCURATE
from estab.tcp.record.tcb import NO_SEQ, SentSegment, Tcb
from estab.tcp.window.timestamps import clock
from estab.wire.seq import wrap
from estab.wire.tcp import ACK, PSH, SYN, URG, Segment

__all__ = ["WINDOW_MAX", "bare_segment", "mss_to_offer", "receive_mss", "syn_options", "text_limit", "text_segment"]

WINDOW_MAX: Final = 0xFFFF


def bare_segment(tcb: Tcb, seq: i64, flags: i64, now_ns: i64) -> Segment:
    """Build a segment without text: numbers, window, timestamps. RFC 9293 MUST-45: always the connection's own
    address.
    """
    segment = Segment(i64(tcb.local_port), i64(tcb.remote_port), wrap(seq), wrap(0), flags, 0)
    segment.tos = tcb.options.tos
    if (flags & ACK) != 0:
        segment.ack = wrap(tcb.rcv_nxt)
    if (flags & SYN) != 0:
        segment.wnd = min(receive.select_window(tcb), WINDOW_MAX)  # the window of a SYN is never scaled
    else:
        segment.wnd = min(receive.select_window(tcb) >> i64(tcb.rcv_wscale), WINDOW_MAX)
    if tcb.has_timestamps:
        segment.has_timestamps = True
        segment.ts_val = clock(now_ns, tcb.ts_offset)
        if (flags & ACK) != 0:
            segment.ts_ecr = tcb.ts_recent
    if (flags & ACK) != 0 and (flags & SYN) == 0:
        if tcb.has_sack and (tcb.out_of_order is not None or tcb.dsack_left != NO_SEQ):
            segment.sack = _sack_blocks(tcb)
        on_acknowledgment_sent(tcb)
    return segment


def _sack_blocks(tcb: Tcb) -> list[int] | None:
    """List up to three blocks beside timestamps, four without (RFC 2018 section 3); a DSACK goes first (RFC 2883)."""
    most: i64 = 4
    if tcb.has_timestamps:
        most = 3
    blocks: list[int] = []
    marks = tcb.marks
    if marks is not None and marks.dsack_left != NO_SEQ:
        blocks.append(marks.dsack_left)
        blocks.append(marks.dsack_right)
        most -= 1
    queue = tcb.out_of_order
    if queue is not None:
        blocks.extend(queue.blocks(most))
    if not blocks:
        return None
    return [number & 0xFFFFFFFF for number in blocks]


def text_segment(tcb: Tcb, sent: SentSegment, now_ns: i64) -> Segment:
    """Build a segment with the text, SYN and FIN of ``sent``."""
    flags = sent.flags
    if (flags & SYN) == 0 or tcb.state != abi.SYN_SENT:
        flags |= ACK
    count = sent.text_bytes()
    if count > tcb.snd_mss():
        search = tcb.mtu_search
        if search is None or search.probe_mtu == 0 or search.probe_start != sent.seq:
            flags |= PSH  # as Linux: each super-segment says of itself that the sender has no more of it to come
    segment = bare_segment(tcb, sent.seq, flags, now_ns)
    segment.data = sent.data
    segment.start = sent.start
    segment.end = sent.start + count
    if (flags & SYN) != 0:
        syn_options(tcb, segment)
        if tcb.ecn is not None:
            ecn.mark_syn(tcb, tcb.ecn, segment, sent.transmissions)
    elif tcb.ecn is not None:
        ecn.mark_text(tcb, tcb.ecn, segment, sent.transmissions == 1, now_ns)
    if tcb.snd_up != NO_SEQ and tcb.snd_up > sent.seq:
        # RFC 9293 MUST-62: the pointer is the number of the octet after the urgent data.
        segment.flags |= URG
        segment.urg = min(tcb.snd_up - sent.seq, 0xFFFF)
    return segment


def syn_options(tcb: Tcb, segment: Segment) -> None:
    """Add to a SYN or SYN-ACK the options that we offer or agree to."""
    config = tcb.context.config
    segment.mss = receive_mss(tcb)  # RFC 9293 MUST-14, MUST-65, SHLD-5
    answers = tcb.state != abi.SYN_SENT
    if tcb.has_sack if answers else config.tcp_sack:
        segment.sack_permitted = True
    if tcb.has_wscale if answers else config.tcp_window_scaling:
        segment.wscale = i64(tcb.rcv_wscale)
    if not answers and config.tcp_timestamps:
        segment.has_timestamps = True
        segment.ts_val = clock(tcb.context.now_ns, tcb.ts_offset)


def receive_mss(tcb: Tcb) -> i64:
    """Return the MSS to advertise (RFC 9293 MUST-67)."""
    return mss_to_offer(tcb.context.paths, tcb.remote, tcb.options.user_mss)


def mss_to_offer(paths: Paths, remote: bytes, user_mss: i64) -> i64:
    """Return the MSS to advertise to ``remote``: the link's MTU less the fixed headers (RFC 9293 MUST-67), or what the
    route says (``advmss``), and no more than the program wants (TCP_MAXSEG, 0: no limit).

    What was learnt of the path says nothing of the way back (RFC 9293 section 3.7.1).
    """
    headers: i64 = 60 if len(remote) == 16 else 40
    mss = paths.advertised_mss(remote)
    if mss == 0:
        mss = paths.link_mtu_of(remote) - headers
    if user_mss > 0:
        mss = min(mss, user_mss)
    return max(min(mss, 0xFFFF), 1)


def text_limit(tcb: Tcb, now_ns: i64) -> i64:
    """Return the most text one segment to the wire may carry now; SACK blocks and AccECN's option take their part."""
    limit = tcb.snd_mss()
    edges: i64 = 0
    if tcb.has_sack and (tcb.out_of_order is not None or tcb.dsack_left != NO_SEQ):
        blocks = _sack_blocks(tcb)
        if blocks is not None:
            edges = len(blocks)
            limit -= 4 + 4 * edges  # two NOPs, kind, length, eight bytes a block
    state = tcb.ecn
    if state is not None and state.mode == ACCURATE:
        limit = accecn.text_limit(tcb, state, edges // 2, now_ns)
    return max(limit, 8)
