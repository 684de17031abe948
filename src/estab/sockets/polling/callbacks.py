"""What an event loop does most often: to plan callbacks and to run them, and to begin and end waiting for a socket.

- ``Callbacks`` does what methods of asyncio's ``BaseEventLoop`` and ``BaseSelectorEventLoop`` do, in their order and on
  their own queues (CPython 3.11 to 3.14). ``EventLoop`` sets its methods in the place of theirs.
- In debug mode a loop has asyncio's methods. Those here, if somebody kept one or once the loop is closed, call them.
- Handles and timers are asyncio's classes; tasks are of a class derived from asyncio's.

Compiled with the core. Only ``estab.cpython``, ``transports`` and this file use what CPython keeps for itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import weakref
from selectors import SelectorKey
from typing import Any, Final

from estab.abi import POLLIN, POLLOUT, POLLRDHUP, READ_BITS, WRITE_BITS
from estab.sockets.ordinals import Task
from estab.sockets.polling.interests import EVENT_READ, EVENT_WRITE, Interests

__all__ = ["METHODS", "Callbacks", "methods_of", "poll_bits"]

_Base: Final[Any] = asyncio.SelectorEventLoop
_Handle: Final[Any] = asyncio.Handle
_Timer: Final[Any] = asyncio.TimerHandle
_Task: Final[Any] = Task
_new: Final[Any] = object.__new__
_new_task: Final[Any] = Task.__new__
_new_tuple: Final[Any] = tuple.__new__
_Key: Final[Any] = SelectorKey
_ref: Final[Any] = weakref.ref
_copy_context: Final[Any] = contextvars.copy_context
_push: Final[Any] = heapq.heappush
_pop: Final[Any] = heapq.heappop
_heapify: Final[Any] = heapq.heapify
_TIMERS_MANY: Final = 100
_CANCELLED_MANY: Final = 0.5
_TIMEOUT_MAX_S: Final = 24 * 3600.0
_TASKS_KEPT: Final = 64


METHODS: Final = (
    "_run_once", "_add_reader", "_remove_reader", "_add_writer", "_remove_writer", "_timer_handle_cancelled",
    "call_soon", "call_at", "call_later", "get_debug",
)
"""The methods that an event loop is to have in the place of asyncio's."""


def methods_of(callbacks: Callbacks) -> dict[str, Any]:
    """Return them by their names."""
    return {
        "_run_once": callbacks.run_once, "_add_reader": callbacks.add_reader, "_remove_reader": callbacks.remove_reader,
        "_add_writer": callbacks.add_writer, "_remove_writer": callbacks.remove_writer,
        "_timer_handle_cancelled": callbacks.note_cancelled, "call_soon": callbacks.call_soon,
        "call_at": callbacks.call_at, "call_later": callbacks.call_later, "get_debug": callbacks.get_debug,
    }


def poll_bits(events: int) -> int:
    """Return the POLL bits of events of ``selectors``."""
    bits = (POLLIN | POLLRDHUP) if events & EVENT_READ else 0
    return bits | (POLLOUT if events & EVENT_WRITE else 0)


def _order(timer: Any) -> tuple[Any, Any]:
    return timer._when, timer._scheduled


class _Raising:
    """A context for one run of a handle, which raises an error: so ``Handle`` itself reports it, in its own context."""

    def __init__(self, handle: Any, error: BaseException) -> None:
        self._handle: Any = handle
        self._context: Any = handle._context
        self._error: BaseException = error

    def run(self, *args: Any) -> None:
        """Give the handle its context back, and raise the error."""
        self._handle._context = self._context
        raise self._error


