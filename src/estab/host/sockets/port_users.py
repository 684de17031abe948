"""How many endpoints of a host's table use each of its ports.

Nearly all endpoints of a server use one port, so the last one's count is at hand. A count that has come down to 0 is
forgotten as soon as another port is asked for.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

__all__ = ["PortUsers"]


@mypyc_attr(acyclic=True)
class _Count:
    def __init__(self, port: i64) -> None:
        self.port: i64 = port
        self.users: i64 = 0


class PortUsers:
    """Counts of users by local port."""

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}
        self._last: _Count = _Count(-1)

    def add(self, port: i64) -> None:
        """One more endpoint uses a port."""
        self._count_of(port).users += 1

    def drop(self, port: i64) -> None:
        """One that ``add`` was told of does so no more."""
        self._count_of(port).users -= 1

    def has(self, port: i64) -> bool:
        """Tell whether any endpoint uses a port."""
        count = self._counts.get(port)
        return count is not None and count.users > 0

    def as_dict(self) -> dict[int, int]:
        """Return the count of each port that is used."""
        return {port: count.users for port, count in self._counts.items() if count.users > 0}

    def _count_of(self, port: i64) -> _Count:
        count = self._last
        if count.port == port:
            return count
        if count.users == 0:
            self._counts.pop(count.port, None)
        found = self._counts.get(port)
        if found is None:
            found = _Count(port)
            self._counts[port] = found
        self._last = found
        return found
