"""The threads of a run stay on one CPU while it is driven, and none of them interrupts another.

Of all threads of a run one runs at a time, so another CPU gains nothing, and to wake a thread there costs more than
most steps do: a CPU that sleeps has to be woken, and finds nothing in its caches.

- A run stays where the kernel put its driver. Whenever the process got less of that CPU than it wanted, the kernel is
  asked again: it knows which CPU is idle, and other processes may have been put on this one.
- At the end of a run its driver may use all CPUs again that it could use before. Threads of programs run only during a
  run, and move to its CPU when they do.
- A thread that lets another run goes on for a moment, and still has the interpreter's lock. The kernel would let the
  one that is woken run at once, to find that lock taken: three switches instead of one. So threads of programs have the
  policy SCHED_BATCH, with which a thread that is woken waits until the other sleeps. The driver keeps its own policy.
  If that is not the usual one (SCHED_OTHER), threads of programs have it, too. In real time they have the driver's.
- A thread that runs one program after the other (``workers``) stays where it was put, so that it need not be put there
  for each.
- What programs ask is answered as though nothing were kept anywhere, and a process of the system that is started
  during a run, by an action for example, may use all CPUs and has the driver's policy.
- Only Linux can do this. Elsewhere, and if the process may not choose, nothing is done. A process that may use only
  one CPU stays where it is.

Compiled with the core.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Protocol

from estab.sockets.standin import signals
from estab.sockets.standin.stalls import nap, process_ns, real_ns
from estab.units import MS

__all__ = ["OneCpu", "forget", "remember"]

_CONTENDED: Final = 0.75
"""The share of the time below which the process has not had the CPU that it wanted."""
_LOOKED_AT_NS: Final = 50 * MS
_get = getattr(os, "sched_getaffinity", None)
_set = getattr(os, "sched_setaffinity", None)
_get_policy: Final = getattr(os, "sched_getscheduler", None)
_get_param: Final = getattr(os, "sched_getparam", None)
_set_policy = getattr(os, "sched_setscheduler", None)
_USUAL: Final = getattr(os, "SCHED_OTHER", -1)
_BATCH: Final = getattr(os, "SCHED_BATCH", -1)
_NO_PRIORITY: Final = os.sched_param(0) if hasattr(os, "sched_param") else None


def _find_current() -> object:
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):
        return None


_current = _find_current()


_remembered: Final[dict[int, tuple[object, ...]]] = {}
"""Of each thread that is used again, by its number: the CPUs, the policy and the priority that it was given last."""


def remember(native_id: int) -> None:
    """Remember from now on how a thread is treated: it runs one program after the other."""
    _remembered[native_id] = ()


def threads() -> set[int]:
    """Return the numbers of the threads that run programs, or are kept for them."""
    return set(_remembered)


def forget(native_id: int) -> None:
    """Forget a thread that ends: another one may have its number."""
    _remembered.pop(native_id, None)


class Placed(Protocol):
    """A thread of a run: its number of the operating system's, and the CPU that it is kept on, -1 for none."""

    native_id: int
    cpu: int


class _Process:
    """What runs of this process found so far, since the kernel was asked last."""

    def __init__(self) -> None:
        self.ran_ns = 0
        self.used_ns = 0
        self.is_contended = False
        self.outer: OneCpu | None = None
        """That of the outermost run, for networks that its programs make."""


_process: Final = _Process()


