"""Replaces functions of the standard library, thread by thread.

While anything is installed, functions of ``socket``, ``select``, ``selectors``, ``time``, ``threading``, ``queue``,
``asyncio``, ``ssl``, ``os`` and ``random`` are replaced by ones that look at the caller: a program of a host gets the
host's function, any other code the original. Afterwards the originals are restored.

- ``socket.socket`` stays the class it is; for a program of a host its ``__new__`` makes an ``estab.Socket``, a
  subclass. So early bindings (``from socket import socket``), ``isinstance`` and subclasses work as ever.
- ``asyncio.SelectorEventLoop`` likewise, if a program makes one itself and passes no selector.
- ``ssl`` looks at the socket, not at the caller: one of ours is wrapped into an ``ssl.SSLSocket`` that is one of ours.
- A function that was taken before (``from time import sleep``, ``def f(sleep=time.sleep)``) is replaced there too: see
  ``places``. What was kept in an object is not found.
- Libraries that open sockets in C can't be replaced; the known ones refuse (``natives``).
- Clocks, the calendar, entropy, and what a process is told of itself, are replaced only if the host's are virtual.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import io
import os
import platform
import queue
import random
import select
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from estab import cpython
from estab.sockets.ordinals import hash_by_number, set_in_order
from estab.sockets.polling.event_loop import all_tasks
from estab.sockets.runtime import activated, current, ensure_may_sleep
from estab.sockets.socket import tls
from estab.sockets.socket.socket import Socket
from estab.sockets.standin import identity, limits, numbers, paths, signals, stand_ins, threads
from estab.sockets.standin.natives import Guard
from estab.sockets.standin.places import (
    INHERITED,
    Batch,
    Found,
    Others,
    Place,
    functions_of,
    has_places,
    is_simple,
    places_in_class,
    places_in_function,
)

try:
    import fcntl
    import resource
except ImportError:  # if the system has none
    fcntl = resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from estab import cpython
from estab.sockets.runtime import Runtime

__all__ = ["installed", "kept", "patched", "stand_in_for"]


@contextmanager
def installed(runtime: Runtime) -> Iterator[None]:
    """Make code in this thread and context a program of ``runtime``, with the standard library's functions replaced."""
    with patched(), activated(runtime):
        yield


def patched() -> _Patched:
    """Replace the standard library's functions in a ``with`` block. May be nested, and used by several threads."""
    return _Patched()


def kept() -> _Kept:
    """Leave them replaced between the runs in a ``with`` block, for many short runs: it takes a tenth of such a one.

    Each run begins with all of them replaced, whatever was set in the meantime, as it does outside of the block.
    """
    return _Kept()


class _Patched:
    is_keeper = False

    def __enter__(self) -> None:
        with _lock:
            _patches.users += 1
            _patches.keepers += self.is_keeper
            if _patches.users == 1:
                _apply()
            elif not self.is_keeper and _patches.users == _patches.keepers + 1:
                _renew()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        with _lock:
            _patches.users -= 1
            _patches.keepers -= self.is_keeper
            if _patches.users == 0:
                _undo()
            elif _patches.inner_hook is not None and _patches.users == _patches.keepers:
                _patches.inner_hook.undo()
                _patches.inner_hook = None


class _Kept(_Patched):
    is_keeper = True


def stand_in_for(function: Any) -> Any:
    """Return the function that a program is to run: the replacement of a standard function, any other as it is.

    If a function keeps an original in a variable of an enclosing function, that is replaced, too.
    """
    if not is_simple(function):
        _adopt(function)
    if type(function) is functools.partial:
        args = [stand_in_for(argument) for argument in function.args]
        return functools.partial(stand_in_for(function.func), *args, **function.keywords)
    return _replacements_by_identity().get(id(function), function)


# --- what is replaced

_lock: Final = threading.RLock()
_socket_class: Final = socket.socket
_new_socket: Final = _socket_class.__new__
_init_socket: Final = _socket_class.__init__
_sleep: Final = time.sleep
_loop_class: Final = asyncio.SelectorEventLoop


