"""Release: the socket is closed at once, the slow rest of the clean-up runs elsewhere.

A program that reads the end of the stream and first stores its session, tells other services and flushes its logs keeps
the socket in CLOSE-WAIT for all that time; ``ss`` then shows thousands of them. A reaper separates the two. Rules:

- the socket is closed before anything else runs;
- no clean-up is lost: when ``backlog`` of them wait, or after ``drain``, the next one runs in the caller's own time;
- a clean-up that fails is reported and counted, and ends nothing but itself, if by ``sys.exit`` or a cancellation too;
- ``drain`` waits for what is left, and names what was not done in time.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

from estab.units import SECOND, duration_ns

__all__ = ["AsyncioReaper", "Drained", "Reaper"]

_LOG = logging.getLogger("estab.messages")

Cleanup = Callable[[], Any]
OnError = Callable[[Exception, Cleanup], object]


class Closable(Protocol):
    """A socket, a stream writer, a file: closed by ``close()``."""

    def close(self) -> Any:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What a reaper did in its life, as ``drain`` found it."""

    done: int
    """Clean-ups that ran to their end."""
    failed: int
    """Clean-ups that raised; each was reported."""
    by_caller: int
    """Those of them all that ran in the caller's time, because the backlog was full or the reaper drained."""
    unfinished: tuple[str, ...]
    """Names of the clean-ups that were running or waiting when the time was over."""


def _name(function: Cleanup) -> str:
    inner = getattr(function, "func", function)
    name = getattr(inner, "__qualname__", None) or repr(inner)
    code = getattr(inner, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def as_failure(error: BaseException, what: str) -> Exception:
    """Return what is reported of a function that raised: the error itself, or an ordinary one that names it."""
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(f"{what} raised {error!r}")
    failure.__cause__ = error
    return failure


def _log_error(error: Exception, function: Cleanup) -> None:
    _LOG.error("clean-up %s failed: %r", _name(function), error, exc_info=error)


class _Ledger:
    """What both reapers count."""

    def __init__(self, workers: int, backlog: int, on_error: OnError | None) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers} is not a number from 1 up")
        if backlog < 0:
            raise ValueError(f"backlog: {backlog} is negative; it counts the clean-ups that may wait")
        self.workers = workers
        self.backlog = backlog
        self.on_error: OnError = on_error or _log_error
        self.done = 0
        """Clean-ups that ran to their end."""
        self.failed = 0
        """Clean-ups that raised."""
        self.by_caller = 0
        """Clean-ups that ran in the caller's time."""

    def _report(self, error: Exception, function: Cleanup) -> None:
        try:
            self.on_error(error, function)
        except Exception:
            _LOG.exception("on_error failed, for clean-up %s", _name(function))


class Reaper(_Ledger):
    """Runs clean-up in ``workers`` threads of its own; at most ``backlog`` wait.

    ``on_error(error, function)`` is told of each that fails; without it the log ``estab.messages`` is. A context
    manager: leaving it drains.
    """

    def __init__(self, *, workers: int = 4, backlog: int = 1000, on_error: OnError | None = None) -> None:
        super().__init__(workers, backlog, on_error)
        self._changed = threading.Condition()
        self._waiting: deque[Cleanup] = deque()
        self._running: list[Cleanup] = []
        self._threads = 0
        self._idle = 0
        self._is_draining = False

    def release(self, stream: Closable, function: Callable[..., Any], *args: Any) -> None:
        """Close ``stream`` now; call ``function(*args)`` later, elsewhere."""
        try:
            stream.close()
        finally:
            self.submit(partial(function, *args))

    def submit(self, function: Cleanup) -> None:
        """Call ``function()`` elsewhere; here and now, if the backlog is full."""
        with self._changed:
            if not self._is_draining and len(self._waiting) < self.backlog + self._idle:
                self._waiting.append(function)
                if self._idle >= len(self._waiting):
                    self._changed.notify()
                elif self._threads < self.workers:
                    self._threads += 1
                    threading.Thread(target=self._work, name=f"estab-reaper-{self._threads}", daemon=True).start()
                return
            self.by_caller += 1
        self._run(function)

    @property
    def pending(self) -> int:
        """How many clean-ups wait or run in the reaper's threads."""
        with self._changed:
            return len(self._waiting) + len(self._running)

    def drain(self, timeout: int | float | str | None = None) -> Drained:
        """Wait until all clean-up is done, at most ``timeout``. From now on ``submit`` runs it in the caller's time.

        Clean-up that is not done by then goes on in its thread for as long as the process lives.
        """
        due = None if timeout is None else time.monotonic() + duration_ns(timeout, "timeout") / SECOND
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()
            while self._waiting or self._running:
                left = None if due is None else due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            unfinished = tuple(_name(function) for function in [*self._running, *self._waiting])
            return Drained(self.done, self.failed, self.by_caller, unfinished)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._is_draining:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                function = self._waiting.popleft()
                self._running.append(function)
            is_over = False
            try:
                self._run(function)
                is_over = True
            finally:
                with self._changed:
                    self._running.remove(function)
                    if not is_over:  # the thread ends with whatever that was: another may be started for its place
                        self._threads -= 1
                    self._changed.notify_all()

    def _run(self, function: Cleanup) -> None:
        try:
            function()
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            with self._changed:
                self.failed += 1
            self._report(as_failure(error, f"clean-up {_name(function)}"), function)
        else:
            with self._changed:
                self.done += 1


