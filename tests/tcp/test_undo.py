"""False alarms: spurious timeouts and retransmissions, and how they are taken back (RFC 5682, 3522, 4015, 2883)."""

from __future__ import annotations

import pytest

from estab.tcp.connection import Connection
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_LOSS, CA_OPEN
from tests.kit.pair import ACK, MS, SECOND, Pair, Passed
from tests.tcp.test_rack import MSS, RTT, flight, places, sack


def spiked(
    *, spike_ns: int, has_sack: bool = True, has_timestamps: bool = True, frto: int = 2,
) -> tuple[Pair, Connection]:
    """Run a transfer over a path of 20 ms each way on which all that is sent in one window comes ``spike_ns`` later."""
    pair = Pair(delay_ns=20 * MS)
    for side in (pair.a, pair.b):
        side.config.tcp_sack = has_sack
        side.config.tcp_timestamps = has_timestamps
        side.config.tcp_frto = frto
        side.config.tcp_early_retrans = 0
    client, server = pair.established()
    sent = 0
    for _ in range(10):
        sent += pair.write(client, bytes(20_000))
        pair.run_for(30 * MS)
        pair.read(server)
    until_ns = pair.now_ns + 40 * MS
    release_ns = pair.now_ns + spike_ns

    def slow(passed: Passed) -> bool | int:
        if passed.sender == "a" and passed.at_ns < release_ns - 20 * MS:
            return max(20 * MS, release_ns - passed.at_ns)
        return True

    assert until_ns < release_ns
    pair.filter = slow
    sent += pair.write(client, bytes(60_000))
    received = 0
    for _ in range(200):
        pair.run_for(20 * MS)
        sent += pair.write(client, bytes(20_000)) if sent < 600_000 else 0
        received += len(pair.read(server))
    return pair, client


def without_timestamps(c: Connection) -> None:
    """Let a connection forget timestamps, with segments as large as before."""
    c.has_timestamps = False
    c.mss_base -= 12


@pytest.mark.parametrize("has_sack", [True, False])
def test_a_timeout_that_a_delay_caused_is_taken_back_by_f_rto(has_sack: bool) -> None:
    pair, client = spiked(spike_ns=600 * MS, has_sack=has_sack, has_timestamps=False)
    counters = pair.a.counters
    assert counters.TcpExtTCPTimeouts >= 1
    assert counters.TcpExtTCPSpuriousRTOs >= 1
    assert troubles_of(client).segments_retransmitted <= 4, "only the probes of the timeouts themselves"
    assert client.ssthresh_bytes > 20 * MSS


def test_a_timeout_that_a_delay_caused_is_taken_back_by_the_echoed_timestamp_alone() -> None:
    pair, client = spiked(spike_ns=600 * MS, frto=0)
    counters = pair.a.counters
    assert counters.TcpExtTCPTimeouts >= 1
    assert counters.TcpExtTCPLossUndo + counters.TcpExtTCPFullUndo >= 1
    assert counters.TcpExtTCPSpuriousRTOs == 0
    assert troubles_of(client).segments_retransmitted <= 4


def test_without_any_witness_the_whole_window_is_sent_again() -> None:
    _, client = spiked(spike_ns=600 * MS, has_sack=False, has_timestamps=False, frto=0)
    assert troubles_of(client).segments_retransmitted > 20


