"""Closing: by figure 12 and 13 of RFC 9293, half, with text, with loss, and what remains."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST
from tests.kit.closing import established, flags, in_state
from tests.kit.pair import Pair

MSS = 1460


# --- the normal close (figure 12)


def test_a_close_is_four_segments_and_leaves_time_wait_at_the_active_side_only() -> None:
    pair = Pair()
    client, server = pair.established()
    before = len(pair.passed)
    pair.close(client)
    assert client.state == State.FIN_WAIT_1
    pair.run_for(5 * MS)
    assert server.state == State.CLOSE_WAIT
    pair.run_for(5 * MS)
    assert client.state == State.FIN_WAIT_2
    pair.close(server)
    assert server.state == State.LAST_ACK
    pair.run_for(5 * MS)
    assert client.state == State.TIME_WAIT
    pair.run_for(5 * MS)
    assert server.state == State.CLOSED
    closing = [(p.sender, p.segment.flags & (FIN | ACK)) for p in pair.passed[before:]]
    assert closing == [("a", FIN | ACK), ("b", ACK), ("b", FIN | ACK), ("a", ACK)]
    assert pair.b.demux.table == {}
    (record,) = pair.a.demux.table.values()
    assert isinstance(record, TimeWait)
    pair.run_for(60 * SECOND)
    assert pair.a.demux.table == {}


def test_the_passive_side_reads_the_end_of_the_stream_after_the_text() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.write(client, b"all of it")
    pair.close(client)
    pair.run_for(20 * MS)
    assert not server.is_eof()
    assert pair.read(server) == b"all of it"
    assert server.is_eof()
    assert server.take_error() == 0


def test_an_end_of_stream_and_an_abort_are_told_apart() -> None:
    for how, number in (("close", 0), ("abort", errno.ECONNRESET)):
        pair = Pair()
        client, server = pair.established()
        getattr(pair, how)(client)
        pair.run_for(20 * MS)
        assert server.is_eof()
        assert server.take_error() == number


def test_the_current_connections_are_counted_down() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.close(client)
    assert pair.a.counters.TcpCurrEstab == 0
    pair.run_for(20 * MS)
    assert pair.b.counters.TcpCurrEstab == 1  # CLOSE-WAIT counts
    pair.close(server)
    pair.run_for(20 * MS)
    assert pair.b.counters.TcpCurrEstab == 0


# --- the FIN and the text before it


def test_the_fin_rides_on_the_last_text() -> None:
    peer = established()
    peer.connection.cwnd_bytes = 2 * MSS
    peer.connection.send_buffer_bytes = 10 * MSS
    peer.write(b"x" * (3 * MSS + 10))
    assert peer.shutdown() == []
    seen = peer.send(ACK)
    assert [(len(s.text), s.flags) for s in seen] == [(MSS, "."), (10, "FP.")]


def test_closing_with_text_unsent_loses_none_of_it() -> None:
    pair = Pair()
    pair.a.config.tcp_wmem = (4096, 500_000, 500_000)
    client, server = pair.established()
    data = bytes(range(256)) * 1000
    assert pair.write(client, data) == len(data)
    pair.close(client)
    got = b""
    for _ in range(100):
        pair.run_for(20 * MS)
        got += pair.read(server)
    assert got == data
    assert server.is_eof()
    assert server.take_error() == 0


def test_shutting_down_twice_or_closing_after_sends_one_fin() -> None:
    peer = established()
    assert flags(peer.shutdown()) == ["F."]
    assert peer.shutdown() == []
    assert peer.close() == []


def test_text_and_fin_arrive_together() -> None:
    peer = established()
    (ack,) = peer.send(ACK | FIN | PSH, data=b"last")
    assert ack.ack == 6
    assert peer.connection.state == State.CLOSE_WAIT
    assert peer.read() == b"last"


# --- half-close


@pytest.mark.parametrize("state", [State.FIN_WAIT_1, State.FIN_WAIT_2])
def test_after_our_shutdown_we_still_receive(state: State) -> None:
    peer = in_state(state)
    peer.text(b"more", ack=1 if state == State.FIN_WAIT_1 else 2)
    assert peer.read() == b"more"
    assert peer.connection.state == state


def test_after_the_peers_fin_we_still_send_for_as_long_as_we_like() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.shutdown(client)
    pair.run_for(20 * MS)
    for n in range(20):
        assert pair.write(server, bytes([n]) * 3000) == 3000
        pair.run_for(600 * SECOND)
        assert pair.read(client) == bytes([n]) * 3000
    assert (client.state, server.state) == (State.FIN_WAIT_2, State.CLOSE_WAIT)
    pair.close(server)
    pair.run_for(20 * MS)
    assert client.is_eof()
    assert client.state == State.TIME_WAIT


def test_close_wait_lasts_until_the_program_closes() -> None:
    peer = in_state(State.CLOSE_WAIT)
    assert peer.wait(7 * 24 * 3600 * SECOND) == []
    assert peer.connection.state == State.CLOSE_WAIT


def test_a_program_that_only_shut_down_waits_in_fin_wait_2_for_as_long_as_the_peer_likes() -> None:
    peer = in_state(State.FIN_WAIT_2)
    peer.wait(24 * 3600 * SECOND)
    assert peer.connection.state == State.FIN_WAIT_2


# --- simultaneous close (figure 13)


def test_both_may_close_at_once_and_both_go_through_closing_to_time_wait() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.close(client)
    pair.close(server)
    pair.run_for(5 * MS)
    assert (client.state, server.state) == (State.CLOSING, State.CLOSING)
    pair.run_for(5 * MS)
    assert (client.state, server.state) == (State.TIME_WAIT, State.TIME_WAIT)
    pair.run_for(60 * SECOND)
    assert (pair.a.demux.table, pair.b.demux.table) == ({}, {})


@pytest.mark.parametrize("lost", range(4))
def test_a_simultaneous_close_survives_the_loss_of_any_one_of_its_segments(lost: int) -> None:
    pair = Pair()
    client, server = pair.established()
    count = iter(range(10**6))
    pair.filter = lambda p: next(count) != lost
    pair.close(client)
    pair.close(server)
    pair.run_for(200 * SECOND)
    assert (pair.a.demux.table, pair.b.demux.table) == ({}, {})
    assert (pair.a.counters.TcpExtTCPAbortOnTimeout, pair.b.counters.TcpExtTCPAbortOnTimeout) == (0, 0)


def test_a_fin_that_acknowledges_ours_goes_to_time_wait_at_once() -> None:
    peer = in_state(State.FIN_WAIT_1)
    assert flags(peer.send(ACK | FIN, ack=2)) == ["."]
    assert peer.connection.state == State.TIME_WAIT


@pytest.mark.parametrize("state", [State.CLOSING, State.LAST_ACK])
def test_a_program_is_told_of_a_reset_that_comes_instead_of_the_last_acknowledgment(state: State) -> None:
    peer = in_state(state)
    peer.send(RST, seq=2)
    assert peer.connection.state == State.CLOSED
    with pytest.raises(ConnectionResetError):
        peer.connection.raise_error()


def test_closing_waits_for_the_acknowledgment_of_its_fin() -> None:
    peer = in_state(State.CLOSING)
    peer.send(ACK, ack=1)
    assert peer.connection.state == State.CLOSING
    peer.send(ACK, ack=2)
    assert peer.connection.state == State.TIME_WAIT


# --- loss while closing


@pytest.mark.parametrize("lost", range(4))
def test_a_close_survives_the_loss_of_any_one_of_its_segments(lost: int) -> None:
    pair = Pair()
    client, server = pair.established()
    count = iter(range(10**6))
    pair.filter = lambda p: next(count) != lost
    pair.close(client)
    pair.run_for(SECOND)
    assert server.state == State.CLOSE_WAIT
    pair.close(server)
    pair.run_for(200 * SECOND)
    assert (pair.a.demux.table, pair.b.demux.table) == ({}, {})
    assert server.state == State.CLOSED
    assert (pair.a.counters.TcpExtTCPAbortOnTimeout, pair.b.counters.TcpExtTCPAbortOnTimeout) == (0, 0)


def test_when_the_last_ack_is_lost_the_fin_comes_again_and_is_acknowledged_again() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.close(client)
    pair.run_for(20 * MS)
    pair.filter = lambda p: p.sender == "b"
    pair.close(server)
    pair.run_for(100 * MS)
    assert server.state == State.LAST_ACK
    pair.filter = None
    pair.run_for(SECOND)
    assert server.state == State.CLOSED
    assert pair.b.counters.TcpRetransSegs == 1


def test_last_ack_ignores_an_ack_that_does_not_cover_the_fin() -> None:
    peer = in_state(State.LAST_ACK)
    peer.send(ACK, ack=1)
    assert peer.connection.state == State.LAST_ACK
    peer.send(ACK, ack=2)
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_a_repeated_fin_in_close_wait_is_acknowledged_again() -> None:
    peer = in_state(State.CLOSE_WAIT)
    (ack,) = peer.send(ACK | FIN, seq=1)
    assert (ack.flags, ack.ack) == (".", 2)
    assert peer.connection.state == State.CLOSE_WAIT


@pytest.mark.parametrize("state", [State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK])
def test_an_unacknowledged_fin_is_repeated_and_at_last_given_up(state: State) -> None:
    peer = in_state(state)
    repeats = peer.wait(3600 * SECOND)
    assert {s.flags for s in repeats} == {"F."}
    assert len(repeats) == 15
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_an_orphans_fin_is_given_up_sooner() -> None:
    peer = established()
    peer.close()
    assert len(peer.wait(3600 * SECOND)) == 8
    assert peer.demux.table == {}


# --- what remains


def test_the_text_received_before_the_close_is_read_in_time_wait() -> None:
    peer = established()
    peer.shutdown()
    peer.send(ACK | FIN, data=b"parting words", ack=2)
    assert peer.connection.state == State.TIME_WAIT
    assert peer.read() == b"parting words"
    assert peer.connection.is_eof()


def test_writing_in_close_wait_works_and_after_last_ack_does_not() -> None:
    peer = in_state(State.CLOSE_WAIT)
    assert len(peer.write(b"still")) == 1
    peer.shutdown()
    with pytest.raises(BrokenPipeError):
        peer.connection.write(b"no more", peer.now_ns)


def test_a_hundred_connections_closed_in_all_ways_leave_nothing() -> None:
    pair = Pair(delay_ns=MS)
    listener = pair.listen(backlog=100)
    for n in range(100):
        client = pair.connect()
        pair.run_for(5 * MS)
        server = listener.accept()
        assert server is not None
        pair.write(client, b"x" * (n * 10))
        if n % 2:
            pair.run_for(3 * MS)
        first, second = (client, server) if n % 3 else (server, client)
        (pair.abort if n % 5 == 0 else pair.close)(first)
        if n % 7:
            pair.run_for(5 * MS)
        pair.close(second)
    pair.run_for(600 * SECOND)
    for side in (pair.a, pair.b):
        assert side.demux.table == {}
        assert side.demux.port_users.as_dict() == {}
        assert side.demux.time_wait_count == 0
        assert side.counters.TcpCurrEstab == 0
