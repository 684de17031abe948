"""The ``estab`` command.

- A subcommand is a file of this room; it is imported only when it is called.
- What is wrong with the input is said in one line on standard error, with exit code 2; anything else that a user can
  meet (a file that can't be written) in one line with exit code 1. No traceback reaches a user but for our own bugs.
- Ctrl-C ends quietly with 130; a reader that goes away (``| head``) ends the command quietly with 141, as a shell
  expects.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from estab import __version__
from estab._build import core_kind

__all__ = ["estab", "main"]

_COMMANDS: Final = {
    "doctor": ("estab.cli.doctor:doctor", "Say why a connection is stuck or slow: of this machine, or of a capture."),
    "drill": ("estab.cli.drill:drill", "Run packetdrill scripts against the engine, in virtual time."),
    "report": ("estab.cli.report:report", "Show a capture as a page: ladder, plots, segments."),
    "up": ("estab.cli.up:up", "Bring a stack up on a TUN, TAP or Ethernet device, and serve on it."),
    "tour": ("estab.cli.tour:tour", "Tell the life of a TCP connection, call by call."),
}
"""Each subcommand's name, where it is, and what it does."""

_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141


class _Commands(click.Group):
    """Finds subcommands by name and imports them when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

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
        click.echo(_version())
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with estab.make_context("estab", words) as ctx:
            estab.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        print(f"estab: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return _BROKEN_PIPE
    return 0


def _one_line(error: click.ClickException) -> str:
    """Write an error in one line; a usage error names the command whose ``--help`` tells more."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" (see: {error.ctx.command_path} --help)"
    return text


def _forget_output() -> None:
    """Give standard output to nobody, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
