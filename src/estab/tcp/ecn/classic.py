"""Explicit congestion notification (RFC 3168, RFC 8311): what is agreed on, how packets are marked, what marks do.

A host asks for ECN, or answers, as ``tcp_ecn`` says, with Linux's numbers. *Classic* feedback (RFC 3168): the receiver
of a CE mark sets ECE until the sender's CWR says that the window went down. *Accurate* feedback (RFC 9768) is
``accecn``. A congestion control that needs marks (DCTCP, RFC 8257) has ECN whatever ``tcp_ecn`` says; for it
all packets are ECN-capable, and classic echoes are exact: each acknowledgment says whether what it is for was marked.

The other rooms call these functions only if ``tcb.ecn`` is not ``None``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.config import Config
from estab.tcp.ecn import accurate as accecn
from estab.tcp.receiving.acknowledging import acknowledge_now, acknowledge_quickly, expect_answers
from estab.tcp.record.ecn_state import (
    ACCURATE,
    CE,
    CLASSIC,
    CODEPOINT_MASK,
    ECT0,
    NOT_ECT,
    OFF,
    OFFERS_ACCURATE,
    OFFERS_CLASSIC,
    Ecn,
)
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.wire.tcp import ACK, AE, CWR, ECE, OPTIONS_BYTES_MAX, SYN, Segment, options_length

__all__ = [
    "adopt", "adopt_cookie", "answer", "mark_pure", "mark_syn", "mark_syn_ack", "mark_text", "note_syn_ack", "offer",
    "on_arrival", "on_third_segment", "queue_cwr", "read_handshake", "set_needed", "take_early_ack", "take_feedback",
    "wants_reset", "withdraw_cwr",
]

_ALL: Final = 0x1C0
"""AE, CWR and ECE, as a literal: what is computed when the module is imported is looked up at each use."""
_QUICK_ACKS: i64 = 2


# --- negotiation


def offer(tcb: Tcb) -> None:
    """Decide at ``connect`` what the SYN asks for (RFC 3168 section 6.1.1, RFC 9768 section 3.1.1)."""
    wanted = tcb.context.config.tcp_ecn
    is_needed = tcb.congestion.needs_ecn()
    tcb.ecn = None
    if wanted == 3:
        tcb.ecn = Ecn(OFFERS_ACCURATE)
    elif wanted == 1 or wanted == 4 or is_needed:
        tcb.ecn = Ecn(OFFERS_CLASSIC)
    if tcb.ecn is not None:
        tcb.ecn.is_needed = is_needed


def answer(config: Config, syn: Segment, is_needed: bool) -> i64:
    """Decide what a listener agrees on with a SYN: ``OFF``, ``CLASSIC`` or ``ACCURATE`` (RFC 9768 table 2)."""
    flags = syn.flags & _ALL
    wanted = config.tcp_ecn
    if flags != 0 and flags != (CWR | ECE) and wanted >= 3:
        return ACCURATE  # section 3.1.3: combinations to come count as 111
    if (flags & (CWR | ECE)) != (CWR | ECE) or (wanted == 0 and not is_needed):
        return OFF
    # A SYN that is ECN-capable itself did not come as RFC 3168 section 6.1.1 wants it, unless the peer does as DCTCP.
    if (syn.tos & CODEPOINT_MASK) != NOT_ECT and (flags & AE) == 0 and not is_needed:
        return OFF
    return CLASSIC


def wants_reset(config: Config, mode: i64, syn: Segment) -> bool:
    """Tell whether a repeated SYN asks for the other kind of feedback: neither end could know which one is in use.

    RFC 9768 section 3.1.5. ``mode`` is what the first SYN led to.
    """
    flags = syn.flags & _ALL
    if mode == ACCURATE:
        return flags == (CWR | ECE)
    return mode == CLASSIC and config.tcp_ecn >= 3 and flags != 0 and flags != (CWR | ECE)


def mark_syn_ack(
    config: Config, mode: i64, syn: Segment, segment: Segment, *, is_needed: bool, is_repeat: bool, is_late: bool,
) -> None:
    """Let a listener's SYN-ACK say what was agreed on.

    ``is_repeat``: one went before, perhaps lost for its option; ``is_late``: two did, perhaps for their flags.
    """
    if is_needed and mode != OFF:
        segment.tos = (segment.tos & ~CODEPOINT_MASK) | ECT0
    if mode == CLASSIC:
        segment.flags |= ECE
    elif mode == ACCURATE and not is_late:
        segment.flags |= accecn.ace_flags(accecn.handshake_ace(syn.tos & CODEPOINT_MASK))
        if config.tcp_ecn_option > 0 and not is_repeat:
            _add_first_option(segment)


def _add_first_option(segment: Segment) -> None:
    """Put the option on a SYN-ACK, as far as it has room (RFC 9768 section 3.2.3.2.1)."""
    option = accecn.first_option()
    segment.accecn = option
    while options_length(segment) > OPTIONS_BYTES_MAX:
        if not option.fields:
            segment.accecn = None
            return
        option.fields.pop()


def adopt(tcb: Tcb, mode: i64, syn: Segment, *, is_needed: bool, is_ect_off: bool) -> None:
    """Give a connection that a listener made what its handshake agreed on.

    ``is_ect_off``: a SYN or SYN-ACK without ECN crossed, so that the peer may not be in AccECN mode (RFC 9768 section
    3.1.5).
    """
    if mode == OFF:
        return
    ecn = Ecn(mode)
    ecn.is_needed = is_needed
    ecn.syn_received = syn.tos & CODEPOINT_MASK
    ecn.syn_sent = ECT0 if is_needed else NOT_ECT
    ecn.is_ect_off = is_ect_off
    ecn.is_answering = True
    tcb.ecn = ecn
    _agree(tcb, ecn, mode)


def adopt_cookie(tcb: Tcb, segment: Segment, *, has_classic: bool, is_needed: bool) -> None:
    """Give a connection that comes from a SYN cookie its ECN back (RFC 9768 section 5.1).

    That it was AccECN is told by the ACE field of the third segment; classic ECN is a bit of the cookie's timestamp.
    """
    config = tcb.context.config
    mode = OFF
    if config.tcp_ecn >= 3 and accecn.ace_of(segment.flags) > 1:
        mode = ACCURATE
    elif has_classic and (config.tcp_ecn > 0 or is_needed):
        mode = CLASSIC
    adopt(tcb, mode, segment, is_needed=is_needed, is_ect_off=False)


def set_needed(tcb: Tcb, is_needed: bool) -> None:
    """Note that another congestion control took over, which needs marks or does not."""
    if tcb.ecn is not None:
        tcb.ecn.is_needed = is_needed


def _agree(tcb: Tcb, ecn: Ecn, mode: i64) -> None:
    ecn.mode = mode
    tcb.has_ecn = True
    if mode == ACCURATE:
        ecn.last_codepoint = ecn.syn_received
        ecn.is_first_due = True


def mark_syn(tcb: Tcb, ecn: Ecn, segment: Segment, transmissions: i64) -> None:
    """Let our SYN ask for ECN, or, in a simultaneous open, our SYN-ACK answer."""
    if ecn.is_needed:
        segment.tos = (segment.tos & ~CODEPOINT_MASK) | ECT0
        ecn.syn_sent = ECT0
    if tcb.state == abi.SYN_SENT:
        # RFC 3168 section 6.1.1.1, RFC 9768 section 3.1.4.1: what drops such SYNs must not keep us from connecting.
        # Linux's choice: classic ECN is asked for once, AccECN twice.
        tries: i64 = 2 if ecn.mode == OFFERS_ACCURATE else 1
        if transmissions > tries and tcb.context.config.tcp_ecn_fallback:
            return
        segment.flags |= _ALL if ecn.mode == OFFERS_ACCURATE else CWR | ECE
    elif ecn.mode == CLASSIC:
        segment.flags |= ECE
    elif ecn.mode == ACCURATE:
        segment.flags |= accecn.ace_flags(accecn.handshake_ace(ecn.syn_received))
        if tcb.context.config.tcp_ecn_option > 0 and transmissions <= 3:
            _add_first_option(segment)


def read_handshake(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Take the SYN-ACK that answers our SYN, or the SYN that crosses it."""
    if (segment.flags & ACK) != 0:
        _read_syn_ack(tcb, ecn, segment)
    else:
        _read_syn(tcb, ecn, segment)


