"""TIME-WAIT: what it answers, when it ends, who may use its four-tuple again, and how little it holds."""

from __future__ import annotations

import errno
import gc
import sys
import weakref

import pytest

from estab.events import TimeWaitEnded
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer


def waiting(**options: object) -> Peer:
    """Bring a connection into TIME-WAIT; its program has let go of it. Expects 2 next, has sent 2."""
    peer = Peer()
    peer.accept(**options)  # type: ignore[arg-type]
    peer.close()
    peer.send(ACK | FIN, ack=2)
    assert isinstance(peer.endpoint(), TimeWait)
    peer.seen.clear()
    return peer


def record(peer: Peer) -> TimeWait:
    """Give the record."""
    endpoint = peer.endpoint()
    assert isinstance(endpoint, TimeWait)
    return endpoint


@pytest.mark.parametrize("needs_ack", [False, True])
@pytest.mark.parametrize(("flags", "seq"), [(FIN, 0), (SYN, 0), (FIN, 100_000)])
def test_a_segment_without_ack_outside_of_the_window_is_answered_unless_freebsd_s_way_is_set(
    flags: int, seq: int, needs_ack: bool,
) -> None:
    peer = waiting()
    peer.config.tcp_timewait_needs_ack = needs_ack
    assert len(peer.send(flags, seq=seq)) == (0 if needs_ack else 1)
    assert len(peer.send(ACK | FIN, ack=2, seq=1)) == 1


# --- how long


def test_it_lasts_for_twice_the_segment_lifetime_and_then_nothing_is_left() -> None:
    peer = waiting()
    peer.wait(60 * SECOND - 1)
    assert isinstance(peer.endpoint(), TimeWait)
    peer.wait(1)
    assert peer.demux.table == {}
    assert peer.demux.port_users.as_dict() == {}
    assert peer.counters.TcpExtTW == 1
    assert [e.why for e in peer.side.events if isinstance(e, TimeWaitEnded)] == ["expired"]


def test_a_repeated_fin_is_acknowledged_and_starts_the_time_again() -> None:
    peer = waiting()
    peer.wait(50 * SECOND)
    (ack,) = peer.send(ACK | FIN, seq=1, ack=2)
    assert (ack.flags, ack.seq, ack.ack) == (".", 2, 2)
    peer.wait(59 * SECOND)
    assert isinstance(peer.endpoint(), TimeWait)
    peer.wait(SECOND)
    assert peer.demux.table == {}


def test_a_repeated_fin_with_its_text_is_acknowledged_too() -> None:
    peer = Peer()
    peer.accept()
    peer.close()
    peer.connection.is_orphan = False  # so that text is not refused
    peer.send(ACK, ack=2)
    peer.send(ACK | FIN, ack=2, data=b"bye")
    (ack,) = peer.send(ACK | FIN, seq=1, ack=2, data=b"bye")
    assert (ack.flags, ack.ack) == (".", 5)


def test_every_repeated_fin_is_acknowledged() -> None:
    peer = waiting()
    assert sum(len(peer.send(ACK | FIN, seq=1, ack=2)) for _ in range(5)) == 5


def test_the_acknowledgment_echoes_the_timestamp() -> None:
    peer = waiting(timestamps=True)
    peer.wait(3 * SECOND)
    (ack,) = peer.send(ACK | FIN, seq=1, ack=2)
    assert ack.segment.has_timestamps
    assert ack.segment.ts_ecr == peer.connection.ts_recent


def test_the_program_that_still_holds_the_socket_sees_time_wait_and_then_closed() -> None:
    peer = Peer()
    peer.accept()
    peer.shutdown()
    peer.send(ACK | FIN, ack=2)
    assert peer.connection.state == State.TIME_WAIT
    peer.wait(60 * SECOND)
    assert peer.connection.state == State.CLOSED


# --- what it answers


def test_a_late_acknowledgment_is_not_answered() -> None:
    peer = waiting()
    assert peer.send(ACK, ack=2) == []


