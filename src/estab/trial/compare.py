"""Where two runs first do something different: their facts, without what differs from seed to seed anyway.

Times, ports, sequence numbers and the contents of frames are left out; what hosts, calls, connections and links did
stays, in order, host by host. Two runs agree for some facts; then each has its own next one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Final

from estab.events import Event, FrameReceived, FrameSent, LinkConditions, LinkQueueChanged, RttMeasured
from estab.units import format_duration

__all__ = ["Difference", "Fingerprinter", "exact_difference", "first_difference"]

_LEFT_OUT: Final = frozenset({"at_ns", "data", "before", "tcb", "call", "options"})
_PORT: Final = re.compile(r"(?:(?<=[:\]])|(?<=', ))(3[2-9]|[45]\d|6[0-5])\d{3}\b|(?<=:)\d{5}\b")
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Difference:
    """``agreed`` facts were the same; then ``ours`` and ``theirs`` came, each with its virtual time."""

    agreed: int
    ours: str
    theirs: str

    def lines(self, ours: str, theirs: str) -> list[str]:
        """Say it: ``ours`` and ``theirs`` name the two runs."""
        width = max(len(ours), len(theirs))
        return [f"{self.agreed} facts are the same; then", f"  {ours:<{width}}  {self.ours}",
                f"  {theirs:<{width}}  {self.theirs}"]


def first_difference(ours: Iterable[Event], theirs: Iterable[Event]) -> Difference | None:
    """Compare the facts of two runs; ``None`` if neither did anything that the other did not."""
    left, right = [fact for fact in ours if _counts(fact)], [fact for fact in theirs if _counts(fact)]
    return _compare(left, right, _key)


def exact_difference(ours: Iterable[Event], theirs: Iterable[Event]) -> Difference | None:
    """Compare two runs of one seed: everything counts, times and bytes too."""
    return _compare(list(ours), list(theirs), repr)


def _compare(left: list[Event], right: list[Event], key: Callable[[Event], object]) -> Difference | None:
    for agreed, (one, other) in enumerate(zip(left, right, strict=False)):
        if key(one) != key(other):
            return Difference(agreed, _told(one), _told(other))
    common = min(len(left), len(right))
    if len(left) == len(right):
        return None
    return Difference(common, _told(left[common]) if len(left) > common else "(nothing more)",
                      _told(right[common]) if len(right) > common else "(nothing more)")


def _counts(fact: Event) -> bool:
    """Leave out frames, whose bytes differ from seed to seed while segments tell the same, and what only measures."""
    return not isinstance(fact, (FrameSent, FrameReceived, RttMeasured, LinkConditions, LinkQueueChanged))


def _key(fact: Event) -> tuple[object, ...]:
    values = [type(fact).__name__]
    for item in fields(fact):
        if item.name not in _LEFT_OUT and not item.name.endswith("_ns"):
            values.append(_PORT.sub("*", str(getattr(fact, item.name))))
    return tuple(values)


def _told(fact: Event) -> str:
    words = [f"{format_duration(fact.at_ns):>9}", fact.host, _spaced(type(fact).__name__)]
    for item in fields(fact):
        if item.name not in _LEFT_OUT and item.name != "host":
            value = getattr(fact, item.name)
            if value not in ("", None):
                words.append(f"{item.name}={value}")
    text = " ".join(words)
    return text if len(text) <= 160 else text[:157] + "..."


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


class Fingerprinter:
    """An observer that hashes all facts of a run. If digests are equal, all facts were, times and bytes included."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def __call__(self, fact: Event) -> None:
        """Take a fact in."""
        self.count += 1
        self._hash.update(repr(fact).encode())

    @property
    def digest(self) -> str:
        """The first sixteen hexadecimal digits."""
        return self._hash.hexdigest()[:16]
