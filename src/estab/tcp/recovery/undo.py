"""Taking back what a false alarm did: a retransmission that was not needed must not cost the window.

Three signs show it. F-RTO (RFC 5682): after a timeout, text that was never sent again is acknowledged or SACKed.
Eifel (RFC 3522, 4015): the acknowledgment echoes a timestamp from before the first retransmission. DSACK (RFC 2883,
3708): the peer reports every retransmitted segment as a duplicate. Then cwnd and ssthresh are again what they were,
and what was taken to be lost is in flight again.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.ecn.classic import withdraw_cwr
from estab.tcp.record.inflight import Losses
from estab.tcp.record.tcb import CA_DISORDER, CA_OPEN, NO_SEQ, Tcb
from estab.tcp.recovery.cwnd import restore
from estab.tcp.recovery.scoreboard import echoes_before, unmark_lost, withdraw_fast_retransmit
from estab.tcp.window.rtt import end_backoff
from estab.tcp.window.silence import end_retries
from estab.wire.tcp import Segment

__all__ = [
    "end_watch", "forget", "is_false_alarm", "keep_reduction", "process_timeout_answer", "start", "start_timeout",
    "take_back",
]

_UNCOUNTED: Final = 1 << 40


def start(tcb: Tcb, losses: Losses) -> None:
    """Remember the windows, before an episode of loss lowers them."""
    losses.undo_seq = tcb.snd_una
    losses.undo_repeats = -1
    if tcb.snd_una >= losses.repeated_end:
        losses.repeated_ns = 0
    else:
        losses.undo_repeats = _UNCOUNTED  # repeats of the episode before are under way: DSACKs can't be told apart
    losses.prior_cwnd_bytes = tcb.cwnd_bytes
    losses.prior_ssthresh_bytes = tcb.ssthresh_bytes


def keep_reduction(losses: Losses) -> None:
    """The window goes down for a mark as well: a false alarm about losses does not restore it (as Linux)."""
    losses.prior_cwnd_bytes = 0
    losses.prior_ssthresh_bytes = 0


def forget(losses: Losses) -> None:
    """The episode is over for good: the loss was real."""
    losses.undo_seq = NO_SEQ


def is_false_alarm(tcb: Tcb, losses: Losses, segment: Segment, has_advanced: bool) -> bool:
    """Ask Eifel and DSACK whether no retransmission of the episode was needed."""
    if losses.undo_seq == NO_SEQ:
        return False
    if losses.undo_repeats == 0:
        tcb.context.counters.TcpExtTCPDSACKUndo += 1
        return True
    return has_advanced and losses.repeated_ns > 0 and echoes_before(tcb, segment, losses.repeated_ns)


def take_back(tcb: Tcb, losses: Losses, now_ns: i64) -> None:
    """Restore cwnd and ssthresh (RFC 4015 section 3.2), and take nothing as lost any more."""
    unmark_lost(tcb, losses)
    restore(tcb, losses.prior_cwnd_bytes, losses.prior_ssthresh_bytes)
    tcb.control(now_ns).on_undone(tcb, now_ns)
    if losses.prior_cwnd_bytes > 0:
        withdraw_cwr(tcb)  # else the window stays down for a mark, which the peer must hear
    withdraw_fast_retransmit(tcb)
    end_backoff(tcb)
    end_retries(tcb)
    losses.is_frto = False
    losses.is_holding_back = False
    forget(losses)
    tcb.ca_state = CA_OPEN
    if losses.sacked_count > 0:
        tcb.ca_state = CA_DISORDER


# --- F-RTO


def start_timeout(tcb: Tcb, losses: Losses, is_recovering: bool) -> None:
    """RFC 5682 section 2.1 step 1: after a timeout in the midst of a recovery nothing can be told."""
    losses.is_frto = tcb.context.config.tcp_frto > 0 and not is_recovering
    losses.is_holding_back = False


def process_timeout_answer(tcb: Tcb, losses: Losses, has_advanced: bool, has_sacked: bool, is_duplicate: bool) -> bool:
    """Take an acknowledgment that comes after a timeout. ``True``: it shows that the timeout was spurious.

    RFC 5682 section 3.1 (with SACK) and 2.1 (without).
    """
    if not losses.is_frto:
        return False
    if losses.has_original_arrived:
        return True  # step 3.b: never sent again, and yet it arrived
    if tcb.snd_nxt > tcb.recover:
        if has_sacked or is_duplicate:
            _fall_back(losses)  # step 3.a: the new text arrived above a hole
    elif has_advanced and tcb.snd_una < tcb.recover:
        unsent = tcb.unsent
        if unsent is not None and tcb.snd_una + tcb.snd_wnd > tcb.snd_nxt:
            losses.is_holding_back = True  # step 2.b: new text, and see what comes back, before more is repeated
        else:
            _fall_back(losses)
    elif is_duplicate or has_sacked:
        _fall_back(losses)  # step 2.a
    return False


def end_watch(losses: Losses) -> None:
    """Everything sent before the timeout is acknowledged: F-RTO has no more to tell, and holds nothing back."""
    losses.is_frto = False
    losses.is_holding_back = False


def _fall_back(losses: Losses) -> None:
    """The timeout was no false alarm, as far as F-RTO can tell: repeat what is lost."""
    losses.is_frto = False
    losses.is_holding_back = False
