"""A program's process number, its host's name and calendar: what an operating system tells a process of itself.

They are replaced only if the host's time and chance are not the machine's. Two hosts have two names, two programs two
numbers.
"""

from __future__ import annotations

import datetime
import errno
import os
import platform
import sys
import weakref
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from estab.sockets.runtime import activated, current
from estab.units import SECOND, US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from estab.sockets.process import Process
    from estab.sockets.runtime import Runtime

__all__ = ["CALENDAR", "calendar_alias", "os_stand_ins", "platform_stand_ins", "uuid_stand_ins"]

_GREGORIAN_UNITS: Final = 0x01B21DD213814000
"""From 1582-10-15, when UUIDs begin to count, to 1970, in units of 100 ns."""
_INIT: Final = 1
_RESET_ON_FORK: Final = getattr(os, "SCHED_RESET_ON_FORK", 0)
_affinity: Final = getattr(os, "sched_getaffinity", None)
_policy: Final = getattr(os, "sched_getscheduler", None)
_param: Final = getattr(os, "sched_getparam", None)
_set_policy: Final = getattr(os, "sched_setscheduler", None)
_uname: Final = getattr(os, "uname", None)
_os_getpid: Final = os.getpid
_platform_uname: Final = platform.uname


# --- numbers and names


def _getrandom(runtime: Runtime, size: int, flags: int = 0) -> bytes:
    if size < 0:
        raise OSError(22, os.strerror(22))
    return runtime.entropy(size)


def _getpid(runtime: Runtime) -> int:
    """Give the program's number; to psutil the machine's, because psutil looks it up in the machine's process table."""
    frame = sys._getframe()
    while frame.f_globals.get("__name__", "").startswith("estab.") and frame.f_back is not None:
        frame = frame.f_back
    if frame.f_globals.get("__name__", "").partition(".")[0] == "psutil":
        return _os_getpid()
    return runtime.process().pid


def _host_uname(runtime: Runtime) -> Any:
    assert _uname is not None
    found = _uname()
    return type(found)((found.sysname, runtime.name, found.release, found.version, found.machine))


def _process_of(runtime: Runtime, pid: int) -> Process:
    found = runtime.process() if pid == 0 else runtime.find_process(pid)
    if found is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return found


def _get_affinity(runtime: Runtime, pid: int) -> set[int]:
    return set(_process_of(runtime, pid).cpus or _cpus(runtime))


def _cpus(runtime: Runtime) -> set[int]:
    assert _affinity is not None
    return runtime.cpus() or _affinity(0)


def _set_affinity(runtime: Runtime, pid: int, mask: Iterable[int]) -> None:
    """Note which CPUs a program wants. It can find out only by asking: a lab's programs run one at a time."""
    wanted = set(mask) & _cpus(runtime)
    if not wanted:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    _process_of(runtime, pid).cpus = wanted


def _scheduling(runtime: Runtime, pid: int) -> tuple[int, int]:
    """Give a program's policy and priority."""
    assert _policy is not None
    assert _param is not None
    told = _process_of(runtime, pid).scheduling or runtime.scheduling()
    return (_policy(0), _param(0).sched_priority) if told is None else told


def _get_scheduler(runtime: Runtime, pid: int) -> int:
    return _scheduling(runtime, pid)[0]


def _get_param(runtime: Runtime, pid: int) -> Any:
    return os.sched_param(_scheduling(runtime, pid)[1])


def _set_scheduler(runtime: Runtime, pid: int, policy: int, param: Any) -> None:
    """Note which policy a program wants, if the system allows it. As with CPUs it can find out only by asking."""
    assert _policy is not None
    assert _param is not None
    assert _set_policy is not None
    process = _process_of(runtime, pid)
    plain = policy & ~_RESET_ON_FORK
    priority = param.sched_priority
    if not os.sched_get_priority_min(plain) <= priority <= os.sched_get_priority_max(plain):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if priority:
        kept = _policy(0), _param(0)
        _set_policy(0, plain, param)
        _set_policy(0, *kept)
    process.scheduling = policy, priority


def _set_param(runtime: Runtime, pid: int, param: Any) -> None:
    _set_scheduler(runtime, pid, _get_scheduler(runtime, pid), param)


