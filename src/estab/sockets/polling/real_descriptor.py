"""A descriptor of the operating system whose read-readiness follows a socket of ours.

Libraries poll ``fileno()`` from C or give it to an event loop of their own. Programs can't read from it or write to it;
it is only readable or not. It is an eventfd if the system has that, else the reading end of a pipe.

In virtual time some sockets have numbers that are no descriptors, too large for the system's: calls by number find them
as ever, but C code can't poll them. They are those that asyncio asks for their number first, because it only keys its
tables by it; and those beyond half of the process's descriptors.

Compiled with the core.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from typing import TYPE_CHECKING, Final

from estab.abi import POLLNVAL, READ_BITS
from estab.host.sockets.files import Descriptor

try:
    import resource
except ImportError:  # if the system has none
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from estab.sockets.runtime import Watches

__all__ = ["RealDescriptor"]

_ONE: Final = (1).to_bytes(8, sys.byteorder)
# Inside a program, ``os`` takes this number for the socket that it stands for.
_read: Final = os.read
_write: Final = os.write
_close: Final = os.close
_dup: Final = os.dup
_dup2: Final = os.dup2
_pipe: Final = os.pipe
_eventfd: Final = getattr(os, "eventfd", None)
_EVENTFD_FLAGS: Final[int] = 0 if _eventfd is None else os.EFD_CLOEXEC | os.EFD_NONBLOCK
_set_blocking: Final = getattr(os, "set_blocking", None)  # Windows has it from 3.12 on
_getrlimit: Final = getattr(resource, "getrlimit", None)
_numbers: Final = itertools.count(1 << 30)
"""Numbers that the system gives to no descriptor."""


class _Taken:
    """How many descriptors of the process are taken, and how many may be."""

    def __init__(self) -> None:
        self.count: int = 0
        self._count_max: int = 0

    def has_room(self) -> bool:
        """Tell whether another one may be taken. The process's limit may have been raised since the last look."""
        if self.count < self._count_max:
            return True
        limit = -1 if _getrlimit is None or resource is None else _getrlimit(resource.RLIMIT_NOFILE)[0]
        self._count_max = sys.maxsize if limit < 0 else limit // 2
        return self.count < self._count_max


_taken: Final = _Taken()


class RealDescriptor:
    """One real descriptor for one descriptor of a host. ``close`` closes it.

    ``is_key``: the number is only wanted as a key, so in virtual time it need be no descriptor.
    """

    def __init__(self, descriptor: Descriptor, watches: Watches, is_blocking: bool, *, is_virtual: bool,
                 is_key: bool = False) -> None:
        self._descriptor: Descriptor = descriptor
        self._is_readable: bool = False
        self._writing: int = -1
        """What is written to make it readable; -1: the number is no descriptor."""
        self._is_blocking: bool = is_blocking
        self.number: int = -1
        self._watches: Watches = watches
        if is_virtual and (is_key or not _taken.has_room()):
            self.number = next(_numbers)
        else:
            self._open()

    def _open(self) -> None:
        """Take a descriptor of the process, and follow the socket. ``RuntimeError`` if it has none left."""
        try:
            if _eventfd is not None:
                self.number = self._writing = _eventfd(0, _EVENTFD_FLAGS)
            else:
                self.number, self._writing = _pipe()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            # No OSError: a server that meets EMFILE waits for its own connections to end, and says nothing.
            raise RuntimeError(
                "fileno(): this Python process, not the host of the socket, is out of descriptors: each socket that is "
                "asked for its number takes one. Raise the process's limit: ulimit -n, before it starts") from error
        _taken.count += 1
        if self._is_blocking or self._writing != self.number:  # an eventfd is made non-blocking
            self.set_blocking(self._is_blocking)
        self._watches.add(self._descriptor.fd, self)
        self.follow()

    def on_ready(self, fd: int, bits: int) -> None:
        """Follow the socket, unless it is closed."""
        if not bits & POLLNVAL:
            self.follow()

    def follow(self) -> None:
        """Make the real descriptor readable if the socket is, and not readable if it is not."""
        if self._writing < 0:
            return
        is_readable = (self._descriptor.readiness() & READ_BITS) != 0
        if is_readable != self._is_readable:
            self._is_readable = is_readable
            if is_readable:
                _write(self._writing, _ONE)
            else:
                _read(self.number, 8)

    def set_blocking(self, is_blocking: bool) -> None:
        """Set or clear O_NONBLOCK as the socket's timeout says, for code that reads the flag."""
        self._is_blocking = is_blocking
        if _set_blocking is not None and self._writing >= 0:
            _set_blocking(self.number, is_blocking)

    def move(self, number: int) -> None:
        """Have another number from now on, whatever had it before, as ``dup2`` does."""
        if self._writing < 0:
            self._open()
        old = self.number
        if old == number:
            return
        _dup2(old, number, False)
        if self._writing == old:
            self._writing = number
        self.number = number
        _close(old)

    def move_above(self, minimum: int) -> None:
        """Have the lowest free number from ``minimum`` on."""
        taken = []
        while self.number < minimum:
            taken.append(self.number)
            self.number = _dup(self.number)
        if self._writing in taken:
            self._writing = self.number
        for number in taken:
            _close(number)

    def close(self) -> None:
        """Close the real descriptor."""
        if self.number < 0:
            return
        if self._writing < 0:
            self.number = -1
            return
        self._watches.remove(self._descriptor.fd, self)
        _taken.count -= 1
        for number in (self.number,) if self._writing == self.number else (self.number, self._writing):
            with contextlib.suppress(OSError):  # code outside of programs may have closed it by its number
                _close(number)
        self.number = -1
