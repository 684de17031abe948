"""Output whose encoding lacks a character: the nearest in ASCII is written, never a traceback, never an escape.

Each stands for exactly one, so columns stay where they are.
"""

from __future__ import annotations

import codecs
import sys
from contextlib import suppress
from typing import Final

__all__ = ["ASCII", "HANDLER", "degrade", "echo", "fitting"]

ASCII: Final[dict[int, str]] = str.maketrans({
    "│": "|", "─": "-", "═": "=", "╌": "-", "▶": ">", "◀": "<", "×": "x", "→": ">", "▸": ">", "◂": "<", "◷": "@",
    "▤": "#", "●": "*", "⨤": "X", "↺": "@", "⋮": ":", "…": "~", "·": "-", "µ": "u", "■": "#", "□": ".", "’": "'",
    "–": "-", "━": "=", "⏻": "!", "▼": "v", "▲": "^", "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+",
    "▇": "*", "█": "#",
})
HANDLER: Final = "estab-ascii"
"""The name of the error handler, for ``str.encode`` and streams."""


def degrade() -> None:
    """Let standard output and standard error write what their encoding lacks in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a stream of a test, or one that is closed
            stream.reconfigure(errors=HANDLER)  # type: ignore[union-attr]


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Write a text to standard output or standard error. Click's function of that name writes UTF-8 if it is ASCII."""
    print(text, end="\n" if nl else "", file=sys.stderr if err else sys.stdout, flush=True)


def fitting(text: str) -> str:
    """Return a text as standard output can write it, for functions that write by Click's ``echo``."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, HANDLER).decode(encoding)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return ASCII.get(ord(character), "?"), error.start + 1


codecs.register_error(HANDLER, _nearest)
