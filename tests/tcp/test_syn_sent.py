"""SYN-SENT: segments that do not belong to the handshake (RFC 9293 section 3.10.7.3)."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer


@pytest.mark.parametrize("ack", [0, -1, 2, 5000, -1_000_000])
def test_syn_sent_resets_an_ack_of_what_was_not_sent(ack: int) -> None:
    peer = Peer()
    peer.connect()
    (reset,) = peer.send(SYN | ACK, seq=0, ack=ack)
    assert (reset.flags, reset.seq) == ("R", ack)
    assert peer.connection.state == State.SYN_SENT
    assert peer.drops() == {"TCP_INVALID_ACK_SEQUENCE": 1}


def test_syn_sent_answers_no_reset_with_a_reset() -> None:
    peer = Peer()
    peer.connect()
    assert peer.send(RST | ACK, seq=0, ack=77) == []
    assert peer.connection.state == State.SYN_SENT


def test_syn_sent_is_refused_by_a_reset_that_acknowledges_the_syn() -> None:
    peer = Peer()
    peer.connect()
    assert peer.send(RST | ACK, seq=0, ack=1) == []
    assert peer.connection.state == State.CLOSED
    with pytest.raises(ConnectionRefusedError, match="connection refused"):
        peer.connection.raise_error()
    assert peer.counters.TcpAttemptFails == 1
    assert peer.demux.table == {}


def test_syn_sent_ignores_a_reset_without_ack() -> None:
    peer = Peer()
    peer.connect()
    assert peer.send(RST, seq=0) == []
    assert peer.connection.state == State.SYN_SENT
    assert peer.drops() == {"TCP_RESET_INVALID": 1}


@pytest.mark.parametrize("flags", [ACK, ACK | FIN, ACK | PSH, 0, FIN, PSH])
def test_syn_sent_ignores_what_is_neither_syn_nor_rst(flags: int) -> None:
    peer = Peer()
    peer.connect()
    assert peer.send(flags, seq=0, ack=1) == []
    assert peer.connection.state == State.SYN_SENT
    assert peer.drops() == {"TCP_FLAGS": 1}


def test_syn_sent_resets_a_syn_ack_that_echoes_a_timestamp_never_sent() -> None:
    peer = Peer()
    (syn,) = peer.connect()
    peer.has_timestamps = True
    (reset,) = peer.send(SYN | ACK, seq=0, ack=1, ts_ecr=syn.segment.ts_val + 99)
    assert reset.flags == "R"
    assert peer.connection.state == State.SYN_SENT
    assert peer.counters.TcpExtPAWSActive == 1
    peer.send(SYN | ACK, seq=0, ack=1, ts_ecr=syn.segment.ts_val)
    assert peer.connection.state == State.ESTABLISHED


@pytest.mark.parametrize("is_v6", [False, True])
def test_text_and_fin_on_a_syn_ack_are_taken(is_v6: bool) -> None:
    peer = Peer(is_v6=is_v6)
    peer.connect()
    (ack,) = peer.send(SYN | ACK | FIN, seq=0, ack=1, data=b"early")
    assert (ack.flags, ack.ack) == (".", 7)
    assert peer.connection.state == State.CLOSE_WAIT
    assert peer.read() == b"early"
    assert peer.connection.is_eof()


def test_writing_before_the_connection_is_open_takes_nothing() -> None:
    peer = Peer()
    peer.connect()
    assert peer.connection.write(b"x", peer.now_ns) == 0
    assert not peer.connection.is_writable()


def test_closing_in_syn_sent_sends_nothing_and_leaves_nothing() -> None:
    peer = Peer()
    peer.connect()
    assert peer.close() == []
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}
    assert peer.wait(300 * SECOND) == []


def test_a_syn_to_a_port_where_nobody_listens_is_refused() -> None:
    pair = Pair()
    client = pair.connect(port=81)
    pair.run_for(20 * MS)
    assert client.take_error() == errno.ECONNREFUSED
    reset = pair.sent_by(pair.b)[0]
    assert (reset.flags, int(reset.seq), int(reset.ack)) == (RST | ACK, 0, client.iss + 1)
    assert pair.b.counters.TcpOutRsts == 1
