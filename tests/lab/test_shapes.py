"""How chance is distributed: losses in bursts, and jitter of several shapes, with order or without."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import pytest

from estab import Bursts, Jitter, Network
from estab.events import Event, LinkDelayed, LinkDropped
from estab.lab.links.frame import FunctionReceiver
from estab.lab.links.way import Way
from estab.lab.links.weather import Weather
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions, read_conditions
from estab.trial.scenario import LinkPlan, Scenario
from estab.units import MS, NEVER

COUNT = 60_000


class Cable:
    """A way with its agenda; numbered frames, and when they arrived."""

    def __init__(self, **words: Any) -> None:
        self.agenda = Agenda()
        self.arrived: list[tuple[int, int]] = []
        self.facts: list[Event] = []
        conditions = read_conditions(Conditions(), "a", True, words)
        self.way = Way("cable", "a", conditions, 0, self.agenda, Chance(5), self._deliver)
        self.way.observer = self.facts.append

    def _deliver(self, frame: bytes) -> None:
        self.arrived.append((int.from_bytes(frame, "big"), self.agenda.now_ns))

    def send(self, count: int = COUNT, interval_ns: int = MS) -> None:
        for number in range(count):
            self.run(number * interval_ns)
            self.agenda.now_ns = number * interval_ns
            self.way.carry(number.to_bytes(4, "big"))
            self.run(self.agenda.now_ns)
        self.run()

    def run(self, until_ns: int = NEVER - 1) -> None:
        while self.agenda.next_due_ns() <= until_ns:
            self.agenda.take()

    @property
    def lost(self) -> list[int]:
        return [int.from_bytes(fact.data, "big") for fact in self.facts if isinstance(fact, LinkDropped)]


def bursts_of(lost: list[int]) -> list[int]:
    """Return the lengths of runs of losses."""
    grouped = itertools.groupby(enumerate(lost), lambda pair: pair[1] - pair[0])
    return [len(list(group)) for _, group in grouped]


@pytest.mark.parametrize("loss", [Bursts("5%", 4), "5% in bursts of 4", "gemodel 1.3158% 25%"])
def test_losses_come_in_bursts_of_the_given_length_and_make_the_given_share(loss: Any) -> None:
    cable = Cable(loss=loss)
    cable.send()
    assert len(cable.lost) / COUNT == pytest.approx(0.05, rel=0.15)
    assert statistics.mean(bursts_of(cable.lost)) == pytest.approx(4, rel=0.15)
    alone = Cable(loss="5%")
    alone.send()
    assert statistics.mean(bursts_of(alone.lost)) < 1.2


def test_a_bad_state_may_lose_less_than_all_and_a_good_one_more_than_nothing() -> None:
    model = Bursts(enter="1%", leave="10%", bad="50%", good="1%")
    assert model.loss == pytest.approx(0.5 / 11 + 0.01 * 10 / 11)
    cable = Cable(loss=model)
    cable.send()
    assert len(cable.lost) / COUNT == pytest.approx(model.loss, rel=0.15)
    assert Bursts.read(str(model)) == model
    assert read_conditions(Conditions(), "a", True, {"loss": ("2% in bursts of 5", 0)}).bursts == Bursts("2%", 5)


def lateness(**words: Any) -> list[float]:
    """Return by how many milliseconds frames were later than the delay, which is 200 ms."""
    cable = Cable(delay="200ms", **words)
    cable.send(5000, 1000 * MS)
    return [(at_ns - number * 1000 * MS) / MS - 200 for number, at_ns in cable.arrived]


def test_jitter_has_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    uniform, normal, pareto = (lateness(jitter=f"10ms {shape}") for shape in ("uniform", "normal", "pareto"))
    assert max(map(abs, uniform)) <= 10
    assert statistics.pstdev(uniform) == pytest.approx(10 / 3**0.5, rel=0.05)
    for late in (normal, pareto):
        assert statistics.mean(late) == pytest.approx(0, abs=1)
        assert max(late) <= 40
    assert statistics.pstdev(normal) == pytest.approx(10, rel=0.05)
    assert sum(abs(one) < 10 for one in normal) / 5000 == pytest.approx(0.68, abs=0.03)
    assert min(pareto) >= -5.8
    assert statistics.median(pareto) < -2
    assert max(pareto) > 30
    (tmp_path / "two.dist").write_text("# mine\n8192 -4096\n")
    table = lateness(jitter=f"10ms table:{tmp_path / 'two.dist'}")
    assert {round(one, 6) for one in table} == {10, -5}
    assert lateness(jitter=Jitter("10ms", table=str(tmp_path / "two.dist"))) == table


def test_jitter_keeps_the_order_unless_it_reorders_and_then_what_is_overtaken_is_told() -> None:
    for jitter, is_in_order in (("5ms normal", True), ("5ms normal reorder", False),
                                (Jitter("5ms", reorders=True), False)):
        cable = Cable(delay="50ms", jitter=jitter)
        cable.send(500)
        numbers = [number for number, _ in cable.arrived]
        assert sorted(numbers) == list(range(500))
        assert (numbers == sorted(numbers)) is is_in_order
        overtaken = {number for place, number in enumerate(numbers) if any(later < number for later in numbers[place:])}
        late = {number for place, number in enumerate(numbers) if any(other > number for other in numbers[:place])}
        told = [int.from_bytes(fact.data, "big") for fact in cable.facts if isinstance(fact, LinkDelayed)]
        assert sorted(told) == sorted(late)
        assert bool(overtaken) is not is_in_order


def test_bursts_and_shapes_replay_from_their_weather() -> None:
    words: dict[str, Any] = {"delay": "20ms", "loss": "10% in bursts of 3", "jitter": "4ms pareto reorder"}

    def run(net: Network) -> list[tuple[str, int]]:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, **words)
        arrived: list[tuple[str, int]] = []
        net.links[0].there.end = FunctionReceiver(lambda octets: arrived.append((octets.hex(), net.now_ns)))
        for number in range(200):
            net.at(number / 1000, net.links[0].inject, a, number.to_bytes(4, "big"))
        net.run(until=2)
        return arrived

    with Network(3) as net:
        log = net.log_chance()
        by_chance = run(net)
    weather = Weather.of(log.happenings)
    assert len(weather.lost) > 10
    assert len(weather.late) > 150
    with Network("another seed", weather=weather) as net:
        assert run(net) == by_chance
    with Network("another seed", weather={}) as net:
        assert len(run(net)) == 200


def test_a_calm_network_has_no_bursts_and_no_jitter() -> None:
    with Network(1) as net:
        link = net.link(net.host("a"), net.host("b"), loss="50% in bursts of 9", jitter="9ms normal reorder")
        net.calm()
        now = link.there.conditions
        assert (now.loss, now.bursts, now.jitter_ns) == (0, None, 0)


def test_a_scenario_writes_distributions_and_finds_their_tables(tmp_path: Path) -> None:
    (tmp_path / "wifi.dist").write_text("8192 0")
    (tmp_path / "up.trace").write_text("1\n2\n")
    plan = Scenario.parse("""
