"""Draws a ladder as lines of text, as wide as asked.

- Two hosts: time and state stand left and right of the lanes, each for its own host. More hosts, or less room: time
  stands left, states and all else beside their lane.
- ``×`` before the far lane: never arrived. ``×`` at the far lane: arrived and was dropped. ``═``: sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from estab.observe.ladder import Arrow, Ladder, Note, Row, Skip
from estab.observe.text import Canvas, Line, Span, cells, clip, flush_right, plain_text, wrapped
from estab.units import MS, SECOND

__all__ = ["WIDTH_MIN", "render", "render_plain"]

WIDTH_MIN: Final = 40
_SIDES_WIDTH: Final = 72
"""From this width on there is room for times and states on both sides of two lanes."""
_TIME: Final = 9
_STATE: Final = 12
_ORDINARY: Final = ("connection request", "connection accepted", "new data", "no more data", "acknowledgment")
"""Rules whose segments explain themselves."""
_NOTE_MARK: Final = {
    "call": "▸", "return": "◂", "timer": "◷", "queue": "▤", "error": "!", "drop": "×", "state": "●", "power": "⏻",
}


def render_plain(ladder: Ladder, width: int = 100) -> str:
    """Draw a ladder as plain text."""
    return "\n".join(plain_text(line) for line in render(ladder, width))


def render(ladder: Ladder, width: int = 100, say: Callable[[str], str] = str) -> list[Line]:
    """Draw a ladder; ``say`` translates its texts. Raises ``ValueError`` for a width below ``WIDTH_MIN``."""
    if width < WIDTH_MIN:
        raise ValueError(f"width: {width} is too narrow for a ladder; give {WIDTH_MIN} or more")
    return _Drawing(ladder, width, say).lines()


class _Drawing:
    def __init__(self, ladder: Ladder, width: int, say: Callable[[str], str]) -> None:
        self.ladder = ladder
        self.say = say
        self.width = width
        self.is_pair = len(ladder.lanes) == 2
        self.has_sides = self.is_pair and width >= _SIDES_WIDTH
        self.left = _TIME + 1 + (_STATE + 1 if self.has_sides else 0)
        self.right = self.left if self.has_sides else 0
        span = width - self.left - self.right
        count = max(len(ladder.lanes), 1)
        if self.is_pair:
            self.columns = [0, span - 1]
        else:
            self.columns = [index * (span - 1) // count for index in range(len(ladder.lanes))]
        self.span = span
        self.room = (span if self.is_pair else span // count) - 4
        self.unit = _unit(ladder.rows)
        self.told = set(_moments(ladder.rows)) if self.has_sides else set()

    def lines(self) -> list[Line]:
        result = [self._head()]
        for row in self.ladder.rows:
            if isinstance(row, Arrow):
                result.extend(self._arrow(row))
            elif isinstance(row, Note):
                result.extend(self._note(row))
            else:
                result.append(self._skip(row))
        return [*result, *self._legend()]

    # --- parts of a line

    def _head(self) -> Line:
        canvas = Canvas(self.width)
        time = flush_right(self.say(f"time/{self.unit[0]}"), _TIME)
        canvas.put(0, time, "time")
        if self.has_sides:
            canvas.put(self.width - _TIME, time, "time")
            left, right = (name or self.say("outside") for name in self.ladder.lanes)
            canvas.put(_TIME + 1, clip(left, self.span + _STATE), "host")
            right = clip(right, self.span + _STATE)
            canvas.put(self.width - _TIME - 1 - cells(right), right, "host")
        else:
            for column, name in zip(self.columns, self.ladder.lanes, strict=True):
                name = name or self.say("outside")
                canvas.put(min(self.left + column, self.width - cells(name)), name, "host")
        return canvas.spans()

    def _blank(self) -> Canvas:
        canvas = Canvas(self.width)
        for column in self.columns:
            canvas.put(self.left + column, "│", "lane")
        return canvas

    def _side(self, canvas: Canvas, host: str, at_ns: int | None, state: str) -> None:
        """Write time and state beside a lane; without sides only the time, at the left."""
        time = "" if at_ns is None else self._time(at_ns)
        if not self.has_sides:
            canvas.put(0, time.rjust(_TIME), "time")
        elif host == self.ladder.lanes[0]:
            canvas.put(0, time.rjust(_TIME), "time")
            canvas.put(_TIME + 1, state.ljust(_STATE), "state")
        else:
            canvas.put(self.width - self.right + 1, state.rjust(_STATE), "state")
            canvas.put(self.width - _TIME, time.rjust(_TIME), "time")

    def _time(self, at_ns: int) -> str:
        _, size, places = self.unit
        return f"{at_ns / size:.{places}f}"

    # --- rows

    def _arrow(self, arrow: Arrow) -> list[Line]:
        canvas = self._blank()
        start = self.columns[self.ladder.lanes.index(arrow.sender)]
        end = self.columns[self.ladder.lanes.index(arrow.receiver)]
        role = {"lost": "lost", "dropped": "dropped"}.get(arrow.fate, "again" if arrow.is_retransmission else "arrow")
        label = f"{arrow.tag} {arrow.label}" if arrow.tag else arrow.label
        room = abs(end - start) - 5
        free = room - 2 if arrow.is_crossing else room  # the mark stands in the shaft, not on the label
        label = _fitted(label, free)
        shaft = "═" if arrow.is_retransmission else "─"
        if end > start:
            inner = shaft * 2 + label + shaft * (room - len(label) + 1) + "▶"
            inner = _marked(inner, arrow, 2 + len(label))
            canvas.put(self.left + start + 1, inner, role)
        elif end < start:
            inner = "◀" + shaft * (room - len(label) + 1) + label + shaft * 2
            inner = _marked(inner[::-1], arrow, 2 + len(label))[::-1]
            canvas.put(self.left + end + 1, inner, role)
        else:
            canvas.put(self.left + start + 1, f"↺ {label}", role)
        self._side(canvas, arrow.receiver, arrow.received_ns if self.has_sides else None, arrow.receiver_state)
        self._side(canvas, arrow.sender, arrow.sent_ns, arrow.sender_state)
        lines = [canvas.spans()]
        for remark in _remarks(arrow, with_detail=self.is_pair):
            lines.extend(self._beside(arrow.sender, text, role) for text in wrapped(self.say(remark), self.room))
        return lines

    def _note(self, note: Note) -> list[Line]:
        if not note.host:
            canvas = Canvas(self.width)
            text = f" {self.say(note.text)} "
            canvas.put(self.left, "╌" * self.span, "link")
            canvas.put(self.left + (self.span - cells(text)) // 2, text, "link")
            canvas.put(0, self._time(note.at_ns).rjust(_TIME), "time")
            return [canvas.spans()]
        if note.kind == "state" and self.has_sides and (note.host, note.at_ns) in self.told:
            return []  # it stands beside what happened at that moment
        return [self._beside(note.host, f"{_NOTE_MARK[note.kind]} {self.say(note.text)}", note.kind, note)]

    def _beside(self, host: str, text: str, role: str, note: Note | None = None) -> Line:
        """Write a text next to its lane, inside the ladder: to the right of it, or to the left for the last of two."""
        canvas = self._blank()
        index = self.ladder.lanes.index(host)
        if self.is_pair and index == 1:
            text = clip(text, self.span - 4)
            canvas.put(self.left + self.columns[1] - 1 - cells(text), text, role)
        else:
            column = self.left + self.columns[index] + 2
            canvas.put(column, clip(text, self.width - column - self.right - 2), role)
        if note is not None:
            self._side(canvas, host, note.at_ns, note.state)
        return canvas.spans()

    def _skip(self, skip: Skip) -> Line:
        canvas = self._blank()
        text = f" ⋮ {self.say(skip.text)} "
        canvas.put(self.left + max((self.span - cells(text)) // 2, 2), text, "skip")
        if not self.has_sides:
            canvas.put(0, self._time(skip.until_ns).rjust(_TIME), "time")
        return canvas.spans()

    def _legend(self) -> list[Line]:
        arrows = [row for row in self.ladder.rows if isinstance(row, Arrow)]
        parts = []
        if any(arrow.fate == "lost" for arrow in arrows):
            parts.append("─× never arrived")
        if any(arrow.fate == "dropped" for arrow in arrows):
            parts.append("×│ arrived and was dropped")
        if any(arrow.is_retransmission for arrow in arrows):
            parts.append("═ sent again")
        if any(arrow.is_crossing for arrow in arrows):
            parts.append("⤨ passed each other on the way")
        lines = [""]
        for part in map(self.say, parts):
            if lines[-1] and self.left + cells(lines[-1]) + 3 + cells(part) > self.width:
                lines.append("")
            lines[-1] += ("   " if lines[-1] else "") + part
        return [(Span(" " * self.left), Span(line, "legend")) for line in lines if line]


def _fitted(label: str, room: int) -> str:
    """Leave out the window, then what else does not fit."""
    if len(label) > room:
        label = label.partition(" wnd=")[0]
    if len(label) > room:
        label = label.replace("seq=", "").replace("ack=", "").replace("len=", "")
    return clip(label, room)


def _marked(inner: str, arrow: Arrow, label_end: int) -> str:
    """Put the arrow's fate into its shaft, drawn from the sender's side."""
    if arrow.is_crossing:
        inner = inner[:-4] + "⤨" + inner[-3:]
    if arrow.fate == "dropped":
        return inner[:-1] + "×"
    if arrow.fate == "lost":
        stop = max(label_end + 1, len(inner) * 3 // 4)
        return inner[:stop] + "×" + " " * (len(inner) - stop - 1)
    if arrow.fate == "under way":
        stop = max(label_end + 1, len(inner) * 3 // 4)
        return inner[:stop] + "…" + " " * (len(inner) - stop - 1)
    return inner


def _remarks(arrow: Arrow, *, with_detail: bool) -> list[str]:
    """Say under an arrow what is not plain from it: an unusual rule, a loss, a drop."""
    parts = []
    if arrow.why and arrow.why not in _ORDINARY:
        parts.append(arrow.why)
    if arrow.on_link:
        parts.append(arrow.on_link)
    if arrow.fate == "dropped":
        detail = f" ({arrow.detail})" if with_detail and arrow.detail else ""
        parts.append(f"dropped by {arrow.receiver}: {arrow.reason}{detail}")
    elif arrow.fate == "lost":
        parts.append(arrow.reason)
    elif arrow.fate == "under way":
        parts.append("still under way when the run ended")
    return parts


def _moments(rows: Sequence[Row]) -> Iterator[tuple[str, int]]:
    """Return host and time of all that shows a state beside it."""
    for row in rows:
        if isinstance(row, Arrow):
            yield row.sender, row.sent_ns
            if row.received_ns is not None:
                yield row.receiver, row.received_ns
        elif isinstance(row, Note) and row.kind in ("call", "return", "timer"):
            yield row.host, row.at_ns


def _unit(rows: Sequence[Row]) -> tuple[str, int, int]:
    """Choose the unit of the time columns by how long the run is: name, nanoseconds, decimals."""
    last = max((_last(row) for row in rows), default=0)
    if last >= 100 * SECOND:
        return ("s", SECOND, 2)
    if last >= 10 * SECOND:
        return ("s", SECOND, 3)
    return ("ms", MS, 2)


def _last(row: Row) -> int:
    if isinstance(row, Arrow):
        return max(row.sent_ns, row.received_ns or 0)
    return row.until_ns if isinstance(row, Skip) else row.at_ns
