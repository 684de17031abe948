"""Closing by a reset: unread text (SHLD-3), linger, abort."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.state import State
from estab.units import NEVER
from estab.wire.tcp import ACK, FIN, RST, SYN
from tests.kit.closing import established, flags, in_state
from tests.kit.peer import Peer


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
     (State.CLOSE_WAIT, errno.EPIPE), (State.CLOSING, errno.ECONNRESET),
     (State.LAST_ACK, errno.ECONNRESET)],
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