class _Patches:
    """What is replaced now, and which early bindings are known."""

    def __init__(self) -> None:
        self.users = 0
        self.keepers = 0
        """Those of them that only leave things replaced between runs."""
        self.hook = Place(threading, "excepthook", None, None)
        """``threading.excepthook``, which programs set."""
        self.inner_hook: Place | None = None
        """The same, if it was set between two runs that keep things replaced."""
        self.scanned: weakref.WeakSet[ModuleType] = weakref.WeakSet()
        self.seen: tuple[int, str] = (0, "")
        """How many modules there were at the last look, and the newest of them."""
        self.early = Found()
        self.adopted: weakref.WeakSet[FunctionType] = weakref.WeakSet()
        """Functions that run as programs, and those that they have from enclosing functions: as far as they may keep
        a function.
        """


_patches: Final = _Patches()
_guard: Final = Guard()


def _dispatch(original: Any, stand_in: stand_ins.StandIn, *, only_virtual: bool) -> Any:
    """Make a function that decides by its caller."""

    @functools.wraps(original)
    def dispatch(*args: Any, **kwargs: Any) -> Any:
        runtime = current()
        if runtime is None or (only_virtual and not runtime.is_virtual):
            return original(*args, **kwargs)
        return stand_in(runtime, *args, **kwargs)

    return dispatch


def _behind(stand_in: stand_ins.StandIn, original: Any, runtime: Runtime, *args: Any, **kwargs: Any) -> Any:
    """Call a replacement that passes the operating system's own descriptors to the original."""
    return stand_in(runtime, original, *args, **kwargs)


