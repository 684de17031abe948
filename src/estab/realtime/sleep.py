"""``Sleep``: sleep until a device's descriptor is ready, a time comes, or another thread ends the sleep.

If the platform has ``poll``, one call waits for the descriptor and for a pipe, into which the other thread writes.
Without ``poll`` it waits for an event, and devices have no descriptors.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import Any, Final

from estab.host.drive.loop import Loop, WakeUp
from estab.units import MS, NEVER, SECOND

__all__ = ["Sleep"]

_SLEEP_NS_MAX: Final = 3600 * SECOND
_FINE_NS: Final = 2 * MS
_SELECT_FDS: Final = 1024
_poll: Final = getattr(select, "poll", None)
_select: Final = select.select
_monotonic_ns: Final = time.monotonic_ns
_IN: Final = 1
_OUT: Final = 4
_GONE: Final = 8 | 16 | 32
_FAILURES_MAX: Final = 16


class Sleep:
    """One thread sleeps at a time; any thread may wake it. ``fd`` is the device's descriptor, -1 if it has none."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._usual = (fd, _IN)
        self._wake_up = WakeUp()
        self._is_for_writing = False
        self._failures = 0
        self.is_device_gone = False
        """The device's descriptor reports only errors and is no longer polled."""
        self._event = threading.Event()
        self._ends = (-1, -1)
        self._closing = threading.RLock()
        self._waiting: Any = None
        if _poll is None:
            return
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        self._waiting = _poll()
        self._waiting.register(self._ends[0], _IN)
        if fd >= 0:
            self._waiting.register(fd, _IN)

    @property
    def wake_fd(self) -> int:
        """A descriptor: a byte written to it ends the sleep; -1 if the platform has none."""
        return self._ends[1]

    def run(self, loop: Loop, until_ns: int, *, begins_asleep: bool, yields: bool, os_fd: int = -1) -> bool:
        """Step a host and sleep, again and again, until the caller has something to do, at most until ``until_ns``.

        ``begins_asleep``: the first thing is the sleep. ``yields``: the run ends, too, if another thread wants to run
        the loop. Tells whether ``os_fd``, one more descriptor, is readable.
        """
        if self._waiting is not None and os_fd < 0:
            ready = loop.run(until_ns, begins_asleep, yields, self._wake_up, self._waiting.poll, self._usual)
            if ready:
                return self._look_at(ready, -1)
            return self.until(min(until_ns, loop.due_ns), loop.stepper.is_full)
        due_ns = loop.begin_sleep() if begins_asleep else loop.step()
        return due_ns > 0 and self.until(min(until_ns, due_ns), loop.stepper.is_full, os_fd)

    def until(self, due_ns: int, is_full: bool, os_fd: int = -1) -> bool:
        """Sleep, at most until ``due_ns``. ``is_full``: room to write on the device ends the sleep, too.

        Tells whether ``os_fd``, one more descriptor, is readable.
        """
        left_ns = due_ns - _monotonic_ns() if due_ns < NEVER else _SLEEP_NS_MAX
        self._wake_up.is_asleep = True
        try:
            if left_ns <= 0 or self._wake_up.is_requested:
                return False
            if self._waiting is None:
                self._event.wait(min(left_ns, _SLEEP_NS_MAX) / SECOND)
                self._event.clear()
                return False
            if os_fd >= 0 or left_ns < _FINE_NS or is_full != self._is_for_writing:
                return self._wait(min(left_ns, _SLEEP_NS_MAX), is_full, os_fd)
            ready = self._waiting.poll(-(-min(left_ns, _SLEEP_NS_MAX) // MS))
            if len(ready) == 1 and ready[0] == self._usual:
                self._failures = 0
            else:
                self._look_at(ready, -1)
            return False
        finally:
            self._wake_up.is_asleep = False
            self._wake_up.is_requested = False

    def wake(self) -> None:
        """End the sleep, or the next one. From any thread."""
        self._wake_up.is_requested = True
        if not self._wake_up.is_asleep:
            return
        if self._waiting is None:
            self._event.set()
            return
        with self._closing:  # this may come late: the descriptor's number must not belong to another file by then
            if self._ends[1] >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._ends[1], b"w")

    def close(self) -> None:
        """Release the pipe."""
        with self._closing:
            for end in self._ends:
                if end >= 0:
                    os.close(end)
            self._ends = (-1, -1)

    def _wait(self, left_ns: int, is_full: bool, os_fd: int) -> bool:
        if left_ns < _FINE_NS and max(self._fd, self._ends[0], os_fd) < _SELECT_FDS:
            return self._wait_finely(left_ns, is_full, os_fd)
        waiting = self._waiting
        if is_full != self._is_for_writing and not self.is_device_gone:
            self._is_for_writing = is_full
            waiting.modify(self._fd, _IN | (_OUT if is_full else 0))
        if os_fd >= 0:
            waiting.register(os_fd, _IN)
        try:
            return self._look_at(waiting.poll(-(-left_ns // MS)), os_fd)
        finally:
            if os_fd >= 0:
                waiting.unregister(os_fd)

    def _look_at(self, ready: list[tuple[int, int]], os_fd: int) -> bool:
        """Find what ended the sleep. Tells whether ``os_fd`` did."""
        is_os_ready = False
        for fd, bits in ready:
            if fd == self._ends[0]:
                self._empty()
            elif fd == os_fd:
                is_os_ready = True
            elif bits & _GONE and not bits & (_IN | _OUT):
                self._on_failure()
            else:
                self._failures = 0
        return is_os_ready

    def _wait_finely(self, left_ns: int, is_full: bool, os_fd: int) -> bool:
        """Do the same with ``select``: ``poll`` counts in milliseconds, and a paced connection needs microseconds."""
        readers = [self._ends[0]]
        is_link_there = self._fd >= 0 and not self.is_device_gone
        if is_link_there:
            readers.append(self._fd)
        if os_fd >= 0:
            readers.append(os_fd)
        ready = _select(readers, [self._fd] if is_full and is_link_there else [], [], left_ns / SECOND)[0]
        if self._ends[0] in ready:
            self._empty()
        return os_fd in ready

    def _empty(self) -> None:
        with self._closing:
            if self._ends[0] >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._ends[0], 4096)

    def _on_failure(self) -> None:
        """Stop polling a descriptor that stays broken, as when its device was deleted. A single error may pass."""
        self._failures += 1
        if self._failures >= _FAILURES_MAX:
            self.is_device_gone = True
            self._waiting.unregister(self._fd)
