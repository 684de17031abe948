"""Proportional rate reduction (RFC 9937): how a window goes down while losses are repaired."""

from __future__ import annotations

import pytest

from estab.tcp.record.tcb import CA_OPEN, CA_RECOVERY
from tests.kit.pair import MS
from tests.tcp.test_rack import MSS, flight, places, sack


def test_one_loss_of_twenty_halves_the_window_smoothly_and_leaves_it_at_ssthresh() -> None:
    peer = flight(10)
    c = peer.connection
    c.cwnd_bytes = 20 * MSS
    c.write(bytes(40 * MSS), peer.now_ns)
    peer.touch()
    peer.seen.clear()
    sent_at = []
    for count in range(1, 20):
        sent_at.append(len(places(sack(peer, (1, 1 + count)))))
    assert c.ca_state == CA_RECOVERY
    assert c.ssthresh_bytes == 11 * MSS, "of the 22 in flight, two of them by limited transmit"
    # After limited transmit and the retransmission: one segment out for every two that arrived.
    steady = sent_at[4:18]
    assert max(steady) <= 1
    assert 6 <= sum(steady) <= 8
    peer.wait(MS)
    sack(peer, ack=1 + 25 * MSS)
    peer.wait(40 * MS)
    sack(peer, ack=c.snd_nxt - c.iss)
    assert c.ca_state == CA_OPEN
    assert c.cwnd_bytes >= c.ssthresh_bytes
    assert c.cwnd_bytes <= c.ssthresh_bytes + 2 * MSS


def test_when_half_a_flight_is_lost_the_repair_never_bursts_above_ssthresh() -> None:
    peer = flight(10)
    c = peer.connection
    c.cwnd_bytes = 20 * MSS
    c.write(bytes(10 * MSS), peer.now_ns)
    peer.touch()
    peer.seen.clear()
    for count in range(1, 9):
        burst = places(sack(peer, (12, 12 + count)))
        assert len(burst) <= 3
        assert c.pipe_bytes <= max(c.ssthresh_bytes, 20 * MSS - count * MSS)
    assert c.pipe_bytes > 0


def test_the_retransmission_goes_even_where_the_window_is_full() -> None:
    peer = flight(10)
    c = peer.connection
    c.cwnd_bytes = 4 * MSS  # far below what is in flight
    assert places(sack(peer, (1, 4))) == [0]


@pytest.mark.parametrize("lost", [1, 3, 6])
def test_every_loss_is_repaired_by_the_acknowledgments_of_what_arrived(lost: int) -> None:
    peer = flight(10)
    c = peer.connection
    for right in range(lost + 1, 11):
        sack(peer, (lost, right))
    for _ in range(4):
        peer.wait(10 * MS)
        again = sorted(set(places(peer.seen)))
        done = 0
        while done in again:
            done += 1
        if done >= lost:
            break
        sack(peer, (lost, 10), ack=1 + done * MSS)
    assert [place for place in sorted(set(places(peer.seen))) if place < lost] == list(range(lost))
    assert c.context.counters.TcpExtTCPTimeouts == 0
