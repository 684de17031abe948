"""``LoopPump``: a host driven by the user's own asyncio event loop, whichever that is."""

from __future__ import annotations

import asyncio
import time

from estab.cpython import get_ident
from estab.realtime.real import RealTime
from estab.units import NEVER, SECOND

__all__ = ["LoopPump"]


class LoopPump:
    """Turns a host whenever its device has something, a deadline comes, or another thread asks for it."""

    def __init__(self, runtime: RealTime, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._runtime = runtime
        self._fd = runtime.device.fileno()
        self._ident = get_ident()
        self._is_scheduled = False
        self._is_writing = False
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        runtime.sleeper = self.wake
        runtime.driver = self._ident
        runtime.device.open(self.wake)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._turn)
        self.wake()

    def wake(self) -> None:
        """Have the host turned soon. From any thread."""
        if self._is_scheduled or self._is_closed:
            return
        self._is_scheduled = True
        if get_ident() == self._ident:
            self.loop.call_soon(self._turn)
            return
        try:
            self.loop.call_soon_threadsafe(self._turn)
        except RuntimeError:
            self._is_scheduled = False  # the loop was closed: nobody will turn the host again

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._is_closed:
            return
        runtime = self._runtime
        due_ns = runtime.turn_once()
        if not due_ns:
            self.wake()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns < NEVER:
            self._timer = self.loop.call_later(max(0, due_ns - time.monotonic_ns()) / SECOND, self._turn)
        if self._fd >= 0 and runtime.turn.is_full != self._is_writing:
            self._is_writing = runtime.turn.is_full
            if self._is_writing:
                self.loop.add_writer(self._fd, self._turn)
            else:
                self.loop.remove_writer(self._fd)

    def close(self) -> None:
        """Turn it no more."""
        self._is_closed = True
        self._runtime.driver = 0
        self._runtime.end()
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
            if self._is_writing:
                self.loop.remove_writer(self._fd)
