"""A queue whose first thing is at hand: mostly it is the only one."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from mypy_extensions import i64

__all__ = ["Ring"]

T = TypeVar("T")

_MIN: Final = 8
_KEPT: Final = 1024
"""A ring that has grown beyond so many places is released once it is empty."""


class Ring(Generic[T]):
    """Things in the order in which they were added. ``first`` is the next one, ``None`` if there is none."""

    def __init__(self) -> None:
        self.first: T | None = None
        self._others: list[T | None] = []
        """Those after the first. Its size is a power of two; the one after the last place is the first place."""
        self._head: i64 = 0
        self._count: i64 = 0
        """How many others there are."""

    def has_others(self) -> bool:
        """Tell whether there is a second one."""
        return self._count > 0

    def add(self, thing: T) -> None:
        """Put one at the end."""
        if self.first is None:
            self.first = thing
            return
        if self._count == len(self._others):
            self._grow()
        others = self._others
        others[(self._head + self._count) & (len(others) - 1)] = thing
        self._count += 1

    def drop_first(self) -> None:
        """Take the first away; the second, if there is one, is the first then."""
        if self._count == 0:
            self.first = None
            return
        others = self._others
        head = self._head
        self.first = others[head]
        others[head] = None
        self._head = (head + 1) & (len(others) - 1)
        self._count -= 1
        if self._count == 0 and len(others) > _KEPT:
            self._others = []
            self._head = 0

    def _grow(self) -> None:
        others = self._others
        nothing: list[T | None] = [None]
        self._others = others[self._head :] + others[: self._head] + nothing * max(len(others), _MIN)
        self._head = 0
