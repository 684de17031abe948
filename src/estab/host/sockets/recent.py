"""The connections that segments came for lately: the next segment is mostly for one of them.

To look into the table of all endpoints takes a key, a hash and a comparison, which together cost as much as parsing the
segment. So the last connection is tried first, and after it the one in the place that the segment's ports choose. A
connection is remembered when the table found it, and forgotten before it leaves the table.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.connection import Connection
from estab.wire.ip import Packet
from estab.wire.tcp import Segment

__all__ = ["Recent"]

_PLACES: Final = 256
"""A power of two."""


class Recent:
    """Connections of one host that are found by their ports and addresses, without a key."""

    def __init__(self) -> None:
        self._last: Connection | None = None
        self._src: bytes = b""
        self._dst: bytes = b""
        """Whose the last segment was, and its packet's addresses: the next one has the same objects (``ip.Ends``)."""
        self._places: list[Connection | None] = []
        """Made when two connections first take turns: most hosts of a lab never need it."""

    def find(self, packet: Packet, segment: Segment) -> Connection | None:
        """Return the connection that a segment is for, ``None`` if the table has to be asked."""
        last = self._last
        if (last is not None and i64(last.remote_port) == segment.sport and packet.src is self._src
                and i64(last.local_port) == segment.dport and packet.dst is self._dst):
            return last
        if not self._places:
            return None
        found = self._places[(segment.sport ^ segment.dport) & (_PLACES - 1)]
        if (found is not None and i64(found.remote_port) == segment.sport and i64(found.local_port) == segment.dport
                and found.remote == packet.src and found.local == packet.dst):
            self._last = found
            self._src = packet.src
            self._dst = packet.dst
            return found
        return None

    def remember(self, connection: Connection, packet: Packet) -> None:
        """Note that the table has ``connection`` for a packet."""
        if self._last is not None and not self._places:
            self._places = [None] * _PLACES
        if self._places:
            self._places[(connection.remote_port ^ connection.local_port) & (_PLACES - 1)] = connection
        self._last = connection
        self._src = packet.src
        self._dst = packet.dst

    def forget(self, connection: Connection) -> None:
        """Note that ``connection`` leaves the table."""
        if self._last is connection:
            self._last = None
        if self._places:
            place = (connection.remote_port ^ connection.local_port) & (_PLACES - 1)
            if self._places[place] is connection:
                self._places[place] = None
