"""Tables of numbers: what a report page is made from, whatever they were filled by.

- A table is columns of 64-bit integers, a row an event; words stand in a list per kind of word, and a column has their
  numbers. Times are nanoseconds, sizes bytes, sequence numbers relative (the SYN is 0); -1 is "not known".
- ``SCHEMA`` is the contract with the page (web/README.md): the page finds columns by name.
- Each table is in order of ``t``, but ``call`` and ``wait``, which are in order of their ends.
- Each has a bound, ``ROWS_MAX``; ``not_kept`` counts what came after, and the page says so.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["HELD", "NUMBER_MAX", "ROWS_MAX", "SCHEMA", "Band", "Conn", "Tables", "Way", "Words"]

ROWS_MAX: Final = 8_000_000
NUMBER_MAX: Final = 2**62
"""The largest number of a column: 146 years in nanoseconds."""
_WORDS_MAX: Final = 20_000
_HEADER_BYTES_MAX: Final = 4 * 1024 * 1024
"""First bytes of frames that are kept: what a page may carry of them."""

SCHEMA: Final[Mapping[str, tuple[str, ...]]] = {
    "frame": ("t", "way", "conn", "side", "wait", "fly", "seq", "ack", "len", "wnd", "flags", "why", "fate", "bits",
              "size", "from", "text", "call", "head"),
    "flow": ("t", "end", "una", "nxt", "wnd", "pipe"),
    "cc": ("t", "end", "cwnd", "ssthresh", "srtt", "rttvar", "rto", "pacing", "delivery", "ca", "retries", "timer",
           "due"),
    "buffer": ("t", "end", "send", "unsent", "sendmax", "unread", "ooo", "recvmax", "rcvwnd"),
    "rtt": ("t", "end", "sample"),
    "sack": ("t", "end", "left", "right"),
    "held": ("t", "end", "kind"),
    "state": ("t", "end", "state", "why"),
    "timer": ("t", "end", "what"),
    "cong": ("t", "end", "why"),
    "backlog": ("t", "listener", "queue", "depth", "limit", "what"),
    "queue": ("t", "way", "frames", "bytes"),
    "call": ("t", "until", "host", "fd", "name", "args", "result", "number"),
    "wait": ("t", "until", "host", "call", "what"),
    "note": ("t", "host", "end", "what"),
}
"""``end`` is 2 * connection + side; ``frame.fly`` is the time from leaving the queue to arriving or being lost, -1 for
a frame under way; ``frame.from`` the row of the frame that a router passed on here; ``frame.bits`` 1 for all sent
before, 2 for a copy, 4 for marked CE, 8 for damaged, 16 for held back; ``frame.head`` the bytes that are kept of it;
``cc.due`` the time until the armed timer runs out."""

HELD: Final = (
    "nothing to send", "handshake", "program not writing", "send buffer", "peer's window", "program not reading",
    "congestion window", "loss recovery", "pacing", "path dead", "waits for the timer", "Nagle's rule",
)
"""What holds a sender up: the numbers of ``held.kind``."""


def _bounded(value: int) -> int:
    """Keep a number within what a column holds: times in a capture may be any."""
    return max(-NUMBER_MAX, min(value, NUMBER_MAX))


class Words(dict[str, int]):
    """Words by number, in order of first use. Number 0 is no word; past a bound every new word is "…"."""

    def __init__(self) -> None:
        super().__init__({"": 0})

    def number(self, word: str) -> int:
        """Return the number of a word."""
        found = self.get(word)
        if found is None:
            if len(self) >= _WORDS_MAX and word != "…":
                return self.number("…")
            found = self[word] = len(self)
        return found


@dataclass(slots=True)
class Way:
    """One direction of a link: from a host (``source``) to a host, -1 if that is not known."""

    link: str
    source: int
    target: int = -1
    interface: str = ""
    conditions: dict[str, float] = field(default_factory=dict)
    """As they were at the end."""


@dataclass(slots=True)
class Band:
    """Weather: a cut, which lasts, or a change of a link or host, whose two times are one. -1: it still lasts."""

    link: str
    text: str
    from_ns: int
    until_ns: int


@dataclass(slots=True)
class Conn:
    """A connection. Side 0 is the end that opened it, as far as that is known; ``hosts`` are -1 if not known."""

    number: int
    names: tuple[str, str]
    hosts: list[int]
    since_ns: int
    until_ns: int = 0
    is_over: bool = False
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    """How far each side's text got, repeats left out."""
    frames: int = 0
    ways: set[int] = field(default_factory=set)

    def count(self, side: int, seq: int, length: int) -> None:
        """Count a segment's text, whose number is relative. A FIN is none."""
        if length:
            self.bytes[side] = max(self.bytes[side], seq + length - 1)


