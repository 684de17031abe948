"""What the functions of ``socket``, ``select``, ``time``, ``os`` and ``random`` do for a program on a host.

Each takes the program's runtime and then the original's arguments. ``module`` installs them.
"""

from __future__ import annotations

import errno
import math
import os
import random as os_random
import select as os_select
import socket as os_socket
import time as os_time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from operator import index as _index
from typing import TYPE_CHECKING, Any, Final

from estab.errors import os_error, tell
from estab.sockets import names
from estab.sockets.arguments import c_int
from estab.sockets.polling.epoll import Epoll
from estab.sockets.polling.epoll_of_number import EpollOfNumber
from estab.sockets.polling.poll import Poll, select
from estab.sockets.socket.pair import open_pair
from estab.sockets.socket.socket import Socket
from estab.sockets.standin.numbers import close_number, dup_number
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = [
    "StandIn", "entropy_stand_ins", "epoll_from_number", "new_event_loop", "select_stand_ins", "socket_stand_ins",
    "time_stand_ins", "urandom",
]

StandIn = Callable[..., Any]

_POLL_WEIGHT: Final = 100
_os_socketpair: Final = os_socket.socketpair
_gmtime: Final = os_time.gmtime
_localtime: Final = os_time.localtime
_strftime: Final = os_time.strftime
_asctime: Final = os_time.asctime
_clock_gettime_ns: Final = os_time.clock_gettime_ns


# --- socket


def _gethostname(runtime: Runtime) -> str:
    return runtime.name


def _fromfd(runtime: Runtime, fd: int, family: int, type: int, proto: int = 0) -> Socket:
    found = runtime.by_number.get(_index(fd))
    if found is None:
        raise os_error(errno.EBADF, f"bad file descriptor: {fd} is not a socket of host {runtime.name}")
    made = found.dup()
    if not isinstance(made, Socket):
        raise os_error(errno.ENOTSOCK, f"socket operation on non-socket: {fd} is not a socket of host {runtime.name}")
    return made


def _socketpair(runtime: Runtime, family: int | None = None, type: int = os_socket.SOCK_STREAM,
                proto: int = 0) -> tuple[os_socket.socket, os_socket.socket]:
    """Connect two sockets of this host. In real time a pair of Unix sockets is the operating system's."""
    family, type, proto = None if family is None else c_int(family), c_int(type), c_int(proto)
    if not runtime.is_virtual and family not in (os_socket.AF_INET, os_socket.AF_INET6):
        return _os_socketpair(family, type, proto)
    return open_pair(runtime, family, type, proto)


def _close(runtime: Runtime, fd: int) -> None:
    number = _index(fd)
    if number < 0:
        raise os_error(errno.EBADF)
    close_number(runtime, number)


def _sethostname(runtime: Runtime, name: str) -> None:
    raise os_error(errno.EPERM, f"operation not permitted: host {runtime.name} has its name from whoever made it")


def _if_nameindex(runtime: Runtime) -> list[tuple[int, str]]:
    """List the interfaces with a number; lo has none, as its addresses need no scope."""
    return [(interface.index, interface.name) for interface in runtime.engine.interfaces if interface.index]


def _if_nametoindex(runtime: Runtime, name: str | bytes) -> int:
    interface = runtime.engine.find_interface(os.fsdecode(name))
    if interface is None or not interface.index:
        raise tell(OSError("no interface with this name"), f"{name!r} is no interface of host {runtime.name}")
    return interface.index


def _if_indextoname(runtime: Runtime, index: int) -> str:
    if not isinstance(index, int):
        raise TypeError("an integer is required")
    number = index
    if number < 0:
        raise OverflowError("can't convert negative value to unsigned int")
    if not 0 < number < len(runtime.engine.interfaces):
        raise os_error(errno.ENXIO, f"no such device or address: host {runtime.name} has no interface {number}")
    return runtime.engine.interfaces[number].name


def socket_stand_ins() -> dict[str, StandIn]:
    """Return the replacements of functions of ``socket``."""
    return {
        "getaddrinfo": names.getaddrinfo, "gethostbyname": names.gethostbyname,
        "gethostbyname_ex": names.gethostbyname_ex, "gethostbyaddr": names.gethostbyaddr,
        "getnameinfo": names.getnameinfo, "gethostname": _gethostname, "sethostname": _sethostname,
        "socketpair": _socketpair, "fromfd": _fromfd, "dup": dup_number, "close": _close, "if_nameindex": _if_nameindex,
        "if_nametoindex": _if_nametoindex, "if_indextoname": _if_indextoname,
    }


# --- select


def select_stand_ins() -> dict[str, StandIn]:
    """Return the replacements of functions and classes of ``select``."""
    found: dict[str, StandIn] = {"select": select, "poll": Poll}
    if hasattr(os_select, "epoll"):
        found["epoll"] = _epoll
    return found


