"""``select.epoll.fromfd()`` on a host: another object for the number of an epoll object that there is already.

As on Linux nothing is asked before it is used. Then a number that is not open is EBADF, one of something else EINVAL.
"""

from __future__ import annotations

import errno
from types import TracebackType
from typing import TYPE_CHECKING, Any

from estab.abi import POLLIN, POLLOUT, POLLPRI
from estab.errors import os_error
from estab.sockets.polling.epoll import Epoll, found_by_number
from estab.sockets.polling.poll import is_closed

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["EpollOfNumber"]


class EpollOfNumber:
    """What ``fromfd`` returns. To close it closes the number, also for the object that it was made from."""

    def __init__(self, runtime: Runtime, number: int) -> None:
        self._runtime = runtime
        self._number = number
        self._first = found_by_number(runtime, number)
        """Keeps the object: it has the number as long as one of the two is there."""

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called, or there never was a number."""
        return self._number < 0

    def close(self) -> None:
        """Close the number. Idempotent."""
        found = found_by_number(self._runtime, self._number)
        self._number = -1
        if found is not None:
            found.close_number()

    def fileno(self) -> int:
        """Return the number."""
        if self._number < 0:
            raise ValueError("I/O operation on closed epoll object")
        return self._number

    def _found(self) -> Epoll:
        number = self.fileno()
        found = found_by_number(self._runtime, number)
        if found is None:
            is_gone = number not in self._runtime.by_number and is_closed(number)
            raise os_error(errno.EBADF if is_gone else errno.EINVAL, f"{number} is no epoll object of host "
                           f"{self._runtime.name}")
        return found

    def register(self, fd: Any, eventmask: int = POLLIN | POLLPRI | POLLOUT) -> None:
        """Register as ``Epoll.register`` does."""
        self._found().register(fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Change the events as ``Epoll.modify`` does."""
        self._found().modify(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        """Remove as ``Epoll.unregister`` does."""
        self._found().unregister(fd)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait as ``Epoll.poll`` does."""
        return self._found().poll(timeout, maxevents)

    def __enter__(self) -> EpollOfNumber:
        self.fileno()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()
