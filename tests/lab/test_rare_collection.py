"""The garbage collector looks less often while a network is open, as before when none is, and finds little."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from estab.lab.network import Network
from estab.lab.programs.rare_collection import OBJECTS, RareCollection
from estab.lab.programs.strands import Strand

BEFORE = 700


@pytest.fixture(autouse=True)
def _thresholds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has made no network yet: other tests may have left some open."""
    monkeypatch.setattr(RareCollection, "_open", 0)
    monkeypatch.setattr(RareCollection, "_before", 0)
    kept = gc.get_threshold()
    gc.set_threshold(BEFORE, 7, 5)
    yield
    gc.set_threshold(*kept)


def test_it_looks_rarely_while_a_network_is_open_and_as_before_when_it_is_closed() -> None:
    before = gc.get_threshold()
    with Network(seed=1):
        assert gc.get_threshold() == (OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_the_last_of_several_networks_puts_the_threshold_back() -> None:
    first, second = Network(seed=1), Network(seed=2)
    first.close()
    first.close()
    assert gc.get_threshold()[0] == OBJECTS
    second.close()
    assert gc.get_threshold()[0] == BEFORE


def test_a_network_that_nobody_closed_puts_it_back_when_it_is_released() -> None:
    net = Network(seed=1)
    net.host("a")
    released = weakref.ref(net)
    del net
    gc.collect()
    assert released() is None
    assert gc.get_threshold()[0] == BEFORE


@pytest.mark.parametrize("objects", [0, OBJECTS + 1])
def test_a_collector_that_looks_never_or_more_rarely_stays_as_it_is(objects: int) -> None:
    gc.set_threshold(objects)
    with Network(seed=1):
        assert gc.get_threshold()[0] == objects
    assert gc.get_threshold()[0] == objects


def test_what_is_set_meanwhile_stays() -> None:
    with Network(seed=1):
        gc.set_threshold(1234)
    assert gc.get_threshold()[0] == 1234


def test_cycles_that_programs_leave_are_released_during_the_run() -> None:
    gc.set_threshold(100)
    alive: list[weakref.ref[Cycle]] = []

    def leave_cycles() -> int:
        for _ in range(2 * OBJECTS):
            alive.append(weakref.ref(Cycle()))
        return sum(made() is not None for made in alive)

    with Network(seed=1) as net:
        left = net.host("a").run(leave_cycles)
        net.run()
    assert left.result() <= OBJECTS + 1000


def test_a_program_that_has_ended_leaves_no_strand_for_the_collector() -> None:
    gc.disable()
    try:
        with Network(seed=1) as net:
            program = net.host("a").run(lambda: None, name="released")
            waits = net.host("b").run(lambda: None, name="goes-on", start="2s")
            net.run("1s")
            left = [found.name for found in gc.get_objects() if type(found) is Strand]
            assert program.done()
            assert not waits.done()
            assert "goes-on@b" in left
            assert "released@a" not in left
    finally:
        gc.enable()


def test_a_host_keeps_its_attributes_in_no_dictionary_of_its_own() -> None:
    with Network(seed=1) as net:
        assert not hasattr(net.host("a").runtime, "__dict__")


class Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self
