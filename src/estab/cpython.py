"""What estab uses of CPython that its documentation does not promise. No other file does, and a test looks.

Checked on CPython 3.11, 3.12 and 3.13. What is looked up by name here is bound when this module is imported, before
anything is replaced for programs.

- ``_thread``: plain locks and identities, even while ``threading`` is replaced.
- ``threading``: a thread that a program starts may never run; its object must say so.
- ``ssl``, ``selectors``, ``socket``, ``asyncio``: members that the standard library keeps for itself.
- Types made in C, whose attributes can't be set: ``put_into_type`` writes into their dictionary.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures.thread as futures_thread
import ctypes
import gc
import queue
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "THREAD_STARTERS", "allocate_lock", "app_transport", "begin_thread", "check_sendfile", "current_frames",
    "enter_loop", "event_loop_policy", "forget_thread", "get_ident", "give_up_on_sendfile", "is_idle_worker",
    "leave_loop", "new_rlock", "new_simple_queue", "put_into_type", "raise_in_thread", "register_atexit",
    "rlock_acquire_again", "rlock_release_all", "selector_member", "set_daemonic", "ssl_create", "ssl_wrap",
    "thread_module", "transports_of",
]

# --- _thread

thread_module: Final = _thread
allocate_lock: Final = _thread.allocate_lock
get_ident: Final = _thread.get_ident
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


def forget_thread(thread: threading.Thread) -> None:
    """Mark a thread that ended before it ran as ended: it is not listed, not waited for and gets no work."""
    threading._limbo.pop(thread, None)  # type: ignore[attr-defined]
    futures_thread._threads_queues.pop(thread, None)  # type: ignore[attr-defined]
    handle = getattr(thread, "_handle", None)
    if handle is None:
        thread._is_stopped = True  # type: ignore[attr-defined]
    else:
        handle._set_done()


def is_idle_worker(ident: int) -> bool:
    """Tell whether a thread is one of an executor's: such a thread waits for work, and for nothing else, for ever."""
    return any(thread.ident == ident for thread in futures_thread._threads_queues)


def raise_in_thread(ident: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as soon as that runs Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))


def current_frames() -> dict[int, Any]:
    """Return the frame that each thread runs, by the thread's ident."""
    return sys._current_frames()


# --- ssl, selectors, socket

ssl_wrap: Final[Any] = ssl.SSLContext._wrap_socket  # type: ignore[attr-defined]
ssl_create: Final[Any] = ssl.SSLSocket.__dict__["_create"]


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


def leave_loop() -> tuple[Any, Any, int] | None:
    """Let no event loop run in this thread, so that another one can. Returns what ``enter_loop`` needs, if one ran."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return None
    left = loop, sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()
    asyncio._set_running_loop(None)
    sys.set_asyncgen_hooks(None, None)
    sys.set_coroutine_origin_tracking_depth(0)
    return left


def enter_loop(left: tuple[Any, Any, int]) -> None:
    """Let the event loop run again in this thread that ran before ``leave_loop``."""
    loop, hooks, depth = left
    asyncio._set_running_loop(loop)
    sys.set_asyncgen_hooks(*hooks)
    sys.set_coroutine_origin_tracking_depth(depth)


def transports_of(loop: asyncio.AbstractEventLoop) -> list[asyncio.Transport]:
    """List the transports of a selector event loop that are open."""
    return list(loop._transports.values())  # type: ignore[attr-defined]


def app_transport(protocol: Any) -> Any:
    """Return the transport above TLS, for the program, from asyncio's protocol below it."""
    return protocol._get_app_transport()


def event_loop_policy() -> Any:
    """Return the class whose ``new_event_loop`` all default policies have."""
    return asyncio.DefaultEventLoopPolicy.__mro__[1]


# --- types made in C


def put_into_type(kind: type, name: str, value: object) -> None:
    """Set an attribute of a type that is made in C and refuses it."""
    gc.get_referents(kind.__dict__)[0][name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
