"""CloseWaitWatch: which sockets stay in CLOSE-WAIT, for how long, and which line of code caused it.

CLOSE-WAIT is the one state of TCP that only the program can end: the peer has closed, and TCP waits for our ``close``
for as long as that takes, without any timer. So a socket that stays there is a program that did not read the end of
the stream, or read it and did not close. The watch looks at rows (the process's own sockets, or a host's of estab),
and ``tracing`` tells which of the two it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from estab.messages.end_trace import EndTrace
from estab.messages.exchange import peer_name
from estab.messages.facts import unread_bytes
from estab.units import SECOND, duration_ns, format_bytes, format_duration

__all__ = ["CloseWaitWatch", "Stuck", "process_rows"]


class Row(Protocol):
    """A socket as a table shows it. The rows of estab's ``host.sockets()`` are such."""

    @property
    def state(self) -> str:
        """``CLOSE-WAIT``, however it is written."""

    @property
    def local(self) -> str:
        """Our address and port."""

    @property
    def peer(self) -> str:
        """The peer's."""

    @property
    def fd(self) -> int:
        """The descriptor, -1 if the program has none."""

    @property
    def recv_q(self) -> int | None:
        """Bytes received and not read."""


class _ProcessRow(NamedTuple):
    state: str
    local: str
    peer: str
    fd: int
    recv_q: int | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A socket that has been in CLOSE-WAIT for too long."""

    local: str
    peer: str
    fd: int
    age_ns: int
    """For how long at least: since it was first seen so, or since its end of stream was read."""
    unread_bytes: int | None
    read_at: str
    """The line of the program that read the end of the stream: ``file:line in function``; empty if none has."""
    how: str
    """The same as a sentence; says so too if the trace does not know."""

    def __str__(self) -> str:
        unread = "" if self.unread_bytes is None else f", {format_bytes(self.unread_bytes)} unread"
        age = format_duration(self.age_ns)
        return f"{self.local} < {self.peer} (fd {self.fd}): in CLOSE-WAIT for {age}{unread}; {self.how}"


class CloseWaitWatch:
    """Names every socket that is in CLOSE-WAIT for longer than ``threshold``.

    ``source``: gives the rows to look at, each time anew; without it, those of this process, on Linux by psutil
    (``pip install estab[watch]``). For a host of estab: ``source=host.sockets, clock_ns=lambda: net.now_ns``.
    """

    def __init__(
        self, threshold: int | float | str = "10s", source: Callable[[], Iterable[Row]] | None = None, *,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        self.threshold_ns = duration_ns(threshold, "threshold")
        self._source = source or process_rows
        self._clock_ns = clock_ns or time.monotonic_ns
        self._since_ns: dict[tuple[str, str], int] = {}
        self._trace = EndTrace(self._clock_ns)
        self._lock = threading.Lock()

    def check(self) -> list[Stuck]:
        """Look at all sockets; return those over the threshold, the oldest first.

        A socket's age begins when a check first sees it, so check more often than the threshold is long.
        """
        with self._lock:
            now_ns = self._clock_ns()
            rows = [row for row in self._source() if row.state.upper().replace("_", "-") == "CLOSE-WAIT"]
            keys = {(row.local, row.peer) for row in rows}
            self._since_ns = {key: since_ns for key, since_ns in self._since_ns.items() if key in keys}
            stuck = []
            for row in rows:
                key = row.local, row.peer
                end = self._trace.find(*key)
                begun_ns = now_ns if end is None else min(now_ns, end.at_ns)
                age_ns = now_ns - min(self._since_ns.setdefault(key, begun_ns), begun_ns)
                if age_ns >= self.threshold_ns:
                    read_at = "" if end is None else end.where
                    stuck.append(Stuck(*key, row.fd, age_ns, row.recv_q, read_at, self._trace.explain(end)))
            self._trace.forget_all_but(keys)
            return sorted(stuck, key=lambda one: -one.age_ns)

    @contextmanager
    def tracing(self, *classes: type[Any]) -> Iterator[None]:
        """Note, in the block, which line of the program reads the end of which stream.

        Puts wrappers around the receiving methods of ``socket.socket``, ``ssl.SSLSocket``, asyncio's ``StreamReader``
        and of ``classes``, socket classes of another stack; each call costs a fraction of a microsecond more. They are
        taken off at the end of the block; two such blocks may be one inside the other, not overlap.
        """
        with self._trace.installed(classes):
            yield

    @contextmanager
    def watching(
        self, report: Callable[[Stuck], object], *, every: int | float | str = "1s", trace: bool = True
    ) -> Iterator[None]:
        """Check in a thread, during the block; ``report`` is called once for each socket that is over the threshold."""
        seconds = duration_ns(every, "every") / SECOND
        done = threading.Event()

        def run() -> None:
            told: set[tuple[str, str]] = set()
            while not done.wait(seconds):
                stuck = self.check()
                for one in stuck:
                    if (one.local, one.peer) not in told:
                        report(one)
                told = {(one.local, one.peer) for one in stuck}

        thread = threading.Thread(target=run, name="estab-close-wait", daemon=True)
        thread.start()
        try:
            if trace:
                with self.tracing():
                    yield
            else:
                yield
        finally:
            done.set()
            thread.join()


def process_rows() -> list[_ProcessRow]:
    """List the TCP sockets of this process that are in CLOSE-WAIT."""
    try:
        import psutil
    except ImportError as error:
        raise ImportError("watching this process's sockets needs psutil: pip install estab[watch]") from error
    return [
        _ProcessRow("CLOSE-WAIT", peer_name(conn.laddr), peer_name(conn.raddr), conn.fd, unread_bytes(conn.fd))
        for conn in psutil.Process().net_connections("tcp")
        if conn.status == psutil.CONN_CLOSE_WAIT
    ]
