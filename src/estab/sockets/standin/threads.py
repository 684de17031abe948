"""Threads of programs: what ``threading`` does for a program whose host has a clock of its own.

- A thread started by a program becomes another thread of the same program: only one runs at a time, and waiting lets
  the others run.
- Locks made by a program wait on the runtime, and so does everything that ``threading`` and ``queue`` build on them:
  conditions, events, semaphores, queues, executors, timers, all with timeouts in the host's time.
- Locks that were made elsewhere (at a module's import) are the operating system's. They work as long as no program
  waits while it holds a lock that another program wants.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

from estab import cpython
from estab.cpython import THREAD_STARTERS, allocate_lock
from estab.sockets.polling.poll import deadline_from
from estab.sockets.runtime import Wait, activate, activated

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime, Task

__all__ = [
    "Lock", "count_names", "is_alive", "join", "lock_stand_ins", "new_simple_queue", "quiet_ends", "quiet_excepthook",
    "start_stand_ins",
]

_LOOK_WEIGHT: Final = 100
_os_main_thread: Final = threading.main_thread
_os_enumerate: Final = threading.enumerate
_join: Final = threading.Thread.join
_is_alive: Final = threading.Thread.is_alive
_tasks: weakref.WeakKeyDictionary[threading.Thread, Task] = weakref.WeakKeyDictionary()


def count_names(kind: str, first: int) -> Callable[[Runtime], int]:
    """Make what counts a kind of thing for names like ``Thread-1``, program by program."""

    def count(runtime: Runtime) -> int:
        named = runtime.process().named
        number = named.get(kind, first)
        named[kind] = number + 1
        return number

    return count


class Lock:
    """``threading.Lock`` of a program."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = allocate_lock()
        self._channel = 0
        self._waiting_count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, after waiting for it. ``False``: it was taken during all of ``timeout`` seconds."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        runtime = self._runtime
        if self._lock.acquire(False):
            return True
        if not blocking:
            runtime.spin(_LOOK_WEIGHT)
            return False
        if not runtime.can_wait():
            return self._lock.acquire(True, timeout)
        return self._wait(deadline_from(runtime, None if timeout == -1 else timeout))

    def _wait(self, deadline_ns: int | None) -> bool:
        runtime = self._runtime
        if not self._channel:
            self._channel = runtime.new_channel()
        wait = Wait(lambda: not self._lock.locked(), lambda: "a lock", deadline_ns, self._channel)
        self._waiting_count += 1
        try:
            while runtime.wait(wait):
                if self._lock.acquire(False):
                    return True
            return False
        finally:
            self._waiting_count -= 1

    def release(self) -> None:
        """Release the lock. ``RuntimeError`` if it is not taken."""
        self._lock.release()
        if self._waiting_count:
            self._runtime.notify(self._channel)

    def locked(self) -> bool:
        """Tell whether the lock is taken."""
        return self._lock.locked()

    def _at_fork_reinit(self) -> None:
        self._lock = allocate_lock()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} lock of host {self._runtime.name}>"


def lock_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of the kinds of lock in ``threading``."""
    return {"Lock": Lock, "_allocate_lock": Lock, "RLock": _new_rlock, "main_thread": _main_thread,
            "enumerate": _enumerate, "active_count": lambda runtime: len(_enumerate(runtime))}


def _enumerate(runtime: Runtime) -> list[threading.Thread]:
    """List the threads of the program that runs here: those of other programs are other processes'."""
    process = runtime.process()
    if process.main_thread is None:
        return _os_enumerate()
    return [thread for thread in _os_enumerate()
            if thread is process.main_thread or getattr(_tasks.get(thread), "process", None) is process]


def _main_thread(runtime: Runtime) -> threading.Thread:
    return runtime.process().main_thread or _os_main_thread()


def _new_rlock(runtime: Runtime) -> Any:
    return cpython.new_rlock()


def new_simple_queue(runtime: Runtime) -> Any:
    """Replace ``queue.SimpleQueue`` by the one in Python, whose locks are the program's."""
    return cpython.new_simple_queue()


# --- starting


def start_stand_ins(owner: Any) -> dict[str, Callable[..., Any]]:
    """Return the replacements of the functions with which ``threading`` and ``_thread`` start threads."""
    found: dict[str, Callable[..., Any]] = {}
    for name in THREAD_STARTERS:
        original = getattr(owner, name, None)
        if original is not None:
            found[name] = _starter(original)
    return found