class OneCpu:
    """Keeps the threads of one run on one CPU, between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self.cpu = -1
        """Where threads of the run belong now; -1: anywhere."""
        self.all: set[int] = set()
        """The CPUs that the driver might use when the run began; none before the first run."""
        self.is_real_time = False
        """Other processes wait for what programs do, so a thread that is woken runs as soon as it can."""
        self._policy = -1
        self._param: Any = None
        """The driver's policy and its priority when the run began; -1: not known."""
        self._threads_policy = -1
        """The policy of the threads of programs."""
        self._is_driver_free = True
        self._began_ns = 0
        self._began_used_ns = 0
        """What the process had used then, or at the last look."""

    @property
    def allowed(self) -> set[int]:
        """The CPUs that programs are told they may use; none: not known."""
        outer = _process.outer
        return self.all if outer is None else outer.all or self.all

    @property
    def scheduling(self) -> tuple[int, int] | None:
        """The policy and the priority that programs are told; ``None``: those of their thread."""
        run = _process.outer or self
        return None if run._policy < 0 else (run._policy, run._param.sched_priority)

    def begin(self) -> None:
        """Keep the calling thread, the driver, and all that it lets run on one CPU."""
        outer = _process.outer
        if outer is None:
            outer = _process.outer = self
        self._choose_policy(outer)
        self.cpu = -1
        if _get is None or _set is None or not callable(_current):
            return
        self.all = _get(0)
        if len(self.all) < 2:
            return
        if _process.is_contended:
            _process.is_contended = False
            nap()  # the kernel wakes a thread on an idle CPU if there is one
        self._is_driver_free = False
        cpu = _current()
        if cpu in self.all and _move(0, {cpu}):
            self.cpu = cpu
            self._began_ns = real_ns()
            self._began_used_ns = process_ns()

    def _choose_policy(self, outer: OneCpu) -> None:
        """Choose how the kernel treats threads of programs."""
        if _get_policy is None or _get_param is None or _set_policy is None:
            return
        if outer is self:
            self._policy = _get_policy(0)
            self._param = _NO_PRIORITY if self._policy == _USUAL else _get_param(0)
        else:
            self._policy, self._param = outer._policy, outer._param
        self._threads_policy = _BATCH if self._policy == _USUAL and not self.is_real_time else self._policy

    def end(self) -> None:
        """Let the driver use all CPUs again that it could use before."""
        if _process.outer is self:
            _process.outer = None
        if self.cpu < 0:
            return
        self.cpu = -1
        if not self._is_driver_free:
            _move(0, self.all)
        _process.ran_ns += real_ns() - self._began_ns
        _process.used_ns += process_ns() - self._began_used_ns
        if _process.ran_ns > _LOOKED_AT_NS:
            _process.is_contended = _process.used_ns < _CONTENDED * _process.ran_ns
            _process.ran_ns = _process.used_ns = 0

    def bring(self, thread: Placed) -> None:
        """Move a thread to where those of the run are, before it runs."""
        thread.cpu = self.cpu
        self._place(thread.native_id, self.cpu, self._threads_policy)

    def free(self, thread: Placed) -> None:
        """Let a thread use all CPUs: the run has no power over it any more."""
        thread.cpu = -1
        self._place(thread.native_id, -1, self._policy)

    def _place(self, native_id: int, cpu: int, policy: int) -> None:
        """Keep a thread on a CPU, or on those of the driver if it is -1, and give it a policy."""
        if not native_id:
            return
        known = _remembered.get(native_id)
        if known is not None:
            wanted = cpu if cpu >= 0 else frozenset(self.all), policy, self._param and self._param.sched_priority
            if wanted == known:
                return
            _remembered[native_id] = wanted
        if self.all and not _move(native_id, {cpu} if cpu >= 0 else self.all) and known is not None:
            _remembered[native_id] = ()
        self._treat(native_id, policy)

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

    def _treat(self, native_id: int, policy: int) -> None:
        """Give a thread a policy, if it has another one, or one with priorities."""
        if policy < 0 or _get_policy is None or _set_policy is None:
            return
        with suppress(OSError):  # the kernel does not allow it, or the thread has ended
            if self._param.sched_priority or _get_policy(native_id) != policy:
                _set_policy(native_id, policy, self._param)

    def _free_caller(self) -> list[Callable[[], object]]:
        """Treat the calling thread as the driver was before the run, if it is one of the run. Return what undoes it."""
        undo: list[Callable[[], object]] = []
        if _get is not None and self.cpu >= 0 and _get(0) == {self.cpu} and _move(0, self.all):
            undo.append(partial(_move, 0, {self.cpu}))
        if _get_policy is not None and self._threads_policy == _BATCH == _get_policy(0):
            self._treat(0, self._policy)
            undo.append(partial(self._treat, 0, _BATCH))
        return undo


def _move(native_id: int, cpus: set[int]) -> bool:
    """Let a thread run on these CPUs only. ``False``: the kernel does not allow it, or the thread has ended."""
    try:
        assert _set is not None
        _set(native_id, cpus)
    except OSError:
        return False
    return True


def _begin_as_child() -> None:
    outer = _process.outer
    if outer is not None:
        outer._free_caller()


@contextmanager
def _as_before() -> Iterator[None]:
    outer = _process.outer
    undo = [] if outer is None else outer._free_caller()
    try:
        yield
    finally:
        for step in undo:
            step()


signals.around_process = _as_before
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_as_child)
    os.register_at_fork(after_in_child=_remembered.clear)
