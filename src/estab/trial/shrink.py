"""Minimal weather: from a failing run to the fewest named events that still make it fail in the same way.

- First the run is repeated without chance: exactly the frames that chance met are named (``lab.weather``).
- Whole groups go first (a link's jitter, its reordering, all its losses ...), then delta debugging (Zeller and
  Hildebrandt 2002, ``ddmin``) works on what is left, then on the cuts and power losses of ``Network.at``.
- The result is one-minimal: taking away any single event makes the run pass, or fail in another way. If the budget ends
  before that is shown, ``is_minimal`` is ``False``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from estab.lab.links.weather import KINDS, Happening, Weather
from estab.trial.attempt import Attempt, Scenario, attempt
from estab.units import format_count

__all__ = ["RUNS_MAX", "SECONDS_MAX", "Minimal", "minimal_weather"]

RUNS_MAX: Final = 500
SECONDS_MAX: Final = 10.0
_GROUP_ORDER: Final = tuple(reversed(KINDS))

T = TypeVar("T")


class _BudgetSpentError(Exception):
    """No more runs are to be made."""


@dataclass(frozen=True, slots=True)
class Minimal:
    """The smallest weather that was found, and what it took.

    ``weather`` is ``None`` if a run without chance did not fail in the same way, so that nothing could be shrunk; then
    ``why_not`` says why.
    """

    weather: Weather | None
    runs: int
    seconds: float
    before: int
    """How many events chance had made of the failing run."""
    faults: tuple[str, ...] = ()
    """The cuts, power losses and the like that are needed."""
    is_minimal: bool = True
    why_not: str = ""
    faults_before: int = 0
    """How many cuts, power losses and the like there were."""

    def lines(self) -> list[str]:
        """Say it in English, a line each."""
        if self.weather is None:
            return [self.why_not]
        told = [*self.weather.lines(), *(f"at {fault}" for fault in self.faults)]
        if not told:
            return ["no weather at all: it fails on calm links too"]
        return told

    def footer(self) -> str:
        """Say how it was found, in a line."""
        count = 0 if self.weather is None else len(self.weather.happenings())
        before, after = [format_count(self.before, "event")], [f"{count}"]
        if self.faults_before:
            before.append(format_count(self.faults_before, "action"))
            after = [format_count(count, "event"), format_count(len(self.faults), "action")]
        kind = "" if self.is_minimal else "; not minimal yet: the budget was spent"
        runs = format_count(self.runs, "run")
        return f"{' and '.join(before)} shrunk to {' and '.join(after)} in {runs}, {self.seconds:.1f}s{kind}"


class _Search:
    def __init__(self, scenario: Scenario, failed: Attempt, runs_max: int, seconds_max: float) -> None:
        self.runs = 0
        self.began = time.perf_counter()
        self._scenario = scenario
        self._seed = failed.seed
        self._wanted = failed.signature
        self._runs_max = runs_max
        self._seconds_max = seconds_max
        self._known: dict[tuple[frozenset[Happening], frozenset[str]], bool] = {}

    def fails(self, happenings: Sequence[Happening], skipped: Sequence[str]) -> bool:
        """Run with just this weather, and tell whether it fails in the same way."""
        key = (frozenset(happenings), frozenset(skipped))
        known = self._known.get(key)
        if known is not None:
            return known
        if self.runs >= self._runs_max or time.perf_counter() - self.began > self._seconds_max:
            raise _BudgetSpentError
        self.runs += 1
        again = attempt(self._scenario, self._seed, weather=Weather.of(happenings, skipped))
        found = again.is_failure and again.signature == self._wanted
        self._known[key] = found
        return found


def minimal_weather(
    scenario: Scenario, failed: Attempt, *, runs_max: int = RUNS_MAX, seconds_max: float = SECONDS_MAX,
) -> Minimal:
    """Shrink the weather of a failed attempt whose chance was logged."""
    search = _Search(scenario, failed, runs_max, seconds_max)
    state = _State(list(failed.happenings), [])
    before = len(state.happenings)

    def result(weather: Weather | None, is_minimal: bool = True, why_not: str = "") -> Minimal:
        needed = tuple(fault for fault in failed.faults if fault not in state.skipped)
        return Minimal(weather, search.runs, time.perf_counter() - search.began, before, needed, is_minimal, why_not,
                       len(failed.faults))

    try:
        if not search.fails(state.happenings, []):
            return result(None, why_not="the same weather without chance did not make it fail in the same way: "
                                        "something else differs from run to run")
        _shrink(search, state, failed.faults)
    except _BudgetSpentError:
        return result(Weather.of(state.happenings, state.skipped), is_minimal=False)
    return result(Weather.of(state.happenings, state.skipped))


@dataclass(slots=True)
class _State:
    """What is known to be enough so far."""

    happenings: list[Happening]
    skipped: list[str]


def _shrink(search: _Search, state: _State, faults: Sequence[str]) -> None:
    if search.fails([], state.skipped):
        state.happenings = []
    for group in _groups(state.happenings):
        rest = [one for one in state.happenings if one not in group]
        if len(rest) < len(state.happenings) and search.fails(rest, state.skipped):
            state.happenings = rest

    def still_fails(rest: list[Happening]) -> bool:
        if not search.fails(rest, state.skipped):
            return False
        state.happenings = rest
        return True

    _ddmin(state.happenings, still_fails)
    distinct = list(dict.fromkeys(faults))

    def fails_with_faults(rest: list[str]) -> bool:
        skipped = [fault for fault in distinct if fault not in rest]
        if not search.fails(state.happenings, skipped):
            return False
        state.skipped = skipped
        return True

    if distinct and not fails_with_faults([]):
        _ddmin(distinct, fails_with_faults)
    if state.skipped:
        _ddmin(state.happenings, still_fails)  # without those cuts fewer losses may do


def _groups(happenings: Sequence[Happening]) -> list[set[Happening]]:
    """List the groups that can be removed at once: each kind of chance, the ones that rarely matter first."""
    return [{one for one in happenings if one.kind == kind} for kind in _GROUP_ORDER]


def _ddmin(items: list[T], still_fails: Callable[[list[T]], bool]) -> list[T]:
    """Find a one-minimal part of ``items`` for which ``still_fails`` holds, as it does for all of them."""
    if items and still_fails([]):
        return []
    pieces = 2
    while len(items) >= 2:
        size = -(-len(items) // pieces)
        parts = [items[at:at + size] for at in range(0, len(items), size)]
        for index, part in enumerate(parts):
            if len(parts) > 2 and still_fails(list(part)):
                items, pieces = list(part), 2
                break
            rest = [one for other, piece in enumerate(parts) if other != index for one in piece]
            if still_fails(rest):
                items, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if pieces >= len(items):
                break
            pieces = min(len(items), pieces * 2)
    return items
