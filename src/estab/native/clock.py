"""``RealClock``: a network's time is the machine's monotonic clock, and descriptors of the system are waited for.

- ``now_ns`` begins at 0 when the clock is made. It goes on while nothing runs the network; what comes due meanwhile is
  not counted as late.
- How late each entry of the agenda is carried out is counted in powers of two of a microsecond: ``lateness``.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from contextvars import Context
from typing import Final

from estab.units import MS, SECOND, US, format_duration

__all__ = ["Lateness", "RealClock"]

_TICK_SHARE: Final = 20
"""What is done at each tick may take one part in so many of the time; then ticks are fewer."""
_SLEEP_NS_MAX: Final = SECOND // 20
"""A sleeping thread looks so often whether the run was interrupted."""
_SELECT_FD_MAX: Final = 1024
_BUCKETS: Final = 32

# Inside of a program these names mean the host's, so what is the system's is taken here.
_monotonic_ns: Final = time.monotonic_ns
_time_ns: Final = time.time_ns
_select: Final = select.select


class Lateness:
    """How late what was due was carried out."""

    def __init__(self) -> None:
        self.count = 0
        self.worst_ns = 0
        self._buckets = [0] * _BUCKETS

    def add(self, late_ns: int) -> None:
        """Count one entry."""
        self.count += 1
        self.worst_ns = max(self.worst_ns, late_ns)
        self._buckets[min((late_ns // US).bit_length(), _BUCKETS - 1)] += 1

    def share_ns(self, share: float) -> int:
        """Give a bound that ``share`` of all entries kept: a power of two of a microsecond, or the worst."""
        wanted, seen = share * self.count, 0
        for number, bucket in enumerate(self._buckets):
            seen += bucket
            if seen >= wanted:
                return min(US << number, self.worst_ns)
        return self.worst_ns

    def over(self, bound_ns: int) -> int:
        """Count the entries that surely were later than ``bound_ns``."""
        first = (bound_ns // US).bit_length() + 1
        return sum(self._buckets[first:]) + (self.worst_ns > bound_ns and not any(self._buckets[first:]))

    def __str__(self) -> str:
        if not self.count:
            return "nothing was due"
        return (f"{self.count} things were due; half of them within {format_duration(self.share_ns(0.5))} of their "
                f"time, 99 % within {format_duration(self.share_ns(0.99))}, the latest "
                f"{format_duration(self.worst_ns)} late")


class RealClock:
    """The machine's clock, and its descriptors."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError("Network(clock=\"real\") needs Linux: hosts of the kernel are its network namespaces")
        self._began_ns = _monotonic_ns()
        self.began_wall_ns = _time_ns()
        """What the machine's calendar said when the clock was made."""
        self.on_begin: Callable[[], None] = _nothing
        """Called before each run."""
        self.on_tick: Callable[[], None] = _nothing
        """Called every ``tick_ns`` while the network runs, or less often if that takes long."""
        self.tick_ns = 100 * MS
        self._tick_due_ns = 0
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._counted_from_ns = 0
        self.lateness = Lateness()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the clock was made."""
        return _monotonic_ns() - self._began_ns

    @property
    def has_descriptors(self) -> bool:
        """Whether something may come from outside of the network."""
        return bool(self._callbacks)

    def begin(self) -> None:
        """Note that the network is run from now on."""
        self.on_begin()
        self._counted_from_ns = self.now_ns

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called while the network runs and ``fd`` is readable."""
        self._callbacks[fd] = callback
        self._poll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Look at a descriptor no more; call this before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def carried_out(self, due_ns: int) -> None:
        """Count an entry of the agenda that was due at ``due_ns`` and is carried out now."""
        self.lateness.add(max(0, self.now_ns - max(due_ns, self._counted_from_ns)))

    def look(self) -> bool:
        """Take what came on the descriptors, without waiting. ``False``: nothing did."""
        if self.now_ns >= self._tick_due_ns:
            self._tick()
        ready = self._poll.poll(0)
        for fd, _ in ready:
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback()
        return bool(ready)

    def _tick(self) -> None:
        began_ns = self.now_ns
        Context().run(self.on_tick)  # not as the program whose thread it is
        ended_ns = self.now_ns
        self._tick_due_ns = max(began_ns + self.tick_ns, ended_ns + _TICK_SHARE * (ended_ns - began_ns))

    def sleep(self, until_ns: int) -> None:
        """Sleep until a time or until something came, but not long: the caller looks whether it is to go on."""
        left_ns = min(min(until_ns, self._tick_due_ns) - self.now_ns, _SLEEP_NS_MAX)
        if left_ns <= 0:
            return
        fd = self._poll.fileno()
        if fd < _SELECT_FD_MAX:
            _select((fd,), (), (), left_ns / SECOND)  # epoll itself counts milliseconds
        else:
            self._poll.poll(left_ns / SECOND)

    def close(self) -> None:
        """Close the clock's own descriptor."""
        self._callbacks.clear()
        self._poll.close()


def _nothing() -> None: ...
