"""Repair without a timeout: fast retransmit, SACK, and how the window grows (RFC 5681, RFC 6675)."""

from __future__ import annotations

import random

import pytest

from estab.tcp.record.tcb import CA_LOSS, CA_OPEN, CA_RECOVERY
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK, FIN
from tests.kit.pair import Pair
from tests.kit.peer import Peer
from tests.kit.retransmit import MSS, ack_to, established, places

# --- fast retransmit (RFC 5681 section 3.2)


@pytest.mark.parametrize("sack", [False, True])
def test_three_duplicates_repeat_the_segment_that_is_missing(sack: bool) -> None:
    peer = established(rtt_ns=40 * MS, sack=sack)
    peer.write(b"x" * 10 * MSS)
    peer.wait(40 * MS)
    answers = [ack_to(peer, 0, *([(1, n)] if sack else [])) for n in (2, 3)]
    assert answers == [[], []]
    assert places(ack_to(peer, 0, *([(1, 4)] if sack else []))) == [0]
    c = peer.connection
    assert c.ca_state == CA_RECOVERY
    assert c.ssthresh_bytes == 5 * MSS
    assert c.retransmit_ns != NEVER
    assert peer.counters.TcpExtTCPFastRetrans == 1


def test_fast_retransmit_starts_the_timer_again() -> None:
    peer = established(rtt_ns=100 * MS)
    peer.write(b"x" * 10 * MSS)
    peer.wait(250 * MS)
    for _ in range(3):
        ack_to(peer, 0)
    assert peer.connection.retransmit_ns == peer.now_ns + 300 * MS


def test_what_is_not_a_duplicate_does_not_count() -> None:
    peer = established()
    peer.write(b"x" * 10 * MSS)
    for n in range(5):
        peer.send(ACK, ack=1, data=b"z")  # with text
        peer.send(ACK, ack=1, wnd=60_000 - n)  # with another window
    assert peer.connection.duplicate_acks == 0
    peer.seen.clear()
    for _ in range(5):
        peer.send(ACK, ack=1, wnd=60_000 - 4)
    assert peer.connection.ca_state == CA_RECOVERY


def test_duplicates_count_only_while_something_is_in_flight() -> None:
    peer = established()
    for _ in range(5):
        assert peer.send(ACK) == []
    assert peer.connection.duplicate_acks == 0


def test_an_acknowledgment_of_new_text_ends_the_count_of_duplicates() -> None:
    peer = established()
    peer.write(b"x" * 10 * MSS)
    ack_to(peer, 0)
    ack_to(peer, 0)
    ack_to(peer, 1)
    assert ack_to(peer, 1) == []
    assert ack_to(peer, 1) == []
    assert peer.connection.ca_state != CA_RECOVERY


def test_full_recovery_sets_cwnd_to_ssthresh() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 10 * MSS)
    for _ in range(3):
        ack_to(peer, 0)
    ack_to(peer, 10)
    c = peer.connection
    assert (c.ca_state, c.cwnd_bytes, c.in_flight_count()) == (CA_OPEN, 5 * MSS, 0)


def test_duplicates_in_recovery_let_new_text_go() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 30 * MSS)
    answers = [places(ack_to(peer, 0)) for _ in range(9)]
    # pipe = 10 - one for each duplicate + the retransmission; cwnd = 5
    assert answers[2] == [0]
    assert answers[:2] == [[10], [11]]  # limited transmit
    new = [n for a in answers[3:] for n in a]
    assert new == [12, 13, 14]


def test_a_partial_acknowledgment_repeats_the_next_missing_segment_without_sack() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 10 * MSS)  # 0 and 4 are lost
    for _ in range(3):
        ack_to(peer, 0)
    assert places(ack_to(peer, 4))[:1] == [4]
    assert peer.connection.ca_state == CA_RECOVERY
    ack_to(peer, 10)
    assert peer.connection.ca_state == CA_OPEN


def test_newreno_does_not_enter_recovery_again_for_duplicates_of_what_came_before_a_timeout() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 10 * MSS)
    peer.wait(300 * MS)
    ssthresh = peer.connection.ssthresh_bytes
    for _ in range(5):
        ack_to(peer, 0)
    assert peer.connection.ca_state == CA_LOSS
    assert peer.connection.ssthresh_bytes == ssthresh


# --- SACK (RFC 6675)


