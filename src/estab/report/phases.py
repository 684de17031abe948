"""Who held a sender up in a capture: the doctor's phases of a transfer as rows of the table ``held``.

A capture has no windows and no buffers of the sender. What the doctor reads off the pauses between its segments is what
can be known; the page says where it is from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from estab.report.held import CWND, DEAD, NAGLE, NOT_READING, NOT_WRITING, PACING, PEER_WINDOW, RECOVERY, SEND_BUFFER
from estab.report.tables import Tables

__all__ = ["Hold", "add_phases"]

_KINDS: Final = {
    "application-limited": NOT_WRITING, "window-limited": PEER_WINDOW, "peer-not-reading": NOT_READING,
    "not-reading": NOT_READING, "congestion-limited": CWND, "send-buffer-limited": SEND_BUFFER, "loss": RECOVERY,
    "pacing-limited": PACING, "path-silent": DEAD, "mtu-black-hole": DEAD, "nagle-delayed-ack": NAGLE,
}
_SAID: Final = "What held a sender up is what the doctor reads off the pauses between its segments."


@dataclass(frozen=True, slots=True)
class Hold:
    """A phase: of what an end of ``subject`` sent (``side`` 0: the first one), on the page's clock."""

    subject: str
    side: int
    from_ns: int
    to_ns: int
    cause: str


def add_phases(tables: Tables, phases: Iterable[Hold]) -> None:
    """Add the phases of transfers, those of each transfer in order."""
    rows: list[tuple[int, int, int]] = []
    last: dict[int, int] = {}
    for phase in phases:
        near, _, far = phase.subject.partition(">")
        found = tables.find(near, far)
        if found is None or phase.cause not in _KINDS:
            continue
        end = 2 * found[0].number + (found[1] ^ phase.side)
        rows.append((phase.from_ns, end, _KINDS[phase.cause]))
        last[end] = phase.to_ns
    rows.extend((until_ns, end, 0) for end, until_ns in last.items())
    for row in sorted(rows, key=lambda row: row[0]):
        tables.put("held", *row)
    if rows:
        tables.missing.append(_SAID)
