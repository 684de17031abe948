"""LISTEN: the two queues of a passive open, and what happens when either is full (RFC 9293 section 3.10.7.2).

A SYN makes a ``HalfOpen`` entry in the half-open queue; the ACK that completes the handshake turns it into a
``Connection`` in the accept queue; ``accept()`` takes it from there. Both queues belong to the listener.
``backlog_policy`` says what the number given to ``listen()`` limits:

- ``accept`` (Linux): the accept queue holds backlog + 1; the half-open queue holds as many as backlog, too;
- ``sum`` (historic BSD): both together hold 3·backlog/2 + 1;
- ``syn``: the half-open queue holds backlog; the accept queue holds ``somaxconn``.

A full half-open queue drops the SYN, or answers it with a cookie, or gives up its oldest entry (``tcp_syn_recycle``).
A full accept queue drops SYNs, and leaves completed entries half-open, to be tried again when the SYN-ACK is repeated.
"""

from __future__ import annotations

import errno

from mypy_extensions import i64

from estab import abi
from estab.errors import DropReason
from estab.events import CookieChecked, QueueChanged, StateChanged
from estab.tcp.arriving import arrives, fastopen_server
from estab.tcp.arriving.transitions import answer_for_closed
from estab.tcp.connection import Connection, choose_window_scale
from estab.tcp.context import Context, Owner, endpoint_text, flow_text
from estab.tcp.ecn import classic as ecn
from estab.tcp.fastopen import FastOpenOptions
from estab.tcp.info import AcceptRow, HalfOpenRow, Queues
from estab.tcp.listening import backlog, cookies
from estab.tcp.listening.child import first_window, make_child, make_fast_child
from estab.tcp.record.ecn_state import ACCURATE, CLASSIC, OFF
from estab.tcp.record.tcb import SentSegment
from estab.tcp.record.timers import Endpoint
from estab.tcp.recovery.scoreboard import remember_sent
from estab.tcp.sending.segments import mss_to_offer
from estab.tcp.state import state_text
from estab.units import MS, NEVER
from estab.wire.seq import Seq, unwrap, wrap
from estab.wire.tcp import ACK, AE, CWR, ECE, RST, SYN, Segment, segment_length

__all__ = ["HalfOpen", "Listener", "Template"]


Template = Connection
"""The settings that a listener hands to its connections: a TCB that is never opened."""


class HalfOpen(Endpoint):
    """One entry of the half-open queue: what must be known between a SYN and the third segment. RFC 9293 MUST-11."""

    def __init__(
        self, listener: Listener, key: bytes, local: bytes, remote: bytes, remote_port: i64, segment: Segment,
        iss: i64, now_ns: i64,
    ) -> None:
        super().__init__(key)
        context = listener.context
        self.listener = listener
        self.local = local
        self.remote = remote
        self.remote_port = remote_port
        self.syn = segment
        self.irs: i64 = segment.seq
        self.iss: i64 = iss
        self.created_ns = now_ns
        self.sent_ns = now_ns
        self.retransmissions: i64 = 0
        self.timeouts: i64 = 0
        """Retransmissions that no repeated SYN asked for: only these use up ``tcp_synack_retries``."""
        self.was_acknowledged: bool = False
        """The third segment came, but the accept queue was full, or it brought no text (TCP_DEFER_ACCEPT)."""
        self.last_challenge_ns: i64 = -NEVER
        self.ecn_mode = ecn.answer(context.config, segment, listener.needs_ecn())
        self.is_ecn_silent: bool = False
        """A SYN or SYN-ACK without ECN crossed, although the first SYN asked for AccECN."""
        self.fast_open_cookie: bytes | None = None
        """What the first SYN-ACK brings to a client that asked for a cookie, or had a bad one."""

    def name(self) -> str:
        """Write the four-tuple as facts do."""
        return flow_text(self.local, self.listener.port, self.remote, self.remote_port)


