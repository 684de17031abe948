"""The pump: who sleeps for a host until its device has a frame or a deadline comes, and then turns it.

``Pump`` is a thread around ``Lead.run``.
"""

from __future__ import annotations

import threading
from typing import Final

from estab.realtime.real import RealTime
from estab.realtime.sleep import Sleep
from estab.units import NEVER

__all__ = ["Pump"]

_PARK_S: Final = 0.002
"""How long no program must have waited before the pump leads again."""


class Pump:
    """Drives a host on a device with a descriptor or without. ``run`` is the loop; ``start`` runs it in a thread.

    It leads only while no program waits: a program that waits turns the host itself (``RealTime.wait``), which spares
    two switches between threads for each answer.
    """

    def __init__(self, runtime: RealTime) -> None:
        self._runtime = runtime
        self._sleep = runtime.bed = Sleep(runtime.device.fileno())
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        """What ended ``run``, where something did that nobody expected."""
        runtime.sleeper = self._sleep.wake
        runtime.device.open(self._sleep.wake)

    @property
    def is_running(self) -> bool:
        """Whether its thread was started."""
        return self._thread is not None

    def start(self) -> None:
        """Run in a thread of its own, which does not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_guarded, name=f"estab-{self._runtime.name}", daemon=True)
            self._thread.start()

    def _run_guarded(self) -> None:
        try:
            self.run()
        except BaseException as failure:
            self.failure = failure
            raise

    def run(self) -> None:
        """Turn the host until ``stop``."""
        runtime = self._runtime
        leads = -1
        while not self._is_stopping:
            if not runtime.take_lead(leads):
                leads = runtime.leads
                runtime.park(_PARK_S)
                continue
            try:
                self._lead()
            finally:
                leads = runtime.leads
                runtime.give_lead()

    def _lead(self) -> None:
        runtime, sleep = self._runtime, self._sleep
        while not self._is_stopping and not runtime.lead.is_wanted:
            sleep.lead(runtime.lead, NEVER, False, True)
            if sleep.is_device_gone:
                runtime.lose_device()

    def stop(self) -> None:
        """End ``run``, and wait for the thread."""
        self._is_stopping = True
        self._runtime.end()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def close(self) -> None:
        """Stop, and give back what the pump has of the operating system."""
        self.stop()
        self._sleep.close()
