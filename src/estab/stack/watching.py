"""Who watches a stack: observers that are told its facts, and captures that they write."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from os import PathLike
from types import TracebackType

from estab.events import Event, Observer
from estab.observe.live import LiveCapture
from estab.realtime.real import RealTime

__all__ = ["CaptureFile", "Observers"]


class Observers:
    """Everybody who is told the facts of one host. Without anybody the host builds none."""

    def __init__(self, runtime: RealTime) -> None:
        self._kernel = runtime
        self._all: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> None:
        """Tell one more from now on. It is told in the middle of the stack's work: it must be quick, and not raise."""
        self._set((*self._all, observer))

    def remove(self, observer: Observer) -> None:
        """Tell one no more. It may have been removed before."""
        self._set(tuple(other for other in self._all if other is not observer))

    def _set(self, observers: tuple[Observer, ...]) -> None:
        with self._kernel.lock:
            self._all = observers
            if len(observers) < 2:
                self._kernel.observe(observers[0] if observers else None)
                return

            def tell(event: Event) -> None:
                for observer in observers:
                    observer(event)

            self._kernel.observe(tell)


class CaptureFile(AbstractContextManager["CaptureFile"]):
    """A pcapng file that is being written. ``close`` ends it; what was written before can be read at any time."""

    def __init__(self, path: str | PathLike[str], runtime: RealTime, observers: Observers, comment: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._kernel = runtime
        self._observers = observers
        self._capture = LiveCapture(self._file, time.time_ns() - time.monotonic_ns(), comment)
        self._observer: Callable[[Event], None] = self._capture
        observers.add(self._observer)

    @property
    def frame_count(self) -> int:
        """How many frames were written."""
        return self._capture.frame_count

    def flush(self) -> None:
        """Have everything in the file that was seen."""
        with self._kernel.lock:
            self._capture.flush()

    def close(self) -> None:
        """End the capture. Idempotent."""
        if self._file.closed:
            return
        self._observers.remove(self._observer)
        with self._kernel.lock:
            self._capture.close()
            self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()