def test_sack_repeats_all_holes_and_nothing_that_arrived() -> None:
    peer = established(sack=True)
    peer.write(b"x" * 20 * MSS)  # 0, 5 and 6 are lost
    ack_to(peer, 0, (1, 5))
    seen = ack_to(peer, 0, (7, 12), (1, 5))
    seen += ack_to(peer, 0, (7, 20), (1, 5))
    repeats = [s for s in places(peer.seen[20:]) if s < 20]
    assert sorted(repeats) == [0, 5, 6]
    assert seen or repeats


def test_what_sack_acknowledged_is_not_in_the_pipe() -> None:
    peer = established(rtt_ns=40 * MS, sack=True)
    peer.write(b"x" * 10 * MSS)
    peer.wait(40 * MS)
    ack_to(peer, 0, (8, 10))
    assert peer.connection.pipe_bytes == 8 * MSS
    assert peer.connection.in_flight_count() == 10


def test_blocks_outside_of_what_is_in_flight_are_ignored() -> None:
    peer = established(sack=True)
    peer.write(b"x" * 10 * MSS)
    peer.send(ACK, ack=1, sack=[1 - MSS, 1])
    peer.send(ACK, ack=1, sack=[1 + 100 * MSS, 1 + 101 * MSS])
    peer.send(ACK, ack=1, sack=[1 + 5 * MSS, 1 + 4 * MSS])
    assert peer.connection.pipe_bytes == 10 * MSS
    assert peer.connection.lost_count == 0


def test_a_loss_first_told_by_an_acknowledgment_that_moves_on_reduces_the_window_too() -> None:
    peer = established(sack=True, cwnd=20 * MSS)
    peer.write(b"x" * 20 * MSS)
    ack_to(peer, 2, (3, 12))  # one segment says both: two arrived, one is missing, nine more arrived
    c = peer.connection
    assert c.ca_state == CA_RECOVERY
    assert c.cwnd_bytes <= 10 * MSS
    assert 2 in places(peer.seen[20:])


def test_sack_marks_are_void_after_a_timeout_where_the_peer_reneged() -> None:
    peer = established(sack=True)
    peer.write(b"x" * 4 * MSS)
    ack_to(peer, 0, (2, 4))
    ack_to(peer, 2)  # it has no more than that, so the fourth and third are gone again
    peer.wait(300 * MS)
    assert peer.connection.lost_count + len(places(peer.seen[-1:])) == 2
    assert peer.counters.TcpExtTCPSACKReneging == 1


def test_limited_transmit_sends_a_new_segment_for_each_of_the_first_two_duplicates() -> None:
    for sack in (False, True):
        peer = established(cwnd=4 * MSS, rtt_ns=40 * MS, sack=sack)
        peer.write(b"x" * 10 * MSS)
        peer.wait(40 * MS)
        assert places(ack_to(peer, 0, *([(1, 2)] if sack else []))) == [4]
        assert places(ack_to(peer, 0, *([(1, 3)] if sack else []))) == [5]


# --- growth (RFC 5681 section 3.1)


def test_the_initial_window_is_ten_segments() -> None:
    peer = Peer()
    peer.accept(send_buffer_bytes=100_000, is_send_buffer_fixed=True)
    assert len(peer.write(b"x" * 30 * MSS)) == 10


def test_slow_start_adds_what_was_acknowledged_up_to_two_segments_an_acknowledgment() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 60 * MSS)
    ack_to(peer, 1)
    assert peer.connection.cwnd_bytes == 11 * MSS
    ack_to(peer, 3)
    assert peer.connection.cwnd_bytes == 13 * MSS
    ack_to(peer, 8)
    assert peer.connection.cwnd_bytes == 15 * MSS


def test_congestion_avoidance_adds_a_segment_a_round_trip() -> None:
    peer = established(cwnd=10 * MSS)
    peer.connection.ssthresh_bytes = 5 * MSS
    peer.write(b"x" * 100 * MSS)
    for n in range(1, 11):
        ack_to(peer, n)
    assert 10.9 * MSS <= peer.connection.cwnd_bytes <= 11.05 * MSS


def test_a_window_that_was_not_used_up_does_not_grow() -> None:
    peer = established(cwnd=10 * MSS)
    for _ in range(50):
        peer.write(b"x")
        peer.send(ACK)
    assert peer.connection.cwnd_bytes == 10 * MSS


