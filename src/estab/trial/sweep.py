"""A scenario over many seeds, until one fails: in one process, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from estab.sockets.standin import module
from estab.trial.attempt import Attempt, Scenario, attempt
from estab.trial.compare import Fingerprinter, exact_difference
from estab.trial.explain import Explanation, explain
from estab.units import format_count

__all__ = ["Progress", "Sweep", "SweepError", "SweepResult", "UnrepeatableError", "run_seeds", "sweep"]

SEEDS: Final = 200

F = TypeVar("F", bound=Callable[..., object])
Progress = Callable[[int, int, float], None]
"""Is told how many seeds are done, of how many, and for how many seconds the sweep has run."""


class SweepError(AssertionError):
    """A seed failed. The text explains it; ``explanation`` has the parts, ``__cause__`` is what was raised."""

    def __init__(self, text: str, explanation: Explanation | None) -> None:
        super().__init__(text)
        self.explanation = explanation


class UnrepeatableError(AssertionError):
    """Two runs of the same seed were not the same."""


@dataclass(slots=True)
class SweepResult:
    """The outcome of a sweep. ``failed`` is the first attempt that failed, ``None`` if all passed."""

    passed: int = 0
    failed: Attempt | None = None
    last_passed: int | str | None = None
    seconds: float = 0.0
    promised: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    @property
    def never_held(self) -> list[str]:
        """What ``Network.sometimes`` promised and was true in no seed."""
        return sorted(self.promised - self.held)


@dataclass(frozen=True, slots=True)
class Sweep:
    """How many seeds a test runs with, or for how many seconds; what ``estab.sweep`` gives."""

    seeds: int = SEEDS
    seconds: float | None = None

    def __call__(self, function: F) -> F:
        """Mark a test function: estab's pytest plugin runs it once for each seed, in one test."""
        function.estab_sweep = self  # type: ignore[attr-defined]
        return function

    def run(self, scenario: Scenario, *, again: str = "") -> SweepResult:
        """Run a scenario without pytest. ``SweepError`` explains the first seed that fails.

        estab.sweep(seeds=1000).run(scenario)
        """
        result = run_seeds(scenario, range(self.seeds), seconds_max=self.seconds)
        if result.failed is not None:
            name = getattr(scenario, "__name__", "scenario")
            seed = result.failed.seed
            command = again or f"with estab.Network(seed={seed!r}) as net: {name}(net)"
            found = explain(scenario, seed, command, passing_seed=result.last_passed, passed=result.passed,
                            first=result.failed)
            text = found.text() if found is not None else f"seed {seed}: {result.failed.sentence}, and not again"
            raise SweepError(text, found) from result.failed.error
        if result.never_held:
            raise SweepError(never_held_text(result), None)
        return result


def sweep(seeds: int = SEEDS, seconds: float | None = None) -> Sweep:
    """Run a test for many seeds: ``@estab.sweep(seeds=1000)``.

    The seeds are 0, 1, 2 …, ``seeds`` of them; the sweep ends at the first that fails, or after ``seconds`` of real
    time. The options ``--estab-seeds`` and ``--estab-seconds`` of pytest override both. ``sweep(…).run(scenario)``
    runs a function without pytest. ``ValueError`` for less than one seed, or no time.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds: {seeds!r} is not a number of seeds, 1 at least; write @estab.sweep(seeds=200)")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds: {seconds!r} is not more than nothing")
    return Sweep(seeds, seconds)


def run_seeds(
    scenario: Scenario, seeds: Iterable[int | str], *, seconds_max: float | None = None,
    progress: Progress | None = None, checks_twice: bool = False, passing: tuple[type[BaseException], ...] = (),
) -> SweepResult:
    """Run the seeds in order until one fails or the time is over.

    ``checks_twice`` runs each seed twice and raises ``UnrepeatableError`` if a fact differs.
    """
    wanted = list(seeds)
    with module.kept():
        return _run_seeds(scenario, wanted, seconds_max, progress, checks_twice, passing)


def _run_seeds(
    scenario: Scenario, wanted: list[int | str], seconds_max: float | None, progress: Progress | None,
    checks_twice: bool, passing: tuple[type[BaseException], ...],
) -> SweepResult:
    result = SweepResult()
    began = time.monotonic()
    for seed in wanted:
        made = check_twice(scenario, seed, passing) if checks_twice else attempt(scenario, seed, passing=passing)
        result.promised.update(made.promised)
        result.held.update(made.held)
        result.seconds = time.monotonic() - began
        if made.is_failure:
            result.failed = made
            break
        result.passed += 1
        result.last_passed = seed
        if progress is not None:
            progress(result.passed, len(wanted), result.seconds)
        if seconds_max is not None and result.seconds >= seconds_max:
            break
    return result


def check_twice(scenario: Scenario, seed: int | str, passing: tuple[type[BaseException], ...] = ()) -> Attempt:
    """Run a seed twice. ``UnrepeatableError`` shows the first fact that differs, and what both runs did then."""
    prints = [Fingerprinter(), Fingerprinter()]
    made = [attempt(scenario, seed, observer=each, passing=passing) for each in prints]
    if prints[0].digest != prints[1].digest:
        facts: list[list[Any]] = [[], []]
        for kept in facts:
            attempt(scenario, seed, observer=kept.append, passing=passing)
        difference = exact_difference(*facts)
        shown = ["the runs after these were the same again: what differs is not there in every run"]
        if difference is not None:
            shown = difference.lines("once", "again")
        raise UnrepeatableError("\n".join([
            f"seed {seed} gave two different runs: {format_count(prints[0].count, 'fact')}, then "
            f"{format_count(prints[1].count, 'fact')}", *shown,
            "something in the scenario follows neither the seed nor the virtual clock: the order of a set, an id(), a "
            "global that the first run changed, real time, a thread of its own"]))
    return made[0]


def never_held_text(result: SweepResult) -> str:
    """Say what was never true."""
    seeds = format_count(result.passed, "seed")
    return "\n".join(f"sometimes: {name!r} never held in {seeds}" for name in result.never_held)