def test_old_text_is_acknowledged_at_a_bounded_rate_and_counted() -> None:
    peer = waiting()
    assert sum(len(peer.send(ACK, seq=-500, ack=2, data=b"old")) for _ in range(10)) == 1
    assert peer.drops() == {"TCP_TIMEWAIT": 10}
    assert peer.counters.TcpExtTCPACKSkippedTimeWait == 9


def test_old_text_does_not_start_the_time_again() -> None:
    peer = waiting()
    for _ in range(59):
        peer.wait(SECOND)
        peer.send(ACK, seq=-500, ack=2, data=b"old")
    peer.wait(SECOND)
    assert peer.demux.table == {}


@pytest.mark.parametrize("offset", [0, 1, -1, 100])
def test_a_reset_does_not_assassinate_it(offset: int) -> None:
    peer = waiting()
    peer.config.tcp_rfc1337 = True
    assert peer.send(RST, seq=2 + offset) == []
    assert isinstance(peer.endpoint(), TimeWait)


def test_without_rfc_1337_an_exact_reset_ends_it_and_no_other() -> None:
    peer = waiting()
    peer.send(RST, seq=3)
    peer.send(RST, seq=1)
    assert isinstance(peer.endpoint(), TimeWait)
    peer.send(RST, seq=2)
    assert peer.demux.table == {}
    assert peer.counters.TcpExtTWKilled == 1


# --- reuse by a SYN that comes in (RFC 6191, RFC 9293 section 3.6.1)


def reopen(peer: Peer, seq: int, **fields: object) -> list[str]:
    """Send a SYN for the same four-tuple."""
    return [s.flags for s in peer.send(SYN, seq=seq, ack=0, mss=1460, **fields)]  # type: ignore[arg-type]


def test_a_syn_with_a_newer_timestamp_opens_a_new_connection_whatever_its_number() -> None:
    for seq in (-1_000_000, 1_000_000):
        peer = waiting(timestamps=True)
        peer.wait(5 * MS)
        assert reopen(peer, seq) == ["S."]
        assert not isinstance(peer.endpoint(), TimeWait)
        assert peer.counters.EstabTimeWaitReused == 1
        assert peer.demux.time_wait_count == 0
        assert [e.why for e in peer.side.events if isinstance(e, TimeWaitEnded)] == ["reused by a new SYN (RFC 6191)"]


def test_the_same_timestamp_needs_a_higher_sequence_number() -> None:
    peer = waiting(timestamps=True)
    same = record(peer).ts_recent
    assert reopen(peer, 1, ts_val=same) == ["."]
    assert reopen(peer, 100, ts_val=same) == ["S."]


def test_an_older_timestamp_does_not_open_a_new_connection() -> None:
    peer = waiting(timestamps=True)
    assert reopen(peer, 100_000, ts_val=record(peer).ts_recent - 1) == ["."]
    assert isinstance(peer.endpoint(), TimeWait)


@pytest.mark.parametrize(("seq", "answer"), [(3, "S."), (1_000_000, "S."), (2, "."), (1, "."), (-1_000_000, ".")])
def test_without_timestamps_a_syn_needs_a_number_above_what_was_received(seq: int, answer: str) -> None:
    peer = waiting()
    assert reopen(peer, seq) == [answer]


def test_a_syn_where_nobody_listens_any_more_opens_nothing() -> None:
    peer = waiting()
    (listener,) = peer.demux.listeners[80]
    peer.demux.close_listener(listener)
    assert reopen(peer, 1_000_000) == ["."]
    assert isinstance(peer.endpoint(), TimeWait)


@pytest.mark.parametrize("flags", [SYN | ACK, SYN | RST, SYN | FIN | ACK])
def test_only_a_plain_syn_may_reuse(flags: int) -> None:
    peer = waiting()
    peer.send(flags, seq=1_000_000, ack=2)
    assert isinstance(peer.endpoint(), TimeWait)


def test_the_new_connections_number_lies_above_all_that_the_old_one_sent() -> None:
    peer = waiting()
    last = int(record(peer).snd_nxt)
    (syn_ack,) = peer.send(SYN, seq=1_000_000, ack=0, mss=1460)
    assert 65_535 < (int(syn_ack.segment.seq) - last) & 0xFFFFFFFF < 1 << 20


