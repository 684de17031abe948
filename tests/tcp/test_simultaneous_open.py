"""Both ends open at once (RFC 9293 section 3.5, figure 7)."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer


def test_both_sides_may_open_at_once_and_the_connection_works() -> None:
    pair = Pair()
    one = pair.connect(side=pair.a, port=2000, local_port=1000)
    other = pair.connect(side=pair.b, port=1000, local_port=2000)
    assert (one.state, other.state) == (State.SYN_SENT, State.SYN_SENT)
    pair.run_for(5 * MS)
    assert (one.state, other.state) == (State.SYN_RECEIVED, State.SYN_RECEIVED)
    pair.run_for(5 * MS)
    assert (one.state, other.state) == (State.ESTABLISHED, State.ESTABLISHED)
    pair.write(one, b"from one")
    pair.write(other, b"from other")
    pair.run_for(20 * MS)
    assert (pair.read(one), pair.read(other)) == (b"from other", b"from one")


def test_a_simultaneous_open_is_two_syns_and_two_syn_acks_as_in_figure_8() -> None:
    pair = Pair()
    pair.connect(side=pair.a, port=2000, local_port=1000)
    pair.connect(side=pair.b, port=1000, local_port=2000)
    pair.run_for(10 * MS)
    flags = [(p.sender, p.segment.flags) for p in pair.passed[:4]]
    assert sorted(flags) == [("a", SYN), ("a", SYN | ACK), ("b", SYN), ("b", SYN | ACK)]


def test_a_simultaneous_open_agrees_on_the_options() -> None:
    pair = Pair()
    one = pair.connect(side=pair.a, port=2000, local_port=1000)
    other = pair.connect(side=pair.b, port=1000, local_port=2000)
    pair.run_for(50 * MS)
    for end in (one, other):
        assert (end.has_timestamps, end.has_sack, end.has_wscale) == (True, True, True)
        assert end.mss_base == 1460


@pytest.mark.parametrize("lost", range(4))
def test_a_simultaneous_open_survives_the_loss_of_any_one_of_its_segments(lost: int) -> None:
    pair = Pair()
    count = iter(range(10**6))
    pair.filter = lambda p: next(count) != lost
    one = pair.connect(side=pair.a, port=2000, local_port=1000)
    other = pair.connect(side=pair.b, port=1000, local_port=2000)
    pair.run_for(10 * SECOND)
    assert (one.state, other.state) == (State.ESTABLISHED, State.ESTABLISHED)
    pair.write(one, b"hello")
    pair.run_for(SECOND)
    assert pair.read(other) == b"hello"


def test_a_simultaneous_open_works_with_a_peer_that_answers_with_a_bare_ack() -> None:
    peer = Peer()
    peer.connect()
    (syn_ack,) = peer.send(SYN, seq=0, mss=1460)
    assert (syn_ack.flags, syn_ack.seq, syn_ack.ack) == ("S.", 0, 1)
    assert peer.connection.state == State.SYN_RECEIVED
    peer.send(ACK, seq=1, ack=1)
    assert peer.connection.state == State.ESTABLISHED


def test_a_simultaneous_open_is_no_reason_to_wait_longer() -> None:
    pair = Pair()
    pair.a.config.tcp_timestamps = False
    one = pair.connect(side=pair.a, port=2000, local_port=1000)
    other = pair.connect(side=pair.b, port=1000, local_port=2000)
    pair.run_for(50 * MS)
    assert one.cwnd_bytes == 10 * one.snd_mss()
    assert (one.rto_ns, other.rto_ns) == (SECOND, SECOND)


def test_a_reset_during_a_simultaneous_open_refuses_it() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0, mss=1460)
    peer.send(RST, seq=1)
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ECONNREFUSED


def test_an_ack_of_what_was_not_sent_in_syn_received_is_reset() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0, mss=1460)
    for ack in (0, 2, -5):
        (reset,) = peer.send(ACK, seq=1, ack=ack)
        assert (reset.flags, reset.seq) == ("R", ack)
        assert peer.connection.state == State.SYN_RECEIVED


def test_the_syn_ack_of_a_simultaneous_open_is_repeated_and_given_up() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0, mss=1460)
    repeats = peer.wait(300 * SECOND)
    assert {s.flags for s in repeats} == {"S."}
    assert len(repeats) == 5
    assert peer.connection.state == State.CLOSED
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_a_shutdown_in_syn_received_sends_its_fin_once_established() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0, mss=1460)
    assert peer.shutdown() == []
    (fin,) = peer.send(ACK, seq=1, ack=1)
    assert (fin.flags, fin.seq) == ("F.", 1)
    assert peer.connection.state == State.FIN_WAIT_1


def test_text_on_the_segment_that_ends_a_simultaneous_open_is_taken() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN, seq=0, mss=1460)
    peer.send(ACK, seq=1, ack=1, data=b"first")
    assert peer.read() == b"first"


def test_a_connection_to_oneself_opens_and_carries_text() -> None:
    # The same four-tuple at both ends: the SYN comes back to its sender, who opens simultaneously with itself.
    pair = Pair()
    a = pair.a
    own = a.demux.new_connection(a.address, 5000, a.address, 5000, a.demux.new_options(), None)
    a.demux.connect(own, pair.now_ns)
    pair.filter = lambda p: False
    pair.flush()
    for passed in pair.passed:  # which grows meanwhile
        pair.inject(a, passed.data)
    assert own.state == State.ESTABLISHED
    own.write(b"to myself", pair.now_ns)
    before = len(pair.passed)
    pair.touch(own)
    for passed in pair.passed[before:]:
        pair.inject(a, passed.data)
    assert pair.read(own) == b"to myself"
    assert len(pair.passed) < 10
