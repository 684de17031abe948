"""``estab sweep``: a scenario for many seeds, here or on a cluster, and what fails in it.

Exit status: 0 all seeds passed, 1 some failed, 2 the command can't be carried out as it was given, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from stat import S_ISREG
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from estab.cli.ascii import echo
from estab.trial.explain import Explanation, explain
from estab.trial.fingerprint import fingerprint_of
from estab.trial.kept import folder_for, keep
from estab.trial.many import Group, Outcome, Rules, Sweeping, groups_of
from estab.trial.scenario import Scenario as ScenarioFile
from estab.trial.target import TargetError, load, read_target
from estab.trial.workers import ClusterError, Workers, cluster, local
from estab.units import format_count

__all__ = ["sweep"]

_EXPLAINED_MAX = 10


@click.command()
@click.argument("target", metavar="FILE.py::FUNCTION | SCENARIO.toml")
@click.option("--seeds", metavar="N", type=click.IntRange(1), default=1000, show_default=True,
              help="How many seeds, from --from on.")
@click.option("--from", "first", metavar="SEED", type=click.IntRange(0), default=0, show_default=True,
              help="The first seed.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Processes at a time [default: one for each processor].")
@click.option("--on", metavar="ADDRESS", help="Run on a Dask cluster instead: dask://HOST:8786.")
@click.option("--shard", metavar="K/N", help="Only every N-th seed, beginning with the K-th: 3/16.")
@click.option("--stop-after", metavar="N", type=click.IntRange(1), help="Stop at the N-th seed that fails.")
@click.option("--stop-kinds", metavar="N", type=click.IntRange(1), help="Stop at the N-th kind of failure.")
@click.option("--seconds", metavar="S", type=click.FloatRange(0, min_open=True), help="Stop after S real seconds.")
@click.option("--results", metavar="FILE", type=click.Path(dir_okay=False),
              help="Write a line of JSON for each seed there; what is there already is not run again.")
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON.")
@click.option("--no-shrink", is_flag=True, help="Don't look for the minimal weather of failures.")
def sweep(
    target: str, seeds: int, first: int, jobs: int | None, on: str | None, shard: str | None, stop_after: int | None,
    stop_kinds: int | None, seconds: float | None, results: str | None, as_json: bool, no_shrink: bool,
) -> None:
    """Run a scenario for many seeds, and explain what fails.

    A scenario is a function that takes a network, builds hosts on it and runs it; it fails by an exception. Failures
    are grouped by what raised where; the lowest seed of each group comes with its minimal weather and a line that
    replays it. The answer is the same from one core and from many.
    """
    try:
        found = read_target(target)
        scenario = load(found)
    except TargetError as error:
        raise click.UsageError(str(error)) from None
    if isinstance(scenario, ScenarioFile) and scenario.clock == "real":
        raise click.UsageError(f'{target}: clock = "real": real time is not repeatable, so a sweep could not tell what '
                               f"its seeds did; estab run {target} --seed N runs it")
    if seconds is not None and not seconds > 0:
        raise click.UsageError(f"--seconds {seconds}: that is no time")
    wanted = _shard(range(first, first + seeds), shard)
    rules = Rules(stop_after, stop_kinds, seconds)
    console = Console(stderr=True, soft_wrap=True)
    with ExitStack() as cleanup:
        try:
            workers = local(jobs) if on is None else cleanup.enter_context(cluster(on))
        except ClusterError as error:
            raise click.UsageError(str(error)) from None
        record = None
        if results is not None:
            record = _Record(results, {"target": found.name, "fingerprint": fingerprint_of(scenario).words()})
            cleanup.callback(record.close)
        known = {} if record is None else {seed: one for seed, one in record.known.items() if seed in wanted}
        work = Sweeping(found, wanted, rules, known)
        try:
            outcomes = _watch(work, workers, record, console)
        except KeyboardInterrupt:
            _tell_what_is_known(work, target, results)
            raise
    groups = groups_of(outcomes)
    explained = {}
    for group in groups[:_EXPLAINED_MAX]:
        if not outcomes or _killed(outcomes, group.lowest):
            continue
        passing = next((one.seed for one in reversed(outcomes) if not one.failure and one.seed < group.lowest), None)
        quoted = shlex.quote(target) if "'" in target else f"'{target}'"
        command = f"estab sweep {quoted} --from {group.lowest} --seeds 1"
        made = explain(scenario, group.lowest, command, passing_seed=passing, shrinks=not no_shrink)
        if made is not None:
            here = Path.cwd()
            folder = folder_for(here, found.function or Path(found.file).stem, group.lowest, test=target)
            keep(made, folder, test=target, shown=folder.relative_to(here),
                 scenario=scenario if isinstance(scenario, ScenarioFile) else None)
            explained[group.failure] = made
    if as_json:
        echo(json.dumps(_summary(target, work, outcomes, groups, explained), indent=1))
    else:
        _show(work, outcomes, groups, explained)
    if groups or work.differing:
        raise click.exceptions.Exit(1)


def _shard(seeds: range, shard: str | None) -> range:
    if shard is None:
        return seeds
    number, slash, count = shard.partition("/")
    if not slash or not number.isdecimal() or not count.isdecimal() or not 1 <= int(number) <= int(count):
        raise click.UsageError(f"--shard {shard!r}: write K/N, like 3/16, with K from 1 to N")
    return seeds[int(number) - 1::int(count)]


class _Record:
    """The file of results: a line of JSON for what is the same for all seeds, and one for each seed."""

    def __init__(self, path: str, head: dict[str, Any]) -> None:
        self._path = path
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close(), with nothing left to write
        except OSError as error:
            raise self._wrong(error) from None
        try:
            self.known = self._read(head)
        except BaseException:
            self._file.close()
            raise

    def _read(self, head: dict[str, Any]) -> dict[int, Outcome]:
        """Read what an earlier sweep of the same scenario wrote. A last line that was cut short is taken away."""
        try:
            self._file.seek(0)
            data = self._file.read() if S_ISREG(os.fstat(self._file.fileno()).st_mode) else b""
        except OSError as error:
            raise self._wrong(error) from None
        whole, _, rest = data.rpartition(b"\n")
        if not data:
            self._write([head])
            return {}
        try:
            before, *others = [json.loads(line) for line in whole.splitlines() if line]
            known = {one.seed: one for one in map(Outcome.of_json, others)}
            name = before["target"]
        except (ValueError, KeyError, TypeError):
            what = "that file holds something else than results of a sweep"
            raise click.UsageError(f"--results {self._path}: {what}") from None
        if before != head:
            raise click.UsageError(f"--results {self._path}: its results are of {name} under another "
                                   "fingerprint (estab, Python or the scenario's source); give another file")
        if rest:
            self._file.truncate(len(whole) + 1)
        return known

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Write a line for each. ``ClickException`` if the file can't be written."""
        self._write([one.to_json() for one in outcomes])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        left = memoryview("".join(json.dumps(line) + "\n" for line in lines).encode())
        try:
            while left:
                left = left[self._file.write(left):]
        except OSError as error:
            raise self._wrong(error) from None

    def _wrong(self, error: OSError) -> click.ClickException:
        return click.ClickException(f"--results {self._path}: {error.strerror}")


