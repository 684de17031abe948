"""Observers: ``observe`` adds one, on every object that has it, and returns what removes it.

Without an observer no fact is built. One observer is called directly; several are called by one function between, in
the order in which they were added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from estab.events import Event, Observer

__all__ = ["Observation", "Observers", "check_observer"]


_NO_LOCK: Final = nullcontext()


class Observation(AbstractContextManager["Observation"]):
    """An observer's registration. A call, or the end of its ``with`` block, ends it. Idempotent."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def __call__(self) -> None:
        """Remove the observer."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __exit__(self, *error: object) -> None:
        self()


class Observers:
    """The observers of one object."""

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        self._lock = _NO_LOCK if lock is None else lock
        self._all: dict[int, Observer] = {}
        self._count = 0

    def add(self, observer: Observer, tell: Callable[[Observer | None], None]) -> Observation:
        """Add an observer. It is called in the middle of the work: it must be quick, and must not raise.

        ``tell``, a method of the object, takes the one function that tells all of them, or ``None``. It is not kept
        here, as that would be a circle. ``TypeError`` for what can't be called.
        """
        check_observer(observer)
        with self._lock:
            self._count += 1
            number = self._count
            self._all[number] = observer
            tell(_one_of(self._all.values()))
        return Observation(lambda: self._remove(number, tell))

    def _remove(self, number: int, tell: Callable[[Observer | None], None]) -> None:
        with self._lock:
            del self._all[number]
            tell(_one_of(self._all.values()))


def check_observer(observer: object) -> None:
    """Raise ``TypeError`` for what can't be called."""
    if not callable(observer):
        raise TypeError(f"observer: {observer!r} is not a function; give the function itself, without calling it")


def _one_of(observers: Iterable[Observer]) -> Observer | None:
    """Make one observer of several."""
    each = tuple(observers)
    if len(each) < 2:
        return each[0] if each else None

    def tell(event: Event) -> None:
        for observer in each:
            observer(event)

    return tell
