"""A segment arrives in SYN-SENT: RFC 9293 section 3.10.7.3, in the RFC's order."""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.errors import DropReason
from estab.tcp.arriving import fastopen_client
from estab.tcp.arriving.opening import agree_options, establish
from estab.tcp.arriving.transitions import answer, fail, set_state, take_fin
from estab.tcp.ecn import classic as ecn
from estab.tcp.receiving import receive
from estab.tcp.receiving.acknowledging import acknowledge_late, acknowledge_now
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.timer_table import TIMER_RTO
from estab.tcp.recovery import recovery
from estab.tcp.recovery.scoreboard import ask_fast_retransmit
from estab.tcp.window import send_window
from estab.tcp.window.timestamps import elapsed_ticks
from estab.units import MS
from estab.wire.seq import unwrap
from estab.wire.tcp import ACK, FIN, RST, SYN, Segment

__all__ = ["segment_arrives"]

_SYN_AGAIN_NS: Final = 2 * MS
"""Linux's TCP_TIMEOUT_MIN, two ticks."""


def segment_arrives(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Take a segment for a connection that has sent a SYN and waits for the peer's."""
    flags = segment.flags
    if (flags & ACK) != 0:  # first: the ACK bit
        ack = unwrap(segment.ack, tcb.snd_nxt)
        if ack <= tcb.iss or ack > tcb.snd_nxt:
            if (flags & RST) == 0:
                answer(tcb, segment, "acknowledges what was not sent")
            is_plain = tcb.fast_open is None or not tcb.fast_open.has_text
            if tcb.retries == 0 and is_plain and tcb.context.config.tcp_repeat_syn:
                # Our reset ends the peer's old connection on these ports: the SYN is sent again at once. As Linux,
                # only after the first, or a peer that always answers so would be flooded.
                tcb.arm(TIMER_RTO, now_ns + _SYN_AGAIN_NS)
            tcb.context.drop(DropReason.TCP_INVALID_ACK_SEQUENCE, tcb.name(), "")
            return
        if segment.has_timestamps and tcb.context.config.tcp_timestamps and not _echoes_us(tcb, segment, now_ns):
            tcb.context.counters.TcpExtPAWSActive += 1
            answer(tcb, segment, "echoes a timestamp that was not sent")
            return
    if (flags & RST) != 0:  # second: the RST bit
        if (flags & ACK) != 0:
            text = "connection refused: the peer answered the SYN with a reset"
            fail(tcb, errno.ECONNREFUSED, text, "reset received")
        else:
            tcb.context.drop(DropReason.TCP_RESET_INVALID, tcb.name(), "without ACK in SYN-SENT")
        return
    if (flags & SYN) == 0:  # fifth: neither SYN nor RST
        tcb.context.drop(DropReason.TCP_FLAGS, tcb.name(), "neither SYN nor RST in SYN-SENT")
        return
    # fourth: the SYN bit
    agree_options(tcb, segment, tcb.context.config.tcp_timestamps)
    receive.start(tcb, segment.seq)
    if tcb.ecn is not None:
        ecn.read_handshake(tcb, tcb.ecn, segment)
    send_window.take(tcb, segment.wnd, tcb.irs, tcb.snd_wl2)
    if (flags & ACK) != 0:
        ack = unwrap(segment.ack, tcb.snd_nxt)
        recovery.on_acknowledged(tcb, ack, segment, now_ns)
        send_window.take(tcb, segment.wnd, tcb.irs, ack)
        set_state(tcb, abi.ESTABLISHED, "our SYN is acknowledged")
        establish(tcb, now_ns)
        has_more = segment.end > segment.start or (flags & FIN) != 0
        fast_open = tcb.fast_open
        if fast_open is not None and (fast_open.has_option or fast_open.has_text):
            _answer_fast_open(tcb, fast_open, segment, now_ns)
            return
        if has_more:
            _take_rest(tcb, segment, now_ns)
            acknowledge_now(tcb)
        elif tcb.is_first_ack_delayed:
            acknowledge_late(tcb, now_ns)
        else:
            acknowledge_now(tcb)
    else:
        # Simultaneous open (RFC 9293 section 3.5, figure 8). MUST-10.
        set_state(tcb, abi.SYN_RECEIVED, "simultaneous open: SYN received in SYN-SENT")
        recovery.mark_head_lost(tcb)
        ask_fast_retransmit(tcb)
        if segment.end > segment.start or (flags & FIN) != 0:
            # We differ from RFC 9293 section 3.10.7.3, which keeps them for later: the peer sends them again, now that
            # there is a connection.
            tcb.context.drop(DropReason.TCP_OLD_DATA, tcb.name(), "text on a SYN that crossed ours")


def _take_rest(tcb: Tcb, segment: Segment, now_ns: i64) -> None:
    """Take text and FIN of a SYN-ACK: they go on to the sixth step (RFC 9293 section 3.10.7.3, fourth)."""
    if segment.end > segment.start:
        receive.note_offered(tcb, min(receive.space_bytes(tcb), 0xFFFF))  # as our SYN said
        receive.accept_text(tcb, tcb.irs + 1, segment, now_ns)
    if (segment.flags & FIN) != 0:
        take_fin(tcb, tcb.irs + 1, segment)


def _answer_fast_open(tcb: Tcb, fast_open: FastOpen, segment: Segment, now_ns: i64) -> None:
    """The SYN-ACK of a connection with Fast Open: what it says of our text, and what text it brings itself."""
    if fastopen_client.on_syn_ack(tcb, fast_open, segment):
        acknowledge_now(tcb)  # the text that is sent again carries it
        return
    _take_rest(tcb, segment, now_ns)
    if fast_open.has_more and (segment.flags & FIN) == 0 and segment.end == segment.start:
        acknowledge_late(tcb, now_ns)  # a program waits to write
        return
    acknowledge_now(tcb)


def _echoes_us(tcb: Tcb, segment: Segment, now_ns: i64) -> bool:
    """Tell whether the echoed timestamp lies between our SYN's and now."""
    sent = tcb.sent
    if segment.ts_ecr == 0 or sent is None:
        return True
    return elapsed_ticks(now_ns, tcb.ts_offset, segment.ts_ecr) <= (now_ns - tcb.first_unanswered_ns) // MS + 1
