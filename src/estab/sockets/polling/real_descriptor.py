"""A descriptor of the operating system whose read-readiness follows a socket of ours.

Libraries poll ``fileno()`` from C or give it to an event loop of their own. Programs can't read from it or write to it;
it is only readable or not. It is an eventfd if the system has that, else the reading end of a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Final

from estab.abi import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLRDHUP

if TYPE_CHECKING:
    from estab.host.sockets.files import Descriptor
    from estab.sockets.runtime import Watches

__all__ = ["RealDescriptor"]

_READABLE: Final = POLLIN | POLLRDHUP | POLLHUP | POLLERR
_ONE: Final = (1).to_bytes(8, sys.byteorder)
# Inside a program, ``os`` takes this number for the socket that it stands for.
_read: Final = os.read
_write: Final = os.write
_close: Final = os.close
_dup: Final = os.dup
_dup2: Final = os.dup2
_pipe: Final = os.pipe
_set_blocking: Final = getattr(os, "set_blocking", None)  # Windows has it from 3.12 on


class RealDescriptor:
    """One real descriptor for one descriptor of a host. ``close`` closes it."""

    def __init__(self, descriptor: Descriptor, watches: Watches, is_blocking: bool) -> None:
        self._descriptor = descriptor
        self._is_readable = False
        self._writing = -1
        try:
            if sys.platform == "linux":
                self.number = self._writing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            else:
                self.number, self._writing = _pipe()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            # No OSError: a server that meets EMFILE waits for its own connections to end, and says nothing.
            raise RuntimeError(
                "fileno(): this Python process, not the host of the socket, is out of descriptors: each socket that is "
                "asked for its number takes one. Raise the process's limit: ulimit -n, before it starts") from error
        self.set_blocking(is_blocking)
        self._watches = watches
        watches.add(descriptor.fd, self)
        self.follow()

    def on_ready(self, fd: int, bits: int) -> None:
        """Follow the socket, unless it is closed."""
        if not bits & POLLNVAL:
            self.follow()

    def follow(self) -> None:
        """Make the real descriptor readable if the socket is, and not readable if it is not."""
        is_readable = (self._descriptor.readiness() & _READABLE) != 0
        if is_readable != self._is_readable:
            self._is_readable = is_readable
            if is_readable:
                _write(self._writing, _ONE)
            else:
                _read(self.number, 8)

    def set_blocking(self, is_blocking: bool) -> None:
        """Set or clear O_NONBLOCK as the socket's timeout says, for code that reads the flag."""
        if _set_blocking is not None:
            _set_blocking(self.number, is_blocking)

    def move(self, number: int) -> None:
        """Have another number from now on, whatever had it before, as ``dup2`` does."""
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
        self._watches.remove(self._descriptor.fd, self)
        for number in (self.number,) if self._writing == self.number else (self.number, self._writing):
            with contextlib.suppress(OSError):  # code outside of programs may have closed it by its number
                _close(number)
        self.number = -1
