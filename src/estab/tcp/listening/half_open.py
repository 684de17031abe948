"""The half-open queue: what is known between a SYN and the third segment (RFC 9293 section 3.10.7.4, SYN-RECEIVED).

A full queue drops the SYN, or answers it with a cookie, or drops its oldest entry (``tcp_syn_recycle``). A SYN-ACK
is sent again until ``tcp_synack_retries`` (RFC 4987 section 3.3). A segment for an entry is looked at in the RFC's
order.
"""

from __future__ import annotations

import errno

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.errors import DropReason
from estab.events import QueueChanged, StateChanged
from estab.tcp.arriving.transitions import answer_for_closed
from estab.tcp.connection import Connection
from estab.tcp.context import REFLECT_CONNECTIONS, Context, endpoint_text
from estab.tcp.ecn import classic as ecn
from estab.tcp.info import HalfOpenRow
from estab.tcp.listening import backlog
from estab.tcp.listening.accept_queue import AcceptQueue
from estab.tcp.receiving.receive import first_window, window_scale
from estab.tcp.record.ecn_state import ACCURATE
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.numbers import BACKOFFS_MAX
from estab.tcp.record.options import Options
from estab.tcp.record.timers import Endpoint
from estab.tcp.sending.segments import mss_to_offer
from estab.tcp.state import state_text
from estab.tcp.window.timestamps import clock, is_older
from estab.units import NEVER
from estab.wire.seq import Seq, unwrap, wrap
from estab.wire.tcp import ACK, AE, CWR, ECE, RST, SYN, Segment, segment_length

__all__ = ["HalfOpen", "HalfOpenQueue"]


@mypyc_attr(free_list_len=1)
class HalfOpen(Endpoint):
    """One entry of the half-open queue: what must be known between a SYN and the third segment. RFC 9293 MUST-11."""

    def __init__(
        self, listener: HalfOpenQueue, ends: FourTuple, segment: Segment, iss: i64, now_ns: i64,
    ) -> None:
        super().__init__(ends.key)
        context = listener.context
        self.listener = listener
        self.ends = ends
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
        return self.ends.name()