class Tables:
    """The columns of one run, with the names that their numbers stand for."""

    def __init__(self, *, has_payload: bool = False) -> None:
        self.columns: dict[str, dict[str, array[int]]] = {
            table: {name: array("q") for name in names} for table, names in SCHEMA.items()
        }
        self._cells = {table: list(columns.values()) for table, columns in self.columns.items()}
        self.words = {kind: Words() for kind in (
            "flags", "why", "fate", "text", "state", "what", "name", "args", "result", "note", "queue", "timer", "ca",
        )}
        self.hosts: list[str] = []
        self.switches: set[int] = set()
        """Which of the hosts are none: they have no interfaces, and pass frames on as they are."""
        self.ways: list[Way] = []
        self.conns: list[Conn] = []
        self.listeners: list[tuple[int, str]] = []
        self.bands: list[Band] = []
        self.sampled: dict[int, int] = {}
        """Ends whose TCP is a kernel's, and how often (nanoseconds) it was asked: their rows are samples."""
        self.missing: list[str] = []
        """What is not known of this run, and why: the page says it."""
        self.heads = bytearray()
        self.has_payload = has_payload
        self.not_kept = 0
        self.heads_not_kept = 0
        self.begin_ns = -1
        self.origin_ns = 0
        """The time, by the facts' clock, from which the page counts."""
        self.epoch_ns = 0
        """What is added to the facts' clock for nanoseconds since 1970; 0 for virtual time."""
        self.is_capture = False
        self.end_ns = 0
        self._hosts: dict[str, int] = {}
        self._conns: dict[tuple[str, str], Conn] = {}

    def add(self, table: str, *values: int) -> int:
        """Add a row. Returns its number, -1 if there is no room."""
        cells = self._cells[table]
        number = len(cells[0])
        if number >= ROWS_MAX:
            self.not_kept += 1
            return -1
        try:
            for cell, value in zip(cells, values, strict=True):
                cell.append(value)
        except OverflowError:
            for cell, value in zip(cells, values, strict=True):
                del cell[number:]
                cell.append(_bounded(value))
        return number

    def put(self, table: str, *values: int) -> None:
        """Add a row of an end's state, in place of one of the same end at the same time."""
        cells = self._cells[table]
        if cells[0] and cells[0][-1] == values[0] and cells[1][-1] == values[1]:
            try:
                for cell, value in zip(cells, values, strict=True):
                    cell[-1] = value
            except OverflowError:
                for cell, value in zip(cells, values, strict=True):
                    cell[-1] = _bounded(value)
        else:
            self.add(table, *values)

    def count(self, table: str) -> int:
        """Count the rows of a table."""
        return len(self._cells[table][0])

    def word(self, kind: str, word: str) -> int:
        """Return a word's number."""
        return self.words[kind].number(word)

    def host(self, name: str) -> int:
        """Return a host's number; -1 for no name."""
        if not name:
            return -1
        number = self._hosts.get(name)
        if number is None:
            number = self._hosts[name] = len(self.hosts)
            self.hosts.append(name)
        return number

    def seen(self, at_ns: int) -> None:
        """Note that something happened."""
        if self.begin_ns < 0:
            self.begin_ns = at_ns
        if at_ns > self.end_ns:
            self.end_ns = at_ns

    def find(self, near: str, far: str) -> tuple[Conn, int] | None:
        """Find the connection between two ends, and which side ``near`` is."""
        conn = self._conns.get((near, far) if near <= far else (far, near))
        if conn is None:
            return None
        return conn, 0 if conn.names[0] == near else 1

    def open(self, near: str, far: str, host: int, at_ns: int) -> tuple[Conn, int]:
        """Add a connection that ``near`` opens, or was seen of first."""
        conn = Conn(len(self.conns), (near, far), [host, -1], at_ns, at_ns)
        self.conns.append(conn)
        self._conns[(near, far) if near <= far else (far, near)] = conn
        return conn, 0

    def keep_head(self, data: bytes) -> int:
        """Keep a frame's first bytes. Returns how many."""
        if len(self.heads) + len(data) > _HEADER_BYTES_MAX:
            self.heads_not_kept += 1
            return 0
        self.heads += data
        return len(data)