def _starter(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(runtime: Runtime, function: Callable[..., object], args: tuple[Any, ...] = (),
              kwargs: dict[str, Any] | None = None, **options: Any) -> Any:
        if not runtime.is_virtual:
            inside = _inside(runtime, function)
            return original(inside, **options) if options else original(inside, args, kwargs or {})
        if not runtime.can_wait():
            # If the call comes from outside of programs, it is no program's thread.
            return original(function, **options) if options else original(function, args, kwargs or {})
        thread = getattr(function, "__self__", None)
        if not isinstance(thread, threading.Thread):
            thread = None
        name = thread.name if thread is not None else getattr(function, "__name__", "thread")
        is_daemon = thread is not None and thread.daemon
        if options:
            options["daemon"] = True

        def launch(main: Callable[[], None]) -> Any:
            return original(main, **options) if options else original(main, ())

        def run() -> None:
            _enter_context(runtime, thread)
            function(*args, **(kwargs or {}))

        if thread is None:
            return runtime.start_thread(run, launch, name, is_daemon, lambda: None).ident
        # The interpreter's end must not wait for a thread that may never run again.
        cpython.set_daemonic(thread, is_daemonic=True)
        task = runtime.start_thread(run, launch, name, is_daemon, lambda: cpython.forget_thread(thread))
        _tasks[thread] = task
        # start() waits until the thread runs; with this it goes on, and the thread runs when the scheduler lets it.
        cpython.begin_thread(thread, task.ident)
        return task.ident

    return start


def _enter_context(runtime: Runtime, thread: threading.Thread | None) -> None:
    """Make a thread's own context one of a program of the host. ``_bootstrap`` enters it, from Python 3.14 on."""
    context = None if thread is None else cpython.context_of(thread)
    if context is not None:
        context.run(activate, runtime)


def _inside(runtime: Runtime, function: Callable[..., object]) -> Callable[..., object]:
    """Make a function for a real thread that runs as a program of the host, too."""
    thread = getattr(function, "__self__", None)

    def run(*args: Any, **kwargs: Any) -> object:
        _enter_context(runtime, thread if isinstance(thread, threading.Thread) else None)
        with activated(runtime):
            return function(*args, **kwargs)

    return run


def join(runtime: Runtime, thread: threading.Thread, timeout: float | None = None) -> None:
    """Replace ``Thread.join``."""
    task = _tasks.get(thread)
    if task is not None and not task.is_done and thread is not threading.current_thread():
        deadline_ns = deadline_from(runtime, timeout)
        if not runtime.wait(Wait(lambda: task.is_done, lambda: f"the end of {thread.name}", deadline_ns, task.channel)):
            return
    _join(thread, timeout)


def is_alive(runtime: Runtime, thread: threading.Thread) -> bool:
    """Replace ``Thread.is_alive``."""
    task = _tasks.get(thread)
    return _is_alive(thread) if task is None else not task.is_done


def quiet_excepthook(hook: Callable[[Any], Any], kernel_of: Callable[[], Runtime | None]) -> Callable[[Any], Any]:
    """Make a ``threading.excepthook`` that notes what a program's thread raised, and calls ``hook``.

    It is silent about threads which end because their network is closed.
    """

    def excepthook(args: Any, /) -> Any:
        runtime = kernel_of()
        if runtime is not None and args.exc_value is not None:
            if runtime.is_closing and not sys.is_finalizing():
                return None
            runtime.note_thread_failure(args.exc_value)
        return hook(args)

    return excepthook


@contextmanager
def quiet_ends(kind: type[BaseException]) -> Iterator[None]:
    """Keep quiet, while a network closes, what programs log, or write on standard error, of ``kind`` that ends them.

    A process that is killed says nothing on its way out.
    """
    original, stream = logging.Logger.handle, sys.stderr

    def handle(self: logging.Logger, record: logging.LogRecord) -> None:
        if not (record.exc_info and isinstance(record.exc_info[1], kind)) and not _handles(kind):
            original(self, record)

    logging.Logger.handle = handle  # type: ignore[method-assign]
    if stream is not None:
        sys.stderr = _Quiet(stream, kind)
    try:
        yield
    finally:
        logging.Logger.handle = original  # type: ignore[method-assign]
        if isinstance(sys.stderr, _Quiet):
            sys.stderr = stream


def _handles(kind: type[BaseException]) -> bool:
    """Tell whether the code that runs here handles an exception of a kind, or one that came of it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error is not None


class _Quiet:
    """A stream that drops what code writes while it handles an exception of a kind."""

    def __init__(self, stream: TextIO, kind: type[BaseException]) -> None:
        self._stream, self._kind = stream, kind

    def write(self, text: str) -> int:
        """Write, unless such an exception is handled."""
        return len(text) if _handles(self._kind) else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
