"""Grades the doctor: labelled scenarios of the lab, the capture of one end, its verdict against the facts.

``python -m bench.doctor.score --seeds 10`` plays every kind with so many seeds; ``--page FILE`` writes the table there.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from bench.doctor.weather import BETWEEN, KINDS, ON_THE_WAY, RECEIVER, SENDER, Scenario, Void, make
from estab.doctor.captures import diagnose_frames
from estab.doctor.finding import Finding, principal

HEALTHY = frozenset({"congestion-limited"})
"""Verdicts that say that nothing is wrong: a transfer is limited by the path's congestion window if by nothing else."""


@dataclass(frozen=True)
class Verdict:
    """What was true, what the doctor said, and from which side."""

    kind: str
    seed: int
    side: str
    truth: str
    said: str
    all_said: tuple[str, ...]
    about: str


def verdict_of(findings: Sequence[Finding]) -> str:
    """Give the one name that the findings come to."""
    first = principal(findings)
    return "healthy" if first is None or first.name in HEALTHY else first.name


def judge(scenario: Scenario) -> list[Verdict]:
    """Ask the doctor about each capture of a scenario."""
    verdicts = []
    for side, frames in scenario.captures.items():
        report = diagnose_frames(frames)
        names = tuple(one.name for one in report.findings)
        verdicts.append(Verdict(scenario.kind, scenario.seed, side, scenario.label_of(side),
                                verdict_of(report.findings), names, scenario.about))
    return verdicts


def play(job: tuple[str, int, bool]) -> list[Verdict]:
    """Play one scenario and judge it; nothing if it is void."""
    try:
        return judge(make(*job))
    except Void:
        return []


def f1(verdicts: Iterable[Verdict]) -> tuple[dict[str, float], float]:
    """Compute the F1 score of each true cause, and their plain mean."""
    rows = list(verdicts)
    scores = {}
    for cause in sorted({row.truth for row in rows}):
        right = sum(row.truth == cause == row.said for row in rows)
        wrong = sum(row.said == cause != row.truth for row in rows)
        missed = sum(row.truth == cause != row.said for row in rows)
        scores[cause] = 2 * right / (2 * right + wrong + missed) if right else 0.0
    return scores, sum(scores.values()) / max(1, len(scores))


def run(kinds: Sequence[str], seeds: Iterable[int], workers: int = 2) -> list[Verdict]:
    """Play every kind with every seed."""
    seeds = list(seeds)
    jobs = [(kind, seed, False) for kind in kinds for seed in seeds]
    jobs += [(kind, seed, True) for kind in kinds if kind in ON_THE_WAY for seed in seeds]
    if workers < 2:
        return [row for job in jobs for row in play(job)]
    with ProcessPoolExecutor(workers) as pool:
        return [row for rows in pool.map(play, jobs, chunksize=4) for row in rows]


def confusion(verdicts: Sequence[Verdict]) -> str:
    """Write what was said about what was true, as a table of Markdown; the diagonal is the first column."""
    lines = ["| true cause | scenarios | named right | F1 | said instead |", "|---|---|---|---|---|"]
    scores, _ = f1(verdicts)
    for cause, score in scores.items():
        rows = [row for row in verdicts if row.truth == cause]
        right = sum(row.said == cause for row in rows)
        others = collections.Counter(row.said for row in rows if row.said != cause)
        said = ", ".join(f"{name} {count}" for name, count in sorted(others.items())) or "–"
        lines.append(f"| `{cause}` | {len(rows)} | {right} | {score:.3f} | {said} |")
    return "\n".join(lines)


def main() -> int:
    """Grade and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--from-seed", type=int, default=1000)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--errors", action="store_true", help="list each wrong verdict")
    parser.add_argument("--page", help="put the tables into this page, between its marks")
    options = parser.parse_args()
    started = time.perf_counter()
    kinds = options.kind or list(KINDS)
    verdicts = run(kinds, range(options.from_seed, options.from_seed + options.seeds), options.workers)
    text = report(verdicts)
    print(text)
    print(f"{len(verdicts)} captures of {len({(row.kind, row.seed) for row in verdicts})} scenarios, "
          f"{time.perf_counter() - started:.0f} s")
    if options.errors:
        for row in verdicts:
            if row.truth != row.said:
                print(f"{row.kind}/{row.seed} {row.side}: {row.truth}, said {', '.join(row.all_said) or 'nothing'} "
                      f"({row.about})")
    if options.page:
        put_between(options.page, "score", text)
    return 0


def report(verdicts: Sequence[Verdict]) -> str:
    """Write the tables of both sides."""
    parts = []
    for side in (SENDER, RECEIVER, BETWEEN):
        rows = [row for row in verdicts if row.side == side]
        if rows:
            _, mean = f1(rows)
            right = sum(row.truth == row.said for row in rows)
            where = "a capture between the two" if side == BETWEEN else f"the {side}'s capture"
            parts.append(f"**From {where}**: macro F1 {mean:.3f}; {right} of {len(rows)} named right.\n\n"
                         + confusion(rows))
    return "\n\n".join(parts)


def put_between(path: str, name: str, text: str) -> None:
    """Put a text between the marks of that name in a page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    with open(path, encoding="utf-8") as file:
        page = file.read()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
