"""``estab drill --against-kernel``: a script on the engine and on the kernel of this machine, and where they differ.

Each script runs in a process of its own, which enters a network namespace and ends with it. The kernel runs in real
time: a script that waits a minute takes a minute.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from estab.cli.ascii import echo
from estab.cli.written import why
from estab.drill.kernel import why_not
from estab.drill.runner import Result, run, run_on_kernel

__all__ = ["Difference", "against_kernel", "differences"]

_OF_THE_MOMENT: Final = re.compile(r"TS val \d+ ecr \d+|FO \w+|FOEXP \w+")
"""What no two systems have in common: timestamps, cookies."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A line of a script where the two did not do the same."""

    line: int
    kernel: str
    ours: str
    is_beyond: bool
    """The script does not ask for it: both did what it says, and a field that it leaves open differs."""


def differences(kernel: Result, ours: Result) -> list[Difference]:
    """Find where only one does what the script says, and fields that the script leaves open and that differ."""
    found = []
    for (line, text), (other, mine) in zip(kernel.seen, ours.seen, strict=False):
        if line != other:
            break
        theirs, own = _OF_THE_MOMENT.sub("…", text), _OF_THE_MOMENT.sub("…", mine)
        if theirs != own and line not in (kernel.line, ours.line):
            found.append(Difference(line, text, mine, is_beyond=True))
    if (kernel.outcome, kernel.line, kernel.message) != (ours.outcome, ours.line, ours.message):
        line = min(result.line for result in (kernel, ours) if not result.is_ok)
        found.append(Difference(line, _told(kernel, line), _told(ours, line), is_beyond=False))
    return found


def _told(result: Result, line: int) -> str:
    if result.is_ok or result.line > line:
        return "does what the script says"
    return result.message + (f": {result.got}" if result.got else "")


def against_kernel(
    work: Sequence[tuple[str, str]], profile: str, defines: Mapping[str, str], options: Mapping[str, str],
) -> int:
    """Run each script (path, IP version) on both, and say where they differ. Returns the exit status.

    0: both did the same, or differed only in what the scripts leave open; 1: they differed; 2: a script could not be
    read.
    """
    reason = why_not()
    if reason:
        raise click.UsageError(f"--against-kernel: {reason}")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    status = same = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("scripts", total=len(work))
        for path, version in work:
            progress.update(task, description=Path(path).name)
            ours = run(path, ip_version=version, profile=profile, defines=defines, options=options)
            kernel = _on_kernel(path, version, defines, options)
            progress.update(task, advance=1)
            found = differences(kernel, ours)
            _tell(path, kernel, ours, found)
            is_error = "error" in (kernel.outcome, ours.outcome)
            differs = any(not difference.is_beyond for difference in found)
            status = 2 if is_error else max(status, 1 if differs else 0)
            same += not differs
    echo(f"{same} of {len(work)} the same on {ours.profile} and on {kernel.profile}")
    return status


def _on_kernel(path: str, version: str, defines: Mapping[str, str], options: Mapping[str, str]) -> Result:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = pool.submit(run_on_kernel, path, ip_version=version, defines=dict(defines), options=dict(options))
        try:
            return asked.result()
        except OSError as error:  # no rights to make a network namespace, or no TUN in it
            raise click.ClickException(f"--against-kernel: {why(error)}") from None
        except BrokenProcessPool:
            raise click.ClickException(f"{path}: the process that asks the kernel died") from None


def _tell(path: str, kernel: Result, ours: Result, found: Sequence[Difference]) -> None:
    beyond = [difference for difference in found if difference.is_beyond]
    if len(beyond) == len(found):
        what = "as the script says" if ours.is_ok else f"not as the script says, line {ours.line}: {ours.message}"
        echo(f"{path}: both the same, {what}")
    for difference in [*beyond[:1], *found[len(beyond) :]]:
        what = "they differ"
        if difference.is_beyond:
            more = f", and on {len(beyond) - 1} lines more" if len(beyond) > 1 else ""
            what = f"they differ in what the script leaves open{more}"
        echo(f"{path}:{difference.line}: {what}")
        echo(f"  {kernel.profile:14} {difference.kernel}")
        echo(f"  {'estab':14} {difference.ours}")
