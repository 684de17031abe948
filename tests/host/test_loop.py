"""``Loop``: it sleeps when there is nothing to do, not longer than it may, and busily if that pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from estab.abi import AF_INET, SOCK_DGRAM
from estab.host.drive.handler import Handler
from estab.host.drive.loop import Loop, Surroundings, WakeUp
from estab.host.drive.step import FRAMES_PER_STEP, Stepper
from estab.host.engine import Engine
from estab.units import MS, NEVER, SECOND, US
from estab.wire import icmp, ip, udp

DEVICE = (7, 1)
"""What ``poll`` says where the device is readable, and nothing else."""
OTHER = (8, 1)
HERE, THERE = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
JUNK = ip.emit(THERE, HERE, ip.UDP, b"too short")
"""A packet that nobody answers."""
PING = ip.emit(THERE, HERE, ip.ICMP, icmp.emit(icmp.Echo(4, False, 1, 1, b""), THERE, HERE))


class World(Surroundings):
    """What a loop needs of the world, as a test wrote it down."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.acquire, bench.release, bench.clock, [], bench.hooks)
        self.bench = bench

    def run_signal_handlers(self) -> None:
        self.bench.on_signals()

    def tell_some(self) -> None:
        self.bench.told.append("tell some")
        self.bench.on_hooks()

    def tell_all(self) -> None:
        self.bench.told.append("tell all")


class Bench:
    """A clock, a lock, and a ``poll`` that does what a test wrote down: how long it takes, and what is ready then."""

    def __init__(self) -> None:
        self.now_ns = SECOND
        self.is_locked = False
        self.plan: list[tuple[int, list[tuple[int, int]]]] = []
        self.asked: list[int] = []
        self.told: list[str] = []
        self.frames: list[bytes] = []
        self.hooks: list[object] = []
        self.on_signals: Callable[[], None] = lambda: None
        self.on_hooks: Callable[[], None] = lambda: None
        self.on_told: Callable[[], None] = lambda: None
        self.wake_up = WakeUp()
        self.engine = Engine("a", bytes(32))
        interface = self.engine.add_interface("eth0")
        self.stepper = Stepper(self.engine, interface, self.receive, lambda header, frame: True,
                               lambda fd, bits: None, 0)
        self.loop = Loop(self.stepper, World(self))

    def clock(self) -> int:
        return self.now_ns

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
        return self.loop.run(until_ns, begins_asleep, yields, self.wake_up, self.poll, DEVICE)


