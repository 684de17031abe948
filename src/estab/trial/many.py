"""Seeds by the thousand, over any ``concurrent.futures.Executor``, with an answer that does not depend on it.

- Seeds go out in order, in chunks that take about two seconds. What comes back is sorted by seed.
- When a stop rule holds, no more seeds are sent; what is under way is awaited, so every seed below the last one is
  known, and what lies beyond the seed at which the rule held is dropped. So one core and many give the same lowest
  seeds.
- A chunk whose worker died is run again with nothing beside it, and cut in half if its worker dies again; a seed that
  killed two workers while it ran alone is named.
- Every thousandth seed's facts are hashed, and the hash is made again here: a worker that computes something else is
  told.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from estab.sockets.standin import module
from estab.trial.attempt import attempt
from estab.trial.compare import Fingerprinter
from estab.trial.fingerprint import fingerprint_of
from estab.trial.quiet import quiet
from estab.trial.target import Target, load
from estab.trial.workers import Processes, end_pool

__all__ = ["CHUNK_SECONDS", "HASHED_EVERY", "Group", "Outcome", "Rules", "Sweeping", "groups_of", "run_chunk"]

CHUNK_SECONDS: Final = 2.0
HASHED_EVERY: Final = 1000
_FIRST_CHUNK: Final = 4
_CHUNK_MAX: Final = 4096
_DEATHS_MAX: Final = 2
_DASKS_DEATHS: Final = ("KilledWorker", "CancelledError", "FutureCancelledError")
"""What Dask raises for a task whose workers died."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one seed. ``failure`` is its signature in words, empty if it passed."""

    seed: int
    failure: str = ""
    sentence: str = ""
    at_ns: int = 0
    facts: str = ""
    """Hash of all facts, of every thousandth seed."""
    has_killed: bool = False
    """Its workers died: nothing else is known of it."""

    def to_json(self) -> dict[str, Any]:
        """Write it without what is empty."""
        return {name: value for name, value in asdict(self).items() if value or name == "seed"}

    @classmethod
    def of_json(cls, words: dict[str, Any]) -> Outcome:
        """Read what ``to_json`` wrote."""
        return cls(**{name: words[name] for name in cls.__slots__ if name in words})


@dataclass(frozen=True, slots=True)
class Group:
    """Failures that have the same signature: the lowest seed stands for them."""

    failure: str
    sentence: str
    seeds: tuple[int, ...]

    @property
    def lowest(self) -> int:
        """The lowest of its seeds."""
        return self.seeds[0]


@dataclass(frozen=True, slots=True)
class Rules:
    """When to stop: after so many seeds that failed, so many kinds of failure, or so many real seconds."""

    failures_max: int | None = None
    groups_max: int | None = None
    seconds_max: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's result for a chunk, and its versions of estab, Python and core."""

    outcomes: tuple[Outcome, ...]
    fingerprint: str
    seconds: float


def run_chunk(target: Target, seeds: Sequence[int]) -> Answer:
    """Run seeds one after the other. This is what workers do."""
    began = time.perf_counter()
    outcomes = []
    with quiet(), module.kept():
        scenario = load(target)
        for seed in seeds:
            facts = Fingerprinter() if seed % HASHED_EVERY == 0 else None
            made = attempt(scenario, seed, observer=facts)
            failure = str(made.signature) if made.is_failure else ""
            outcomes.append(Outcome(seed, failure, made.sentence, made.now_ns, "" if facts is None else facts.digest))
    return Answer(tuple(outcomes), str(fingerprint_of(None)), time.perf_counter() - began)