def test_after_a_timeout_new_text_goes_first_and_a_duplicate_for_it_means_that_the_loss_was_real() -> None:
    peer = flight(5, sack=False)
    c = peer.connection
    without_timestamps(c)
    c.write(bytes(4 * MSS), peer.now_ns)
    c.cwnd_bytes = 5 * MSS
    peer.wait(SECOND // 2)
    assert c.ca_state == CA_LOSS
    assert places(peer.seen) == [0]
    assert places(peer.send(ACK, ack=1 + MSS)) == [5, 6], "step 2.b: two new segments"
    answer = peer.send(ACK, ack=1 + MSS)
    assert places(answer)[:1] == [1], "step 3.a: repeat"
    assert c.ca_state == CA_LOSS
    assert peer.counters.TcpExtTCPSpuriousRTOs == 0


def test_after_a_timeout_an_acknowledgment_of_what_was_not_sent_again_shows_that_it_was_spurious() -> None:
    peer = flight(5, sack=False)
    c = peer.connection
    without_timestamps(c)
    c.write(bytes(4 * MSS), peer.now_ns)
    window = c.cwnd_bytes = 5 * MSS
    peer.wait(SECOND // 2)
    peer.send(ACK, ack=1 + MSS)
    peer.send(ACK, ack=1 + 2 * MSS)
    assert peer.counters.TcpExtTCPSpuriousRTOs == 1
    assert c.ca_state == CA_OPEN
    assert c.lost_count == 0
    assert c.cwnd_bytes >= window


def test_a_cumulative_acknowledgment_of_the_repeat_and_what_waited_behind_it_proves_nothing_without_sack() -> None:
    peer = flight(5, sack=False)
    c = peer.connection
    without_timestamps(c)
    peer.wait(SECOND // 2)
    peer.send(ACK, ack=1 + 3 * MSS)
    assert peer.counters.TcpExtTCPSpuriousRTOs == 0


def test_where_there_is_no_new_text_f_rto_gives_way_to_plain_repeats() -> None:
    peer = flight(5, sack=False)
    without_timestamps(peer.connection)
    peer.wait(SECOND // 2)
    assert places(peer.send(ACK, ack=1 + MSS))[:1] == [1]


def test_a_second_timeout_in_recovery_is_not_judged_by_f_rto() -> None:
    peer = flight(6)
    sack(peer, (1, 4))
    peer.wait(peer.connection.rto_ns + MS)
    assert peer.connection.ca_state == CA_LOSS
    assert not peer.connection.losses.is_frto


def test_a_fast_retransmission_that_reordering_caused_is_taken_back_by_the_echoed_timestamp() -> None:
    peer = flight(10)
    c = peer.connection
    window = c.cwnd_bytes
    early = peer.ts_recent
    peer.wait(2 * MS)
    assert places(sack(peer, (1, 5)))[:1] == [0]
    assert c.cwnd_bytes < window
    # The original arrives, late: what it echoes is from before the retransmission.
    peer.send(ACK, ack=1 + 5 * MSS, ts_ecr=early)
    assert peer.counters.TcpExtTCPPartialUndo == 1
    assert c.cwnd_bytes >= window
    assert c.ca_state == CA_OPEN


def test_a_fast_retransmission_that_a_dsack_reports_is_taken_back_after_recovery_too() -> None:
    peer = flight(10)
    c = peer.connection
    without_timestamps(c)
    window = c.cwnd_bytes
    sack(peer, (1, 10))
    sack(peer, ack=1 + 10 * MSS)
    assert c.ca_state == CA_OPEN
    assert c.cwnd_bytes < window
    sack(peer, (0, 1), ack=1 + 10 * MSS)
    assert peer.counters.TcpExtTCPDSACKUndo == 1
    assert c.cwnd_bytes >= window


def test_one_dsack_of_two_repeats_takes_nothing_back() -> None:
    peer = flight(10)
    c = peer.connection
    without_timestamps(c)
    sack(peer, (2, 10))
    peer.wait(RTT // 2)
    sack(peer, (2, 10), ack=1 + MSS)
    assert sorted(places(peer.seen)) == [0, 1]
    sack(peer, ack=1 + 10 * MSS)
    sack(peer, (0, 1), ack=1 + 10 * MSS)
    assert peer.counters.TcpExtTCPDSACKUndo == 0
    sack(peer, (1, 2), ack=1 + 10 * MSS)
    assert peer.counters.TcpExtTCPDSACKUndo == 1


def test_a_real_loss_is_never_taken_back() -> None:
    pair = Pair(delay_ns=20 * MS)
    client, server = pair.established()
    count = 0

    def every_fiftieth(passed: Passed) -> bool:
        nonlocal count
        count += passed.sender == "a"
        return passed.sender == "b" or count % 50 != 0

    pair.filter = every_fiftieth
    received = 0
    while received < 400_000:
        pair.write(client, bytes(20_000))
        pair.run_for(10 * MS)
        received += len(pair.read(server))
    counters = pair.a.counters
    assert counters.TcpExtTCPSackRecovery > 3
    undone = (
        counters.TcpExtTCPFullUndo, counters.TcpExtTCPPartialUndo, counters.TcpExtTCPDSACKUndo,
        counters.TcpExtTCPLossUndo, counters.TcpExtTCPSpuriousRTOs,
    )
    assert undone == (0, 0, 0, 0, 0)


def test_what_is_known_of_losses_is_given_back_once_nothing_can_be_taken_back_any_more() -> None:
    peer = flight(10)
    c = peer.connection
    sack(peer, (1, 10))
    sack(peer, ack=1 + 10 * MSS)
    assert c.losses is not None
    peer.write(bytes(MSS))
    peer.wait(RTT)
    sack(peer, ack=1 + 11 * MSS)
    assert c.losses is None
