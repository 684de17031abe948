"""The threads of a run stay on one CPU while it is driven.

Of all threads of a run one runs at a time, so another CPU gains nothing, and to wake a thread there costs more than
most steps do: a CPU that sleeps has to be woken, and finds nothing in its caches.

- A run stays where the kernel put its driver. Whenever the process got less of that CPU than it wanted, the kernel is
  asked again: it knows which CPU is idle, and other processes may have been put on this one.
- At the end of a run its driver may use all CPUs again that it could use before. Threads of programs run only during a
  run, and move to its CPU when they do. What programs ask is answered as though nothing were kept anywhere.
- Only Linux can do this. Elsewhere, and if the process may use only one CPU or may not choose, nothing is done.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final, Protocol

from estab.sockets.standin.stalls import nap, process_ns, real_ns
from estab.units import MS

__all__ = ["OneCpu"]

_CONTENDED: Final = 0.75
"""The share of the time below which the process has not had the CPU that it wanted."""
_LOOKED_AT_NS: Final = 50 * MS
_get = getattr(os, "sched_getaffinity", None)
_set = getattr(os, "sched_setaffinity", None)


def _find_current() -> object:
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):
        return None


_current = _find_current()


class Placed(Protocol):
    """A thread of a run: its number of the operating system's, and the CPU that it is kept on, -1 for none."""

    native_id: int
    cpu: int


class OneCpu:
    """Keeps the threads of one run on one CPU, between ``begin`` and ``end``."""

    _ran_ns = 0
    _used_ns = 0
    _is_contended = False
    """What runs of this process found so far, since the kernel was asked last."""
    _outer: set[int] | None = None
    """The CPUs that the outermost run's driver may use, for networks that its programs make."""

    def __init__(self) -> None:
        self.cpu = -1
        """Where threads of the run belong now; -1: anywhere."""
        self.all: set[int] = set()
        """The CPUs that the driver might use when the run began; none before the first run."""
        self._is_driver_free = True
        self._began_ns = self._began_used_ns = 0

    @property
    def allowed(self) -> set[int]:
        """The CPUs that programs are told they may use; none: not known."""
        return OneCpu._outer or self.all

    def begin(self) -> None:
        """Keep the calling thread, the driver, and all that it lets run on one CPU."""
        self.cpu = -1
        if _get is None or _set is None or not callable(_current):
            return
        self.all = _get(0)
        if len(self.all) < 2:
            return
        if OneCpu._is_contended:
            OneCpu._is_contended = False
            nap()  # the kernel wakes a thread on an idle CPU if there is one
        self._is_driver_free = False
        cpu = _current()
        if cpu in self.all and _move(0, {cpu}):
            self.cpu = cpu
            OneCpu._outer = self.all
            self._began_ns, self._began_used_ns = real_ns(), process_ns()

    def end(self) -> None:
        """Let the driver use all CPUs again that it could use before."""
        if self.cpu < 0:
            return
        self.cpu = -1
        OneCpu._outer = None
        if not self._is_driver_free:
            _move(0, self.all)
        OneCpu._ran_ns += real_ns() - self._began_ns
        OneCpu._used_ns += process_ns() - self._began_used_ns
        if OneCpu._ran_ns > _LOOKED_AT_NS:
            OneCpu._is_contended = OneCpu._used_ns < _CONTENDED * OneCpu._ran_ns
            OneCpu._ran_ns = OneCpu._used_ns = 0

    def bring(self, thread: Placed) -> None:
        """Move a thread to where those of the run are, before it runs."""
        thread.cpu = self.cpu
        if thread.native_id and self.all:
            _move(thread.native_id, {self.cpu} if self.cpu >= 0 else self.all)

    def free(self, thread: Placed) -> None:
        """Let a thread use all CPUs: the run has no power over it any more."""
        thread.cpu = -1
        if thread.native_id and self.all:
            _move(thread.native_id, self.all)

    def look(self, running: Placed | None) -> None:
        """Move the run if it does not get the CPU that it wants. The driver calls this from time to time."""
        if self.cpu < 0 or not callable(_current):
            return
        ran_ns, used_ns = real_ns(), process_ns()
        is_contended = used_ns - self._began_used_ns < _CONTENDED * (ran_ns - self._began_ns)
        self._began_ns, self._began_used_ns = ran_ns, used_ns
        if not self._is_driver_free:
            self._is_driver_free = _move(0, self.all)  # from now on the kernel chooses where it wakes
        elif is_contended and (cpu := _current()) in self.all:
            self.cpu = cpu
            if running is not None:
                self.bring(running)


def _move(native_id: int, cpus: set[int]) -> bool:
    """Let a thread run on these CPUs only. ``False``: the kernel does not allow it, or the thread has ended."""
    try:
        assert _set is not None
        _set(native_id, cpus)
    except OSError:
        return False
    return True
