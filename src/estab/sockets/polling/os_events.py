"""Descriptors of the operating system, waited for beside sockets of ours. In real time only.

One epoll object holds them all, and is itself a descriptor that a wait can look at.
"""

from __future__ import annotations

import errno
import os
import select
from typing import Any, Final

from estab.errors import os_error

__all__ = ["OsEvents"]

_new_epoll: Final[Any] = getattr(select, "epoll", None)
_DEFAULT_READY: Final = 1 | 4


class OsEvents:
    """The system's descriptors by number, with the POLL bits registered for each, and EPOLLET and EPOLLONESHOT."""

    def __init__(self) -> None:
        if _new_epoll is None:
            raise os_error(errno.EBADF, "bad file descriptor: on this platform the operating system's descriptors "
                           "can't be waited for together with a stack's sockets")
        self._epoll = _new_epoll()
        self._asked: dict[int, int] = {}
        self._ready: dict[int, int] = {}
        """Plain files, which are always ready and which epoll refuses."""

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, number: int) -> bool:
        return number in self._asked

    def fileno(self) -> int:
        """Return a descriptor that is readable when one of them is ready."""
        return -1 if self._epoll.closed else int(self._epoll.fileno())

    def add(self, number: int, events: int) -> None:
        """Register a descriptor. EBADF if it is not open."""
        try:
            self._epoll.register(number, events)
        except PermissionError:
            self._ready[number] = events
        self._asked[number] = events

    def modify(self, number: int, events: int) -> None:
        """Change the events."""
        if number in self._ready:
            self._ready[number] = events
        else:
            self._epoll.modify(number, events)
        self._asked[number] = events

    def remove(self, number: int) -> None:
        """Remove a descriptor. It may have been closed."""
        del self._asked[number]
        if self._ready.pop(number, None) is None:
            try:
                self._epoll.unregister(number)
            except OSError:
                if not _is_closed(number):
                    raise

    def collect(self, count_max: int = -1) -> list[tuple[int, int]]:
        """Return those that are ready: number and bits."""
        found = [(number, events & _DEFAULT_READY) for number, events in self._ready.items() if events & _DEFAULT_READY]
        if len(self._asked) > len(self._ready):
            found += self._epoll.poll(0, count_max if count_max > 0 else -1)
        return found

    def has_news(self) -> bool:
        """Tell whether one is ready without asking the system: a plain file."""
        return any(events & _DEFAULT_READY for events in self._ready.values())

    def close(self) -> None:
        """Close the epoll object."""
        self._epoll.close()


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
