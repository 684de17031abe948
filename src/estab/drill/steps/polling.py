"""``poll`` and ``epoll_*``."""

from __future__ import annotations

import errno
from typing import Final

from estab.abi import POLLERR, POLLHUP, POLLNVAL
from estab.drill.errors import MismatchError
from estab.drill.language.syntax import Array, Call, Expression, Structure
from estab.drill.language.values import expression_text, integer
from estab.drill.machine.files import Epoll, SocketFile, Watch
from estab.drill.steps.descriptors import Descriptors, Steps
from estab.errors import os_error
from estab.units import MS, NEVER

__all__ = ["Polling"]

_ADD, _DEL, _MOD = 1, 2, 3
_POLL_NAMES: Final = {
    1: "POLLIN", 2: "POLLPRI", 4: "POLLOUT", 8: "POLLERR", 16: "POLLHUP", 32: "POLLNVAL", 0x2000: "POLLRDHUP",
}


class Polling:
    """The calls that wait for descriptors."""

    def __init__(self, calls: Descriptors) -> None:
        self.calls = calls

    def on_event(self, fd: int) -> None:
        """Note news of one of the host's descriptors."""
        for epoll in self.calls.files.values():
            if isinstance(epoll, Epoll):
                epoll.on_news(fd)

    def forget(self, number: int) -> None:
        """Stop watching a descriptor: it was closed."""
        for epoll in self.calls.files.values():
            if isinstance(epoll, Epoll):
                epoll.watches.pop(number, None)

    def poll(self, call: Call) -> Steps:
        """Wait until a descriptor is ready, and compare ``revents``."""
        if not isinstance(call.arguments[0], Array):
            raise MismatchError("poll() takes [{fd=…, events=…}]")
        asked = [item for item in call.arguments[0].items if isinstance(item, Structure)]
        deadline_ns = self._deadline_ns(integer(call.arguments[2]))
        while True:
            found = [self._revents(item) for item in asked]
            if any(found) or self.calls.now_ns >= deadline_ns:
                break
            yield deadline_ns
        for item, bits in zip(asked, found, strict=True):
            wanted = item.get("revents")
            if wanted is not None and integer(wanted) != bits:
                raise MismatchError(f"poll: expected revents={expression_text(wanted)}, got {_bits_text(bits)}")
        return sum(1 for bits in found if bits)

    def _revents(self, item: Structure) -> int:
        number, events = _field(item, "fd"), _field(item, "events")
        file = self.calls.files.get(integer(number))
        if not isinstance(file, SocketFile):
            return POLLNVAL
        return int(file.socket.readiness()) & (integer(events) | POLLERR | POLLHUP)

    def epoll_create(self, call: Call) -> int:
        """Make an epoll descriptor."""
        return self.calls.add(call, Epoll())

    def epoll_ctl(self, call: Call) -> int:
        """Add, change or remove what is watched. EEXIST, ENOENT, EINVAL."""
        epoll = self._epoll(call.arguments[0])
        action, number = integer(call.arguments[1]), integer(call.arguments[2])
        if action == _DEL:
            if epoll.watches.pop(number, None) is None:
                raise os_error(errno.ENOENT, f"no such file or directory: {number} is not watched")
            return 0
        if (number in epoll.watches) != (action == _MOD):
            raise os_error(errno.ENOENT if action == _MOD else errno.EEXIST, f"epoll_ctl on {number}")
        event = call.arguments[3]
        if not isinstance(event, Structure):
            raise MismatchError(f"expected an epoll_event, not {expression_text(event)}")
        file = self.calls.socket_file(call.arguments[2])
        epoll.watches[number] = Watch(file, integer(_field(event, "events")), _data(event))
        return 0

    def epoll_wait(self, call: Call) -> Steps:
        """Wait until something is ready, and compare the first event."""
        epoll = self._epoll(call.arguments[0])
        deadline_ns = self._deadline_ns(integer(call.arguments[3]))
        while not (found := epoll.ready()) and self.calls.now_ns < deadline_ns:
            yield deadline_ns
        found = found[: integer(call.arguments[2])]
        event = call.arguments[1]
        if found and isinstance(event, Structure):
            watch, bits = found[0]
            wanted = _field(event, "events")
            if integer(wanted) != bits:
                got = _bits_text(bits, "EPOLL")
                raise MismatchError(f"epoll_wait: expected events={expression_text(wanted)}, got {got}")
            if _data(event)[1] != watch.data[1]:
                raise MismatchError(f"epoll_wait: expected {_data(event)[0]}={_data(event)[1]}, got {watch.data[1]}")
        return len(found)

    def _epoll(self, value: Expression) -> Epoll:
        file = self.calls.file(value)
        if not isinstance(file, Epoll):
            raise os_error(errno.EINVAL, f"invalid argument: {expression_text(value)} is not an epoll descriptor")
        return file

    def _deadline_ns(self, timeout_ms: int) -> int:
        return NEVER if timeout_ms < 0 else self.calls.now_ns + timeout_ms * MS


def _field(item: Structure, name: str) -> Expression:
    value = item.get(name)
    if value is None:
        raise MismatchError(f"{expression_text(item)} has no {name}")
    return value


def _data(event: Structure) -> tuple[str, int]:
    for name in ("fd", "ptr", "u32", "u64"):
        value = event.get(name)
        if value is not None:
            return name, integer(value)
    raise MismatchError(f"{expression_text(event)} has no data")


def _bits_text(bits: int, prefix: str = "POLL") -> str:
    names = [name.replace("POLL", prefix, 1) for bit, name in _POLL_NAMES.items() if bits & bit]
    return "|".join(names) or "0"
