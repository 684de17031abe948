"""What a segment is for: the table of connections, half-open entries and TIME-WAIT records, and the listeners.

One table, keyed by remote address, local address and ports as they stand in an arriving packet, holds every endpoint;
ports with listeners have a list each. The demultiplexer also keeps the deadlines of all endpoints and the list of
connections that may have something to send, so that the cost of an input does not depend on how many connections
there are.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.errors import DropReason, os_error
from estab.events import SegmentReceived, SegmentSent, TcbCreated, TcbReleased, TimeWaitEnded
from estab.host.sockets.port_users import PortUsers
from estab.host.sockets.recent import Recent
from estab.host.sockets.senders import SHARE_BYTES, Senders
from estab.tcp.arriving import timewait, transitions
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.congestion.registry import Registry
from estab.tcp.connection import Connection
from estab.tcp.context import REFLECT_RESETS, Context, Owner, Reply, flow_text
from estab.tcp.listening.half_open import HalfOpen
from estab.tcp.listening.listener import Listener
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.options import OptionPool, Options
from estab.tcp.record.timers import Endpoint, TimerQueue
from estab.tcp.recovery import mtu_search
from estab.tcp.window import memory
from estab.wire.address import is_broadcast, is_multicast, is_unspecified
from estab.wire.ip import Packet
from estab.wire.seq import Seq
from estab.wire.tcp import (
    ACK,
    FIN,
    OPTIONS_BYTES_MAX,
    RST,
    SYN,
    Segment,
    ecn_text,
    flags_text,
    flow_key,
    make_key,
    options_length,
    options_text,
    segment_length,
)

__all__ = ["Demux", "Outgoing"]

_ORPHAN_BYTES: Final = 4608
"""An orphan that holds no more is left to finish whatever the memory (Linux's SOCK_MIN_SNDBUF)."""


@mypyc_attr(acyclic=True, free_list_len=1)
class Outgoing:
    """A segment to send, with what IP must know of it. ``segment_bytes`` is not 0 for a super-segment."""

    def __init__(self, segment: Segment, src: bytes, dst: bytes, ttl: i64, segment_bytes: i64) -> None:
        self.segment = segment
        self.src = src
        self.dst = dst
        self.ttl = ttl
        self.segment_bytes = segment_bytes
        self.flow_label: i64 = 0
        self.pmtu_discover: i64 = abi.IP_PMTUDISC_WANT


class Demux:
    """All of one host's TCP endpoints."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.algorithms = Registry(context.config)
        """The congestion controls that this host offers."""
        self._options = OptionPool(context.config)
        self.table: dict[bytes, Endpoint] = {}
        self.listeners: dict[int, list[Listener]] = {}
        self._last_port: i64 = -1
        self._at_last_port: list[Listener] | None = None
        """The port that a SYN came for last, and who listens there: nearly all of them are for one port."""
        self.port_users = PortUsers()
        self.time_wait_count: i64 = 0
        self.freed_count: i64 = 0
        """Four-tuples that were in the table, and are free again."""
        self.timers = TimerQueue()
        self._senders = Senders()
        self.share_bytes: i64 = SHARE_BYTES
        """What one connection may send before the others do."""
        self._reply_head: i64 = 0
        self.orphan_count: i64 = 0
        self._recent = Recent()

    # --- in

    def on_segment(self, packet: Packet, segment: Segment, now_ns: i64) -> None:
        """Pass a valid segment to its endpoint, or answer that there is none (RFC 9293 section 3.10.7)."""
        self.context.counters.TcpInSegs += 1
        recent = self._recent.find(packet, segment)
        if recent is not None:
            recent.on_segment(segment, now_ns)
            self.touch(recent)
            return
        key = flow_key(packet)
        endpoint = self.table.get(key)
        if endpoint is None:
            self._on_unknown(packet, segment, key, now_ns)
        elif isinstance(endpoint, Connection):
            self._recent.remember(endpoint, packet)
            endpoint.on_segment(segment, now_ns)
            self.touch(endpoint)
        elif isinstance(endpoint, HalfOpen):
            self._on_half_open(endpoint, packet, segment, now_ns)
        elif isinstance(endpoint, TimeWait):
            self._on_time_wait(endpoint, packet, segment, now_ns)

    def _on_half_open(self, entry: HalfOpen, packet: Packet, segment: Segment, now_ns: i64) -> None:
        if self.context.observer is not None:
            scale = max(entry.syn.wscale, 0) if self.context.config.tcp_window_scaling else 0
            self._tell_received(packet, segment, entry.irs, entry.iss, scale)
        listener = entry.listener
        connection = listener.on_half_open_segment(entry, segment, now_ns)
        if connection is not None:
            self.timers.hand_over(entry, connection)
            self.table[connection.key] = connection  # the entry's place
            connection.enter_table()
            self._recent.remember(connection, packet)
            self.touch(connection)
        elif entry.key not in listener.half_open:
            self._remove(entry, listener.port)

    def _on_time_wait(self, record: TimeWait, packet: Packet, segment: Segment, now_ns: i64) -> None:
        self._tell_received(packet, segment, record.irs, record.iss, record.snd_wscale)
        listener: Listener | None = None
        if (segment.flags & SYN) != 0:
            listener = self.find_listener(packet.dst, segment.dport, record.key)
        if listener is not None and (segment.flags & FIN) != 0:
            listener = None  # SYN and FIN open nothing
        verdict = record.on_segment(self.context, segment, listener is not None, now_ns)
        if verdict == timewait.KEPT:
            self.timers.set(record, record.expires_ns)
            return
        if verdict == timewait.KILLED:
            self.context.counters.TcpExtTWKilled += 1
            self._end_time_wait(record, "assassinated by a reset (RFC 1337)")
            return
        assert listener is not None
        self.context.counters.EstabTimeWaitReused += 1
        iss = record.new_iss()
        self._end_time_wait(record, "reused by a new SYN (RFC 6191)")
        self._on_syn(listener, packet, segment, _ends(packet, segment, record.key), now_ns, iss)

    def _on_unknown(self, packet: Packet, segment: Segment, key: bytes, now_ns: i64) -> None:
        """RFC 9293 sections 3.10.7.1 (CLOSED) and 3.10.7.2 (LISTEN)."""
        context = self.context
        ends = _ends(packet, segment, key)
        listener = self.find_listener(packet.dst, segment.dport, key)
        flags = segment.flags
        if context.observer is not None:
            # Numbers of no connection are relative to nothing, but an ACK to a listener may be the third segment, with
            # a cookie.
            first = 1 if listener is not None and (flags & ACK) != 0 else 0
            self._tell_received(packet, segment, segment.seq - first, segment.ack - first, 0)
        if listener is None:
            context.drop(DropReason.NO_SOCKET, self._flow(packet, segment), "")
            self._refuse(packet, segment, "no socket for this port")
        elif (flags & RST) != 0:
            context.drop(DropReason.TCP_RESET_INVALID, self._flow(packet, segment), "reset to a listener")
        elif (flags & ACK) != 0:
            overflows = listener.accept_drops
            connection = listener.on_cookie_ack(ends, segment, now_ns)
            if connection is not None:
                self._insert(connection, i64(connection.local_port))
                connection.enter_table()
                self.touch(connection)
            elif listener.accept_drops == overflows:  # else the cookie was good, and may come again when there is room
                context.drop(DropReason.NO_SOCKET, self._flow(packet, segment), "acknowledgment to a listener")
                self._refuse(packet, segment, "acknowledgment to a listener")
        elif (flags & (SYN | FIN)) == (SYN | FIN) and context.config.tcp_drop_synfin:
            # As Linux: no system sends such, but scans, and what wants to pass filters without state.
            context.drop(DropReason.TCP_FLAGS, self._flow(packet, segment), "SYN and FIN to a listener")
        elif (flags & SYN) != 0:
            self._on_syn(listener, packet, segment, ends, now_ns, -1)
        else:
            context.drop(DropReason.TCP_FLAGS, self._flow(packet, segment), "neither SYN nor ACK to a listener")

    def _on_syn(
        self, listener: Listener, packet: Packet, segment: Segment, ends: FourTuple, now_ns: i64, iss: i64,
    ) -> None:
        """RFC 9293 MUST-57, MUST-63: a SYN to or from an address that can't have a connection is ignored."""
        src = packet.src
        dst = packet.dst
        is_for_many = is_multicast(dst) or is_broadcast(dst)
        if is_for_many or is_multicast(src) or is_broadcast(src) or is_unspecified(src) or segment.sport == 0:
            self.context.drop(DropReason.TCP_INVALID_SYN, self._flow(packet, segment), "")
            return
        entry = listener.on_syn(ends, segment, iss, now_ns)
        self._sweep_evicted(listener)
        if entry is None:
            return
        self._insert(entry, listener.port)
        if isinstance(entry, Connection):
            entry.enter_table()
            self.touch(entry)
        elif isinstance(entry, HalfOpen):
            self.timers.set(entry, entry.due_ns)

    def _sweep_evicted(self, listener: Listener) -> None:
        evicted = listener.evicted
        if evicted is not None:
            listener.evicted = None
            self._remove(evicted, listener.port)

    def _refuse(self, packet: Packet, segment: Segment, why: str) -> None:
        is_for_many = is_multicast(packet.dst) or is_broadcast(packet.dst)
        if is_for_many or is_multicast(packet.src) or is_unspecified(packet.src):
            return
        blackhole = self.context.config.tcp_blackhole
        if blackhole > 1 or (blackhole == 1 and (segment.flags & SYN) != 0):
            return
        answer = transitions.answer_for_closed(segment)
        if answer is not None:
            self.context.counters.TcpOutRsts += 1
            if (self.context.config.flowlabel_reflect & REFLECT_RESETS) != 0:
                answer.flow_label = segment.flow_label
            self.context.reply(answer, packet.dst, packet.src, why, 0, segment_length(segment))

    def find_listener(self, local: bytes, port: i64, key: bytes) -> Listener | None:
        """Return the listener for an address and port: one on just that address before one on any.

        A hash of the four-tuple chooses among several that share the port (SO_REUSEPORT).
        """
        if port != self._last_port:
            self._last_port = port
            self._at_last_port = self.listeners.get(port)
        candidates = self._at_last_port
        if candidates is None:
            return None
        best_score: i64 = 0
        count: i64 = 0
        first: Listener | None = None
        for listener in candidates:
            score = listener.score(local)
            if score > best_score:
                best_score, first, count = score, listener, 1
            elif score == best_score and score > 0:
                count += 1
        if count < 2:
            return first
        best = [listener for listener in candidates if listener.score(local) == best_score]
        return best[self.context.hash32(b"reuseport" + key, 0) % count]

    def on_deadline(self, now_ns: i64) -> None:
        """Do what every deadline up to ``now_ns`` asks for."""
        self.context.now_ns = now_ns
        while True:
            endpoint = self.timers.pop(now_ns)
            if endpoint is None:
                return
            if isinstance(endpoint, Connection):
                endpoint.on_deadline(now_ns)
                if endpoint.is_orphan_counted and self._has_no_memory(endpoint):
                    self._abort_on_memory(endpoint)
                self.touch(endpoint)
            elif isinstance(endpoint, HalfOpen):
                listener = endpoint.listener
                listener.on_deadline(endpoint, now_ns)
                if endpoint.key in listener.half_open:
                    self.timers.set(endpoint, endpoint.due_ns)
                else:
                    self._remove(endpoint, listener.port)
            elif isinstance(endpoint, TimeWait):
                if endpoint.expires_ns > now_ns:
                    self.timers.set(endpoint, endpoint.expires_ns)
                else:
                    self.context.counters.TcpExtTW += 1
                    self._end_time_wait(endpoint, "expired")

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` is to be called next, ``NEVER`` for not at all."""
        return self.timers.next_ns()

    def on_unreachable(self, key: bytes, seq: Seq, number: i64, text: str) -> bool:
        """Pass an ICMP error to the connection that it quotes; ``False`` if there is none. MUST-54."""
        endpoint = self.table.get(key)
        if isinstance(endpoint, HalfOpen):
            listener = endpoint.listener
            listener.on_unreachable(endpoint, number, text, seq)
            if endpoint.key not in listener.half_open:
                self._remove(endpoint, listener.port)
            return True
        if endpoint is None or not isinstance(endpoint, Connection):
            return False
        endpoint.on_unreachable(number, text, seq)
        self.touch(endpoint)
        return True

    def on_mtu_changed(self, key: bytes, seq: Seq) -> bool:
        """Tell the connection that a "too big" message quotes; ``False`` if there is none or its number is not in
        flight.
        """
        endpoint = self.table.get(key)
        if endpoint is None or not isinstance(endpoint, Connection):
            return False
        endpoint.on_mtu_changed(seq)
        self.touch(endpoint)
        return True

    # --- out

    def touch(self, connection: Connection) -> None:
        """Add a connection to the list of those that may have something to send. Call it after every command on one."""
        if not connection.is_dirty:
            connection.enlist()
            self._senders.add(connection)

    def poll(self, now_ns: i64) -> Outgoing | None:
        """Return the next segment to send, ``None`` when there is nothing more to send now."""
        context = self.context
        if self._reply_head < len(context.replies):
            return self._next_reply()
        senders = self._senders
        if senders.sent_bytes >= self.share_bytes:
            senders.pass_on()
        while (connection := senders.first) is not None:
            segment = connection.poll_segment(now_ns)
            if segment is not None:
                context.counters.TcpOutSegs += 1
                text_bytes = segment.end - segment.start
                senders.sent_bytes += text_bytes
                cut_bytes: i64 = 0
                if text_bytes > connection.snd_mss() - OPTIONS_BYTES_MAX:
                    cut_bytes = connection.mss_base - options_length(segment)
                    if text_bytes <= cut_bytes or mtu_search.is_probe(connection, segment):
                        cut_bytes = 0
                outgoing = Outgoing(segment, connection.local, connection.remote, connection.options.ttl, cut_bytes)
                outgoing.flow_label = i64(connection.flow_label)
                outgoing.pmtu_discover = connection.options.pmtu_discover
                return outgoing
            self._go_on_from(connection)
        if self._reply_head < len(context.replies):
            return self._next_reply()
        return None

    def on_refused(self, key: bytes, segment: Segment, now_ns: i64) -> str:
        """The device did not take ``segment``, the last one that ``poll`` gave. Returns the connection's name, ``""``
        if it belongs to none. A connection whose text was refused sends no more until something happens to it.
        """
        endpoint = self.table.get(key)
        if not isinstance(endpoint, Connection):
            return ""
        endpoint.on_refused(segment, now_ns)
        if self._senders.first is endpoint and (segment.flags & RST) == 0 and segment_length(segment) > 0:
            self._go_on_from(endpoint)
        return endpoint.name()

    def _go_on_from(self, connection: Connection) -> None:
        """``connection`` has nothing more to send: settle it, and poll the next one."""
        self._senders.drop_first()
        connection.delist()
        self._settle(connection)

    def _next_reply(self) -> Outgoing:
        context = self.context
        reply = context.replies[self._reply_head]
        self._reply_head += 1
        if self._reply_head == len(context.replies):
            context.replies.clear()
            self._reply_head = 0
        context.counters.TcpOutSegs += 1
        if context.observer is not None:
            self._tell_reply(reply)
        segment = reply.segment
        outgoing = Outgoing(segment, reply.local, reply.remote, reply.ttl, 0)
        outgoing.flow_label = segment.flow_label
        if segment.flow_label == 0:
            outgoing.flow_label = context.flow_label(reply.remote, reply.local, segment.dport, segment.sport)
        return outgoing

    def _settle(self, connection: Connection) -> None:
        """A connection has nothing more to send: set its deadline, or release one that is over."""
        memory.charge(connection)
        state = connection.state
        if state == abi.CLOSED:
            self.release(connection, "closed")
        elif state == abi.TIME_WAIT:
            self._enter_time_wait(connection)
        else:
            due_ns = connection.deadline_ns()
            if due_ns != connection.due_ns:
                self.timers.set(connection, due_ns)

    # --- life and death

    def connect(self, connection: Connection, now_ns: i64) -> None:
        """Put a new connection into the table and open it. ``OSError`` EADDRNOTAVAIL if its four-tuple is in use."""
        endpoint = self.table.get(connection.key)
        if endpoint is not None:
            if not isinstance(endpoint, TimeWait) or not self.may_reuse(connection.key, now_ns):
                raise os_error(errno.EADDRNOTAVAIL, f"cannot assign requested address: {connection.name()} is in use")
            connection.number_from(endpoint.new_iss())
            self.context.counters.EstabTimeWaitReused += 1
            self._end_time_wait(endpoint, "reused by connect() (RFC 6191)")
        self._insert(connection, i64(connection.local_port))
        connection.enter_table()
        connection.open()
        self.touch(connection)

    def may_reuse(self, key: bytes, now_ns: i64) -> bool:
        """Tell whether ``connect`` may use a four-tuple: it is free, or in TIME-WAIT with timestamps to tell old from
        new.
        """
        endpoint = self.table.get(key)
        if endpoint is None:
            return True
        config = self.context.config
        if not isinstance(endpoint, TimeWait) or config.tcp_tw_reuse == 0:
            return False
        if config.tcp_tw_reuse == 2 and not self.context.paths.is_local(endpoint.remote):
            return False
        return endpoint.has_timestamps and now_ns - endpoint.started_ns > config.tcp_tw_reuse_delay_ns

    def new_connection(
        self, local: bytes, local_port: i64, remote: bytes, remote_port: i64, options: Options, owner: Owner | None,
    ) -> Connection:
        """Make a TCB for an active open; ``connect`` puts it to use."""
        key = make_key(remote, local, remote_port, local_port)
        connection = Connection(self.context, FourTuple(key, local, local_port, remote, remote_port), options)
        connection.set_owner(owner)
        return connection

    def unopened(self, options: Options) -> Connection:
        """Make the TCB that a socket without a connection would have, to be looked at."""
        return Connection(self.context, FourTuple(b"", b"", 0, b"", 0), options)

    def forget_options(self) -> None:
        """Forget which records of options sockets might share."""
        self._options.clear()

    def new_options(self) -> Options:
        """Return the options of a new socket, as the host's settings are now."""
        return self._options.default(self.algorithms.find(self.context.config.tcp_congestion_control))

    def listen(self, listener: Listener) -> None:
        """Start to take SYNs for a listener. The port table decides which sockets may listen on which port."""
        self.listeners.setdefault(listener.port, []).append(listener)
        self._last_port = -1
        if self.context.observer is not None:
            owner = listener.owner
            fd: i64 = -1 if owner is None else owner.fd
            self.context.tell(TcbCreated(
                self.context.now_ns, self.context.name, listener.name(), fd, "LISTEN", "listen(): both queues created",
            ))

    def close_listener(self, listener: Listener) -> None:
        """Stop listening: half-open entries are dropped, connections that were not accepted are reset."""
        if listener.is_closed:
            return
        listener.is_closed = True
        listener.owner = None
        self._last_port = -1
        same_port = self.listeners[listener.port]
        same_port.remove(listener)
        if not same_port:
            del self.listeners[listener.port]
        for entry in list(listener.half_open.values()):
            listener.give_up(entry, "listener closed")
            self._remove(entry, listener.port)
        for child in listener.ready:
            child.abort()
            self.touch(child)
        listener.clear()
        if self.context.observer is not None:
            self.context.tell(TcbReleased(self.context.now_ns, self.context.name, listener.name(), "listener closed"))

    def release(self, connection: Connection, why: str) -> None:
        """Take a connection that is over out of the table."""
        self.timers.forget(connection)
        self._forget_orphan(connection)
        if connection.is_in_table:
            connection.leave_table()
            self._recent.forget(connection)
            self._take_out(connection, i64(connection.local_port))
            if self.context.observer is not None:
                self.context.tell(TcbReleased(self.context.now_ns, self.context.name, connection.name(), why))

    def _enter_time_wait(self, connection: Connection) -> None:
        """Replace a TCB by its TIME-WAIT record. Over ``tcp_max_tw_buckets`` the connection just ends, and is
        counted.
        """
        context = self.context
        self.timers.forget(connection)
        self._forget_orphan(connection)
        if not connection.is_in_table:
            return
        if self.time_wait_count >= context.config.tcp_max_tw_buckets:
            context.counters.TcpExtTCPTimeWaitOverflow += 1
            transitions.finish(connection, "too many in TIME-WAIT")
            self.release(connection, "too many in TIME-WAIT")
            return
        record = TimeWait(connection)
        connection.leave_table()
        self._recent.forget(connection)
        self.table[connection.key] = record
        self.time_wait_count += 1
        self.timers.set(record, record.expires_ns)
        if context.observer is not None:
            context.tell(TcbReleased(context.now_ns, context.name, connection.name(), "a TIME-WAIT record takes over"))

    def drop_time_wait(self, record: TimeWait) -> None:
        """End a TIME-WAIT record now, as an administrator asked."""
        self._end_time_wait(record, "dropped")

    def _end_time_wait(self, record: TimeWait, why: str) -> None:
        self.time_wait_count -= 1
        self._remove(record, record.local_port)
        record.end(f"TIME-WAIT {why}")
        if self.context.observer is not None:
            self.context.tell(TimeWaitEnded(self.context.now_ns, self.context.name, record.name(), why))

    def forget_owner(self, connection: Connection) -> None:
        """A program closed its socket: a TIME-WAIT record must not keep the TCB, and orphans are counted.

        Over ``tcp_max_orphans``, or over ``tcp_mem`` with text left to send, the connection is reset instead of being
        left to finish by itself.
        """
        if not connection.is_in_table:
            endpoint = self.table.get(connection.key)
            if isinstance(endpoint, TimeWait):
                endpoint.tcb = None
        elif not connection.is_orphan_counted and connection.state != abi.CLOSED:
            if self.orphan_count >= self.context.config.tcp_max_orphans or self._has_no_memory(connection):
                self._abort_on_memory(connection)
            else:
                self.orphan_count += 1
                connection.count_as_orphan(is_counted=True)

    def _has_no_memory(self, connection: Connection) -> bool:
        """Tell whether there is no memory for what a connection without a program has left to send."""
        return self.context.memory.is_full() and memory.written_bytes(connection) > _ORPHAN_BYTES

    def _abort_on_memory(self, connection: Connection) -> None:
        self.context.counters.TcpExtTCPAbortOnMemory += 1
        connection.abort()

    def _forget_orphan(self, connection: Connection) -> None:
        if connection.is_orphan_counted:
            connection.count_as_orphan(is_counted=False)
            self.orphan_count -= 1

    def _insert(self, endpoint: Endpoint, port: i64) -> None:
        self.table[endpoint.key] = endpoint
        self.port_users.add(port)

    def _remove(self, endpoint: Endpoint, port: i64) -> None:
        self.timers.forget(endpoint)
        if endpoint.key in self.table:
            self._take_out(endpoint, port)

    def _take_out(self, endpoint: Endpoint, port: i64) -> None:
        del self.table[endpoint.key]
        self.freed_count += 1
        self.port_users.drop(port)

    # --- facts

    def _flow(self, packet: Packet, segment: Segment) -> str:
        return flow_text(packet.dst, segment.dport, packet.src, segment.sport)

    def _tell_received(self, packet: Packet, segment: Segment, irs: i64, iss: i64, scale: i64) -> None:
        context = self.context
        if context.observer is not None:
            seq: i64 = (segment.seq - irs) & 0xFFFFFFFF
            ack: i64 = (segment.ack - iss) & 0xFFFFFFFF if (segment.flags & ACK) != 0 else 0
            wnd: i64 = segment.wnd if (segment.flags & SYN) != 0 else segment.wnd << scale
            context.tell(SegmentReceived(
                context.now_ns, context.name, self._flow(packet, segment), flags_text(segment.flags), seq, ack,
                segment.end - segment.start, wnd, options_text(segment), None, ecn_text(segment.tos),
            ))

    def _tell_reply(self, reply: Reply) -> None:
        context = self.context
        segment = reply.segment
        name = flow_text(reply.local, segment.sport, reply.remote, segment.dport)
        context.tell(SegmentSent(
            context.now_ns, context.name, name, flags_text(segment.flags), reply.seq_fact, reply.ack_fact,
            segment.end - segment.start, segment.wnd << reply.wscale, options_text(segment), reply.why, None,
            ecn_text(segment.tos),
        ))


def _ends(packet: Packet, segment: Segment, key: bytes) -> FourTuple:
    """Return the ends of a connection as an arriving segment names them, of which ``key`` is made."""
    return FourTuple(key, packet.dst, segment.dport, packet.src, segment.sport)
