"""Calls of the sockets API, reported as facts: which call with which arguments, and what it returned or raised.

Without an observer this costs a call one attribute lookup. Calls that a call makes itself are not reported.
"""

from __future__ import annotations

import errno
import functools
import socket as os_socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol, TypeVar

from estab.errors import explain
from estab.events import CallBlocked, CallResumed, CallReturned, CallStarted
from estab.sockets.arguments import REFUSALS, refusal
from estab.sockets.socket.options import option_name

if TYPE_CHECKING:
    from estab.sockets.history import PastCall
    from estab.sockets.runtime import Runtime

__all__ = [
    "Telling", "blocked", "resumed", "telling_of_two", "told", "told_option", "write_arguments", "write_error",
    "write_value",
]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Teller")

_SHOWN_BYTES: Final = 32
_SHOWN_TEXT: Final = 200


class Teller(Protocol):
    """A socket whose calls are reported."""

    runtime: Runtime

    @property
    def fd(self) -> int:
        """The descriptor's number on its host; -1: none."""

    def past(self, runtime: Runtime) -> deque[PastCall] | None:
        """Return the history of calls; ``None`` if none is kept."""


def told(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make a method of a socket report to the host's observer that it was called, and what it returned or raised."""
    return _tell(method, write_arguments)


def told_option(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Do the same for ``getsockopt`` and ``setsockopt``, and write level and option by their names."""
    return _tell(method, _write_option)


def _tell(method: Callable[Concatenate[S, P], R],
          write: Callable[[tuple[object, ...], dict[str, object]], str]) -> Callable[Concatenate[S, P], R]:
    name = method.__name__.removeprefix("_")

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        runtime = self.runtime
        if runtime.engine.observer is None or runtime.call:
            try:
                return method(self, *args, **kwargs)
            except REFUSALS:
                _say_as_cpython(name, args, kwargs)
                raise
        with Telling(runtime, name, lambda: write(args, kwargs), self.fd, self.past(runtime)) as telling:
            try:
                result = method(self, *args, **kwargs)
            except REFUSALS:
                _say_as_cpython(name, args, kwargs)
                raise
            telling.returned(telling.fd, write_value(result))
            return result

    return call


def _say_as_cpython(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    """Raise what CPython raises of arguments that a call has refused. Returns if it would take them."""
    error = refusal(name, args, kwargs)
    if error is not None:
        try:
            raise error from None
        finally:
            del error  # else its traceback refers to this frame, and this to it


class Telling:
    """A call that is under way: its start is reported, then what it ``returned``, or its exception."""

    def __init__(self, runtime: Runtime, name: str, arguments: Callable[[], str], fd: int = -1,
                 past: deque[PastCall] | None = None) -> None:
        self.fd = fd
        self._past = past
        self._runtime = runtime
        self._name = name
        self._arguments = arguments
        self._number = 0

    def __enter__(self) -> Telling:
        runtime = self._runtime
        observer = runtime.engine.observer
        if observer is not None:
            runtime.calls += 1
            runtime.call = self._number = runtime.calls
            arguments = self._arguments()
            if runtime.historian is not None and self._past is not None:
                runtime.historian.begin(self._number, self._name, arguments, self._past)
            observer(CallStarted(runtime.now_ns, runtime.name, self._number, self.fd, self._name, arguments))
        return self

    def returned(self, fd: int, result: str) -> None:
        """Report what the call returns."""
        self._finish(fd, result, "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._finish(self.fd, "", write_error(error))
        elif self._number:
            self._runtime.call = 0
            if self._runtime.historian is not None:
                self._runtime.historian.forget(self._number)

    def _finish(self, fd: int, result: str, error: str) -> None:
        runtime = self._runtime
        observer = runtime.engine.observer
        if observer is not None and self._number:
            observer(CallReturned(runtime.now_ns, runtime.name, self._number, fd, self._name, result, error))
        runtime.call = 0


@contextmanager
def telling_of_two(runtime: Runtime, name: str, arguments: Callable[[], str] = str) -> Iterator[list[int]]:
    """Report a call that makes two descriptors. The code in the block puts their numbers into the list."""
    made: list[int] = []
    if runtime.engine.observer is None or runtime.call:
        yield made
        return
    with Telling(runtime, name, arguments) as telling:
        yield made
        telling.returned(made[0], f"({', '.join(f'<fd {fd}>' for fd in made)})")


def blocked(runtime: Runtime, fd: int, waits_for: str) -> int:
    """Report that the call under way has to wait. Returns its number, 0 if none is reported."""
    number = runtime.call
    observer = runtime.engine.observer
    runtime.call = 0
    if observer is not None and number:
        observer(CallBlocked(runtime.now_ns, runtime.name, number, fd, waits_for))
    return number


def resumed(runtime: Runtime, fd: int, number: int) -> None:
    """Report that a blocked call continues."""
    runtime.call = number
    observer = runtime.engine.observer
    if observer is not None and number:
        observer(CallResumed(runtime.now_ns, runtime.name, number, fd))


def write_arguments(args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    """Write a call's arguments as Python does, long ones shortened."""
    return ", ".join([*map(write_value, args), *(f"{name}={write_value(value)}" for name, value in kwargs.items())])


def _write_option(args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    level, name = args[:2]
    is_known = isinstance(level, int) and isinstance(name, int)
    words = option_name(int(level), int(name)) if is_known else f"{level!r}, {name!r}"  # type: ignore[call-overload]
    return ", ".join([words, *map(write_value, args[2:])])


def write_value(value: object) -> str:
    """Write a value as Python does: buffers over 32 bytes as their length, sockets as their descriptor."""
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value)) if len(value) <= _SHOWN_BYTES else f"<{len(value)} bytes>"
    if isinstance(value, memoryview):
        return f"<{value.nbytes} bytes>"
    if isinstance(value, os_socket.socket):
        return f"<fd {getattr(value, 'fd', -1)}>"
    if type(value) is tuple:
        return f"({', '.join(map(write_value, value))}{',' if len(value) == 1 else ''})"
    if type(value) is list:
        return f"[{', '.join(map(write_value, value))}]"
    text = value.name if isinstance(value, (os_socket.AddressFamily, os_socket.SocketKind)) else repr(value)
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"


def write_error(error: Exception) -> str:
    """Write an error: ``EAGAIN: …`` if it has an errno, else its class and text."""
    if isinstance(error, OSError) and not isinstance(error, os_socket.gaierror):
        name = errno.errorcode.get(error.errno or 0)
        if name is not None:
            return f"{name}: {explain(error)}"
    return f"{type(error).__name__}: {error}"
