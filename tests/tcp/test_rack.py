"""Losses by time, the tail loss probe, and the scoreboard that both stand on (RFC 2018, 8985), as a peer sees them."""

from __future__ import annotations

import random

import pytest

from estab.tcp.connection import Connection
from estab.tcp.context import Owner
from estab.tcp.record.parts import troubles_of
from estab.tcp.record.tcb import CA_DISORDER, CA_LOSS, CA_OPEN, CA_RECOVERY
from estab.tcp.recovery import rack
from tests.kit.pair import ACK, MS, SECOND, Pair
from tests.kit.peer import Peer, Seen, set_options

MSS = 1448
RTT = 40 * MS


def opened(segment_bytes_max: int = 0, **options: bool) -> Peer:
    """Give an engine that measured a round trip of 40 ms, with ten segments of congestion window."""
    peer = Peer(segment_bytes_max=segment_bytes_max)
    listener = peer.listen()
    peer.syn(sack=options.get("sack", True), timestamps=True, wscale=7)
    peer.wait(RTT)
    peer.send(ACK)
    connection = listener.accept()
    assert connection is not None
    connection.owner = Owner()
    set_options(connection, nodelay=True)
    peer.connection = connection
    assert connection.srtt_ns == RTT
    return peer


def flight(segments: int, **options: bool) -> Peer:
    """Give an engine with ``segments`` full segments in flight for a round trip."""
    peer = opened(**options)
    peer.write(bytes(MSS * segments))
    peer.wait(RTT)
    peer.seen.clear()
    return peer


def sack(peer: Peer, *blocks: tuple[int, int], ack: int = 1) -> list[Seen]:
    """Acknowledge up to ``ack`` and SACK blocks of whole segments, counted from 0 of the flight."""
    edges = []
    for left, right in blocks:
        edges += [1 + left * MSS, 1 + right * MSS]
    return peer.send(ACK, ack=ack, sack=edges) if edges else peer.send(ACK, ack=ack)


