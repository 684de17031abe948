"""The loop: step a host, sleep until its device has a frame or a deadline comes, step it again, and so on.

Nothing but this loop stands between a frame and its answer, so it is part of the core. It knows no system call and no
clock: what it needs from outside it is given as ``Surroundings``.

While a peer answers within microseconds, to sleep and to be woken costs more than all of the work. So after short
waits the next one begins by asking again and again (``busy_poll_ns``), as with Linux's ``net.core.busy_poll``.
And if the next frame is expected to be there already (``expectation``), it is taken without asking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64, mypyc_attr

from estab.host.drive.step import Stepper
from estab.units import MS, SECOND

__all__ = ["Loop", "Surroundings", "WakeUp"]

_SLEEP_NS_MAX: Final = 3600 * SECOND
_FINE_NS: Final = 2 * MS
"""Waits shorter than this are not for ``poll``, which counts in milliseconds."""
_SHORT_WAITS_MAX: Final = 16
_SHORT_WAITS_MIN: Final = 2
"""After so many short waits the next one is busy."""
_STEPS_AT_ONCE_MAX: Final = 8
"""How many steps follow each other, while frames are expected to be there, before other threads may have the lock."""
_RUNS_UNHANDLED_MAX: Final = 16
"""How often they do before the handlers of signals may run, if the loop never sleeps."""


class WakeUp:
    """Wakes a thread that sleeps: the waking thread sets ``is_requested``, and does more if ``is_asleep`` is set."""

    def __init__(self) -> None:
        self.is_requested: bool = False
        self.is_asleep: bool = False


@mypyc_attr(allow_interpreted_subclasses=True)
class Surroundings:
    """What a loop needs from outside: the host's lock, a clock, and the threads that wait for the host's news.

    ``acquire``, ``release`` and ``clock`` are called in every step. They are functions, not methods to override,
    because a call of an overridden method costs twice as much as a call of the system's own function.
    Of ``waiters`` and ``hooks`` only whether they are empty matters here.
    """

    def __init__(self, acquire: Callable[[], object], release: Callable[[], None], clock: Callable[[], int],
                 waiters: list[Any], hooks: list[Any]) -> None:
        self.acquire: Callable[[], object] = acquire
        self.release: Callable[[], None] = release
        self.clock: Callable[[], int] = clock
        self.waiters: list[Any] = waiters
        self.hooks: list[Any] = hooks

    def run_signal_handlers(self) -> None:
        """Let signal handlers run: before each sleep, and from time to time if there is none, without the lock. What
        they raise ends ``Loop.run``.

        Compiled code runs none. Any call of an overriding method in plain Python lets them run.
        """

    def tell_some(self) -> None:
        """The host took a step, and ``waiters`` or ``hooks`` is not empty. The lock is held."""

    def tell_all(self) -> None:
        """An exception cut a step short: any news may not have been told. The lock is held."""


class Loop:
    """Steps one host for the thread that runs it."""

    def __init__(self, stepper: Stepper, around: Surroundings) -> None:
        self.stepper: Stepper = stepper
        self.around: Surroundings = around
        self.is_working: bool = False
        """The host is in a step or being drained: a call from inside leaves the rest to that."""
        self.due_ns: i64 = 0
        """When the thread that runs the loop will wake by itself; 0 while none sleeps."""
        self.is_wanted: bool = False
        """Another thread wants to run the loop: a run that ``yields`` stops at the next news."""
        self.busy_poll_ns: i64 = 0
        """How long a wait may be busy; 0: never."""
        self.busy_waits: i64 = 0
        """How many waits ended while they were busy."""
        self._short_waits: i64 = 0
        self._stepped_ns: i64 = 0
        """The time of the last step, or of the one before if ``_is_late``: a clock costs as much as an IP header."""
        self._is_late: bool = False

    def step(self) -> i64:
        """Step the host once. Returns until when the caller may sleep; 0 if there is more to do."""
        self.around.acquire()
        try:
            due_ns = self.step_locked()
            self.due_ns = 0 if self.stepper.has_more else due_ns
            return self.due_ns
        finally:
            self.around.release()

    def step_locked(self) -> i64:
        """Take frames, do what is due, send and tell, with the lock held. Returns the next deadline."""
        return self._work(takes_frames=True)

    def _step_on(self, wake_up: WakeUp) -> i64:
        """Step, and again while the next frame is expected to be there and no other thread waits for anything.

        Returns as ``step``. To give the lock back after each step would cost a tenth of what a short connection does.
        """
        around = self.around
        stepper = self.stepper
        steps: i64 = 1
        due_ns: i64 = 0
        around.acquire()
        try:
            due_ns = self._work(takes_frames=True)
            while (stepper.expects_frame and steps < _STEPS_AT_ONCE_MAX and not stepper.is_full and not self.is_wanted
                   and not wake_up.is_requested and not around.waiters):
                steps += 1
                due_ns = self._work(takes_frames=True, is_next=True)
            if stepper.has_more:
                due_ns = 0
            self.due_ns = due_ns
        finally:
            around.release()
        return due_ns

    def drain_locked(self) -> i64:
        """Send the host's frames and tell its news, with the lock held. Returns the next deadline."""
        return self._work(takes_frames=False)

    def begin_sleep(self) -> i64:
        """Note that the caller will sleep until the deadline that this returns, unless it is woken. 0: there is more to
        do.
        """
        self.around.acquire()
        self.due_ns = 0 if self.stepper.has_more else self.stepper.due_ns
        self.around.release()
        return self.due_ns

    def run(self, until_ns: i64, begins_asleep: bool, yields: bool, wake_up: WakeUp,
            poll: Callable[[int], list[tuple[int, int]]], usual: tuple[int, int]) -> list[tuple[int, int]]:
        """Step and sleep until something comes up that is neither the device's next frame nor the host's deadline.

        ``poll`` waits, at most so many milliseconds, and gives what is ready; that is returned if it is not just
        ``usual``. Else a wake-up was requested, ``until_ns`` is near or over, the device is full, or a deadline is
        nearer than milliseconds can tell: the caller has to see which, and to sleep in a finer way.
        """
        around = self.around
        stepper = self.stepper
        is_asleep = begins_asleep
        unhandled: i64 = _RUNS_UNHANDLED_MAX
        while True:
            unhandled += 1
            if unhandled > _RUNS_UNHANDLED_MAX:
                unhandled = 0
                around.run_signal_handlers()
            if is_asleep:
                is_asleep = False
                due_ns = self.begin_sleep()
            else:
                due_ns = self._step_on(wake_up)
            if wake_up.is_requested:
                return []
            now_ns: i64 = around.clock()
            if due_ns == 0:
                if now_ns < until_ns and not (yields and self.is_wanted):
                    continue
                return []
            stepper.ended_ns = now_ns
            soonest_ns = min(until_ns, due_ns)
            if stepper.is_full or soonest_ns - now_ns < _FINE_NS:
                return []
            if stepper.expects_frame and not (yields and self.is_wanted):
                continue
            ready = self._wait_busily(now_ns, wake_up, poll)
            if not ready:
                if unhandled > 0:
                    unhandled = 0
                    around.run_signal_handlers()
                wake_up.is_asleep = True
                if not wake_up.is_requested:
                    ready = poll((min(soonest_ns - now_ns, _SLEEP_NS_MAX) + MS - 1) // MS)
                    self._note_wait(around.clock() - now_ns)
                wake_up.is_asleep = False
            if wake_up.is_requested or (yields and self.is_wanted):
                return ready
            if len(ready) > 0 and (len(ready) > 1 or ready[0] != usual):
                return ready

    def _work(self, *, takes_frames: bool, is_next: bool = False) -> i64:
        """Step, or drain alone. ``is_next``: the last step ended just now."""
        around = self.around
        self.is_working = True
        try:
            now_ns = self._stepped_ns
            if is_next and not self._is_late and not around.hooks and self.stepper.has_only_received():
                self._is_late = True  # it is still about that time
            else:
                now_ns = around.clock()
                self._stepped_ns = now_ns
                self._is_late = False
            if is_next:
                self.stepper.ended_ns = now_ns
            if takes_frames:
                due_ns = self.stepper.step(now_ns)
            else:
                due_ns = self.stepper.drain(now_ns)
        except BaseException:
            around.tell_all()  # a signal's handler raised in the middle: some news may not have been told
            raise
        finally:
            self.is_working = False
        if around.waiters or around.hooks:
            around.tell_some()
        return due_ns

    def _wait_busily(self, now_ns: i64, wake_up: WakeUp,
                     poll: Callable[[int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
        """Ask again and again, for a while, whether something is ready, if the last waits were short."""
        ready: list[tuple[int, int]] = []
        if self.busy_poll_ns > 0 and self._short_waits >= _SHORT_WAITS_MIN:
            end_ns = now_ns + self.busy_poll_ns
            while not ready and not wake_up.is_requested:
                ready = poll(0)
                if ready:
                    self.busy_waits += 1
                    self._note_wait(0)
                elif self.around.clock() >= end_ns:
                    break
        return ready

    def _note_wait(self, wait_ns: i64) -> None:
        if wait_ns >= self.busy_poll_ns:
            self._short_waits >>= 1
        elif self._short_waits < _SHORT_WAITS_MAX:
            self._short_waits += 1
