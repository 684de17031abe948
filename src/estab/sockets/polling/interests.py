"""Sockets that are waited for together, and what they are waited for: what ``Epoll`` and the selector are made on.

It looks only at sockets that had news, however many there are. Compiled with the core.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from selectors import SelectorKey
from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from estab.abi import (
    AF_INET6,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    READ_BITS,
    SOCK_DGRAM,
    WRITE_BITS,
)
from estab.host.sockets.files import Descriptor
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.pipe import PipeEnd
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.polling.os_events import OsEvents
from estab.sockets.waiting import Unlocked, Wait
from estab.tcp.state import State
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.sockets.quick import Quick
    from estab.sockets.runtime import Numbered, Runtime

__all__ = [
    "ALWAYS", "EVENT_READ", "EVENT_WRITE", "READY_WEIGHT", "SPIN_WEIGHT", "Interest", "Interests", "deadline_from",
    "describe", "describe_wait", "held_bits", "is_serving", "wait_for",
]

ALWAYS: Final = POLLERR | POLLHUP
EVENT_READ: Final = 1
EVENT_WRITE: Final = 2
"""The events of ``selectors``."""
_BANDS: Final = POLLRDNORM | POLLWRNORM | POLLWRBAND
_ET: Final = 1 << 31
_ONESHOT: Final = 1 << 30
SPIN_WEIGHT: Final = 100
READY_WEIGHT: Final = 10
"""Of a look that finds something: a program that asks whether it may write, and writes nothing, looks for ever."""


def deadline_from(runtime: Runtime, timeout_s: float | None) -> int | None:
    """Turn a timeout in seconds into a time of the runtime's clock."""
    return None if timeout_s is None else runtime.now_ns + max(0, math.ceil(timeout_s * SECOND))


def held_bits(descriptor: Descriptor, events: i64) -> i64:
    """Return those of the POLL bits ``events`` that hold now.

    POLLRDNORM is POLLIN and POLLWRNORM is POLLOUT. POLLWRBAND is POLLOUT, too, but of TCP and pipes, as on Linux, where
    nothing has POLLRDBAND and POLLMSG.
    """
    bits = descriptor.readiness()
    if (events & _BANDS) != 0:
        if (bits & POLLIN) != 0:
            bits |= POLLRDNORM
        if (bits & POLLOUT) != 0:
            bits |= POLLWRNORM
            if not isinstance(descriptor, (StreamSocket, PipeEnd)):
                bits |= POLLWRBAND
    return bits & events


class Interest:
    """The events registered for one socket: POLL bits, with epoll's EPOLLET and EPOLLONESHOT."""

    def __init__(self, number: int, descriptor: Descriptor, events: int) -> None:
        self.number: int = number
        self.descriptor: Descriptor = descriptor
        self.fd: int = descriptor.fd
        self.events: i64 = events

    def bits(self) -> i64:
        """Return the registered bits that hold now."""
        if self.descriptor.fd < 0:
            return POLLNVAL
        return held_bits(self.descriptor, (self.events | ALWAYS) & 0xFFFF)


class Interests:
    """Sockets by the number of their ``fileno()``, the events registered for each, and which may be ready."""

    def __init__(self, runtime: Runtime, describe: Callable[[str], str] | None = None) -> None:
        self.runtime: Runtime = runtime
        self._words: Callable[[str], str] | None = describe
        self._asked: dict[int, Interest] = {}
        self._by_fd: dict[int, Interest] = {}
        self._maybe_ready: dict[Interest, None] = {}
        self._os: OsEvents | None = None
        self._is_woken: bool = False
        self.on_news: Callable[[], None] | None = None
        """Called when something may have become ready, for an epoll object that has a number."""
        self.loop: AbstractEventLoop | None = None
        """The event loop whose sockets they are."""
        self._is_locking: bool = not isinstance(runtime.lock, Unlocked)
        self._calls: Quick | Runtime = runtime if runtime.quick is None else runtime.quick

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

    def numbered(self, number: int) -> Numbered | None:
        """Return what stands for a number of the host's."""
        found: Numbered | None = self.runtime.by_number.get(number)
        return found

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
        if len(self._maybe_ready) == 0 and self._os is None:
            return found
        for interest in list(self._maybe_ready.keys()):  # compiled, this is one call of C
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
        if self._is_locking:
            with self.runtime.lock:
                return self._wait(timeout_s, count_max, name)
        return self._wait(timeout_s, count_max, name)

    def _wait(self, timeout_s: float | None, count_max: int, name: str) -> list[tuple[int, int]]:
        calls = self._calls
        found = self.collect(count_max)
        if len(found) == 0 and not self._is_woken:
            if timeout_s is not None and timeout_s <= 0:
                calls.spin(SPIN_WEIGHT)
            else:
                calls.wait(self._news(timeout_s, name))
            found = self.collect(count_max)
        elif len(found) > 0:
            calls.spin(READY_WEIGHT)
        self._is_woken = False
        return found

    def _news(self, timeout_s: float | None, name: str) -> Wait:
        """Make what ``wait`` waits for."""
        deadline_ns = deadline_from(self.runtime, timeout_s)
        os_fd = self._os.fileno() if self._os is not None else -1
        return Wait(self._has_news, lambda: self._say(name), deadline_ns, -1, self._is_serving, os_fd, self.loop)

    def select(self, timeout_s: float | None, keys: dict[int, SelectorKey]) -> list[tuple[SelectorKey, int]]:
        """Wait until some are ready, and return the keys of those, each with the events of ``selectors`` that hold."""
        ready: list[tuple[SelectorKey, int]] = []
        for number, bits in self.wait(timeout_s, -1, "select"):
            key = keys[number]
            events = ((EVENT_READ if bits & READ_BITS else 0) | (EVENT_WRITE if bits & WRITE_BITS else 0)) & key.events
            if events:
                ready.append((key, events))
        return ready

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
        return any(interest.events & (POLLIN | POLLRDNORM) and is_serving(interest.descriptor)
                   for interest in self._asked.values())

    def release(self) -> None:
        """Forget whose they are: nothing waits for them any more."""
        self._words, self.loop = None, None

    def _say(self, name: str) -> str:
        words = self._words
        return self.describe(name) if words is None else words(name)

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


def wait_for(descriptor: Descriptor, bits: i64, name: str, deadline_ns: int | None) -> Wait:
    """Make what a call of that name waits for: until a descriptor has one of the POLL bits, or is closed."""
    return Wait(lambda: descriptor.fd < 0 or descriptor.readiness() & bits != 0,
                lambda: f"{name}() on {describe(descriptor)}", deadline_ns, descriptor.fd,
                lambda: is_serving(descriptor))


def describe_wait(name: str, descriptors: Sequence[Descriptor]) -> str:
    """Say what a call on several descriptors waits for."""
    shown = ", ".join(describe(descriptor) for descriptor in descriptors[:4])
    more = f" and {len(descriptors) - 4} more" if len(descriptors) > 4 else ""
    return f"{name}() on {shown or 'no socket'}{more}"