[hosts.a]
[hosts.b]
[[links]]
between = ["a", "b"]
loss = ["2% in bursts of 5", 0]
jitter = "10ms table:wifi.dist reorder"
trace = ["up.trace", "up.trace"]
""", folder=str(tmp_path))
    assert Scenario.parse(plan.text(), folder=str(tmp_path)) == plan
    with plan.network() as net:
        now = net.links[0].there.conditions
        assert (now.bursts, now.jitter_table, now.jitter_reorders) == (Bursts("2%", 5), (8192, 0), True)
        assert now.opportunities is not None
    written = Scenario(hosts=plan.hosts, links=(LinkPlan(("a", "b"), "", {
        "loss": (Bursts("2%", 5), "1%"), "jitter": Jitter("10ms", "pareto", reorders=True)}),))
    with Scenario.parse(written.text()).network() as net:
        assert net.links[0].there.conditions.bursts == Bursts("2%", 5)
        assert net.links[0].back.conditions.jitter_shape == "pareto"


@pytest.mark.parametrize(("words", "error", "text"), [
    ({"loss": "2% in bursts of few"}, ValueError, "'few' is no number of frames"),
    ({"loss": "2% in bursts of 0.5"}, ValueError, "length: 0.5 is no mean length of a burst"),
    ({"loss": "gemodel 1%"}, ValueError, "write \"gemodel ENTER LEAVE"),
    ({"jitter": "10ms gauss"}, ValueError, "'gauss' is none of uniform, normal, pareto"),
    ({"jitter": "10ms table:absent.dist"}, ValueError, "absent.dist: No such file"),
    ({"jitter": Jitter("10ms", "gauss")}, ValueError, "jitter: 'gauss' is none of"),  # type: ignore[arg-type]
    ({"jitter": "soon"}, ValueError, "jitter: cannot read 'soon'"),
    ({"trace": 3}, TypeError, "trace: 3 is not the path of a file"),
    ({"trace": "absent.trace"}, ValueError, "absent.trace: No such file"),
])
def test_a_bad_distribution_is_named_with_what_would_be_right(
    words: dict[str, Any], error: type[Exception], text: str,
) -> None:
    with pytest.raises(error) as caught:
        read_conditions(Conditions(), "a", True, words)
    assert text in str(caught.value)


def test_bursts_are_given_in_one_way_or_the_other() -> None:
    for arguments, words in ((("2%",), {}), ((), {"enter": "1%"}), (("2%", 5), {"enter": "1%"})):
        with pytest.raises(TypeError, match="Bursts: give loss and mean length"):
            Bursts(*arguments, **words)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave: with 0 a bad link never gets well"):
        Bursts(enter="1%", leave=0)
    with pytest.raises(ValueError, match="needs bursts longer than 1 frames"):
        Bursts("60%", 1)
    with pytest.raises(ValueError, match="is not from what the good state loses"):
        Bursts("60%", 3, bad="50%")