def _read_syn_ack(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Take the answer to our SYN (RFC 3168 section 6.1.1, RFC 9768 table 2). It decides for good."""
    ace = accecn.ace_of(segment.flags)
    if ecn.mode != OFFERS_ACCURATE:
        if (segment.flags & (CWR | ECE)) == ECE:
            _agree(tcb, ecn, CLASSIC)
        else:
            tcb.ecn = None
        return
    if ace == 0 or ace == 7:  # no ECN, or a server that sends our own flags back
        tcb.ecn = None
        return
    if ace == 1:
        _agree(tcb, ecn, CLASSIC)
        return
    ecn.syn_received = segment.tos & CODEPOINT_MASK
    _agree(tcb, ecn, ACCURATE)
    note_syn_ack(tcb, ecn, segment)
    told = accecn.told_by_handshake(ace)
    if told < 0:
        told = ecn.syn_sent  # section 3.1.3: 101 counts as though the SYN had arrived unchanged
    if tcb.context.config.tcp_ecn_fallback and not accecn.is_transition_valid(ecn.syn_sent, told):
        ecn.is_ect_off = True
    elif told == CE:
        ecn.is_handshake_marked = True


def note_syn_ack(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Owe the pure acknowledgment that tells how a SYN-ACK arrived, and count a mark on it once (RFC 9768 table 3)."""
    if ecn.mode != ACCURATE or (segment.flags & ACK) == 0:
        return
    ecn.is_reflecting = True
    accecn.take_option_of_syn_ack(tcb, ecn, segment)
    ecn.syn_received = segment.tos & CODEPOINT_MASK
    if ecn.syn_received == CE and not ecn.is_syn_counted:
        ecn.is_syn_counted = True
        ecn.ce_packets += 1


def _read_syn(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Take the SYN that crosses ours: the mode is what a listener's would be (RFC 9768 section 3.1.2)."""
    mode = answer(tcb.context.config, segment, ecn.is_needed)
    if mode == OFF or (mode == ACCURATE and ecn.mode != OFFERS_ACCURATE):
        tcb.ecn = None
        return
    ecn.syn_received = segment.tos & CODEPOINT_MASK
    ecn.is_answering = True
    _agree(tcb, ecn, mode)


def on_third_segment(tcb: Tcb, segment: Segment) -> None:
    """Take the segment that ends a passive open, before all else that it brings."""
    ecn = tcb.ecn
    if ecn is not None and ecn.mode == ACCURATE and ecn.is_first_due and (segment.flags & SYN) == 0:
        accecn.read_third_segment(tcb, ecn, segment)


# --- the receiver


def on_arrival(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Look at the mark of an acceptable segment, and at the peer's CWR."""
    if (segment.flags & SYN) != 0:
        return
    if ecn.mode == ACCURATE:
        accecn.count_arrival(tcb, ecn, segment)
        return
    if segment.end == segment.start:
        return
    codepoint = segment.tos & CODEPOINT_MASK
    if codepoint != NOT_ECT:
        ecn.is_seen = True
    elif ecn.is_seen:
        _acknowledge_quickly(tcb)  # as Linux: an ECN-capable sender repeats text without the mark
    if ecn.is_needed:
        _echo_exactly(tcb, ecn, codepoint == CE)
        return
    if (segment.flags & CWR) != 0:
        ecn.is_echoing = False
        acknowledge_now(tcb)  # the sender's window may be a single segment
    if codepoint == CE and not ecn.is_echoing:
        ecn.is_echoing = True
        _acknowledge_quickly(tcb)


def _acknowledge_quickly(tcb: Tcb) -> None:
    acknowledge_quickly(tcb, _QUICK_ACKS)
    expect_answers(tcb, is_likely=False)


def _echo_exactly(tcb: Tcb, ecn: Ecn, is_marked: bool) -> None:
    """RFC 8257 section 3.2: when marks begin or end, what came before is acknowledged with the echo that it had."""
    if is_marked == ecn.is_echoing:
        return
    if tcb.rcv_nxt > tcb.rcv_wup:
        ecn.early_ack_seq = tcb.rcv_nxt
        ecn.is_early_echo = ecn.is_echoing
    ecn.is_echoing = is_marked
    acknowledge_now(tcb)


# --- the sender


def take_feedback(tcb: Tcb, ecn: Ecn, segment: Segment, delivered_segments: i64, delivered_bytes: i64) -> bool:
    """Read what an acknowledgment tells of marks. ``True``: there was congestion."""
    marked: i64 = 0
    has_echo = False
    if ecn.mode == CLASSIC:
        has_echo = (segment.flags & (ECE | SYN)) == ECE
        if has_echo:
            marked = delivered_segments
    elif ecn.mode == ACCURATE:
        marked = accecn.take_feedback(tcb, ecn, segment, delivered_segments, delivered_bytes)
        has_echo = marked > 0
    if marked > 0:
        ecn.delivered_ce += marked
        tcb.context.counters.TcpExtTCPDeliveredCE += marked
    return has_echo


def queue_cwr(tcb: Tcb) -> None:
    """The window goes down, for whatever reason: tell the peer with the next new text (RFC 3168 section 6.1.2)."""
    ecn = tcb.ecn
    if ecn is not None and ecn.mode == CLASSIC:
        ecn.is_cwr_due = True


def withdraw_cwr(tcb: Tcb) -> None:
    """The window did not have to go down after all."""
    if tcb.ecn is not None:
        tcb.ecn.is_cwr_due = False


# --- marking what leaves


def mark_pure(tcb: Tcb, ecn: Ecn, segment: Segment, now_ns: i64) -> None:
    """Mark a segment without new text: not ECN-capable with classic feedback (RFC 3168 sections 6.1.4 to 6.1.6)."""
    if ecn.mode == ACCURATE:
        accecn.mark(tcb, ecn, segment, now_ns)
    elif ecn.mode == CLASSIC:
        if ecn.is_echoing:
            segment.flags |= ECE
        if ecn.is_needed:
            segment.tos = (segment.tos & ~CODEPOINT_MASK) | ECT0


def mark_text(tcb: Tcb, ecn: Ecn, segment: Segment, is_new: bool, now_ns: i64) -> None:
    """Mark a segment with text. New text is ECN-capable (RFC 3168 section 6.1.2); what goes again is not (6.1.5).

    CWR is for the first packet of a super-segment; what cuts the segment sees to that.
    """
    mark_pure(tcb, ecn, segment, now_ns)
    if ecn.mode == CLASSIC and is_new and segment.end > segment.start:
        segment.tos = (segment.tos & ~CODEPOINT_MASK) | ECT0
        if ecn.is_cwr_due:
            ecn.is_cwr_due = False
            segment.flags |= CWR


def take_early_ack(ecn: Ecn) -> i64:
    """Return the number that must be acknowledged first, with the echo that ``is_early_echo`` says; NO_SEQ for none."""
    seq = ecn.early_ack_seq
    ecn.early_ack_seq = NO_SEQ
    return seq


