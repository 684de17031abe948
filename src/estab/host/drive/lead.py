"""Leading: turn a host, sleep until its link has a frame or a deadline comes, turn it again, and so on.

Between a frame and its answer nothing but this loop stands, so it is part of the core. It knows of no system call and
no clock: the functions that lock, that tell the time and that wait are given to it.

While a peer answers within microseconds, to sleep and to be woken costs more than all of the work. So behind a
wait that was short, the next one begins by asking again and again (``busy_poll_ns``), as with ``net.core.busy_poll`` of
Linux. And where the next frame has always been there lately, it is taken without asking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from estab.host.drive.turn import Turn
from estab.units import MS, SECOND

__all__ = ["Bell", "Lead"]

_SLEEP_NS_MAX: Final = 3600 * SECOND
_FINE_NS: Final = 2 * MS
"""What is nearer than this, milliseconds are too coarse to wait for."""
_SHORT_WAITS_MAX: Final = 16
_SHORT_WAITS_MIN: Final = 2
"""So many short waits make the next one busy."""


class Bell:
    """How one who sleeps is woken: whoever rings sets ``is_rung``, and has to do more where ``is_asleep`` is set."""

    def __init__(self) -> None:
        self.is_rung: bool = False
        self.is_asleep: bool = False


class Lead:
    """Turns one host for whoever leads. ``work`` is called with the lock held.

    ``heed`` is called once a turn, without the lock: what it raises ends ``run``, as a signal's handler may.
    """

    def __init__(self, turn: Turn, acquire: Callable[[], object], release: Callable[[], None],
                 clock: Callable[[], int], ask_all: Callable[[], None], attend: Callable[[], None],
                 heed: Callable[[], None], crowd: list[Any], hooks: list[Any]) -> None:
        self.turn: Turn = turn
        self.is_working: bool = False
        """The host is being turned or drained: whoever calls from inside leaves the rest to that."""
        self.due_ns: i64 = 0
        """When whoever sleeps for the host will wake by itself; 0 while nobody sleeps."""
        self.is_wanted: bool = False
        """Somebody else would rather lead: who ``yields`` stops at the next news."""
        self.busy_poll_ns: i64 = 0
        """How long a wait may be busy; 0: never."""
        self.busy_waits: i64 = 0
        """How many waits ended while they were busy."""
        self._acquire: Callable[[], object] = acquire
        self._release: Callable[[], None] = release
        self._clock: Callable[[], int] = clock
        self._ask_all: Callable[[], None] = ask_all
        self._attend: Callable[[], None] = attend
        self._heed: Callable[[], None] = heed
        self._crowd: list[Any] = crowd
        self._hooks: list[Any] = hooks
        self._short_waits: i64 = 0

    def work(self, takes_frames: bool) -> i64:
        """Turn the host, or only drain it, and call ``attend`` where somebody wants to know of anything.

        Returns the next deadline.
        """
        self.is_working = True
        try:
            due_ns: i64 = self.turn.step(self._clock()) if takes_frames else self.turn.drain(self._clock())
        except BaseException:
            self._ask_all()  # a signal's handler raised in the middle, and somebody may not have been told
            raise
        finally:
            self.is_working = False
        if self._crowd or self._hooks:
            self._attend()
        return due_ns

    def step(self) -> i64:
        """Turn the host once. Returns until when one may sleep; 0 where there is more to do."""
        self._acquire()
        try:
            due_ns = self.work(True)
            self.due_ns = 0 if self.turn.has_more else due_ns
            return self.due_ns
        finally:
            self._release()

    def begin_sleep(self) -> i64:
        """Note that whoever calls will sleep until the deadline that this gives, unless somebody wakes it."""
        self._acquire()
        self.due_ns = self.turn.due_ns
        self._release()
        return self.due_ns

    def run(self, until_ns: i64, begins_asleep: bool, yields: bool, bell: Bell,
            poll: Callable[[int], list[tuple[int, int]]], usual: tuple[int, int]) -> list[tuple[int, int]]:
        """Turn and sleep until something comes up that is neither the link's next frame nor a deadline of the host's.

        ``poll`` waits, at most so many milliseconds, and gives what is ready; that is returned where it is not just
        ``usual``. Else the bell was rung, ``until_ns`` is near or over, the link is full, or a deadline is nearer than
        milliseconds can tell: whoever called has to see, and to sleep in a finer way.
        """
        turn = self.turn
        is_asleep = begins_asleep
        while True:
            self._heed()
            if is_asleep:
                is_asleep = False
                due_ns = self.begin_sleep()
            else:
                due_ns = self.step()
            if bell.is_rung:
                return []
            if due_ns == 0:
                continue
            now_ns: i64 = self._clock()
            turn.rested_ns = now_ns
            soonest_ns = min(until_ns, due_ns)
            if turn.is_full or soonest_ns - now_ns < _FINE_NS:
                return []
            if turn.expects_frame and not (yields and self.is_wanted):
                continue
            ready = self._busily(now_ns, bell, poll)
            if not ready:
                bell.is_asleep = True
                if not bell.is_rung:
                    ready = poll((min(soonest_ns - now_ns, _SLEEP_NS_MAX) + MS - 1) // MS)
                    self._note_wait(self._clock() - now_ns)
                bell.is_asleep = False
            if bell.is_rung or (yields and self.is_wanted):
                return ready
            if len(ready) > 0 and (len(ready) > 1 or ready[0] != usual):
                return ready

    def _busily(self, now_ns: i64, bell: Bell, poll: Callable[[int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
        """Ask again and again, for a while, whether there is something, if lately there was soon."""
        ready: list[tuple[int, int]] = []
        if self.busy_poll_ns > 0 and self._short_waits >= _SHORT_WAITS_MIN:
            end_ns = now_ns + self.busy_poll_ns
            while not ready and not bell.is_rung:
                ready = poll(0)
                if ready:
                    self.busy_waits += 1
                    self._note_wait(0)
                elif self._clock() >= end_ns:
                    break
        return ready

    def _note_wait(self, wait_ns: i64) -> None:
        if wait_ns >= self.busy_poll_ns:
            self._short_waits >>= 1
        elif self._short_waits < _SHORT_WAITS_MAX:
            self._short_waits += 1
