"""``estab.Faulty`` by itself: what its numbers mean, and that a seed repeats it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import estab
from estab.devices.device import Device
from estab.devices.faulty import Faulty


class Bench(Device):
    """A link that keeps what is sent, and gives what a test put in."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.coming: deque[bytes] = deque()
        self.wakes = 0
        self.is_full = False
        self.is_closed = False

    def open(self, wake: Callable[[], None]) -> None:
        return

    def receive(self) -> bytes | None:
        return self.coming.popleft() if self.coming else None

    def send(self, frame: bytes) -> bool:
        if not self.is_full:
            self.sent.append(frame)
        return not self.is_full

    def close(self) -> None:
        self.is_closed = True


def frames(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * 25 for number in range(count)]


def pass_all(faults: dict[str, Any], count: int = 1000) -> tuple[list[bytes], list[bytes], Faulty]:
    """Send ``count`` frames each way; what came through in each, and the link."""
    below = Bench()
    link = Faulty(below, **faults)
    below.coming.extend(frames(count))
    for frame in frames(count):
        assert link.send(frame)
    got = []
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        while (frame := link.receive()) is not None:
            got.append(frame)
    link.close()
    assert below.is_closed
    return below.sent, got, link


def test_without_faults_everything_passes_in_its_order() -> None:
    sent, got, link = pass_all({})
    assert sent == got == frames(1000)
    assert (link.outward.passed, link.inward.passed) == (1000, 1000)


def test_loss_takes_its_share_of_each_direction_by_itself() -> None:
    sent, got, link = pass_all({"loss": ("10%", 0)})
    assert got == frames(1000)
    assert len(sent) == 1000 - link.outward.lost
    assert 60 < link.outward.lost < 140


def test_duplicates_follow_their_original() -> None:
    sent, _, link = pass_all({"duplicate": "5%"})
    assert len(sent) == 1000 + link.outward.doubled
    assert sorted(set(sent)) == frames(1000)
    assert sent == sorted(sent)
    assert 25 < link.outward.doubled < 80


def test_reordering_loses_nothing_and_lets_one_to_four_pass() -> None:
    sent, _, link = pass_all({"reorder": "5%"})
    assert sorted(sent) == frames(1000)
    late = [index - frames(1000).index(frame) for index, frame in enumerate(sent)]
    assert max(late) >= 1
    assert link.outward.held == pytest.approx(50, abs=25)


def test_damage_is_one_bit() -> None:
    sent, _, link = pass_all({"corrupt": "5%"})
    damaged = [int.from_bytes(frame, "big") ^ int.from_bytes(was, "big")
               for frame, was in zip(sent, frames(1000), strict=True) if frame != was]
    assert len(damaged) == link.outward.damaged > 20
    assert {bits.bit_count() for bits in damaged} == {1}


def test_the_same_seed_is_the_same_weather() -> None:
    faults = {"loss": "5%", "duplicate": "5%", "seed": 7}
    assert pass_all(faults)[:2] == pass_all(faults)[:2]
    assert pass_all({**faults, "seed": 8})[0] != pass_all(faults)[0]


def test_delay_holds_frames_and_wakes_the_stack_when_they_are_due() -> None:
    below = Bench()
    link = Faulty(below, delay="30ms")
    woken = []
    link.open(lambda: woken.append(time.monotonic()))
    start = time.monotonic()
    link.send(b"x" * 20)
    assert below.sent == []
    while not below.sent and time.monotonic() < start + 5:
        if woken:
            link.receive()
    assert below.sent == [b"x" * 20]
    assert woken[0] - start >= 0.03
    link.close()


def test_a_full_link_gets_the_frame_again() -> None:
    below = Bench()
    below.is_full = True
    link = Faulty(below)
    link.send(b"a")
    link.send(b"b")
    below.is_full = False
    end = time.monotonic() + 5
    while len(below.sent) < 2 and time.monotonic() < end:
        link.receive()
    assert below.sent == [b"a", b"b"]
    link.close()


@pytest.mark.parametrize("faults", [{"loss": "120%"}, {"loss": "a"}, {"delay": "-1ms"}, {"loss": (1, 2, 3)}])
def test_what_makes_no_sense_is_refused(faults: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"loss|delay"):
        estab.Faulty(Bench(), **faults)
