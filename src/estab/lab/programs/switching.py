"""How strands are started, and how one stops while another goes on: by threads, or by stacks of one thread.

- ``Threads``: each strand is a thread of the operating system, which sleeps in a lock.
- ``Stacks``: for Pyodide, CPython in a browser's or Node's WebAssembly, which has no threads. Each strand has a stack
  of its own there (JSPI: "JavaScript Promise Integration"). It waits for a promise, and another goes on meanwhile.
- The scheduler knows nothing of the difference. What CPython keeps for a thread, the running event loop above all, is
  kept for a stack while it waits (``estab.cpython.Slot``).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from estab import cpython
from estab.cpython import HAS_THREADS, Slot, allocate_lock, set_daemonic
from estab.lab.programs import workers

__all__ = ["Lock", "Stacks", "Switching", "Threads", "switching"]

_start_thread: Final = threading.Thread.start
_join_thread: Final = threading.Thread.join


class Lock(Protocol):
    """What a strand sleeps in: taken when it is made; whoever releases it lets the strand go on."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is released, and take it."""

    def release(self) -> None:
        """Let the one go on that waits."""


class Switching(Protocol):
    """Starts strands and stops them."""

    def new_lock(self) -> Lock:
        """Make a lock that is taken."""

    def start(self, name: str, main: Callable[[], None],
              before: Callable[[threading.Thread], None]) -> Callable[[], object]:
        """Start a strand. ``before`` is told its thread first. Return what waits for the strand's very end."""

    def launch(self, main: Callable[[], None], launch: Callable[[Callable[[], None]], Any]) -> int:
        """Start a strand for a thread that a program starts by ``launch``. Return the thread's ident."""


class Threads:
    """Strands are threads."""

    def new_lock(self) -> Lock:
        """Make a lock that is taken."""
        lock = allocate_lock()
        lock.acquire()
        return lock

    def start(self, name: str, main: Callable[[], None],
              before: Callable[[threading.Thread], None]) -> Callable[[], object]:
        """Start a thread; the interpreter's end does not wait for it."""
        if cpython.CAN_REUSE_THREADS:
            thread = cpython.new_thread(name)
            before(thread)
            return workers.begin(thread, main)
        thread = threading.Thread(target=main, name=name, daemon=True)
        before(thread)
        _start_thread(thread)
        # Threads inherit this: the program's own are to be what they would be in a process of its own.
        set_daemonic(thread, is_daemonic=False)
        return lambda: _join_thread(thread)

    def launch(self, main: Callable[[], None], launch: Callable[[Callable[[], None]], Any]) -> int:
        """Start the thread as the program's own call does."""
        ident: int = launch(main)
        return ident


class _Promised:
    """A lock whose waiter waits for a promise, on a stack of its own."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._is_free = False
        self._resolve: Callable[[], None] | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is released, however long that takes."""
        if not self._is_free:
            self._stacks.suspend(self)
        self._is_free = False
        return True

    def release(self) -> None:
        """Let the stack go on that waits, as soon as the one that runs now waits or ends."""
        self._is_free = True
        resolve, self._resolve = self._resolve, None
        if resolve is not None:
            resolve()

    def expect(self, resolve: Callable[[], None]) -> None:
        """Note what wakes the waiter."""
        self._resolve = resolve


class Stacks:
    """Strands are stacks of the one thread that Pyodide has."""

    def __init__(self) -> None:
        from pyodide import ffi  # type: ignore[import-not-found]
        from pyodide.code import run_js  # type: ignore[import-not-found]

        if not ffi.can_run_sync():
            raise RuntimeError(
                "programs can't wait here: start Python by runPythonAsync, in a browser whose WebAssembly can suspend "
                "a stack (JSPI): Chrome or Edge, from version 137 on")
        self._ffi = ffi
        self._pending = run_js("() => { let go; const promise = new Promise(done => { go = done; }); "
                               "return [promise, go]; }")
        self._begin = run_js("main => { Promise.resolve().then(() => main.callPromising())"
                             ".finally(() => main.destroy()); }")

    def new_lock(self) -> Lock:
        """Make a lock that is taken."""
        return _Promised(self)

    def start(self, name: str, main: Callable[[], None],
              before: Callable[[threading.Thread], None]) -> Callable[[], object]:
        """Start a stack that is a thread for ``threading``."""
        thread = threading.Thread(target=main, name=name, daemon=False)
        before(thread)
        ident = cpython.new_ident()
        cpython.begin_thread(thread, ident)
        self._run(ident, lambda: cpython.run_thread(thread))
        return lambda: None

    def launch(self, main: Callable[[], None], launch: Callable[[Callable[[], None]], Any]) -> int:
        """Start a stack in the place of the thread that ``launch`` would start."""
        ident = cpython.new_ident()
        self._run(ident, main)
        return ident

    def suspend(self, lock: _Promised) -> None:
        """Stop the stack that runs until a lock is released."""
        slot = Slot()
        pair = self._pending()
        lock.expect(pair[1])
        try:
            self._ffi.run_sync(pair[0])
        finally:
            slot.restore()

    def _run(self, ident: int, main: Callable[[], None]) -> None:
        def begin() -> None:
            cpython.become(ident)
            contextvars.Context().run(main)

        self._begin(self._ffi.create_proxy(begin))


def switching() -> Switching:
    """Return the way in which this platform switches."""
    return Threads() if HAS_THREADS else Stacks()
