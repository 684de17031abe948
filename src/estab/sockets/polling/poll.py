"""``select``, ``poll`` and ``epoll`` over sockets of ours, with the arguments and results of the ``select`` module.

``Interests`` serves ``Epoll`` and the selector: it looks only at sockets that had news, however many there are.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from estab.abi import AF_INET6, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP, SOCK_DGRAM
from estab.errors import os_error
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.pipe import PipeEnd
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.polling.os_events import OsEvents
from estab.sockets.runtime import Runtime, Wait
from estab.tcp.state import State
from estab.units import MS, SECOND

if TYPE_CHECKING:
    from estab.host.sockets.files import Descriptor
    from estab.sockets.runtime import Numbered

__all__ = [
    "Interests", "Poll", "deadline_from", "describe", "find_socket", "is_closed", "is_serving", "number_of", "select",
]

_ALWAYS: Final = POLLERR | POLLHUP
_READ: Final = POLLIN | POLLHUP | POLLERR
_WRITE: Final = POLLOUT | POLLERR
_ET: Final = 1 << 31
_ONESHOT: Final = 1 << 30
_SPIN_WEIGHT: Final = 100
_READY_WEIGHT: Final = 10
"""Of a look that finds something: a program that asks whether it may write, and writes nothing, looks for ever."""


def deadline_from(runtime: Runtime, timeout_s: float | None) -> int | None:
    """Turn a timeout in seconds into a time of the runtime's clock."""
    return None if timeout_s is None else runtime.now_ns + max(0, math.ceil(timeout_s * SECOND))


def find_socket(runtime: Runtime, fileobj: Any) -> Numbered | None:
    """Find the socket that an object with ``fileno()``, or a number, stands for.

    ``None`` if it is one of the operating system's. In virtual time the host can't wait for those, and ``OSError``
    EBADF says so.
    """
    number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(number, int):
        raise TypeError("argument must be an int, or have a fileno() method.")
    if number < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({number})")
    socket = runtime.by_number.get(number)
    if socket is None and runtime.is_virtual:
        raise os_error(errno.EBADF, f"bad file descriptor: {number} is not a socket of host {runtime.name}; the "
                       "operating system's descriptors can't be waited for here")
    return socket


class Interest:
    """The events registered for one socket: POLL bits, with epoll's EPOLLET and EPOLLONESHOT."""

    __slots__ = ("descriptor", "events", "fd", "number")

    def __init__(self, number: int, descriptor: Descriptor, events: int) -> None:
        self.number = number
        self.descriptor = descriptor
        self.fd: int = descriptor.fd
        self.events = events

    def bits(self) -> int:
        """Return the registered bits that hold now."""
        if self.descriptor.fd < 0:
            return POLLNVAL
        return self.descriptor.readiness() & (self.events | _ALWAYS) & 0xFFFF


