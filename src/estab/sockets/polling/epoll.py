"""``select.epoll()`` on a host: level- and edge-triggered, and one-shot.

An epoll object has a descriptor and a number, so that it can be waited for by another one, by ``select``, or by C code.
They are made when ``fileno()`` is first called, or the object is registered somewhere; it counts as one from its start.
"""

from __future__ import annotations

import errno
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from estab.abi import POLLIN, POLLOUT, POLLPRI
from estab.errors import os_error
from estab.host.sockets.epoll import EpollDescriptor
from estab.sockets.polling.os_events import OsEvents
from estab.sockets.polling.poll import Interests, find_socket, is_closed, number_of
from estab.sockets.polling.real_descriptor import RealDescriptor

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["Epoll", "found_by_number"]

_DEPTH_MAX: Final = 5
"""How many epoll objects may be registered in each other, one in the next (Linux: EP_MAX_NESTS)."""

_of_the_system: Final[weakref.WeakValueDictionary[int, Epoll]] = weakref.WeakValueDictionary()
"""Those in real time, by the numbers that the system has given them."""


def found_by_number(runtime: Runtime, number: int) -> Epoll | None:
    """Find the epoll object that has a number."""
    found = runtime.by_number.get(number) if runtime.is_virtual else _of_the_system.get(number)
    return found if isinstance(found, Epoll) else None


