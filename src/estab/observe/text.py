"""Lines of text whose parts have roles, so that a terminal, a page and a test can each show them their way.

A role says what a part is (``time``, ``state``, ``lost``), never how it looks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Canvas", "Line", "Span", "clip", "gauge", "plain_text", "without_numbers", "wrapped"]

_GAUGE_MAX: Final = 8


class Span(NamedTuple):
    """A piece of a line and what it is."""

    text: str
    role: str = ""


Line = tuple[Span, ...]


def plain_text(line: Line) -> str:
    """Write a line without roles, without spaces at its end."""
    return "".join(span.text for span in line).rstrip()


def clip(text: str, width: int) -> str:
    """Shorten a text to a width, with ``…`` if something is left out."""
    return text if len(text) <= width else text[:max(width - 1, 0)] + "…" if width > 0 else ""


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between words. A word that is wider than the line stays whole."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def gauge(depth: int, limit: int) -> str:
    """Draw how full a queue is: ``■■□ 2/3``; only the numbers if it is long."""
    if not 0 < limit <= _GAUGE_MAX:
        return f"{depth}/{limit}"
    return "■" * depth + "□" * (limit - depth) + f" {depth}/{limit}"


def without_numbers(text: str) -> str:
    """Leave out what differs between two texts that tell the same: numbers, and how full a gauge is."""
    return " ".join("".join(" " if char in "0123456789■□" else char for char in text).split())


class Canvas:
    """One line to write into at any column; what does not fit is cut off."""

    def __init__(self, width: int) -> None:
        self._chars = [" "] * width
        self._roles = [""] * width

    def put(self, column: int, text: str, role: str = "") -> None:
        """Write over what is there."""
        if column < 0:
            text, column = text[-column:], 0
        text = text[:max(len(self._chars) - column, 0)]
        self._chars[column:column + len(text)] = text
        self._roles[column:column + len(text)] = [role] * len(text)

    def spans(self) -> Line:
        """Return the line, neighbours of one role joined."""
        text, roles = "".join(self._chars), self._roles
        result: list[Span] = []
        start = 0
        for column in range(1, len(roles) + 1):
            if column == len(roles) or roles[column] != roles[start]:
                result.append(Span(text[start:column], roles[start]))
                start = column
        return tuple(result)
