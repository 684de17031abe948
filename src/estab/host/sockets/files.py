"""The descriptor table: the numbers that ``socket()`` and ``accept()`` allocate and ``close()`` releases.

- The lowest free number is allocated, from 3 on (0, 1 and 2 belong to the program's standard streams).
- The table has a limit, as ``RLIMIT_NOFILE`` has; beyond it a call fails with EMFILE and changes nothing.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.abi import AF_INET
from estab.errors import os_error
from estab.events import FdAllocated, FdReleased
from estab.host.sockets.extras import NO_EXTRAS, Extras
from estab.tcp.context import Context, Owner
from estab.undeletable import undeletable

__all__ = ["FILES_MAX", "Descriptor", "Files"]

FILES_MAX: Final = 65_536
_FIRST: Final = 3


@mypyc_attr(acyclic=True)
class SocketType:
    """What many descriptors have in common; they share one."""

    def __init__(self, family: i64, kind: i64, protocol: str) -> None:
        self.family: i64 = family
        self.kind: i64 = kind
        self.protocol: str = protocol


_types: Final[list[SocketType]] = []
"""Those that were asked for, a handful."""


def _type_of(family: i64, kind: i64, protocol: str) -> SocketType:
    for found in _types:
        if found.family == family and found.kind == kind and found.protocol == protocol:
            return found
    made = SocketType(family, kind, protocol)
    _types.append(made)
    return made


class Descriptor(Owner):
    """What a number in the table stands for. ``fd`` is -1 before it has a number and after its release.

    A call that TCP's and UDP's sockets both have takes the same arguments with both, ``now_ns`` too, even if one of
    the two has no use for the time: its caller need not know which of them it has.
    """

    def __init__(self, family: i64, kind: i64, protocol: str) -> None:
        super().__init__()
        self.type: SocketType = _type_of(family, kind, protocol)
        self.extras: Extras | None = None
        """What few sockets have; ``None``: nothing of it."""

    @property
    def family(self) -> i64:
        """AF_INET, AF_INET6 or AF_UNIX."""
        return self.type.family

    @property
    def kind(self) -> i64:
        """SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET."""
        return self.type.kind

    @property
    def protocol(self) -> str:
        """``tcp``, ``udp``, ``icmp``, ``pipe`` and their kind."""
        return self.type.protocol

    @property
    def netid(self) -> str:
        """What ``ss`` calls it: ``tcp``, ``tcp6``, ``udp``, ``udp6``; ``icmp``, ``icmp6``."""
        return self.protocol if self.family == AF_INET else f"{self.protocol}6"

    def own_extras(self) -> Extras:
        """Return what few sockets have, made now if there was none."""
        extras = self.extras
        if extras is None:
            extras = self.extras = Extras()
        return extras

    @property
    def wanted(self) -> i64:
        """Ancillary data that ``recvmsg`` is to give: bits of ``host.ancillary``."""
        extras = self.extras
        return NO_EXTRAS.wanted if extras is None else extras.wanted

    @wanted.setter
    def wanted(self, value: i64) -> None:
        self.own_extras().wanted = value

    @property
    def broadcast(self) -> bool:
        """SO_BROADCAST: datagrams may go to broadcast addresses. TCP sockets show it."""
        extras = self.extras
        return NO_EXTRAS.broadcast if extras is None else extras.broadcast

    @broadcast.setter
    def broadcast(self, value: bool) -> None:
        self.own_extras().broadcast = value

    @property
    def receive_timeout_ns(self) -> i64:
        """SO_RCVTIMEO, for callers that wait: 0 is for ever."""
        extras = self.extras
        return NO_EXTRAS.receive_timeout_ns if extras is None else extras.receive_timeout_ns

    @receive_timeout_ns.setter
    def receive_timeout_ns(self, value: i64) -> None:
        self.own_extras().receive_timeout_ns = value

    @property
    def send_timeout_ns(self) -> i64:
        """SO_SNDTIMEO, likewise."""
        extras = self.extras
        return NO_EXTRAS.send_timeout_ns if extras is None else extras.send_timeout_ns

    @send_timeout_ns.setter
    def send_timeout_ns(self, value: i64) -> None:
        self.own_extras().send_timeout_ns = value

    def readiness(self) -> i64:
        """POLL bits that hold now, as Linux's ``poll`` would give for it."""
        raise NotImplementedError

    def close(self, now_ns: i64) -> None:
        """Release the number and start the end of what it stood for."""
        raise NotImplementedError