class Interests:
    """Sockets by the number of their ``fileno()``, the events registered for each, and which may be ready."""

    def __init__(self, runtime: Runtime, describe: Callable[[str], str] | None = None) -> None:
        self.runtime = runtime
        self._words = describe or self.describe
        self._asked: dict[int, Interest] = {}
        self._by_fd: dict[int, Interest] = {}
        self._maybe_ready: dict[Interest, None] = {}
        self._os: OsEvents | None = None
        self._is_woken = False
        self.on_news: Callable[[], None] | None = None
        """Called when something may have become ready, for an epoll object that has a number."""

    def __contains__(self, number: int) -> bool:
        return number in self._asked or (self._os is not None and number in self._os)

    def add(self, number: int, socket: Numbered | None, events: int) -> None:
        """Register a socket that is not registered, or a descriptor of the operating system (``None``)."""
        if socket is None:
            if self._os is None:
                self._os = OsEvents()
            self._os.add(number, events)
            return
        interest = Interest(number, socket.descriptor, events)
        self._asked[number] = interest
        self._by_fd[interest.fd] = interest
        self.runtime.watches.add(interest.fd, self)
        self._note(interest)

    def modify(self, number: int, events: int) -> None:
        """Change the events. ``KeyError`` if it is not registered."""
        if self._os is not None and number in self._os:
            self._os.modify(number, events)
            return
        interest = self._asked[number]
        interest.events = events
        self._note(interest)

    def _note(self, interest: Interest) -> None:
        """Look at a socket again: it may be ready."""
        self._maybe_ready[interest] = None
        if self.on_news is not None:
            self.on_news()

    def remove(self, number: int) -> None:
        """Remove it. ``KeyError`` if it is not registered."""
        if self._os is not None and number in self._os:
            self._os.remove(number)
            return
        interest = self._asked.pop(number)
        self._maybe_ready.pop(interest, None)
        if self._by_fd.get(interest.fd) is interest:
            del self._by_fd[interest.fd]
            self.runtime.watches.remove(interest.fd, self)

    def clear(self) -> None:
        """Remove all."""
        for number in list(self._asked):
            self.remove(number)
        if self._os is not None:
            self._os.close()
            self._os = None

    def on_ready(self, fd: int, bits: int) -> None:
        """Note a socket's news."""
        interest = self._by_fd.get(fd)
        if interest is None:
            return
        if bits & POLLNVAL:
            # As epoll does, forget a descriptor when it is closed.
            del self._by_fd[fd]
            self._maybe_ready.pop(interest, None)
            self._asked.pop(interest.number, None)
        else:
            self._note(interest)

    def wake(self) -> None:
        """Let ``wait`` return now. Any program may call it."""
        self._is_woken = True
        self.runtime.poke()

    def collect(self, count_max: int) -> list[tuple[int, int]]:
        """Return those that are ready: number and bits. What is not ready is not looked at again before it has news."""
        found: list[tuple[int, int]] = []
        for interest in list(self._maybe_ready):
            bits = interest.bits()
            if not bits or interest.events == _ONESHOT:
                del self._maybe_ready[interest]
                continue
            found.append((interest.number, bits))
            if interest.events & _ET:
                del self._maybe_ready[interest]
            if interest.events & _ONESHOT:
                interest.events = _ONESHOT
            if len(found) == count_max:
                return found
        if self._os is not None:
            found += self._os.collect(count_max - len(found) if count_max > 0 else -1)
        return found

    def wait(self, timeout_s: float | None, count_max: int, name: str) -> list[tuple[int, int]]:
        """Wait until some are ready, ``wake`` is called or the timeout is over."""
        runtime = self.runtime
        with runtime.lock:
            found = self.collect(count_max)
            if not found and not self._is_woken:
                if timeout_s is not None and timeout_s <= 0:
                    runtime.spin(_SPIN_WEIGHT)
                else:
                    deadline_ns = deadline_from(runtime, timeout_s)
                    os_fd = self._os.fileno() if self._os is not None else -1
                    runtime.wait(
                        Wait(self._has_news, lambda: self._words(name), deadline_ns, -1, self._is_serving, os_fd))
                found = self.collect(count_max)
            elif found:
                runtime.spin(_READY_WEIGHT)
            self._is_woken = False
            return found

    def system_number(self) -> int:
        """Return the epoll object of the system that has those of its descriptors that are asked for here."""
        if self._os is None:
            self._os = OsEvents()
        return self._os.fileno()

    def _has_news(self) -> bool:
        return self._is_woken or self.is_ready()

    def is_ready(self) -> bool:
        """Tell whether one of the host's is ready now."""
        for interest in self._maybe_ready:
            if interest.bits():
                return True
        return False

    def _is_serving(self) -> bool:
        return any(interest.events & POLLIN and is_serving(interest.descriptor) for interest in self._asked.values())

    def describe(self, name: str) -> str:
        """Say what a call waits for."""
        return describe_wait(name, [interest.descriptor for interest in self._asked.values()])