class Conversation(Bench):
    """A peer that sends a ping as soon as the one before was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.received = self.engine.interfaces[1]
        self.stepper = Stepper(self.engine, self.received, self.receive, self.send, self.tell, 0, is_polled=True)
        self.loop.stepper = self.stepper
        self.engine.add_address(self.received, "10.0.0.1/24")
        self.locks = 0

    def send(self, header: bytes, frame: bytes) -> bool:
        return True

    def tell(self, fd: int, bits: int) -> None:
        self.on_told()

    def acquire(self) -> None:
        super().acquire()
        self.locks += 1

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        self.asked.append(self.received.rx_frames)
        if self.frames:
            return [DEVICE]
        self.now_ns += timeout_ms * MS
        return [OTHER]

    def run(self, frames: int) -> list[int]:  # type: ignore[override]
        """Give how many of these frames had been taken at each time it asked."""
        self.frames = [PING] * frames
        before = self.received.rx_frames
        self.locks = 0
        self.asked.clear()
        assert self.loop.run(self.now_ns + SECOND, True, False, self.wake_up, self.poll, DEVICE) == [OTHER]
        assert self.received.rx_frames == before + frames
        return [asked - before for asked in self.asked]


def test_it_sleeps_until_something_else_than_the_device_is_ready() -> None:
    bench = Bench()
    bench.plan = [(MS, [DEVICE]), (MS, [DEVICE]), (MS, [DEVICE, OTHER])]
    assert bench.run() == [DEVICE, OTHER]
    assert len(bench.asked) == 3
    assert not bench.is_locked


def test_it_sleeps_no_longer_than_until_the_deadline_it_was_given() -> None:
    bench = Bench()
    bench.plan = [(50 * MS, [])]
    assert bench.run(bench.now_ns + 51 * MS) == []
    assert bench.asked == [51]  # what is left, 1 ms, is for whoever can wait more finely


def test_what_a_step_left_over_is_done_before_it_sleeps_but_not_after_the_deadline_it_was_given() -> None:
    bench = Bench()
    bench.stepper.has_more = True  # frames to send, for which the device gives no sign
    bench.plan = [(MS, [OTHER])]
    assert bench.run(bench.now_ns + SECOND, begins_asleep=True) == [OTHER]
    assert not bench.stepper.has_more
    bench.frames = [b"\x45"] * 10 * FRAMES_PER_STEP  # each step leaves some over
    assert bench.run(bench.now_ns) == []
    assert len(bench.frames) == 9 * FRAMES_PER_STEP
    bench.loop.is_wanted = True
    assert bench.run(yields=True) == []
    assert len(bench.frames) == 8 * FRAMES_PER_STEP


def test_frames_that_are_there_are_taken_before_it_sleeps_unless_it_was_told_otherwise() -> None:
    bench = Bench()
    bench.run(bench.now_ns + SECOND)
    bench.frames = [b"\x45"]
    bench.run(bench.now_ns + SECOND, begins_asleep=True)
    assert bench.frames == [b"\x45"]
    bench.run(bench.now_ns + SECOND)
    assert bench.frames == []


def test_a_bell_that_is_requested_ends_it_without_a_sleep() -> None:
    bench = Bench()
    bench.wake_up.is_requested = True
    assert bench.run() == []
    assert bench.asked == []
    assert not bench.wake_up.is_asleep


def test_a_wake_up_while_it_waits_busily_ends_it() -> None:
    bench = Bench()
    bench.loop.busy_poll_ns = 50 * US
    bench.plan = [(10 * US, [DEVICE])] * 4 + [(20 * US, [DEVICE])]

    def wake() -> None:
        bench.wake_up.is_requested = len(bench.asked) > 5

    bench.on_signals = wake
    bench.run()
    assert not bench.wake_up.is_asleep


def test_only_a_run_that_yields_stops_for_a_thread_that_wants_to_run_the_loop() -> None:
    bench = Bench()
    bench.loop.is_wanted = True
    bench.plan = [(MS, [DEVICE]), (MS, [DEVICE]), (MS, [OTHER])]
    assert bench.run(yields=True) == [DEVICE]
    assert bench.run() == [OTHER]


def test_a_failure_gives_the_lock_back_and_has_everybody_asked() -> None:
    bench = Bench()

    def fail() -> bytes | None:
        raise KeyboardInterrupt

    bench.stepper._receive = fail
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.told == ["tell all"]
    assert not bench.is_locked
    assert not bench.loop.is_working


def test_what_a_signal_raises_ends_it() -> None:
    bench = Bench()

    def raise_interrupt() -> None:
        if len(bench.asked) == 3:
            raise KeyboardInterrupt

    bench.on_signals = raise_interrupt
    bench.plan = [(MS, [DEVICE])] * 10
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert len(bench.asked) == 3


def test_whoever_waits_for_anything_at_all_is_told_after_each_step() -> None:
    bench = Bench()
    bench.plan = [(MS, [DEVICE]), (MS, [OTHER])]
    bench.hooks.append(object())
    bench.run()
    assert bench.told == ["tell some", "tell some"]


def test_handlers_of_signals_run_before_each_sleep_and_also_if_there_is_none() -> None:
    bench = Bench()
    handled: list[int] = []
    bench.on_signals = lambda: handled.append(len(bench.asked))
    bench.plan = [(MS, [DEVICE])] * 3 + [(MS, [OTHER])]
    bench.run()
    assert handled == [0, 1, 2, 3]
    bench.loop.busy_poll_ns = 50 * US
    bench.loop._short_waits = 16
    bench.plan = [(US, [DEVICE])] * 100 + [(US, [OTHER])]
    handled.clear()
    bench.run()
    assert len(handled) == 6


def test_it_sleeps_at_once_where_waits_are_long() -> None:
    bench = Bench()
    bench.loop.busy_poll_ns = 50 * US
    bench.plan = [(MS, [DEVICE])] * 5 + [(MS, [OTHER])]
    bench.run()
    assert 0 not in bench.asked


def test_after_short_waits_it_asks_until_something_is_ready() -> None:
    bench = Bench()
    bench.loop.busy_poll_ns = 50 * US
    bench.plan = [(10 * US, [DEVICE])] * 6 + [(10 * US, [OTHER])]
    assert bench.run() == [OTHER]
    assert bench.asked[:2] == [bench.asked[0]] * 2  # two waits asleep show that it pays
    assert set(bench.asked[2:]) == {0}
    assert bench.loop.busy_waits == 5


def test_it_gives_busy_waiting_up_when_nothing_comes() -> None:
    bench = Bench()
    bench.loop.busy_poll_ns = 50 * US
    bench.plan = [(10 * US, [DEVICE])] * 4 + [(SECOND, [DEVICE])] * 4 + [(SECOND, [OTHER])]
    start = len(bench.plan)
    bench.run()
    assert bench.plan == []
    assert 0 < bench.asked.count(0) < start * 60
    sleeps = [number for number, asked in enumerate(bench.asked) if asked > 0]
    assert bench.asked[sleeps[-1] - 1] > 0  # the last wait went to sleep at once


def test_without_busy_polling_it_never_asks_in_vain() -> None:
    bench = Bench()
    bench.plan = [(10 * US, [DEVICE])] * 6 + [(10 * US, [OTHER])]
    bench.run()
    assert 0 not in bench.asked


def test_a_frame_that_has_always_been_there_is_taken_without_asking_until_that_is_wrong_once() -> None:
    conversation = Conversation()
    conversation.run(1)
    assert conversation.run(3) == [0, 1, 2, 3]
    asked = conversation.run(200)
    assert asked[:4] == [0, 1, 2, 3]
    assert asked[-1] == 200
    assert len(asked) <= 10  # from then on it looked without asking, until it found nothing
    assert conversation.run(3) == [0, 1, 2, 3]


def test_frames_that_are_expected_are_taken_with_one_lock_unless_another_thread_wants_to_run_the_loop() -> None:
    alone, wanted = Conversation(), Conversation()
    wanted.loop.is_wanted = True
    for conversation in (alone, wanted):
        for _ in range(6):
            asked = conversation.run(10)
        assert len(asked) == 6  # it has learnt when a frame is there
    assert alone.locks == 6
    assert wanted.locks == 11


class Slow(Handler):
    """Takes all news, and its time."""

    def __init__(self, be_slow: Callable[[], None]) -> None:
        super().__init__()
        self.be_slow = be_slow

    def on_event(self, fd: int, now_ns: int) -> bool:
        self.be_slow()
        return True


class Ticking(Conversation):
    """Its clock goes on whenever it is asked, and what is slow takes a second. No frame has a time before its end."""

    def __init__(self) -> None:
        super().__init__()
        self.ended_ns = 0
        self.times: list[int] = []

    def clock(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def receive(self) -> bytes | None:
        frame = super().receive()
        if frame is not None:
            self.times.append(self.engine.context.now_ns)
            if self.stepper._frames_max == 1:  # else the step may have begun with another frame
                assert self.engine.context.now_ns > self.ended_ns
        return frame

    def send(self, header: bytes, frame: bytes) -> bool:
        self.ended_ns = self.engine.context.now_ns
        return True

    def be_slow(self, *_args: object) -> None:
        self.now_ns += SECOND
        self.ended_ns = self.now_ns

    def run_often(self, frames: list[bytes]) -> None:
        """Let these frames come until the loop has learnt how they come, and once more."""
        for _ in range(20):
            self.frames = frames * 5
            self.times.clear()
            self.loop.run(self.now_ns + 100 * SECOND, True, False, self.wake_up, self.poll, DEVICE)
            assert len(self.times) == 5 * len(frames)
            assert self.times == sorted(self.times)


def test_what_comes_after_an_answer_has_a_later_time() -> None:
    ticking = Ticking()
    ticking.run_often([PING, JUNK, JUNK])
    assert len(set(ticking.times)) < len(ticking.times)  # where nothing was answered, the clock is not always asked


@pytest.mark.parametrize("what", ["program", "service", "hook", "observer"])
def test_what_comes_after_something_slow_has_a_later_time(what: str) -> None:
    ticking = Ticking()
    letter = ip.emit(THERE, HERE, ip.UDP, udp.emit(53, 53, b"text", THERE, HERE))
    frames = [PING, JUNK]
    if what == "hook":
        ticking.hooks.append(what)
        ticking.on_hooks = ticking.be_slow
    elif what == "observer":
        ticking.engine.observer = ticking.be_slow
    else:
        ticking.engine.socket(AF_INET, SOCK_DGRAM, 0).bind(("10.0.0.1", 53), 0)
        frames = [PING, letter]
        if what == "service":
            ticking.stepper.handler = Slow(ticking.be_slow)
        else:
            ticking.on_told = ticking.be_slow
    ticking.run_often(frames)
    assert ticking.now_ns > 100 * SECOND
