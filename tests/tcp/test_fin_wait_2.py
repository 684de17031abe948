"""FIN-WAIT-2 without a program: how long an orphan waits."""

from __future__ import annotations

from estab.tcp.state import State
from estab.units import SECOND
from estab.wire.tcp import ACK, FIN
from tests.kit.closing import established, flags, in_state
from tests.kit.peer import Peer


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
