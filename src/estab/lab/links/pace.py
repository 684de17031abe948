"""When a frame has left a link that may send only at certain times, as a mahimahi trace says."""

from __future__ import annotations

from estab.lab.record.traces import OPPORTUNITY_BYTES, Opportunities

__all__ = ["Pace"]


class Pace:
    """Which chances to send were used. What is left of one can be used by frames that wait at that moment."""

    def __init__(self) -> None:
        self._next = 0
        """The number of the first chance that was not begun."""
        self._at_ns = -1
        """When the last one was that was begun, and how much of it is left."""
        self._left_bytes = 0

    def done_ns(self, opportunities: Opportunities, size_bytes: int, now_ns: int) -> int:
        """Use as many chances as a frame needs from now on. Returns the time of the last one."""
        if now_ns == self._at_ns:
            used = min(self._left_bytes, size_bytes)
            self._left_bytes -= used
            size_bytes -= used
            if size_bytes == 0:
                return now_ns
        first = opportunities.first_from(now_ns)
        if now_ns <= self._at_ns:
            first = max(first, self._next)
        count = -(-size_bytes // OPPORTUNITY_BYTES)
        self._next = first + count
        self._at_ns = opportunities.at(self._next - 1)
        self._left_bytes = count * OPPORTUNITY_BYTES - size_bytes
        return self._at_ns
