"""``OnEventLoop``: the user's own asyncio event loop, of any kind, steps a host."""

from __future__ import annotations

import asyncio
import time

from estab.cpython import get_ident
from estab.realtime.real import RealTime
from estab.units import NEVER, SECOND

__all__ = ["OnEventLoop"]


class OnEventLoop:
    """Steps a host in an event loop's callbacks: if its device has a frame, a deadline comes, or a thread asks."""

    def __init__(self, runtime: RealTime, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._runtime = runtime
        self._fd = runtime.device.fileno()
        self._ident = get_ident()
        self._is_scheduled = False
        self._is_writing = False
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        runtime.wake_loop = self.wake
        runtime.driver = self._ident
        runtime.device.open(self.wake)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._step)
        self.wake()

    def wake(self) -> None:
        """Step the host soon. Any thread may call it."""
        if self._is_scheduled or self._is_closed:
            return
        self._is_scheduled = True
        if get_ident() == self._ident:
            self.loop.call_soon(self._step)
            return
        try:
            self.loop.call_soon_threadsafe(self._step)
        except RuntimeError:
            self._is_scheduled = False  # the loop is closed: nothing steps the host any more

    def _step(self) -> None:
        self._is_scheduled = False
        if self._is_closed:
            return
        runtime = self._runtime
        due_ns = runtime.step()
        if not due_ns:
            self.wake()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns < NEVER:
            self._timer = self.loop.call_later(max(0, due_ns - time.monotonic_ns()) / SECOND, self._step)
        if self._fd >= 0 and runtime.stepper.is_full != self._is_writing:
            self._is_writing = runtime.stepper.is_full
            if self._is_writing:
                self.loop.add_writer(self._fd, self._step)
            else:
                self.loop.remove_writer(self._fd)

    def close(self) -> None:
        """Stop stepping the host."""
        self._is_closed = True
        self._runtime.driver = 0
        self._runtime.end()
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
            if self._is_writing:
                self.loop.remove_writer(self._fd)