undeletable(Descriptor, "wanted", "broadcast", "receive_timeout_ns", "send_timeout_ns")


class Files:
    """Descriptors by number. ``limit`` may be changed at any time; what is open beyond it stays open."""

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.limit: i64 = FILES_MAX
        self.open_count: i64 = 0
        self._slots: list[Descriptor | None] = []
        self._lowest: i64 = -1
        """The place that is free and lower than all of ``_free``; -1: there is none, or ``_free`` has it."""
        self._free: list[int] = []
        """The others that are free, a heap."""

    def ensure_room(self) -> None:
        """Raise EMFILE if no further number can be allocated, before anything else is changed."""
        if not self.has_room():
            raise os_error(errno.EMFILE, f"too many open files: {self.open_count} of {self.limit - _FIRST} are in use")

    def has_room(self) -> bool:
        """Tell whether a further number can be allocated."""
        return self.open_count + _FIRST < self.limit

    def allocate(self, descriptor: Descriptor, why: str) -> i64:
        """Allocate the lowest free number, or raise EMFILE. ``why`` names the call, for the observer."""
        self.ensure_room()
        index = self._lowest
        if index >= 0:
            self._lowest = -1
            self._slots[index] = descriptor
        elif self._free:
            index = _pop_lowest(self._free)
            self._slots[index] = descriptor
        else:
            index = len(self._slots)
            self._slots.append(descriptor)
        descriptor.fd = index + _FIRST
        self.open_count += 1
        context = self.context
        if context.observer is not None:
            context.tell(FdAllocated(context.now_ns, context.name, descriptor.fd, descriptor.netid, why))
        return descriptor.fd

    def release(self, descriptor: Descriptor) -> None:
        """Release the number; it is the next to be allocated if none lower is free."""
        index = descriptor.fd - _FIRST
        assert self._slots[index] is descriptor
        self._slots[index] = None
        lowest = self._lowest
        if index < lowest or (lowest < 0 and (not self._free or index < self._free[0])):
            self._lowest = index
            index = lowest
        if index >= 0:
            _push(self._free, index)
        self.open_count -= 1
        context = self.context
        if context.observer is not None:
            context.tell(FdReleased(context.now_ns, context.name, descriptor.fd))
        descriptor.fd = -1

    def get(self, fd: i64) -> Descriptor:
        """Find an open descriptor, or raise EBADF."""
        index = fd - _FIRST
        if 0 <= index < len(self._slots):
            found = self._slots[index]
            if found is not None:
                return found
        raise os_error(errno.EBADF, f"bad file descriptor: {fd} is not open on this host")

    def open_descriptors(self) -> list[Descriptor]:
        """All that is open, in order of number."""
        return [found for found in self._slots if found is not None]


def _push(heap: list[int], number: i64) -> None:
    """Put a number into a heap. Compiled, a call of ``heapq``'s function takes three times as long."""
    at: i64 = len(heap)
    heap.append(number)
    while at > 0:
        above = (at - 1) >> 1
        other: i64 = heap[above]
        if other <= number:
            break
        heap[at] = other
        at = above
    heap[at] = number


def _pop_lowest(heap: list[int]) -> i64:
    """Take the lowest number of a heap that is not empty."""
    lowest: i64 = heap[0]
    last: i64 = heap.pop()
    count: i64 = len(heap)
    if count == 0:
        return lowest
    at: i64 = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        other: i64 = heap[below]
        if below + 1 < count:
            right: i64 = heap[below + 1]
            if right < other:
                below += 1
                other = right
        if last <= other:
            break
        heap[at] = other
        at = below
    heap[at] = last
    return lowest
