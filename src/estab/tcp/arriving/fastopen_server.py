"""A server's Fast Open (RFC 7413 section 4.2.2): which SYN opens at once, and the handshake that still goes on.

The connection made from such a SYN is in SYN-RECEIVED with its text readable and its peer's window open; it may be
accepted, read, written and closed. Its SYN-ACK has the retransmission timer until it is acknowledged.
"""

from __future__ import annotations

import errno

from mypy_extensions import i64

from estab.tcp.arriving.transitions import fail, release_fast_open
from estab.tcp.context import Context
from estab.tcp.fastopen import SERVER, SERVER_NO_COOKIE, make_cookie, which_key
from estab.tcp.record.fast_open import FastOpen, FastOpenOptions, PendingSynAck
from estab.tcp.record.numbers import BACKOFFS_MAX
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.timer_table import TIMER_RTO, TIMER_SYN_ACK
from estab.tcp.recovery import cwnd, delivered, rack, recovery
from estab.tcp.siphash import KEY_BYTES
from estab.tcp.window import silence
from estab.tcp.window.rtt import on_sample
from estab.tcp.window.timestamps import take_newer
from estab.units import NEVER
from estab.wire.seq import unwrap
from estab.wire.tcp import ACK, FIN, RST, SYN, Segment

__all__ = ["arm", "complete", "is_answered_again", "judge", "on_timer"]


def judge(
    context: Context, options: FastOpenOptions, local: bytes, remote: bytes, segment: Segment, now_ns: i64,
) -> tuple[bool, bytes | None]:
    """Decide on a SYN: whether it opens at once, and the cookie that the SYN-ACK is to bring (``None``: none)."""
    counters = context.counters
    flags = context.config.tcp_fastopen
    offered = segment.fast_open
    has_text = segment.end > segment.start
    if offered is not None and not offered:
        counters.TcpExtTCPFastOpenCookieReqd += 1
    if (flags & SERVER) == 0 or (not has_text and offered is None) or (segment.flags & FIN) != 0:
        return False, None
    queue = options.queue
    if queue.limit == 0:
        return False, None
    if not queue.has_room(now_ns):
        counters.TcpExtTCPFastOpenListenOverflow += 1
        return False, None
    if options.is_cookie_free or (flags & SERVER_NO_COOKIE) != 0:
        counters.TcpExtTCPFastOpenPassive += 1
        return True, None
    if offered is None:
        return False, None
    keys = options.keys or context.fast_open.keys()
    fresh = make_cookie(keys[:KEY_BYTES], remote, local)
    if not offered:
        return False, fresh
    which = which_key(keys, remote, local, offered)
    if which == 0:
        counters.TcpExtTCPFastOpenPassiveFail += 1
        return False, fresh
    counters.TcpExtTCPFastOpenPassive += 1
    if which == 2:
        counters.TcpExtTCPFastOpenPassiveAltKey += 1
        return True, fresh
    return True, None


def arm(tcb: Tcb, now_ns: i64) -> None:
    """Start the SYN-ACK's timer."""
    tcb.arm(TIMER_SYN_ACK, now_ns + tcb.context.config.tcp_rto_initial_ns)


def on_timer(tcb: Tcb, now_ns: i64) -> None:
    """The SYN-ACK is not acknowledged: send it again, or give up after ``tcp_synack_retries`` + 1, as Linux."""
    fast_open = tcb.fast_open
    assert fast_open is not None
    pending = fast_open.pending
    assert pending is not None
    context = tcb.context
    config = context.config
    context.counters.TcpExtTCPTimeouts += 1
    if pending.timeouts >= config.tcp_synack_retries + 1:
        context.counters.TcpExtTCPAbortOnTimeout += 1
        context.counters.TcpAttemptFails += 1
        text = f"connection timed out: {pending.timeouts + 1} SYN-ACKs unanswered"
        fail(tcb, errno.ETIMEDOUT, text, "timed out")
        return
    if pending.timeouts == 1:
        # As Linux: the second timeout is taken for congestion.
        cwnd.set_window(tcb, tcb.snd_mss())
        recovery.lose_all(tcb, "retransmission timeout: SYN-ACK")
    pending.timeouts += 1
    silence.set_retries(tcb, pending.timeouts)
    _send_again(tcb, pending)
    wait_ns = min(config.tcp_rto_initial_ns << min(pending.timeouts, BACKOFFS_MAX), config.tcp_rto_max_ns)
    tcb.arm(TIMER_SYN_ACK, now_ns + wait_ns)


def _send_again(tcb: Tcb, pending: PendingSynAck) -> None:
    pending.retransmissions += 1
    pending.cookie = None
    pending.is_due = True
    delivered.count_syn_ack_repeats(tcb, 1)
    tcb.context.counters.TcpRetransSegs += 1
    tcb.context.counters.TcpExtTCPSynRetrans += 1


def is_answered_again(tcb: Tcb, pending: PendingSynAck, segment: Segment, now_ns: i64) -> bool:
    """Answer the SYN again if the peer repeats it, at a bounded rate. ``False``: it is another segment."""
    if (segment.flags & (SYN | ACK | RST)) != SYN or unwrap(segment.seq, tcb.irs) != tcb.irs:
        return False
    if now_ns - pending.last_repeat_ns < tcb.context.config.tcp_invalid_ratelimit_ns:
        tcb.context.counters.TcpExtTCPACKSkippedSynRecv += 1
        return True
    pending.last_repeat_ns = now_ns
    take_newer(tcb, segment)
    _send_again(tcb, pending)
    return True


def complete(tcb: Tcb, fast_open: FastOpen, pending: PendingSynAck, now_ns: i64) -> None:
    """Our SYN-ACK is acknowledged: the handshake is over, and the timer is free for text again."""
    release_fast_open(fast_open, now_ns, is_reset=False)
    if pending.retransmissions == 0 and tcb.srtt_ns == 0:
        on_sample(tcb, now_ns - pending.sent_ns)
    delivered.count_syn_ack_delivered(tcb)
    silence.end_retries(tcb)
    tcb.arm(TIMER_RTO, NEVER)
    if tcb.in_flight_count() > 0:
        rack.arm(tcb, now_ns)
