"""The pump: who sleeps for a host until its link has a frame or a deadline comes, and then turns it.

``drain`` is the lab's: it hands every frame to ``send``, every readiness event to ``tell``, and says when the host
wants to be woken next. ``Pump`` is the wire's: a thread around ``RealTime.turn_once``.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from estab.run.real import FRAMES_PER_TURN, RealTime
from estab.units import MS, NEVER, SECOND

if TYPE_CHECKING:
    from estab.host.host import Host
    from estab.host.interface import Outbound

__all__ = ["Pump", "drain"]

_SLEEP_NS_MAX: Final = 3600 * SECOND
_FINE_NS: Final = 2 * MS
_SELECT_FDS: Final = 1024


def drain(host: Host, now_ns: int, send: Callable[[Outbound], None], tell: Callable[[int, int], None]) -> int:
    """Take all frames and events that wait in ``host``. Returns its next deadline, ``NEVER`` where it has none."""
    while (outbound := host.poll_frame(now_ns)) is not None:
        send(outbound)
    while (event := host.poll_event()) is not None:
        tell(event[0], event[1])
    return host.next_deadline_ns()


class Pump:
    """Drives a host on a link with a descriptor or without. ``run`` is the loop; ``start`` runs it in a thread."""

    def __init__(self, kernel: RealTime) -> None:
        self._kernel = kernel
        self._sleep = _Sleep(kernel.link.fileno())
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        """What ended ``run``, where something did that nobody expected."""
        kernel.sleeper = self._sleep.wake
        kernel.link.open(self._sleep.wake)

    @property
    def is_running(self) -> bool:
        """Whether its thread was started."""
        return self._thread is not None

    def start(self) -> None:
        """Run in a thread of its own, which does not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_guarded, name=f"estab-{self._kernel.name}", daemon=True)
            self._thread.start()

    def _run_guarded(self) -> None:
        try:
            self.run()
        except BaseException as failure:
            self.failure = failure
            raise

    def run(self) -> None:
        """Turn the host until ``stop``."""
        kernel, sleep = self._kernel, self._sleep
        while not self._is_stopping:
            if kernel.turn_once() == FRAMES_PER_TURN:
                continue
            due_ns = kernel.fall_asleep()
            sleep.until(due_ns, kernel.turn.is_full)

    def stop(self) -> None:
        """End ``run``, and wait for the thread."""
        self._is_stopping = True
        self._sleep.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def close(self) -> None:
        """Stop, and give back what the pump has of the operating system."""
        self.stop()
        self._sleep.close()


class _Sleep:
    """Sleep until a descriptor is readable, a time comes, or ``wake`` is called from another thread.

    Without a descriptor (-1) that is a lock, which every platform has; else ``poll`` and a pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_awake = threading.Event()
        self._pipe = (-1, -1)
        if fd >= 0:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)
            self._poll = select.poll()
            self._poll.register(self._pipe[0], select.POLLIN)
            self._poll.register(fd, select.POLLIN)
            self._is_for_writing = False

    def until(self, due_ns: int, is_full: bool) -> None:
        """Sleep, at most until ``due_ns``. ``is_full``: room to write on the descriptor wakes it too."""
        left_ns = _SLEEP_NS_MAX if due_ns >= NEVER else min(due_ns - time.monotonic_ns(), _SLEEP_NS_MAX)
        if left_ns <= 0:
            return
        if self._fd < 0:
            self._is_awake.wait(left_ns / SECOND)
            self._is_awake.clear()
            return
        if left_ns < _FINE_NS and self._fd < _SELECT_FDS and self._pipe[0] < _SELECT_FDS:
            # poll() counts in milliseconds, and a paced connection in microseconds.
            writers = [self._fd] if is_full else []
            ready = select.select([self._fd, self._pipe[0]], writers, [], left_ns / SECOND)[0]
            is_woken = self._pipe[0] in ready
        else:
            if is_full != self._is_for_writing:
                self._is_for_writing = is_full
                self._poll.modify(self._fd, select.POLLIN | (select.POLLOUT if is_full else 0))
            is_woken = any(fd == self._pipe[0] for fd, _ in self._poll.poll(math.ceil(left_ns / MS)))
        if is_woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe[0], 4096)

    def wake(self) -> None:
        """End the sleep, or the next one."""
        if self._fd < 0:
            self._is_awake.set()
        elif self._pipe[1] >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._pipe[1], b"w")

    def close(self) -> None:
        """Give the pipe back."""
        for end in self._pipe:
            if end >= 0:
                os.close(end)
        self._pipe = (-1, -1)