def test_an_old_segment_does_not_reach_the_new_connection() -> None:
    peer = waiting(timestamps=True)
    old = peer.packet(ACK, seq=1, ack=2, data=b"old!")
    peer.wait(5 * MS)
    peer.send(SYN, seq=1_000_000, ack=0, mss=1460)
    peer.irs = int(peer.seen[-1].segment.seq)
    peer.send(ACK, ack=1)
    (listener,) = peer.demux.listeners[80]
    connection = listener.accept()
    assert connection is not None
    peer.inject(old)
    assert connection.readable_bytes() == 0
    assert connection.state == State.ESTABLISHED


# --- reuse by our own connect


def closed_actively(pair: Pair) -> Connection:
    """Close a connection from a's side; a has the record."""
    client, server = pair.established()
    pair.close(client)
    pair.run_for(20 * MS)
    pair.close(server)
    pair.run_for(20 * MS)
    assert pair.a.demux.time_wait_count == 1
    return client


def test_after_a_second_a_connect_may_use_the_four_tuple_again_with_timestamps() -> None:
    pair = Pair()
    pair.a.config.tcp_tw_reuse = 1
    old = closed_actively(pair)
    with pytest.raises(OSError, match="in use") as caught:
        pair.connect(local_port=40001)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    pair.run_for(SECOND + 1)
    new = pair.connect(local_port=40001)
    assert new.iss > old.snd_nxt
    pair.run_for(20 * MS)
    assert new.state == State.ESTABLISHED
    assert pair.a.demux.time_wait_count == 0


def test_without_timestamps_or_where_it_is_switched_off_a_connect_may_not() -> None:
    for setting in ("tcp_timestamps", "tcp_tw_reuse"):
        pair = Pair()
        pair.a.config.tcp_tw_reuse = 1
        setattr(pair.a.config, setting, False)
        closed_actively(pair)
        pair.run_for(5 * SECOND)
        with pytest.raises(OSError, match="in use"):
            pair.connect(local_port=40001)
        pair.run_for(60 * SECOND)
        pair.connect(local_port=40001)


def test_when_the_last_ack_was_lost_a_new_connect_still_gets_through() -> None:
    # b is in LAST-ACK still: it answers the SYN with an ACK, a resets that, and the next SYN opens.
    pair = Pair()
    pair.a.config.tcp_tw_reuse = 1
    client, server = pair.established()
    pair.close(client)
    pair.run_for(20 * MS)
    pair.filter = lambda p: p.sender == "b"
    pair.close(server)
    pair.run_for(8 * SECOND)
    pair.filter = None
    assert server.state == State.LAST_ACK
    new = pair.connect(local_port=40001)
    pair.run_for(10 * SECOND)
    assert new.state == State.ESTABLISHED


# --- how many, how large


def test_a_record_is_much_smaller_than_a_tcb_and_lets_it_go() -> None:
    peer = waiting()
    assert record(peer).tcb is None
    try:
        gone = weakref.ref(peer.connection)
    except TypeError:
        # Compiled, objects have no weak references, and sizes are what C gives them.
        assert sys.getsizeof(record(peer)) < sys.getsizeof(peer.connection) / 2
        return
    assert len(vars(record(peer))) < len(vars(peer.connection)) / 3
    del peer.connection
    peer.side.events.clear()
    peer.take_woken()
    peer.wait(SECOND)  # a timer's stale entry may hold it until its time
    gc.collect()
    assert gone() is None


def test_over_the_limit_a_connection_just_ends_and_is_counted() -> None:
    peer = Peer()
    peer.config.tcp_max_tw_buckets = 3
    listener = peer.listen(backlog=100)
    for n in range(5):
        peer.peer_port = 5000 + n
        peer.accept(listener=listener)
        peer.close()
        peer.send(ACK | FIN, ack=2)
    assert peer.demux.time_wait_count == 3
    assert len(peer.demux.table) == 3
    assert peer.counters.TcpExtTCPTimeWaitOverflow == 2
    peer.wait(60 * SECOND)
    assert peer.demux.table == {}
