"""Threads of the operating system that are one program's thread after the other.

To start a thread and wait for its end takes longer than a short exchange between two programs. So a thread whose
program has ended waits for a moment for another program's, of this run or of a later one.

Nothing of a program is left in it, as when a thread ends:

- each program has a ``threading.Thread`` of its own, which ``threading`` lists while the program runs;
- each runs in a new context, so context variables have their defaults;
- what ``threading.local`` keeps for the thread is released, and so are its trace functions and its hooks of coroutines;
- one in which an exception was raised from outside is not used again;
- ``get_ident`` may be that of a thread that has ended, as it always may.

Threads that wait have the size of stack that ``threading.stack_size`` wants. There are none of them while the process
forks, nor in its child; at most 32, each for a second of real time.

Compiled with the core.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from typing import Any, Final

from estab import cpython
from estab.cpython import allocate_lock
from estab.lab.programs import one_cpu

__all__ = ["begin"]

_WAITING_MAX: Final = 32
_WAITING_S: Final = 1.0
_start: Final = cpython.thread_module.start_new_thread
_stack_size: Final = threading.stack_size
_native_id: Final[Callable[[], int]] = getattr(threading, "get_native_id", cpython.get_ident)


class _Worker:
    """One thread. It is the thread that ``take`` names, and then waits to be taken again."""

    def __init__(self) -> None:
        self.stack_bytes = _stack_size()
        self._wake: Any = allocate_lock()
        self._wake.acquire()
        self._next_thread: threading.Thread | None = None
        self._next_main: Callable[[], None] | None = None
        self._next_done: Any = None
        self._has_ended: Any = allocate_lock()
        self._has_ended.acquire()
        _start(self._run, ())

    def take(self, thread: threading.Thread, main: Callable[[], None], done: Any) -> None:
        """Be this thread until ``main`` returns, and release ``done`` then."""
        self._next_thread, self._next_main, self._next_done = thread, main, done
        self._wake.release()

    def dismiss(self) -> None:
        """End, and wait for that."""
        self._wake.release()
        self._has_ended.acquire()

    def _run(self) -> None:
        native_id, kept = _native_id(), cpython.thread_state()
        one_cpu.remember(native_id)
        self._wake.acquire()
        try:
            while self._next_thread is not None and self._be_thread(native_id, kept) and self._is_taken():
                pass
        finally:
            one_cpu.forget(native_id)
            self._has_ended.release()

    def _be_thread(self, native_id: int, kept: dict[Any, Any]) -> bool:
        """Be the thread that was named. ``False``: not to be used again."""
        thread, main, done = self._next_thread, self._next_main, self._next_done
        assert main is not None
        self._next_thread = self._next_main = self._next_done = None
        is_waiting = False
        try:
            raised = cpython.count_raised()
            contextvars.Context().run(cpython.be_thread, thread, main, native_id)
            thread = main = None
            cpython.forget_thread_state(kept)
            is_waiting = cpython.count_raised() == raised and len(_waiting) < _WAITING_MAX
        finally:
            if is_waiting:
                _waiting.append(self)
            done.release()
        return is_waiting

    def _is_taken(self) -> bool:
        """Wait to be taken. ``False``: nobody did, so it ends."""
        if not self._wake.acquire(timeout=_WAITING_S):
            try:
                _waiting.remove(self)
            except ValueError:  # it was taken just now
                self._wake.acquire()
            else:
                return False
        return True


_waiting: Final[list[_Worker]] = []
"""Those that wait. The last one is taken first."""


def begin(thread: threading.Thread, main: Callable[[], None]) -> Callable[[], object]:
    """Run a function as a thread, one that ``cpython.new_thread`` made. Return what waits for its end."""
    done = allocate_lock()
    done.acquire()
    (_find() or _Worker()).take(thread, main, done)
    return done.acquire


def _find() -> _Worker | None:
    """Take one that waits, if there is one."""
    while _waiting:
        try:
            worker = _waiting.pop()
        except IndexError:  # its second is over
            break
        if worker.stack_bytes == _stack_size():
            return worker
        worker.dismiss()
    return None


def _dismiss_all() -> None:
    while _waiting:
        try:
            worker = _waiting.pop()
        except IndexError:
            break
        worker.dismiss()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_dismiss_all, after_in_child=_waiting.clear)
