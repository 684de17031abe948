"""Closing (RFC 9293 section 3.6): every closing state, half-close, both at once, losses, orphans, resets, linger."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer, Seen

MSS = 1460


def established(**options: object) -> Peer:
    """Open a connection."""
    peer = Peer()
    peer.accept(**options)  # type: ignore[arg-type]
    return peer


def flags(seen: list[Seen]) -> list[str]:
    """Give the flags."""
    return [s.flags for s in seen]


def in_state(state: State) -> Peer:
    """Bring a connection into a state; the peer is up to date on everything."""
    peer = established()
    if state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.TIME_WAIT):
        peer.shutdown()
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        peer.send(ACK, ack=2)
    if state in (State.CLOSE_WAIT, State.LAST_ACK, State.TIME_WAIT):
        peer.send(ACK | FIN)
    if state == State.CLOSING:
        peer.send(ACK | FIN, ack=1)
    if state == State.LAST_ACK:
        peer.shutdown()
    assert peer.connection.state == state
    peer.seen.clear()
    peer.side.counters.drops.clear()
    return peer


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


# --- orphans in FIN-WAIT-2


def test_an_orphan_in_fin_wait_2_ends_after_its_timeout() -> None:
    peer = established()
    peer.close()
    peer.send(ACK, ack=2)
    assert peer.connection.state == State.FIN_WAIT_2
    peer.wait(60 * SECOND - 1)
    assert peer.connection.state == State.FIN_WAIT_2
    peer.wait(1)
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_closing_in_fin_wait_2_starts_the_timeout() -> None:
    peer = in_state(State.FIN_WAIT_2)
    peer.wait(1000 * SECOND)
    peer.close()
    peer.wait(59 * SECOND)
    assert peer.connection.state == State.FIN_WAIT_2
    peer.wait(SECOND)
    assert peer.demux.table == {}


def test_over_the_limit_of_orphans_a_close_is_a_reset() -> None:
    peer = Peer()
    peer.config.tcp_max_orphans = 2
    listener = peer.listen(backlog=10)
    answers = []
    for n in range(3):
        peer.peer_port = 5000 + n
        peer.accept(listener=listener)
        answers.append(flags(peer.close()))
    assert answers == [["F."], ["F."], ["R."]]
    assert peer.demux.orphan_count == 2
    assert peer.counters.TcpExtTCPAbortOnMemory == 1
    peer.wait(3600 * SECOND)
    assert peer.demux.orphan_count == 0


def test_an_orphan_that_reaches_time_wait_or_closed_is_counted_no_more() -> None:
    peer = established()
    peer.close()
    assert peer.demux.orphan_count == 1
    peer.send(ACK | FIN, ack=2)
    assert peer.demux.orphan_count == 0
    peer = in_state(State.CLOSE_WAIT)
    peer.close()
    assert peer.demux.orphan_count == 1
    peer.send(ACK, ack=2)
    assert peer.demux.orphan_count == 0


def test_acknowledgments_do_not_keep_an_orphan_in_fin_wait_2_alive() -> None:
    peer = established()
    peer.close()
    peer.send(ACK, ack=2)
    for _ in range(60):
        peer.wait(SECOND)
        peer.send(ACK, ack=2)
    assert peer.demux.table == {}


def test_a_fin_that_comes_after_the_fin_wait_2_timeout_is_reset() -> None:
    peer = established()
    peer.close()
    peer.send(ACK, ack=2)
    peer.wait(61 * SECOND)
    assert flags(peer.send(ACK | FIN, ack=2)) == ["R"]


# --- resets (SHLD-3, linger)


def test_closing_with_unread_text_is_a_reset() -> None:
    peer = established()
    peer.text(b"unread")
    (reset,) = peer.close()
    assert (reset.flags, reset.seq, reset.ack) == ("R.", 1, 7)
    assert peer.connection.state == State.CLOSED
    assert peer.counters.TcpExtTCPAbortOnClose == 1
    assert peer.demux.table == {}


def test_closing_with_unread_text_after_the_peers_fin_is_a_reset_too() -> None:
    peer = established()
    peer.send(ACK | FIN, data=b"unread")
    assert flags(peer.close()) == ["R."]


def test_closing_with_text_out_of_order_is_a_reset() -> None:
    peer = established()
    peer.send(ACK, seq=10, data=b"later")
    assert flags(peer.close()) == ["R."]


def test_text_that_arrives_after_the_close_is_answered_by_a_reset() -> None:
    peer = established()
    peer.close()
    (reset,) = peer.send(ACK, data=b"too late", ack=1)
    assert (reset.flags, reset.seq) == ("R", 1)
    assert peer.connection.state == State.CLOSED
    assert peer.counters.TcpExtTCPAbortOnData == 1
    assert peer.drops() == {"TCP_ABORT_ON_DATA": 1}
    assert peer.demux.table == {}


def test_text_that_was_received_before_does_not_reset_a_closed_connection() -> None:
    peer = established()
    peer.text(b"read")
    peer.read()
    peer.close()
    (ack,) = peer.send(ACK, seq=1, data=b"read", ack=1)
    assert ack.flags == "."
    assert peer.connection.state == State.FIN_WAIT_1


def test_text_after_both_directions_were_shut_down_is_a_reset_as_on_linux() -> None:
    peer = in_state(State.FIN_WAIT_2)
    peer.connection.shutdown_read()
    (reset,) = peer.send(ACK, data=b"x", ack=2)
    assert reset.flags == "R"
    assert (peer.connection.state, peer.connection.error) == (State.CLOSED, errno.ECONNRESET)


def test_text_after_reading_alone_was_shut_down_is_taken_off_the_wire() -> None:
    peer = established()
    peer.connection.shutdown_read()
    peer.text(b"x")
    assert peer.connection.state == State.ESTABLISHED


def test_writing_nothing_does_not_hold_back_the_fin() -> None:
    peer = established()
    peer.write(b"")
    (fin,) = peer.close()
    assert "F" in fin.flags


def test_a_lingering_close_of_no_time_resets_and_forgets_everything() -> None:
    peer = established()
    peer.write(b"x" * 1000)
    peer.write(b"unsent")
    (reset,) = peer.abort()
    assert (reset.flags, reset.seq) == ("R.", 1001)
    assert peer.connection.state == State.CLOSED
    assert (peer.connection.in_flight_count(), peer.connection.unsent_bytes()) == (0, 0)
    assert peer.connection.deadline_ns() == NEVER
    assert peer.demux.table == {}
    assert peer.counters.TcpExtTCPAbortOnLinger == 1


@pytest.mark.parametrize(
    "state", [State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK],
)
def test_an_abort_resets_the_peer_in_every_synchronized_state(state: State) -> None:
    peer = in_state(state)
    assert flags(peer.abort()) == ["R."]
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_an_abort_in_syn_sent_sends_nothing_and_in_syn_received_a_reset() -> None:
    peer = Peer()
    peer.connect()
    assert peer.abort() == []
    assert peer.demux.table == {}
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0)
    assert flags(peer.abort()) == ["R."]
    assert peer.demux.table == {}


@pytest.mark.parametrize(
    ("state", "number"),
    [(State.ESTABLISHED, errno.ECONNRESET), (State.FIN_WAIT_1, errno.ECONNRESET), (State.FIN_WAIT_2, errno.ECONNRESET),
     (State.CLOSE_WAIT, errno.EPIPE), (State.CLOSING, 0), (State.LAST_ACK, 0)],
)
def test_an_exact_reset_ends_every_state(state: State, number: int) -> None:
    peer = in_state(state)
    assert peer.send(RST) == []
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == number
    assert peer.demux.table == {}


@pytest.mark.parametrize(
    "state", [State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK],
)
@pytest.mark.parametrize("what", ["SYN", "RST", "unsent"])
def test_every_synchronized_state_challenges_and_stays(state: State, what: str) -> None:
    peer = in_state(state)
    expected = int(peer.connection.rcv_nxt - peer.connection.irs)
    if what == "SYN":
        answer = peer.send(SYN, seq=expected)
    elif what == "RST":
        answer = peer.send(RST, seq=expected + 1)
    else:
        answer = peer.send(ACK, seq=expected, ack=1000)
    assert [(s.flags, s.ack) for s in answer] == [(".", expected)]
    assert peer.connection.state == state


@pytest.mark.parametrize("state", [State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK])
def test_text_and_urgent_pointers_after_the_peers_fin_are_ignored(state: State) -> None:
    peer = in_state(state)
    peer.send(ACK | 0x20, data=b"beyond", urg=3, ack=1)
    assert peer.connection.state == state
    assert peer.connection.readable_bytes() == 0


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
        assert side.demux.port_users == {}
        assert side.demux.time_wait_count == 0
        assert side.counters.TcpCurrEstab == 0
