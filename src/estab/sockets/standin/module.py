"""Stands in for the standard library, thread by thread.

While anything is installed, functions of ``socket``, ``select``, ``selectors``, ``time``, ``threading``, ``queue``,
``asyncio``, ``ssl``, ``os`` and ``random`` are replaced by ones that look at who calls: a program of a host gets the
host's, everybody else the original. Undone, everything is as it was.

- ``socket.socket`` stays the class it is; for a program of a host its ``__new__`` makes an ``estab.Socket``, a
  subclass. So early bindings (``from socket import socket``), ``isinstance`` and subclasses work as ever.
- So does ``asyncio.SelectorEventLoop``, where a program makes one itself and brings no selector.
- ``ssl`` looks at the socket, not at who calls: one of ours is wrapped into an ``ssl.SSLSocket`` that is one of ours.
- A function that some module took by name before (``from time import sleep``), or a class of it (``poller =
  select.epoll``), is replaced there too. What was kept in another place (a default argument) is not found.
- Libraries that open sockets in C can't be replaced; the known ones refuse (``natives``).
- Clocks and entropy are replaced only where the host's are virtual. ``datetime.now()`` can't be replaced.
"""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import random
import select
import selectors
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from estab import cpython
from estab.sockets.runtime import activated, current
from estab.sockets.socket import tls
from estab.sockets.socket.socket import Socket
from estab.sockets.standin import stand_ins, threads
from estab.sockets.standin.natives import Guard

try:
    import fcntl
except ImportError:  # where the system has none
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from estab import cpython
from estab.sockets.runtime import Runtime

__all__ = ["installed", "patched", "stand_in_for"]


@contextmanager
def installed(runtime: Runtime) -> Iterator[None]:
    """Make code in this thread and context a program of ``runtime``, with the standard library replaced."""
    with patched(), activated(runtime):
        yield


@contextmanager
def patched() -> Iterator[None]:
    """Have the standard library replaced. Nests, and may be used by several threads at once."""
    with _lock:
        _patches.users += 1
        if _patches.users == 1:
            _apply()
    try:
        yield
    finally:
        with _lock:
            _patches.users -= 1
            if _patches.users == 0:
                _undo()


def stand_in_for(function: Any) -> Any:
    """Give what stands in for one of the standard library's functions that was taken before; any other as it is."""
    for patch in _functions():
        if patch.original is function:
            return patch.replacement
    return function


# --- what is replaced

_INHERITED: Final = object()
"""Stands for an attribute that its owner has from a class above."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """An attribute, what it was and what stands in for it."""

    owner: Any
    name: str
    original: Any
    replacement: Any

    def apply(self) -> None:
        setattr(self.owner, self.name, self.replacement)

    def undo(self) -> None:
        if self.original is _INHERITED:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)


_lock: Final = threading.RLock()
_socket_class: Final = socket.socket
_new_socket: Final = _socket_class.__new__
_loop_class: Final = asyncio.SelectorEventLoop


class _Patches:
    """What is applied now, and what was learnt of early bindings."""

    def __init__(self) -> None:
        self.users = 0
        self.applied: list[_Patch] = []
        self.scanned: weakref.WeakSet[ModuleType] = weakref.WeakSet()
        self.seen: tuple[int, str] = (0, "")
        """How many modules there were, and the newest, when they were looked at last."""
        self.early: list[_Patch] = []


_patches: Final = _Patches()
_guard: Final = Guard()


def _dispatch(original: Any, stand_in: stand_ins.StandIn, only_virtual: bool) -> Any:
    """Make the function that decides by its caller."""

    @functools.wraps(original)
    def dispatch(*args: Any, **kwargs: Any) -> Any:
        runtime = current()
        if runtime is None or (only_virtual and not runtime.is_virtual):
            return original(*args, **kwargs)
        return stand_in(runtime, *args, **kwargs)

    return dispatch


def _behind(stand_in: stand_ins.StandIn, original: Any, runtime: Runtime, *args: Any, **kwargs: Any) -> Any:
    """Call a stand-in that leaves the operating system's own descriptors to the original."""
    return stand_in(runtime, original, *args, **kwargs)


