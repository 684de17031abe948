"""``Lead``: who turns a host sleeps when there is nothing to do, not longer than it may, and busily where that pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from estab.host.drive.lead import Bell, Lead
from estab.host.drive.turn import Turn
from estab.host.engine import Engine
from estab.units import MS, NEVER, SECOND, US
from estab.wire import icmp, ip

LINK = (7, 1)
"""What ``poll`` says where the link is readable, and nothing else."""
OTHER = (8, 1)
HERE, THERE = b"\x0a\0\0\x01", b"\x0a\0\0\x02"


class Bed:
    """A clock, a lock, and a ``poll`` that does what a test wrote down: how long it takes, and what is ready then."""

    def __init__(self) -> None:
        self.now_ns = SECOND
        self.is_locked = False
        self.plan: list[tuple[int, list[tuple[int, int]]]] = []
        self.asked: list[int] = []
        self.told: list[str] = []
        self.frames: list[bytes] = []
        self.crowd: list[object] = []
        self.hooks: list[object] = []
        self.heed: Callable[[], None] = lambda: None
        self.bell = Bell()
        self.engine = Engine("a", bytes(32))
        interface = self.engine.add_interface("eth0")
        self.turn = Turn(self.engine, interface, self.receive, lambda header, frame: True, lambda fd, bits: None, 0)
        self.lead = Lead(self.turn, self.acquire, self.release, lambda: self.now_ns,
                         lambda: self.told.append("ask all"), lambda: self.told.append("attend"),
                         lambda: self.heed(), self.crowd, self.hooks)

    def acquire(self) -> None:
        assert not self.is_locked
        self.is_locked = True

    def release(self) -> None:
        assert self.is_locked
        self.is_locked = False

    def receive(self) -> bytes | None:
        assert self.is_locked
        return self.frames.pop(0) if self.frames else None

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        assert not self.is_locked
        self.asked.append(timeout_ms)
        if timeout_ms == 0 and (not self.plan or self.plan[0][0] > US):
            self.now_ns += US
            if self.plan:
                self.plan[0] = (self.plan[0][0] - US, self.plan[0][1])
            return []
        took_ns, ready = self.plan.pop(0) if self.plan else (timeout_ms * MS, [OTHER])
        self.now_ns += took_ns
        return ready

    def run(self, until_ns: int = NEVER, *, begins_asleep: bool = False, yields: bool = False) -> list[tuple[int, int]]:
        return self.lead.run(until_ns, begins_asleep, yields, self.bell, self.poll, LINK)


def test_it_sleeps_until_something_else_than_the_link_is_ready() -> None:
    bed = Bed()
    bed.plan = [(MS, [LINK]), (MS, [LINK]), (MS, [LINK, OTHER])]
    assert bed.run() == [LINK, OTHER]
    assert len(bed.asked) == 3
    assert not bed.is_locked


def test_it_sleeps_no_longer_than_until_the_deadline_it_was_given() -> None:
    bed = Bed()
    bed.plan = [(50 * MS, [])]
    assert bed.run(bed.now_ns + 51 * MS) == []
    assert bed.asked == [51]  # what is left, 1 ms, is for whoever can wait more finely


def test_frames_that_are_there_are_taken_before_it_sleeps_unless_it_was_told_otherwise() -> None:
    bed = Bed()
    bed.run(bed.now_ns + SECOND)
    bed.frames = [b"\x45"]
    bed.run(bed.now_ns + SECOND, begins_asleep=True)
    assert bed.frames == [b"\x45"]
    bed.run(bed.now_ns + SECOND)
    assert bed.frames == []


def test_a_bell_that_is_rung_ends_it_without_a_sleep() -> None:
    bed = Bed()
    bed.bell.is_rung = True
    assert bed.run() == []
    assert bed.asked == []
    assert not bed.bell.is_asleep


def test_a_bell_that_rings_while_it_waits_busily_ends_it() -> None:
    bed = Bed()
    bed.lead.busy_poll_ns = 50 * US
    bed.plan = [(10 * US, [LINK])] * 4 + [(20 * US, [LINK])]

    def ring() -> None:
        bed.bell.is_rung = len(bed.asked) > 5

    bed.heed = ring
    bed.run()
    assert not bed.bell.is_asleep


def test_only_who_yields_stops_for_another_who_wants_to_lead() -> None:
    bed = Bed()
    bed.lead.is_wanted = True
    bed.plan = [(MS, [LINK]), (MS, [LINK]), (MS, [OTHER])]
    assert bed.run(yields=True) == [LINK]
    assert bed.run() == [OTHER]


def test_a_failure_gives_the_lock_back_and_has_everybody_asked() -> None:
    bed = Bed()

    def fail() -> bytes | None:
        raise KeyboardInterrupt

    bed.turn._receive = fail
    with pytest.raises(KeyboardInterrupt):
        bed.run()
    assert bed.told == ["ask all"]
    assert not bed.is_locked
    assert not bed.lead.is_working


def test_what_a_signal_raises_ends_it() -> None:
    bed = Bed()

    def raise_interrupt() -> None:
        if len(bed.asked) == 3:
            raise KeyboardInterrupt

    bed.heed = raise_interrupt
    bed.plan = [(MS, [LINK])] * 10
    with pytest.raises(KeyboardInterrupt):
        bed.run()
    assert len(bed.asked) == 3


def test_whoever_waits_for_anything_at_all_is_told_after_each_turn() -> None:
    bed = Bed()
    bed.plan = [(MS, [LINK]), (MS, [OTHER])]
    bed.hooks.append(object())
    bed.run()
    assert bed.told == ["attend", "attend"]


def test_it_sleeps_at_once_where_waits_are_long() -> None:
    bed = Bed()
    bed.lead.busy_poll_ns = 50 * US
    bed.plan = [(MS, [LINK])] * 5 + [(MS, [OTHER])]
    bed.run()
    assert 0 not in bed.asked


def test_behind_short_waits_it_asks_until_something_is_ready() -> None:
    bed = Bed()
    bed.lead.busy_poll_ns = 50 * US
    bed.plan = [(10 * US, [LINK])] * 6 + [(10 * US, [OTHER])]
    assert bed.run() == [OTHER]
    assert bed.asked[:2] == [bed.asked[0]] * 2  # two waits asleep show that it pays
    assert set(bed.asked[2:]) == {0}
    assert bed.lead.busy_waits == 5


def test_it_gives_busy_waiting_up_when_nothing_comes() -> None:
    bed = Bed()
    bed.lead.busy_poll_ns = 50 * US
    bed.plan = [(10 * US, [LINK])] * 4 + [(SECOND, [LINK])] * 4 + [(SECOND, [OTHER])]
    start = len(bed.plan)
    bed.run()
    assert bed.plan == []
    assert 0 < bed.asked.count(0) < start * 60
    sleeps = [number for number, asked in enumerate(bed.asked) if asked > 0]
    assert bed.asked[sleeps[-1] - 1] > 0  # the last wait went to sleep at once


def test_without_busy_polling_it_never_asks_in_vain() -> None:
    bed = Bed()
    bed.plan = [(10 * US, [LINK])] * 6 + [(10 * US, [OTHER])]
    bed.run()
    assert 0 not in bed.asked


def test_a_frame_that_has_always_been_there_is_taken_without_asking_until_that_is_wrong_once() -> None:
    bed = Bed()
    bed.turn = Turn(bed.engine, bed.engine.interfaces[1], bed.receive, lambda header, frame: True,
                    lambda fd, bits: None, 0, is_polled=True)
    bed.lead.turn = bed.turn
    received = bed.engine.interfaces[1]
    bed.engine.add_address(received, "10.0.0.1/24")
    ping = ip.emit(THERE, HERE, ip.ICMP, icmp.emit(icmp.Echo(4, False, 1, 1, b""), THERE, HERE))

    def poll(timeout_ms: int) -> list[tuple[int, int]]:
        bed.asked.append(received.rx_frames)
        if bed.frames:
            return [LINK]
        bed.now_ns += timeout_ms * MS
        return [OTHER]

    def run(frames: int) -> list[int]:
        """Give how many frames had been taken at each time it asked."""
        bed.frames = [ping] * frames
        before = received.rx_frames
        bed.asked.clear()
        assert bed.lead.run(bed.now_ns + SECOND, True, False, bed.bell, poll, LINK) == [OTHER]
        assert received.rx_frames == before + frames
        return [asked - before for asked in bed.asked]

    run(1)
    assert run(3) == [0, 1, 2, 3]
    asked = run(200)
    assert asked[:4] == [0, 1, 2, 3]
    assert asked[-1] == 200
    assert len(asked) <= 10  # from then on it looked without asking, until it found nothing
    assert run(3) == [0, 1, 2, 3]
