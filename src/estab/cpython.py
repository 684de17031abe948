"""What estab uses of CPython that its documentation does not promise. No other file does, and a test looks.

Checked on CPython 3.11, 3.12 and 3.13. What is looked up by name here is bound when this module is imported, before
anything is replaced for programs.

- ``_thread``: plain locks and identities, even while ``threading`` is replaced.
- ``threading``: a thread that a program starts may never run; its object must say so.
- ``ssl``, ``selectors``, ``socket``, ``asyncio``: members that the standard library keeps for itself.
- Types made in C, whose attributes can't be set: ``put_into_type`` writes into their dictionary.
- Pyodide, CPython in a browser, has no threads: strands are stacks of its one thread (``lab.programs.switching``).
  ``get_ident`` and ``current_frames`` then tell one stack from another. Its ``ssl`` may have no OpenSSL below it.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures.thread as futures_thread
import contextvars
import functools
import gc
import queue
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

try:
    import ctypes
except ImportError:  # if the platform has none
    ctypes = None  # type: ignore[assignment]

__all__ = [
    "ACCEPT_RETRY_DELAY", "CAN_REUSE_THREADS", "HAS_THREADS", "THREAD_STARTERS", "Slot", "SocketTransport",
    "TransportSocket", "allocate_lock", "app_transport", "awaited_by", "be_thread", "become", "begin_thread",
    "cancel_tasks", "check_sendfile", "context_of", "count_raised", "count_tasks", "current_frames", "enter_loop",
    "event_loop_policy", "forget_thread", "forget_thread_state", "gathered_by", "get_ident", "give_up_on_sendfile",
    "has_callbacks", "has_tasks", "has_to_shut_down", "ipaddr_info", "is_idle_worker", "is_planned", "keep_generators",
    "leave_loop", "make_transport", "new_ident", "new_rlock", "new_simple_queue", "new_thread", "number_timer",
    "processes_of", "put_all_into_type", "put_into_type", "raise_in_thread", "register_atexit", "rlock_acquire_again",
    "rlock_release_all", "run_thread", "selector_member", "set_daemonic", "set_result_unless_cancelled", "shut_down",
    "ssl_create", "ssl_wrap", "tasks_in_group", "thread_module", "thread_state", "timers_of", "transports_of",
]

HAS_THREADS: Final = sys.platform != "emscripten"
"""Whether this CPython can start threads."""

# --- stacks in the place of threads


class _Stacks:
    """Which stack of the one thread runs, and the frames of those that wait."""

    def __init__(self) -> None:
        self.ident = _thread.get_ident()
        self.last = self.ident
        self.frames: dict[int, Any] = {}


_stacks: Final = _Stacks()
_policy: Final[Any] = None if HAS_THREADS else asyncio.events._get_event_loop_policy()  # type: ignore[attr-defined]
"""Pyodide's policy, which has one event loop for the one thread."""
_page_loop: Final[Any] = None if _policy is None else _policy._default_loop
"""The loop of the page. Promises need it while no stack runs."""


def _ident_of_stack() -> int:
    return _stacks.ident


def new_ident() -> int:
    """Return a number that no thread and no stack has."""
    _stacks.last += 1
    return _stacks.last


def become(ident: int) -> None:
    """Note that the stack with this number runs from now on. A new one has no event loop."""
    _stacks.ident = ident
    _stacks.frames.pop(ident, None)
    asyncio._set_running_loop(None)


class Slot:
    """What CPython and Pyodide keep for a thread and not for a stack: which one runs, and its event loop.

    Made before a stack waits, it leaves the place empty for the next one; ``restore`` puts all back after the wait.
    """

    def __init__(self) -> None:
        self._ident = _stacks.ident
        self._left = leave_loop()
        self._default, _policy._default_loop = _policy._default_loop, _page_loop
        _stacks.frames[self._ident] = sys._getframe(1)

    def restore(self) -> None:
        """Be again the stack that this was made on."""
        become(self._ident)
        _policy._default_loop = self._default
        if self._left is not None:
            enter_loop(self._left)


# --- _thread

thread_module: Final = _thread
allocate_lock: Final = _thread.allocate_lock
get_ident: Final = _thread.get_ident if HAS_THREADS else _ident_of_stack
THREAD_STARTERS: Final = (
    "start_new_thread", "start_new", "_start_new_thread", "start_joinable_thread", "_start_joinable_thread",
)
"""The functions of ``_thread`` and ``threading`` that start a thread: those of all versions."""
_rlock: Final[Any] = threading._PyRLock  # type: ignore[attr-defined]
_simple_queue: Final[Any] = queue._PySimpleQueue  # type: ignore[attr-defined]
_atexit: Final[Any] = threading._register_atexit  # type: ignore[attr-defined]


