"""The face of a connection: what may be done to one, and what it tells.

In: ``on_segment``, ``on_deadline``, ``on_error`` and the commands (``open``, ``write``, ``read``, ``shutdown_write``,
``close``, ``abort``). Out: ``poll_segment`` until it gives ``None``; ``deadline_ns``. Every method with effects takes
``now_ns``. Whoever calls one puts the connection on the list of those to be polled (``Demux.touch``).
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.errors import os_error
from estab.events import BufferChanged, SegmentReceived, SegmentSent, TcbCreated, TimerFired
from estab.events import Tcb as TcbFact
from estab.tcp.arriving import arrives, fastopen_client, fastopen_server, icmp_errors, transitions
from estab.tcp.context import Context
from estab.tcp.ecn import classic as ecn
from estab.tcp.info import Info
from estab.tcp.receiving import receive
from estab.tcp.record.control import SSTHRESH_INFINITE, CongestionControl
from estab.tcp.record.tcb import NO_SEQ, TIMER_PROBE, TIMER_REORDER, TIMER_SYN_ACK, Tcb
from estab.tcp.recovery import mtu_search, rack, recovery, scoreboard
from estab.tcp.report import ca_name, limited_by, rate_told, report, timer_of
from estab.tcp.sending import output, segments, writing
from estab.tcp.state import state_text
from estab.tcp.window import room
from estab.tcp.window.rtt import timeout_ns
from estab.units import NEVER, format_duration
from estab.wire.seq import Seq, unwrap
from estab.wire.tcp import SYN, Segment, ecn_text, flags_text, options_text

__all__ = ["Connection"]

_THIN_LINEAR_RETRIES: Final = 6
_ORPHAN_RETRIES: Final = 8
"""What 0 means for ``tcp_orphan_retries``, as on Linux."""


class Connection(Tcb):
    """One TCP connection, from ``socket()`` to the end of TIME-WAIT."""

    def __init__(
        self, context: Context, key: bytes, local: bytes, local_port: i64, remote: bytes, remote_port: i64,
        congestion: CongestionControl, iss: i64 = -1,
    ) -> None:
        super().__init__(context, key, local, local_port, remote, remote_port, congestion)
        self.iss = iss if iss >= 0 else context.initial_sequence(key)
        self.snd_una = self.iss
        self.snd_nxt = self.iss
        self.recover = self.iss
        self.snd_sml = self.iss
        self.ts_offset = context.timestamp_offset(key)
        self.established_ns: i64 = 0

    # --- commands

    def open(self, now_ns: i64) -> None:
        """Open actively: the next ``poll_segment`` gives the SYN (RFC 9293 section 3.10.1)."""
        context = self.context
        self.cwnd_bytes = context.config.tcp_initial_cwnd * 536
        self.mss_base = 536
        self.rcv_wscale = choose_window_scale(self)
        if context.observer is not None:
            fd: i64 = -1 if self.owner is None else self.owner.fd
            context.tell(TcbCreated(context.now_ns, context.name, self.name(), fd, "CLOSED", "active open"))
        ecn.offer(self)
        if self.fast_open is not None:
            fastopen_client.prepare(self, self.fast_open, segments.receive_mss(self))
        transitions.set_state(self, abi.SYN_SENT, "connect()")
        context.counters.TcpActiveOpens += 1

    def write(self, data: bytes, now_ns: i64, flags: i64 = 0) -> i64:
        """Take as much of ``data`` into the send buffer as there is room for; returns how many bytes.

        ``flags``: MSG_MORE, more of the segment is to come; MSG_EOR, nothing joins it; MSG_OOB. Returning does not mean
        sent, and sent does not mean received. ``OSError``: the pending error, or EPIPE after the end of sending.
        """
        self.raise_error()
        state = self.state
        is_open = state == abi.ESTABLISHED or state == abi.CLOSE_WAIT or self.is_fast_child()
        if self.fin_wanted or not is_open:
            if not self.fin_wanted and (state == abi.SYN_SENT or state == abi.SYN_RECEIVED):
                return 0
            raise os_error(errno.EPIPE, f"broken pipe: {self.describe()}, sending is over")
        if not data:
            return 0
        sample = self.rate
        if sample is not None and self.unsent_bytes() < self.snd_mss() and self.pipe_bytes < self.cwnd_bytes:
            if self.lost_count == 0:
                sample.note_program_is_slow(self.delivered_bytes, self.pipe_bytes)
        count = writing.write(self, data, flags, now_ns)
        if count > 0:
            self._tell_send_buffer("the program wrote")
        return count

    def write_urgent(self, data: bytes, now_ns: i64) -> i64:
        """Write with the last byte marked urgent (MSG_OOB). RFC 9293 MUST-30, MUST-31; RFC 6093."""
        count = self.write(data, now_ns, abi.MSG_OOB)
        if count == len(data) and count > 0:
            self.snd_up = self.snd_nxt + self.unsent_bytes()
        return count

    def room(self) -> i64:
        """Give the free bytes of the send buffer; where there are none, the owner is told once there are."""
        free = self.send_buffer_bytes - self.outq_bytes()
        if free <= 0 or not room.has_room(self):
            self.is_out_of_room = True
            return 0
        return free

    def set_congestion(self, control: CongestionControl, now_ns: i64) -> None:
        """Hand the windows to another congestion control (TCP_CONGESTION)."""
        is_running = self.has_own_congestion
        self.congestion = control
        ecn.set_needed(self, control.needs_ecn())
        self.has_own_congestion = False
        self.pacing_rate = 0
        if is_running or (self.is_counted and control.is_needed_from_start()):
            self.control(now_ns)

    def read(self, size: i64, is_peek: bool, now_ns: i64) -> bytes:
        """Take up to ``size`` bytes of received text; ``b""`` where there is none (see ``is_eof``)."""
        return receive.read(self, size, is_peek, now_ns)

    def discard(self, now_ns: i64) -> i64:
        """Take all text that waits, without making bytes of it; returns how much."""
        return receive.discard(self, now_ns)

    def read_urgent(self, is_peek: bool) -> int:
        """Give the urgent octet (MSG_OOB): -1 not come yet, -2 none."""
        return receive.read_urgent(self, is_peek)

    def readable_bytes(self) -> i64:
        """Count the bytes ready to be read (SIOCINQ); an urgent byte out of line isn't."""
        count = self.unread_bytes()
        place = self.urgent_seq
        if place != NO_SEQ and not self.is_oob_inline and self.copied_seq <= place < self.rcv_nxt and count > 0:
            count -= 1
        return count

    def is_eof(self) -> bool:
        """Tell whether all there will ever be was read: the peer's FIN came, or reading was shut down."""
        ended = self.is_fin_received or self.is_read_shut or self.state == abi.CLOSED or self.state == abi.TIME_WAIT
        return ended and self.readable_bytes() == 0

    def is_writable(self) -> bool:
        """Tell whether a third of the send buffer is free, as Linux's poll does, or writing would fail at once."""
        state = self.state
        if self.error != 0 or self.fin_wanted:
            return True
        if state == abi.SYN_SENT:
            return self.fast_open is not None and self.fast_open.is_deferred
        if state == abi.SYN_RECEIVED and not self.is_fast_child():
            return False
        if state != abi.ESTABLISHED and state != abi.CLOSE_WAIT and state != abi.SYN_RECEIVED:
            return True
        return room.is_spacious(self)

    def shutdown_read(self) -> None:
        """End reading here; the peer is not told (shutdown(SHUT_RD))."""
        self.is_read_shut = True
        self.context.wake(self.owner)

    def shutdown_write(self, now_ns: i64) -> None:
        """Send a FIN behind the last byte of the send buffer (RFC 9293 section 3.10.4; shutdown(SHUT_WR))."""
        if self.fin_wanted:
            return
        state = self.state
        if state == abi.SYN_SENT:
            transitions.finish(self, "shut down while opening")
            return
        self.fin_wanted = True
        if state == abi.ESTABLISHED or self.is_fast_child():
            transitions.set_state(self, abi.FIN_WAIT_1, "shutdown() or close()")
        elif state == abi.CLOSE_WAIT:
            transitions.set_state(self, abi.LAST_ACK, "shutdown() or close()")

    def close(self, now_ns: i64) -> None:
        """Let go of the connection: it finishes on its own. Unread text makes it a reset (RFC 9293 SHLD-3)."""
        self.is_orphan = True
        self.owner = None
        state = self.state
        if state == abi.CLOSED or state == abi.TIME_WAIT:
            self.received = None
            return
        if self.unread_bytes() > 0 or (self.out_of_order is not None and self.out_of_order.size_bytes > 0):
            self.context.counters.TcpExtTCPAbortOnClose += 1
            self.received = None
            transitions.abort(self, 0, "", "closed with unread text")
            return
        if state == abi.SYN_SENT:
            transitions.finish(self, "closed while opening")
            return
        self.shutdown_write(now_ns)
        self.received = None
        if self.state == abi.FIN_WAIT_2:
            self.linger_ns = now_ns + self.fin_timeout_ns
        if self.keepalive_ns != NEVER and self.in_flight_count() == 0 and self.unsent is None:
            self.keepalive_ns = now_ns + self.keep_idle_ns

    def abort(self, now_ns: i64) -> None:
        """Close at once with a reset; what was not sent or not read is gone (RFC 9293 section 3.10.5)."""
        self.is_orphan = True
        self.owner = None
        self.received = None
        if self.state != abi.CLOSED and self.state != abi.TIME_WAIT:
            self.context.counters.TcpExtTCPAbortOnLinger += 1
            transitions.abort(self, 0, "", "aborted by the program")

    def set_keepalive(self, is_on: bool, now_ns: i64) -> None:
        """Switch keepalive (SO_KEEPALIVE). RFC 9293 MUST-24, MUST-25: off until asked for."""
        self.keepalive = is_on
        self.keepalive_ns = now_ns + self.keep_idle_ns if is_on and self.is_counted else NEVER

    def set_nodelay(self, is_on: bool) -> None:
        """Switch Nagle's rule off or on (TCP_NODELAY). RFC 9293 MUST-17. What waited goes at the next poll."""
        self.nodelay = is_on
        if is_on:
            self.is_push_forced = True  # even TCP_CORK does not hold what waits now, as in Linux

    def set_cork(self, is_on: bool) -> None:
        """Hold partial segments back, or let them go (TCP_CORK)."""
        self.is_corked = is_on
        if not is_on and self.nodelay:
            self.is_push_forced = True

    # --- errors

    def raise_error(self) -> None:
        """Raise the pending error, once."""
        if self.error != 0:
            number = self.error
            self.error = 0
            raise os_error(number, self.error_text)

    def take_error(self) -> i64:
        """Give the pending error's number and forget it (SO_ERROR); 0 for none."""
        number = self.error
        self.error = 0
        return number

    # --- in

    def on_segment(self, segment: Segment, now_ns: i64) -> None:
        """Take a segment that carries this connection's addresses and ports."""
        self.count_received(segment)
        self.is_more_coming = False  # an acknowledgment lets go what MSG_MORE held, as in Linux
        arrives.segment_arrives(self, segment, now_ns)
        if self.keepalive_ns != NEVER and self.probes_out == 0:
            self.keepalive_ns = max(self.keepalive_ns, now_ns + self.keep_idle_ns)
        if self.context.observer is not None:
            self._tell_received(segment)

    def count_received(self, segment: Segment) -> None:
        """Count a segment, whatever comes of it; a super-segment for each segment of the wire, as far as is known."""
        length = segment.end - segment.start
        count: i64 = 1
        if length > 0:
            if length > self.mss_base:
                count = (length + self.rcv_mss - 1) // self.rcv_mss
            self.data_segs_in += count
        self.segs_in += count

    def on_deadline(self, now_ns: i64) -> None:
        """Do what the timers that ran out by ``now_ns`` ask for."""
        if self.delack_ns <= now_ns:
            self.delack_ns = NEVER
            if self.is_ack_pending:
                self.is_ack_due = True
                self.is_interactive = False
                self.context.counters.TcpExtDelayedACKs += 1
                self._tell_timer("delayed-ack", "")
        if self.retransmit_ns <= now_ns:
            self._on_retransmit_timer(now_ns)
        if self.persist_ns <= now_ns:
            self._on_persist_timer(now_ns)
        if self.keepalive_ns <= now_ns:
            self._on_keepalive_timer(now_ns)
        if self.linger_ns <= now_ns:
            self._tell_timer("fin-wait-2", "no FIN from the peer")
            transitions.finish(self, "FIN-WAIT-2 timed out")

    def _on_retransmit_timer(self, now_ns: i64) -> None:
        self.retransmit_ns = NEVER
        kind = self.timer_kind
        if kind == TIMER_SYN_ACK:
            self._tell_timer("retransmit", "the SYN-ACK is not acknowledged")
            fastopen_server.on_timer(self, now_ns)
            return
        if self.in_flight_count() == 0:
            return
        if kind == TIMER_PROBE:
            self._tell_timer("loss-probe", "the tail of the flight is not acknowledged")
            rack.on_probe_timer(self, now_ns)
            return
        if kind == TIMER_REORDER:
            self._tell_timer("reordering", "a segment is late")
            recovery.on_reorder_timer(self, now_ns)
            return
        is_hopeless = self._is_hopeless(now_ns)
        if self.fast_open is not None:
            fastopen_client.note_timeout(self, self.fast_open, is_hopeless, now_ns)
        if is_hopeless:
            self._give_up(now_ns)
            return
        if self.retries == 0:
            self.rto_recoveries += 1
            self.rto_since_ns = now_ns
        self.retries += 1
        self.timeouts += 1
        config = self.context.config
        if self.retries == config.tcp_retries1:
            # RFC 9293 MUST-20, SHLD-9: at R1 tell IP, and note a soft error for the program.
            self.context.paths.suspect(self.remote)
            self.soft_error = errno.ETIMEDOUT
            transitions.tell_soft_error(self, errno.ETIMEDOUT, f"{self.retries} retransmissions unanswered")
        if self.retries > config.tcp_retries1 and self.state != abi.SYN_SENT:
            mtu_search.on_timeout(self, now_ns)
        self._back_off()
        self._tell_timer("retransmit", f"{self.retries} without an answer")
        recovery.on_timeout(self, now_ns)
        rack.arm_rto(self, now_ns)

    def _back_off(self) -> None:
        """Double the timeout (RFC 6298 rule 5.5), but for the first of a SYN's and those of a thin stream, if set so.

        A stream is thin that has less than four segments in flight: too few for duplicates to show a loss.
        """
        config = self.context.config
        if self.state == abi.SYN_SENT and self.timeouts <= config.tcp_syn_linear_timeouts:
            return
        is_thin = self.state == abi.ESTABLISHED and self.in_flight_count() < 4 and self._ssthresh() is not None
        if is_thin and config.tcp_thin_linear_timeouts and self.retries <= _THIN_LINEAR_RETRIES:
            self.backoff = 0
            return
        self.backoff += 1

    def _orphan_retries(self) -> i64:
        retries = self.context.config.tcp_orphan_retries
        return retries if retries > 0 else _ORPHAN_RETRIES

    def _doubling_ns(self, retries: i64) -> i64:
        """Give how long so many retransmissions of a SYN take with a timeout that doubles, the last wait with them."""
        config = self.context.config
        total: i64 = 0
        wait = config.tcp_rto_initial_ns
        for _ in range(retries + 1):
            total += wait
            wait = min(2 * wait, config.tcp_rto_max_ns)
        return total

    def _is_hopeless(self, now_ns: i64) -> bool:
        """Tell whether R2 is reached (RFC 9293 section 3.8.3). MUST-21, MUST-22, MUST-23."""
        config = self.context.config
        if self.user_timeout_ns > 0:
            return self.retries > 0 and now_ns - self.first_unanswered_ns >= self.user_timeout_ns
        if self.state == abi.SYN_SENT:
            if self.retries >= self.syn_retries + config.tcp_syn_linear_timeouts:
                return True
            # Linear timeouts make more SYNs, but none of them later (Linux's retransmits_timed_out).
            return self.retries > 0 and now_ns - self.first_unanswered_ns >= self._doubling_ns(self.syn_retries)
        if self.state == abi.SYN_RECEIVED:
            return self.retries >= config.tcp_synack_retries
        if self.is_orphan:
            is_shut_for_long = self.snd_wnd == 0 and now_ns - self.first_unanswered_ns >= 2 * config.tcp_rto_max_ns
            return self.retries >= self._orphan_retries() or is_shut_for_long
        return self.retries >= config.tcp_retries2

    def _give_up(self, now_ns: i64) -> None:
        counters = self.context.counters
        counters.TcpExtTCPAbortOnTimeout += 1
        waited = format_duration(now_ns - self.first_unanswered_ns)
        number: i64 = self.soft_error if self.soft_error != 0 else errno.ETIMEDOUT
        if self.state == abi.SYN_SENT:
            text = f"connection timed out: {self.retries + 1} SYNs unanswered in {waited}"
        else:
            text = f"connection timed out: {self.retries + 1} transmissions unanswered in {waited}"
        self._tell_timer("retransmit", "given up")
        transitions.fail(self, number, text, "timed out")

    def _on_persist_timer(self, now_ns: i64) -> None:
        """Probe a shut window. RFC 9293 MUST-35, MUST-36, SHLD-30."""
        self.persist_ns = NEVER
        if self.unsent is None and (not self.fin_wanted or self.fin_seq != NO_SEQ):
            return
        config = self.context.config
        limit = self._orphan_retries() if self.is_orphan else config.tcp_retries2
        if self.probes_out == 0:
            self.first_unanswered_ns = now_ns
        is_late = (
            self.user_timeout_ns > 0
            and self.probes_out > 0
            and now_ns - self.first_unanswered_ns >= self.user_timeout_ns
        )
        # As Linux: a peer that answers every probe keeps a program's connection open, not one that nobody waits for.
        is_worn_out = self.is_orphan and self.backoff >= limit and timeout_ns(self) >= config.tcp_rto_max_ns
        if self.probes_out >= limit or is_late or is_worn_out:
            self._tell_timer("persist", "given up")
            self.context.counters.TcpExtTCPAbortOnTimeout += 1
            waited = format_duration(now_ns - self.first_unanswered_ns)
            transitions.fail(
                self, errno.ETIMEDOUT,
                f"connection timed out: {self.probes_out} zero-window probes unanswered in {waited}", "timed out",
            )
            return
        self._tell_timer("persist", f"window {self.snd_wnd}")
        self.probes_out += 1
        self.backoff += 1
        self.is_probe_due = True
        self.persist_ns = now_ns + timeout_ns(self)

    def _on_keepalive_timer(self, now_ns: i64) -> None:
        """Ask an idle peer whether it is there (RFC 9293 section 3.8.4). MUST-24 to MUST-29."""
        self.keepalive_ns = NEVER
        is_alive = self.is_counted or self.state == abi.FIN_WAIT_1 or self.state == abi.FIN_WAIT_2
        if not self.keepalive or not is_alive:
            return
        if self.in_flight_count() > 0 or self.unsent is not None:
            # MUST-26: something is outstanding, which is probe enough.
            self.keepalive_ns = now_ns + self.keep_idle_ns
            return
        idle_ns = now_ns - self.last_received_ns
        if idle_ns < self.keep_idle_ns:
            self.keepalive_ns = self.last_received_ns + self.keep_idle_ns
            return
        is_late = self.probes_out >= self.keep_count
        if self.user_timeout_ns > 0:
            is_late = self.probes_out > 0 and idle_ns >= self.user_timeout_ns
        if is_late:
            self._tell_timer("keepalive", "given up")
            self.context.counters.TcpExtTCPAbortOnTimeout += 1
            silence = f"silent for {format_duration(idle_ns)}"
            text = f"connection timed out: {self.probes_out} keepalive probes unanswered, {silence}"
            transitions.abort(self, errno.ETIMEDOUT, text, "timed out")
            return
        self._tell_timer("keepalive", f"silent for {format_duration(idle_ns)}")
        self.probes_out += 1
        self.is_probe_due = True
        self.keepalive_ns = now_ns + self.keep_interval_ns

    def on_unreachable(self, number: i64, text: str, seq: Seq, now_ns: i64) -> None:
        """Take an ICMP error that quotes a segment of ours: see ``icmp_errors``."""
        icmp_errors.on_unreachable(self, number, text, seq)

    def on_mtu_changed(self, seq: Seq, now_ns: i64) -> None:
        """The path's MTU went down and a segment of ours was too big: see ``icmp_errors``."""
        icmp_errors.on_mtu_changed(self, seq)

    # --- out

    def poll_segment(self, now_ns: i64) -> Segment | None:
        """Give the next segment to send, ``None`` when there is nothing to send now."""
        segment = output.poll_segment(self, now_ns)
        if segment is not None:
            self._count_sent(segment, now_ns)
            if self.context.observer is not None:
                self._tell_sent(segment)
        return segment

    def _count_sent(self, segment: Segment, now_ns: i64) -> None:
        count: i64 = 1
        length = segment.end - segment.start
        if length > 0:
            count = scoreboard.segments_in(self, length)
            self.data_segs_out += count
            self.last_sent_ns = now_ns
        self.segs_out += count

    def deadline_ns(self) -> i64:
        """Give the soonest of the connection's timers."""
        due_ns = min(
            min(self.retransmit_ns, self.persist_ns), min(self.delack_ns, min(self.keepalive_ns, self.linger_ns))
        )
        if self.is_pacing:
            return min(due_ns, self.pace_ns)
        return due_ns

    # --- facts

    def info(self, now_ns: i64) -> Info:
        """Give what ``TCP_INFO`` tells."""
        return report(self, self.readable_bytes(), self.deadline_ns(), now_ns)

    def _ssthresh(self) -> int | None:
        return None if self.ssthresh_bytes >= SSTHRESH_INFINITE else self.ssthresh_bytes

    def fact(self) -> TcbFact:
        """Give the TCB's fields as a fact, sequence numbers relative."""
        queue = self.out_of_order
        rate = self.rate
        due_ns = self.deadline_ns()
        timer = timer_of(self, due_ns)
        return TcbFact(
            state=state_text(self.state), snd_una=self.snd_una - self.iss, snd_nxt=self.snd_nxt - self.iss,
            snd_wnd=self.snd_wnd, rcv_nxt=self._relative(self.rcv_nxt), rcv_wnd=max(0, self.rcv_adv - self.rcv_nxt),
            cwnd_bytes=self.cwnd_bytes, ssthresh_bytes=self._ssthresh(), srtt_ns=self.srtt_ns if self.srtt_ns else None,
            rto_ns=timeout_ns(self), send_buffer_bytes=self.outq_bytes(), unsent_bytes=self.unsent_bytes(),
            receive_buffer_bytes=self.unread_bytes(), out_of_order_bytes=0 if queue is None else queue.size_bytes,
            pipe_bytes=self.pipe_bytes, rttvar_ns=self.rttvar_ns, min_rtt_ns=self.min_rtt_ns,
            ca_state=ca_name(self), limited_by=limited_by(self), pacing_rate=rate_told(self.pace()),
            delivery_rate=0 if rate is None else rate.reported_rate,
            is_app_limited=rate is None or rate.is_reported_limited, retries=self.retries, timer=timer,
            timer_due_ns=due_ns if timer else 0, mss_bytes=self.snd_mss(), send_buffer_limit=self.send_buffer_bytes,
            receive_buffer_limit=self.receive_buffer_bytes,
        )

    def _relative(self, seq: i64) -> i64:
        return seq - self.irs if self.rcv_nxt != 0 else 0

    def _tell_sent(self, segment: Segment) -> None:
        context = self.context
        wnd = segment.wnd if (segment.flags & SYN) != 0 else segment.wnd << self.rcv_wscale
        context.tell(SegmentSent(
            context.now_ns, context.name, self.name(), flags_text(segment.flags),
            unwrap(segment.seq, self.snd_nxt) - self.iss, self._ack_fact(segment.ack, self.rcv_nxt, self.irs),
            segment.end - segment.start, wnd, options_text(segment), self.why, self.fact(), ecn_text(segment.tos),
        ))

    def _tell_received(self, segment: Segment) -> None:
        context = self.context
        wnd = segment.wnd if (segment.flags & SYN) != 0 else segment.wnd << self.snd_wscale
        context.tell(SegmentReceived(
            context.now_ns, context.name, self.name(), flags_text(segment.flags),
            unwrap(segment.seq, self.rcv_nxt) - self.irs if self.rcv_nxt != 0 else 0,
            self._ack_fact(segment.ack, self.snd_nxt, self.iss), segment.end - segment.start, wnd,
            options_text(segment), self.fact(), ecn_text(segment.tos),
        ))

    def _ack_fact(self, ack: Seq, near: i64, base: i64) -> i64:
        if near == 0:
            return 0
        return max(0, unwrap(ack, near) - base)

    def _tell_timer(self, timer: str, detail: str) -> None:
        context = self.context
        if context.observer is not None:
            context.tell(TimerFired(context.now_ns, context.name, self.name(), timer, detail))

    def _tell_send_buffer(self, what: str) -> None:
        context = self.context
        if context.observer is not None:
            context.tell(BufferChanged(
                context.now_ns, context.name, self.name(), "send", self.outq_bytes(), self.send_buffer_bytes, what,
            ))


def choose_window_scale(tcb: Tcb) -> i64:
    """Choose the scale so that the largest buffer's window can be told (RFC 7323 section 2.3), as Linux does."""
    config = tcb.context.config
    if not config.tcp_window_scaling:
        return 0
    space: i64 = tcb.receive_buffer_bytes if tcb.is_receive_buffer_fixed else max(config.tcp_rmem[2], config.rmem_max)
    scale: i64 = 0
    while space > 0xFFFF and scale < 14:
        space >>= 1
        scale += 1
    return scale


