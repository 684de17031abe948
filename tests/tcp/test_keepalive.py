"""Keepalive (RFC 9293 section 3.8.4): off until asked for, quiet in traffic, patient, and fatal in the end."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK, FIN, RST
from tests.kit.pair import Pair
from tests.kit.peer import Peer, set_options


def established(*, idle: int = 10, interval: int = 5, count: int = 3) -> Peer:
    """Open a connection with keepalive; times in seconds."""
    peer = Peer()
    peer.accept(
        keepalive=True, keep_idle_ns=idle * SECOND, keep_interval_ns=interval * SECOND, keep_count=count,
    )
    return peer


def test_it_is_off_until_asked_for() -> None:
    peer = Peer()
    peer.accept()
    assert not peer.connection.options.keepalive
    assert peer.wait(30 * 24 * 3600 * SECOND) == []
    assert peer.connection.state == State.ESTABLISHED


def test_by_default_the_first_probe_goes_after_two_hours() -> None:
    peer = Peer()
    peer.accept(keepalive=True)
    assert peer.wait(7200 * SECOND - 1) == []
    assert len(peer.wait(1)) == 1


def test_a_probe_is_an_empty_segment_with_an_old_number() -> None:
    peer = established()
    (probe,) = peer.wait(10 * SECOND)
    assert (probe.flags, probe.seq, probe.text) == (".", 0, b"")
    assert peer.counters.TcpExtTCPKeepAlive == 1


def test_probes_that_are_answered_come_once_an_idle_time_for_ever() -> None:
    peer = established()
    times = []
    start = peer.now_ns
    for _ in range(1000):
        for s in peer.wait(SECOND):
            times.append((s.at_ns - start) // SECOND)
            peer.send(ACK)
    assert peer.connection.state == State.ESTABLISHED
    assert len(times) >= 90
    assert times[0] == 10
    assert max(b - a for a, b in zip(times, times[1:], strict=False)) <= 11


def test_unanswered_probes_end_the_connection_after_their_count() -> None:
    peer = established()
    start = peer.now_ns
    seen = peer.wait(100 * SECOND)
    assert [((s.at_ns - start) // SECOND, s.flags) for s in seen] == [(10, "."), (15, "."), (20, "."), (25, "R.")]
    assert peer.connection.state == State.CLOSED
    with pytest.raises(TimeoutError, match="3 keepalive probes unanswered, silent for 25s"):
        peer.connection.raise_error()
    assert peer.demux.table == {}


def test_one_unanswered_probe_is_not_a_dead_connection() -> None:
    peer = established()
    peer.wait(16 * SECOND)
    assert peer.connection.probes_out == 2
    peer.send(ACK)
    assert peer.connection.probes_out == 0
    peer.wait(9 * SECOND)
    assert peer.connection.state == State.ESTABLISHED


def test_traffic_of_either_side_puts_the_probe_off() -> None:
    peer = established()
    for _ in range(20):
        peer.wait(6 * SECOND)
        peer.text(b"x")
        peer.wait(3 * SECOND)
        peer.write(b"y")
        peer.send(ACK)
    assert peer.counters.TcpExtTCPKeepAlive == 0


def test_nothing_is_probed_while_something_is_outstanding() -> None:
    peer = established()
    peer.write(b"x")
    peer.wait(60 * SECOND)
    assert peer.counters.TcpExtTCPKeepAlive == 0
    assert peer.connection.retries > 0


def test_nothing_is_probed_while_the_window_is_shut_and_text_waits() -> None:
    peer = Peer()
    peer.accept(keepalive=True, keep_idle_ns=10 * SECOND, wnd_ack=0)
    peer.write(b"waiting")
    for _ in range(60):
        for _ in peer.wait(SECOND):
            peer.send(ACK, wnd=0, ack=1)
    assert peer.counters.TcpExtTCPKeepAlive == 0
    assert peer.counters.TcpExtTCPWinProbe > 3


def test_it_can_be_switched_on_and_off_during_the_connection() -> None:
    peer = Peer()
    peer.accept(keep_idle_ns=10 * SECOND)
    peer.wait(100 * SECOND)
    peer.connection.set_keepalive(peer.now_ns, is_on=True)
    peer.touch()
    peer.wait(9 * SECOND)
    assert peer.counters.TcpExtTCPKeepAlive == 0
    peer.wait(SECOND)
    assert peer.counters.TcpExtTCPKeepAlive == 1
    peer.connection.set_keepalive(peer.now_ns, is_on=False)
    peer.touch()
    peer.wait(1000 * SECOND)
    assert peer.counters.TcpExtTCPKeepAlive == 1
    assert peer.connection.deadline_ns() == NEVER


def test_it_switches_only_its_own_connection() -> None:
    pair = Pair()
    client, server = pair.established()
    set_options(client, keep_idle_ns=5 * SECOND, keep_interval_ns=5 * SECOND)
    client.set_keepalive(pair.now_ns, is_on=True)
    pair.touch(client)
    pair.run_for(100 * SECOND)
    assert pair.a.counters.TcpExtTCPKeepAlive > 10
    assert pair.b.counters.TcpExtTCPKeepAlive == 0
    assert server.keepalive_ns == NEVER


def test_the_peer_answers_every_probe_even_frequent_ones() -> None:
    pair = Pair()
    client, server = pair.established()
    set_options(client, keep_idle_ns=SECOND, keep_interval_ns=SECOND, keep_count=2)
    client.set_keepalive(pair.now_ns, is_on=True)
    pair.touch(client)
    pair.run_for(600 * SECOND)
    assert client.state == State.ESTABLISHED
    assert server.state == State.ESTABLISHED


def test_the_user_timeout_ends_a_silent_connection_instead_of_the_count() -> None:
    peer = established(idle=10, interval=5, count=100)
    set_options(peer.connection, user_timeout_ns=22 * SECOND)
    peer.wait(24 * SECOND)
    assert peer.connection.state == State.ESTABLISHED
    peer.wait(SECOND)
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_a_peer_that_lost_power_and_came_back_resets_at_the_first_probe() -> None:
    peer = established()
    (probe,) = peer.wait(10 * SECOND)
    peer.send(RST, seq=probe.ack)
    assert peer.connection.take_error() == errno.ECONNRESET


def test_a_cable_pulled_and_plugged_back_in_time_is_not_noticed() -> None:
    pair = Pair()
    client, server = pair.established()
    set_options(client, keep_idle_ns=5 * SECOND, keep_interval_ns=2 * SECOND, keep_count=5)
    client.set_keepalive(pair.now_ns, is_on=True)
    pair.touch(client)
    pair.filter = lambda p: False
    pair.run_for(12 * SECOND)
    pair.filter = None
    pair.run_for(100 * SECOND)
    assert client.state == State.ESTABLISHED
    pair.write(server, b"hello")
    pair.run_for(20 * MS)
    assert pair.read(client) == b"hello"


def test_a_cable_pulled_for_good_ends_the_side_with_keepalive_only() -> None:
    pair = Pair()
    client, server = pair.established()
    set_options(client, keep_idle_ns=5 * SECOND, keep_interval_ns=2 * SECOND, keep_count=5)
    client.set_keepalive(pair.now_ns, is_on=True)
    pair.touch(client)
    pair.filter = lambda p: False
    pair.run_for(3600 * SECOND)
    assert client.take_error() == errno.ETIMEDOUT
    assert server.state == State.ESTABLISHED


@pytest.mark.parametrize("half", ["ours", "theirs"])
def test_a_half_closed_connection_is_kept_alive_too(half: str) -> None:
    peer = established()
    if half == "ours":
        peer.shutdown()
        peer.send(ACK)
        assert peer.connection.state == State.FIN_WAIT_2
    else:
        peer.send(ACK | FIN)
        assert peer.connection.state == State.CLOSE_WAIT
    peer.wait(100 * SECOND)
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_keepalive_set_before_the_connect_starts_with_the_connection() -> None:
    from estab.wire.tcp import SYN

    peer = Peer()
    peer.connect(keepalive=True, keep_idle_ns=10 * SECOND)
    assert peer.connection.keepalive_ns == NEVER
    peer.wait(2 * SECOND)
    peer.send(SYN | ACK, seq=0, ack=1)
    peer.seen.clear()
    assert peer.wait(10 * SECOND - 1) == []
    assert len(peer.wait(1)) == 1
