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


_RING_MIN: Final = 8
_RING_KEPT: Final = 1024
"""A ring that has grown beyond so many places is released once it is empty."""


class Senders:
    """A queue. ``sent_bytes`` is what the first has sent since it became the first; whoever polls it counts that."""

    def __init__(self) -> None:
        self.first: Connection | None = None
        self.sent_bytes: i64 = 0
        self._others: list[Connection | None] = []
        """Those after the first, mostly none: a ring, whose size is a power of two."""
        self._head: i64 = 0
        self._count: i64 = 0

    def add(self, connection: Connection) -> None:
        """Put a connection at the end."""
        if self.first is None:
            self.first = connection
            return
        if self._count == len(self._others):
            self._grow()
        others = self._others
        others[(self._head + self._count) & (len(others) - 1)] = connection
        self._count += 1

    def drop_first(self) -> None:
        """Take the first away: it has nothing more to send."""
        self.sent_bytes = 0
        if self._count > 0:
            self._take_next()
        else:
            self.first = None

    def pass_on(self) -> None:
        """Put the first at the end."""
        self.sent_bytes = 0
        first = self.first
        if first is not None and self._count > 0:
            self.add(first)
            self._take_next()

    def _take_next(self) -> None:
        others = self._others
        head = self._head
        self.first = others[head]
        others[head] = None
        self._head = (head + 1) & (len(others) - 1)
        self._count -= 1
        if self._count == 0 and len(others) > _RING_KEPT:
            self._others = []
            self._head = 0

    def _grow(self) -> None:
        others = self._others
        nobody: list[Connection | None] = [None]
        self._others = others[self._head :] + others[: self._head] + nobody * max(len(others), _RING_MIN)
        self._head = 0