def _watch(work: Sweeping, workers: Workers, record: _Record | None, console: Console) -> list[Outcome]:
    """Run the sweep with a line that says how far it is."""
    total = len(work.seeds)
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn(compact=True), TextColumn("{task.fields[failed]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("seeds", total=total, completed=len(work.known), rate="", failed="")
        failures = sum(bool(one.failure) for one in work.known.values())
        count = 0

        def told(outcomes: Sequence[Outcome]) -> None:
            nonlocal failures, count
            failures += sum(bool(one.failure) for one in outcomes)
            count += len(outcomes)
            if record is not None:
                record.add(outcomes)
            rate = count / max(time.monotonic() - began, 1e-9)
            bar.update(task, advance=len(outcomes), rate=f"{rate:.0f}/s",
                       failed=f"{failures} failed" if failures else "")

        work.told = told
        return work.run(workers.executor, workers.count)


def _tell_what_is_known(work: Sweeping, target: str, results: str | None) -> None:
    """Say after Ctrl-C how many seeds have run, which failed, and how to go on."""
    outcomes = [work.known[seed] for seed in work.seeds if seed in work.known]
    groups = groups_of(outcomes)
    failed = sum(len(group.seeds) for group in groups)
    goes_on = "--results FILE would have kept them" if results is None else "the same command goes on"
    begin = f"estab: stopped after {format_count(len(outcomes), 'seed')} of {len(work.seeds)}"
    lines = [f"{begin}, {failed} failed; {goes_on}"]
    for group in groups[:_EXPLAINED_MAX]:
        lines += [f"  seed {group.lowest}: {group.sentence}",
                  f"    again: estab sweep '{target}' --from {group.lowest} --seeds 1"]
    print("\n".join(lines), file=sys.stderr)


def _killed(outcomes: Sequence[Outcome], seed: int) -> bool:
    return any(one.has_killed for one in outcomes if one.seed == seed)


def _summary(
    target: str, work: Sweeping, outcomes: Sequence[Outcome], groups: Sequence[Group],
    explained: dict[str, Explanation],
) -> dict[str, Any]:
    return {
        "target": target, "seeds": len(outcomes), "asked": len(work.seeds), "stopped": work.is_stopped,
        "failed": sum(bool(one.failure) for one in outcomes), "differing": work.differing, "workers": work.strangers,
        "groups": [{
            "failure": group.failure, "sentence": group.sentence, "count": len(group.seeds), "lowest": group.lowest,
            **({"weather": made.minimal.weather.words() if made.minimal.weather is not None else None,
                "lines": made.minimal.lines()} if made is not None and made.minimal is not None else {}),
            **({"again": made.again, "kept": made.kept} if made is not None else {}),
        } for group in groups for made in [explained.get(group.failure)]],
    }


def _show(
    work: Sweeping, outcomes: Sequence[Outcome], groups: Sequence[Group], explained: dict[str, Explanation],
) -> None:
    out = Console(soft_wrap=True, highlight=False)
    failed = sum(bool(one.failure) for one in outcomes)
    end = " (stopped)" if work.is_stopped else ""
    echo(f"{format_count(len(outcomes), 'seed')}{end}: {len(outcomes) - failed} passed, {failed} failed")
    if groups:
        table = Table(box=None, pad_edge=False, show_edge=False)
        for name, where in (("failed", "right"), ("lowest seed", "right"), ("what", "left")):
            table.add_column(name, justify=where, overflow="fold")  # type: ignore[arg-type]
        for group in groups:
            table.add_row(str(len(group.seeds)), str(group.lowest), escape(f"{group.sentence}\n  {group.failure}"))
        Console(highlight=False).print(table)
    for group in groups:
        made = explained.get(group.failure)
        if made is not None:
            width = min(out.width, 100)
            print(f"\n{'─' * width}\n{made.text(width)}", flush=True)  # echo writes UTF-8 where ASCII was asked for
    for strange, count in work.strangers.items():
        print(f"estab: {format_count(count, 'chunk')} came from workers with another fingerprint: {strange}",
              file=sys.stderr)
    if work.differing:
        print(f"estab: of these seeds a worker found other facts than this process: {work.differing}. The scenario "
              "depends on more than the seed: the order of a set of strings (PYTHONHASHSEED=0 fixes it) or of its own "
              "objects, an id(), a file, real time; pytest --estab-check shows the first fact that differs",
              file=sys.stderr)
