"""What can be wrong with a script or with the stack that it tests.

- ``ScriptError``: the script is not one. It shows the line with a caret below the place.
- ``MismatchError``: the script is sound and the stack did something else. It has what was expected and what came, as
  packetdrill text.
- ``UnsupportedError``: the script asks for something that is not here. It names it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MismatchError", "Place", "ScriptError", "UnsupportedError"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a script; lines and columns count from 1."""

    line: int
    column: int


class ScriptError(ValueError):
    """A script that can't be read. ``place`` says where; the text shows it."""

    def __init__(self, path: str, place: Place, source_line: str, message: str) -> None:
        self.path = path
        self.place = place
        self.message = message
        before = "".join(letter if letter == "\t" else " " for letter in source_line[: place.column - 1])
        super().__init__(f"{path}:{place.line}:{place.column}: {message}\n  {source_line}\n  {before}^")


class MismatchError(AssertionError):
    """The stack did something else than the script says. ``expected`` and ``got`` are packetdrill text, or empty."""

    def __init__(self, message: str, expected: str = "", got: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.got = got


class UnsupportedError(MismatchError):
    """The script asks for something that this interpreter or this stack does not have; the message names it."""