class HalfOpenQueue(AcceptQueue):
    """The half-open entries of one port; a listener's connections get their options from ``options``."""

    def __init__(self, context: Context, local: bytes, port: i64, options: Options) -> None:
        super().__init__(context, local, port)
        self.options = options
        """What the program set on the listening socket; each connection shares it."""
        self.defer_accept: i64 = 0
        """TCP_DEFER_ACCEPT: before so many timeouts of the SYN-ACK, a connection without text is none; 0 is off."""
        self.half_open: dict[bytes, HalfOpen] = {}
        self.evicted: HalfOpen | None = None
        """The entry that was dropped for the newest one, until the table has removed it."""
        self.half_open_drops: i64 = 0
        self.half_open_evictions: i64 = 0

    def complete(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> Connection | None:
        """Make the connection of an entry whose third segment came: see ``Listener``."""
        return None

    def half_open_limit(self) -> i64:
        """Return how many half-open entries there may be now."""
        return backlog.half_open_limit(self.context.config, self.backlog, self.waiting)

    def needs_ecn(self) -> bool:
        """Tell whether the congestion control that connections get needs marks."""
        return self.options.congestion.needs_ecn()

    def is_half_open_queue_full(self) -> bool:
        """Tell whether another SYN would not fit."""
        return len(self.half_open) >= self.half_open_limit()

    # --- the second segment

    def send_syn_ack(self, entry: HalfOpen, now_ns: i64) -> None:
        """Queue the second segment of the handshake for an entry."""
        context = self.context
        answer = self.syn_ack(entry.syn, entry.ends, entry.iss)
        is_late = entry.timeouts > 1
        if is_late and entry.ecn_mode == ACCURATE:
            entry.is_ecn_silent = True
        if answer.has_timestamps:
            answer.ts_val = clock(now_ns, context.timestamp_offset(entry.key))
        entry.sent_ns = now_ns
        why = "connection accepted"
        if entry.retransmissions > 0:
            why = f"retransmission: SYN-ACK {entry.retransmissions}"
        elif entry.fast_open_cookie is not None:
            answer.fast_open = entry.fast_open_cookie
            answer.is_fast_open_experimental = entry.syn.is_fast_open_experimental
            why = "connection accepted, with a cookie for Fast Open"
        is_repeat = entry.retransmissions > 0
        ecn.mark_syn_ack(
            context.config, entry.ecn_mode, entry.syn, answer, is_needed=self.needs_ecn(), is_repeat=is_repeat,
            is_late=is_late,
        )
        context.reply(answer, entry.ends.local, entry.ends.remote, why, 0, 1, self.options.ttl)

    def syn_ack(self, syn: Segment, ends: FourTuple, iss: i64) -> Segment:
        """Build a SYN-ACK that accepts what the SYN offered and our settings allow."""
        config = self.context.config
        answer = Segment(self.port, ends.remote_port, wrap(iss), wrap(syn.seq + 1), SYN | ACK, 0)
        options = self.options
        answer.tos = options.tos
        answer.flow_label = self.label_for(syn)
        answer.mss = mss_to_offer(self.context.paths, ends.remote, options.user_mss)
        answer.wnd = first_window(options)
        if config.tcp_sack and syn.sack_permitted:
            answer.sack_permitted = True
        if config.tcp_window_scaling and syn.wscale >= 0:
            answer.wscale = window_scale(config, options)
        if config.tcp_timestamps and syn.has_timestamps:
            answer.has_timestamps = True
            answer.ts_ecr = syn.ts_val
        return answer

    def label_for(self, syn: Segment) -> i64:
        """Give the flow label that answers to ``syn`` take from it, 0 for a label of their own (flowlabel_reflect)."""
        return syn.flow_label if (self.context.config.flowlabel_reflect & REFLECT_CONNECTIONS) != 0 else 0

    def evict_oldest(self) -> bool:
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

    # --- a segment for an entry

    def on_half_open_segment(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> Connection | None:
        """Take a segment for a half-open entry: returns the connection that it completes (RFC 9293 section
        3.10.7.4).
        """
        context = self.context
        seq = unwrap(segment.seq, entry.irs + 1)
        flags = segment.flags
        if seq == entry.irs and (flags & SYN) != 0 and (flags & (ACK | RST)) == 0:
            self._take_syn_again(entry, segment, now_ns)
            return None
        if not self._is_acceptable(entry, seq, segment, now_ns):
            return None
        if (flags & RST) != 0:
            # RFC 9293 MUST-11: a passive open goes back to LISTEN, and no program is told.
            if seq == entry.irs + 1 or context.config.tcp_insecure_rst:
                context.counters.TcpExtEmbryonicRsts += 1
                context.counters.TcpAttemptFails += 1
                self.give_up(entry, "reset by the peer")
            else:
                context.drop(DropReason.TCP_RESET, entry.name(), "reset not exact")
                self._challenge(entry, now_ns)
            return None
        if (flags & SYN) != 0:
            # RFC 9293 section 3.10.7.4, fourth: back to LISTEN. A client that lost its memory opens with its next SYN.
            context.drop(DropReason.TCP_SYN_IN_WINDOW, entry.name(), "")
            context.counters.TcpAttemptFails += 1
            self.give_up(entry, "a new SYN in the window")
            return None
        if (flags & ACK) == 0:
            context.drop(DropReason.TCP_NO_ACK, entry.name(), "")
            return None
        if segment.ack != wrap(entry.iss + 1):
            reset = answer_for_closed(segment)
            context.drop(DropReason.TCP_INVALID_ACK_SEQUENCE, entry.name(), "")
            if reset is not None:
                self._reset(entry, reset, "acknowledges what was not sent", 0, 0)
            return None
        if entry.timeouts < self.defer_accept and segment_length(segment) == 0:
            self._defer(entry)
            return None
        if self.is_accept_queue_full():
            self._overflow(entry)
            return None
        return self.complete(entry, segment, now_ns)

    def _take_syn_again(self, entry: HalfOpen, segment: Segment, now_ns: i64) -> None:
        """The SYN again: our SYN-ACK was lost or is late. Its timestamp is the one to echo now."""
        context = self.context
        syn = entry.syn
        if syn.has_timestamps and segment.has_timestamps and not is_older(segment.ts_val, syn.ts_val):
            syn.ts_val = segment.ts_val
        if ecn.wants_reset(context.config, entry.ecn_mode, segment):
            self._refuse_ecn_mix(entry)
            return
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

    def _refuse_ecn_mix(self, entry: HalfOpen) -> None:
        """Reset a peer whose SYNs ask for classic ECN and for AccECN: the two ends might differ on which it is.

        RFC 9768 section 3.1.5.
        """
        context = self.context
        context.drop(DropReason.TCP_FLAGS, entry.name(), "SYNs for classic ECN and for AccECN")
        reset = Segment(self.port, entry.ends.remote_port, wrap(0), wrap(entry.irs + 1), RST | ACK, 0)
        self._reset(entry, reset, "SYNs for two kinds of ECN feedback", 0, 1)
        self.give_up(entry, "reset: SYNs for two kinds of ECN feedback")

    def _is_acceptable(self, entry: HalfOpen, seq: i64, segment: Segment, now_ns: i64) -> bool:
        context = self.context
        if segment.has_timestamps and entry.syn.has_timestamps and (segment.flags & RST) == 0:
            if is_older(segment.ts_val, entry.syn.ts_val):
                context.counters.TcpExtPAWSEstab += 1
                context.drop(DropReason.TCP_RFC7323_PAWS, entry.name(), "")
                self._challenge(entry, now_ns)
                return False
        window = first_window(self.options)
        length = segment_length(segment)
        first = entry.irs + 1
        if (first <= seq < first + window) or (length > 0 and first < seq + length <= first + window):
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
        answer = Segment(self.port, entry.ends.remote_port, wrap(entry.iss + 1), wrap(entry.irs + 1), ACK, 0)
        wscale: i64 = 0
        if context.config.tcp_window_scaling and entry.syn.wscale >= 0:
            wscale = window_scale(context.config, self.options)
        answer.wnd = first_window(self.options) >> wscale
        answer.flow_label = self.label_for(entry.syn)
        answer.tos = self.options.tos
        if context.config.tcp_timestamps and entry.syn.has_timestamps:
            answer.has_timestamps = True
            answer.ts_val = clock(now_ns, context.timestamp_offset(entry.key))
            answer.ts_ecr = entry.syn.ts_val
        context.reply(
            answer, entry.ends.local, entry.ends.remote, "challenge acknowledgment", 1, 1, self.options.ttl, wscale,
        )

    def _reset(self, entry: HalfOpen, reset: Segment, why: str, seq_fact: i64, ack_fact: i64) -> None:
        """Send a reset from SYN-RECEIVED, as the socket's other segments go (RFC 9293 section 3.9.2)."""
        reset.tos = self.options.tos
        reset.flow_label = self.label_for(entry.syn)
        self.context.counters.TcpOutRsts += 1
        self.context.reply(
            reset, entry.ends.local, entry.ends.remote, why, seq_fact, ack_fact, self.options.ttl,
        )

    def _overflow(self, entry: HalfOpen) -> None:
        """The handshake is complete and the accept queue is full: the ACK is ignored, or answered with a reset."""
        context = self.context
        self.count_overflow()
        context.drop(DropReason.TCP_LISTEN_OVERFLOW, entry.name(), "third segment ignored")
        self.tell_accept_queue("overflow: third segment ignored", entry.ends.remote, entry.ends.remote_port)
        entry.was_acknowledged = True
        if context.config.tcp_abort_on_overflow:
            reset = Segment(self.port, entry.ends.remote_port, wrap(entry.iss + 1), wrap(0), RST, 0)
            self._reset(entry, reset, "accept queue full (tcp_abort_on_overflow)", 1, 0)
            self.give_up(entry, "reset: accept queue full")

    def _defer(self, entry: HalfOpen) -> None:
        """The handshake would be complete, but the program wants the connection only with its first text."""
        context = self.context
        context.counters.TcpExtTCPDeferAcceptDrop += 1
        context.drop(DropReason.TCP_DEFER_ACCEPT, entry.name(), "")
        if not entry.was_acknowledged:
            entry.was_acknowledged = True
            self.tell_half_open_queue("waits for text (TCP_DEFER_ACCEPT)", entry.ends.remote, entry.ends.remote_port)

    # --- time, errors, the end

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
        wait_ns = min(config.tcp_rto_initial_ns << min(entry.timeouts, BACKOFFS_MAX), config.tcp_rto_max_ns)
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
        self.tell_half_open_queue(what, entry.ends.remote, entry.ends.remote_port)
        if self.context.observer is not None:
            self.tell_state(entry.name(), abi.SYN_RECEIVED, abi.LISTEN, what)

    # --- facts

    def half_open_rows(self, now_ns: i64) -> tuple[HalfOpenRow, ...]:
        """Return the queue as it is now."""
        return tuple([
            HalfOpenRow(
                endpoint_text(entry.ends.remote, entry.ends.remote_port), now_ns - entry.created_ns,
                entry.retransmissions,
            )
            for entry in self.half_open.values()
        ])

    def tell_state(self, name: str, old: i64, new: i64, why: str) -> None:
        """Tell the observer of a step of the diagram that no connection takes yet."""
        context = self.context
        if context.observer is not None:
            context.tell(StateChanged(context.now_ns, context.name, name, state_text(old), state_text(new), why))

    def tell_limits(self, what: str) -> None:
        """Tell the observer that both queues have other limits; no connection is concerned."""
        context = self.context
        if context.observer is not None:
            context.tell(QueueChanged(context.now_ns, context.name, self.name(), "half-open", len(self.half_open),
                                      self.half_open_limit(), what, ""))
            context.tell(QueueChanged(context.now_ns, context.name, self.name(), "accept", self.waiting,
                                      self.accept_limit(), what, ""))

    def tell_half_open_queue(self, what: str, remote: bytes, remote_port: i64) -> None:
        """Tell the observer of a change."""
        context = self.context
        if context.observer is not None:
            context.tell(QueueChanged(
                context.now_ns, context.name, self.name(), "half-open", len(self.half_open), self.half_open_limit(),
                what, endpoint_text(remote, remote_port),
            ))
