"""Tables as bytes for the page: columns of small differences, cut into planes, in two gzips.

- The first gzip has the tables that a page needs to draw what is seen when it opens, the second all others and the
  bytes of the frames: to inflate all tables of a million frames takes longer than to draw the first views.
- A column says how it was made small: ``plain``; ``delta`` from the row above; ``by NAME``, from the last row with the
  same value there (``by end`` for what belongs to an end of a connection); ``plus NAME``, what it is more than that
  column; ``seq``, what it is more than the end of the same sender's last segment; ``back``, how many rows above.
- Each number is then zigzag (0, -1, 1, -2, …) and its bytes are planes: the lowest bytes of all rows, then the next
  ones. Planes of nothing but zeros at the top are left out. So gzip finds what repeats.
- A column depends on columns of its own table that come before it only.
"""

from __future__ import annotations

import gzip
import sys
from array import array
from collections.abc import Mapping, Sequence
from operator import sub
from typing import Any, Final

from estab.report.tables import SCHEMA

__all__ = ["Columns", "pack"]

Columns = Mapping[str, Mapping[str, Sequence[int]]]

_FIRST: Final = ("frame", "flow", "sack", "held", "state", "timer", "cong", "backlog", "queue", "note")

_BY_END: Final = ("una", "nxt", "wnd", "pipe", "cwnd", "ssthresh", "srtt", "rttvar", "rto", "pacing", "delivery", "due",
                  "send", "unsent", "sendmax", "unread", "ooo", "recvmax", "rcvwnd", "sample", "left", "right", "ack")
_MODES: Final = {
    "t": "delta", "until": "plus t", "wait": "by way", "fly": "by way", "seq": "seq", "size": "plus len",
    "from": "back", "call": "delta", "number": "delta", "frames": "by way", "bytes": "by way", "depth": "by listener",
    **dict.fromkeys(_BY_END, "by end"),
}


def pack(columns: Columns, heads: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what the page must know to read the tables, and their bytes."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    shape: dict[str, Any] = {}
    for table in (*_FIRST, *(other for other in SCHEMA if other not in _FIRST)):
        cells = dict(columns[table])
        if "conn" in cells:
            cells["end"] = [2 * conn + side for conn, side in zip(cells["conn"], cells["side"], strict=True)]
        kept = []
        for name in sorted(SCHEMA[table], key="seq".__eq__):  # it needs all others
            mode = "plain" if table == "wait" and name == "call" else _MODES.get(name, "plain")
            made = _planes(_small(cells, name, mode))
            parts[table not in _FIRST].extend(made)
            kept.append([name, mode, len(made)])
        shape[table] = {"rows": len(cells["t"]), "columns": kept}
    parts[1].append(heads)
    level = 9 if sum(len(plane) for part in parts for plane in part) < 8_000_000 else 6
    first, rest = (gzip.compress(b"".join(part), level, mtime=0) for part in parts)
    shape["first"] = {"tables": list(_FIRST), "bytes": len(first)}
    shape["heads"] = len(heads)
    return shape, first + rest


def _small(cells: Mapping[str, Sequence[int]], name: str, mode: str) -> Sequence[int]:
    """Write a column as small numbers."""
    column = cells[name]
    how, _, other = mode.partition(" ")
    if how == "delta":
        return array("q", map(sub, column, [0, *column[:-1]])) if len(column) else column
    if how == "plus":
        return array("q", map(sub, column, cells[other]))
    if how == "back":
        return array("q", [row - value if value >= 0 else 0 for row, value in enumerate(column)])
    if how == "by":
        return _by(column, cells[other])
    if how == "seq":
        return _by_sequence(column, cells["end"], cells["len"])
    return column


def _by(column: Sequence[int], keys: Sequence[int]) -> array[int]:
    last: dict[int, int] = {}
    small = array("q", bytes(8 * len(column)))
    for row, (key, value) in enumerate(zip(keys, column, strict=True)):
        small[row] = value - last.get(key, 0)
        last[key] = value
    return small


def _by_sequence(column: Sequence[int], ends: Sequence[int], lengths: Sequence[int]) -> array[int]:
    following: dict[int, int] = {}
    small = array("q", bytes(8 * len(column)))
    for row, (end, value, length) in enumerate(zip(ends, column, lengths, strict=True)):
        small[row] = value - following.get(end, 0)
        following[end] = value + length
    return small


def _planes(column: Sequence[int]) -> list[bytes]:
    """Cut numbers into planes of bytes, the lowest first."""
    zigzag = array("Q", [2 * value if value >= 0 else -2 * value - 1 for value in column])
    largest = max(zigzag, default=0)
    if sys.byteorder == "big":
        zigzag.byteswap()
    data = zigzag.tobytes()
    return [data[plane::8] for plane in range((largest.bit_length() + 7) // 8)]
