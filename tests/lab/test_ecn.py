"""Marking queues: the threshold, CoDel (RFC 8289), and what ECN and DCTCP make of them."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from estab.errors import DropReason
from estab.events import CongestionChanged, Event, LinkDropped, LinkMarked, SegmentSent
from estab.lab.links.aqm import CodelState, marked
from estab.lab.network import Network
from estab.lab.record.conditions import Conditions, read_conditions
from estab.observe.flights import flights
from estab.units import MS, SECOND
from estab.wire import ethernet, ip
from estab.wire.checksum import add, fold
from tests.lab.test_way import Cable

V4 = (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
V6 = (bytes(15) + b"\x01", bytes(15) + b"\x02")


def packet(tos: int, *, is_v6: bool = False, size: int = 100, is_ethernet: bool = False) -> bytes:
    source, destination = V6 if is_v6 else V4
    data = ip.emit(source, destination, ip.UDP, bytes(size - (40 if is_v6 else 20)), 64, tos)
    if not is_ethernet:
        return data
    kind = ethernet.IPV6 if is_v6 else ethernet.IPV4
    return bytes(12) + kind.to_bytes(2, "big") + data


def tos_of(frame: bytes, header_bytes: int = 0) -> int:
    return int(ip.parse(frame, header_bytes).tos)


# --- a mark


@pytest.mark.parametrize("is_v6", [False, True])
@pytest.mark.parametrize("is_ethernet", [False, True])
@pytest.mark.parametrize("dscp", [0, 0xB8, 0xFC])
def test_a_mark_changes_the_ecn_field_and_nothing_else(is_v6: bool, is_ethernet: bool, dscp: int) -> None:
    header_bytes = 14 if is_ethernet else 0
    for codepoint in (1, 2, 3):
        frame = packet(dscp | codepoint, is_v6=is_v6, is_ethernet=is_ethernet)
        result = marked(frame, header_bytes)
        assert result is not None
        assert tos_of(result, header_bytes) == dscp | 3
        if not is_v6:
            assert fold(add(result, header_bytes, header_bytes + 20, 0)) == 0xFFFF
        assert result == packet(dscp | 3, is_v6=is_v6, is_ethernet=is_ethernet)
    assert marked(packet(dscp, is_v6=is_v6, is_ethernet=is_ethernet), header_bytes) is None


def test_what_is_no_ip_packet_is_never_marked() -> None:
    assert marked(bytes(12) + b"\x08\x06" + bytes(40), 14) is None
    assert marked(b"", 0) is None
    assert marked(b"\x20" + bytes(60), 0) is None


# --- the threshold


def test_packets_that_find_the_threshold_waiting_are_marked_and_others_pass() -> None:
    cable = Cable(rate="8Mbit", ecn_mark=2)
    cable.send(*[packet(2)] * 5, packet(0))
    cable.run()
    # One is being sent, two wait: the fourth finds two.
    assert [tos_of(frame) for frame in cable.frames] == [2, 2, 2, 3, 3, 0]
    assert cable.way.frames_marked == 2
    assert [fact.why for fact in cable.facts if isinstance(fact, LinkMarked)] == ["2 frames wait", "3 frames wait"]


def test_the_threshold_may_be_bytes() -> None:
    cable = Cable(rate="8Mbit", ecn_mark="150B")
    cable.send(*[packet(2)] * 5)
    cable.run()
    assert [tos_of(frame) for frame in cable.frames] == [2, 2, 2, 3, 3]


def test_a_marked_packet_can_still_be_dropped_by_a_full_queue() -> None:
    cable = Cable(rate="8Mbit", queue=2, ecn_mark=1)
    cable.send(*[packet(2)] * 5)
    cable.run()
    assert [tos_of(frame) for frame in cable.frames] == [2, 2, 3]
    assert cable.reasons == [DropReason.LINK_QUEUE_FULL] * 2


def test_without_a_rate_nothing_waits_and_nothing_is_marked() -> None:
    cable = Cable(ecn_mark=1)
    cable.send(*[packet(2)] * 5)
    cable.run()
    assert cable.way.frames_marked == 0


# --- CoDel


def flood(cable: Cable, tos: int, *, seconds: float, every_ns: int) -> None:
    """Send 1000-byte packets at a steady pace."""
    end_ns = int(seconds * SECOND)
    for at_ns in range(0, end_ns, every_ns):
        cable.agenda.at(at_ns, cable.way.carry, packet(tos, size=1000))
    cable.run()


def test_codel_leaves_a_queue_alone_that_stands_for_less_than_an_interval() -> None:
    cable = Cable(rate="8Mbit", aqm="codel")
    cable.send(*[packet(0, size=1000)] * 90)  # 90 ms
    cable.run()
    assert cable.reasons == []


def test_codel_leaves_a_short_queue_alone_however_long_it_stands() -> None:
    cable = Cable(rate="8Mbit", aqm="codel")
    flood(cable, 0, seconds=2, every_ns=MS)  # just what the link takes
    assert cable.reasons == []


def test_codel_drops_after_an_interval_and_then_faster_and_faster() -> None:
    cable = Cable(rate="8Mbit", aqm="codel")
    flood(cable, 0, seconds=1.2, every_ns=MS * 4 // 5)
    times = [fact.at_ns for fact in cable.facts if isinstance(fact, LinkDropped)]
    assert set(cable.reasons) == {DropReason.LINK_AQM}
    # The queue is over 5 ms after 25 ms, and one interval later the first goes.
    assert 110 * MS < times[0] < 140 * MS
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    for number, gap in enumerate(gaps[:8], 1):
        assert abs(gap - 100 * MS / number**0.5) < 2 * MS  # the control law, to a packet's time


def test_codel_marks_what_is_ecn_capable_and_drops_none_of_it() -> None:
    cable = Cable(rate="8Mbit", aqm="codel")
    flood(cable, 2, seconds=1.2, every_ns=MS * 4 // 5)
    assert cable.reasons == []
    assert cable.way.frames_marked == sum(tos_of(frame) == 3 for frame in cable.frames) > 10
    assert {fact.why for fact in cable.facts if isinstance(fact, LinkMarked)} == {"the queue stands (CoDel)"}


def test_target_and_interval_can_be_given() -> None:
    cable = Cable(rate="8Mbit", aqm="codel 1ms 20ms")
    flood(cable, 0, seconds=0.2, every_ns=MS * 4 // 5)
    assert 20 * MS < next(fact for fact in cable.facts if isinstance(fact, LinkDropped)).at_ns < 40 * MS


def test_codel_goes_on_near_its_pace_when_the_queue_comes_back_soon() -> None:
    codel = CodelState()
    codel.begin(100 * MS, SECOND)
    for _ in range(8):
        codel.again(100 * MS)
    codel.is_dropping = False
    codel.begin(100 * MS, codel.next_ns + 100 * MS)
    assert codel.count == 8
    codel.is_dropping = False
    codel.begin(100 * MS, codel.next_ns + 10 * SECOND)
    assert codel.count == 1


def test_a_cut_cable_forgets_what_waited() -> None:
    cable = Cable(rate="8Mbit", aqm="codel", ecn_mark=1)
    cable.send(*[packet(2, size=1000)] * 20)
    cable.way.cut()
    cable.way.heal()
    assert (cable.way.queue.waiting_frames, cable.way.queue.waiting_bytes) == (0, 0)
    cable.send(packet(2))
    cable.run()
    assert [tos_of(frame) for frame in cable.frames] == [2]


@pytest.mark.parametrize(("words", "error", "text"), [
    ({"aqm": "red"}, ValueError, "aqm: 'red' is neither"),
    ({"aqm": "codel 5ms"}, ValueError, "aqm: 'codel 5ms' is neither"),
    ({"aqm": "codel 0 100ms"}, ValueError, "aqm: 'codel 0 100ms' is not more than nothing"),
    ({"ecn_mark": 0}, ValueError, "ecn_mark: 0 is not more than nothing"),
    ({"ecn_mark": 1.5}, TypeError, "ecn_mark: 1.5 is neither"),
    ({"ecn_marks": 5}, TypeError, "did you mean ecn_mark"),
])
def test_a_bad_word_is_named(words: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        read_conditions(Conditions(), "a", True, words)
    assert text in str(caught.value)


def test_none_takes_marking_and_codel_away() -> None:
    both = read_conditions(Conditions(), "a", True, {"ecn_mark": 5, "aqm": "codel"})
    none = read_conditions(both, "a", True, {"ecn_mark": None, "aqm": None})
    assert none == Conditions()


# --- whole connections


@dataclass
class Run:
    """What came of some seconds of sending as much as fits, at 20 Mbit/s and 20 ms."""

    goodput: float
    """A share of the link's rate."""
    queue_frames: float
    """What waited on average, after the first quarter."""
    marks: int
    drops: dict[DropReason, int]
    retransmitted: int
    facts: list[Event]


