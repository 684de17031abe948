"""The ``estab`` command.

- A subcommand is a file of this room; it is imported only when it is called.
- What is wrong with the input is said in one line on standard error, with exit status 2; anything else that a user can
  meet (a file that can't be written, an output that is closed or full) in one line with exit status 1. No traceback
  reaches a user but for our own bugs.
- Ctrl-C ends quietly with 130, SIGTERM with 143; a reader that goes away (``| head``) ends the command quietly with
  141, as a shell expects. ``docs/cli.md`` has the table.
"""

from __future__ import annotations

import difflib
import errno
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Final, NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from estab import __version__
from estab._build import core_kind
from estab.cli.ascii import degrade, echo, fitting

__all__ = ["estab", "main"]

_COMMANDS: Final = {
    "doctor": ("estab.cli.doctor:doctor", "Say why a connection is stuck or slow: of this machine, or of a capture."),
    "drill": ("estab.cli.drill:drill", "Run packetdrill scripts against the engine, in virtual time."),
    "lab": ("estab.cli.lab:lab", "Open the lab in a browser's tab."),
    "report": ("estab.cli.report:report", "Show a capture as a page: ladder, plots, segments."),
    "run": ("estab.cli.run:run", "Run script files, or a scenario file, on hosts of a virtual network."),
    "sweep": ("estab.cli.sweep:sweep", "Run a scenario for many seeds, here or on a cluster, and explain what fails."),
    "explain": ("estab.cli.explain:explain", "Explain a state, errno, option, sysctl, counter or drop."),
    "up": ("estab.cli.up:up", "Bring a stack up on a TUN, TAP or Ethernet device, and serve on it."),
    "top": ("estab.cli.top:top", "Show sockets as they move, of this machine or of a stack, and what is wrong."),
    "tour": ("estab.cli.tour:tour", "Tell the life of a TCP connection, call by call."),
}
"""Each subcommand's name, where it is, and what it does."""

_FAILED: Final = 1
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141
_COMPLETE: Final = "_ESTAB_COMPLETE"
"""The variable by which a shell asks for completions, as click names it."""
_OUTPUT_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What writing to standard output may end in, beside a broken pipe."""


class _Context(click.Context):
    """What a command knows of its call."""

    def get_help(self) -> str:
        return fitting(super().get_help())


class _Commands(click.Group):
    """Finds subcommands by name and imports them when they are needed."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            found = super().get_command(ctx, cmd_name)
            nearest = difflib.get_close_matches(cmd_name, self.list_commands(ctx), 1)
            if found is None and nearest and not ctx.resilient_parsing:
                raise click.UsageError(f"no such command {cmd_name!r}. Did you mean {nearest[0]!r}?", ctx)
            return found
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        command.context_class = _Context
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the subcommands without importing them, and the options."""
        names = [CompletionItem(name, help=what) for name, (_, what) in sorted(_COMMANDS.items())]
        return [item for item in names if item.value.startswith(incomplete)] + click.Command.shell_complete(
            self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in sorted(_COMMANDS.items())])


def _version() -> str:
    return f"estab {__version__} (core: {core_kind()}, Python {platform.python_version()})"


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Say which version this is, and whether its core runs compiled.")
@click.pass_context
def estab(ctx: click.Context, version: bool) -> None:
    """A TCP/IP stack in user space: see every call, queue and segment.

    Begin with: estab tour
    """
    if version:
        echo(_version())
    elif ctx.invoked_subcommand is None:
        echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:
        return _complain("standard output is closed; send it to /dev/null if you want none")
    degrade()
    try:
        status = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return _BROKEN_PIPE
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        _forget_output()
        return _complain(f"cannot write to standard output: {error.strerror}")
    return status


def _run(words: Sequence[str]) -> int:
    """Run the command. Output may be left in ``sys.stdout``."""
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        return shell_complete(estab, {}, "estab", _COMPLETE, instruction)
    try:
        with _ended_by_sigterm(), estab.make_context("estab", list(words)) as ctx:
            estab.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _complain(_one_line(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("", _INTERRUPTED)
    return 0


def _complain(text: str, status: int = _FAILED) -> int:
    """Say in a line what went wrong, if standard error is open. Returns the exit status for it."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"estab: {text}" if text else "", file=sys.stderr, flush=True)
    return status


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that what it started or opened is ended and closed."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: the caller has the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(error: click.ClickException) -> str:
    """Write an error in one line; a usage error names the command whose ``--help`` tells more."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" (see: {error.ctx.command_path} --help)"
    return text


def _forget_output() -> None:
    """Discard standard output, so that the interpreter's last flush does not complain."""
    with suppress(OSError, ValueError):  # a stream without a descriptor has no last flush that could fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