class Epoll:
    """``select.epoll()`` on a host."""

    def __init__(self, runtime: Runtime) -> None:
        runtime.ensure_may_open()
        self._process = runtime.process()
        self._process.open_files += 1
        self._runtime = runtime
        self._interests: Interests | None = Interests(runtime)
        self._nested: dict[int, Epoll] = {}
        self._file: EpollDescriptor | None = None
        self._real: RealDescriptor | None = None
        self._is_number_closed = False
        """Whether not this object was closed, but its number."""
        self._outer: OsEvents | None = None
        """In real time: an epoll object of the system, with the system's descriptors and the host's."""

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._interests is None and not self._is_number_closed

    def close(self) -> None:
        """Forget all sockets. Idempotent."""
        self._is_number_closed = False
        if self._interests is None:
            return
        self._interests.clear()
        self._interests = None
        self._process.open_files -= 1
        self._nested.clear()
        runtime, file = self._runtime, self._file
        runtime.detached.pop(self._number, None)
        runtime.by_number.discard(self._number)
        if self._outer is not None:
            _of_the_system.pop(self._outer.fileno(), None)
            self._outer.close()
        if self._real is not None:
            self._real.close()
        if file is not None and file.fd >= 0:
            with runtime.lock:
                runtime.close_descriptor(file)
                runtime.flush()

    def close_number(self) -> None:
        """Close the number: what is asked of this object afterwards is EBADF."""
        self.close()
        self._is_number_closed = True

    def fileno(self) -> int:
        """Return a number that becomes readable when ``poll`` has something to return."""
        interests, runtime = self._open(), self._runtime
        if self._real is None:
            with runtime.lock:
                self._file = runtime.engine.epoll(interests.is_ready, runtime.now_ns)
                if runtime.is_virtual:
                    runtime.owners[self._file] = self._process
                self._real = RealDescriptor(self._file, runtime.watches, is_blocking=True,
                                            is_virtual=runtime.is_virtual)
                interests.on_news = self._on_news
            if runtime.is_virtual:
                runtime.by_number[self._real.number] = self
            else:
                self._outer = OsEvents()
                self._outer.add(self._real.number, POLLIN)
                self._outer.add(interests.system_number(), POLLIN)
                _of_the_system[self._outer.fileno()] = self
        return self._number

    @property
    def _number(self) -> int:
        if self._outer is not None:
            return self._outer.fileno()
        return -1 if self._real is None else self._real.number

    @property
    def descriptor(self) -> EpollDescriptor:
        """The host's side. EBADF once it is closed."""
        if self._interests is None or self._file is None or self._file.fd < 0:
            raise os_error(errno.EBADF, "bad file descriptor: the epoll object is closed")
        return self._file

    def _on_news(self) -> None:
        """Report that something may have become ready."""
        if self._file is not None and self._file.fd >= 0:
            self._file.note_news()

    # --- what a number can be asked for

    def recv(self, bufsize: int, flags: int = 0, /) -> NoReturn:
        """Raise EINVAL: an epoll object can't be read."""
        raise os_error(errno.EINVAL, "invalid argument: an epoll object can't be read")

    def send(self, data: Any, flags: int = 0, /) -> NoReturn:
        """Raise EINVAL: an epoll object can't be written."""
        raise os_error(errno.EINVAL, "invalid argument: an epoll object can't be written")

    def gettimeout(self) -> float | None:
        """Return ``None``: ``poll`` waits as long as it is asked to."""
        return None

    def settimeout(self, value: float | None) -> None:
        """Do nothing: O_NONBLOCK means nothing for an epoll object."""

    def dup(self) -> NoReturn:
        """Raise: an epoll object has one number here."""
        raise NotImplementedError(f"os.dup on host {self._runtime.name}: an epoll object of a host has one number")

    def detach_as(self, number: int, minimum: int = -1) -> NoReturn:
        """Raise: an epoll object has one number here."""
        self.dup()

    def detach(self) -> int:
        """Leave it open for as long as nobody closes its number. Returns the number."""
        number = self.fileno()
        self._runtime.detached[number] = self
        return number

    # --- what is waited for

    def register(self, fd: Any, eventmask: int = POLLIN | POLLPRI | POLLOUT) -> None:
        """Register a socket, or another epoll object. EEXIST if it is registered already; EINVAL, ELOOP."""
        interests = self._open()
        number = number_of(fd)
        if number in interests:
            raise os_error(errno.EEXIST)
        found = find_socket(interests.runtime, number)
        if isinstance(found, Epoll):
            self._nest(number, found)
        interests.add(number, found, eventmask)

    def _nest(self, number: int, other: Epoll) -> None:
        if other is self:
            raise os_error(errno.EINVAL, "invalid argument: an epoll object can't be registered in itself")
        if other.depth(self) >= _DEPTH_MAX:
            raise os_error(errno.ELOOP, "too many levels of symbolic links: epoll objects stand in a circle, or "
                           f"more than {_DEPTH_MAX} in each other")
        self._nested[number] = other

    def depth(self, above: Epoll) -> int:
        """Count the levels of epoll objects from here down; a large number if ``above`` is among them."""
        if self is above:
            return _DEPTH_MAX
        return 1 + max((each.depth(above) for each in self._nested.values()), default=0)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Change the events. ENOENT if it is not registered, EBADF if it is not open."""
        interests, number = self._registered(fd)
        interests.modify(number, eventmask)

    def unregister(self, fd: Any) -> None:
        """Remove it. ENOENT if it is not registered, EBADF if it is not open."""
        interests, number = self._registered(fd)
        interests.remove(number)
        self._nested.pop(number, None)

    def _registered(self, fd: Any) -> tuple[Interests, int]:
        interests, number = self._open(), number_of(fd)
        if number not in interests:
            is_gone = number not in interests.runtime.by_number and is_closed(number)
            raise os_error(errno.EBADF if is_gone else errno.ENOENT)
        return interests, number

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait up to ``timeout`` seconds (``None`` or negative: for ever). Returns numbers and bits."""
        if maxevents == 0 or maxevents < -1:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        timeout_s = None if timeout is None or timeout < 0 else timeout
        found = self._open().wait(timeout_s, maxevents, "epoll")
        if self._real is not None:
            self._real.follow()
        return found

    def __enter__(self) -> Epoll:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Interests:
        if self._is_number_closed:
            raise os_error(errno.EBADF, "bad file descriptor: the number of the epoll object was closed")
        if self._interests is None:
            raise ValueError("I/O operation on closed epoll object")
        return self._interests
