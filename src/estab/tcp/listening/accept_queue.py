"""The accept queue: connections that wait for ``accept()``, and what happens when it is full.

``backlog_policy`` says what the number given to ``listen()`` limits:

- ``accept`` (Linux): the accept queue holds backlog + 1; the half-open queue holds as many as backlog, too;
- ``sum`` (historic BSD): both together hold 3·backlog/2 + 1;
- ``syn``: the half-open queue holds backlog; the accept queue holds ``somaxconn``.

A full accept queue drops SYNs, and leaves completed entries half-open, to be tried again when the SYN-ACK is repeated.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.events import QueueChanged
from estab.tcp.connection import Connection
from estab.tcp.context import Context, Owner, endpoint_text
from estab.tcp.info import AcceptRow
from estab.tcp.listening import backlog

__all__ = ["AcceptQueue"]


class AcceptQueue:
    """The connections of one port that are established and not accepted yet."""

    def __init__(self, context: Context, local: bytes, port: i64) -> None:
        self.context = context
        self.local = local
        self.port = port
        self.owner: Owner | None = None
        self.backlog: i64 = 0
        self.waiting: i64 = 0
        """How many there are."""
        self._first: Connection | None = None
        """The one that is accepted next: mostly there is no other."""
        self._first_since_ns: i64 = 0
        """When it came."""
        self._others: list[Connection] = []
        """Those after it, from ``_head`` on."""
        self._since_ns: list[int] = []
        """When each of them came."""
        self._head: i64 = 0
        self.accept_drops: i64 = 0

    def name(self) -> str:
        """Write the listener as facts do: ``10.0.0.2:80>*``."""
        return f"{endpoint_text(self.local, self.port)}>*"

    def set_backlog(self, backlog: i64) -> None:
        """Change the limit, as a second ``listen()`` does. Entries already queued stay."""
        self.backlog = max(0, min(backlog, self.context.config.somaxconn))

    def accept_limit(self) -> i64:
        """Return how many established connections may wait for ``accept()``."""
        return backlog.accept_limit(self.context.config, self.backlog)

    def is_accept_queue_full(self) -> bool:
        """Tell whether another completed connection would not fit."""
        return self.waiting >= self.accept_limit()

    @property
    def ready(self) -> list[Connection]:
        """All that wait, in the order in which they are accepted."""
        first = self._first
        return [] if first is None else [first, *self._others[self._head :]]

    def _ready_since_ns(self) -> list[int]:
        """When each of them came."""
        return [] if self._first is None else [self._first_since_ns, *self._since_ns[self._head :]]

    def enqueue(self, connection: Connection, now_ns: i64) -> None:
        """Put a connection at the end; ``announce`` tells of it."""
        self.waiting += 1
        if self._first is None:
            self._first = connection
            self._first_since_ns = now_ns
        else:
            self._others.append(connection)
            self._since_ns.append(now_ns)

    def announce(self, connection: Connection, what: str) -> None:
        """Tell the program that a connection waits. ``what`` says to the observer how it came."""
        if self.context.observer is not None:
            self.tell_accept_queue(what, connection.remote, i64(connection.remote_port))
        self.context.wake(self.owner)

    def accept(self) -> Connection | None:
        """Take the oldest established connection, ``None`` if none waits. One that died while waiting is
        given, too.
        """
        connection = self._first
        if connection is None:
            return None
        self.waiting -= 1
        if self.waiting > 0:
            self._take_next()
        else:
            self._first = None
        if self.context.observer is not None:
            self.tell_accept_queue("taken", connection.remote, i64(connection.remote_port))
        return connection

    def _take_next(self) -> None:
        """Let the next one be the first."""
        self._first = self._others[self._head]
        self._first_since_ns = self._since_ns[self._head]
        self._head += 1
        count: i64 = len(self._others)
        if self._head == count or (self._head > 32 and 2 * self._head > count):
            del self._others[: self._head]
            del self._since_ns[: self._head]
            self._head = 0

    def clear(self) -> None:
        """Forget all that wait."""
        self.waiting = 0
        self._first = None
        self._others.clear()
        self._since_ns.clear()
        self._head = 0

    def count_overflow(self) -> None:
        """Count a SYN or a third segment that is ignored because the queue is full."""
        self.accept_drops += 1
        counters = self.context.counters
        counters.TcpExtListenOverflows += 1
        counters.TcpExtListenDrops += 1

    def accept_rows(self, now_ns: i64) -> tuple[AcceptRow, ...]:
        """Return the queue as it is now."""
        return tuple([
            AcceptRow(
                endpoint_text(child.remote, i64(child.remote_port)), now_ns - since_ns, child.unread_bytes(),
                child.is_fast_child(),
            )
            for child, since_ns in zip(self.ready, self._ready_since_ns(), strict=True)
        ])

    def tell_accept_queue(self, what: str, remote: bytes, remote_port: i64) -> None:
        """Tell the observer of a change."""
        context = self.context
        if context.observer is not None:
            context.tell(QueueChanged(
                context.now_ns, context.name, self.name(), "accept", self.waiting, self.accept_limit(), what,
                endpoint_text(remote, remote_port),
            ))