def test_a_window_that_was_used_up_once_does_not_grow_for_ever_after() -> None:
    peer = established(cwnd=10 * MSS)
    peer.write(b"x" * 12 * MSS)
    ack_to(peer, 10)
    ack_to(peer, 12)
    grown = peer.connection.cwnd_bytes
    for _ in range(50):
        peer.write(b"x")
        peer.send(ACK)
    assert peer.connection.cwnd_bytes <= grown + MSS


# --- two engines over a bad wire


@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("every", [3, 7, 20])
def test_a_stream_arrives_whole_whatever_is_lost(sack: bool, timestamps: bool, every: int) -> None:
    pair = Pair()
    for side in (pair.a, pair.b):
        side.config.tcp_sack = sack
        side.config.tcp_timestamps = timestamps
    pair.a.config.tcp_wmem = (4096, 300_000, 300_000)
    pair.a.config.tcp_orphan_retries = 15
    client, server = pair.established()
    chance = random.Random(f"{sack} {timestamps} {every}")
    pair.filter = lambda p: chance.randrange(every) != 0
    data = bytes(range(251)) * 600
    assert pair.write(client, data) == len(data)
    pair.close(client)
    got = b""
    while not server.is_eof() and pair.now_ns < 3000 * SECOND:
        pair.run_for(200 * MS)
        got += pair.read(server)
    assert got == data
    assert pair.a.counters.TcpRetransSegs > 0


def test_a_single_loss_in_a_stream_is_repaired_without_a_timeout() -> None:
    for sack in (False, True):
        pair = Pair()
        pair.a.config.tcp_sack = sack
        pair.a.config.tcp_wmem = (4096, 300_000, 300_000)
        client, server = pair.established()
        count = iter(range(10**6))
        pair.filter = lambda p, count=count: p.sender == "b" or next(count) != 6  # type: ignore[misc]
        pair.write(client, b"x" * 100_000)
        got = 0
        for _ in range(20):
            pair.run_for(10 * MS)
            got += len(pair.read(server))
        assert got == 100_000
        assert pair.a.counters.TcpExtTCPTimeouts == 0
        assert pair.a.counters.TcpRetransSegs == 1


def test_reordering_by_two_does_not_cause_a_retransmission() -> None:
    pair = Pair()
    pair.a.config.tcp_wmem = (4096, 300_000, 300_000)
    client, server = pair.established()
    count = iter(range(10**6))
    pair.filter = lambda p: True if p.sender == "b" or next(count) % 5 else 5 * MS + 1
    pair.write(client, b"x" * 100_000)
    for _ in range(30):
        pair.run_for(10 * MS)
        pair.read(server)
    assert server.copied_seq - server.irs - 1 == 100_000


def test_a_lost_fin_is_repeated() -> None:
    pair = Pair()
    client, server = pair.established()
    lost: list[object] = []
    pair.filter = lambda p: not p.segment.flags & FIN or bool(lost) or bool(lost.append(p))
    pair.close(client)
    pair.run_for(SECOND)
    assert server.is_eof()
    assert pair.a.counters.TcpRetransSegs == 1


def test_the_timer_runs_whenever_something_is_in_flight() -> None:
    peer = established(sack=True)
    peer.write(b"x" * 10 * MSS)
    peer.wait(300 * MS)
    ack_to(peer, 1)
    for n in range(3, 10):
        peer.send(ACK, ack=1 + MSS, wnd=0, sack=[1 + 2 * MSS, 1 + n * MSS])
        assert peer.connection.retransmit_ns != NEVER


def test_an_echo_older_than_the_last_repetition_measures_nothing() -> None:
    # Two segments arrive, their acknowledgment is lost; the repetition of the first is old news to the receiver, which
    # goes on to echo the timestamp of the second's first transmission. The seconds in between were no round trip.
    peer = established(rtt_ns=100 * MS, timestamps=True)
    sent = peer.write(b"x" * 2 * MSS)
    peer.wait(5 * SECOND)
    peer.send(ACK, ts_ecr=sent[-1].segment.ts_val)
    assert peer.connection.outq_bytes() == 0
    assert peer.connection.srtt_ns == 100 * MS


def test_the_segment_acknowledged_last_is_echoed_when_it_comes_again() -> None:
    peer = established(timestamps=True)
    peer.text(b"hello")
    peer.wait(3 * SECOND)
    again = peer.ts_now()
    (ack,) = peer.send(ACK, seq=1, data=b"hello")
    assert ack.segment.ts_ecr == again
