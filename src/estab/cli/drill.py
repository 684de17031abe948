"""``estab drill``: packetdrill scripts against the engine, in virtual time.

Each script meets a fresh stack. A script that fails is told in one line: where, what differed, what was expected and
what came, as packetdrill text. Exit status: 0 all passed, 1 some did not, 2 a script could not be read.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from estab.cli.ascii import echo
from estab.cli.junit import write_junit
from estab.cli.screen import Screen
from estab.cli.written import cannot_write, written
from estab.drill.machine.settings import IP_VERSIONS, PROFILES
from estab.drill.runner import Result, as_expected, ip_versions_of, run
from estab.events import Observer
from estab.observe.capture import write_section
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render
from estab.observe.pcapng import PcapngWriter
from estab.observe.recorder import Recorder
from estab.trial.workers import end_pool, end_with_parent

__all__ = ["drill"]

_LADDER_LANES: Final = ("host", "script")


@dataclass(frozen=True, slots=True)
class _Job:
    """One script and one IP version: all that a worker needs."""

    path: str
    ip_version: str
    profile: str
    defines: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--profile", type=click.Choice(PROFILES), default="linux", show_default=True,
              help="Whose defaults the stack takes; neutral: compare only what standards fix.")
@click.option("--ip", type=click.Choice([*IP_VERSIONS, "all"]),
              help="The IP version; all: each one that the script's name does not exclude (…v4.pkt, …v6.pkt); "
              "by default the first of these.")
@click.option("--define", "-D", "defines", metavar="NAME=VALUE", multiple=True, help="A name that scripts use.")
@click.option("--option", "-o", "options", metavar="NAME=VALUE", multiple=True,
              help="An option as scripts have them at their top, like tolerance_usecs=10000.")
@click.option("--verbose", "-v", is_flag=True, help="Draw each run as a ladder of segments.")
@click.option("--pcap", type=click.Path(dir_okay=False), help="Write all packets there (pcapng), a section a script.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write the results there as JUnit's XML.")
@click.option("--against-kernel", is_flag=True,
              help="Run each script on this machine's kernel, too, and say where they differ. Root; in real time.")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Scripts at a time.")
def drill(
    paths: tuple[str, ...], profile: str, ip: str | None, defines: tuple[str, ...], options: tuple[str, ...],
    verbose: bool, pcap: str | None, junit: str | None, against_kernel: bool, jobs: int,
) -> None:
    """Run packetdrill scripts against the engine, in virtual time.

    PATH is a script or a folder of them. Needs no root and no device. Commands in scripts are looked up in a table and
    never reach a shell; code (%{ }%) is Python and runs, so give it only scripts that you trust.
    """
    scripts = _scripts(paths)
    names = tuple(_pair(text, "--define") for text in defines)
    settings = tuple(_pair(text, "--option") for text in options)
    work = [_Job(path, version, profile, names, settings) for path in scripts for version in _versions(path, ip)]
    if against_kernel:
        from estab.cli.drill_kernel import against_kernel as compare

        if verbose or pcap is not None or junit is not None:
            raise click.UsageError("--against-kernel goes with neither --verbose nor --pcap nor --junit")
        try:
            raise click.exceptions.Exit(compare([(job.path, job.ip_version) for job in work], profile, dict(names),
                                                dict(settings)))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    began = time.perf_counter()
    try:
        results = _watched(work, verbose, pcap) if verbose or pcap is not None else _reported(work, jobs)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if junit is not None:
        _write_junit(junit, results)
    unknown = sorted({name for result in results for name in result.unknown_sysctls})
    if unknown:
        echo(f"unknown sysctls, which changed nothing: {', '.join(unknown)}")
    passed = sum(result.is_ok for result in results)
    echo(f"{passed} of {len(results)} passed in {time.perf_counter() - began:.1f} s")
    if passed < len(results):
        raise click.exceptions.Exit(2 if any(result.outcome == "error" for result in results) else 1)


def _versions(path: str, ip: str | None) -> Sequence[str]:
    """Return the IP versions to run a script in."""
    if ip is None:
        return ip_versions_of(path)[:1]
    return ip_versions_of(path) if ip == "all" else [ip]


def _scripts(paths: Sequence[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found.extend(str(script) for script in sorted(Path(path).rglob("*.pkt")))
        else:
            found.append(path)
    if not found:
        raise click.BadArgumentUsage(f"no .pkt file below {', '.join(paths)}")
    return found


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=repr(option))
    return name, value


def _run_job(job: _Job, observer: Observer | None = None) -> Result:
    return as_expected(run(job.path, ip_version=job.ip_version, profile=job.profile, defines=dict(job.defines),
               options=dict(job.options), observer=observer))


# --- telling


def _reported(work: Sequence[_Job], jobs: int) -> list[Result]:
    """Run all, with progress on a terminal and a line for each failure."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    results: list[Result] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("scripts", total=len(work))
        for result in _results(work, jobs):
            results.append(result)
            progress.update(task, advance=1, description=Path(result.path).name)
            if not result.is_ok:
                progress.console.file.flush()
                echo(_failure(result))
    return results


def _results(work: Sequence[_Job], jobs: int) -> Iterator[Result]:
    if jobs == 1 or len(work) == 1:
        yield from map(_run_job, work)
        return
    with ProcessPoolExecutor(min(jobs, len(work)), initializer=_begin_worker) as pool:
        try:
            yield from pool.map(_run_job, work, chunksize=max(1, len(work) // (4 * jobs)))
        except BaseException:  # Ctrl-C, SIGTERM, an output that is full: the rest is not needed
            end_pool(pool)
            raise


def _begin_worker() -> None:
    """Leave Ctrl-C to the command, which ends its workers by SIGTERM. If it is killed, they end, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


def _failure(result: Result) -> str:
    """Tell a failure in one line; one of reading in three, with the caret."""
    if result.outcome == "error":
        return result.message
    text = f"{result.path}:{result.line}: ({result.ip_version}) {result.message}"
    if result.expected or result.got:
        text += f" | expected: {result.expected or 'nothing'} | got: {result.got or 'nothing'}"
    return text


def _watched(work: Sequence[_Job], verbose: bool, pcap: str | None) -> list[Result]:
    """Run all one after the other and show or keep what was on the wire."""
    screen = Screen(sys.stdout)
    results: list[Result] = []
    path = pcap if pcap is not None else os.devnull
    with written(path, "--pcap") as stream:
        writer = PcapngWriter(stream)
        for job in work:
            recorder = Recorder()
            result = _run_job(job, recorder)
            results.append(result)
            try:
                write_section(writer, recorder.facts, comment=f"{job.path} ({job.ip_version}): {result.outcome}")
            except OSError as error:
                raise cannot_write(path, "--pcap", error) from error
            if verbose:
                echo(f"{job.path} ({job.ip_version})")
                screen.lines(render(ladder(recorder.facts, hosts=_LADDER_LANES), screen.width))
            if not result.is_ok:
                echo(_failure(result))
    return results


def _write_junit(path: str, results: Sequence[Result]) -> None:
    try:
        write_junit(path, results)
    except OSError as error:
        raise cannot_write(path, "--junit", error) from error