def os_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return what stands in for functions of ``os``."""
    return {
        "getpid": _getpid, "getppid": lambda runtime: _INIT, "getrandom": _getrandom,
        "uname": _host_uname, "sched_getaffinity": _get_affinity, "sched_setaffinity": _set_affinity,
        "sched_getscheduler": _get_scheduler, "sched_setscheduler": _set_scheduler, "sched_getparam": _get_param,
        "sched_setparam": _set_param,
    }


def _node_uname(runtime: Runtime) -> Any:
    with activated(None):  # it caches its result, which is the machine's
        return _platform_uname()._replace(node=runtime.name)


def platform_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return what stands in for functions of ``platform``."""
    return {"node": lambda runtime: runtime.name, "uname": _node_uname}


class _Uuids:
    """What a host keeps to make UUIDs by its clock: its MAC address and the last time that it used."""

    def __init__(self, runtime: Runtime) -> None:
        macs = [interface.mac for interface in runtime.engine.interfaces if any(interface.mac)]
        # Without a link that has one: a number with the multicast bit, as RFC 9562 section 6.10 wants.
        mac = macs[0] if macs else bytes([1]) + runtime.entropy(5)
        self.node = int.from_bytes(mac, "big")
        self.last_units = 0


_uuids: weakref.WeakKeyDictionary[Runtime, _Uuids] = weakref.WeakKeyDictionary()


def _uuids_of(runtime: Runtime) -> _Uuids:
    found = _uuids.get(runtime)
    if found is None:
        found = _uuids[runtime] = _Uuids(runtime)
    return found


def _uuid1(runtime: Runtime, node: int | None = None, clock_seq: int | None = None) -> UUID:
    kept = _uuids_of(runtime)
    units = max(runtime.wall_ns // 100 + _GREGORIAN_UNITS, kept.last_units + 1)
    kept.last_units = units
    if clock_seq is None:
        clock_seq = int.from_bytes(runtime.entropy(2), "big") & 0x3FFF
    fields = (units & 0xFFFFFFFF, units >> 32 & 0xFFFF, units >> 48 & 0x0FFF, clock_seq >> 8 & 0x3F, clock_seq & 0xFF,
              kept.node if node is None else node)
    return UUID(fields=fields, version=1)


def uuid_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return what stands in for functions of ``uuid``."""
    return {"uuid1": _uuid1, "getnode": lambda runtime: _uuids_of(runtime).node}


# --- the calendar

_now: Final = datetime.datetime.__dict__["now"]
_utcnow: Final = datetime.datetime.__dict__["utcnow"]


def _at(cls: type[datetime.datetime], wall_ns: int, tz: datetime.tzinfo | None) -> datetime.datetime:
    """Return a time of the calendar; rounded down to microseconds, as ``datetime`` does with the system's."""
    return cls.fromtimestamp(wall_ns // SECOND, tz).replace(microsecond=wall_ns % SECOND // US)


def _calendar_now(cls: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> Any:
    """Return the time now, in local time or in a time zone."""
    runtime = current()
    if runtime is None or not runtime.is_virtual:
        return _now.__get__(None, cls)(tz)
    return _at(cls, runtime.wall_ns, tz)


def _calendar_utcnow(cls: type[datetime.datetime]) -> Any:
    """Return the time now in UTC, without a time zone."""
    runtime = current()
    if runtime is None or not runtime.is_virtual:
        return _utcnow.__get__(None, cls)()
    return _at(cls, runtime.wall_ns, datetime.UTC).replace(tzinfo=None)


CALENDAR: Final = (
    (datetime.datetime, "now", _now, classmethod(_calendar_now)),
    (datetime.datetime, "utcnow", _utcnow, classmethod(_calendar_utcnow)),
)
"""Members of ``datetime.datetime``: the original and the replacement. ``today`` calls ``time.time``."""


def calendar_alias(value: Any) -> Any:
    """Return what stands in for ``datetime.now`` or ``utcnow`` under another name: ``utcnow = datetime.utcnow``."""
    if type(value) is not BuiltinMethodType:
        return None
    owner, name = value.__self__, value.__name__
    if not isinstance(owner, type) or not issubclass(owner, datetime.datetime) or name not in ("now", "utcnow"):
        return None
    return MethodType(_calendar_now if name == "now" else _calendar_utcnow, owner)
