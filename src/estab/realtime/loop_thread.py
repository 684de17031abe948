"""``LoopThread``: a thread that runs a host's loop while no program's thread runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from estab.realtime.real import RealTime
from estab.realtime.sleep import Sleep
from estab.units import NEVER

__all__ = ["LoopThread"]

_PARK_S: Final = 0.002
"""How long no program must have waited before this thread runs the loop again."""


class LoopThread:
    """Runs the loop of a host whose device has a descriptor or none. ``start`` calls ``run`` in a thread of its own.

    It runs the loop only while no program waits: a program that waits runs the loop in the program's own thread
    (``RealTime.wait``), which saves two switches between threads for each answer.
    """

    def __init__(self, runtime: RealTime) -> None:
        self._runtime = runtime
        self._sleep = runtime.sleeping = Sleep(runtime.device.fileno())
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._at_end: Callable[[], None] | None = None
        self.failure: BaseException | None = None
        """The exception that ended ``run``, if one did."""
        runtime.wake_loop = self._sleep.wake
        runtime.device.open(self._sleep.wake)

    @property
    def is_running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def start(self) -> None:
        """Start the thread. It does not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_guarded, name=f"estab-{self._runtime.name}", daemon=True)
            self._thread.start()

    def _run_guarded(self) -> None:
        try:
            self.run()
        except BaseException as failure:
            self.failure = failure
            raise
        finally:
            if self._at_end is not None:
                self._sleep.close()
                self._at_end()

    def run(self) -> None:
        """Run the loop until ``stop`` is called."""
        runtime = self._runtime
        program_loops = -1
        while not self._is_stopping:
            if not runtime.take_loop(program_loops):
                program_loops = runtime.program_loops
                runtime.park(_PARK_S)
                continue
            try:
                self._run_loop()
            finally:
                program_loops = runtime.program_loops
                runtime.end_loop()

    def _run_loop(self) -> None:
        runtime, sleep = self._runtime, self._sleep
        while not self._is_stopping and not runtime.loop.is_wanted:
            sleep.run(runtime.loop, NEVER, begins_asleep=False, yields=True)
            if sleep.is_device_gone:
                runtime.lose_device()

    def stop(self) -> None:
        """End ``run``, and wait for the thread."""
        self._is_stopping = True
        self._runtime.end()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def abandon(self, at_end: Callable[[], None]) -> None:
        """Stop without waiting for the thread, which calls ``at_end`` when it ends. For use in a garbage collection."""
        self._at_end = at_end
        self._is_stopping = True
        self._runtime.end()

    def close(self) -> None:
        """Stop, and close the descriptors of the sleep."""
        self.stop()
        self._sleep.close()
