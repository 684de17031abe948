"""A client's Fast Open (RFC 7413 section 4.2.1): what its SYN carries, and what the SYN-ACK says of that.

The SYN and its text are two segments to the scoreboard, sent as one: a SYN that is sent again goes without text and
without the option, and what the SYN-ACK leaves unacknowledged is sent again at once.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.fastopen import CLIENT_NO_COOKIE, Cached
from estab.tcp.record.fast_open import FAIL_NO_COOKIE, FAIL_NOT_ACKNOWLEDGED, FAIL_SYN_REPEATED, FastOpen
from estab.tcp.record.tcb import Tcb
from estab.tcp.recovery import mtu_search, recovery
from estab.tcp.recovery.delivered import join_syn_and_text
from estab.tcp.sending.plan import put_on_syn
from estab.wire.tcp import OPTIONS_BYTES_MAX, Segment

__all__ = ["note_more", "note_timeout", "on_syn_ack", "prepare", "put_text"]

_PAUSE_AT_TIMEOUTS: Final = 2
"""The third timeout in a row is taken for a black hole."""


def _has_way(tcb: Tcb, fast_open: FastOpen, cached: Cached | None) -> bool:
    """Tell whether text may go on the SYN, and set what the option says."""
    context = tcb.context
    host = context.fast_open
    if host.is_pausing(context.now_ns) or host.is_refused(tcb.local, tcb.remote, i64(tcb.remote_port), context.now_ns):
        fast_open.cookie = None
        fast_open.fail = FAIL_NO_COOKIE
        return False
    fast_open.is_trial = host.is_on_trial()
    if fast_open.needs_no_cookie or (context.config.tcp_fastopen & CLIENT_NO_COOKIE) != 0:
        fast_open.cookie = None
        return True
    if cached is not None and cached.cookie:
        fast_open.cookie = cached.cookie
        fast_open.is_experimental = cached.is_experimental
        return True
    fast_open.cookie = b""
    fast_open.is_experimental = cached is not None and cached.try_experimental == 1
    fast_open.fail = FAIL_NO_COOKIE
    return False


def prepare(tcb: Tcb, fast_open: FastOpen, receive_mss: i64) -> None:
    """Before the SYN: decide what option it bears and how much text. ``receive_mss`` is what we advertise.

    RFC 7413 section 4.2.1: up to the MSS that the server gave last time, less all the room that options may take, for
    middle boxes add some.
    """
    cached = tcb.context.fast_open.find(tcb.local, tcb.remote)
    if not _has_way(tcb, fast_open, cached):
        fast_open.is_deferred = False
        return
    mss = receive_mss
    if cached is not None and cached.mss > 0:
        mss = cached.mss
    headers: i64 = 60 if len(tcb.remote) == 16 else 40
    mss = min(mss, tcb.context.paths.mtu_of(tcb.remote) - headers)
    if tcb.options.user_mss > 0:
        mss = min(mss, tcb.options.user_mss)
    mtu_search.start_with(tcb, mss)
    fast_open.text_limit = i64(tcb.peer_mss) - OPTIONS_BYTES_MAX


def put_text(tcb: Tcb, fast_open: FastOpen, data: bytes) -> i64:
    """Let the SYN carry as much of ``data`` as it may; returns how many bytes. It goes at the next poll."""
    fast_open.is_deferred = False
    count: i64 = min(len(data), fast_open.text_limit)
    if count > 0:
        put_on_syn(tcb, data[:count])
    return count


def note_more(fast_open: FastOpen, is_waiting: bool) -> None:
    """Note whether a program waits to write after the text of the SYN: the third segment then carries that text."""
    fast_open.has_more = is_waiting


def on_syn_ack(tcb: Tcb, fast_open: FastOpen, segment: Segment) -> bool:
    """The SYN-ACK has come: keep its cookie, count, and send again the text that it did not acknowledge.

    ``True``: there is text to send again, which carries our acknowledgment.
    """
    if not fast_open.has_option and not fast_open.has_text:
        return False
    context = tcb.context
    is_repeated = tcb.troubles is not None and tcb.troubles.segments_retransmitted > 0
    cookie = segment.fast_open
    try_experimental: i64 = 0
    if not fast_open.has_option:
        cookie = None  # we did not ask for it
    elif not is_repeated and cookie is None and not fast_open.has_text:
        if context.config.tcp_fastopen_experimental:
            try_experimental = 2 if fast_open.is_experimental else 1
        else:  # FreeBSD knows one kind of option, and asks a server without it no more
            context.fast_open.refuse(tcb.local, tcb.remote, i64(tcb.remote_port), context.now_ns)
    context.fast_open.remember(
        tcb.local, tcb.remote, segment.mss, cookie if cookie is not None else b"", segment.is_fast_open_experimental,
        try_experimental,
    )
    if not fast_open.has_text:
        return False
    if tcb.snd_una < tcb.snd_nxt:
        fast_open.fail = FAIL_SYN_REPEATED if is_repeated else FAIL_NOT_ACKNOWLEDGED
        context.counters.TcpExtTCPFastOpenActiveFail += 1
        if not cookie:  # a new one means that the old one was too old
            context.fast_open.refuse(tcb.local, tcb.remote, i64(tcb.remote_port), context.now_ns)
        recovery.lose_all(tcb, "the text of the SYN was not taken: it is sent again")
        return True
    fast_open.is_text_acknowledged = True
    join_syn_and_text(tcb)
    context.counters.TcpExtTCPFastOpenActive += 1
    return False


def note_timeout(tcb: Tcb, fast_open: FastOpen, now_ns: i64, *, is_hopeless: bool) -> None:
    """A timeout of a connection that began with Fast Open: the third in a row, or the last, makes the host pause."""
    if not (fast_open.has_option or fast_open.has_text):
        return
    retries = tcb.retries
    if is_hopeless and fast_open.has_text and tcb.state == abi.SYN_SENT:
        tcb.context.fast_open.refuse(tcb.local, tcb.remote, i64(tcb.remote_port), now_ns)
    if retries == _PAUSE_AT_TIMEOUTS or (retries < _PAUSE_AT_TIMEOUTS and is_hopeless):
        tcb.context.fast_open.pause(now_ns)