def bulk(control: str, seconds: float = 2, *, tcp_ecn: int = 1, observes: bool = False, **link: Any) -> Run:
    net = Network(seed=1)
    server = net.host("server", tcp_ecn=5, tcp_congestion_control=control, tcp_rmem=(4096, 1 << 20, 4 << 20))
    client = net.host("client", tcp_ecn=tcp_ecn, tcp_congestion_control=control)
    cable = net.link(client, server, rate="20Mbit", delay="10ms", queue=100, **link)
    received = 0
    depths: list[int] = []
    facts: list[Event] = []
    if observes:
        net.observe(facts.append)

    @server.run
    def serve() -> None:
        nonlocal received
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 20):
                received += len(data)

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            while time.monotonic() < seconds:
                connection.send(bytes(65536))

    net.every("2ms", lambda: depths.append(cable.there.queue.waiting_frames))
    net.run()
    repeats = client.counters().get("TcpRetransSegs", 0)
    late = depths[len(depths) // 4 :]
    run = Run(
        received * 8 / net.now / 20e6, sum(late) / len(late), cable.there.frames_marked, dict(cable.there.drops),
        repeats, facts,
    )
    net.close()
    return run


def test_reno_with_ecn_loses_nothing_and_yet_halves() -> None:
    run = bulk("reno", ecn_mark=20, observes=True)
    assert run.drops == {}
    assert run.retransmitted == 0
    assert run.marks > 0
    reductions = [fact for fact in run.facts if isinstance(fact, CongestionChanged) and "marked" in fact.why]
    assert len(reductions) >= 2
    assert not [fact for fact in run.facts if isinstance(fact, CongestionChanged) and "recovery" in fact.why]
    told = [fact for fact in run.facts if isinstance(fact, SegmentSent) and "W" in fact.flags and "S" not in fact.flags]
    assert len(told) == len(reductions)
    first = reductions[0]
    assert first.ssthresh_bytes is not None
    assert first.ssthresh_bytes < 0.6 * first.cwnd_bytes or first.ssthresh_bytes < 70_000
    flown = flights(run.facts)
    assert sum(bool(flight.marked) for flight in flown) == run.marks
    assert {flight.fate for flight in flown if flight.marked} == {"arrived"}


def test_dctcp_keeps_the_queue_at_the_threshold_where_cubic_fills_it() -> None:
    dctcp = bulk("dctcp", ecn_mark=10)
    cubic = bulk("cubic", tcp_ecn=0, ecn_mark=10)
    assert dctcp.drops == {}
    assert dctcp.queue_frames < 12
    assert cubic.queue_frames > 40
    assert cubic.marks == 0
    assert cubic.drops[DropReason.LINK_QUEUE_FULL] > 0


@pytest.mark.parametrize("tcp_ecn", [1, 3])
def test_with_a_short_threshold_dctcp_carries_more_than_reno(tcp_ecn: int) -> None:
    dctcp = bulk("dctcp", tcp_ecn=tcp_ecn, ecn_mark=8)
    reno = bulk("reno", tcp_ecn=tcp_ecn, ecn_mark=8)
    assert dctcp.drops == reno.drops == {}
    assert dctcp.goodput > 1.15 * reno.goodput
    assert dctcp.marks > 2 * reno.marks


def test_codel_keeps_cubics_queue_short_with_marks_where_a_plain_queue_stands() -> None:
    plain, managed = bulk("cubic"), bulk("cubic", aqm="codel")
    assert managed.queue_frames < 0.3 * plain.queue_frames
    assert managed.goodput > 0.9 * plain.goodput
    assert managed.marks > 0


def test_marks_leave_bbr_as_it_is() -> None:
    run = bulk("bbr", ecn_mark=8)
    assert run.drops == {}
    assert run.goodput > 0.85
    assert run.queue_frames < 8


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "ecn.md"
    names: dict[str, Any] = {"__name__": "ecn"}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    words = capsys.readouterr().out.split()
    assert words[1:4] == ["marked,", "0", "lost,"]
    assert int(words[0]) > 10
    assert int(words[6]) < 30


def test_dctcp_without_ecn_is_reno() -> None:
    net = Network()
    server, client = net.host("server", tcp_ecn=0), net.host("client", tcp_congestion_control="dctcp")
    net.link(server, client)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            listener.accept()[0].close()

    @client.run
    def ask() -> bytes:
        with socket.create_connection(("server", 80)) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
            name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert name.rstrip(b"\0") == b"dctcp"
            return info

    net.run()
    assert not ask.result()[5] & 8  # TCPI_OPT_ECN
    net.close()
