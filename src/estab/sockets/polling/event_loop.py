"""asyncio on a host: its own ``SelectorEventLoop`` over a selector of ours.

Transports, streams, TLS and ``sock_*`` are CPython's. Different here: the clock is the host's, names are those of its
network (without threads if an answer takes no time), and what the operating system would have to do fails with a
sentence.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import selectors
import signal
from collections.abc import Callable, Coroutine
from errno import EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM
from itertools import repeat
from socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, TypeVarTuple

from estab.cpython import (
    ACCEPT_RETRY_DELAY,
    SocketTransport,
    TransportSocket,
    cancel_tasks,
    count_tasks,
    has_callbacks,
    has_tasks,
    has_to_shut_down,
    ipaddr_info,
    keep_generators,
    number_timer,
    shut_down,
    timers_of,
    transports_of,
)
from estab.sockets import names
from estab.sockets.lines import tasks_of
from estab.sockets.ordinals import Future, Generators
from estab.sockets.polling.callbacks import METHODS, Callbacks, methods_of
from estab.sockets.polling.selector import Selector
from estab.sockets.polling.transports import IS_KNOWN, new_transport
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.sockets.process import Process
    from estab.sockets.runtime import Runtime

__all__ = ["FILES", "EventLoop", "all_tasks", "run_coroutine"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

FILES: Final = 3
"""Descriptors that an event loop counts as, as on Linux: its epoll, and the two sockets by which it wakes itself."""
_TASKS_MANY: Final = 1000
_TCP: Final = (0, IPPROTO_TCP)
_V4: Final = (0, AF_INET)
_OUT_OF: Final = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
"""What an event loop waits for, instead of accepting at once again."""
_ENDINGS_MAX: Final = 20
"""How often tasks are cancelled when the network closes: some wait again during their cleanup."""


@functools.lru_cache(maxsize=1024)
def _family_of(host: str) -> Any:
    """Return the family of an address, as asyncio finds it out; ``None`` for a name."""
    found = ipaddr_info(host, 0, 0, SOCK_STREAM, 0)
    return None if found is None else found[0]


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop of one host's programs."""

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            return  # made by asyncio.SelectorEventLoop(), which calls this a second time
        self._runtime = runtime
        self._signals: set[int] = set()
        self._process = runtime.process()
        self._process.open_files += FILES
        self._wakeable = _LoopSelector(runtime, self)
        self._callbacks: Callbacks | None = None
        super().__init__(self._wakeable)
        keep_generators(self, Generators())
        self._clock_resolution = 1e-9
        if runtime.quick is not None:
            self.time = runtime.quick.now  # type: ignore[method-assign]
        self._callbacks = callbacks = self._wakeable.callbacks()
        self.create_task = callbacks.create_task  # type: ignore[method-assign]
        self.create_future = functools.partial(asyncio.Future, loop=self)  # type: ignore[method-assign]
        if callbacks.is_quick:
            vars(self).update(methods_of(callbacks))

    def time(self) -> float:
        """Return the host's monotonic clock in seconds."""
        return self._runtime.now_ns / SECOND

    def call_at(self, when: float, callback: Any, *args: Any,  # type: ignore[override]
                context: Any = None) -> asyncio.TimerHandle:
        """Call a function at a time of the loop's clock, in debug mode: as ``Callbacks``, in the order of setting."""
        timer = super().call_at(when, callback, *args, context=context)
        if self._callbacks is not None:
            number_timer(timer, self._callbacks.next_timer())
        return timer

    def set_debug(self, enabled: bool) -> None:
        """Begin or end debug mode."""
        super().set_debug(enabled)
        if self._callbacks is not None:
            self._use_methods(self._callbacks)

    def _use_methods(self, callbacks: Callbacks) -> None:
        """Use the methods of ``Callbacks``; in debug mode, asyncio's own."""
        callbacks.is_quick = not super().get_debug() and not self.is_closed()
        if callbacks.is_quick:
            vars(self).update(methods_of(callbacks))
        else:
            self._use_own(METHODS)

    def _use_own(self, names: tuple[str, ...]) -> None:
        """Use asyncio's own methods of these names."""
        for _ in map(vars(self).pop, names, repeat(None)):
            pass

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Return those that ``create_task`` made and that are not done."""
        found = [] if self._callbacks is None else [kept() for kept in self._callbacks.tasks]
        return {task for task in found if task is not None and not task.done()}

    async def _ensure_resolved(self, address: Any, *, family: int = 0, type: int = SOCK_STREAM, proto: int = 0,
                               flags: int = 0, loop: Any) -> Any:
        """Do what asyncio's own does: that asks the system each time whether a host is an address or a name."""
        host, port = address[:2]
        if isinstance(host, str) and port.__class__ is int and type == SOCK_STREAM and proto in _TCP:
            found = _family_of(host)
            if found is None:
                return await loop.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
            if found is AF_INET and family in _V4:
                return [(family or AF_INET, type, IPPROTO_TCP, "", (host, port))]
        return await super()._ensure_resolved(  # type: ignore[misc]
            address, family=family, type=type, proto=proto, flags=flags, loop=loop)

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                          flags: int = 0) -> Any:
        """Look a name up in the host's network: at once, or in a thread if a name server has to be asked."""
        if self._runtime.answers_at_once:
            return names.getaddrinfo(self._runtime, host, port, family, type, proto, flags)
        return await self.run_in_executor(
            None, names.getaddrinfo, self._runtime, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Find the name of an address in the host's network."""
        if self._runtime.answers_at_once:
            return names.getnameinfo(self._runtime, sockaddr, flags)
        return await self.run_in_executor(None, names.getnameinfo, self._runtime, sockaddr, flags)

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], R], *args: *Ts) -> asyncio.Future[R]:
        """Run a function in a thread of a pool; what it gives hashes by a number."""
        kept = self.create_future
        if not self.is_closed():
            self.create_future = functools.partial(Future, loop=self)  # type: ignore[method-assign]
        try:
            return super().run_in_executor(executor, func, *args)
        finally:
            if not self.is_closed():
                self.create_future = kept  # type: ignore[method-assign]

    def is_at_rest(self) -> bool:
        """Tell whether an iteration would do nothing, and no task, generator or thread of the loop is left to end."""
        timers = timers_of(self)
        return (not has_callbacks(self) and (not timers or min(timer.when() for timer in timers) > self.time())
                and not self._wakeable.is_ready() and not has_to_shut_down(self) and not self._has_tasks())

    def end(self) -> None:
        """Do what ``Runner.close`` does, as far as there is anything to do."""
        try:
            if not self.is_at_rest():
                cancel_tasks(self)
                if not self.is_at_rest():
                    shut_down(self)
        finally:
            self.close()

    def _has_tasks(self) -> bool:
        return bool(self.tasks()) if count_tasks() > _TASKS_MANY else has_tasks(self)  # as ``all_tasks``

    def close(self) -> None:
        """Close the loop. If the network closes, so do transports that are open, without a warning."""
        if self._runtime.is_closing and not self.is_closed() and not self.is_running():
            for transport in transports_of(self):
                transport.abort()
            self.call_soon(self.stop)
            self.run_forever()
        was_closed = self.is_closed()
        super().close()
        if not was_closed:
            self._process.open_files -= FILES
            self._release()

    def _release(self) -> None:
        """Use asyncio's own methods, which say that the loop is closed, so that nothing refers to it in a circle."""
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks.is_quick = False
            self._use_own((*METHODS, "create_task", "create_future"))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an exception that was not caught, unless the network is closing."""
        if not self._runtime.is_closing:
            super().call_exception_handler(context)

    # --- what only the operating system could do

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Call a function in the loop if a signal comes to this program."""
        signal.signal(sig, lambda number, frame: self._on_signal(callback, args))
        self._signals.add(sig)

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo ``add_signal_handler``. ``False`` if there is nothing to undo."""
        if sig not in self._signals:
            return False
        self._signals.discard(sig)
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def _on_signal(self, callback: Any, args: tuple[Any, ...]) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(callback, *args)

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: a process of the operating system has its network, not the host's."""
        raise NotImplementedError("a subprocess would use the operating system's network and clock, not the host's: "
                                  "run the other program by @host.run")

    async def subprocess_shell(self, protocol_factory: Any, cmd: Any, **kwargs: Any) -> NoReturn:
        """Raise: a process of the operating system has its network, not the host's."""
        await self.subprocess_exec(protocol_factory)

    async def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """Read from a pipe of the host. ``NotImplementedError`` for one of the operating system's."""
        self._ensure_of_host(pipe)
        return await super().connect_read_pipe(protocol_factory, pipe)

    async def connect_write_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """Write to a pipe of the host. ``NotImplementedError`` for one of the operating system's."""
        self._ensure_of_host(pipe)
        return await super().connect_write_pipe(protocol_factory, pipe)

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        """Do what asyncio's own does, without an exception for each number that has no transport."""
        if fd.__class__ is not int or fd in self._transports.data:  # type: ignore[attr-defined]
            super()._ensure_fd_no_transport(fd)  # type: ignore[misc]

    def _sock_connect(self, fut: Any, sock: Any, address: Any) -> None:
        """Do what asyncio's own does, without an exception for each connection that is under way."""
        connect = getattr(sock, "_connect_at_once", None)  # of a program's own class: none
        if not IS_KNOWN or connect is None:
            super()._sock_connect(fut, sock, address)  # type: ignore[misc]
            return
        result = connect(address)
        if result is True:
            fut.set_result(None)
            return
        if result is False or result.errno != EINPROGRESS:
            super()._sock_connect(fut, sock if result is False else _Failing(sock, result), address)  # type: ignore[misc]
            return
        number = sock.fileno()
        self._ensure_fd_no_transport(number)
        handle = self._add_writer(  # type: ignore[attr-defined]
            number, self._sock_connect_cb, fut, sock, address)  # type: ignore[attr-defined]
        fut.add_done_callback(functools.partial(
            self._sock_write_done, number, handle=handle))  # type: ignore[attr-defined]

    def _accept_connection(self, protocol_factory: Any, sock: Any, sslcontext: Any = None, server: Any = None,
                           backlog: int = 100, *timeouts: Any) -> None:
        """Do what asyncio's own does, without an exception to learn that no more connections wait."""
        accept = getattr(sock, "_accept_at_once", None)
        if not IS_KNOWN or accept is None or self.get_debug():
            super()._accept_connection(  # type: ignore[misc]
                protocol_factory, sock, sslcontext, server, backlog, *timeouts)
            return
        for _ in range(backlog):
            taken = accept()
            if isinstance(taken, OSError):
                return
            try:
                connection, peer = taken or sock.accept()
                connection.setblocking(False)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                if failure.errno not in _OUT_OF:
                    raise
                self.call_exception_handler({
                    "message": "socket.accept() out of system resource", "exception": failure,
                    "socket": TransportSocket(sock)})
                self.remove_reader(sock.fileno())
                self.call_later(ACCEPT_RETRY_DELAY, self._start_serving,  # type: ignore[attr-defined]
                                protocol_factory, sock, sslcontext, server, backlog, *timeouts)
                continue
            self.create_task(self._accept_connection2(  # type: ignore[attr-defined]
                protocol_factory, connection, {"peername": peer}, sslcontext, server, *timeouts))

    def _ensure_of_host(self, pipe: Any) -> None:
        if pipe.fileno() not in self._runtime.by_number:
            raise NotImplementedError(f"{pipe!r} is of the operating system, and host {self._runtime.name} can't wait "
                                      "for it: make pipes by os.pipe in a program")

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None,
                               server: Any = None, **more: Any) -> Any:
        if not more:
            return new_transport(self, sock, protocol, waiter, extra, server)
        made = super()._make_socket_transport(  # type: ignore[misc]
            sock, protocol, waiter, extra=extra, server=server, **more)
        made.__class__ = SocketTransport
        return made

    # --- instead of writing to a socket pair to itself, the loop wakes its selector

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._wakeable.wake()


