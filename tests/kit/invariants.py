"""What must hold of one host's TCP whenever it has nothing to send: checked after every step of the random tests."""

from __future__ import annotations

from collections import Counter

from estab import abi
from estab.counters import Counters
from estab.host.sockets.demux import Demux
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.listening.listener import HalfOpen
from estab.tcp.record.tcb import NO_SEQ
from estab.units import NEVER

__all__ = ["check_connection", "check_demux", "check_quiet"]

SYNCHRONIZED = {
    abi.ESTABLISHED, abi.FIN_WAIT_1, abi.FIN_WAIT_2, abi.CLOSE_WAIT, abi.CLOSING, abi.LAST_ACK,
}


def check_connection(c: Connection, buffer_most: int | None = None) -> None:
    """Check a TCB. ``buffer_most`` is the largest its receive buffer ever was."""
    in_flight = _check_sent(c)
    assert c.unsent_bytes() >= 0
    assert c.cwnd_bytes > 0
    if c.state in SYNCHRONIZED:
        assert c.cwnd_bytes >= c.snd_mss() // 2
    if c.state in (abi.CLOSED, abi.LISTEN):
        assert c.deadline_ns() == NEVER
        assert not in_flight
    elif in_flight:
        assert c.retransmit_ns != NEVER, "something is in flight and no timer runs"
    elif c.state not in (abi.SYN_SENT, abi.TIME_WAIT):
        waits = c.unsent is not None or (c.fin_wanted and c.fin_seq == NO_SEQ)
        if waits:
            is_paced = c.is_paced() and c.deadline_ns() != NEVER
            assert is_paced or c.persist_ns != NEVER, "something waits to be sent and no timer runs"
    # Receiving.
    assert c.copied_seq + c.unread_bytes() <= c.rcv_nxt <= c.copied_seq + c.unread_bytes() + 1  # the FIN
    buffer = max(int(c.receive_buffer_bytes), buffer_most or 0, 1 << int(c.rcv_wscale))
    assert c.unread_bytes() <= buffer
    queue = c.out_of_order
    if queue is not None:
        assert not queue.is_empty()
        assert 0 <= queue.size_bytes <= queue.memory_bytes() <= buffer
        assert c.state not in (abi.CLOSED, abi.TIME_WAIT)
    if c.delack_ns != NEVER:
        assert c.is_ack_pending
    assert not c.is_ack_due or c.state in (abi.CLOSED, abi.LISTEN)


def _check_sent(c: Connection) -> bool:
    sent = [] if c.sent is None else c.sent[c.sent_head :]
    assert c.sent is None or sent, "an empty queue was kept"
    if c.state == abi.CLOSED:
        assert not sent
        return False
    at = c.snd_una
    for segment in sent:
        assert segment.seq == at
        assert 0 <= segment.start <= segment.start + segment.text_bytes() <= len(segment.data)
        assert not (segment.is_lost and segment.is_sacked)
        at = segment.end
    assert at == c.snd_nxt, "what is in flight has gaps"
    assert c.lost_count == sum(s.is_lost for s in sent)
    assert c.pipe_bytes == sum(s.end - s.seq for s in sent if not s.is_lost and not s.is_sacked)
    assert 0 <= c.reno_sacked_bytes <= max(0, c.snd_nxt - c.snd_una)
    return bool(sent)


def check_demux(demux: Demux, counters: Counters, buffers: dict[bytes, int] | None = None) -> None:
    """Check the tables of a host, and every endpoint in them. Nothing may wait to be polled.

    ``buffers`` has the largest size of the receive buffers that were made smaller, by key.
    """
    ports: Counter[int] = Counter()
    counted = waiting = orphans = 0
    for key, endpoint in demux.table.items():
        assert endpoint.key == key
        if isinstance(endpoint, Connection):
            assert endpoint.is_in_table
            assert endpoint.state not in (abi.CLOSED, abi.TIME_WAIT)
            check_connection(endpoint, None if buffers is None else buffers.get(key))
            counted += endpoint.is_counted
            orphans += endpoint.is_orphan_counted
            assert endpoint.is_counted == (endpoint.state in (abi.ESTABLISHED, abi.CLOSE_WAIT))
            assert endpoint.due_ns == endpoint.deadline_ns()
            assert endpoint.queued_ns <= endpoint.due_ns
            ports[endpoint.local_port] += 1
        elif isinstance(endpoint, HalfOpen):
            assert endpoint.listener.half_open[key] is endpoint
            assert not endpoint.listener.is_closed
            assert endpoint.due_ns != NEVER
            ports[endpoint.listener.port] += 1
        else:
            assert isinstance(endpoint, TimeWait)
            waiting += 1
            assert endpoint.queued_ns <= endpoint.expires_ns
            ports[endpoint.local_port] += 1
    assert dict(ports) == demux.port_users.as_dict()
    assert waiting == demux.time_wait_count <= demux.context.config.tcp_max_tw_buckets
    assert counted == counters.TcpCurrEstab
    assert orphans == demux.orphan_count <= demux.context.config.tcp_max_orphans
    assert len(demux.timers) <= 2 * len(demux.table) + 64
    assert demux.context.replies == []
    for listeners in demux.listeners.values():
        for listener in listeners:
            for key, entry in listener.half_open.items():
                assert demux.table[key] is entry
            assert len(listener.ready) <= listener.accept_limit()
            if demux.context.config.backlog_policy != "sum":
                assert len(listener.half_open) <= listener.half_open_limit()


def check_quiet(demux: Demux, counters: Counters) -> None:
    """Check that nothing is left of any connection."""
    assert demux.table == {}
    assert demux.port_users.as_dict() == {}
    assert demux.time_wait_count == 0
    assert demux.orphan_count == 0
    assert counters.TcpCurrEstab == 0
    assert demux.next_deadline_ns() == NEVER
