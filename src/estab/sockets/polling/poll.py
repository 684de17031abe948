"""``select`` and ``poll`` over sockets of ours, with the arguments and results of the ``select`` module."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from estab.abi import POLLERR, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDNORM, READ_BITS
from estab.errors import os_error
from estab.sockets.polling.interests import (
    ALWAYS,
    READY_WEIGHT,
    SPIN_WEIGHT,
    Interests,
    deadline_from,
    describe,
    describe_wait,
    held_bits,
    is_serving,
)
from estab.sockets.polling.os_events import OsEvents
from estab.sockets.runtime import Runtime
from estab.sockets.waiting import Wait
from estab.units import MS, SECOND

if TYPE_CHECKING:

    from estab.host.sockets.files import Descriptor
    from estab.sockets.runtime import Numbered

__all__ = [
    "Interests", "Poll", "deadline_from", "describe", "find_socket", "is_closed", "is_serving", "number_of", "select",
]

_SELECT: Final = (READ_BITS, POLLOUT | POLLERR, POLLPRI)
"""What makes a socket ready, by the list of ``select`` that it is in (Linux: POLLIN_SET, POLLOUT_SET, POLLEX_SET)."""


def find_socket(runtime: Runtime, fileobj: Any) -> Numbered | None:
    """Find the socket that an object with ``fileno()``, or a number, stands for.

    ``None`` if it is one of the operating system's. In virtual time the host can't wait for those, and ``OSError``
    EBADF says so.
    """
    number = number_of(fileobj)
    socket: Numbered | None = runtime.by_number.get(number)
    if socket is None and runtime.is_virtual:
        raise os_error(errno.EBADF, f"bad file descriptor: {number} is not a socket of host {runtime.name}; the "
                       "operating system's descriptors can't be waited for here")
    return socket


def _wait_for(runtime: Runtime, asked: Sequence[tuple[Descriptor, int]], timeout_s: float | None, name: str,
              os_events: OsEvents | None) -> None:
    """Wait until one of a few descriptors has one of its registered bits."""

    def is_ready() -> bool:
        return any(descriptor.fd < 0 or held_bits(descriptor, bits) for descriptor, bits in asked)

    def serves() -> bool:
        return any(bits & (POLLIN | POLLRDNORM) and is_serving(descriptor) for descriptor, bits in asked)

    if is_ready() or (os_events is not None and os_events.collect()):
        runtime.spin(READY_WEIGHT)
        return
    if timeout_s is not None and timeout_s <= 0:
        runtime.spin(SPIN_WEIGHT)
        return
    deadline_ns = deadline_from(runtime, timeout_s)
    words = lambda: describe_wait(name, [descriptor for descriptor, _ in asked])  # noqa: E731
    runtime.wait(Wait(is_ready, words, deadline_ns, -1, serves, -1 if os_events is None else os_events.fileno()))


@contextmanager
def _system_events(asked: Sequence[tuple[int, int]]) -> Iterator[OsEvents | None]:
    """Register the system's descriptors for one call."""
    if not asked:
        yield None
        return
    events: dict[int, int] = {}
    for number, bits in asked:
        events[number] = events.get(number, 0) | bits
    found = OsEvents()
    try:
        for number, bits in events.items():
            found.add(number, bits)
        yield found
    finally:
        found.close()


def select(
    runtime: Runtime, rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait until a socket of one of the lists is ready, as ``select.select``."""
    if timeout is not None and timeout < 0:
        raise ValueError("timeout must be non-negative")
    lists = [list(rlist), list(wlist), list(xlist)]
    with runtime.lock:
        asked = [[(fileobj, find_socket(runtime, fileobj)) for fileobj in fileobjs] for fileobjs in lists]
        ours = [(socket.descriptor, bits) for group, bits in zip(asked, _SELECT, strict=True)
                for _, socket in group if socket is not None]
        others = [(number_of(fileobj), bits) for group, bits in zip(asked, _SELECT, strict=True)
                  for fileobj, socket in group if socket is None]
        with _system_events(others) as os_events:
            _wait_for(runtime, ours, timeout, "select", os_events)
            ready = dict(os_events.collect()) if os_events is not None else {}
        found = [
            [fileobj for fileobj, socket in group
             if (ready.get(number_of(fileobj), 0) if socket is None else socket.descriptor.readiness()) & bits]
            for group, bits in zip(asked, _SELECT, strict=True)
        ]
    return found[0], found[1], found[2]


class Poll:
    """``select.poll()`` on a host."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asked: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = POLLIN | POLLPRI | POLLOUT, /) -> None:
        """Register a socket, or change its events."""
        self._asked[number_of(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Change the events. ENOENT if it is not registered."""
        number = number_of(fd)
        if number not in self._asked:
            raise os_error(errno.ENOENT)
        self._asked[number] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Remove it. ``KeyError`` if it is not registered."""
        del self._asked[number_of(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait up to ``timeout`` milliseconds (``None`` or negative: for ever). Returns numbers and bits."""
        runtime = self._runtime
        timeout_s = None if timeout is None or timeout < 0 else timeout * MS / SECOND
        with runtime.lock:
            found = {number: POLLNVAL for number in self._asked
                     if number not in runtime.by_number and is_closed(number)}
            if found:
                timeout_s = 0.0  # A closed one ends the wait, and the others are looked at all the same.
            asked: list[tuple[int, Descriptor, int]] = []
            others: list[tuple[int, int]] = []
            for number, events in self._asked.items():
                if number in found:
                    continue
                socket = find_socket(runtime, number)
                if socket is None:
                    others.append((number, events))
                else:
                    asked.append((number, socket.descriptor, events | ALWAYS))
            with _system_events(others) as os_events:
                _wait_for(runtime, [(descriptor, events) for _, descriptor, events in asked], timeout_s, "poll",
                          os_events)
                found.update(os_events.collect() if os_events is not None else [])
            for number, descriptor, events in asked:
                found[number] = POLLNVAL if descriptor.fd < 0 else held_bits(descriptor, events)
            return [(number, bits) for number in self._asked if (bits := found.get(number, 0))]


def number_of(fd: Any) -> int:
    """Return the number of an object with ``fileno()``, or a number itself. ``ValueError`` if it is negative."""
    if isinstance(fd, int):
        number = fd
    elif not hasattr(fd, "fileno"):
        raise TypeError("argument must be an int, or have a fileno() method.")
    elif not isinstance(number := fd.fileno(), int):
        raise TypeError("fileno() returned a non-integer")
    if number < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({number})")
    return int(number)


def is_closed(number: int) -> bool:
    """Tell whether a number is no open descriptor of the operating system either."""
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
