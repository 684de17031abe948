"""A fair queue before a link's rate (RFC 8290): flows send in rounds, and the one that fills the queue loses."""

from __future__ import annotations

from typing import Any

import pytest

from estab.errors import DropReason
from estab.events import Event, LinkDropped, LinkQueueChanged
from estab.lab.links.way import Way
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions, read_conditions
from estab.units import MS, NEVER
from estab.wire import ip, udp


class Cable:
    """A way with its agenda, and which flows arrived when."""

    def __init__(self, **words: Any) -> None:
        self.agenda = Agenda()
        self.arrived: list[tuple[int, int]] = []
        self.facts: list[Event] = []
        conditions = read_conditions(Conditions(), "a", True, words)
        self.way = Way("cable", "a", conditions, 0, self.agenda, Chance(5), self._deliver)
        self.way.observer = self.facts.append

    def _deliver(self, frame: bytes) -> None:
        self.arrived.append((self.agenda.now_ns, int.from_bytes(frame[20:22], "big")))

    def send(self, flow: int, count: int, size: int = 1000) -> None:
        """Send datagrams of a flow, which is its source port."""
        header = ip.IpHeader(b"\x0a\0\0\1", b"\x0a\0\0\2")
        for _ in range(count):
            self.way.carry(udp.emit_packet(flow, 9, bytes(size - 28), header))

    def run(self, until_ns: int = NEVER - 1) -> None:
        while self.agenda.next_due_ns() <= until_ns:
            self.agenda.take()

    @property
    def flows(self) -> list[int]:
        return [flow for _, flow in self.arrived]


def test_a_flow_that_sends_little_does_not_wait_behind_one_that_sends_much() -> None:
    for aqm, right in (("fq", 4), (None, 52)):
        cable = Cable(rate="8Mbit", aqm=aqm)
        cable.send(1, 50)
        cable.run(MS // 2)
        cable.send(2, 2, size=100)
        cable.run()
        assert cable.flows.index(2) < right <= 52
        assert (cable.flows[-1] == 2) is (aqm is None)


def test_flows_share_the_rate_by_bytes_and_not_by_frames() -> None:
    cable = Cable(rate="8Mbit", aqm="fq")
    cable.send(1, 200, size=1500)
    cable.send(2, 800, size=300)
    cable.run(200 * MS)
    bytes_of = {flow: cable.flows.count(flow) * size for flow, size in ((1, 1500), (2, 300))}
    assert bytes_of[1] == pytest.approx(bytes_of[2], rel=0.05)


def test_the_flow_that_fills_the_queue_loses_its_oldest() -> None:
    cable = Cable(rate="8Mbit", aqm="fq", queue=10)
    cable.send(1, 11)
    cable.send(2, 1)
    cable.run()
    lost = [fact.data for fact in cable.facts if isinstance(fact, LinkDropped)]
    assert [int.from_bytes(frame[20:22], "big") for frame in lost] == [1]
    assert cable.way.drops == {DropReason.LINK_QUEUE_FULL: 1}
    assert sorted(cable.flows) == [1] * 10 + [2]


def test_what_is_told_of_the_queue_says_which_frame_left() -> None:
    cable = Cable(rate="8Mbit", aqm="fq")
    for flow, count in ((1, 4), (2, 2), (3, 1)):
        cable.send(flow, count)
    cable.run()
    line, left = [1, 1, 1, 2, 2, 3], []
    for fact in cable.facts:
        if isinstance(fact, LinkQueueChanged) and fact.what == "left":
            left.append(line.pop(fact.place))
    assert [1, *left] == cable.flows
    assert cable.way.queue.waiting_bytes == 0


def test_codel_looks_at_each_flow_alone() -> None:
    cable = Cable(rate="8Mbit", aqm="fq_codel 5ms 100ms")
    for tick in range(600):
        cable.send(1, 2)
        if tick % 10 == 0:
            cable.send(2, 1, size=100)
        cable.run(tick * MS)
        cable.agenda.now_ns = tick * MS
    cable.run()
    lost = {int.from_bytes(fact.data[20:22], "big") for fact in cable.facts if isinstance(fact, LinkDropped)}
    assert lost == {1}
    assert DropReason.LINK_AQM in cable.way.drops


def test_a_queue_becomes_fair_while_frames_wait_and_a_cut_empties_it() -> None:
    cable = Cable(rate="8Mbit")
    cable.send(1, 5)
    cable.way.set(read_conditions(cable.way.conditions, "a", True, {"aqm": "fq"}))
    cable.send(2, 1)
    cable.run(4 * MS)
    assert cable.flows == [1, 1, 1, 2]
    cable.way.cut()
    assert cable.way.in_flight_frames == 0
    assert cable.way.drops == {DropReason.LINK_DOWN: 2}