def new_rlock() -> Any:
    """Make a re-entrant lock in Python, on whatever ``threading`` has for a lock now."""
    return _rlock()


def new_simple_queue() -> Any:
    """Make a ``queue.SimpleQueue`` in Python, on whatever ``threading`` has for a lock now."""
    return _simple_queue()


def rlock_release_all(lock: Any) -> Any:
    """Release a re-entrant lock however often it is held. Returns what ``rlock_acquire_again`` needs."""
    return lock._release_save()


def rlock_acquire_again(lock: Any, held: Any) -> None:
    """Hold a re-entrant lock as often as before."""
    lock._acquire_restore(held)


# --- threading

_HANDLE: Final = "_os_thread_handle" if sys.version_info >= (3, 14) else "_handle"
"""Where a thread's object has what knows whether it has ended; before Python 3.13 nowhere."""


def register_atexit(function: Callable[[], None]) -> None:
    """Register a function for the interpreter's end, before it joins threads. The last one is called first."""
    _atexit(function)


def set_daemonic(thread: threading.Thread, *, is_daemonic: bool) -> None:
    """Set whether the interpreter's end waits for a thread, also after it has started."""
    thread._daemonic = is_daemonic  # type: ignore[attr-defined]


def begin_thread(thread: threading.Thread, ident: int) -> None:
    """Mark a thread's object as started: ``start()`` returns now, though the thread runs later."""
    thread._ident = ident  # type: ignore[attr-defined]
    thread._started.set()  # type: ignore[attr-defined]
    if not HAS_THREADS:
        setattr(thread, _HANDLE, _Handle(ident))


class _Handle:
    """What ``threading`` keeps of a thread to ask whether it has ended, for one that is a stack."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self._is_done = False

    def is_done(self) -> bool:
        return self._is_done

    def _set_done(self) -> None:
        self._is_done = True

    def join(self, timeout: float | None = None) -> None:
        """Return at once: a program that waits for the thread waits in virtual time."""


def run_thread(thread: threading.Thread) -> None:
    """Run a thread's function on the stack that runs now, and be that thread until it ends."""
    threading.get_ident = get_ident  # what ``threading`` itself asks to find out which thread runs
    threading._limbo[thread] = thread  # type: ignore[attr-defined]
    if context_of(thread) is None:
        thread._context = contextvars.copy_context()  # type: ignore[attr-defined]
    thread._bootstrap()  # type: ignore[attr-defined]
    getattr(thread, _HANDLE)._set_done()


CAN_REUSE_THREADS: Final = HAS_THREADS and ctypes is not None and sys.version_info < (3, 13)
"""Whether a thread can be another ``threading.Thread`` after its first one: CPython 3.13 keeps what ``threading.local``
has for a thread where nothing reaches it.
"""
_LOCAL: Final = "thread.local."
"""How the names begin by which a thread's dictionary has what ``threading.local`` keeps for it."""
_thread_dict: Final[Any] = None if ctypes is None else ctypes.pythonapi.PyThreadState_GetDict
if CAN_REUSE_THREADS:
    _thread_dict.restype = ctypes.c_void_p


_STARTED: Final = threading.Event()
"""The event of all threads that ``new_thread`` made: each is started as soon as anybody sees it."""
_STARTED.set()
_new_object: Final = object.__new__


def new_thread(name: str) -> threading.Thread:
    """Make the object of a thread that a thread which runs already is to be: what ``Thread`` makes, and it is started.

    The interpreter's end does not wait for it, although it is no daemon: threads inherit that, and the program's own
    are to be what they would be in a process of its own.
    """
    made = _new_object(threading.Thread)
    ended = allocate_lock()
    ended.acquire()
    made.__dict__.update(
        _target=None, _name=name, _args=(), _kwargs={}, _daemonic=False, _ident=None, _native_id=None,
        _tstate_lock=ended, _started=_STARTED, _is_stopped=False, _initialized=True, _stderr=sys.stderr,
        _invoke_excepthook=_report_thread)
    return made


def _report_thread(thread: threading.Thread) -> None:
    threading._make_invoke_excepthook()(thread)  # type: ignore[attr-defined]