class AsyncioReaper(_Ledger):
    """Runs clean-up in tasks of the running loop, ``workers`` at a time; at most ``backlog`` wait.

    Clean-up may be a coroutine function, or an ordinary one, which runs in the loop's executor. An async context
    manager: leaving it drains.
    """

    def __init__(self, *, workers: int = 16, backlog: int = 1000, on_error: OnError | None = None) -> None:
        super().__init__(workers, backlog, on_error)
        self._waiting: deque[Cleanup] = deque()
        self._tasks: dict[asyncio.Task[None], Cleanup | None] = {}
        self._is_draining = False

    async def release(self, stream: Closable, function: Callable[..., Any], *args: Any) -> None:
        """Close ``stream`` now; call ``function(*args)`` later, elsewhere. Waits only while the backlog is full."""
        try:
            closing = stream.close()
            if inspect.isawaitable(closing):
                await closing
        finally:
            await self.submit(partial(function, *args))

    async def submit(self, function: Cleanup) -> None:
        """Call ``function()`` elsewhere; here and now, if the backlog is full."""
        if not self._is_draining and len(self._tasks) < self.workers:
            task = asyncio.create_task(self._work(function))
            self._tasks[task] = function
        elif not self._is_draining and len(self._waiting) < self.backlog:
            self._waiting.append(function)
        else:
            self.by_caller += 1
            await self._run(function)

    @property
    def pending(self) -> int:
        """How many clean-ups wait or run in the reaper's tasks."""
        return len(self._waiting) + len(self._tasks)

    async def drain(self, timeout: int | float | str | None = None) -> Drained:
        """Wait until all clean-up is done, at most ``timeout``, then cancel what is left and name it."""
        self._is_draining = True
        seconds = None if timeout is None else duration_ns(timeout, "timeout") / SECOND
        unfinished: tuple[str, ...] = ()
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=seconds)
            if late:
                running = [function for task in late if (function := self._tasks.get(task)) is not None]
                unfinished = tuple(_name(function) for function in [*running, *self._waiting])
                self._waiting.clear()
                for task in late:
                    task.cancel()
                await asyncio.wait(late)
                self._tasks.clear()  # a task that is cancelled before its first step does not do it itself
        return Drained(self.done, self.failed, self.by_caller, unfinished)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    async def _work(self, function: Cleanup) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await self._run(function)
            while self._waiting:
                following = self._waiting.popleft()
                self._tasks[task] = following
                await self._run(following)
        finally:
            del self._tasks[task]

    async def _run(self, function: Cleanup) -> None:
        try:
            if inspect.iscoroutinefunction(getattr(function, "func", function)):
                await function()
            else:
                result = await asyncio.to_thread(function)
                if inspect.isawaitable(result):
                    await result
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # this task is cancelled, not only the clean-up
            self.failed += 1
            self._report(as_failure(error, f"clean-up {_name(function)}"), function)
        else:
            self.done += 1
