"""From readings to tables: medians with least and most, ratios of readings of the same round, and the aims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

__all__ = ["METRICS", "Metric", "Reading", "absolute_table", "aims_table", "ratio_table"]


@dataclass(frozen=True)
class Metric:
    """One figure: the ``mode`` that it comes from, its ``field`` there, and which way is better."""

    key: str
    title: str
    mode: str
    field: str
    is_more_better: bool


METRICS: Final = (
    Metric("in", "bulk in, MB/s", "sink", "mb_per_s", is_more_better=True),
    Metric("out", "bulk out, MB/s", "source", "mb_per_s", is_more_better=True),
    Metric("in2", "bulk in, 2 connections, MB/s", "sink 2", "mb_per_s", is_more_better=True),
    Metric("out2", "bulk out, 2 connections, MB/s", "source 2", "mb_per_s", is_more_better=True),
    Metric("p50", "round trip p50, µs", "latency", "p50_us", is_more_better=False),
    Metric("p99", "round trip p99, µs", "latency", "p99_us", is_more_better=False),
    Metric("beside", "round trip p50 beside a bulk out, µs", "beside", "p50_us", is_more_better=False),
    Metric("conn1", "connections/s, 1 at a time", "connect 1", "per_s", is_more_better=True),
    Metric("conn32", "connections/s, 32 at once", "connect 32", "per_s", is_more_better=True),
    Metric("crowd", "connections/s beside 10,000 idle", "connect others", "per_s", is_more_better=True),
    Metric("idle", "bytes per idle connection", "idle", "bytes_per_connection", is_more_better=False),
    Metric("cpu-in", "its CPU, ms per MB in", "sink", "cpu_ms_per_mb", is_more_better=False),
    Metric("cpu-out", "its CPU, ms per MB out", "source", "cpu_ms_per_mb", is_more_better=False),
    Metric("cpu-in2", "its CPU, ms per MB in", "sink 2", "cpu_ms_per_mb", is_more_better=False),
    Metric("cpu-out2", "its CPU, ms per MB out", "source 2", "cpu_ms_per_mb", is_more_better=False),
    Metric("cpu-trip", "its CPU, µs per round trip", "latency", "cpu_us_each", is_more_better=False),
    Metric("cpu-conn", "its CPU, µs per connection", "connect 32", "cpu_us_each", is_more_better=False),
)


@dataclass(frozen=True)
class Reading:
    """What one run of the client said of one stack."""

    stack: str
    mode: str
    round: int
    result: dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """``subject``'s ``metric`` over ``peer``'s is to be at least, or at most, ``bound``."""

    metric: str
    subject: str
    peer: str
    bound: float


AIMS: Final = (
    Aim("in", "estab", "loopback", 0.5), Aim("in", "estab", "gvisor-gso", 1.0),
    Aim("out", "estab", "loopback", 0.4), Aim("out", "estab", "gvisor-gso", 1.0),
    Aim("conn1", "estab", "lwip", 0.8), Aim("conn32", "estab", "lwip", 0.8),
    Aim("p50", "estab", "lwip", 1.5),
    Aim("in", "estab-plain", "gvisor", 1.0), Aim("out", "estab-plain", "gvisor", 1.0),
)
IDLE_BYTES_MAX: Final = 1250
CROWD_SHARE_MIN: Final = 0.9


class Board:
    """All readings of a race, and the questions that tables ask."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        for reading in readings:
            for metric in METRICS:
                value = reading.result.get(metric.field)
                if metric.mode == reading.mode and value is not None:
                    self._values.setdefault((reading.stack, metric.key), {})[reading.round] = value

    def values(self, stack: str, key: str) -> list[float]:
        """Give a stack's readings of one figure, a round each."""
        return list(self._values.get((stack, key), {}).values())

    def ratios(self, subject: str, peer: str, key: str) -> list[float]:
        """Divide reading by reading, each by the one of the same round."""
        ours, theirs = self._values.get((subject, key), {}), self._values.get((peer, key), {})
        return [ours[number] / theirs[number] for number in sorted(ours.keys() & theirs.keys()) if theirs[number] > 0]


def spread(values: list[float]) -> str:
    """Write the median, and the least and the most where there are several."""
    if not values:
        return "–"
    text = number(median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Write three digits that matter."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


Rows = list[list[str]]


def absolute_table(board: Board, stacks: list[str]) -> Rows:
    """Every figure of every stack: median (least–most)."""
    rows = [["", *stacks]]
    for metric in METRICS:
        cells = [spread(board.values(stack, metric.key)) for stack in stacks]
        if any(cell != "–" for cell in cells):
            rows.append([metric.title, *cells])
    return rows


def ratio_table(board: Board, subject: str, stacks: list[str]) -> Rows:
    """How many times each other stack's figure ``subject``'s is: median (least–most) over the rounds."""
    peers = [stack for stack in stacks if stack != subject]
    rows = [[f"{subject} ÷", *peers]]
    for metric in METRICS:
        cells = [spread(board.ratios(subject, peer, metric.key)) for peer in peers]
        if any(cell != "–" for cell in cells):
            better = "more" if metric.is_more_better else "less"
            rows.append([f"{metric.title} ({better} is better)", *cells])
    return rows


def aims_table(board: Board) -> Rows:
    """What the project aims at, what came out, and whether that is it."""
    by_key = {metric.key: metric for metric in METRICS}
    rows = [["aim", "ratio", "reached"]]
    for aim in AIMS:
        ratios = board.ratios(aim.subject, aim.peer, aim.metric)
        metric = by_key[aim.metric]
        if ratios:
            is_reached = median(ratios) >= aim.bound if metric.is_more_better else median(ratios) <= aim.bound
            bound = "at least" if metric.is_more_better else "at most"
            rows.append([f"{metric.title}: {aim.subject}, {bound} {aim.bound:g} × {aim.peer}", spread(ratios),
                         "yes" if is_reached else "no"])
    for subject in ("estab", "estab-plain"):
        idle = board.values(subject, "idle")
        if idle:
            rows.append([f"an idle connection takes at most {IDLE_BYTES_MAX} bytes: {subject}",
                         f"{number(median(idle))} bytes", "yes" if median(idle) <= IDLE_BYTES_MAX else "no"])
    alone, crowd = board.values("estab", "conn1"), board.values("estab", "crowd")
    if alone and crowd:
        share = median(crowd) / median(alone)
        rows.append(["connections/s don't fall beside 10,000 idle ones", f"{number(share)} of those without",
                     "yes" if share >= CROWD_SHARE_MIN else "no"])
    return rows


def markdown(rows: Rows) -> str:
    """Write a table as Markdown, columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
