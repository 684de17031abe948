"""How many endpoints of a host's table use each of its ports.

Nearly all endpoints of a server use one port, so the count of the port that was asked for last is at hand. It is put
back among the others, or forgotten if it is 0, when another port is asked for.
"""

from __future__ import annotations

from mypy_extensions import i64

__all__ = ["PortUsers"]


class PortUsers:
    """Counts of users by local port."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        """Those of all ports but the one at hand. None is 0."""
        self._port: i64 = -1
        self._users: i64 = 0

    def add(self, port: i64) -> None:
        """One more endpoint uses a port."""
        if port != self._port:
            self._take(port)
        self._users += 1

    def drop(self, port: i64) -> None:
        """One that ``add`` was told of does so no more."""
        if port != self._port:
            self._take(port)
        self._users -= 1

    def has(self, port: i64) -> bool:
        """Tell whether any endpoint uses a port."""
        if port == self._port:
            return self._users > 0
        return port in self._counts

    def as_dict(self) -> dict[int, int]:
        """Return the count of each port that is used."""
        counts = dict(self._counts)
        if self._users > 0:
            counts[self._port] = self._users
        return counts

    def _take(self, port: i64) -> None:
        """Put the count at hand back, and take that of another port."""
        if self._users > 0:
            self._counts[self._port] = self._users
        self._port = port
        self._users = self._counts.pop(port, 0)