def _epoll(runtime: Runtime, sizehint: int = -1, flags: int = 0) -> Epoll:
    """Make an epoll object. Linux ignores the size."""
    size, bits = c_int(sizehint), c_int(flags)
    if bits and bits != os_select.EPOLL_CLOEXEC:
        raise OSError("invalid flags")
    if size != -1 and size <= 0:
        raise ValueError("negative sizehint")
    return Epoll(runtime)


def epoll_from_number(runtime: Runtime, fd: int) -> Epoll | EpollOfNumber:
    """Replace ``select.epoll.fromfd``. As in CPython, -1 makes a new one."""
    number = c_int(fd)
    return Epoll(runtime) if number == -1 else EpollOfNumber(runtime, number)


def new_event_loop(runtime: Runtime, *policy: object) -> AbstractEventLoop:
    """Replace ``asyncio.new_event_loop``, the function and the policies' method."""
    return runtime.new_event_loop()


# --- time


def _time_ns(runtime: Runtime) -> int:
    runtime.spin(1)
    return runtime.wall_ns


def _monotonic_ns(runtime: Runtime) -> int:
    runtime.spin(1)
    return runtime.now_ns


def _time(runtime: Runtime) -> float:
    quick = runtime.quick
    return _time_ns(runtime) / SECOND if quick is None else quick.time()


def _monotonic(runtime: Runtime) -> float:
    quick = runtime.quick
    return _monotonic_ns(runtime) / SECOND if quick is None else quick.monotonic()


def _sleep(runtime: Runtime, secs: float) -> None:
    if secs < 0:
        raise ValueError("sleep length must be non-negative")
    if secs == 0:
        runtime.spin(_POLL_WEIGHT)
    runtime.sleep(math.ceil(secs * SECOND))


def _clock_ns(runtime: Runtime, clock: int) -> int:
    if clock == os_time.CLOCK_REALTIME:
        return _time_ns(runtime)
    if clock == _BOOT_CLOCK:
        runtime.spin(1)
        return runtime.boot_ns
    if clock in _MONOTONIC_CLOCKS:
        return _monotonic_ns(runtime)
    return _clock_gettime_ns(clock)


_MONOTONIC_CLOCKS: Final = {
    getattr(os_time, name, None) for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW")
}
_BOOT_CLOCK: Final = getattr(os_time, "CLOCK_BOOTTIME", None)


def time_stand_ins() -> dict[str, StandIn]:
    """Return the replacements of functions of ``time``. Calendar functions differ only in the time that is now."""
    return {
        "time": _time, "time_ns": _time_ns, "monotonic": _monotonic, "monotonic_ns": _monotonic_ns,
        "perf_counter": _monotonic, "perf_counter_ns": _monotonic_ns, "sleep": _sleep, "clock_gettime_ns": _clock_ns,
        "clock_gettime": lambda runtime, clock: _clock_ns(runtime, clock) / SECOND,
        "gmtime": lambda runtime, secs=None: _gmtime(_time(runtime) if secs is None else secs),
        "localtime": lambda runtime, secs=None: _localtime(_time(runtime) if secs is None else secs),
        "ctime": lambda runtime, secs=None: _asctime(_localtime(_time(runtime) if secs is None else secs)),
        "asctime": lambda runtime, *t: _asctime(*(t or (_localtime(_time(runtime)),))),
        "strftime": lambda runtime, format, *t: _strftime(format, *(t or (_localtime(_time(runtime)),))),
    }


# --- entropy

_generators: weakref.WeakKeyDictionary[Runtime, os_random.Random] = weakref.WeakKeyDictionary()
RANDOM_FUNCTIONS: Final = (
    "seed", "random", "uniform", "triangular", "randint", "choice", "randrange", "sample", "shuffle", "choices",
    "normalvariate", "lognormvariate", "expovariate", "vonmisesvariate", "gammavariate", "gauss", "betavariate",
    "paretovariate", "weibullvariate", "getstate", "setstate", "getrandbits", "randbytes",
)


def _generator(runtime: Runtime) -> os_random.Random:
    generator = _generators.get(runtime)
    if generator is None:
        generator = _generators[runtime] = os_random.Random(int.from_bytes(runtime.entropy(32), "big"))
    return generator


def urandom(runtime: Runtime, size: int) -> bytes:
    """Replace ``os.urandom``."""
    if size < 0:
        raise ValueError("negative argument not allowed")
    return runtime.entropy(size)


def entropy_stand_ins() -> dict[str, StandIn]:
    """Return the replacements of functions of ``random``: each host has a generator of its own."""

    def make(name: str) -> StandIn:
        return lambda runtime, *args, **kwargs: getattr(_generator(runtime), name)(*args, **kwargs)

    return {name: make(name) for name in RANDOM_FUNCTIONS}
