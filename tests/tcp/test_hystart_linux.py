"""HyStart as Linux's CUBIC has it: each sign by itself, and the window that it waits for."""

from __future__ import annotations

import pytest

from estab.tcp.config import Config
from estab.tcp.congestion.cubic import Cubic
from estab.tcp.congestion.hystart_linux import LinuxHyStart
from estab.tcp.profile import profile_config
from estab.tcp.record.control import SSTHRESH_INFINITE, Flow
from estab.units import MS, SECOND, US
from tests.kit.peer import Peer

SMSS = 536


def flow_of(segments: int) -> Flow:
    flow = Flow(b"")
    flow.cwnd_bytes = segments * SMSS
    flow.srtt_ns = flow.rtt_ns = flow.min_rtt_ns = 100 * MS
    flow.snd_nxt = 1000
    flow.is_cwnd_limited = True
    return flow


def acknowledge(hystart: LinuxHyStart, flow: Flow, rtt_ns: int, count: int, apart_ns: int, now_ns: int = SECOND) -> int:
    """Acknowledge ``count`` times, so far apart; gives how many it took to end slow start, 0 where it goes on."""
    for number in range(1, count + 1):
        flow.snd_una += 1
        if hystart.is_over(flow, rtt_ns, now_ns):
            return number
        now_ns += apart_ns
    return 0


@pytest.mark.parametrize(("rtt_ms", "longer_ms", "number"), [
    (100, 113, 9), (100, 112, 0), (8, 13, 9), (8, 12, 0), (1000, 1017, 9), (1000, 1016, 0),
])
def test_nine_round_trips_longer_by_an_eighth_end_it(rtt_ms: int, longer_ms: int, number: int) -> None:
    """No less than 4 ms, no more than 16 ms."""
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    hystart.delay_min_ns = rtt_ms * MS
    assert acknowledge(hystart, flow, longer_ms * MS, 20, 3 * MS) == number


def test_one_short_round_trip_of_a_round_is_enough_to_go_on() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    hystart.delay_min_ns = 100 * MS
    assert acknowledge(hystart, flow, 105 * MS, 1, 3 * MS) == 0
    assert acknowledge(hystart, flow, 150 * MS, 20, 3 * MS) == 0


def test_a_new_round_counts_anew() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    hystart.delay_min_ns = 100 * MS
    assert acknowledge(hystart, flow, 150 * MS, 8, 3 * MS) == 0
    flow.snd_una, flow.snd_nxt = flow.snd_nxt, 2000
    assert acknowledge(hystart, flow, 150 * MS, 20, 3 * MS) == 9


def test_a_train_of_half_the_shortest_round_trip_ends_it() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    assert acknowledge(hystart, flow, 100 * MS, 99, MS) == 52, "the first begins the train, 51 ms later it is too long"


def test_under_a_pace_the_train_may_be_as_long_as_the_round_trip_and_a_millisecond() -> None:
    peer = Peer()
    peer.accept()
    hystart, flow = LinuxHyStart(Config()), peer.connection
    flow.cwnd_bytes = 20 * flow.full_segment_bytes()
    flow.snd_nxt = flow.snd_una + 1000
    flow.pacing_rate = 100_000_000
    assert acknowledge(hystart, flow, 100 * MS, 199, MS) == 103
    flow.pacing_rate = 1 << 40
    hystart.reset()
    assert acknowledge(hystart, flow, 100 * MS, 199, MS) == 102, "with no time to speak of for a super-segment"


def test_acknowledgments_too_far_apart_are_no_train() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    assert acknowledge(hystart, flow, 100 * MS, 200, 2 * MS + US) == 0


def test_a_small_window_is_left_alone() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(15)
    hystart.delay_min_ns = 100 * MS
    assert acknowledge(hystart, flow, 200 * MS, 20, MS) == 0


@pytest.mark.parametrize(("detect", "number"), [(0, 0), (1, 52), (2, 9)])
def test_each_sign_can_be_switched_off(detect: int, number: int) -> None:
    config = Config()
    config.cubic_hystart_detect = detect
    hystart, flow = LinuxHyStart(config), flow_of(20)
    hystart.delay_min_ns = 100 * MS
    assert acknowledge(hystart, flow, 200 * MS, 99, MS) == number


def test_it_ends_slow_start_once_until_a_timeout_begins_another() -> None:
    hystart, flow = LinuxHyStart(Config()), flow_of(20)
    hystart.delay_min_ns = 100 * MS
    assert acknowledge(hystart, flow, 200 * MS, 20, 3 * MS) == 9
    assert acknowledge(hystart, flow, 200 * MS, 20, 3 * MS) == 0
    hystart.reset()
    assert acknowledge(hystart, flow, 100 * MS, 1, 3 * MS) == 0
    flow.snd_una, flow.snd_nxt = flow.snd_nxt, 2000
    assert acknowledge(hystart, flow, 200 * MS, 20, 3 * MS) == 9


@pytest.mark.parametrize(("hystart", "is_over"), [(0, False), (1, True)])
def test_cubic_asks_it_where_the_setting_says_so(hystart: int, is_over: bool) -> None:
    config = Config()
    config.cubic_hystart = hystart
    cubic, flow = Cubic(config), flow_of(20)
    flow.rtt_ns = 150 * MS
    for number in range(9):
        flow.snd_una += 1
        cubic.on_ack(flow, SMSS, SECOND + number * 3 * MS)
    assert (flow.ssthresh_bytes < SSTHRESH_INFINITE) == is_over
    if is_over:
        assert flow.ssthresh_bytes == flow.cwnd_bytes == 28 * SMSS


def test_linux_has_its_own_and_the_stack_the_rfcs() -> None:
    assert profile_config("linux").cubic_hystart == 1
    assert Config().cubic_hystart == 2


def test_until_a_loss_is_seen_growth_after_slow_start_is_a_segment_for_twenty() -> None:
    cubic, flow = Cubic(Config()), flow_of(100)
    flow.ssthresh_bytes = flow.cwnd_bytes
    for number in range(101):
        cubic.on_ack(flow, SMSS, SECOND + number * MS)
    assert flow.cwnd_bytes // SMSS == 105

