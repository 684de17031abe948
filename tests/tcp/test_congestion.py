"""Congestion controls by name, CUBIC's curve (RFC 9438), HyStart++ (RFC 9406), and one that a user wrote."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.config import Config
from estab.tcp.congestion.cubic import Cubic
from estab.tcp.congestion.hystart import HyStart
from estab.tcp.record.control import SSTHRESH_INFINITE, CongestionControl, Flow
from estab.units import MS, SECOND
from tests.kit.pair import Pair, Passed
from tests.kit.peer import Peer

SMSS = 536
"""What a bare ``Flow`` says its segments are."""


def flow_of(segments: int, *, rtt_ns: int = 100 * MS) -> Flow:
    flow = Flow(b"")
    flow.cwnd_bytes = segments * SMSS
    flow.srtt_ns = flow.rtt_ns = flow.min_rtt_ns = rtt_ns
    flow.is_cwnd_limited = True
    return flow


def grow(cubic: Cubic, flow: Flow, now_ns: int, until_ns: int) -> int:
    """Acknowledge a window each round trip, a segment at a time, until ``until_ns``."""
    while now_ns < until_ns:
        window = flow.cwnd_bytes
        for _ in range(max(1, window // SMSS)):
            now_ns += flow.srtt_ns * SMSS // window
            cubic.on_ack(flow, SMSS, now_ns)
    return now_ns


# --- names


def test_the_default_is_cubic_as_in_linux() -> None:
    from estab.tcp.config import Config

    assert Config().tcp_congestion_control == "cubic"


def test_an_unknown_name_is_enoent_and_says_which_there_are() -> None:
    peer = Peer()
    with pytest.raises(OSError, match="'vegas' among reno, cubic") as caught:
        peer.side.demux.algorithms.find("vegas")
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_the_stack_gives_its_connections_the_control_of_its_setting(name: str) -> None:
    pair = Pair()
    for side in (pair.a, pair.b):
        side.config.tcp_congestion_control = name
    for end in pair.established():
        assert end.info(pair.now_ns).congestion == name


def test_two_connections_do_not_share_what_cubic_remembers_and_an_idle_one_remembers_nothing() -> None:
    pair = Pair()
    pair.a.config.tcp_congestion_control = "cubic"
    busy, _ = pair.established()
    idle, _ = pair.established(port=81)
    pair.write(busy, bytes(200_000))
    pair.run_for(SECOND)
    assert busy.has_own_congestion
    assert not idle.has_own_congestion
    assert busy.congestion is not idle.congestion


def test_a_connection_may_change_its_control_while_it_runs() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.write(client, bytes(100_000))
    pair.run_for(30 * MS)
    client.set_congestion(pair.a.demux.algorithms.find("cubic"), pair.now_ns)
    assert client.info(pair.now_ns).congestion == "cubic"
    pair.run_for(SECOND)
    assert len(pair.read(server)) > 50_000


# --- CUBIC


def test_a_loss_multiplies_the_window_by_seven_tenths() -> None:
    assert Cubic(Config()).ssthresh(flow_of(100), SECOND) == 70 * SMSS


def test_a_second_loss_below_the_old_plateau_makes_room_for_newer_flows() -> None:
    cubic, flow = Cubic(Config()), flow_of(100)
    flow.cwnd_bytes = cubic.ssthresh(flow, SECOND)
    assert cubic.w_max == 100 * SMSS
    cubic.ssthresh(flow, SECOND)
    assert cubic.w_max == 70 * SMSS * 17 // 20


def test_the_window_is_back_at_its_old_plateau_after_k_seconds_and_flat_there() -> None:
    cubic, flow = Cubic(Config()), flow_of(1000)
    flow.ssthresh_bytes = flow.cwnd_bytes = cubic.ssthresh(flow, SECOND)
    k_ns = round((300 / 0.4) ** (1 / 3) * SECOND)  # cbrt(W_max (1 - beta) / C)
    now_ns = grow(cubic, flow, SECOND, SECOND + k_ns // 2)
    assert 0.94 < flow.cwnd_bytes / (1000 * SMSS) < 0.99, "concave: fast at first"
    now_ns = grow(cubic, flow, now_ns, SECOND + k_ns)
    assert flow.cwnd_bytes / (1000 * SMSS) == pytest.approx(1.0, abs=0.01)
    now_ns = grow(cubic, flow, now_ns, SECOND + k_ns + 2 * SECOND)
    assert flow.cwnd_bytes / (1000 * SMSS) == pytest.approx(1.0, abs=0.02)
    grow(cubic, flow, now_ns, SECOND + 2 * k_ns)
    assert flow.cwnd_bytes / (1000 * SMSS) == pytest.approx(1.3, abs=0.05), "convex: as far above as it was below"


def test_growth_depends_on_time_and_not_on_the_round_trip() -> None:
    windows = []
    for rtt_ms in (40, 200):
        cubic, flow = Cubic(Config()), flow_of(800, rtt_ns=rtt_ms * MS)
        flow.ssthresh_bytes = flow.cwnd_bytes = cubic.ssthresh(flow, SECOND)
        grow(cubic, flow, SECOND, 6 * SECOND)
        windows.append(flow.cwnd_bytes)
    assert windows[0] == pytest.approx(windows[1], rel=0.05)


def test_on_a_short_path_it_is_never_slower_than_reno() -> None:
    cubic, flow = Cubic(Config()), flow_of(20, rtt_ns=2 * MS)
    flow.ssthresh_bytes = flow.cwnd_bytes = cubic.ssthresh(flow, SECOND)
    grow(cubic, flow, SECOND, SECOND + 100 * MS)
    # 50 round trips: 9/17 of a segment each until 20 are reached, then one each.
    assert flow.cwnd_bytes / SMSS > 14 + 40


def test_time_that_the_program_idles_does_not_make_the_window_jump() -> None:
    cubic, flow = Cubic(Config()), flow_of(1000)
    flow.ssthresh_bytes = flow.cwnd_bytes = cubic.ssthresh(flow, SECOND)
    now_ns = grow(cubic, flow, SECOND, 2 * SECOND)
    before = flow.cwnd_bytes
    cubic.on_ack(flow, SMSS, now_ns + 3600 * SECOND)
    assert flow.cwnd_bytes - before < 10 * SMSS


def test_a_window_that_is_not_used_up_does_not_grow() -> None:
    cubic, flow = Cubic(Config()), flow_of(100)
    flow.is_cwnd_limited = False
    cubic.on_ack(flow, 50 * SMSS, SECOND)
    assert flow.cwnd_bytes == 100 * SMSS


def test_a_loss_that_was_none_gives_the_plateau_back() -> None:
    cubic, flow = Cubic(Config()), flow_of(1000)
    cubic.w_max = 1200 * SMSS
    cubic.ssthresh(flow, SECOND)
    cubic.on_undone(flow, SECOND)
    assert cubic.w_max == 1200 * SMSS


# --- HyStart++


def rounds(hystart: HyStart, flow: Flow, rtt_ms: int, count: int = 1) -> list[int]:
    """Run rounds of ten samples each; gives the growth for 1,000 bytes at the end of each."""
    result = []
    for _ in range(count):
        flow.rtt_ns = rtt_ms * MS
        for _ in range(9):
            flow.snd_una += 10
            hystart.growth(flow, 1000)
        flow.snd_una = flow.snd_nxt
        flow.snd_nxt += 100
        result.append(hystart.growth(flow, 1000))
    return result


def test_slow_start_goes_on_while_the_round_trip_stays_short() -> None:
    flow = flow_of(10)
    flow.snd_nxt = 100
    assert rounds(HyStart(), flow, 50, 8) == [1000] * 8
    assert rounds(HyStart(), flow, 53) == [1000], "less than an eighth, and less than 4 ms, longer"


def test_a_longer_round_trip_slows_growth_to_a_quarter_and_after_five_rounds_ends_it() -> None:
    flow = flow_of(10)
    flow.snd_nxt = 100
    hystart = HyStart()
    rounds(hystart, flow, 50, 3)
    rounds(hystart, flow, 60)  # begins with a sample of 50
    assert rounds(hystart, flow, 60, 6) == [250, 250, 250, 250, 0, 0], "five rounds with the one in which it began"


def test_when_the_round_trip_gets_shorter_again_slow_start_resumes() -> None:
    flow = flow_of(10)
    flow.snd_nxt = 100
    hystart = HyStart()
    rounds(hystart, flow, 50, 3)
    assert rounds(hystart, flow, 60, 2)[-1] == 250
    rounds(hystart, flow, 51)
    assert rounds(hystart, flow, 51)[-1] == 1000


# --- written by a user


class HalfStep(CongestionControl):
    """Grows by half a segment a round trip, and falls to three quarters at a loss."""

    name = "halfstep"

    def __init__(self) -> None:
        self.losses = 0

    def for_flow(self) -> CongestionControl:
        return HalfStep()

    def on_ack(self, flow: Flow, acked_bytes: int, now_ns: int) -> None:
        if not flow.is_cwnd_limited:
            return
        if flow.cwnd_bytes < flow.ssthresh_bytes:
            flow.cwnd_bytes += acked_bytes
        else:
            flow.cwnd_bytes += flow.full_segment_bytes() * acked_bytes // (2 * flow.cwnd_bytes)

    def ssthresh(self, flow: Flow, now_ns: int) -> int:
        self.losses += 1
        return max(flow.cwnd_bytes * 3 // 4, 2 * flow.full_segment_bytes())


def test_a_user_writes_one_in_plain_python_and_every_part_of_it_is_called() -> None:
    pair = Pair(delay_ns=20 * MS)
    pair.a.demux.algorithms.add(HalfStep())
    pair.a.config.tcp_congestion_control = "halfstep"
    client, server = pair.established()
    count = 0

    def one_lost(passed: Passed) -> bool:
        nonlocal count
        count += passed.sender == "a"
        return count != 100

    pair.filter = one_lost
    received = 0
    while received < 300_000:
        pair.write(client, bytes(30_000))
        pair.run_for(10 * MS)
        received += len(pair.read(server))
    assert client.info(pair.now_ns).congestion == "halfstep"
    assert isinstance(client.congestion, HalfStep)
    assert client.congestion.losses == 1
    assert client.ssthresh_bytes < SSTHRESH_INFINITE
    assert client.cwnd_bytes >= client.ssthresh_bytes


def test_a_name_that_tcp_congestion_could_not_carry_is_refused() -> None:
    class Long(CongestionControl):
        name = "longer-than-a-name"

    with pytest.raises(ValueError, match="1 to 15"):
        Pair().a.demux.algorithms.add(Long())
