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
from estab.tcp.ring import Ring

__all__ = ["SHARE_BYTES", "Senders"]

SHARE_BYTES: Final = 131_072
"""Two super-segments, which is what Linux lets one connection leave with a device at least (TCP small queues)."""


class Senders:
    """A queue. ``sent_bytes`` is what the first has sent since it became the first; whoever polls it counts that."""

    def __init__(self) -> None:
        self.sent_bytes: i64 = 0
        self._ring: Ring[Connection] = Ring()

    @property
    def first(self) -> Connection | None:
        """The one that is polled next."""
        return self._ring.first

    def add(self, connection: Connection) -> None:
        """Put a connection at the end."""
        self._ring.add(connection)

    def drop_first(self) -> None:
        """Take the first away: it has nothing more to send."""
        self.sent_bytes = 0
        self._ring.drop_first()

    def pass_on(self) -> None:
        """Put the first at the end."""
        self.sent_bytes = 0
        first = self._ring.first
        if first is not None and self._ring.has_others():
            self._ring.drop_first()
            self._ring.add(first)