class _Failing:
    """A socket whose connection failed at once, for what asyncio does then."""

    def __init__(self, sock: Any, failure: OSError) -> None:
        self.fileno = sock.fileno
        self._failure = failure

    def connect(self, address: Any) -> NoReturn:
        """Raise it."""
        try:
            raise self._failure
        finally:
            del self._failure


def run_coroutine(runtime: Runtime, coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine in an event loop of its own, as ``asyncio.run`` does, in a program's main thread.

    A loop with nothing left to do is closed without the iterations in which that would find nothing to do.
    """
    loop = runtime.new_event_loop()
    assert isinstance(loop, EventLoop)
    try:
        task = loop.create_task(coroutine, context=contextvars.copy_context())
        made: R = _Interruptible(loop, task).run(runtime.process())
        return made
    finally:
        loop.end()


class _Interruptible:
    """A program's main task: the program's first SIGINT cancels it, unless it has a handler of its own."""

    def __init__(self, loop: EventLoop, task: asyncio.Task[Any]) -> None:
        self._loop = loop
        self._task = task
        self._interrupts = 0

    def run(self, process: Process) -> Any:
        """Run until the task is done. What ``asyncio.Runner`` does."""
        handlers, handler = process.handlers, None
        if handlers.get(signal.SIGINT, signal.default_int_handler) is signal.default_int_handler:
            handler = handlers[signal.SIGINT] = self._on_interrupt
        try:
            return self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            if self._interrupts and self._task.uncancel() == 0:
                raise KeyboardInterrupt from None
            raise
        finally:
            if handler is not None and handlers.get(signal.SIGINT) is handler:
                handlers[signal.SIGINT] = signal.default_int_handler

    def _on_interrupt(self, number: int, frame: object) -> None:
        self._interrupts += 1
        if self._interrupts > 1 or self._task.done():
            raise KeyboardInterrupt
        self._task.cancel()
        self._loop.call_soon_threadsafe(lambda: None)  # it wakes the loop


def all_tasks(runtime: Runtime, original: Any, loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """Replace ``asyncio.all_tasks``, which looks through the tasks of all loops of the process.

    At the end of each of ten thousand programs that would be a hundred million tasks. So if there are many, those are
    given that the loop has noted.
    """
    if count_tasks() > _TASKS_MANY:
        found = asyncio.get_running_loop() if loop is None else loop
        if isinstance(found, EventLoop):
            return found.tasks()
    return set(original(loop))


class _LoopSelector(Selector):
    """A selector that ends the loop once when the network closes, and then what its tasks wait for in their cleanup."""

    def __init__(self, runtime: Runtime, loop: EventLoop) -> None:
        super().__init__(runtime, loop)
        self._loop: EventLoop | None = loop
        self._endings = 0

    def close(self) -> None:
        """Forget all sockets, and the loop."""
        super().close()
        self._loop = None

    def describe_waiting(self, name: str) -> str:
        """Say what the loop waits for: its sockets, and its tasks with their lines."""
        tasks = [] if self._loop is None else tasks_of(self._loop)
        return "; ".join([super().describe_waiting(name), *tasks])

    def is_ready(self) -> bool:
        """Tell whether a socket that is waited for is ready now."""
        return self.interests.is_ready()

    def callbacks(self) -> Callbacks:
        """Make what plans and runs the loop's callbacks."""
        assert self._loop is not None
        return Callbacks(self._loop, self, self.interests, self._keys)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until a socket is ready, ``wake`` is called, or ``timeout`` seconds are over."""
        try:
            return super().select(timeout)
        except BaseException:
            if not self.is_excused():
                raise
            return []

    def is_excused(self) -> bool:
        """Tell whether the error that ends a wait is not to end the loop. If so, its tasks are cancelled."""
        self._endings += 1
        if not self.runtime.is_closing or not 1 < self._endings < _ENDINGS_MAX:
            return False
        self.runtime.excuse_ending()
        for task in () if self._loop is None else asyncio.all_tasks(self._loop):
            task.cancel()
        return True