def be_thread(thread: Any, function: Callable[[], None], native_id: int) -> None:
    """Be, in the thread that runs here, one that ``new_thread`` made, until the function ends.

    What ``Thread`` does in a thread that it started.
    """
    ident = thread._ident = get_ident()
    thread._native_id = native_id
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        threading._active[ident] = thread  # type: ignore[attr-defined]
    try:
        trace: Any = threading._trace_hook  # type: ignore[attr-defined]
        if trace is not None:
            sys.settrace(trace)
        profile: Any = threading._profile_hook
        if profile is not None:
            sys.setprofile(profile)
        function()
    except BaseException:
        thread._invoke_excepthook(thread)
    finally:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            threading._active.pop(ident, None)  # type: ignore[attr-defined]
        lock = thread._tstate_lock
        if lock is not None:
            lock.release()  # whoever joins it goes on


def thread_state() -> dict[Any, Any]:
    """Return what CPython keeps for the thread that runs here, by names. It stays the same dictionary."""
    kept: dict[Any, Any] = ctypes.cast(_thread_dict(), ctypes.py_object).value
    return kept


def forget_thread_state(kept: dict[Any, Any]) -> None:
    """Release what CPython keeps for the thread that runs here, its ``thread_state``, as it does at a thread's end."""
    for name in [name for name in kept if type(name) is str and name.startswith(_LOCAL)]:
        del kept[name]
    if sys.gettrace() is not None:
        sys.settrace(None)
    if sys.getprofile() is not None:
        sys.setprofile(None)
    sys.set_asyncgen_hooks(None, None)
    sys.set_coroutine_origin_tracking_depth(0)


def forget_thread(thread: threading.Thread) -> None:
    """Mark a thread that ended before it ran as ended: it is not listed, not waited for and gets no work."""
    threading._limbo.pop(thread, None)  # type: ignore[attr-defined]
    futures_thread._threads_queues.pop(thread, None)  # type: ignore[attr-defined]
    handle = getattr(thread, _HANDLE, None)
    if handle is None:
        thread._is_stopped = True  # type: ignore[attr-defined]
    else:
        handle._set_done()


def is_idle_worker(ident: int) -> bool:
    """Tell whether a thread is one of an executor's: such a thread waits for work, and for nothing else, for ever."""
    return any(thread.ident == ident and not _has_ended(thread) for thread in futures_thread._threads_queues)


def _has_ended(thread: threading.Thread) -> bool:
    """Tell whether a thread began and ended: a later one may have its ident."""
    handle = getattr(thread, "_handle", None)  # from Python 3.13 on
    if handle is not None:
        return bool(handle.is_done())
    lock = thread._tstate_lock  # type: ignore[attr-defined]
    return bool(thread._is_stopped) or (lock is not None and not lock.locked())  # type: ignore[attr-defined]


class _Raised:
    count = 0


def count_raised() -> int:
    """Count how often ``raise_in_thread`` was called."""
    return _Raised.count


