"""BBR's model of the path, the delivery rate that it is made of, and pacing."""

from __future__ import annotations

import random

import pytest

from estab.tcp.congestion.bbr import Bbr
from estab.tcp.connection import Connection
from estab.tcp.record.inflight import SentSegment
from estab.tcp.record.sample import RateSample
from estab.units import MS, SECOND
from tests.kit.pair import ACK, Pair, Passed
from tests.kit.peer import Peer, set_options
from tests.tcp.test_rack import MSS, RTT, opened, places

RATE = 1_250_000
"""Bytes a second of the bottleneck below: 10 Mbit/s."""


class Bottleneck:
    """A queue of bytes before a rate, on the way from ``a``; both ways take ``delay_ns``."""

    def __init__(self, pair: Pair, queue_bytes: int = 100_000, loss: float = 0.0) -> None:
        self.pair = pair
        self.queue_bytes = queue_bytes
        self.loss = loss
        self.chance = random.Random(7)
        self.free_ns = 0
        self.largest = 0
        pair.filter = self.carry

    def carry(self, passed: Passed) -> bool | int:
        if passed.sender == "b":
            return True
        now_ns = self.pair.now_ns
        waiting = max(0, self.free_ns - now_ns) * RATE // SECOND
        if waiting + len(passed.data) > self.queue_bytes or self.chance.random() < self.loss:
            return False
        self.largest = max(self.largest, waiting)
        self.free_ns = max(self.free_ns, now_ns) + len(passed.data) * SECOND // RATE
        return self.free_ns - now_ns + self.pair.delay_ns


def transfer(control: str, seconds: int, **bottleneck: float) -> tuple[float, Connection, Bottleneck, Pair]:
    """Run for some seconds; gives the share of the bottleneck that was used."""
    pair = Pair(delay_ns=20 * MS)
    pair.a.config.tcp_congestion_control = control
    link = Bottleneck(pair, **bottleneck)  # type: ignore[arg-type]
    client, server = pair.established()
    start_ns = pair.now_ns
    received = 0
    while pair.now_ns - start_ns < seconds * SECOND:
        pair.write(client, bytes(50_000))
        pair.run_for(10 * MS)
        received += len(pair.read(server))
    return received / seconds / RATE, client, link, pair


def bbr_of(connection: Connection) -> Bbr:
    assert isinstance(connection.congestion, Bbr)
    return connection.congestion


# --- the model


def test_it_finds_bandwidth_and_delay_and_keeps_the_queue_short() -> None:
    share, client, link, _ = transfer("bbr", 4, queue_bytes=400_000)
    model = bbr_of(client)
    assert share > 0.85
    assert model.rate() == pytest.approx(RATE * MSS / 1500, rel=0.1)
    assert model.min_rtt_ns == pytest.approx(41 * MS, rel=0.1)
    assert client.srtt_ns < 80 * MS
    assert link.largest < 250_000, "slow start alone would have filled the queue"


def test_loss_that_is_no_congestion_costs_little() -> None:
    share, _, _, pair = transfer("bbr", 4, loss=0.03)
    assert share > 0.75
    assert transfer("reno", 4, loss=0.03)[0] < 0.4
    counters = pair.a.counters
    assert counters.TcpExtTCPPartialUndo == 0, "every loss was real"
    assert counters.TcpExtTCPFullUndo == 0


def test_once_in_ten_seconds_it_lets_the_pipe_run_empty_to_measure_the_delay() -> None:
    _, client, _, pair = transfer("bbr", 2)
    model = bbr_of(client)
    model.min_rtt_at_ns -= 8 * SECOND
    smallest = client.pipe_bytes
    for _ in range(100):
        pair.write(client, bytes(50_000))
        pair.run_for(10 * MS)
        pair.read(next(end for end in pair.b.demux.table.values() if isinstance(end, Connection)))
        smallest = min(smallest, client.pipe_bytes)
    assert smallest <= 5 * MSS
    assert client.cwnd_bytes > 20 * MSS, "and then the window is as before"


def test_startup_ends_when_the_bandwidth_no_longer_grows() -> None:
    _, client, _, _ = transfer("bbr", 2)
    model = bbr_of(client)
    assert model.is_full
    assert model.pacing_gain in (1250, 750, 1000)


# --- the delivery rate


def segment(sample: RateSample, at_ns: int, delivered: int, pipe: int = 1000) -> SentSegment:
    made = SentSegment(0, 1000, 0, bytes(1000), 0, at_ns)
    sample.on_sent(made, pipe, delivered, at_ns)
    return made


def test_the_rate_is_what_was_delivered_over_the_longer_of_sending_and_acknowledging() -> None:
    sample = RateSample(0)
    first = segment(sample, 10 * MS, 0, pipe=0)
    last = segment(sample, 60 * MS, 0)
    sample.on_delivered(first)
    sample.finish(1000, 1000, 0, 10 * MS, 110 * MS)
    assert sample.rate == 1000 * SECOND // (100 * MS)
    sample.on_delivered(last)
    sample.finish(2000, 1000, 0, 10 * MS, 160 * MS)
    assert sample.rate == 2000 * SECOND // (150 * MS)


