"""Descriptors that programs of one host pass to each other by Unix sockets (SCM_RIGHTS, unix(7)).

- A message holds a descriptor from ``sendmsg`` until it is received, or thrown away with the message: the descriptor is
  open meanwhile, even if its sender has closed it and has ended.
- Who receives it has a number of its own, which counts against RLIMIT_NOFILE; what does not fit is closed, and
  MSG_CTRUNC says so. With MSG_PEEK the message keeps it, and the caller gets another one.
- Files of the operating system may be passed, too. Epoll objects can't be.

We differ: sockets whose only holders are messages in each other's queues stay open until their host is switched off.
Linux looks for such circles.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from estab.abi import MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET
from estab.errors import os_error
from estab.host.sockets.ancillary import Ancillary
from estab.sockets.polling.open_file import File
from estab.sockets.polling.poll import is_closed
from estab.sockets.socket.ancillary import HEADER_BYTES
from estab.sockets.socket.blocking import Waiting

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["Rights", "read_rights", "receive_rights", "throw_away"]

_INT_BYTES: Final = 4
_RIGHTS_MAX: Final = 253
"""SCM_MAX_FD."""


class _Passed:
    """One descriptor on its way. ``make`` makes a number for a program that receives it."""

    def __init__(self, file: File[Any] | None, make: Callable[[], int], os_fd: int = -1) -> None:
        self.file = file
        self.make = make
        self.os_fd = os_fd


class Rights:
    """What one message passes."""

    def __init__(self, runtime: Runtime, passed: list[_Passed]) -> None:
        self.runtime = runtime
        self.passed = passed

    def close(self) -> None:
        """Let go of all: nobody receives them any more."""
        for one in self.passed:
            if one.file is None:
                os.close(one.os_fd)
            elif one.file.descriptor.fd >= 0 and self.runtime.is_last(one.file.descriptor, None):
                self.runtime.abandon(one.file.descriptor)


def read_rights(runtime: Runtime, items: Sequence[Ancillary]) -> Rights | None:
    """Read what ``sendmsg`` is to pass. EBADF, EINVAL; EOPNOTSUPP for credentials and for what can't be passed."""
    numbers: list[int] = []
    for level, kind, data in items:
        if level != SOL_SOCKET:
            continue
        if kind != SCM_RIGHTS:
            raise os_error(errno.EOPNOTSUPP if kind == 2 else errno.EINVAL, f"ancillary data of type {kind} at "
                           "SOL_SOCKET can't be sent by a Unix socket: descriptors (SCM_RIGHTS) can")
        count = len(data) // _INT_BYTES
        numbers += memoryview(data[: count * _INT_BYTES]).cast("i")
    if len(numbers) > _RIGHTS_MAX:
        raise os_error(errno.EINVAL, f"invalid argument: {len(numbers)} descriptors in one message; {_RIGHTS_MAX} can "
                       "be passed")
    found = [_find(runtime, number) for number in numbers]
    rights = Rights(runtime, [])
    try:
        for number, one in zip(numbers, found, strict=True):
            rights.passed.append(_hold(runtime, number, one))
    except OSError:  # the process is out of descriptors
        rights.close()
        raise
    return rights if rights.passed else None


def _find(runtime: Runtime, number: int) -> Waiting[Any] | None:
    """Find what a number stands for; ``None``: a file of the operating system."""
    found = runtime.by_number.get(number) or runtime.detached.get(number)
    if found is None:
        if number < 0 or is_closed(number):
            raise os_error(errno.EBADF, f"bad file descriptor: {number} is not open, so it can't be passed")
        return None
    if not isinstance(found, Waiting):
        raise os_error(errno.EOPNOTSUPP, f"operation not supported: {number} is an epoll object, which can't be passed")
    if found._file is None or found.fd < 0:
        raise os_error(errno.EBADF, f"bad file descriptor: {number} is closed, so it can't be passed")
    return found


def _hold(runtime: Runtime, number: int, found: Waiting[Any] | None) -> _Passed:
    """Let a message hold a descriptor."""
    if found is None:
        copy = os.dup(number)
        return _Passed(None, lambda: os.dup(copy), copy)
    file = found._file
    assert file is not None
    runtime.share(file.descriptor, file.process)
    return _Passed(file, lambda: found.pass_on(file))


def receive_rights(rights: object | None, room_bytes: int, *, is_peek: bool) -> tuple[list[Ancillary], int]:
    """Give the program that runs here what a message passed, as far as it fits, and MSG_CTRUNC if not all did."""
    if not isinstance(rights, Rights):
        return [], 0
    runtime = rights.runtime
    count = max(0, (room_bytes - HEADER_BYTES) // _INT_BYTES)
    numbers: list[int] = []
    for one in rights.passed[:count]:
        try:
            runtime.ensure_may_open()
            numbers.append(one.make())
        except OSError:
            break
    if not is_peek:
        rights.close()
    data = b"".join(number.to_bytes(_INT_BYTES, sys.byteorder) for number in numbers)
    items: list[Ancillary] = [(SOL_SOCKET, SCM_RIGHTS, data)] if numbers else []
    return items, 0 if len(numbers) == len(rights.passed) else MSG_CTRUNC


def throw_away(rights: object) -> None:
    """Close what a message passed that nobody receives any more."""
    if isinstance(rights, Rights):
        rights.close()