class _StandIn:
    """A function that decides by its caller. As a builtin it binds to nothing, so that classes may keep it."""

    def __init__(self, original: Any, stand_in: stand_ins.StandIn, only_virtual: bool) -> None:
        self._dispatch = _dispatch(original, stand_in, only_virtual)
        functools.update_wrapper(self, original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._dispatch(*args, **kwargs)


@functools.cache
def _functions() -> tuple[_Patch, ...]:
    """Every function that is replaced where it lives and wherever it was taken to."""
    patches: list[_Patch] = []

    def add(owner: Any, names: dict[str, stand_ins.StandIn], only_virtual: bool) -> None:
        for name, stand_in in names.items():
            original = getattr(owner, name, None)
            if original is not None:
                patches.append(_Patch(owner, name, original, _StandIn(original, stand_in, only_virtual)))

    add(socket, stand_ins.socket_stand_ins(), False)
    add(select, stand_ins.select_stand_ins(), False)
    add(time, stand_ins.time_stand_ins(), True)
    add(os, {"urandom": stand_ins.urandom}, True)
    for owner, name, stand_in in (
        (fcntl, "ioctl", stand_ins.ioctl), (os, "sendfile", stand_ins.sendfile), (os, "read", stand_ins.read),
        (os, "write", stand_ins.write), (os, "close", stand_ins.close),
    ):
        original = getattr(owner, name, None)
        if original is not None:
            add(owner, {name: functools.partial(_behind, stand_in, original)}, False)
    add(random, {"_urandom": stand_ins.urandom}, True)
    add(random, stand_ins.entropy_stand_ins(), True)
    add(threading, threads.lock_stand_ins(), True)
    add(queue, {"SimpleQueue": threads.new_simple_queue}, True)
    add(cpython.thread_module, threads.start_stand_ins(cpython.thread_module), False)
    add(threading, threads.start_stand_ins(threading), False)
    add(asyncio, {"new_event_loop": stand_ins.new_event_loop}, False)
    return tuple(patches)


@functools.cache
def _members() -> tuple[_Patch, ...]:
    """What is replaced in classes: where the standard library itself keeps a function for later."""
    patches = []
    by_original = {id(patch.original): patch.replacement for patch in _functions()}
    for owner, name in ((selectors, "EpollSelector"), (selectors, "PollSelector")):
        selector = getattr(owner, name, None)
        if selector is not None:
            kept = cpython.selector_member(selector)
            patches.append(_Patch(selector, "_selector_cls", kept, staticmethod(by_original[id(kept)])))
    kept = cpython.selector_member(selectors.SelectSelector)
    patches.append(_Patch(selectors.SelectSelector, "_select", kept, staticmethod(by_original[id(select.select)])))
    policy = cpython.event_loop_policy()
    original = policy.__dict__["new_event_loop"]
    patches.append(_Patch(policy, "new_event_loop", original, _dispatch(original, stand_ins.new_event_loop, False)))
    for name, stand_in in (("join", threads.join), ("is_alive", threads.is_alive)):
        original = threading.Thread.__dict__[name]
        patches.append(_Patch(threading.Thread, name, original, _dispatch(original, stand_in, False)))
    patches.append(_Patch(ssl.SSLContext, "_wrap_socket", _INHERITED, tls.new_wrap_socket(cpython.ssl_wrap)))
    patches.append(_Patch(ssl.SSLSocket, "_create", cpython.ssl_create, tls.new_create(cpython.ssl_create)))
    seed = random.Random.__dict__["seed"]
    patches.append(_Patch(random.Random, "seed", seed, _seed_from(seed)))
    return tuple(patches)


def _seed_from(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        runtime = current()
        if a is None and runtime is not None and runtime.is_virtual:
            a = int.from_bytes(runtime.entropy(32), "big")
        original(self, a, version)

    return seed


def _new(cls: type[socket.socket], *args: Any, **kwargs: Any) -> socket.socket:
    """Stand in for ``socket.socket.__new__``: a program of a host gets a socket of that host."""
    runtime = current()
    if runtime is None or issubclass(cls, Socket) or _is_of_the_system(runtime, *args, **kwargs):
        return _new_socket(cls)
    if cls is _socket_class:
        return _new_socket(Socket)
    return _new_socket(tls.mixture(cls))


def _new_loop(cls: type[asyncio.AbstractEventLoop], *args: Any, **kwargs: Any) -> asyncio.AbstractEventLoop:
    """Stand in for ``SelectorEventLoop.__new__``: a program's is its host's, unless it brings a selector."""
    runtime = current()
    if runtime is None or cls is not _loop_class or args or kwargs:
        return object.__new__(cls)
    return runtime.new_event_loop()


def _is_of_the_system(runtime: Runtime, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None,
                      **unknown: Any) -> bool:
    """Tell whether a program in real time means a socket of the operating system's: a Unix one, or one that it has."""
    if runtime.is_virtual:
        return False
    if fileno is not None:
        return fileno not in runtime.by_number and fileno not in runtime.detached
    return family not in (-1, socket.AF_INET, socket.AF_INET6)


# --- doing and undoing it


def _apply() -> None:
    _patches.applied = [*_functions(), *_members()]
    hook = threading.excepthook
    _patches.applied.append(_Patch(threading, "excepthook", hook, threads.quiet_excepthook(hook, current)))
    for patch in _patches.applied:
        patch.apply()
    _socket_class.__new__ = _new  # type: ignore[method-assign,assignment]
    _loop_class.__new__ = _new_loop  # type: ignore[method-assign,assignment]
    _scan({id(patch.original): patch for patch in _functions()})
    for patch in _patches.early:
        if vars(patch.owner).get(patch.name) is patch.original:
            patch.apply()
    _guard.apply()


def _undo() -> None:
    _guard.undo()
    del _socket_class.__new__, _loop_class.__new__
    for patch in reversed(_patches.applied):
        patch.undo()
    # Modules that were imported meanwhile took the stand-ins by name.
    _scan({id(patch.replacement): patch for patch in _functions()})
    for patch in _patches.early:
        if vars(patch.owner).get(patch.name) is patch.replacement:
            patch.undo()
    _patches.applied = []


def _scan(by_id: dict[int, _Patch]) -> None:
    """Find where modules that were not looked at before keep a replaced function under a name of their own."""
    seen = (len(sys.modules), next(reversed(sys.modules)))
    if seen == _patches.seen:
        return
    _patches.seen = seen
    homes = {(id(patch.owner), patch.name) for patch in _functions()}
    for name, module in list(sys.modules.items()):
        if not issubclass(type(module), ModuleType) or module in _patches.scanned:  # cffi has some that only say so
            continue
        _patches.scanned.add(module)
        if name == "estab" or name.startswith("estab."):
            continue
        for key, value in list(vars(module).items()):
            patch = by_id.get(id(value))
            if patch is not None and (id(module), key) not in homes:
                _patches.early.append(_Patch(module, key, patch.original, patch.replacement))
            elif isinstance(value, type) and value.__module__ == name:
                for attribute, kept in list(vars(value).items()):
                    patch = by_id.get(id(kept))
                    if patch is not None:
                        _patches.early.append(_Patch(value, attribute, patch.original, patch.replacement))