def raise_in_thread(ident: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as soon as that runs Python code."""
    assert HAS_THREADS
    _Raised.count += 1
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))


def current_frames() -> dict[int, Any]:
    """Return the frame that each thread runs, by the thread's ident."""
    return sys._current_frames() if HAS_THREADS else _stacks.frames


def context_of(thread: threading.Thread) -> contextvars.Context | None:
    """Return the context in which a thread's function runs, if it has one of its own: from Python 3.14 on."""
    return getattr(thread, "_context", None)


name_counters: Final[tuple[tuple[Any, str, Callable[[], int], int], ...]] = (
    (threading, "_counter", threading._counter, 1),  # type: ignore[attr-defined]
    (futures_thread.ThreadPoolExecutor, "_counter", futures_thread.ThreadPoolExecutor._counter, 0),  # type: ignore[attr-defined]
)
"""What counts the threads and thread pools for their names: where, under which name, itself, the first number."""


# --- ssl, selectors, socket

ssl_wrap: Final[Any] = getattr(ssl.SSLContext, "_wrap_socket", None)
"""``None`` if there is no OpenSSL."""
ssl_create: Final[Any] = ssl.SSLSocket.__dict__["_create"]


if not HAS_THREADS:
    for _name, _value in (("SO_REUSEADDR", 2), ("SO_REUSEPORT", 15)):  # Emscripten's own sockets have none of them
        for _owner in (socket, sys.modules["_socket"]):
            if not hasattr(_owner, _name):
                setattr(_owner, _name, _value)


def selector_member(selector: Any) -> Any:
    """Return what ``selectors`` keeps of ``select`` in one of its classes: a class of ``select``, or its function."""
    return selector.__dict__["_select"] if selector is selectors.SelectSelector else selector._selector_cls


def check_sendfile(sock: Any, file: Any, offset: int, count: int | None) -> None:
    """Check the arguments of ``socket.sendfile`` as that function does."""
    sock._check_sendfile_params(file, offset, count)


def give_up_on_sendfile(error: Exception) -> Exception:
    """Make the exception that tells ``socket.sendfile`` to read and send instead."""
    return socket._GiveupOnSendfile(error)  # type: ignore[attr-defined,no-any-return]


# --- asyncio


_HAS_TASK_OF_THREAD: Final = sys.version_info >= (3, 14)
"""Whether the task that runs is kept for a thread, not for a loop."""
_get_running_loop: Final = asyncio._get_running_loop
_set_running_loop: Final = asyncio._set_running_loop
_all_tasks: Final = asyncio.all_tasks
_get_hooks: Final = sys.get_asyncgen_hooks
_set_hooks: Final = sys.set_asyncgen_hooks
_get_depth: Final = sys.get_coroutine_origin_tracking_depth
_set_depth: Final = sys.set_coroutine_origin_tracking_depth


def leave_loop() -> tuple[Any, Any, Any, int] | None:
    """Let no event loop run in this thread, so that another one can. Returns what ``enter_loop`` needs, if one ran."""
    loop = _get_running_loop()
    if loop is None:
        return None
    task = asyncio.current_task(loop) if _HAS_TASK_OF_THREAD else None
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    left = loop, task, _get_hooks(), _get_depth()
    _set_running_loop(None)
    _set_hooks(None, None)
    if left[3]:
        _set_depth(0)
    return left


def enter_loop(left: tuple[Any, Any, Any, int]) -> None:
    """Let the event loop run again in this thread that ran before ``leave_loop``."""
    loop, task, hooks, depth = left
    _set_running_loop(loop)
    _set_hooks(*hooks)
    if depth:
        _set_depth(depth)
    if task is not None:
        asyncio.tasks._enter_task(loop, task)


_tasks: Final[Any] = getattr(asyncio.tasks, "_all_tasks", None)
"""The tasks of all loops, weakly; from Python 3.12 on there are two sets."""
_python_tasks: Final[Any] = getattr(asyncio.tasks, "_scheduled_tasks", _tasks)


def count_tasks() -> int:
    """Count the tasks of the process, of all its loops, as far as ``asyncio.all_tasks`` looks at each of them."""
    return len(_python_tasks.data)


_SocketTransport: Final[Any] = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
ACCEPT_RETRY_DELAY: Final[float] = asyncio.constants.ACCEPT_RETRY_DELAY  # type: ignore[attr-defined]
"""Seconds that a server without descriptors waits until it accepts again."""
TransportSocket: Final[Any] = asyncio.trsock.TransportSocket  # type: ignore[attr-defined]
"""What a transport shows of its socket."""
set_result_unless_cancelled: Final[Any] = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
ipaddr_info: Final[Any] = asyncio.base_events._ipaddr_info  # type: ignore[attr-defined]
"""Gives what ``getaddrinfo`` would of an address that is no name; ``None`` of a name."""


class SocketTransport(_SocketTransport):  # type: ignore[misc]
    """asyncio's own for a TCP socket, which refers to itself in a circle even once its connection is lost."""

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        super()._call_connection_lost(exc)
        self._read_ready_cb = None


SocketTransport.__name__ = SocketTransport.__qualname__ = _SocketTransport.__name__  # its repr, in logs
_HAS_TO_LOOK_FOR_TRANSPORT: Final = sys.version_info >= (3, 12)


def make_transport(loop: Any, sock: Any, protocol: Any, waiter: Any, extra: Any, server: Any) -> SocketTransport:
    """Do what ``_make_socket_transport`` of a selector event loop does."""
    if _HAS_TO_LOOK_FOR_TRANSPORT:
        loop._ensure_fd_no_transport(sock)
    return SocketTransport(loop, sock, protocol, waiter, extra, server)


def transports_of(loop: asyncio.AbstractEventLoop) -> list[asyncio.Transport]:
    """List the transports of a selector event loop that are open."""
    return list(loop._transports.values())  # type: ignore[attr-defined]


def has_callbacks(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether an event loop has callbacks to run in its next iteration."""
    return bool(loop._ready)  # type: ignore[attr-defined]


def has_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether an event loop has tasks that are not done."""
    if _tasks is None:
        return bool(_all_tasks(loop))
    for reference in list(_tasks.data):
        task = reference()
        if task is not None and not task.done() and task.get_loop() is loop:
            return True
    return False


def cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks of an event loop and wait for their ends, as ``Runner.close`` does first."""
    asyncio.runners._cancel_all_tasks(loop)  # type: ignore[attr-defined]


_PATIENCE: Final = () if sys.version_info < (3, 12) else (asyncio.constants.THREAD_JOIN_TIMEOUT,)  # type: ignore[attr-defined]


def shut_down(loop: Any) -> None:
    """End the asynchronous generators and the threads of an event loop, as ``Runner.close`` does next."""
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor(*_PATIENCE))


def has_to_shut_down(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether an event loop has asynchronous generators or threads that end with it."""
    return bool(loop._asyncgens) or loop._default_executor is not None  # type: ignore[attr-defined]


def keep_generators(loop: asyncio.AbstractEventLoop, kept: Any) -> None:
    """Let an event loop note its asynchronous generators in ``kept``, which does what a ``WeakSet`` of them does."""
    loop._asyncgens = kept  # type: ignore[attr-defined]


def processes_of(pool: Any) -> tuple[list[Any], threading.Thread | None]:
    """Return the processes of a ``ProcessPoolExecutor`` and the thread that manages them."""
    return list((pool._processes or {}).values()), pool._executor_manager_thread


def awaited_by(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """Return the future that a task waits for; ``None`` if it is about to run."""
    found: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    return found


def gathered_by(future: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
    """List what the future of ``asyncio.gather`` waits for; nothing for any other future."""
    return list(getattr(future, "_children", ()))


def tasks_in_group(group: asyncio.TaskGroup) -> list[asyncio.Task[Any]]:
    """List the tasks of a ``TaskGroup`` that are not done."""
    return list(group._tasks)


def timers_of(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """List what an event loop is to call later, and what of that was not cancelled."""
    return [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


def is_planned(timer: asyncio.TimerHandle) -> bool:
    """Tell whether an event loop still has to call it."""
    return bool(timer._scheduled) and not timer.cancelled()  # type: ignore[attr-defined]


class _NumberedTimer(asyncio.TimerHandle):
    """A timer that comes after those of its time that were set before: in debug mode asyncio's own heap has them."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        mine, its = (self._when, self._scheduled), (other._when, other._scheduled)  # type: ignore[attr-defined]
        return bool(mine < its)


_NumberedTimer.__name__ = _NumberedTimer.__qualname__ = asyncio.TimerHandle.__name__  # its repr, in logs


def number_timer(timer: asyncio.TimerHandle, number: int) -> None:
    """Give a timer that asyncio has just planned its place among those of its time."""
    timer.__class__ = _NumberedTimer
    timer._scheduled = number  # type: ignore[attr-defined]
    if timer._source_traceback:  # type: ignore[attr-defined]
        del timer._source_traceback[-1]  # type: ignore[attr-defined]


def app_transport(protocol: Any) -> Any:
    """Return the transport above TLS, for the program, from asyncio's protocol below it."""
    return protocol._get_app_transport()


def event_loop_policy() -> Any:
    """Return the class whose ``new_event_loop`` the default policy has."""
    if _policy is not None:
        return type(_policy)
    return asyncio.DefaultEventLoopPolicy.__mro__[1]


# --- types made in C


_into_types: Final[dict[type, tuple[dict[str, object], Callable[[], object]]]] = {}
"""Of each type that was written into: its dictionary, and what makes CPython forget what it found there."""


def put_into_type(kind: type, name: str, value: object) -> None:
    """Set an attribute of a type that is made in C and refuses it."""
    put_all_into_type(kind, {name: value})


def put_all_into_type(kind: type, values: dict[str, object]) -> None:
    """Set several attributes of such a type."""
    found = _into_types.get(kind)
    if found is None:
        forget = functools.partial(ctypes.pythonapi.PyType_Modified, ctypes.py_object(kind))
        found = _into_types[kind] = gc.get_referents(kind.__dict__)[0], forget
    found[0].update(values)
    found[1]()