class Callbacks:
    """The callbacks of one event loop, whose ``selector`` is one of ours."""

    def __init__(self, loop: Any, selector: Any, interests: Interests, keys: dict[int, SelectorKey]) -> None:
        self.is_quick: bool = not loop.get_debug()
        """Whether the loop is open, and not in debug mode."""
        self._loop: Any = loop
        self._selector: Any = selector
        self._interests: Interests = interests
        self._keys: dict[int, SelectorKey] = keys
        self._ready: Any = loop._ready
        self._append: Any = loop._ready.append
        self._take: Any = loop._ready.popleft
        self._named: dict[str, int] = loop._process.named
        self._timers: int = 0
        """How many timers were set."""
        self.tasks: list[Any] = []
        """References to the tasks that ``create_task`` made; some are gone."""
        self._tasks_max: int = _TASKS_KEPT
        """How many may be in it before those are taken out that are gone."""

    def get_debug(self) -> bool:
        """Tell whether the loop is in debug mode."""
        return not self.is_quick and bool(_Base.get_debug(self._loop))

    # --- to plan them

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Call a function in the next iteration."""
        if not self.is_quick:
            return _Base.call_soon(self._loop, callback, *args, context=context)
        handle = self._handle(_Handle, callback, args, context)
        self._append(handle)
        return handle

    def call_at(self, when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        """Call a function at a time of the loop's clock."""
        if not self.is_quick or when is None:
            return _Base.call_at(self._loop, when, callback, *args, context=context)
        return self._call_at(when, callback, args, context)

    def call_later(self, delay: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        """Call a function after some seconds."""
        if not self.is_quick or delay is None:
            return _Base.call_later(self._loop, delay, callback, *args, context=context)
        return self._call_at(self._loop.time() + delay, callback, args, context)

    def _call_at(self, when: Any, callback: Any, args: Any, context: Any) -> Any:
        timer = self._handle(_Timer, callback, args, context)
        timer._when = when
        timer._scheduled = self.next_timer()  # asyncio asks only whether it is true
        _push(self._loop._scheduled, timer)
        return timer

    def next_timer(self) -> int:
        """Number a timer that is set."""
        self._timers += 1
        return self._timers

    def note_cancelled(self, timer: Any) -> None:
        """Count a timer that was cancelled before it was due."""
        if timer._scheduled:
            self._loop._timer_cancelled_count += 1

    def _handle(self, kind: Any, callback: Any, args: Any, context: Any) -> Any:
        """Make a handle: what its ``__init__`` does outside of debug mode."""
        handle = _new(kind)
        handle._context = _copy_context() if context is None else context
        handle._loop = self._loop
        handle._callback = callback
        handle._args = args
        handle._cancelled = False
        handle._repr = None
        handle._source_traceback = None
        return handle

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Make a task, and note it in ``tasks``."""
        loop = self._loop
        if loop._task_factory is not None or loop._closed:
            task = _Base.create_task(loop, coro, **options)
        else:
            is_numbered: bool = options.get("name") is None
            if is_numbered:
                options["name"] = self._next_name()
            task = _new_task(_Task)
            # asyncio hashes it at once.
            task._estab_number = self._interests.runtime.next_number()
            try:
                task.__init__(coro, loop=loop, **options)
            except TypeError:
                if is_numbered:
                    self._named["Task"] -= 1  # what is no coroutine takes no number
                raise
        tasks = self.tasks
        tasks.append(_ref(task))
        if len(tasks) > self._tasks_max:
            tasks[:] = [kept for kept in tasks if kept() is not None]
            self._tasks_max = 2 * len(tasks) + _TASKS_KEPT
        return task

    def _next_name(self) -> str:
        """Return the name of the program's next task: the first one is ``Task-1``, as in a process of its own."""
        named = self._named
        number: int = named.get("Task", 1)
        named["Task"] = number + 1
        return f"Task-{number}"

    # --- to run them

    def run_once(self) -> None:
        """Do one iteration: wait until something is ready or due, and run what is."""
        loop = self._loop
        if not self.is_quick:
            _Base._run_once(loop)
            return
        ready = self._ready
        if len(loop._scheduled) > 0:
            self._drop_cancelled()
        timeout_s: float | None = None
        if len(ready) > 0 or loop._stopping:
            timeout_s = 0.0
        elif len(loop._scheduled) > 0:
            timeout_s = min(max(0.0, loop._scheduled[0]._when - loop.time()), _TIMEOUT_MAX_S)
        self._select(timeout_s)
        if len(loop._scheduled) > 0:
            self._take_due()
        handle: Any = None
        for _ in range(len(ready)):
            if len(ready) == 0:  # a callback ran the loop, as nest_asyncio lets it
                break
            handle = self._take()
            if not handle._cancelled:
                self._run(handle)
        handle = None  # as asyncio does: what a callback raised refers to this frame, if it is not compiled

    def _drop_cancelled(self) -> None:
        """Take cancelled timers out of the queue: those at its head, or all if they are many."""
        loop = self._loop
        timers: list[Any] = loop._scheduled
        if len(timers) > _TIMERS_MANY and loop._timer_cancelled_count / len(timers) > _CANCELLED_MANY:
            kept: list[Any] = []
            for timer in timers:
                if timer._cancelled:
                    timer._scheduled = False
                else:
                    kept.append(timer)
            _heapify(kept)
            loop._scheduled = kept
            loop._timer_cancelled_count = 0
            return
        while len(timers) > 0 and timers[0]._cancelled:
            loop._timer_cancelled_count -= 1
            _pop(timers)._scheduled = False

    def _take_due(self) -> None:
        """Put the timers that are due into the queue of what is ready.

        Those of one time come in the order in which they were set: where time passes between two calls they do, too.
        """
        loop = self._loop
        timers: list[Any] = loop._scheduled
        end_s = loop.time() + loop._clock_resolution
        if len(timers) == 0 or not timers[0]._when < end_s:
            return
        due: list[Any] = [_pop(timers)]
        while len(timers) > 0 and timers[0]._when < end_s:
            due.append(_pop(timers))
        if len(due) > 1:
            due.sort(key=_order)
        for timer in due:
            timer._scheduled = False
            self._append(timer)

    def _select(self, timeout_s: float | None) -> None:
        """Wait for sockets, and put what waits for those that are ready into the queue."""
        keys = self._keys
        try:
            found = self._interests.wait(timeout_s, -1, "select")
        except BaseException:
            if not self._selector.is_excused():
                raise
            return
        for number, bits in found:
            key: Any = keys[number]
            events: Any = key[2]
            ready = (EVENT_READ if bits & READ_BITS else 0) | (EVENT_WRITE if bits & WRITE_BITS else 0)
            reader, writer = key[3]
            if ready & EVENT_READ and events & EVENT_READ and reader is not None:
                if reader._cancelled:
                    self.remove_reader(key[0])
                else:
                    self._append(reader)
            if ready & EVENT_WRITE and events & EVENT_WRITE and writer is not None:
                if writer._cancelled:
                    self.remove_writer(key[0])
                else:
                    self._append(writer)

    def _run(self, handle: Any) -> None:
        """Do what ``Handle._run`` does."""
        failure: BaseException | None = None
        try:
            args: Any = handle._args
            if not args:
                handle._context.run(handle._callback)
            elif len(args) == 1:  # compiled, a starred argument is a list and a tuple more
                handle._context.run(handle._callback, args[0])
            elif len(args) == 2:
                handle._context.run(handle._callback, args[0], args[1])
            else:
                handle._context.run(handle._callback, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            failure = error
        if failure is not None:
            self._report(handle, failure)

    def _report(self, handle: Any, failure: BaseException) -> None:
        """Let a handle report what its callback raised."""
        handle._context = _Raising(handle, failure)
        if handle._args is None:  # the callback cancelled its own handle
            handle._args = ()
        handle._run()

    # --- to wait for sockets

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        """Call a function whenever a socket can be read."""
        if not self.is_quick:
            return _Base._add_reader(self._loop, fd, callback, *args)
        handle = self._handle(_Handle, callback, args, None)
        key = self._find(fd)
        if key is None:
            self._register(fd, EVENT_READ, handle, None)
            return handle
        reader, writer = key[3]
        self._modify(key, key[2] | EVENT_READ, handle, writer)
        if reader is not None:
            reader.cancel()
        return handle

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> Any:
        """Call a function whenever a socket can be written to."""
        if not self.is_quick:
            return _Base._add_writer(self._loop, fd, callback, *args)
        handle = self._handle(_Handle, callback, args, None)
        key = self._find(fd)
        if key is None:
            self._register(fd, EVENT_WRITE, None, handle)
            return handle
        reader, writer = key[3]
        self._modify(key, key[2] | EVENT_WRITE, reader, handle)
        if writer is not None:
            writer.cancel()
        return handle

    def remove_reader(self, fd: Any) -> bool:
        """Call it no more. ``False``: there was nothing to be called."""
        if not self.is_quick:
            return bool(_Base._remove_reader(self._loop, fd))
        key = self._find(fd)
        if key is None:
            return False
        reader, writer = key[3]
        self._modify(key, key[2] & ~EVENT_READ, None, writer)
        return self._cancel(reader)

    def remove_writer(self, fd: Any) -> bool:
        """Call it no more. ``False``: there was nothing to be called."""
        if not self.is_quick:
            return bool(_Base._remove_writer(self._loop, fd))
        key = self._find(fd)
        if key is None:
            return False
        reader, writer = key[3]
        self._modify(key, key[2] & ~EVENT_WRITE, reader, None)
        return self._cancel(writer)

    def _find(self, fd: Any) -> Any:
        """Return the key of a socket, by its number or what has it; ``None`` if it is not waited for."""
        if type(fd) is int and fd >= 0:
            return self._keys.get(fd)
        try:
            return self._selector.get_key(fd)
        except KeyError:
            return None

    def _register(self, fd: Any, events: int, reader: Any, writer: Any) -> None:
        """Wait for a socket: what the selector's ``register`` does for a number of the host's."""
        numbered = self._interests.numbered(fd) if type(fd) is int else None
        if numbered is None:
            self._selector.register(fd, events, (reader, writer))
            return
        self._interests.add(fd, numbered, poll_bits(events))
        self._keys[fd] = _new_tuple(_Key, (fd, fd, events, (reader, writer)))

    def _modify(self, key: Any, events: int, reader: Any, writer: Any) -> None:
        """Wait for other events of a socket that is waited for; for none: no more."""
        number: int = key[1]
        keys, interests = self._keys, self._interests
        if events == 0:
            del keys[number]
            if number in interests:
                interests.remove(number)
            return
        if events != key[2] and number in interests:
            interests.modify(number, poll_bits(events))
        keys[number] = _new_tuple(_Key, (key[0], number, events, (reader, writer)))

    def _cancel(self, handle: Any) -> bool:
        """Cancel a handle, if there is one: what its ``cancel`` does outside of debug mode."""
        if handle is None:
            return False
        if not handle._cancelled:
            handle._cancelled = True
            handle._callback = handle._args = None
        return True
