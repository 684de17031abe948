"""Folding: a long run of the same few things, again and again, becomes its beginning and a count.

- Alike is what ``shape`` says: two things with equal shapes tell the same story.
- Nothing is lost: a ``Fold`` holds what it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Fold", "fold"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fold(Generic[T]):
    """``times`` repetitions of the ``period`` things shown just before; ``items`` are those left out."""

    times: int
    period: int
    items: tuple[T, ...]


def fold(
    items: Sequence[T], shape: Callable[[T], Hashable], *, shown: int = 1, times_min: int = 3, period_max: int = 12
) -> list[T | Fold[T]]:
    """Replace what repeats. ``shown`` repetitions stay; at least ``times_min`` more must follow to be folded."""
    shapes = [shape(item) for item in items]
    result: list[T | Fold[T]] = []
    at = 0
    while at < len(items):
        period, times = _longest_repetition(shapes, at, period_max)
        if times < shown + times_min:
            result.append(items[at])
            at += 1
            continue
        first = at + shown * period
        end = at + times * period
        result.extend(items[at:first])
        result.append(Fold(times - shown, period, tuple(items[first:end])))
        at = end
    return result


def _longest_repetition(shapes: list[Hashable], at: int, period_max: int) -> tuple[int, int]:
    """Find the period whose repetition from ``at`` covers most; of two that cover the same, the shorter."""
    best = (1, 1)
    for period in range(1, min(period_max, (len(shapes) - at) // 2) + 1):
        times = 1
        while shapes[at + times * period:at + (times + 1) * period] == shapes[at:at + period]:
            times += 1
        if times > 1 and times * period > best[0] * best[1]:
            best = (period, times)
    return best
