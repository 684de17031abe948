"""What ICMP errors do to a connection (RFC 9293 section 3.9.2.2): believed only if they quote what is in flight."""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.tcp.arriving.transitions import fail, tell_soft_error
from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery.mtu_search import update_mss
from estab.tcp.recovery.recovery import lose_all
from estab.tcp.recovery.scoreboard import ask_fast_retransmit, lose, losses_of
from estab.wire.seq import Seq, unwrap

__all__ = ["on_mtu_changed", "on_unreachable"]


def on_unreachable(tcb: Tcb, number: i64, text: str, seq: Seq) -> None:
    """Take an ICMP error that quotes a segment of ours (RFC 9293 section 3.9.2.2). MUST-54, MUST-56, SHLD-25,
    SHLD-26.

    A quoted number outside of what is in flight is ignored (RFC 5927 section 4.1). Soft errors are remembered, and
    become the reason if the connection times out; a connection that is opening is told at once, as in Linux.
    """
    if not _is_in_flight(tcb, seq):
        tcb.context.counters.TcpExtOutOfWindowIcmps += 1
        return
    is_in_use = tcb.is_fast_child() and tcb.owner is not None
    if (tcb.state == abi.SYN_SENT or tcb.state == abi.SYN_RECEIVED) and not is_in_use:
        fail(tcb, number, text, "ICMP error")
    else:
        # We differ from SHLD-26 as Linux does: once established even a hard error is only noted, so that a forged
        # message can't end a connection (RFC 5927 section 6.1).
        tell_soft_error(tcb, number, text)


def on_mtu_changed(tcb: Tcb, seq: Seq) -> None:
    """The path's MTU went down and a segment of ours was too big (RFC 1191, RFC 8201): cut and send again."""
    if not _is_in_flight(tcb, seq):
        tcb.context.counters.TcpExtOutOfWindowIcmps += 1
        return
    before = tcb.mss_base
    update_mss(tcb)
    sent = tcb.sent
    if tcb.mss_base >= before or sent is None:
        return
    if tcb.state == abi.SYN_SENT:
        lose_all(tcb, "the SYN with its data was too big for the path")  # it goes again without
        return
    limit = tcb.snd_mss()
    losses = losses_of(tcb)
    is_first = True
    at = tcb.sent_head
    while at < len(sent):
        segment = sent[at]
        if len(segment.data) > limit and not segment.is_sacked and not segment.is_lost:
            lose(tcb, losses, segment)
            if is_first:
                ask_fast_retransmit(tcb)
                is_first = False
        at += 1


def _is_in_flight(tcb: Tcb, seq: Seq) -> bool:
    place = unwrap(seq, tcb.snd_nxt)
    if tcb.is_fast_child():
        return tcb.iss <= place <= tcb.snd_nxt  # the SYN-ACK is out, too
    return tcb.snd_una <= place < tcb.snd_nxt
