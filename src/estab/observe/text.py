"""Lines of text whose parts have roles, so that a terminal, a page and a test can each show them their way.

A role says what a part is (``time``, ``state``, ``lost``), never how it looks. Widths are cells of a terminal: a letter
takes one, a Chinese character two.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple
from unicodedata import combining, east_asian_width

__all__ = [
    "Canvas", "Line", "Span", "cells", "clip", "flush_left", "flush_right", "gauge", "pieces", "plain_text",
    "without_numbers", "wrapped",
]

_GAUGE_MAX: Final = 8
_WIDE: Final = re.compile("[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
                          "\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]")
"""A character that takes two cells, and between two of which a line may be broken."""
_CLOSING: Final = "，。：；、）》”！？…"
"""What no line begins with."""
_OPENING: Final = "（《“"
"""What no line ends with."""


class Span(NamedTuple):
    """A piece of a line and what it is."""

    text: str
    role: str = ""


Line = tuple[Span, ...]


def plain_text(line: Line) -> str:
    """Write a line without roles, without spaces at its end."""
    return "".join(span.text for span in line).rstrip()


def cells(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


@cache
def _cells_of(char: str) -> int:
    return 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1


def clip(text: str, width: int) -> str:
    """Shorten a text to a width, with ``…`` if something is left out."""
    if cells(text) <= width:
        return text
    return _first(text, width - 1) + "…" if width > 0 else ""


def _first(text: str, width: int) -> str:
    """Return as much of the beginning as a width has room for."""
    used = 0
    for place, char in enumerate(text):
        used += _cells_of(char)
        if used > width:
            return text[:place]
    return text


def pieces(text: str, width: int) -> list[str]:
    """Cut a text wherever a line is full. A line has room for one character at least."""
    width = max(width, 2)
    result = []
    while cells(text) > width:
        result.append(_first(text, width))
        text = text[len(result[-1]):]
    return [*result, text]


def flush_left(text: str, width: int) -> str:
    """Fill up with spaces after the text."""
    return text + " " * (width - cells(text))


def flush_right(text: str, width: int) -> str:
    """Fill up with spaces before the text."""
    return " " * (width - cells(text)) + text


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between words, and between Chinese characters. A word that is wider than the line stays whole."""
    lines = [""]
    for word, gap in _words(text):
        if lines[-1] and cells(lines[-1]) + len(gap) + cells(word) > width:
            lines.append("")
        lines[-1] += (gap if lines[-1] else "") + word
    return lines


def _words(text: str) -> list[tuple[str, str]]:
    """List what a line may not break, each with what is between it and the one before: a space or nothing."""
    if not _WIDE.search(text):
        return [(word, " ") for word in text.split()]
    words: list[tuple[str, str]] = []
    for part in text.split():
        gap, begun = " ", ""
        for char in part:
            joins = not begun or char in _CLOSING or begun[-1] in _OPENING
            if joins or not (_WIDE.match(char) or _WIDE.match(begun[-1])):
                begun += char
            else:
                words.append((begun, gap))
                gap, begun = "", char
        words.append((begun, gap))
    return words


def gauge(depth: int, limit: int) -> str:
    """Draw how full a queue is: ``■■□ 2/3``; only the numbers if it is long."""
    if not 0 < limit <= _GAUGE_MAX:
        return f"{depth}/{limit}"
    return "■" * depth + "□" * (limit - depth) + f" {depth}/{limit}"


def without_numbers(text: str) -> str:
    """Leave out what differs between two texts that tell the same: numbers, and how full a gauge is."""
    return " ".join("".join(" " if char in "0123456789■□" else char for char in text).split())


class Canvas:
    """One line to write into at any column; what does not fit is cut off. After a wide character a cell is empty."""

    def __init__(self, width: int) -> None:
        self._chars = [" "] * width
        self._roles = [""] * width

    def put(self, column: int, text: str, role: str = "") -> None:
        """Write over what is there."""
        chars = [part for char in text for part in (char, *[""] * (_cells_of(char) - 1))]
        if column < 0:
            chars, column = chars[-column:], 0
        chars = chars[:max(len(self._chars) - column, 0)]
        end = column + len(chars)
        if end < len(self._chars) and not self._chars[end]:
            self._chars[end] = " "  # the second half of a wide character whose first is written over
        if chars and not self._chars[column]:
            self._chars[column - 1] = " "
        self._chars[column:end] = chars
        self._roles[column:end] = [role] * len(chars)

    def spans(self) -> Line:
        """Return the line, neighbours of one role joined."""
        chars, roles = self._chars, self._roles
        result: list[Span] = []
        start = 0
        for column in range(1, len(roles) + 1):
            if column == len(roles) or roles[column] != roles[start]:
                result.append(Span("".join(chars[start:column]), roles[start]))
                start = column
        return tuple(result)
