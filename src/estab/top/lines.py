"""Writes lines of a given width: the table, its heads, sparklines, and a socket in detail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from estab.doctor.finding import Report
from estab.doctor.table import info_text, timer_text
from estab.doctor.tell import tell
from estab.observe.text import Line, Span, clip, wrapped
from estab.top.board import Entry, Sample, View
from estab.top.order import COLUMNS, Column, short
from estab.units import format_bytes, format_count

__all__ = ["clip_end", "detail", "heads", "layout", "overview", "row_line", "sparkline"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_OPTIONAL: Final = ("again", "sendq", "recvq", "rtt", "local", "out")
"""What a narrow terminal does without, in this order."""
_END_MAX: Final = 47
"""``[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535``."""
_SPARK: Final = 16
_LABEL: Final = 9
_ROLES: Final = {0: "", 1: "queue", 2: "lost"}


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the newest values, as many as fit, the newest at the right; the tallest is the largest of them."""
    shown = list(values)[-width:] if width > 0 else []
    most = max(shown, default=0)
    text = "".join(_BARS[min(7, round(value / most * 7))] if most > 0 else _BARS[0] for value in shown)
    return text.rjust(width)


def clip_end(text: str, width: int) -> str:
    """Shorten ``address:port`` to a width. The port stays, and the address's beginning."""
    if len(text) <= width:
        return text
    address, _, port = text.rpartition(":")
    room = width - len(port) - 2
    return f"{address[:room]}…:{port}" if room > 0 else clip(text, width)


def layout(width: int) -> list[tuple[Column, int]]:
    """Say which columns fit into a line, and how wide each is. The ends get what is left."""
    columns = list(COLUMNS.values())
    for name in _OPTIONAL:
        if _width(columns) <= width:
            break
        columns.remove(COLUMNS[name])
    left = max(0, width - _width(columns))
    if left >= 2 * 8 + _SPARK + 1:
        left -= _SPARK + 1
    found = []
    for column in columns:
        if column.name in ("local", "peer"):
            more = min(_END_MAX - column.width, left // 2 if column.name == "local" else left)
            left -= more
            found.append((column, column.width + more))
        else:
            found.append((column, column.width))
    return found


def _width(columns: Iterable[Column]) -> int:
    return sum(column.width + 1 for column in columns) - 1


def has_history(width: int) -> bool:
    """Tell whether lines of this width end with a sparkline."""
    return width - sum(size + 1 for _, size in layout(width)) >= _SPARK


def heads(width: int, sort: str, is_reversed: bool) -> Line:
    """Write the heads; the one that is sorted by has an arrow and a role of its own."""
    spans: list[Span] = []
    for column, size in layout(width):
        is_sorted = column.name == sort
        arrow = ("▲" if column.is_number == is_reversed else "▼") if is_sorted else ""
        head = column.head.strip()
        text = head[:size - len(arrow)] + arrow
        spans.append(Span(text.rjust(size) if column.is_number else text.ljust(size),
                          "state" if is_sorted else "label"))
        spans.append(Span(" "))
    if has_history(width):
        spans.append(Span("IN+OUT".rjust(_SPARK), "label"))
    else:
        spans.pop()
    return tuple(spans)


def row_line(entry: Entry, width: int) -> Line:
    """Write a socket's line."""
    spans: list[Span] = []
    for column, size in layout(width):
        text = column.text(entry)
        if column.name in ("local", "peer"):
            text = clip_end(text, size)
        role = _ROLES[entry.gravity] if column.name == "found" else _role(column.name, entry)
        spans.append(Span(clip(text.rjust(size) if column.is_number else text.ljust(size), size), role))
        spans.append(Span(" "))
    if has_history(width):
        spans.append(Span(sparkline([one.in_rate + one.out_rate for one in entry.history], _SPARK), "arrow"))
    return tuple(spans)


def _role(name: str, entry: Entry) -> str:
    if name == "state":
        return "state" if entry.gravity < 2 else "lost"
    if name == "again" and entry.now.again_rate > 0:
        return "again"
    if name == "recvq" and entry.row.is_listener and entry.row.recv_q > entry.row.send_q:
        return "lost"
    return ""


def overview(view: View, source: str, note: str, width: int) -> list[Line]:
    """Write two lines about everything."""
    parts = [format_count(view.connections, "connection"), format_count(view.listeners, "listener")]
    waiting, full = view.accept_queues
    if waiting:
        parts.append(f"{waiting:,} to accept" + (f", {full} full" if full else ""))
    if view.half_open:
        parts.append(f"{view.half_open:,} half open")
    if view.time_wait:
        parts.append(f"{view.time_wait:,} TIME-WAIT")
    if note:
        parts.append(note)
    first = clip(f"{source}: {', '.join(parts)}", width)
    room = max(4, min(20, (width - 54) // 2))
    history = view.history
    ins, outs = [one.in_rate for one in history], [one.out_rate for one in history]
    bad = sum(entry.gravity == 2 for entry in view.entries)
    spans = (
        Span("in ", "label"), Span(f"{short(view.total.in_rate) or '0':>5}B/s "), Span(sparkline(ins, room), "arrow"),
        Span("  out ", "label"), Span(f"{short(view.total.out_rate) or '0':>5}B/s "),
        Span(sparkline(outs, room), "arrow"), Span("  again ", "label"),
        Span(f"{short(view.total.again_rate) or '0'}/s", "again" if view.total.again_rate else ""),
        Span("  "), Span(f"{bad} bad" if bad else "none bad", "lost" if bad else "finding"),
    )
    return [(Span(first, "heading"),), spans]


def detail(entry: Entry, width: int, process: str = "") -> list[Line]:
    """Write a socket in detail: its ends, its history, the doctor's verdict, and all that is known of it."""
    lines: list[Line] = [(Span(f"{entry.local} > {entry.peer}", "heading"), Span("  "), Span(entry.state, "state"),
                          Span(f"  {process}" if process else "", "legend"))]
    history = entry.history
    lines.extend(_histories(entry, history, width))
    if entry.findings:
        report = Report("", findings=list(entry.findings))
        lines.extend(line for line in tell(report, width)[1:] if line)
    else:
        lines.append((Span("doctor".ljust(_LABEL), "label"), Span("finds nothing wrong with it", "finding")))
    text = " ".join(part for part in (timer_text(entry.row) if entry.row.timer else "", info_text(entry.row)) if part)
    for number, part in enumerate(wrapped(text, width - _LABEL) if text else []):
        lines.append((Span(("" if number else "ss").ljust(_LABEL), "label"), Span(part)))
    return lines


def _histories(entry: Entry, history: Sequence[Sample], width: int) -> list[Line]:
    if entry.row.is_listener:
        waiting = [float(one.recv_q) for one in history]
        return [(Span("accept".ljust(_LABEL), "label"),
                 Span(f"{entry.row.recv_q} of {entry.row.send_q} wait  "), Span(sparkline(waiting, 30), "queue"))]
    room = max(4, min(30, (width - 2 * (_LABEL + 13)) // 2))

    def cell(label: str, now: str, values: list[float], role: str = "arrow") -> tuple[Span, ...]:
        return Span(label.ljust(_LABEL), "label"), Span(f"{now:>10} "), Span(sparkline(values, room), role), Span("  ")

    return [
        (*cell("in", f"{short(entry.now.in_rate) or '0'}B/s", [one.in_rate for one in history]),
         *cell("out", f"{short(entry.now.out_rate) or '0'}B/s", [one.out_rate for one in history])),
        (*cell("rtt", f"{entry.now.rtt_us / 1000:.2f}ms", [float(one.rtt_us) for one in history], "timer"),
         *cell("again", f"{short(entry.now.again_rate) or '0'}/s", [one.again_rate for one in history], "again")),
        (*cell("recv-q", format_bytes(entry.row.recv_q), [float(one.recv_q) for one in history], "queue"),
         *cell("send-q", format_bytes(entry.row.send_q), [float(one.send_q) for one in history], "queue")),
    ]
