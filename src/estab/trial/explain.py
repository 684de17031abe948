"""Why a run failed, in the order in which a reader wants to know it.

The sentence; the weather that is enough for it; what each program waited for, in which socket state; the ladder's end;
where this run first differs from one that passed; what to paste to see it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from estab.events import CallStarted, Event, FrameSent
from estab.lab.programs.watch import DeadlockError
from estab.observe.ladder import Ladder, Skip, ladder, row_time
from estab.observe.ladder_text import render_plain
from estab.trial.attempt import Attempt, Scenario, Signature, attempt, stopped_by
from estab.trial.compare import Difference, Fingerprinter, first_difference
from estab.trial.fingerprint import Fingerprint, fingerprint_of
from estab.trial.quiet import quiet
from estab.trial.shrink import Minimal, minimal_weather
from estab.units import format_duration

__all__ = ["Explanation", "explain", "last_rows"]

LADDER_ROWS = 24
"""Rows of the ladder that are shown, the last ones."""
_REPEATED_ROWS = 4
"""Rows of it that are shown of what only repeats itself."""
FACTS_MAX = 200_000
"""Facts that are kept of a run for its ladder and for comparison."""


class _Facts:
    """Keeps the latest facts of a run."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self.left_out = 0
        self.print = Fingerprinter()

    def __call__(self, fact: Event) -> None:
        self.print(fact)
        self.facts.append(fact)
        if len(self.facts) > 2 * FACTS_MAX:
            del self.facts[:FACTS_MAX]
            self.left_out += FACTS_MAX


def last_rows(facts: list[Event], error: BaseException | None) -> Ladder:
    """Draw the last that happened. Hours of probes or heartbeats, in which nothing was new, are one row."""
    drawn = ladder(facts)
    since_ns = error.since_ns if isinstance(error, DeadlockError) else -1
    new = sum(row_time(row) <= since_ns for row in drawn.rows)
    end = new + _REPEATED_ROWS if new else len(drawn.rows)
    if left_out := drawn.rows[end:]:
        last_ns = row_time(left_out[-1])
        text = f"{len(left_out)} more rows, until {format_duration(last_ns)}: nothing new for a program"
        drawn.rows[end:] = [Skip(last_ns, len(left_out), text)]
    drawn.rows = drawn.rows[-LADDER_ROWS:]
    return drawn


@dataclass(slots=True)
class Explanation:
    """What is known of a failure. ``text`` tells it."""

    attempt: Attempt
    fingerprint: Fingerprint
    again: str
    """What to paste to see it again."""
    passed: int = 0
    """How many seeds passed before."""
    minimal: Minimal | None = None
    not_shrunk: str = ""
    """Why the weather was not shrunk, if it was not."""
    is_rerun: bool = True
    """Whether the seed was run again, with everything recorded."""
    facts: list[Event] = field(default_factory=list)
    facts_left_out: int = 0
    digest: str = ""
    difference: Difference | None = None
    passing_seed: int | str | None = None
    unrepeatable: str = ""
    """What the second run of the same seed did, if not the same."""
    kept: str = ""
    """The folder with what was kept."""
    output: str = ""
    """The end of what programs printed."""

    @property
    def signature(self) -> Signature:
        """What identifies the failure."""
        return self.attempt.signature

    def text(self, width: int = 100) -> str:
        """Tell it."""
        made = self.attempt
        lines = [f"seed {made.seed}" + (f" ({self.passed} passed before)" if self.passed else "")
                 + f", at {format_duration(made.now_ns)}: {made.sentence}"]
        if self.unrepeatable:
            lines += ["", f"not repeatable: {self.unrepeatable}"]
        lines += self._weather()
        if made.waiting:
            lines += ["", "at the end:", *(f"  {line}" for line in made.waiting)]
        lines += self._ladder(width)
        if self.difference is not None:
            told = self.difference.lines(f"seed {made.seed}", f"seed {self.passing_seed}")
            lines += ["", f"beside seed {self.passing_seed}, which passed:", *(f"  {line}" for line in told)]
        lines += ["", f"again:  {self.again}", f"        ({self.fingerprint})"]
        if self.kept:
            lines.append(f"kept:   {self.kept}")
        return "\n".join(lines)

    def _weather(self) -> list[str]:
        if not self.is_rerun:
            return ["", f"weather not shrunk: {self.not_shrunk}"]
        if not self.attempt.has_run and not any(isinstance(fact, (CallStarted, FrameSent)) for fact in self.facts):
            place = self.attempt.place
            return ["", "no program had begun, and no frame was sent: the mistake is in what sets the network up"
                        + (f", at {place}" if place else "")]
        if self.minimal is not None:
            told = [*self.minimal.lines(), f"({self.minimal.footer()})"]
            return ["", "enough for it:", *(f"  {line}" for line in told)]
        return ["", f"weather not shrunk: {self.not_shrunk}"] if self.not_shrunk else []

    def _ladder(self, width: int) -> list[str]:
        if not self.facts:
            return []
        drawn = last_rows(self.facts, self.attempt.error)
        if not drawn.rows:
            return []
        return ["", "the last that happened:", *render_plain(drawn, width).rstrip().splitlines()]


def explain(
    scenario: Scenario, seed: int | str, again: str, *, passing_seed: int | str | None = None, passed: int = 0,
    shrinks: bool = True, not_shrunk: str = "", seconds_max: float = 10.0, first: Attempt | None = None,
) -> Explanation | None:
    """Run a seed that failed again, with everything on, and find out why. ``None`` if it does not fail now.

    ``first`` is the attempt that was seen to fail; if this one fails in another way, the explanation says so. If a
    signal stopped it (the time-out of a test, in real time), it is not run again: that could take as long as it likes.
    """
    stopper = "" if first is None or first.error is None else stopped_by(first.error)
    if first is not None and stopper:
        return Explanation(first, fingerprint_of(scenario), again, passed, is_rerun=False, not_shrunk=(
            f"the handler of {stopper} stopped this run in real time, so it was not run again"))
    seen = _Facts()
    with quiet() as output:
        made = attempt(scenario, seed, observer=seen, logs_chance=True)
    if not made.is_failure:
        return None
    found = Explanation(made, fingerprint_of(scenario), again, passed, facts=seen.facts, digest=seen.print.digest,
                        facts_left_out=seen.left_out, not_shrunk=not_shrunk)
    if first is not None and first.is_failure and first.signature != made.signature:
        found.unrepeatable = f"the first run of this seed failed otherwise: {first.sentence} ({first.signature})"
    found.output = output.text()
    with quiet():
        if shrinks:
            found.minimal = minimal_weather(scenario, made, seconds_max=seconds_max)
        if passing_seed is not None:
            other = _Facts()
            if not attempt(scenario, passing_seed, observer=other).is_failure:
                found.difference = first_difference(seen.facts, other.facts)
                found.passing_seed = passing_seed
    return found
