"""A connection: its commands, its inputs and outputs, and what it reports.

In: ``on_segment``, ``on_deadline``, ``on_error`` and the commands (``open``, ``write``, ``read``, ``shutdown_write``,
``close``, ``abort``). Out: ``poll_segment`` until it gives ``None``; ``deadline_ns``. Methods that look at the time
take ``now_ns``. The caller then puts the connection on the list of those to be polled (``Demux.touch``).
"""

from __future__ import annotations

import errno

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.errors import os_error
from estab.events import BufferChanged, SegmentReceived, SegmentSent, TcbCreated
from estab.events import Tcb as TcbFact
from estab.tcp.arriving import arrives, fastopen_client, icmp_errors, timeouts, transitions
from estab.tcp.context import Context, Owner
from estab.tcp.ecn import classic as ecn
from estab.tcp.info import Info
from estab.tcp.receiving import acknowledging, receive
from estab.tcp.record.control import SSTHRESH_INFINITE, CongestionControl
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES
from estab.tcp.record.options import Options
from estab.tcp.record.parts import marks_of
from estab.tcp.record.tcb import NO_SEQ, Tcb
from estab.tcp.record.timer_table import TIMER_FIN_WAIT_2, TIMER_KEEPALIVE
from estab.tcp.recovery import cwnd, mtu_search, scoreboard
from estab.tcp.report import ca_name, limited_by, rate_told, report, timer_name
from estab.tcp.sending import output, refused, segments, writing
from estab.tcp.state import state_text
from estab.tcp.window import room
from estab.tcp.window.rtt import timeout_ns
from estab.tcp.window.silence import take_soft_error
from estab.units import NEVER
from estab.wire.seq import Seq, unwrap
from estab.wire.tcp import SYN, Segment, ecn_text, flags_text, options_text

__all__ = ["Connection"]


