"""Captures that a stack writes while it runs."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from os import PathLike
from types import TracebackType

from estab.observe.live import LiveCapture
from estab.realtime.real import RealTime

__all__ = ["CaptureFile"]


class CaptureFile(AbstractContextManager["CaptureFile"]):
    """A pcapng file that is being written. ``close`` ends it; what was written before can be read at any time."""

    def __init__(self, path: str | PathLike[str], runtime: RealTime, comment: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._runtime = runtime
        self._capture = LiveCapture(self._file, time.time_ns() - time.monotonic_ns(), comment)
        self._observation = runtime.observe(self._capture)

    @property
    def frame_count(self) -> int:
        """How many frames were written."""
        return self._capture.frame_count

    def flush(self) -> None:
        """Have everything in the file that was seen."""
        with self._runtime.lock:
            self._capture.flush()

    def close(self) -> None:
        """End the capture. Idempotent."""
        if self._file.closed:
            return
        self._observation()
        with self._runtime.lock:
            self._capture.close()
            self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()
