"""The connections of a host that may have something to send, in the order in which they are polled.

- The first is polled until it has nothing more to send, so what happened to one connection mostly leaves in one go.
- If others wait, it is polled only until ``SHARE_BYTES`` of text have left (fewer on a slow device). Then they come
  first, and it comes last. So an answer of a few bytes does not wait for the whole window of a bulk transfer, or, if
  acknowledgments keep that window open, for the transfer's end.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.connection import Connection

__all__ = ["SHARE_BYTES", "Senders"]

SHARE_BYTES: Final = 131_072
"""Two super-segments, which is what Linux lets one connection leave with a device at least (TCP small queues)."""
_GONE_MAX: Final = 64
"""So many places of the list that are used no more are kept."""


class Senders:
    """A queue. ``sent_bytes`` is what the first has sent since it became the first; whoever polls it counts that."""

    def __init__(self) -> None:
        self.first: Connection | None = None
        self.sent_bytes: i64 = 0
        self._others: list[Connection] = []
        """Those after the first, mostly none, from ``_head`` on."""
        self._head: i64 = 0

    def add(self, connection: Connection) -> None:
        """Put a connection at the end."""
        if self.first is None:
            self.first = connection
        else:
            self._others.append(connection)

    def drop_first(self) -> None:
        """Take the first away: it has nothing more to send."""
        self.sent_bytes = 0
        if self._head < len(self._others):
            self._take_next()
        else:
            self.first = None

    def pass_on(self) -> None:
        """Put the first at the end."""
        self.sent_bytes = 0
        first = self.first
        if first is not None and self._head < len(self._others):
            self._others.append(first)
            self._take_next()

    def _take_next(self) -> None:
        self.first = self._others[self._head]
        self._head += 1
        if self._head == len(self._others):
            self._others.clear()
            self._head = 0
        elif self._head >= _GONE_MAX:
            del self._others[: self._head]
            self._head = 0
