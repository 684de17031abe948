"""Notices that a run only repeats itself: heartbeats and the like between programs that otherwise wait for ever.

Such a run would never end. It is recognized by what its threads and tasks do, in looks that are ten virtual minutes
apart. Nothing is new for as long as

- all that wake up stand at lines at which they stood before, with the same values in their local variables (times
  apart: a ``float`` may change; an integer, a text or a length that changes is progress, as that of a ``for`` loop);
- no long text makes its way: the oldest byte that is not acknowledged is the same one.

If nothing was new for four virtual hours, or for half an hour and 30,000 waits, and no sleep or timer is left from
before, then ``verdict`` says what the run is. TCP's retransmissions give up sooner than that, its keepalive within the
four hours: with one that is on, the half an hour is not enough. Attributes of objects are not looked at: a
program that only counts in one, for hours, and then goes on, needs ``Network.run(until=…)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any, Final, Protocol

from estab.cpython import awaited_by, current_frames, gathered_by, is_planned, tasks_in_group, timers_of
from estab.sockets.lines import frames_of, is_own, line_of, task_line
from estab.sockets.waiting import Wait
from estab.units import NEVER, SECOND

__all__ = ["Repetition"]

_APART_NS: Final = 600 * SECOND
_WAITS_EACH: Final = 64
"""How many waits each look takes in."""
_TASKS_EACH: Final = 2000
"""And how many tasks at most."""
_LONG_NS: Final = 4 * 3600 * SECOND
_SHORT_NS: Final = 1800 * SECOND
_MANY_WAITS: Final = 30_000
_PLACES_MAX: Final = 10_000
"""So many different places are no repetition: what is known is forgotten."""
_TEXT_MAX: Final = 200
_MEMBERS_MAX: Final = 8

Place = tuple[object, ...]


class Looked(Protocol):
    """A strand, as far as it is looked at."""

    ident: int
    wait: Wait | None
    since_ns: int
    channel: int
    is_stranded: bool


class Repetition:
    """What was seen in the looks of one run."""

    def __init__(self) -> None:
        self.next_ns = NEVER
        """When the next look is due, in the network's time."""
        self.since_ns = 0
        """Since when nothing was new."""
        self.transfers: Callable[[], list[Place]] = list
        """Says of each connection with much text under way how far that is."""
        self.has_keepalive: Callable[[], bool] = _no
        """Says whether keepalive may still end a connection."""
        self.verdict: Callable[[], bool] = _no
        """Asked once nothing was new for long: whether the run is over by that."""
        self.is_found = False
        self._strands: Collection[Looked] = ()
        self._places: dict[Place, None] = {}
        self._is_new = True
        self._waits = self._left = self._tasks = self._turns = 0
        self._sleeping: list[tuple[Looked, int]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._last: dict[Looked, Wait] = {}
        """What each strand waited for when it was looked at last: it may be about to run."""
        self._ends: dict[Looked, list[asyncio.Future[Any]]] = {}

    def begin(self, strands: Collection[Looked], now_ns: int, *, is_wanted: bool) -> None:
        """Note that a run begins."""
        self.end()
        self._strands = strands
        self.next_ns = now_ns + _APART_NS if is_wanted else NEVER
        self.is_found = False

    def end(self) -> None:
        """Forget all."""
        self.next_ns = NEVER
        self._places.clear()
        self._sleeping, self._timers, self._ends, self._last = [], [], {}, {}
        self._is_new = True
        self._left = 0

    def release(self) -> None:
        """Ask nobody any more: there are no more runs."""
        self._strands = ()
        self.transfers, self.has_keepalive, self.verdict = list, _no, _no

    def look(self, strand: Looked, now_ns: int, turns: int) -> None:
        """Look at a strand that begins to wait; at the start of a look, at all. ``turns`` counts all such waits."""
        if self._left == 0:
            self._left, self._tasks = _WAITS_EACH, 0
            self._look_at_all(now_ns, turns)
        else:
            self._look_at(strand, current_frames().get(strand.ident))
        self._waits += 1
        self._left -= 1
        if self._left == 0 or self.is_found:
            self.next_ns = NEVER if self.is_found else now_ns + _APART_NS

    def _look_at_all(self, now_ns: int, turns: int) -> None:
        was_new = self._is_new
        self._is_new = False
        frames = current_frames()
        for strand in self._strands:
            if strand.wait is not None and strand.ident and not strand.is_stranded:
                self._look_at(strand, frames.get(strand.ident))
        for place in self.transfers():
            self._note(place)
        if was_new or self._is_new:
            self._is_new = False
            self._turns = turns
            self._start(now_ns)
        elif self._is_long(now_ns - self.since_ns, turns - self._turns) and not self._is_something_planned():
            self.is_found = self.verdict()

    def _is_long(self, lasted_ns: int, turns: int) -> bool:
        if lasted_ns >= _LONG_NS:
            return self._waits >= _WAITS_EACH
        return lasted_ns >= _SHORT_NS and turns >= _MANY_WAITS and not self.has_keepalive()

    def _start(self, now_ns: int) -> None:
        """Note what is planned and waited for at a time from which on nothing may be new."""
        self.since_ns, self._waits = now_ns, 0
        self._sleeping, self._timers, self._ends = [], [], {}
        frames = current_frames()
        for strand in self._strands:
            wait = strand.wait
            if wait is None:
                continue
            if wait.loop is not None:
                self._timers += timers_of(wait.loop)
                self._ends[strand] = _ends_of(main_task(frames.get(strand.ident)))
            elif wait.deadline_ns is not None:
                self._sleeping.append((strand, strand.since_ns))

    def _is_something_planned(self) -> bool:
        """Tell whether a sleep or a timer is left that was planned before all that was seen."""
        return any(is_planned(timer) for timer in self._timers) or any(
            strand in self._strands and strand.since_ns == since_ns and strand.wait is not None
            for strand, since_ns in self._sleeping)

    def serves(self, strand: Looked) -> bool:
        """Tell whether a strand waits for new clients, or did before it was woken just now."""
        wait = strand.wait or self._last.get(strand)
        return wait is not None and wait.is_serving()

    def waits_for_ever(self, strand: Looked, before_it: tuple[Looked, ...] = ()) -> str:
        """Name the line in which a strand, or the main task of its loop, waits for what never came; else ``""``.

        ``before_it`` are those that wait for its end: threads may wait for each other in a circle.
        """
        wait = strand.wait or self._last.get(strand)
        if wait is None:
            return ""
        frame = current_frames().get(strand.ident)
        if wait.loop is not None:
            task = main_task(frame)
            before = self._ends.get(strand, [])
            if task is None or not any(end is known for end in _ends_of(task) for known in before):
                return ""
            return task_line(_innermost(task, before))
        if strand.wait is None or wait.deadline_ns is not None or strand.since_ns > self.since_ns:
            return ""
        for other in self._strands:  # it waits for a thread's end: what matters is what that waits for
            if other.channel != 0 and other.channel == wait.fd and other is not strand and other not in before_it:
                return self.waits_for_ever(other, (*before_it, strand))
        if hasattr(getattr(wait.is_ready, "__self__", None), "strands"):
            return ""  # for a program's result: that program is looked at itself
        return line_of(frame) or wait.describe()

    # --- places

    def _look_at(self, strand: Looked, frame: FrameType | None) -> None:
        place: list[object] = []
        while frame is not None:
            if is_own(frame.f_code):
                place.append(_state_of(frame))
            frame = frame.f_back
        self._note(tuple(place))
        wait = strand.wait
        if wait is None:
            return
        self._last[strand] = wait
        loop = wait.loop
        if loop is not None and self._tasks < _TASKS_EACH:
            for task in asyncio.all_tasks(loop):
                self._tasks += 1
                self._note(tuple(_state_of(frame) for frame in frames_of(task) if is_own(frame.f_code)))

    def _note(self, place: Place) -> None:
        if place not in self._places:
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            self._places[place] = None
            self._is_new = True


def main_task(frame: FrameType | None) -> asyncio.Task[Any] | None:
    """Find the task that ``run_until_complete`` runs in a thread."""
    while frame is not None:
        if frame.f_code is asyncio.BaseEventLoop.run_until_complete.__code__:
            found = frame.f_locals.get("future")
            return found if isinstance(found, asyncio.Task) else None
        frame = frame.f_back
    return None


def _awaited(task: asyncio.Task[Any]) -> list[asyncio.Future[Any]]:
    """List what a task waits for: futures, and the tasks that ``gather``, ``wait`` or a ``TaskGroup`` waits for."""
    future = awaited_by(task)
    if future is None:
        return []
    if isinstance(future, asyncio.Task):
        return [future]
    found = gathered_by(future)
    for frame in frames_of(task):
        if not is_own(frame.f_code):
            found += _tasks_in(frame.f_locals)
    return [one for one in found if not one.done()] or [future]


def _tasks_in(names: dict[str, Any]) -> list[asyncio.Future[Any]]:
    """List the tasks that a function of asyncio waits for, by its local variables."""
    given: list[Any] = []
    if isinstance(names.get("self"), asyncio.TaskGroup):
        given += tasks_in_group(names["self"])
    for name in ("fs", "fut"):
        value = names.get(name)
        given += value if isinstance(value, (set, list, tuple, frozenset)) else [value]
    return [one for one in given if isinstance(one, asyncio.Task)]


def _ends_of(task: asyncio.Task[Any] | None) -> list[asyncio.Future[Any]]:
    """List the futures for which a task waits in the end, and those of the tasks that it waits for.

    Tasks that wait for nothing but each other's end, in a circle, are ends themselves.
    """
    ends: list[asyncio.Future[Any]] = []
    awaited: dict[asyncio.Task[Any], list[asyncio.Future[Any]]] = {}
    left = [task] if task is not None else []
    while left and len(awaited) < _TASKS_EACH:
        task = left.pop()
        if task not in awaited:
            awaited[task] = _awaited(task)
            left += [future for future in awaited[task] if isinstance(future, asyncio.Task)]
            ends += [future for future in awaited[task] if not isinstance(future, asyncio.Task)]
    return ends if left else ends + _in_circles(awaited)


def _in_circles(awaited: dict[asyncio.Task[Any], list[asyncio.Future[Any]]]) -> list[asyncio.Future[Any]]:
    """List the tasks of circles: each waits for tasks alone, and is waited for by one that does so, too."""
    waiters: dict[asyncio.Future[Any], list[asyncio.Task[Any]]] = {}
    open_ended: dict[asyncio.Task[Any], None] = {}
    left: list[asyncio.Task[Any]] = []
    for task, futures in awaited.items():
        if not all(isinstance(future, asyncio.Task) for future in futures) or not futures:
            left.append(task)
        for future in futures:
            waiters.setdefault(future, []).append(task)
    while left:
        task = left.pop()
        if task not in open_ended:
            open_ended[task] = None
            left += waiters.get(task, ())
    closed = [task for task in awaited if task not in open_ended]
    waited_for = [future for task in closed for future in awaited[task]]
    return [task for task in closed if any(task is one for one in waited_for)]


def _innermost(task: asyncio.Task[Any], ends: list[asyncio.Future[Any]]) -> asyncio.Task[Any]:
    """Find the first task that itself waits for one of the ends: the one given, or one that it waits for."""
    seen: dict[asyncio.Task[Any], None] = {}
    left = [task]
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen[one] = None
        awaited = _awaited(one)
        if any(future is end for future in awaited for end in ends):
            return one
        left += [future for future in reversed(awaited) if isinstance(future, asyncio.Task)]
    return task


def _state_of(frame: FrameType) -> Place:
    """Give a frame's line, and of its local variables what may count."""
    return (frame.f_code, frame.f_lineno, *((name, _value(value)) for name, value in sorted(frame.f_locals.items())))


def _value(value: object, depth: int = 1) -> object:
    kind = type(value)
    if kind in (int, bool, type(None)):
        return value
    if isinstance(value, (str, bytes)):
        return value[:_TEXT_MAX], len(value)
    if isinstance(value, (tuple, list)) and depth > 0:
        return kind, len(value), *(_value(member, 0) for member in value[:_MEMBERS_MAX])
    if isinstance(value, (tuple, list, dict, set, frozenset, bytearray)):
        return kind, len(value)
    return kind


def _no() -> bool:
    return False