class Listener:
    """A socket in LISTEN. ``local`` is ``b""`` for any address; ``is_v6_only`` matters only then."""

    def __init__(
        self, context: Context, local: bytes, port: i64, backlog: i64, template: Template,
        is_v6_only: bool, is_v6: bool,
    ) -> None:
        self.context = context
        self.local = local
        self.port = port
        self.template = template
        self.fast_open = FastOpenOptions()
        self.is_v6 = is_v6
        self.is_v6_only = is_v6_only
        self.owner: Owner | None = None
        self.is_closed: bool = False
        self.backlog: i64 = 0
        self.defer_accept: i64 = 0
        """TCP_DEFER_ACCEPT: before so many timeouts of the SYN-ACK, a connection without text is none; 0 is off."""
        self.half_open: dict[bytes, HalfOpen] = {}
        self.evicted: HalfOpen | None = None
        """The entry given up for the newest one, until the table has let go of it."""
        self.ready: list[Connection] = []
        self.last_cookie_ns: i64 = -NEVER
        self.half_open_drops: i64 = 0
        self.half_open_evictions: i64 = 0
        self.accept_drops: i64 = 0
        self.cookies_sent: i64 = 0
        self.cookies_accepted: i64 = 0
        self.cookies_failed: i64 = 0
        self.set_backlog(backlog)

    def name(self) -> str:
        """Write the listener as facts do: ``10.0.0.2:80>*``."""
        return f"{endpoint_text(self.local, self.port)}>*"

    # --- limits

    def set_backlog(self, backlog: i64) -> None:
        """Change the limit, as a second ``listen()`` does. Entries already queued stay."""
        self.backlog = max(0, min(backlog, self.context.config.somaxconn))

    def half_open_limit(self) -> i64:
        """Give how many half-open entries there may be now."""
        return backlog.half_open_limit(self.context.config, self.backlog, len(self.ready))

    def accept_limit(self) -> i64:
        """Give how many established connections may wait for ``accept()``."""
        return backlog.accept_limit(self.context.config, self.backlog)

    def needs_ecn(self) -> bool:
        """Tell whether the congestion control that connections get lives on marks."""
        return self.template.congestion.needs_ecn()

    def is_accept_queue_full(self) -> bool:
        """Tell whether another completed connection would not fit."""
        return len(self.ready) >= self.accept_limit()

    def is_half_open_queue_full(self) -> bool:
        """Tell whether another SYN would not fit."""
        return len(self.half_open) >= self.half_open_limit()

    # --- a SYN

    def on_syn(
        self, key: bytes, local: bytes, remote: bytes, remote_port: i64, segment: Segment, iss: i64, now_ns: i64,
    ) -> Endpoint | None:
        """Take a SYN: returns the new half-open entry, ``None`` where the SYN was dropped or answered with a cookie.

        With Fast Open it may be a connection at once, which stands in the accept queue already.

        ``iss`` is the initial sequence number to use, -1 to choose one.
        """
        context = self.context
        config = context.config
        counters = context.counters
        if self.is_accept_queue_full() and config.backlog_policy != "syn":
            self.accept_drops += 1
            counters.TcpExtListenOverflows += 1
            counters.TcpExtListenDrops += 1
            self._tell_queue("accept", "overflow: SYN dropped", remote, remote_port)
            flow = flow_text(local, self.port, remote, remote_port)
            context.drop(DropReason.TCP_LISTEN_OVERFLOW, flow, "SYN dropped")
            return None
        is_full = self.is_half_open_queue_full()
        if config.tcp_syncookies == "always" or (is_full and config.tcp_syncookies == "when full"):
            self._answer_with_cookie(key, local, remote, remote_port, segment)
            return None
        if is_full and not (config.tcp_syn_recycle and self._evict_oldest()):
            self.half_open_drops += 1
            counters.TcpExtTCPReqQFullDrop += 1
            counters.TcpExtListenDrops += 1
            self._tell_queue("half-open", "overflow: SYN dropped", remote, remote_port)
            context.drop(DropReason.TCP_REQ_QUEUE_FULL, flow_text(local, self.port, remote, remote_port), "SYN dropped")
            return None
        is_open, cookie = fastopen_server.judge(context, self.fast_open, local, remote, segment, now_ns)
        number = iss if iss >= 0 else context.initial_sequence(key)
        if is_open:
            return self._open_at_once(key, local, remote, remote_port, segment, number, cookie, now_ns)
        entry = HalfOpen(self, key, local, remote, remote_port, segment, number, now_ns)
        entry.fast_open_cookie = cookie
        segment.data = b""  # text on a SYN is not kept: the peer sends it again
        segment.start = 0
        segment.end = 0
        self.half_open[key] = entry
        self._tell_queue("half-open", "added", remote, remote_port)
        if context.observer is not None:
            self._tell_state(entry.name(), abi.LISTEN, abi.SYN_RECEIVED, "SYN received")
        self.send_syn_ack(entry, now_ns)
        entry.due_ns = now_ns + config.tcp_rto_initial_ns
        return entry

    def _open_at_once(
        self, key: bytes, local: bytes, remote: bytes, remote_port: i64, segment: Segment, iss: i64,
        cookie: bytes | None, now_ns: i64,
    ) -> Connection:
        """Let a program have the connection before its handshake is done: Fast Open."""
        child = make_fast_child(
            self.context, self.template, key, local, self.port, remote, remote_port, iss, segment,
            self.fast_open.queue, cookie, now_ns,
        )
        self._tell_state(child.name(), abi.LISTEN, abi.SYN_RECEIVED, "SYN received: Fast Open")
        self.context.counters.TcpPassiveOpens += 1
        self.ready.append(child)
        child.established_ns = now_ns
        self._tell_queue("accept", "added before its handshake is done", remote, remote_port)
        self.context.wake(self.owner)
        return child

    def send_syn_ack(self, entry: HalfOpen, now_ns: i64) -> None:
        """Queue the second segment of the handshake for an entry."""
        context = self.context
        answer = self._syn_ack(entry.syn, entry.local, entry.remote, entry.remote_port, entry.iss)
        is_late = entry.timeouts > 1
        if is_late and entry.ecn_mode == ACCURATE:
            entry.is_ecn_silent = True
        if answer.has_timestamps:
            answer.ts_val = (now_ns // MS + context.timestamp_offset(entry.key)) & 0xFFFFFFFF
        entry.sent_ns = now_ns
        why = "connection accepted"
        if entry.retransmissions > 0:
            why = f"retransmission: SYN-ACK {entry.retransmissions}"
        elif entry.fast_open_cookie is not None:
            answer.fast_open = entry.fast_open_cookie
            answer.is_fast_open_experimental = entry.syn.is_fast_open_experimental
            why = "connection accepted, with a cookie for Fast Open"
        is_repeat = entry.retransmissions > 0
        ecn.mark_syn_ack(context.config, entry.ecn_mode, self.needs_ecn(), entry.syn, is_repeat, is_late, answer)
        context.reply(answer, entry.local, entry.remote, why, 0, 1, self.template.ttl)

    def _syn_ack(self, syn: Segment, local: bytes, remote: bytes, remote_port: i64, iss: i64) -> Segment:
        """Build a SYN-ACK that accepts what the SYN offered and our settings allow."""
        config = self.context.config
        answer = Segment(self.port, remote_port, wrap(iss), wrap(syn.seq + 1), SYN | ACK, 0)
        template = self.template
        answer.tos = template.tos
        answer.mss = mss_to_offer(self.context.paths, remote, template.user_mss)
        answer.wnd = first_window(self.template)
        if config.tcp_sack and syn.sack_permitted:
            answer.sack_permitted = True
        if config.tcp_window_scaling and syn.wscale >= 0:
            answer.wscale = choose_window_scale(template)
        if config.tcp_timestamps and syn.has_timestamps:
            answer.has_timestamps = True
            answer.ts_ecr = syn.ts_val
        return answer

    def _answer_with_cookie(self, key: bytes, local: bytes, remote: bytes, remote_port: i64, syn: Segment) -> None:
        """Answer without remembering anything (RFC 4987 section 3.6)."""
        context = self.context
        counters = context.counters
        self.cookies_sent += 1
        self.last_cookie_ns = context.now_ns
        counters.TcpExtSyncookiesSent += 1
        if self.is_half_open_queue_full():
            counters.TcpExtTCPReqQFullDoCookies += 1
        peer_mss: i64 = syn.mss if syn.mss > 0 else (1220 if len(remote) == 16 else 536)
        answer = self._syn_ack(syn, local, remote, remote_port, cookies.make(context, key, syn.seq, peer_mss))
        mode = ecn.answer(context.config, syn, self.needs_ecn())
        if answer.has_timestamps:
            wscale: i64 = syn.wscale if answer.wscale >= 0 else -1
            has_ecn = mode == CLASSIC
            answer.ts_val = cookies.timestamp_with_options(context, key, wscale, answer.sack_permitted, has_ecn)
        else:
            answer.wscale = -1
            answer.sack_permitted = False
            if mode == CLASSIC:
                mode = OFF
        ecn.mark_syn_ack(context.config, mode, self.needs_ecn(), syn, False, False, answer)
        self._tell_queue("half-open", "answered with a cookie", remote, remote_port)
        context.reply(answer, local, remote, "SYN cookie", 0, 1, self.template.ttl)

    def _evict_oldest(self) -> bool:
        """Make room by giving up the oldest entry (RFC 4987 section 3.4)."""
        for key in self.half_open:
            entry = self.half_open[key]
            self.half_open_evictions += 1
            self.context.counters.EstabListenEvicted += 1
            self.context.drop(DropReason.TCP_REQ_EVICTED, entry.name(), "oldest half-open entry")
            self.give_up(entry, "evicted")
            self.evicted = entry
            return True
        return False

    # --- the third segment

    def on_half_open_segment(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> Connection | None:
        """Take a segment for a half-open entry: returns the connection that it completes (RFC 9293 section
        3.10.7.4).
        """
        context = self.context
        seq = unwrap(segment.seq, entry.irs + 1)
        flags = segment.flags
        if seq == entry.irs and (flags & SYN) != 0 and (flags & (ACK | RST)) == 0:
            # The SYN again: our SYN-ACK was lost or is late. Its timestamp is the one to echo now.
            syn = entry.syn
            age: i64 = (segment.ts_val - syn.ts_val) & 0xFFFFFFFF
            if syn.has_timestamps and segment.has_timestamps and age <= 0x7FFFFFFF:
                syn.ts_val = segment.ts_val
            if ecn.wants_reset(context.config, entry.ecn_mode, segment):
                self._refuse_ecn_mix(entry)
                return None
            syn.tos = segment.tos
            if entry.ecn_mode == ACCURATE and (segment.flags & (AE | CWR | ECE)) == 0:
                entry.is_ecn_silent = True
            if now_ns - entry.last_challenge_ns >= context.config.tcp_invalid_ratelimit_ns:
                entry.last_challenge_ns = now_ns
                entry.retransmissions += 1
                context.counters.TcpRetransSegs += 1
                context.counters.TcpExtTCPSynRetrans += 1
                self.send_syn_ack(entry, now_ns)
            else:
                context.counters.TcpExtTCPACKSkippedSynRecv += 1
            return None
        if not self._is_acceptable(entry, seq, segment, now_ns):
            return None
        if (flags & RST) != 0:
            # RFC 9293 MUST-11: a passive open goes back to LISTEN, and no program hears of it.
            if seq == entry.irs + 1 or context.config.tcp_insecure_rst:
                context.counters.TcpExtEmbryonicRsts += 1
                context.counters.TcpAttemptFails += 1
                self.give_up(entry, "reset by the peer")
            else:
                context.drop(DropReason.TCP_RESET, entry.name(), "reset not exact")
                self._challenge(entry, now_ns)
            return None
        if (flags & SYN) != 0:
            context.drop(DropReason.TCP_SYN_IN_WINDOW, entry.name(), "")
            self._challenge(entry, now_ns)
            return None
        if (flags & ACK) == 0:
            context.drop(DropReason.TCP_NO_ACK, entry.name(), "")
            return None
        if segment.ack != wrap(entry.iss + 1):
            reset = answer_for_closed(segment)
            context.drop(DropReason.TCP_INVALID_ACK_SEQUENCE, entry.name(), "")
            if reset is not None:
                context.counters.TcpOutRsts += 1
                context.reply(reset, entry.local, entry.remote, "acknowledges what was not sent", 0, 0)
            return None
        if entry.timeouts < self.defer_accept and segment_length(segment) == 0:
            self._defer(entry)
            return None
        if self.is_accept_queue_full():
            self._overflow(entry)
            return None
        return self._complete(entry, segment, now_ns)

    def _refuse_ecn_mix(self, entry: HalfOpen) -> None:
        """Reset a peer whose SYNs ask for classic ECN and for AccECN: the two ends might differ on which it is.

        RFC 9768 section 3.1.5.
        """
        context = self.context
        context.drop(DropReason.TCP_FLAGS, entry.name(), "SYNs for classic ECN and for AccECN")
        reset = Segment(self.port, entry.remote_port, wrap(0), wrap(entry.irs + 1), RST | ACK, 0)
        context.counters.TcpOutRsts += 1
        context.reply(reset, entry.local, entry.remote, "SYNs for two kinds of ECN feedback", 0, 1)
        self.give_up(entry, "reset: SYNs for two kinds of ECN feedback")

    def _is_acceptable(self, entry: HalfOpen, seq: i64, segment: Segment, now_ns: i64) -> bool:
        context = self.context
        if segment.has_timestamps and entry.syn.has_timestamps and (segment.flags & RST) == 0:
            age: i64 = (segment.ts_val - entry.syn.ts_val) & 0xFFFFFFFF
            if age > 0x7FFFFFFF:
                context.counters.TcpExtPAWSEstab += 1
                context.drop(DropReason.TCP_RFC7323_PAWS, entry.name(), "")
                self._challenge(entry, now_ns)
                return False
        window = first_window(self.template)
        length = segment_length(segment)
        first = entry.irs + 1
        if (first <= seq < first + window) or (first < seq + length <= first + window):
            return True
        context.drop(DropReason.TCP_INVALID_SEQUENCE, entry.name(), f"{seq - entry.irs}, expected 1")
        if (segment.flags & RST) == 0:
            self._challenge(entry, now_ns)
        return False

    def _challenge(self, entry: HalfOpen, now_ns: i64) -> None:
        """Acknowledge from SYN-RECEIVED, at a bounded rate."""
        context = self.context
        if now_ns - entry.last_challenge_ns < context.config.tcp_invalid_ratelimit_ns or not context.may_challenge():
            context.counters.TcpExtTCPACKSkippedSynRecv += 1
            return
        entry.last_challenge_ns = now_ns
        context.counters.TcpExtTCPChallengeACK += 1
        answer = Segment(self.port, entry.remote_port, wrap(entry.iss + 1), wrap(entry.irs + 1), ACK, 0)
        wscale: i64 = 0
        if context.config.tcp_window_scaling and entry.syn.wscale >= 0:
            wscale = choose_window_scale(self.template)
        answer.wnd = first_window(self.template) >> wscale
        if context.config.tcp_timestamps and entry.syn.has_timestamps:
            answer.has_timestamps = True
            answer.ts_val = (now_ns // MS + context.timestamp_offset(entry.key)) & 0xFFFFFFFF
            answer.ts_ecr = entry.syn.ts_val
        context.reply(answer, entry.local, entry.remote, "challenge acknowledgment", 1, 1, self.template.ttl, wscale)

    def _overflow(self, entry: HalfOpen) -> None:
        """The handshake is complete and the accept queue is full: the ACK is ignored, or answered with a reset."""
        context = self.context
        self.accept_drops += 1
        context.counters.TcpExtListenOverflows += 1
        context.counters.TcpExtListenDrops += 1
        context.drop(DropReason.TCP_LISTEN_OVERFLOW, entry.name(), "third segment ignored")
        self._tell_queue("accept", "overflow: third segment ignored", entry.remote, entry.remote_port)
        entry.was_acknowledged = True
        if context.config.tcp_abort_on_overflow:
            reset = Segment(self.port, entry.remote_port, wrap(entry.iss + 1), wrap(0), RST, 0)
            context.counters.TcpOutRsts += 1
            context.reply(reset, entry.local, entry.remote, "accept queue full (tcp_abort_on_overflow)", 1, 0)
            self.give_up(entry, "reset: accept queue full")

    def _defer(self, entry: HalfOpen) -> None:
        """The handshake would be complete, but the program wants to hear of it with the first text only."""
        context = self.context
        context.counters.TcpExtTCPDeferAcceptDrop += 1
        context.drop(DropReason.TCP_DEFER_ACCEPT, entry.name(), "")
        if not entry.was_acknowledged:
            entry.was_acknowledged = True
            self._tell_queue("half-open", "waits for text (TCP_DEFER_ACCEPT)", entry.remote, entry.remote_port)

    def _complete(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> Connection:
        del self.half_open[entry.key]
        self._tell_queue("half-open", "completed", entry.remote, entry.remote_port)
        connection = make_child(
            self.context, self.template, entry.key, entry.local, self.port, entry.remote, entry.remote_port,
            entry.iss, entry.syn, "handshake complete",
        )
        ecn.adopt(connection, entry.ecn_mode, self.needs_ecn(), entry.syn, entry.is_ecn_silent)
        syn_ack = SentSegment(entry.iss, entry.iss + 1, SYN | ACK, b"", entry.sent_ns)
        syn_ack.transmissions += entry.retransmissions
        remember_sent(connection, syn_ack)
        connection.segments_retransmitted = entry.retransmissions
        connection.backoff = entry.timeouts
        self._admit(connection, segment, now_ns)
        return connection

    def on_cookie_ack(
        self, key: bytes, local: bytes, remote: bytes, remote_port: i64, segment: Segment, now_ns: i64,
    ) -> Connection | None:
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
        cookie = cookies.check(context, key, irs, iss, segment.ts_ecr, segment.has_timestamps)
        if context.observer is not None:
            mss: i64 = 0 if cookie is None else cookie.mss
            name = flow_text(local, self.port, remote, remote_port)
            detail = ""
            if cookie is not None:
                detail = f"wscale {cookie.wscale}, sack {'yes' if cookie.sack_permitted else 'no'}"
            context.tell(CookieChecked(context.now_ns, context.name, name, cookie is not None, mss, detail))
        if cookie is None:
            self.cookies_failed += 1
            counters.TcpExtSyncookiesFailed += 1
            context.drop(DropReason.TCP_BAD_COOKIE, flow_text(local, self.port, remote, remote_port), "")
            return None
        if self.is_accept_queue_full():
            self.accept_drops += 1
            counters.TcpExtListenOverflows += 1
            counters.TcpExtListenDrops += 1
            flow = flow_text(local, self.port, remote, remote_port)
            context.drop(DropReason.TCP_LISTEN_OVERFLOW, flow, "cookie ACK ignored")
            self._tell_queue("accept", "overflow: third segment ignored", remote, remote_port)
            return None
        self._tell_state(flow_text(local, self.port, remote, remote_port), abi.LISTEN, abi.SYN_RECEIVED, "SYN cookie")
        self.cookies_accepted += 1
        counters.TcpExtSyncookiesRecv += 1
        syn = Segment(remote_port, self.port, wrap(irs), wrap(0), SYN, segment.wnd)
        syn.mss = cookie.mss
        syn.wscale = cookie.wscale
        syn.sack_permitted = cookie.sack_permitted
        syn.has_timestamps = segment.has_timestamps
        syn.ts_val = segment.ts_val
        connection = make_child(
            context, self.template, key, local, self.port, remote, remote_port, iss, syn, "SYN cookie came back",
        )
        ecn.adopt_cookie(connection, cookie.has_ecn, self.needs_ecn(), segment)
        self._admit(connection, segment, now_ns)
        return connection

    def _admit(self, connection: Connection, segment: Segment, now_ns: i64) -> None:
        """Let the third segment establish the connection and put it into the accept queue."""
        self.context.counters.TcpPassiveOpens += 1
        self.ready.append(connection)
        connection.established_ns = now_ns
        connection.segs_in = 1  # the SYN; the SYN-ACK was not the connection's (as Linux counts)
        connection.count_received(segment)
        arrives.segment_arrives(connection, segment, now_ns)  # it was told of when it reached the entry
        self._tell_queue("accept", "added", connection.remote, connection.remote_port)
        self.context.wake(self.owner)

    # --- time, accept, close

    def on_deadline(self, entry: HalfOpen, now_ns: i64) -> None:
        """Send the SYN-ACK again, or give the entry up after ``tcp_synack_retries`` (RFC 4987 section 3.3).

        With TCP_DEFER_ACCEPT a peer that has answered is left alone until the last timeout, whose SYN-ACK gives it one
        more chance: what answers that makes the connection, with text or without.
        """
        config = self.context.config
        is_waiting = self.defer_accept > 0 and entry.was_acknowledged
        if entry.timeouts >= config.tcp_synack_retries and not (is_waiting and entry.timeouts < self.defer_accept):
            self.context.counters.TcpAttemptFails += 1
            self.give_up(entry, "expired")
            return
        is_quiet = is_waiting and entry.timeouts < self.defer_accept - 1
        entry.timeouts += 1
        if not is_quiet:
            entry.retransmissions += 1
            self.context.counters.TcpRetransSegs += 1
            self.context.counters.TcpExtTCPTimeouts += 1
            self.send_syn_ack(entry, now_ns)
        wait_ns = min(config.tcp_rto_initial_ns << entry.timeouts, config.tcp_rto_max_ns)
        entry.due_ns = now_ns + wait_ns

    def on_unreachable(self, entry: HalfOpen, number: i64, text: str, seq: Seq) -> None:
        """Take an ICMP error that quotes our SYN-ACK: an entry whose peer can't be reached is given up, as on Linux.

        One that quotes another number is ignored (RFC 5927 section 4.1).
        """
        if seq != wrap(entry.iss):
            self.context.counters.TcpExtOutOfWindowIcmps += 1
        elif number == errno.EHOSTUNREACH or number == errno.ENETUNREACH or number == errno.EPROTO:
            self.context.counters.TcpExtListenDrops += 1
            self.give_up(entry, f"ICMP error: {text}")

    def give_up(self, entry: HalfOpen, what: str) -> None:
        """Take an entry out of the half-open queue."""
        if self.half_open.pop(entry.key, None) is None:
            return
        entry.due_ns = NEVER
        self._tell_queue("half-open", what, entry.remote, entry.remote_port)
        if self.context.observer is not None:
            self._tell_state(entry.name(), abi.SYN_RECEIVED, abi.LISTEN, what)

    def accept(self) -> Connection | None:
        """Take the oldest established connection, ``None`` where none waits. One that died while waiting is handed
        out too.
        """
        if not self.ready:
            return None
        connection = self.ready.pop(0)
        self._tell_queue("accept", "taken", connection.remote, connection.remote_port)
        return connection

    def queues(self, now_ns: i64) -> Queues:
        """Give both queues as they are now."""
        half_open = tuple([
            HalfOpenRow(
                endpoint_text(entry.remote, entry.remote_port), now_ns - entry.created_ns, entry.retransmissions,
            )
            for entry in self.half_open.values()
        ])
        ready = tuple([
            AcceptRow(
                endpoint_text(child.remote, child.remote_port), now_ns - child.established_ns, child.unread_bytes(),
                child.is_fast_child(),
            )
            for child in self.ready
        ])
        return Queues(
            policy=self.context.config.backlog_policy, backlog=self.backlog, half_open=half_open,
            half_open_limit=self.half_open_limit(), half_open_drops=self.half_open_drops,
            half_open_evictions=self.half_open_evictions, accept=ready, accept_limit=self.accept_limit(),
            accept_drops=self.accept_drops, cookies_sent=self.cookies_sent, cookies_accepted=self.cookies_accepted,
            cookies_failed=self.cookies_failed, fast_open_pending=self.fast_open.queue.pending,
            fast_open_limit=self.fast_open.queue.limit, fast_open_drops=self.fast_open.queue.overflows,
        )

    def _tell_state(self, name: str, old: i64, new: i64, why: str) -> None:
        context = self.context
        if context.observer is not None:
            context.tell(StateChanged(context.now_ns, context.name, name, state_text(old), state_text(new), why))

    def _tell_queue(self, queue: str, what: str, remote: bytes, remote_port: i64) -> None:
        context = self.context
        if context.observer is None:
            return
        if queue == "accept":
            depth: i64 = len(self.ready)
            limit = self.accept_limit()
        else:
            depth = len(self.half_open)
            limit = self.half_open_limit()
        context.tell(QueueChanged(
            context.now_ns, context.name, self.name(), queue, depth, limit, what, endpoint_text(remote, remote_port),
        ))
