"""Puts lines on a terminal: roles become colours there, and plain text anywhere else.

- Colours only on a terminal, and not if ``NO_COLOR`` or ``TERM=dumb`` asks for none.
- As wide as the terminal, from 40 to 120 columns, also through a pipe if standard error is the terminal (``| less``);
  100 if the output goes elsewhere, so that it is the same everywhere.
- If the output's encoding knows no arrows, they are written in ASCII.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from stat import S_ISFIFO
from typing import IO, Final, TextIO

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from estab.cli.ascii import ASCII
from estab.observe.ladder_text import WIDTH_MIN
from estab.observe.text import Line, Span

__all__ = ["STYLES", "Screen"]

STYLES: Final = {
    "chapter": "bold",
    "heading": "bold",
    "rule": "dim",
    "prose": "",
    "time": "dim",
    "host": "bold",
    "lane": "dim",
    "arrow": "green",
    "again": "yellow",
    "lost": "bold red",
    "dropped": "red",
    "state": "cyan",
    "call": "bold blue",
    "return": "bold blue",
    "waits": "dim",
    "timer": "magenta",
    "queue": "yellow",
    "link": "bold magenta",
    "error": "bold red",
    "drop": "red",
    "skip": "dim italic",
    "legend": "dim",
    "label": "dim",
    "finding": "bold green",
}
_COLORS: Final = {
    "standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}


class Screen:
    """Writes lines. ``width`` is how many columns there are."""

    def __init__(self, file: TextIO | None = None) -> None:
        console = Console(file=file)
        self.is_terminal = console.is_terminal
        columns = console.width if self.is_terminal else _columns_after_a_pipe(console.file)
        self.width = 100 if columns is None else min(max(columns, WIDTH_MIN), 120)
        self._file = console.file
        self._colors = None if console.no_color else _COLORS.get(console.color_system or "")
        self._styles = {role: Style.parse(style) for role, style in STYLES.items()}
        self._is_ascii = not _can_write(console.encoding)

    def lines(self, lines: Iterable[Line]) -> None:
        """Write lines."""
        for line in lines:
            self._file.write(self.dressed(line))

    def dressed(self, line: Line) -> str:
        """Return a line as it is to be written, with its end."""
        parts = list(line)
        while parts and not parts[-1].text.rstrip():
            parts.pop()
        if parts:
            parts[-1] = Span(parts[-1].text.rstrip(), parts[-1].role)
        return "".join(self._part(part) for part in parts) + "\n"

    def _part(self, part: Span) -> str:
        text = part.text.translate(ASCII) if self._is_ascii else part.text
        if self._colors is None or part.role not in self._styles:
            return text
        return self._styles[part.role].render(text, color_system=self._colors)


def _columns_after_a_pipe(output: IO[str]) -> int | None:
    """Return the width of the terminal at which ``| less`` or ``| head`` shows a pipe; ``None`` for anything else."""
    try:
        if S_ISFIFO(os.fstat(output.fileno()).st_mode) and sys.stderr.isatty():
            return os.get_terminal_size(sys.stderr.fileno()).columns or None
    except (OSError, ValueError, AttributeError):  # no descriptor, no standard error
        pass
    return None


def _can_write(encoding: str) -> bool:
    try:
        "│▶×→".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