def is_serving(descriptor: Descriptor) -> bool:
    """Tell whether new clients may come on a descriptor: a listener, or a bound datagram socket without a peer."""
    if isinstance(descriptor, StreamSocket):
        return descriptor.listener is not None
    if isinstance(descriptor, LocalSocket):
        is_bound = descriptor.kind == SOCK_DGRAM and bool(descriptor.name) and descriptor.peer is None
        return descriptor.is_listening() or is_bound
    return isinstance(descriptor, DatagramSocket) and descriptor.binding is not None and not descriptor.remote


def describe(descriptor: Descriptor) -> str:
    """Name a descriptor as ``ss`` does: addresses, and TCP's state."""
    if isinstance(descriptor, StreamSocket):
        version = ", IPv6" if descriptor.listener is not None and descriptor.family == AF_INET6 else ""
        return f"{descriptor.text()} ({State(descriptor.state)}{version})"
    if isinstance(descriptor, (DatagramSocket, LocalSocket, PipeEnd)):
        return descriptor.text()
    return f"fd {descriptor.fd}"


def describe_wait(name: str, descriptors: Sequence[Descriptor]) -> str:
    """Say what a call on several descriptors waits for."""
    shown = ", ".join(describe(descriptor) for descriptor in descriptors[:4])
    more = f" and {len(descriptors) - 4} more" if len(descriptors) > 4 else ""
    return f"{name}() on {shown or 'no socket'}{more}"


def _wait_for(runtime: Runtime, asked: Sequence[tuple[Descriptor, int]], timeout_s: float | None, name: str,
              os_events: OsEvents | None) -> None:
    """Wait until one of a few descriptors has one of its registered bits."""

    def is_ready() -> bool:
        return any(descriptor.fd < 0 or descriptor.readiness() & bits for descriptor, bits in asked)

    def serves() -> bool:
        return any(bits & POLLIN and is_serving(descriptor) for descriptor, bits in asked)

    if is_ready() or (os_events is not None and os_events.collect()):
        runtime.spin(_READY_WEIGHT)
        return
    if timeout_s is not None and timeout_s <= 0:
        runtime.spin(_SPIN_WEIGHT)
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
    wanted = (_READ | POLLRDHUP, _WRITE, POLLPRI)
    with runtime.lock:
        asked = [[(fileobj, find_socket(runtime, fileobj)) for fileobj in fileobjs] for fileobjs in lists]
        ours = [(socket.descriptor, bits) for group, bits in zip(asked, wanted, strict=True)
                for _, socket in group if socket is not None]
        others = [(number_of(fileobj), bits) for group, bits in zip(asked, wanted, strict=True)
                  for fileobj, socket in group if socket is None]
        with _system_events(others) as os_events:
            _wait_for(runtime, ours, timeout, "select", os_events)
            ready = dict(os_events.collect()) if os_events is not None else {}
        found = [
            [fileobj for fileobj, socket in group
             if (ready.get(number_of(fileobj), 0) if socket is None else socket.descriptor.readiness()) & bits]
            for group, bits in zip(asked, wanted, strict=True)
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
            gone = [number for number in self._asked if number not in runtime.by_number and is_closed(number)]
            if gone:
                return [(number, POLLNVAL) for number in gone]
            asked: list[tuple[int, Descriptor, int]] = []
            others: list[tuple[int, int]] = []
            for number, events in self._asked.items():
                socket = find_socket(runtime, number)
                if socket is None:
                    others.append((number, events))
                else:
                    asked.append((number, socket.descriptor, events | _ALWAYS))
            with _system_events(others) as os_events:
                _wait_for(runtime, [(descriptor, events) for _, descriptor, events in asked], timeout_s, "poll",
                          os_events)
                found = os_events.collect() if os_events is not None else []
            return found + [
                (number, bits) for number, descriptor, events in asked
                if (bits := POLLNVAL if descriptor.fd < 0 else descriptor.readiness() & events)
            ]


def number_of(fd: Any) -> int:
    """Return the number of an object with ``fileno()``, or a number itself. ``ValueError`` if it is negative."""
    number = fd if isinstance(fd, int) else fd.fileno()
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