class _StandIn:
    """A function that decides by its caller. Like a builtin it does not become a method in a class."""

    def __init__(self, original: Any, stand_in: stand_ins.StandIn, *, only_virtual: bool) -> None:
        self._original = original
        self._stand_in = stand_in
        self._only_virtual = only_virtual
        functools.update_wrapper(self, original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        runtime = current()
        if runtime is None or (self._only_virtual and not runtime.is_virtual):
            if self._original is _sleep:
                ensure_may_sleep()
            return self._original(*args, **kwargs)
        return self._stand_in(runtime, *args, **kwargs)


@functools.cache
def _functions() -> tuple[Place, ...]:
    """Every function that is replaced in its module and in all other places that keep it."""
    patches: list[Place] = []

    def add(owner: Any, names: dict[str, stand_ins.StandIn], *, only_virtual: bool, is_wrapper: bool = False) -> None:
        for name, stand_in in names.items():
            original = getattr(owner, name, None)
            if original is not None:
                found = functools.partial(_behind, stand_in, original) if is_wrapper else stand_in
                patches.append(Place(owner, name, original, _StandIn(original, found, only_virtual=only_virtual)))

    everywhere: list[tuple[Any, dict[str, stand_ins.StandIn]]] = [
        (socket, stand_ins.socket_stand_ins()), (select, stand_ins.select_stand_ins()),
        (cpython.thread_module, threads.start_stand_ins(cpython.thread_module)),
        (threading, threads.start_stand_ins(threading)), (asyncio, {"new_event_loop": stand_ins.new_event_loop}),
    ]
    in_virtual_time: list[tuple[Any, dict[str, stand_ins.StandIn]]] = [
        (time, stand_ins.time_stand_ins()), (os, {"urandom": stand_ins.urandom}), (os, identity.os_stand_ins()),
        (os, signals.os_stand_ins()), (signal, signals.signal_stand_ins()), (platform, identity.platform_stand_ins()),
        (uuid, identity.uuid_stand_ins()), (random, {"_urandom": stand_ins.urandom}),
        (random, stand_ins.entropy_stand_ins()), (threading, threads.lock_stand_ins()),
        (queue, {"SimpleQueue": threads.new_simple_queue}),
    ]
    for owner, names in everywhere:
        add(owner, names, only_virtual=False)
    for place in patches:
        if place.name == "epoll":
            make = select.epoll.fromfd
            place.replacement.fromfd = _StandIn(make, stand_ins.epoll_from_number, only_virtual=False)
    for owner, names in in_virtual_time:
        add(owner, names, only_virtual=True)
    for owner, names in ((fcntl, numbers.fcntl_stand_ins()), (os, numbers.os_stand_ins()),
                         (builtins, numbers.open_stand_in()), (io, numbers.open_stand_in())):
        add(owner, names, only_virtual=False, is_wrapper=True)
    for owner, names in ((os, numbers.pipe_stand_ins()), (os, paths.path_stand_ins()),
                         (resource, limits.limit_stand_ins())):
        add(owner, names, only_virtual=True, is_wrapper=True)
    add(asyncio.tasks, {"all_tasks": all_tasks}, only_virtual=True, is_wrapper=True)
    return tuple(patches)


@functools.cache
def _members() -> tuple[Place, ...]:
    """What is replaced in classes of the standard library, which keep a function for later."""
    patches = []
    by_original = {id(patch.original): patch.replacement for patch in _functions()}
    for owner, name in ((selectors, "EpollSelector"), (selectors, "PollSelector")):
        selector = getattr(owner, name, None)
        if selector is not None:
            kept = cpython.selector_member(selector)
            patches.append(Place(selector, "_selector_cls", kept, staticmethod(by_original[id(kept)])))
    kept = cpython.selector_member(selectors.SelectSelector)
    patches.append(Place(selectors.SelectSelector, "_select", kept, staticmethod(by_original[id(select.select)])))
    policy = cpython.event_loop_policy()
    original = policy.__dict__["new_event_loop"]
    new_loop = _dispatch(original, stand_ins.new_event_loop, only_virtual=False)
    patches.append(Place(policy, "new_event_loop", original, new_loop))
    for name, stand_in in (("join", threads.join), ("is_alive", threads.is_alive)):
        original = threading.Thread.__dict__[name]
        patches.append(Place(threading.Thread, name, original, _dispatch(original, stand_in, only_virtual=False)))
    for owner, name, original, first in cpython.name_counters:
        count = _dispatch(original, threads.count_names(owner.__name__, first), only_virtual=True)
        patches.append(Place(owner, name, original, count if owner is threading else staticmethod(count)))
    start = subprocess.Popen.__init__
    refuse = _dispatch(signals.start_process(start), signals.refuse_popen, only_virtual=True)
    patches.append(Place(subprocess.Popen, "__init__", start, refuse))
    if cpython.ssl_wrap is not None:
        patches.append(Place(ssl.SSLContext, "_wrap_socket", INHERITED, tls.new_wrap_socket(cpython.ssl_wrap)))
    patches.append(Place(ssl.SSLSocket, "_create", cpython.ssl_create, tls.new_create(cpython.ssl_create)))
    for owner in (asyncio.base_events, asyncio.tasks):
        patches.append(Place(owner, "set", INHERITED, set_in_order))
    for kind, name, original, replacement in identity.CALENDAR:
        patches.append(Place(kind, name, original, replacement, cpython.put_into_type))
    seed = random.Random.__dict__["seed"]
    patches.append(Place(random.Random, "seed", seed, _seed_from(seed)))
    return tuple(patches)


@functools.cache
def _batch() -> Batch:
    hash_by_number()
    return Batch([*_functions(), *_members()])


def _seed_from(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        runtime = current()
        if a is None and runtime is not None and runtime.is_virtual:
            a = int.from_bytes(runtime.entropy(32), "big")
        original(self, a, version)

    return seed


def _new(cls: type[socket.socket], *args: Any, **kwargs: Any) -> socket.socket:
    """Replace ``socket.socket.__new__``: a program of a host gets a socket of that host."""
    runtime = current()
    if runtime is None or issubclass(cls, Socket) or _is_of_the_system(runtime, *args, **kwargs):
        return _new_socket(cls)
    if cls is _socket_class:
        return Socket.__new__(Socket)
    return Socket.__new__(tls.mixture(cls))


def _init(self: socket.socket, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
    """Replace ``socket.socket.__init__``, which subclasses call by that name (PySocks): one of a host opens there."""
    if isinstance(self, Socket):
        Socket.__init__(self, family, type, proto, fileno)
    else:
        _init_socket(self, family, type, proto, fileno)


def _new_loop(cls: type[asyncio.AbstractEventLoop], *args: Any, **kwargs: Any) -> asyncio.AbstractEventLoop:
    """Replace ``SelectorEventLoop.__new__``: a program gets its host's, unless it passes a selector."""
    runtime = current()
    if runtime is None or cls is not _loop_class or args or kwargs:
        return object.__new__(cls)
    return runtime.new_event_loop()


def _is_of_the_system(runtime: Runtime, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None,
                      **unknown: Any) -> bool:
    """Tell whether a program in real time means a socket of the operating system: a Unix one, or an existing one."""
    if runtime.is_virtual:
        return False
    if fileno is not None:
        return fileno not in runtime.by_number and fileno not in runtime.detached
    return family not in (-1, socket.AF_INET, socket.AF_INET6)


# --- doing and undoing it


def _apply() -> None:
    _batch().apply()
    hook = threading.excepthook
    if _patches.hook.original is not hook:
        _patches.hook = Place(threading, "excepthook", hook, threads.quiet_excepthook(hook, current))
    _patches.hook.apply()
    _apply_to_classes()
    _scan(_replacements(), is_undoing=False)
    _patches.early.apply()
    _exchange_adopted(_replacements())
    _guard.apply()


def _renew() -> None:
    """Replace again what something else was set for since ``_apply``."""
    _batch().renew()
    hook = threading.excepthook
    if hook is not _patches.hook.replacement:
        _patches.inner_hook = Place(threading, "excepthook", hook, threads.quiet_excepthook(hook, current))
        _patches.inner_hook.apply()
    if _socket_class.__new__ is not _new or _socket_class.__init__ is not _init or _loop_class.__new__ is not _new_loop:
        _apply_to_classes()


def _apply_to_classes() -> None:
    _socket_class.__new__ = _new  # type: ignore[method-assign,assignment]
    _socket_class.__init__ = _init  # type: ignore[method-assign]
    _loop_class.__new__ = _new_loop  # type: ignore[method-assign,assignment]


def _undo() -> None:
    _guard.undo()
    del _socket_class.__new__, _loop_class.__new__
    _socket_class.__init__ = _init_socket  # type: ignore[method-assign]
    _patches.hook.undo()
    _batch().undo()
    # Modules that were imported meanwhile have the replacements by name.
    _scan(_originals(), is_undoing=True)
    _patches.early.undo()
    _exchange_adopted(_originals())


def _scan(others: Others, *, is_undoing: bool) -> None:
    """Find the places in which modules that were not looked at before keep a replaced function."""
    seen = (len(sys.modules), next(reversed(sys.modules)))
    if seen == _patches.seen:
        return
    _patches.seen = seen
    homes = {(id(patch.owner), patch.name) for patch in _functions()}
    for name, module in list(sys.modules.items()):
        if not issubclass(type(module), ModuleType) or module in _patches.scanned:  # cffi has some that only look so
            continue
        _patches.scanned.add(module)
        if name == "estab" or name.startswith("estab."):
            continue
        for place in _places_in_module(module, name, others):
            if (id(place.owner), place.name) not in homes:
                _patches.early.add(place.turned() if is_undoing else place)


def _places_in_module(module: ModuleType, name: str, others: Others) -> Iterator[Place]:
    for key, value in list(vars(module).items()):
        other = others.of(value)
        if other is not None:
            yield Place(module, key, value, other)
        elif type(value) is FunctionType:
            if value.__module__ == name:
                yield from places_in_function(value, others)
        elif issubclass(type(value), type) and value.__module__ == name:
            yield from places_in_class(value, others)


def _adopt(thing: Any) -> None:
    """Replace what a program's functions have from enclosing functions, now and whenever anything is replaced."""
    for function in functions_of(thing):
        if has_places(function) and function not in _patches.adopted:
            _patches.adopted.add(function)
            for place in places_in_function(function, _replacements()):
                place.apply()


def _exchange_adopted(others: Others) -> None:
    if _patches.adopted:
        for function in list(_patches.adopted):
            for place in places_in_function(function, others):
                place.apply()


@functools.cache
def _replacements_by_identity() -> dict[int, Any]:
    return {id(patch.original): patch.replacement for patch in _functions()}


@functools.cache
def _replacements() -> Others:
    return Others(_replacements_by_identity(), identity.calendar_alias)


@functools.cache
def _originals() -> Others:
    return Others({id(patch.replacement): patch.original for patch in _functions()})
