"""LISTEN: what a SYN does, and how a connection is made of it (RFC 9293 section 3.10.7.2).

A SYN makes an entry in the half-open queue (``half_open``); the ACK that completes the handshake turns it into a
``Connection`` in the accept queue (``accept_queue``); ``accept()`` takes it from there. Both queues belong to the
listener. With Fast Open a SYN may make a connection at once, and with a cookie the ACK alone does.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.errors import DropReason
from estab.events import CookieChecked
from estab.tcp.arriving import arrives, fastopen_server
from estab.tcp.connection import Connection
from estab.tcp.context import Context
from estab.tcp.ecn import classic as ecn
from estab.tcp.info import Queues
from estab.tcp.listening import cookies
from estab.tcp.listening.child import keep_text, make_child, make_fast_child, take_kept_text
from estab.tcp.listening.half_open import HalfOpen, HalfOpenQueue
from estab.tcp.record.ecn_state import CLASSIC, OFF
from estab.tcp.record.fast_open import FastOpenOptions
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.numbers import default_mss_bytes
from estab.tcp.record.options import Options
from estab.tcp.record.tcb import SentSegment
from estab.tcp.record.timers import Endpoint
from estab.tcp.recovery.delivered import count_syn_ack_repeats
from estab.tcp.recovery.scoreboard import remember_sent
from estab.tcp.window.rtt import start_backoff
from estab.units import NEVER
from estab.wire.address import is_v4_mapped, unmap_v4
from estab.wire.seq import wrap
from estab.wire.tcp import ACK, RST, SYN, Segment

__all__ = ["HalfOpen", "Listener"]


class Listener(HalfOpenQueue):
    """A socket in LISTEN. ``local`` is ``b""`` for any address; ``is_v6_only`` matters only then."""

    def __init__(
        self, context: Context, local: bytes, port: i64, backlog: i64, options: Options, is_v6_only: bool, is_v6: bool,
    ) -> None:
        super().__init__(context, local, port, options)
        self.fast_open = FastOpenOptions()
        self.is_v6 = is_v6
        self.is_v6_only = is_v6_only
        self.is_closed: bool = False
        self.last_cookie_ns: i64 = -NEVER
        self.cookies_sent: i64 = 0
        self.cookies_accepted: i64 = 0
        self.cookies_failed: i64 = 0
        self.set_backlog(backlog)

    def score(self, destination: bytes) -> i64:
        """Rate how well the listener fits a destination: 0 not at all, 2 the same address, 1 any address."""
        local = self.local
        if local:
            return 2 if (unmap_v4(local) if is_v4_mapped(local) else local) == destination else 0
        if len(destination) == 16:
            return 1 if self.is_v6 else 0
        return 1 if not self.is_v6 or not self.is_v6_only else 0

    # --- a SYN

    def on_syn(self, ends: FourTuple, segment: Segment, iss: i64, now_ns: i64) -> Endpoint | None:
        """Take a SYN: returns the new half-open entry, ``None`` if the SYN was dropped or answered with a cookie.

        With Fast Open it may be a connection at once, which stands in the accept queue already.

        ``iss`` is the initial sequence number to use, -1 to choose one.
        """
        context = self.context
        config = context.config
        counters = context.counters
        if self.is_accept_queue_full() and config.backlog_policy != "syn":
            self.count_overflow()
            self.tell_accept_queue("overflow: SYN dropped", ends.remote, ends.remote_port)
            context.drop(DropReason.TCP_LISTEN_OVERFLOW, ends.name(), "SYN dropped")
            return None
        is_full = self.is_half_open_queue_full()
        if config.tcp_syncookies == "always" or (is_full and config.tcp_syncookies == "when full"):
            self._answer_with_cookie(ends, segment)
            return None
        if is_full and not (config.tcp_syn_recycle and self.evict_oldest()):
            self.half_open_drops += 1
            counters.TcpExtTCPReqQFullDrop += 1
            counters.TcpExtListenDrops += 1
            self.tell_half_open_queue("overflow: SYN dropped", ends.remote, ends.remote_port)
            context.drop(DropReason.TCP_REQ_QUEUE_FULL, ends.name(), "SYN dropped")
            return None
        is_open, cookie = fastopen_server.judge(context, self.fast_open, ends.local, ends.remote, segment, now_ns)
        number = iss if iss >= 0 else context.initial_sequence(ends.key)
        if is_open:
            return self._open_at_once(ends, segment, number, cookie, now_ns)
        entry = HalfOpen(self, ends, segment, number, now_ns)
        entry.fast_open_cookie = cookie
        keep_text(segment)
        self.half_open[ends.key] = entry
        if context.observer is not None:
            self.tell_half_open_queue("added", ends.remote, ends.remote_port)
            self.tell_state(entry.name(), abi.LISTEN, abi.SYN_RECEIVED, "SYN received")
        self.send_syn_ack(entry, now_ns)
        entry.due_ns = now_ns + config.tcp_rto_initial_ns
        return entry

    def _open_at_once(
        self, ends: FourTuple, segment: Segment, iss: i64, cookie: bytes | None, now_ns: i64,
    ) -> Connection:
        """Give a program the connection before its handshake is done: Fast Open."""
        child = make_fast_child(
            self.context, self.options, ends, iss, segment, self.fast_open.queue, cookie, now_ns,
        )
        self.tell_state(child.name(), abi.LISTEN, abi.SYN_RECEIVED, "SYN received: Fast Open")
        self.context.counters.TcpPassiveOpens += 1
        self.enqueue(child, now_ns)
        self.announce(child, "added before its handshake is done")
        return child

    def _answer_with_cookie(self, ends: FourTuple, syn: Segment) -> None:
        """Answer without remembering anything (RFC 4987 section 3.6)."""
        context = self.context
        counters = context.counters
        self.cookies_sent += 1
        self.last_cookie_ns = context.now_ns
        counters.TcpExtSyncookiesSent += 1
        if self.is_half_open_queue_full():
            counters.TcpExtTCPReqQFullDoCookies += 1
        peer_mss: i64 = syn.mss if syn.mss > 0 else default_mss_bytes(ends.remote)
        answer = self.syn_ack(syn, ends, cookies.make(context, ends.key, syn.seq, peer_mss))
        mode = ecn.answer(context.config, syn, self.needs_ecn())
        if answer.has_timestamps:
            wscale: i64 = syn.wscale if answer.wscale >= 0 else -1
            has_ecn = mode == CLASSIC
            answer.ts_val = cookies.timestamp_with_options(
                context, ends.key, wscale, sack_permitted=answer.sack_permitted, has_ecn=has_ecn,
            )
        else:
            answer.wscale = -1
            answer.sack_permitted = False
            if mode == CLASSIC:
                mode = OFF
        ecn.mark_syn_ack(
            context.config, mode, syn, answer, is_needed=self.needs_ecn(), is_repeat=False, is_late=False,
        )
        self.tell_half_open_queue("answered with a cookie", ends.remote, ends.remote_port)
        context.reply(answer, ends.local, ends.remote, "SYN cookie", 0, 1, self.options.ttl)

    # --- the third segment

    def complete(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> Connection | None:
        """Make the connection of an entry whose third segment came."""
        del self.half_open[entry.key]
        if self.context.observer is not None:
            self.tell_half_open_queue("completed", entry.ends.remote, entry.ends.remote_port)
        connection = make_child(self.context, self.options, entry.ends, entry.iss, entry.syn, "handshake complete")
        ecn.adopt(
            connection, entry.ecn_mode, entry.syn, is_needed=self.needs_ecn(), is_ect_off=entry.is_ecn_silent,
        )
        syn_ack = SentSegment(entry.iss, entry.iss + 1, SYN | ACK, b"", 0, entry.sent_ns)
        syn_ack.transmissions += entry.retransmissions
        remember_sent(connection, syn_ack)
        count_syn_ack_repeats(connection, entry.retransmissions)
        start_backoff(connection, entry.timeouts)
        self._admit(connection, segment, now_ns)
        take_kept_text(connection, entry.syn, segment, now_ns)
        return connection

    def on_cookie_ack(self, ends: FourTuple, segment: Segment, now_ns: i64) -> Connection | None:
        """Take an ACK for which there is no entry: if its number is a good cookie, the connection is made from that."""
        context = self.context
        counters = context.counters
        if (segment.flags & (SYN | RST | ACK)) != ACK:
            return None
        age_ns = now_ns - self.last_cookie_ns
        if context.config.tcp_syncookies == "never" or age_ns > cookies.PERIOD_NS * cookies.VALID_PERIODS:
            return None
        irs: i64 = (segment.seq - 1) & 0xFFFFFFFF
        iss: i64 = (segment.ack - 1) & 0xFFFFFFFF
        cookie = cookies.check(context, ends.key, irs, iss, segment.ts_ecr, has_timestamp=segment.has_timestamps)
        if context.observer is not None:
            mss: i64 = 0 if cookie is None else cookie.mss
            detail = ""
            if cookie is not None:
                detail = f"wscale {cookie.wscale}, sack {'yes' if cookie.sack_permitted else 'no'}"
            context.tell(CookieChecked(context.now_ns, context.name, ends.name(), cookie is not None, mss, detail))
        if cookie is None:
            self.cookies_failed += 1
            counters.TcpExtSyncookiesFailed += 1
            context.drop(DropReason.TCP_BAD_COOKIE, ends.name(), "")
            return None
        counters.TcpExtSyncookiesRecv += 1  # as Linux: each good one, also those that find the accept queue full
        if self.is_accept_queue_full():
            self.count_overflow()
            context.drop(DropReason.TCP_LISTEN_OVERFLOW, ends.name(), "cookie ACK ignored")
            self.tell_accept_queue("overflow: third segment ignored", ends.remote, ends.remote_port)
            return None
        self.tell_state(ends.name(), abi.LISTEN, abi.SYN_RECEIVED, "SYN cookie")
        self.cookies_accepted += 1
        syn = Segment(ends.remote_port, self.port, wrap(irs), wrap(0), SYN, segment.wnd)
        syn.mss = cookie.mss
        syn.wscale = cookie.wscale
        syn.sack_permitted = cookie.sack_permitted
        syn.has_timestamps = segment.has_timestamps
        syn.ts_val = segment.ts_val
        connection = make_child(context, self.options, ends, iss, syn, "SYN cookie came back")
        ecn.adopt_cookie(connection, segment, has_classic=cookie.has_ecn, is_needed=self.needs_ecn())
        self._admit(connection, segment, now_ns)
        return connection

    def _admit(self, connection: Connection, segment: Segment, now_ns: i64) -> None:
        """Let the third segment establish the connection and put it into the accept queue."""
        self.context.counters.TcpPassiveOpens += 1
        self.enqueue(connection, now_ns)
        connection.count_syn()
        connection.count_received(segment)
        arrives.segment_arrives(connection, segment, now_ns)  # it was reported when it reached the entry
        self.announce(connection, "added")

    # --- facts

    def queues(self, now_ns: i64) -> Queues:
        """Return both queues as they are now."""
        return Queues(
            policy=self.context.config.backlog_policy, backlog=self.backlog, half_open=self.half_open_rows(now_ns),
            half_open_limit=self.half_open_limit(), half_open_drops=self.half_open_drops,
            half_open_evictions=self.half_open_evictions, accept=self.accept_rows(now_ns),
            accept_limit=self.accept_limit(), accept_drops=self.accept_drops, cookies_sent=self.cookies_sent,
            cookies_accepted=self.cookies_accepted, cookies_failed=self.cookies_failed,
            fast_open_pending=self.fast_open.queue.pending, fast_open_limit=self.fast_open.queue.limit,
            fast_open_drops=self.fast_open.queue.overflows,
        )