@mypyc_attr(free_list_len=1)
class Connection(Tcb):
    """One TCP connection, from ``socket()`` to the end of TIME-WAIT."""

    def __init__(self, context: Context, ends: FourTuple, options: Options, iss: i64 = -1) -> None:
        super().__init__(context, ends, options)
        self.number_from(iss if iss >= 0 else context.initial_sequence(ends.key))

    # --- commands

    def set_owner(self, owner: Owner | None) -> None:
        """Give the connection to a socket, which is told of news from now on."""
        self.owner = owner

    def leave(self) -> None:
        """Lose the socket to another connection: what waits to be read never will be."""
        self.owner = None
        receive.drop_unread(self)

    def prepare_open(
        self, fast_open: FastOpen | None, *, is_first_ack_delayed: bool, is_read_shut: bool,
    ) -> None:
        """Set before ``open`` what the socket wants of the handshake, and whether it has ended reading already.

        ``fast_open``: the SYN asks for a cookie or carries text. ``is_first_ack_delayed``: TCP_DEFER_ACCEPT.
        """
        self.fast_open = fast_open
        self.is_first_ack_delayed = is_first_ack_delayed
        self.is_read_shut = is_read_shut

    def open(self) -> None:
        """Open actively: the next ``poll_segment`` gives the SYN (RFC 9293 section 3.10.1)."""
        context = self.context
        cwnd.set_window(self, context.config.tcp_initial_cwnd * DEFAULT_MSS_BYTES)
        receive.set_scale(self, receive.window_scale(context.config, self.options))
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
        return self._write(data, 0, len(data), now_ns, flags, is_kept=False)

    def write_kept(self, data: bytes, start: i64, end: i64, now_ns: i64) -> i64:
        """Write ``data[start:end]`` without copying it, because the caller keeps ``data`` in any case. As ``write``."""
        return self._write(data, start, end, now_ns, 0, is_kept=True)

    def write_goal(self) -> i64:
        """Return how large writes should be that follow each other: as much as a super-segment holds, and no copy joins
        one write with the next.
        """
        return writing.size_goal(self)

    def _write(self, data: bytes, start: i64, end: i64, now_ns: i64, flags: i64, *, is_kept: bool) -> i64:
        self.raise_error()
        state = self.state
        is_open = state == abi.ESTABLISHED or state == abi.CLOSE_WAIT or self.is_fast_child()
        if self.fin_wanted or not is_open:
            if not self.fin_wanted and (state == abi.SYN_SENT or state == abi.SYN_RECEIVED):
                return 0
            raise os_error(errno.EPIPE, f"broken pipe: {self.describe()}, sending is over")
        if start >= end:
            return 0
        sample = self.measure_rate(now_ns) if self.is_rate_resting() else self.rate
        if sample is not None and self.unsent_bytes() < self.snd_mss() and self.pipe_bytes < self.cwnd_bytes:
            if self.lost_count == 0:
                sample.note_program_is_slow(self.delivered_bytes, self.pipe_bytes)
        count = writing.write(self, data, start, end, flags, now_ns, is_kept=is_kept)
        if count > 0:
            self._tell_send_buffer("the program wrote")
        return count

    def write_urgent(self, data: bytes, now_ns: i64) -> i64:
        """Write with the last byte marked urgent (MSG_OOB). RFC 9293 MUST-30, MUST-31; RFC 6093."""
        count = self.write(data, now_ns, abi.MSG_OOB)
        if count == len(data) and count > 0:
            marks_of(self).snd_up = self.snd_nxt + self.unsent_bytes()
        return count

    def room(self) -> i64:
        """Return the free bytes of the send buffer; if there are none, the owner is told once there are."""
        free = self.send_buffer_bytes - self.outq_bytes()
        if free <= 0 or not room.has_room(self):
            room.note_full(self)
            return 0
        return free

    def set_congestion(self, control: CongestionControl, now_ns: i64) -> None:
        """Let another congestion control set the windows (TCP_CONGESTION)."""
        is_running = self.has_own_congestion
        self.use_congestion(control)
        ecn.set_needed(self, control.needs_ecn())
        if is_running or (self.is_counted and control.is_needed_from_start()):
            self.control(now_ns)

    def read(self, size: i64, is_peek: bool, now_ns: i64) -> bytes:
        """Take up to ``size`` bytes of received text; ``b""`` if there is none (see ``is_eof``)."""
        return receive.read(self, size, is_peek, now_ns)

    def discard(self, now_ns: i64) -> i64:
        """Discard all text that waits; returns how many bytes."""
        return receive.discard(self, now_ns)

    def read_urgent(self, is_peek: bool) -> int:
        """Return the urgent octet (MSG_OOB): -1 not come yet, -2 none."""
        return receive.read_urgent(self, is_peek)

    def readable_bytes(self) -> i64:
        """Count the bytes ready to be read (SIOCINQ); an urgent byte out of line isn't."""
        count = self.unread_bytes()
        place = self.urgent_seq
        if place != NO_SEQ and not self.options.is_oob_inline and self.copied_seq <= place < self.rcv_nxt and count > 0:
            count -= 1
        return count

    def is_eof(self) -> bool:
        """Tell whether everything was read and nothing more comes: the peer's FIN came, or reading was shut down."""
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

    def shutdown_write(self) -> None:
        """Send a FIN after the last byte of the send buffer (RFC 9293 section 3.10.4; shutdown(SHUT_WR))."""
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
        """Close: the connection finishes by itself. Unread text makes this a reset (RFC 9293 SHLD-3)."""
        self.is_orphan = True
        self.owner = None
        state = self.state
        if state == abi.CLOSED or state == abi.TIME_WAIT:
            receive.drop_unread(self)
            return
        if self.has_unread():
            self.context.counters.TcpExtTCPAbortOnClose += 1
            receive.drop_unread(self)
            transitions.abort(self, 0, "", "closed with unread text")
            return
        if state == abi.SYN_SENT:
            transitions.finish(self, "closed while opening")
            return
        self.shutdown_write()
        receive.drop_unread(self)
        if self.state == abi.FIN_WAIT_2 and self.options.fin_timeout_ns < 0:
            self.context.counters.TcpExtTCPAbortOnLinger += 1
            transitions.abort(self, 0, "", "TCP_LINGER2 below 0: no FIN-WAIT-2")
            return
        if self.state == abi.FIN_WAIT_2:
            self.arm(TIMER_FIN_WAIT_2, now_ns + self.options.fin_timeout_ns)
        if self.keepalive_ns != NEVER and self.in_flight_count() == 0 and self.unsent is None:
            self.arm(TIMER_KEEPALIVE, now_ns + self.options.keep_idle_ns)

    def has_unread(self) -> bool:
        """Tell whether text waits to be read, in order or not."""
        return self.unread_bytes() > 0 or (self.out_of_order is not None and self.out_of_order.size_bytes > 0)

    def is_closing(self) -> bool:
        """Tell whether our FIN waits to be sent or acknowledged."""
        return self.state == abi.FIN_WAIT_1 or self.state == abi.CLOSING or self.state == abi.LAST_ACK

    def abort(self) -> None:
        """Close at once with a reset; what was not sent or not read is gone (RFC 9293 section 3.10.5)."""
        self.is_orphan = True
        self.owner = None
        receive.drop_unread(self)
        if self.state != abi.CLOSED and self.state != abi.TIME_WAIT:
            self.context.counters.TcpExtTCPAbortOnLinger += 1
            transitions.abort(self, 0, "", "aborted by the program")

    def disconnect(self) -> bool:
        """End the connection, so that its socket can have another one; ``True`` if there was one to end."""
        if self.state == abi.CLOSED or self.state == abi.TIME_WAIT:
            return False
        self.is_orphan = True
        self.owner = None
        receive.drop_unread(self)
        transitions.abort(self, 0, "", "connect() with AF_UNSPEC")
        return True

    # --- options

    def set_options(self, options: Options) -> None:
        """Take options that need nothing done at once: the next segment, timer or probe reads them.

        Those that need something done now have functions of their own below.
        """
        self.options = options

    def set_keepalive(self, now_ns: i64, *, is_on: bool) -> None:
        """Switch keepalive (SO_KEEPALIVE). RFC 9293 MUST-24, MUST-25: off until asked for."""
        self.options = self.options.with_keepalive(is_on)
        self.arm(TIMER_KEEPALIVE, now_ns + self.options.keep_idle_ns if is_on and self.is_counted else NEVER)

    def set_keep_idle(self, idle_ns: i64, now_ns: i64) -> None:
        """Set the silence before the first probe (TCP_KEEPIDLE); it counts from now unless a probe is out."""
        self.options = self.options.with_keep_idle(idle_ns)
        if self.options.keepalive and self.probes_out == 0:
            self.set_keepalive(now_ns, is_on=True)

    def set_nodelay(self, is_on: bool) -> None:
        """Switch Nagle's rule off or on (TCP_NODELAY). RFC 9293 MUST-17. What waited leaves at the next poll."""
        self.options = self.options.with_nodelay(is_on)
        if is_on:
            writing.force_push(self)  # even TCP_CORK does not hold what waits now, as in Linux

    def set_cork(self, is_on: bool) -> None:
        """Hold partial segments back, or release them (TCP_CORK)."""
        self.options = self.options.with_cork(is_on)
        if not is_on and self.options.nodelay:
            writing.force_push(self)

    def set_quickack(self, is_on: bool) -> None:
        """Acknowledge at once for now (TCP_QUICKACK); as on Linux TCP may leave the mode again by itself."""
        acknowledging.set_quickack(self, is_on)

    def set_pmtu_discover(self, how: i64) -> None:
        """Set what becomes of packets that the path may not carry whole (IP_MTU_DISCOVER)."""
        self.options = self.options.with_pmtu_discover(how)
        if self.is_counted:
            mtu_search.update_mss(self)

    def set_send_buffer(self, size_bytes: i64) -> None:
        """Fix the size of the send buffer (SO_SNDBUF)."""
        self.options = self.options.with_send_buffer(size_bytes)
        room.fix_send_buffer(self, size_bytes)

    def set_receive_buffer(self, size_bytes: i64) -> None:
        """Fix the size of the receive buffer (SO_RCVBUF)."""
        self.options = self.options.with_receive_buffer(size_bytes)
        receive.fix_buffer(self, size_bytes)

    # --- the host's and the listener's tables

    def enlist(self) -> None:
        """The host put the connection on its list of those that may have something to send."""
        self.is_dirty = True

    def delist(self) -> None:
        """The host took it off that list."""
        self.is_dirty = False

    def enter_table(self) -> None:
        """The host's table has it now."""
        self.is_in_table = True

    def leave_table(self) -> None:
        """The host's table has it no more."""
        self.is_in_table = False

    def count_as_orphan(self, *, is_counted: bool) -> None:
        """The host counts it among the orphans, or stops counting it."""
        self.is_orphan_counted = is_counted

    def count_syn(self) -> None:
        """Count the SYN that a listener took; the SYN-ACK was not the connection's (as Linux counts)."""
        self.segs_in = 1

    # --- errors

    def raise_error(self) -> None:
        """Raise the pending error, once."""
        if self.error != 0:
            number = self.error
            self.error = 0
            raise os_error(number, self.error_text)

    def take_error(self) -> i64:
        """Return the pending error's number and forget it (SO_ERROR); 0 for none.

        An ICMP error that ended nothing is given too, once, as Linux does (RFC 9293 section 3.9.2.2).
        """
        number = i64(self.error)
        self.error = 0
        return number if number != 0 else take_soft_error(self)

    # --- in

    def on_segment(self, segment: Segment, now_ns: i64) -> None:
        """Take a segment that carries this connection's addresses and ports."""
        self.count_received(segment)
        writing.release_held(self)
        arrives.segment_arrives(self, segment, now_ns)
        if self.keepalive_ns != NEVER and self.probes_out == 0:
            self.arm(TIMER_KEEPALIVE, max(self.keepalive_ns, now_ns + self.options.keep_idle_ns))
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
        timeouts.on_deadline(self, now_ns)

    def on_refused(self, segment: Segment, now_ns: i64) -> None:
        """The device did not take ``segment``, the last one that ``poll_segment`` gave: see ``sending/refused``."""
        refused.on_refused(self, segment, now_ns)

    def on_unreachable(self, number: i64, text: str, seq: Seq) -> None:
        """Take an ICMP error that quotes a segment of ours: see ``icmp_errors``."""
        icmp_errors.on_unreachable(self, number, text, seq)

    def on_mtu_changed(self, seq: Seq) -> None:
        """The path's MTU went down and a segment of ours was too big: see ``icmp_errors``."""
        icmp_errors.on_mtu_changed(self, seq)

    # --- out

    def poll_segment(self, now_ns: i64) -> Segment | None:
        """Return the next segment to send, ``None`` when there is nothing to send now."""
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

    # --- facts

    def info(self, now_ns: i64) -> Info:
        """Return what ``TCP_INFO`` tells."""
        return report(self, self.readable_bytes(), now_ns)

    def _ssthresh(self) -> int | None:
        return None if self.ssthresh_bytes >= SSTHRESH_INFINITE else self.ssthresh_bytes

    def fact(self) -> TcbFact:
        """Return the TCB's fields as a fact, sequence numbers relative."""
        queue = self.out_of_order
        due_ns = self.deadline_ns()
        timer = timer_name(self)
        return TcbFact(
            state=state_text(i64(self.state)), snd_una=self.snd_una - self.iss, snd_nxt=self.snd_nxt - self.iss,
            snd_wnd=self.snd_wnd, rcv_nxt=self._relative(self.rcv_nxt), rcv_wnd=max(0, self.rcv_adv - self.rcv_nxt),
            cwnd_bytes=self.cwnd_bytes, ssthresh_bytes=self._ssthresh(), srtt_ns=self.srtt_ns if self.srtt_ns else None,
            rto_ns=timeout_ns(self), send_buffer_bytes=self.outq_bytes(), unsent_bytes=self.unsent_bytes(),
            receive_buffer_bytes=self.unread_bytes(), out_of_order_bytes=0 if queue is None else queue.size_bytes,
            pipe_bytes=self.pipe_bytes, rttvar_ns=self.rttvar_ns, min_rtt_ns=self.min_rtt_ns,
            ca_state=ca_name(self), limited_by=limited_by(self), pacing_rate=rate_told(self.pace()),
            delivery_rate=self.reported_rate(),
            is_app_limited=self.is_reported_limited(), retries=self.retries, timer=timer,
            timer_due_ns=due_ns if timer else 0, mss_bytes=self.snd_mss(), send_buffer_limit=self.send_buffer_bytes,
            receive_buffer_limit=self.receive_buffer_bytes,
        )

    def _relative(self, seq: i64) -> i64:
        return seq - self.irs if self.rcv_nxt != 0 else 0

    def _tell_sent(self, segment: Segment) -> None:
        context = self.context
        wnd = segment.wnd if (segment.flags & SYN) != 0 else segment.wnd << i64(self.rcv_wscale)
        context.tell(SegmentSent(
            context.now_ns, context.name, self.name(), flags_text(segment.flags),
            unwrap(segment.seq, self.snd_nxt) - self.iss, self._ack_fact(segment.ack, self.rcv_nxt, self.irs),
            segment.end - segment.start, wnd, options_text(segment), self.why, self.fact(), ecn_text(segment.tos),
        ))

    def _tell_received(self, segment: Segment) -> None:
        context = self.context
        wnd = segment.wnd if (segment.flags & SYN) != 0 else segment.wnd << i64(self.snd_wscale)
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

    def _tell_send_buffer(self, what: str) -> None:
        context = self.context
        if context.observer is not None:
            context.tell(BufferChanged(
                context.now_ns, context.name, self.name(), "send", self.outq_bytes(), self.send_buffer_bytes, what,
            ))
