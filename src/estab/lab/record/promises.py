"""What must be true in a run: always, eventually, sometimes.

Each is a predicate that is called whenever something has happened: after each entry of the agenda, and each time a
program begins to wait. It may read anything, and must not wait or change anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estab.units import NEVER, format_duration

__all__ = ["PromiseError", "Promises"]


class PromiseError(AssertionError):
    """What was to be true always or eventually was not."""


@dataclass(slots=True)
class _Promise:
    kind: str
    why: str
    predicate: Callable[[], object]
    due_ns: int = NEVER
    has_held: bool = False


class Promises:
    """The promises of one network."""

    def __init__(self) -> None:
        self._all: list[_Promise] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, kind: str, predicate: Callable[[], object], why: str, due_ns: int = NEVER) -> None:
        """Add a promise: ``always``, ``eventually`` (until ``due_ns``) or ``sometimes``."""
        self._all.append(_Promise(kind, why, predicate, due_ns))

    def look(self, now_ns: int) -> None:
        """Check each promise. ``PromiseError`` for one that is broken now."""
        for promise in self._all:
            if promise.kind == "always":
                if not promise.predicate():
                    raise PromiseError(f"always {promise.why}: not so at {format_duration(now_ns)}")
            elif not promise.has_held:
                promise.has_held = bool(promise.predicate())
                if not promise.has_held and now_ns > promise.due_ns:
                    raise PromiseError(
                        f"eventually {promise.why}: not so until {format_duration(promise.due_ns)}")

    def check(self, now_ns: int) -> None:
        """Check once more at the end of a run: what was to be true eventually must have been true."""
        self.look(now_ns)
        for promise in self._all:
            if promise.kind == "eventually" and not promise.has_held:
                end = format_duration(now_ns)
                raise PromiseError(f"eventually {promise.why}: it never was, and the run ended at {end}")

    @property
    def promised(self) -> list[str]:
        """The reasons of all ``sometimes``."""
        return [promise.why for promise in self._all if promise.kind == "sometimes"]

    @property
    def held(self) -> list[str]:
        """Those of them that were true at least once."""
        return [promise.why for promise in self._all if promise.kind == "sometimes" and promise.has_held]