def test_an_interval_shorter_than_the_path_gives_no_rate() -> None:
    sample = RateSample(0)
    sample.on_delivered(segment(sample, 10 * MS, 0, pipe=0))
    sample.finish(1000, 1000, 0, 50 * MS, 30 * MS)
    assert sample.rate == 0


def test_what_a_slow_program_sends_is_marked_until_it_is_delivered() -> None:
    sample = RateSample(0)
    sample.note_program_is_slow(5000, 1000)
    slow = segment(sample, 0, 5000)
    sample.on_delivered(slow)
    sample.finish(6001, 1001, 0, MS, 10 * MS)
    assert sample.is_app_limited
    assert not segment(sample, 20 * MS, 6001).is_app_limited


# --- pacing


def paced(rate: int, segment_bytes_max: int = 0) -> Peer:
    peer = opened(segment_bytes_max)
    peer.connection.cwnd_bytes = 100 * MSS
    peer.connection.pacing_rate = rate
    return peer


def test_segments_leave_no_faster_than_the_pace() -> None:
    peer = paced(MSS * 100)  # a segment every 10 ms
    first = peer.write(bytes(5 * MSS))
    later = peer.wait(45 * MS)
    assert [s.at_ns - first[0].at_ns for s in first + later] == [0, 10 * MS, 20 * MS, 30 * MS, 40 * MS]


@pytest.mark.parametrize(("late_ms", "wait_ms"), [(0, 10), (2, 8), (5, 5), (9, 5), (30, 5)])
def test_a_segment_that_leaves_late_shortens_the_next_wait_by_half_of_it_at_most(late_ms: int, wait_ms: int) -> None:
    peer = paced(0)
    set_options(peer.connection, max_pacing_rate=100 * MSS)
    peer.connection.data_segs_out = 10  # the first ten are not paced
    peer.write(bytes(2 * MSS))
    peer.wait(5 * MS)
    left_ns = peer.seen[-1].at_ns
    assert peer.connection.pace_ns == left_ns + 10 * MS
    peer.wait(peer.connection.pace_ns + late_ms * MS - peer.now_ns)
    first = peer.write(bytes(2 * MSS))
    later = peer.wait(10 * MS)
    assert later[0].at_ns - first[0].at_ns == wait_ms * MS


def test_at_a_fast_pace_a_milliseconds_worth_leaves_at_once_so_that_timers_stay_rare() -> None:
    peer = paced(MSS * 10_000)
    first = peer.write(bytes(40 * MSS))
    assert 10 <= len(first) <= 12
    later = peer.wait(4 * MS)
    assert len({s.at_ns for s in later}) <= 3
    assert len(first) + len(later) == 40


def test_super_segments_are_no_larger_than_a_milliseconds_worth() -> None:
    peer = paced(MSS * 5_000, 60_000)
    peer.write(bytes(30 * MSS))
    peer.wait(10 * MS)
    sizes = [len(s.text) // MSS for s in peer.seen if s.text]
    assert sum(sizes) == 30
    assert max(sizes) == 4, "a 1024th of a second's worth, in whole segments"


def test_the_first_lost_segment_is_repeated_without_waiting_for_the_pace() -> None:
    peer = paced(MSS * 100)
    peer.write(bytes(8 * MSS))
    peer.wait(75 * MS)
    peer.seen.clear()
    peer.send(ACK, ack=1 + 4 * MSS)
    answer = peer.send(ACK, ack=1 + 4 * MSS, sack=[1 + 5 * MSS, 1 + 8 * MSS])
    assert places(answer)[:1] == [4] or places(peer.wait(RTT))[:1] == [4]


def test_a_wait_for_the_pace_ends_though_a_tail_loss_probe_took_the_text() -> None:
    peer = paced(MSS * 2)  # a segment every 500 ms
    first = peer.write(bytes(2 * MSS))
    probe = peer.wait(400 * MS)
    assert (places(first), places(probe)[:1]) == ([0], [1])
    assert peer.connection.is_pacing
    peer.send(ACK, ack=1 + 2 * MSS)
    due_ns = peer.demux.next_deadline_ns()
    assert due_ns == peer.connection.pace_ns
    peer.demux.on_deadline(due_ns)
    assert not peer.connection.is_pacing
    assert peer.demux.next_deadline_ns() > due_ns, "nothing is due again at the same instant"


def test_an_unpaced_connection_has_no_pacing_timer() -> None:
    peer = opened()
    peer.connection.cwnd_bytes = 100 * MSS
    assert len(peer.write(bytes(20 * MSS))) == 20
    assert not peer.connection.is_pacing
