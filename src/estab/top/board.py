"""What is shown: of each socket its rates between two readings, its history, and what the doctor finds.

- Rates are of the time between the last two readings. A socket that was not in the one before has none yet.
- The history of a socket is its last ``HISTORY`` readings, and goes with it. ``ENTRIES_MAX`` sockets have one.
- The doctor judges each two readings by its rules for live sockets, so a verdict is about now. It says for how long it
  has been so at every reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from estab.doctor.finding import GRAVE, Finding
from estab.doctor.live import Thresholds, judge_machine
from estab.doctor.machine import Machine, Reading
from estab.native.sockdiag import STATES, Row

__all__ = ["ENTRIES_MAX", "HISTORY", "Board", "Entry", "Key", "Sample", "View"]

HISTORY: Final = 60
ENTRIES_MAX: Final = 20_000
Key: TypeAlias = tuple[bytes, int, bytes, int]
"""What tells a socket from others: its ends."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A socket, or all of them, between two readings. Rates are a second."""

    in_rate: float = 0.0
    """Bytes received in order."""
    out_rate: float = 0.0
    """Bytes sent, repetitions too."""
    again_rate: float = 0.0
    """Segments sent again."""
    rtt_us: int = 0
    recv_q: int = 0
    send_q: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: a socket as it was read last, and what it did since the reading before."""

    row: Row
    local: str
    peer: str
    state: str
    now: Sample
    history: tuple[Sample, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def gravity(self) -> int:
        """2: something stops it or costs it time; 1: something limits it, or is to note; 0: nothing was found."""
        if any(one.cause.kind in GRAVE for one in self.findings):
            return 2
        return 1 if self.findings else 0


@dataclass(frozen=True, slots=True)
class View:
    """All sockets as of one reading. It does not change, so one thread may show it while another one reads."""

    entries: tuple[Entry, ...] = ()
    total: Sample = Sample()
    history: tuple[Sample, ...] = ()
    connections: int = 0
    listeners: int = 0
    half_open: int = 0
    time_wait: int = 0
    elapsed_s: float = 0.0

    def find(self, key: Key) -> Entry | None:
        """Find a socket."""
        return next((entry for entry in self.entries if entry.row.key == key), None)

    @property
    def accept_queues(self) -> tuple[int, int]:
        """How many connections wait for ``accept()`` on all listeners, and how many listeners are full."""
        listeners = [entry.row for entry in self.entries if entry.row.is_listener]
        return sum(row.recv_q for row in listeners), sum(row.recv_q > row.send_q for row in listeners)


class Board:
    """Takes readings, and makes of each what is shown."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        self.view = View()
        self._limits = limits or Thresholds()
        self._before: Reading | None = None
        self._known: dict[Key, Entry] = {}
        self._since: dict[tuple[str, str], float] = {}
        """From when on each finding was there at every reading."""

    def take(self, reading: Reading, sysctls: dict[str, str]) -> View:
        """Take the next reading."""
        before = self._before or Reading(reading.at_s)
        elapsed_s = reading.at_s - before.at_s
        older = {row.key: row for row in before.rows}
        findings = self._judge(before, reading, sysctls)
        entries = tuple(self._entry(row, older.get(row.key), elapsed_s, findings.get(row.name, ()))
                        for row in (*reading.listeners, *reading.rows))
        self._known = {entry.row.key: entry for entry in entries[:ENTRIES_MAX]}
        self._before = reading
        total = Sample(sum(entry.now.in_rate for entry in entries), sum(entry.now.out_rate for entry in entries),
                       sum(entry.now.again_rate for entry in entries))
        self.view = View(entries, total, (*self.view.history, total)[-HISTORY:],
                         len(reading.rows) + reading.skipped.count, len(reading.listeners),
                         sum(reading.half_open.values()), sum(reading.time_wait.values()), elapsed_s)
        return self.view

    def _entry(self, row: Row, before: Row | None, elapsed_s: float, findings: tuple[Finding, ...]) -> Entry:
        now = _sample(row, before, elapsed_s)
        old = self._known.get(row.key)
        if old is None:
            return Entry(row, row.local, "*" if row.is_listener else row.peer, STATES[row.state], now, (now,), findings)
        return Entry(row, old.local, old.peer, STATES[row.state], now, (*old.history, now)[-HISTORY:], findings)

    def _judge(self, before: Reading, reading: Reading, sysctls: dict[str, str]) -> dict[str, tuple[Finding, ...]]:
        """Have the doctor look at the last two readings. Gives what it finds by the socket's name."""
        found: dict[str, tuple[Finding, ...]] = {}
        machine = Machine(before, reading, sysctls)
        since: dict[tuple[str, str], float] = {}
        for finding in sorted(judge_machine(machine, self._limits), key=lambda finding: finding.rank):
            name = finding.name, finding.subject
            since[name] = self._since.get(name, reading.at_s)
            held_s = reading.at_s - since[name]
            if held_s > -(finding.from_s or 0.0):
                finding.from_s = -held_s
            found[finding.subject] = (*found.get(finding.subject, ()), finding)
        self._since = since
        return found


def _sample(row: Row, before: Row | None, elapsed_s: float) -> Sample:
    info = row.info
    rtt_us = info.get("rtt", 0)
    if before is None or not before.info_bytes or not info or elapsed_s <= 0:
        return Sample(rtt_us=rtt_us, recv_q=row.recv_q, send_q=row.send_q)
    then = before.info

    def rate(name: str) -> float:
        # Another socket may have taken the same ports since: its counts begin anew.
        return max(0, info.get(name, 0) - then.get(name, 0)) / elapsed_s

    return Sample(rate("bytes_received"), rate("bytes_sent" if "bytes_sent" in info else "bytes_acked"),
                  rate("total_retrans"), rtt_us, row.recv_q, row.send_q)
