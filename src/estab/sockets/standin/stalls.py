"""What a thread does that neither waits in virtual time nor seems to compute, as the operating system reports it.

One program runs at a time, so a program that sleeps in real time, or waits for a lock that no program can release,
stops all others. These functions tell a watcher which of the two it is.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = ["cpu_ns", "is_alone", "is_in_debugger", "is_in_lock", "nap", "process_ns", "real_ns"]

_FUTEX: Final = {"x86_64": "202", "aarch64": "98", "riscv64": "98", "i686": "240", "armv7l": "240"}
_clock_id: Final = getattr(time, "pthread_getcpuclockid", None)
_clock_ns: Final = time.clock_gettime_ns if hasattr(time, "clock_gettime_ns") else None
real_ns: Final = time.monotonic_ns
"""Returns the machine's monotonic clock, for any caller."""
process_ns: Final = time.process_time_ns
"""Returns how much all threads of the process have computed."""
_sleep: Final = time.sleep
_NAP_S: Final = 0.00005
_machine: Final = platform.machine()


def cpu_ns(ident: int) -> int:
    """Tell how much a thread has computed; -1 if the platform does not say. The thread must be alive."""
    if _clock_id is None or _clock_ns is None:
        return -1
    return _clock_ns(_clock_id(ident))


def nap() -> None:
    """Sleep for a moment of real time, so that the operating system chooses anew where the thread runs."""
    _sleep(_NAP_S)


def is_in_lock(native_id: int) -> bool:
    """Tell whether a thread waits in the operating system for a lock. ``False`` if the platform does not say."""
    try:
        text = Path(f"/proc/self/task/{native_id}/syscall").read_text(encoding="ascii")
    except OSError:
        return False
    return text.partition(" ")[0] == _FUTEX.get(_machine)


def is_alone(known: set[int]) -> bool:
    """Tell whether the process has no threads but the caller's and those known. ``False`` if the platform is silent."""
    try:
        found = {int(name) for name in os.listdir("/proc/self/task")}
        own = threading.get_native_id()
    except (AttributeError, OSError, ValueError):
        return False
    return found <= known | {own}


def is_in_debugger(frame: FrameType | None) -> bool:
    """Tell whether a thread's frames are those of Python's debugger: then a person types, and that takes time."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("bdb", "pdb"):
            return True
        frame = frame.f_back
    return False
