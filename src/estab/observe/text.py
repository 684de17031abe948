"""Lines of text whose parts have roles, so that a terminal, a page and a test can each show them their way.

A role says what a part is (``time``, ``state``, ``lost``), never how it looks.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Canvas", "Line", "Span", "clip", "plain_text"]


class Span(NamedTuple):
    """A piece of a line and what it is."""

    text: str
    role: str = ""


Line = tuple[Span, ...]


def plain_text(line: Line) -> str:
    """Write a line without roles, without spaces at its end."""
    return "".join(span.text for span in line).rstrip()


def clip(text: str, width: int) -> str:
    """Shorten a text to a width, with ``…`` where something is left out."""
    return text if len(text) <= width else text[:max(width - 1, 0)] + "…" if width > 0 else ""


class Canvas:
    """One line to write into at any column; what does not fit is cut off."""

    def __init__(self, width: int) -> None:
        self._chars = [" "] * width
        self._roles = [""] * width

    def put(self, column: int, text: str, role: str = "") -> None:
        """Write over what is there."""
        for offset, char in enumerate(text):
            if 0 <= column + offset < len(self._chars):
                self._chars[column + offset] = char
                self._roles[column + offset] = role

    def spans(self) -> Line:
        """Give the line, neighbours of one role joined."""
        result: list[Span] = []
        for char, role in zip(self._chars, self._roles, strict=True):
            if result and result[-1].role == role:
                result[-1] = Span(result[-1].text + char, role)
            else:
                result.append(Span(char, role))
        return tuple(result)
