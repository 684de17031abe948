"""The columns of a line: what each shows and sorts by; and filters, as users write them.

A filter is words; a line must match all of them:

- ``:443`` either port, ``10.0.0.1`` part of either address, ``close-wait`` a state (``estab``, ``listen`` …);
- ``rtt>50``, ``recvq>0``, ``out>=1M``, ``again>0``: a column compared with a number (``K``, ``M``, ``G`` are 1000s);
- ``bad``: the doctor says that something is wrong or slow; ``found``: it says anything; or a cause, ``path-silent``;
- ``!word``: not that.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from estab.doctor.causes import CAUSES
from estab.native.sockdiag import STATES
from estab.top.board import Entry

__all__ = ["COLUMNS", "Column", "Filter", "ordered", "short"]

_COMPARES: Final = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq}
_COMPARISON: Final = re.compile(r"([a-z]+)(>=|<=|>|<|=)([0-9.]+)([kmg]?)$")
_THOUSANDS: Final = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}
_STATE_WORDS: Final = {name.lower(): name for name in STATES}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in filters and ``--sort``, its head, how it is written, and what it sorts by."""

    name: str
    head: str
    width: int
    text: Callable[[Entry], str]
    value: Callable[[Entry], float | str]
    is_number: bool = True
    """Numbers stand at the right, and the largest comes first."""


def short(number: float) -> str:
    """Write a number in at most five characters: ``999``, ``1.2K``, ``123K``, ``4.5M``; nothing for 0."""
    if number <= 0:
        return ""
    for unit in ("", "K", "M", "G"):
        if number < 999.5:
            if not unit:
                return f"{number:.0f}" if number >= 1 else "<1"
            return f"{number:.1f}{unit}" if number < 9.95 else f"{number:.0f}{unit}"
        number /= 1000
    return f"{number:.0f}T"


def _milliseconds(us: int) -> str:
    ms = us / 1000
    if not us:
        return ""
    return f"{ms:.2f}" if ms < 9.995 else f"{ms:.1f}" if ms < 99.95 else f"{ms:.0f}"


def _queue(entry: Entry, number: int) -> str:
    """Write bytes of a connection short, and connections of a listener as they are."""
    return str(number) if entry.row.is_listener and 0 < number < 100_000 else short(number)


def _mark(entry: Entry) -> str:
    return " .!"[entry.gravity]


def _ms(entry: Entry) -> float:
    return entry.now.rtt_us / 1000


_ALL: Final = (
    Column("found", " ", 1, _mark, lambda one: one.gravity * 1e15 + one.now.in_rate + one.now.out_rate),
    Column("state", "STATE", 10, lambda one: one.state, lambda one: one.state, False),
    Column("local", "LOCAL", 14, lambda one: one.local, lambda one: one.local, False),
    Column("peer", "PEER", 15, lambda one: one.peer, lambda one: one.peer, False),
    Column("recvq", "RECVQ", 5, lambda one: _queue(one, one.row.recv_q), lambda one: one.row.recv_q),
    Column("sendq", "SENDQ", 5, lambda one: _queue(one, one.row.send_q), lambda one: one.row.send_q),
    Column("in", "IN/s", 5, lambda one: short(one.now.in_rate), lambda one: one.now.in_rate),
    Column("out", "OUT/s", 5, lambda one: short(one.now.out_rate), lambda one: one.now.out_rate),
    Column("rtt", "RTTms", 5, lambda one: _milliseconds(one.now.rtt_us), _ms),
    Column("again", "RTX/s", 5, lambda one: short(one.now.again_rate), lambda one: one.now.again_rate),
)
COLUMNS: Final = {column.name: column for column in _ALL}
"""By name, in the order in which they stand in a line."""


def ordered(entries: Iterable[Entry], name: str, is_reversed: bool = False) -> list[Entry]:
    """Sort by a column; those that are equal by traffic, then by their ends, so that lines don't jump."""
    column = COLUMNS[name]
    kept = sorted(entries, key=lambda one: (-(one.now.in_rate + one.now.out_rate), one.local, one.peer))
    return sorted(kept, key=column.value, reverse=column.is_number != is_reversed)


class Filter:
    """What to show. ``ValueError`` names the word that it does not understand."""

    def __init__(self, text: str = "") -> None:
        self.text = " ".join(text.split())
        self._tests = [_test(word) for word in self.text.lower().split()]

    def __call__(self, entry: Entry) -> bool:
        """Tell whether a line is shown."""
        return all(test(entry) for test in self._tests)


def _test(word: str) -> Callable[[Entry], bool]:
    if word.startswith("!") and len(word) > 1:
        inner = _test(word[1:])
        return lambda entry: not inner(entry)
    if word == "bad":
        return lambda entry: entry.gravity == 2
    if word == "found":
        return lambda entry: entry.gravity > 0
    if word in _STATE_WORDS:
        state = _STATE_WORDS[word]
        return lambda entry: entry.state == state
    if word in CAUSES:
        return lambda entry: any(finding.name == word for finding in entry.findings)
    if re.fullmatch(r":\d+", word):
        port = int(word[1:])
        return lambda entry: port in (entry.row.sport, entry.row.dport)
    if any(mark in word for mark in "<>="):
        return _comparison(word)
    return lambda entry: word in entry.local or word in entry.peer


def _comparison(word: str) -> Callable[[Entry], bool]:
    found = _COMPARISON.match(word)
    column = COLUMNS.get(found[1]) if found is not None else None
    if found is None or column is None or not column.is_number or column.name == "found":
        names = ", ".join(name for name, one in COLUMNS.items() if one.is_number and name != "found")
        raise ValueError(f"filter: {word!r} is no comparison; write it like rtt>50, with one of {names}")
    try:
        number = float(found[3]) * _THOUSANDS[found[4]]
    except ValueError:
        raise ValueError(f"filter: {found[3]!r} in {word!r} is no number") from None
    compare, value = _COMPARES[found[2]], column.value
    return lambda entry: bool(compare(float(value(entry)), number))
