"""``estab doctor``: why is this connection stuck, or slow? Of this machine's sockets, or of a capture.

Exit status: 0 nothing wrong was found, 1 something stops a connection or costs it time, 2 wrong input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from estab.cli.ascii import echo
from estab.cli.screen import Screen
from estab.cli.written import cannot_write, ensure_writable, why
from estab.doctor.tell import tell
from estab.observe.text import Span

if TYPE_CHECKING:
    from estab.doctor.finding import Report

__all__ = ["doctor"]


@click.command()
@click.argument("capture", metavar="[FILE]", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--pid", type=click.IntRange(1), help="Only the sockets of this process.")
@click.option("--port", type=click.IntRange(1, 65535), help="Only sockets with this port, at either end.")
@click.option("--netns", metavar="NAME", help="Sockets of another network namespace (needs the rights to enter it).")
@click.option("--stack", metavar="NAME", help="Sockets of a running stack (`estab up`, Stack.publish).")
@click.option("--watch", metavar="SECONDS", type=click.FloatRange(0.1), help="Look again and again, until Ctrl-C.")
@click.option("--idle", metavar="SECONDS", type=click.FloatRange(0), default=600, show_default=True,
              help="From when on an idle connection without keepalive is mentioned.")
@click.option("--stuck", metavar="SECONDS", type=click.FloatRange(0), default=2, show_default=True,
              help="From when on CLOSE-WAIT and unread text count.")
@click.option("--json", "as_json", is_flag=True, help="Write plain data instead of text; with --watch, a line a look.")
@click.option("--table", is_flag=True, help="Show the sockets as `ss -tanoip` does, and judge nothing.")
@click.option("--replay", metavar="FILE.py", type=click.Path(dir_okay=False, writable=True),
              help="Write a scenario of the lab with the same parameters, which shows what each cure changes.")
@click.option("--lab", is_flag=True, help="Say whether hosts of the lab can be processes of this system, and why not.")
def doctor(capture: str | None, pid: int | None, port: int | None, netns: str | None, stack: str | None,
           watch: float | None, idle: float, stuck: float, as_json: bool, table: bool, replay: str | None,
           lab: bool) -> None:
    """Say why a connection is stuck or slow: cause, evidence, since when, when the program notices, what to do.

    Without FILE it asks the kernel for all TCP sockets of this machine (Linux; root is not needed, but names other
    users' processes). With FILE it reads a capture: pcap or pcapng, from either end or between.

    Exit status: 0 nothing wrong was found, 1 something stops a connection or costs it time, 2 wrong input.
    """
    if lab:
        _show_lab(as_json)
        return
    if capture is not None:
        wrong = [name for name, value in (("--pid", pid), ("--netns", netns), ("--stack", stack), ("--watch", watch),
                                           ("--table", table)) if value]
        if wrong:
            raise click.UsageError(f"{', '.join(wrong)}: about this machine's sockets, not about a capture")
    if stack is not None and (pid or netns or table):
        raise click.UsageError("--pid, --netns and --table are about this machine's sockets, not about a stack's")
    if replay is not None:
        ensure_writable(replay, "--replay")
    if table:
        with _input():
            lines = _table(pid, port, netns)
        echo("\n".join(lines))
        return
    with _input():
        report = _look(capture, pid, port, netns, stack, idle, stuck)
    if watch is not None:
        _watch(report, watch, as_json, lambda: _look(None, pid, port, netns, stack, idle, stuck))
    _show(report, as_json)
    if replay is not None:
        _write_replay(report, replay)
    if report.has_trouble:
        sys.stdout.flush()
        raise click.exceptions.Exit(1)


@contextmanager
def _input() -> Iterator[None]:
    """Say in a line what can't be looked at."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise click.UsageError(why(error)) from None


def _show_lab(as_json: bool) -> None:
    """Say what ``Host.spawn`` finds on this machine."""
    from estab.native.able import check_lab

    checks = check_lab()
    if as_json:
        rows = [{"what": one.what, "ok": one.is_ok, "needed": one.is_needed, "remark": one.remark} for one in checks]
        echo(json.dumps(rows, indent=2))
    else:
        for check in checks:
            mark = "ok" if check.is_ok else "NO" if check.is_needed else "--"
            echo(click.wrap_text(f"{mark}  {check.what}: {check.remark}", 79, subsequent_indent="    "))
    if not all(check.is_ok for check in checks if check.is_needed):
        raise click.exceptions.Exit(1)


def _look(capture: str | None, pid: int | None, port: int | None, netns: str | None, stack: str | None, idle_s: float,
          stuck_s: float) -> Report:
    if capture is not None:
        from estab.cli.reading import with_progress
        from estab.doctor.captures import diagnose_capture

        report = diagnose_capture(capture, with_progress)
        if port is not None:
            report.findings = [finding for finding in report.findings if f":{port}" in finding.subject]
        return report
    from estab.doctor.live import Thresholds
    from estab.doctor.sockets import diagnose_sockets

    limits = Thresholds(close_wait_s=stuck_s, unread_s=stuck_s, idle_s=idle_s)
    if stack is not None:
        from estab.top.sources import diagnose_stack

        return diagnose_stack(stack, port, limits)
    return diagnose_sockets(pid=pid, port=port, netns=netns, limits=limits)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        echo(json.dumps(report.json(), indent=2))
    else:
        screen = Screen()
        screen.lines(tell(report, min(screen.width, 100)))


def _watch(report: Report, seconds: float, as_json: bool, look: Callable[[], Report]) -> NoReturn:
    """Show each look whose findings differ from the last one's."""
    screen = Screen()
    before: object = None
    while True:
        names = [(finding.name, finding.subject) for finding in report.findings]
        if as_json:
            echo(json.dumps(report.json()))
        elif names != before:
            screen.lines([(Span(time.strftime("── %H:%M:%S "), "rule"),)])
            screen.lines(tell(report, min(screen.width, 100), has_cures=before is None))
        sys.stdout.flush()
        before = names
        time.sleep(seconds)
        with _input():
            report = look()


def _table(pid: int | None, port: int | None, netns: str | None) -> list[str]:
    from estab.devices.namespace import call_in
    from estab.doctor.processes import find_holders
    from estab.doctor.sockets import wanted_rows
    from estab.doctor.table import HEADS, columns
    from estab.native.sockdiag import read_sockets

    wanted = wanted_rows(pid, port)
    rows = [row for row in call_in(netns, lambda: list(read_sockets())) if wanted is None or wanted(row)]
    holders = find_holders({row.inode for row in rows})
    lines = [list(HEADS), *(columns(row, holders.get(row.inode, ())) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS) - 1)]
    heads = [" ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)) for line in lines]
    return [f"{head} {line[-1]}".rstrip() for head, line in zip(heads, lines, strict=True)]


def _write_replay(report: Report, path: str) -> None:
    from estab.doctor.replay import write_replay

    try:
        about = write_replay(report, path)
    except OSError as error:
        raise cannot_write(path, "--replay", error) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    echo(f"\n{path}: {about}; run it: python {path}", err=True)
