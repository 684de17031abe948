"""What a program does again and again: servers that only poll keep no run going. Compiled with the core."""

from __future__ import annotations

from typing import Final

from estab.units import SECOND

__all__ = ["Habit"]

_IDLE_POLLS: Final = 10
_IDLE_NS: Final = 10 * SECOND
_LONG_NS: Final = 60 * SECOND
_LONG_POLLS: Final = 2
_MIXED_POLLS: Final = 20
_SAME_TIME_NS: Final = 1000


class Habit:
    """Notices a server that only polls: it waits for callers, time and again, and does nothing between.

    It is idle after ten waits of the same length and ten seconds; after three, if each lasts a minute or more; after
    twenty waits of any lengths and a minute, for a server with several timers. A thread that only sleeps, beside one
    that waits for callers, needs the minute.
    """

    __slots__ = ("_began_ns", "_ended_ns", "_inputs", "_lasted_ns", "_mixed_began_ns", "_mixed_times", "_times")

    def __init__(self) -> None:
        self._times = 0
        self._mixed_times = 0
        self._began_ns = 0
        self._mixed_began_ns = 0
        self._ended_ns = -1
        self._lasted_ns = 0
        self._inputs = 0

    @property
    def is_idle(self) -> bool:
        """Whether it has done so often and long enough."""
        polled_ns = self._ended_ns - self._began_ns
        if self._times >= _IDLE_POLLS and polled_ns >= _IDLE_NS:
            return True
        if self._times >= _LONG_POLLS and self._lasted_ns >= _LONG_NS:
            return True
        return self._mixed_times >= _MIXED_POLLS and self._ended_ns - self._mixed_began_ns >= _LONG_NS

    def timed_out(self, started_ns: int, ended_ns: int, inputs: int, *, is_beside: bool = False) -> None:
        """Note a wait for callers that came to nothing. ``inputs`` counts what happened on its host so far.

        ``is_beside``: it slept, and another thread of its program waits for callers.
        """
        lasted_ns = ended_ns - started_ns
        is_next = started_ns == self._ended_ns and inputs == self._inputs
        if is_next:
            self._mixed_times += 1
        else:
            self._mixed_times, self._mixed_began_ns = 0, started_ns
        if is_next and abs(lasted_ns - self._lasted_ns) < _SAME_TIME_NS and not (is_beside and lasted_ns < _LONG_NS):
            self._times += 1
        else:
            self._times, self._began_ns = 0, started_ns
        self._ended_ns, self._lasted_ns, self._inputs = ended_ns, lasted_ns, inputs

    def broken(self) -> None:
        """Note that it waited for something else, or that something came."""
        self._times = self._mixed_times = 0
        self._ended_ns = -1
