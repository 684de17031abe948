"""``estab top``: the sockets of this machine or of a running stack as they move, each with the doctor's verdict."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING

import click

from estab.cli.screen import STYLES, Screen
from estab.cli.written import why
from estab.top.board import Board
from estab.top.lines import heads, overview, row_line
from estab.top.order import COLUMNS, Filter, ordered
from estab.top.sources import KernelSource, StackSource, find_stacks

if TYPE_CHECKING:
    from estab.observe.text import Line
    from estab.top.sources import Source

__all__ = ["top"]


@click.command()
@click.option("--stack", metavar="NAME", help="A running stack: the name of its device, or the path of its socket.")
@click.option("--pid", type=click.IntRange(1), help="Only the sockets of this process.")
@click.option("--port", type=click.IntRange(1, 65535), help="Only sockets with this port, at either end.")
@click.option("--netns", metavar="NAME", help="Sockets of another network namespace (needs the rights to enter it).")
@click.option("--filter", "text", metavar="WORDS", default="", help="Show only what matches: :443 close-wait 'rtt>50' "
              "bad … (? on the screen tells all).")
@click.option("--sort", type=click.Choice(list(COLUMNS)), default="found", show_default=True,
              help="The column to sort by.")
@click.option("--interval", metavar="SECONDS", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True,
              help="How often to look.")
@click.option("--once", is_flag=True, help="Print a table after one interval, and end; so where the output is no "
              "terminal.")
def top(stack: str | None, pid: int | None, port: int | None, netns: str | None, text: str, sort: str,
        interval: float, once: bool) -> None:
    """Show sockets as they move: rates, queues, round trips, repetitions, states, accept queues, and what is wrong.

    Of this machine (Linux; root is not needed), or of a stack that `estab up` runs. Keys: ? tells them, q ends.
    """
    if stack is not None and (pid or netns):
        raise click.UsageError("--pid and --netns are about this machine's sockets, --stack is about a stack's")
    try:
        chosen = Filter(text)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    try:
        source: Source = (KernelSource(pid=pid, port=port, netns=netns) if stack is None
                          else StackSource(find_stacks(stack), port=port))
    except (OSError, ValueError) as error:
        raise click.ClickException(why(error)) from None
    status = 0
    lines: list[Line] = []
    try:
        if once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            lines = _table(source, chosen, sort, interval)
        else:
            status = _show(source, text, sort, interval)
    except OSError as error:
        raise click.ClickException(why(error)) from None
    finally:
        source.close()
    Screen().lines(lines)
    if status:
        raise click.exceptions.Exit(status)


def _table(source: Source, chosen: Filter, sort: str, interval_s: float) -> list[Line]:
    """Read twice, and make a table."""
    board = Board()
    board.take(source.read(), source.sysctls)
    time.sleep(interval_s)
    view = board.take(source.read(), source.sysctls)
    width = Screen().width
    return [*overview(view, source.name, source.note, width), heads(width, sort, False),
            *(row_line(entry, width) for entry in ordered(filter(chosen, view.entries), sort))]


def _show(source: Source, text: str, sort: str, interval_s: float) -> int:
    """Show it on the terminal. Returns the exit status."""
    if importlib.util.find_spec("textual") is None:
        raise click.ClickException("estab top needs Textual: pip install 'estab[top]'; "
                                   "estab top --once prints a table without it")
    from estab.top.screen import TopApp

    source.read()  # what is wrong is said here, and not on a screen that vanishes
    return TopApp(source, STYLES, interval_s=interval_s, sort=sort, text=text).run() or 0
