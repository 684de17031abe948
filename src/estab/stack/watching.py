"""Captures that a stack writes while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from os import PathLike
from types import TracebackType
from typing import Final

from estab.observe.live import LiveCapture
from estab.realtime.real import RealTime

__all__ = ["CaptureFile"]

_LOG: Final = logging.getLogger("estab.stack")


class CaptureFile(AbstractContextManager["CaptureFile"]):
    """A pcapng file that is being written. ``close`` ends it; what is written already can be read at any time.

    If the disk is full, or ``bytes_max`` (0: no limit) reached, the capture ends and the stack goes on: ``ended`` says
    why, and ``on_end`` is called; without one, the log ``estab.stack`` says it.
    """

    def __init__(self, path: str | PathLike[str], runtime: RealTime, comment: str, *, bytes_max: int = 0,
                 on_end: Callable[[str], None] | None = None) -> None:
        if bytes_max < 0:
            raise ValueError(f"bytes_max: {bytes_max} is negative; it is the file's limit, 0 for none")
        self._path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._runtime = runtime
        self._capture = LiveCapture(self._file, time.time_ns() - time.monotonic_ns(), comment, bytes_max=bytes_max,
                                    on_end=on_end or self._log_end)
        self._observation = runtime.observe(self._capture)

    @property
    def frame_count(self) -> int:
        """How many frames were written."""
        return self._capture.frame_count

    @property
    def ended(self) -> str:
        """Why the capture ended by itself; ``""`` while it goes on."""
        return self._capture.ended

    def _log_end(self, why: str) -> None:
        _LOG.error("capture %s ended: %s", self._path, why)

    def flush(self) -> None:
        """Write to the file everything that was seen."""
        with self._runtime.lock:
            self._capture.flush()

    def close(self) -> None:
        """End the capture. Idempotent."""
        if self._file.closed:
            return
        self._observation()
        with self._runtime.lock:
            self._capture.close()
            try:
                self._file.close()
            except OSError:
                if not self._capture.ended:  # no room on the disk for what was buffered, and not reported yet
                    raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()