@dataclass(slots=True)
class Sweeping:
    """One sweep: what is to be run, and what is known so far."""

    target: Target
    seeds: Sequence[int]
    rules: Rules = field(default_factory=Rules)
    known: dict[int, Outcome] = field(default_factory=dict)
    """By seed; those of an earlier sweep that goes on are given here."""
    told: Callable[[Sequence[Outcome]], None] | None = None
    """Is told of each chunk that is done."""
    is_stopped: bool = False
    strangers: dict[str, int] = field(default_factory=dict)
    """How many chunks came from workers with another fingerprint."""
    differing: list[int] = field(default_factory=list)
    """Seeds whose facts differed between a worker and this process."""
    _suspects: deque[Sequence[int]] = field(default_factory=deque)
    """Chunks whose workers died, to be run again one at a time."""
    _deaths: dict[int, int] = field(default_factory=dict)
    _began: float = 0.0
    _chunk: int = _FIRST_CHUNK

    def run(self, executor_of: Callable[[], Executor], workers: int) -> list[Outcome]:
        """Run all seeds that are not known, and give the outcomes, sorted and cut at the stop rule.

        ``executor_of`` makes an executor; it is called again if that broke because a worker died.
        """
        self._began = time.monotonic()
        left = [seed for seed in self.seeds if seed not in self.known]
        todo: deque[Sequence[int]] = deque([left] if left else [])
        executor = executor_of()
        running: dict[Future[Answer], Sequence[int]] = {}

        def give_out(seeds: Sequence[int]) -> None:
            running[executor.submit(run_chunk, self.target, seeds)] = seeds

        try:
            while todo or running or self._suspects:
                if self._suspects and not running:
                    give_out(self._suspects.popleft())
                while todo and len(running) < 2 * workers and not self._suspects and not self._is_over():
                    give_out(self._next_chunk(todo))
                if not running:
                    break
                is_alone = len(running) == 1
                done, _ = wait(running, return_when=FIRST_COMPLETED, timeout=1.0)
                dead = [running[future] for future in done if not self._take(future, running[future])]
                running = {future: seeds for future, seeds in running.items() if future not in done}
                if dead:
                    for future, seeds in running.items():
                        if not (future.done() and self._take(future, seeds)):
                            dead.append(seeds)
                    running = {}
                    self._suspect(dead, is_alone)
                    executor.shutdown(wait=False)
                    executor = executor_of()
                if self._is_over():
                    self.is_stopped = self.is_stopped or bool(todo)
                    todo.clear()
        except BaseException:  # Ctrl-C, SIGTERM, a record that can't be written: the rest is not needed
            if isinstance(executor, Processes):
                end_pool(executor)
            raise
        finally:
            for future in running:
                future.cancel()
            executor.shutdown(wait=False)
        self._verify()
        return self._answer()

    # --- chunks

    def _next_chunk(self, todo: deque[Sequence[int]]) -> Sequence[int]:
        seeds = todo.popleft()
        if len(seeds) > self._chunk:
            todo.appendleft(seeds[self._chunk:])
            seeds = seeds[:self._chunk]
        return seeds

    def _take(self, future: Future[Answer], seeds: Sequence[int]) -> bool:
        """Take a worker's result. ``False``: it died, or was ended because another one died."""
        try:
            answer = future.result()
        except (BrokenExecutor, CancelledError, ConnectionError):
            return False
        except Exception as error:
            if type(error).__name__ in _DASKS_DEATHS:
                return False
            raise
        ours = str(fingerprint_of(None))
        if answer.fingerprint != ours:
            self.strangers[answer.fingerprint] = self.strangers.get(answer.fingerprint, 0) + 1
        for outcome in answer.outcomes:
            self.known[outcome.seed] = outcome
        if answer.seconds > 0:
            ideal = int(len(seeds) * CHUNK_SECONDS / answer.seconds)
            self._chunk = max(1, min(ideal, self._chunk * 4, _CHUNK_MAX))
        if self.told is not None:
            self.told(answer.outcomes)
        return True

    def _suspect(self, dead: Sequence[Sequence[int]], is_alone: bool) -> None:
        """Run the chunks of dead workers again, one at a time. One that ran alone caused the death: it is halved."""
        if not is_alone:
            self._suspects.extend(sorted(dead, key=min))
            return
        seeds = dead[0]
        if len(seeds) > 1:
            middle = len(seeds) // 2
            self._suspects.extendleft([seeds[middle:], seeds[:middle]])
            return
        seed = seeds[0]
        self._deaths[seed] = self._deaths.get(seed, 0) + 1
        if self._deaths[seed] < _DEATHS_MAX:
            self._suspects.appendleft(seeds)
            return
        outcome = Outcome(seed, "a worker died", f"its worker died {_DEATHS_MAX} times, with nothing else running",
                          has_killed=True)
        self.known[seed] = outcome
        if self.told is not None:
            self.told([outcome])

    # --- its end

    def _is_over(self) -> bool:
        rules = self.rules
        if rules.seconds_max is not None and time.monotonic() - self._began >= rules.seconds_max:
            return True
        failures = [one for one in self.known.values() if one.failure]
        if rules.failures_max is not None and len(failures) >= rules.failures_max:
            return True
        return rules.groups_max is not None and len({one.failure for one in failures}) >= rules.groups_max

    def _answer(self) -> list[Outcome]:
        """Return what is known, in the order of seeds, up to where a count of failures says stop."""
        wanted = set(self.seeds)
        outcomes, failures, groups = [], 0, set()
        for seed in sorted(seed for seed in self.known if seed in wanted):
            outcome = self.known[seed]
            outcomes.append(outcome)
            if outcome.failure:
                failures += 1
                groups.add(outcome.failure)
                if failures == self.rules.failures_max or len(groups) == self.rules.groups_max:
                    self.is_stopped = True
                    break
        return outcomes

    def _verify(self) -> None:
        """Make the facts of every thousandth seed again, here."""
        scenario = load(self.target)
        for seed, outcome in sorted(self.known.items()):
            if outcome.facts and not outcome.has_killed:
                facts = Fingerprinter()
                with quiet():
                    attempt(scenario, seed, observer=facts)
                if facts.digest != outcome.facts:
                    self.differing.append(seed)


def groups_of(outcomes: Sequence[Outcome]) -> list[Group]:
    """Group failures by signature, those with the lowest seed first."""
    seeds: dict[str, list[int]] = {}
    sentences: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.failure:
            seeds.setdefault(outcome.failure, []).append(outcome.seed)
            sentences.setdefault(outcome.failure, outcome.sentence)
    return [Group(failure, sentences[failure], tuple(found)) for failure, found in seeds.items()]
