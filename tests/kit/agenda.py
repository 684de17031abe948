"""What is on its way on a virtual wire: the one queue by time that the kit's wires share."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

from estab.units import NEVER

__all__ = ["Flight"]

Thing = TypeVar("Thing")


class Flight(Generic[Thing]):
    """Things with the time at which each arrives; those of one instant arrive in the order in which they left."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Thing]] = []
        self._order = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def push(self, due_ns: int, thing: Thing) -> None:
        """Let a thing arrive at ``due_ns``."""
        self._order += 1
        heappush(self._entries, (due_ns, self._order, thing))

    def next_due_ns(self) -> int:
        """Give the time of the next arrival, ``NEVER`` if nothing is on its way."""
        return self._entries[0][0] if self._entries else NEVER

    def pop(self) -> Thing:
        """Take what arrives next."""
        return heappop(self._entries)[2]