def places(seen: list[Seen]) -> list[int]:
    """Say which segments of the flight these are."""
    return [(s.seq - 1) // MSS for s in seen if s.text]


def consistent(c: Connection) -> None:
    """Check the scoreboard's sums against the segments."""
    sent = (c.sent or [])[c.sent_head :]
    at = c.snd_una
    for segment in sent:
        assert segment.seq == at
        at = segment.end
    assert at == c.snd_nxt
    assert c.pipe_bytes == sum(s.end - s.seq for s in sent if not s.is_lost and not s.is_sacked)
    assert c.lost_count == sum(s.is_lost for s in sent)
    losses = c.losses
    if losses is not None:
        assert losses.sacked_count == sum(s.is_sacked for s in sent)
        assert losses.sacked_bytes == sum(s.end - s.seq for s in sent if s.is_sacked)
        assert losses.sacked_bytes == sum(r.right - max(r.left, c.snd_una) for r in losses.runs)
        assert all(a.right < b.left for a, b in zip(losses.runs, losses.runs[1:], strict=False))


# --- losses by time


def test_a_segment_with_three_sacked_above_it_is_sent_again_at_once() -> None:
    peer = flight(8)
    assert sack(peer, (1, 2)) == []
    assert sack(peer, (1, 3)) == []
    assert peer.connection.ca_state == CA_DISORDER
    assert places(sack(peer, (1, 4))) == [0]
    assert peer.connection.ca_state == CA_RECOVERY
    assert peer.counters.TcpExtTCPSackRecovery == 1


def test_early_retransmit_needs_no_three_segments_only_a_quarter_round_trip() -> None:
    peer = flight(2)
    assert sack(peer, (1, 2)) == []
    assert places(peer.wait(peer.connection.min_rtt_ns // 4 + MS)) == [0]
    assert peer.counters.TcpExtTCPTimeouts == 0


def test_all_holes_below_a_late_segment_are_found_by_one_acknowledgment() -> None:
    peer = flight(10)
    sack(peer, (2, 4), (5, 6), (7, 10))
    c = peer.connection
    assert c.lost_count + len(places(peer.seen)) == 4
    consistent(c)


def test_a_lost_retransmission_is_found_by_what_was_sent_after_it_without_a_timeout() -> None:
    peer = flight(10)
    peer.connection.write(bytes(4 * MSS), peer.now_ns)
    assert places(sack(peer, (1, 4)))[:1] == [0]
    later = [place for place in places(sack(peer, (1, 10))) if place >= 10]
    assert later
    peer.wait(RTT)
    assert 0 in places(sack(peer, (1, 10 + len(later))))
    assert peer.counters.TcpExtTCPLostRetransmit == 1
    assert peer.counters.TcpExtTCPTimeouts == 0


def test_after_reordering_was_seen_a_segment_gets_a_quarter_round_trip_of_grace() -> None:
    peer = flight(10)
    sack(peer, (1, 3))
    sack(peer, ack=1 + 3 * MSS)  # the first one was only late
    assert peer.connection.losses.is_reordering_seen
    assert peer.counters.TcpExtTCPSACKReorder == 1
    assert sack(peer, (4, 9), ack=1 + 3 * MSS) == []
    assert places(peer.wait(peer.connection.min_rtt_ns // 4 + MS)) == [3]


def test_a_dsack_widens_the_reordering_window_once_a_round_trip_and_sixteen_recoveries_shrink_it() -> None:
    peer = flight(10)
    sack(peer, (1, 4))
    losses = peer.connection.losses
    sack(peer, (0, 1), ack=1 + 4 * MSS)
    sack(peer, (0, 1), ack=1 + 4 * MSS)
    assert losses.window_multiplier == 2
    assert peer.counters.TcpExtTCPDSACKRecv == 2
    for _ in range(16):
        rack.on_recovered(losses)
    assert losses.window_multiplier == 1


def test_without_sack_the_third_duplicate_retransmits_and_a_partial_acknowledgment_the_next_hole() -> None:
    peer = flight(8, sack=False)
    assert peer.send(ACK, ack=1) == []
    assert peer.send(ACK, ack=1) == []
    assert places(peer.send(ACK, ack=1)) == [0]
    assert places(peer.send(ACK, ack=1 + 3 * MSS))[:1] == [3]
    assert peer.counters.TcpExtTCPRenoRecovery == 1


@pytest.mark.parametrize("has_sack", [True, False])
def test_limited_transmit_sends_a_new_segment_for_each_of_the_first_two_duplicates(has_sack: bool) -> None:
    peer = flight(10, sack=has_sack)
    c = peer.connection
    c.cwnd_bytes = 10 * MSS
    c.write(bytes(5 * MSS), peer.now_ns)
    peer.touch()
    peer.seen.clear()
    for count in (1, 2):
        answer = sack(peer, (1, 1 + count)) if has_sack else peer.send(ACK, ack=1)
        assert places(answer) == [9 + count], "RFC 3042"
    assert c.cwnd_bytes == 10 * MSS


# --- the scoreboard


def test_sacked_segments_are_never_sent_again() -> None:
    peer = flight(10)
    sack(peer, (1, 3), (4, 6), (7, 10))
    for _ in range(4):
        peer.wait(RTT)
        sack(peer, (1, 3), (4, 6), (7, 10))
    assert {0, 3, 6} >= set(places(peer.seen))
    consistent(peer.connection)


def test_blocks_that_lie_outside_of_the_flight_are_ignored_and_counted() -> None:
    peer = flight(4)
    c = peer.connection
    sack(peer, (3, 9))
    sack(peer, (2, 1))
    assert peer.counters.TcpExtTCPSACKDiscard == 2
    assert c.pipe_bytes == 4 * MSS
    consistent(c)


def test_single_sacked_bytes_neither_count_nor_make_the_scoreboard_grow() -> None:
    """The peer of CVE-2019-11478 tells of one byte at a time."""
    peer = flight(10)
    c = peer.connection
    for offset in range(3, 3 * MSS, 7):
        left = 1 + MSS + offset
        peer.send(ACK, ack=1, sack=[left, left + 1])
    assert len(c.sent) - c.sent_head == 10
    assert c.losses.sacked_count == 0
    assert c.losses.runs == []


def test_a_super_segment_is_cut_where_a_block_begins_and_only_what_is_missing_is_sent_again() -> None:
    peer = opened(65000)
    peer.config.tcp_min_tso_segs = 10
    peer.connection.cwnd_bytes = 20 * MSS
    peer.write(bytes(10 * MSS))
    assert len(peer.seen[-1].text) == 10 * MSS
    peer.wait(RTT)
    answer = sack(peer, (2, 4), (5, 10))
    consistent(peer.connection)
    peer.wait(10 * MS)
    sack(peer, (2, 4), (5, 10))
    repeats = [(s.seq - 1, len(s.text), s.flags) for s in peer.seen[-2:] if s.text]
    assert repeats == [(0, 2 * MSS, "P."), (4 * MSS, MSS, ".")], answer
    assert peer.counters.TcpRetransSegs == 3, "counted as the segments that the wire has"


def test_a_part_of_a_super_segment_measures_the_round_trip_as_well_as_all_of_it() -> None:
    peer = opened(65000)
    peer.config.tcp_min_tso_segs = 10
    peer.write(bytes(4 * MSS))
    peer.wait(RTT + MS // 2)
    peer.send(ACK, ack=MSS)
    assert peer.connection.rtt_ns % MS == 0, "less than a packet of it measures nothing; the timestamp does"
    peer.send(ACK, ack=2 * MSS + 1)
    assert peer.connection.rtt_ns == RTT + MS // 2


def test_where_segments_come_out_of_order_a_sack_lets_the_window_grow() -> None:
    peer = flight(10)
    c = peer.connection
    sack(peer, (9, 10))
    assert c.cwnd_bytes == 10 * MSS, "nothing yet says that the path reorders"
    sack(peer, (3, 4), (9, 10))
    assert c.cwnd_bytes == 11 * MSS


@pytest.mark.parametrize("seed", range(6))
def test_the_scoreboard_adds_up_after_any_sequence_of_blocks(seed: int) -> None:
    chance = random.Random(seed)
    peer = Peer(segment_bytes_max=chance.choice([0, 20_000]))
    peer.accept(sack=True, timestamps=seed % 2 == 0, wnd=60_000)
    c = peer.connection
    set_options(c, nodelay=True)
    have = 0
    for _ in range(300):
        if c.outq_bytes() < 15_000:
            c.write(chance.randbytes(chance.randint(1, 4000)), peer.now_ns)
            peer.touch()
        top = c.snd_nxt - c.iss
        edges: list[int] = []
        for _ in range(chance.randint(0, 3)):
            left = chance.randint(max(1, have - 3000), max(top, have) + 2000)
            edges += [left, left + chance.randint(0, 6000)]
        if chance.random() < 0.3:
            have = chance.randint(c.snd_una - c.iss, top)
        peer.send(ACK, ack=max(have, 1), wnd=60_000, **({"sack": edges} if edges else {}))
        consistent(c)
        peer.wait(chance.choice([0, MS, 10 * MS, 300 * MS]))
        consistent(c)


# --- tail loss probe


def test_a_lost_tail_is_probed_after_two_round_trips_and_repaired_without_a_timeout() -> None:
    peer = flight(5)
    c = peer.connection
    sack(peer, ack=1 + 2 * MSS)
    probes = peer.wait(2 * c.srtt_ns + 3 * MS)
    assert places(probes) == [4]
    assert peer.counters.TcpExtTCPLossProbes == 1
    assert c.cwnd_bytes >= 10 * MSS, "a probe alone is no congestion"
    peer.wait(RTT)
    # The SACK of the probe tells what is missing.
    assert places(sack(peer, (4, 5), ack=1 + 2 * MSS)) == [2]
    peer.wait(RTT)
    assert places(sack(peer, (4, 5), ack=1 + 3 * MSS)) == [3]
    assert peer.counters.TcpExtTCPTimeouts == 0


def test_a_probe_carries_new_text_where_there_is_some_even_beyond_the_congestion_window() -> None:
    peer = flight(10)
    c = peer.connection
    c.cwnd_bytes = 10 * MSS
    c.write(bytes(MSS), peer.now_ns)
    peer.touch()
    peer.seen.clear()
    assert places(peer.wait(2 * c.srtt_ns + 3 * MS)) == [10]
    sack(peer, ack=1 + 11 * MSS)
    assert c.losses is None
    assert peer.counters.TcpExtTCPLossProbeRecovery == 0


def test_a_single_segment_is_given_the_time_of_a_delayed_acknowledgment_before_it_is_probed() -> None:
    peer = flight(1)
    c = peer.connection
    start_ns = c.sent[c.sent_head].sent_ns
    first = peer.wait(SECOND)[0]
    assert first.at_ns - start_ns >= min(2 * c.srtt_ns + 200 * MS, c.rto_ns)


def test_a_probe_that_repaired_the_loss_of_the_last_segment_lowers_the_window() -> None:
    peer = flight(4)
    c = peer.connection
    sack(peer, ack=1 + 3 * MSS)
    assert places(peer.wait(SECOND // 4))[:1] == [3]
    peer.connection.write(bytes(MSS), peer.now_ns)
    peer.touch()
    window = c.cwnd_bytes
    sack(peer, ack=1 + 5 * MSS)
    assert peer.counters.TcpExtTCPLossProbeRecovery == 1
    assert c.cwnd_bytes < window


def test_a_probe_of_which_a_dsack_says_that_both_copies_arrived_lowers_nothing() -> None:
    peer = flight(4)
    c = peer.connection
    sack(peer, ack=1 + 3 * MSS)
    assert places(peer.wait(SECOND // 4))[:1] == [3]
    window = c.cwnd_bytes
    sack(peer, ack=1 + 4 * MSS)
    sack(peer, (3, 4), ack=1 + 4 * MSS)
    assert peer.counters.TcpExtTCPLossProbeRecovery == 0
    assert c.cwnd_bytes >= window


def test_only_one_probe_is_sent_then_the_retransmission_timer_takes_over() -> None:
    peer = flight(3)
    peer.wait(3 * SECOND)
    assert peer.counters.TcpExtTCPLossProbes == 1
    assert peer.counters.TcpExtTCPTimeouts >= 1


def test_no_probe_is_sent_without_sack_or_where_early_retransmission_is_off() -> None:
    for name in ("sack", "off"):
        peer = flight(3, sack=name != "sack")
        peer.config.tcp_early_retrans = 0
        sack(peer, ack=1 + MSS)
        peer.wait(3 * SECOND)
        assert peer.counters.TcpExtTCPLossProbes == 0
        assert peer.counters.TcpExtTCPTimeouts >= 1


# --- the timeout


def test_a_timeout_leaves_what_is_not_late_in_flight() -> None:
    peer = flight(3)
    c = peer.connection
    c.context.config.tcp_early_retrans = 0
    sack(peer, ack=1 + MSS)
    peer.wait(c.retransmit_ns - peer.now_ns - 5 * MS)
    c.write(bytes(MSS), peer.now_ns)
    peer.touch()
    peer.wait(6 * MS)
    assert c.ca_state == CA_LOSS
    assert c.lost_count + places(peer.seen).count(1) + places(peer.seen).count(2) == 2
    assert c.pipe_bytes >= MSS, "the new segment is 5 ms old"


def test_a_peer_that_reneged_gets_everything_again() -> None:
    peer = flight(4)
    c = peer.connection
    sack(peer, (1, 4))
    sack(peer, ack=1 + MSS)  # SACKed 1 to 4, acknowledges only 1: the rest was thrown away
    peer.wait(5 * SECOND)
    assert peer.counters.TcpExtTCPSACKReneging >= 1
    assert 1 in places(peer.seen)
    consistent(c)


# --- as a whole


@pytest.mark.parametrize("has_sack", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_everything_arrives_in_order_over_a_wire_that_loses_duplicates_and_reorders(seed: int, has_sack: bool) -> None:
    chance = random.Random(seed)
    pair = Pair(delay_ns=20 * MS)
    pair.a.config.tcp_sack = has_sack
    client, server = pair.established()
    pair.filter = lambda passed: (
        False if chance.random() < 0.03 else 20 * MS + chance.randint(0, 10 * MS) if chance.random() < 0.03 else True
    )
    data = chance.randbytes(200_000)
    offset, received = 0, b""
    start_ns = pair.now_ns
    while len(received) < len(data):
        offset += pair.write(client, data[offset : offset + 20_000])
        pair.run_for(5 * MS)
        received += pair.read(server)
        consistent(client)
        assert pair.now_ns - start_ns < 120 * SECOND, pair.trace()[-4000:]
    assert received == data


def test_random_loss_causes_no_needless_retransmission() -> None:
    chance = random.Random(3)
    pair = Pair(delay_ns=20 * MS)
    client, server = pair.established()
    pair.filter = lambda passed: passed.sender == "b" or chance.random() >= 0.03
    offset, received = 0, 0
    while received < 400_000:
        offset += pair.write(client, bytes(min(20_000, 400_000 - offset)))
        pair.run_for(5 * MS)
        received += len(pair.read(server))
    lost = sum(p.is_lost for p in pair.passed)
    assert lost > 5
    assert troubles_of(client).segments_retransmitted == lost
    assert pair.a.counters.TcpExtTCPTimeouts == 0
    pair.run_for(SECOND)
    assert client.losses is None
    assert client.ca_state == CA_OPEN
