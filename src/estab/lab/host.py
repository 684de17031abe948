"""``Host``: a host of the virtual network, as its users see it.

What it does, others do for it: ``engine`` is its stack, without time and without threads; ``runtime`` is what its
programs wait on, in virtual time.
"""

from __future__ import annotations

import socket as os_socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from estab.lab.programs.program import Program, Programs
from estab.lab.runtime import VirtualTime
from estab.report.recording import FACTS_MAX, FRAME_BYTES_MAX, Recording
from estab.sockets.history import CALLS_MAX
from estab.sockets.socket.socket import Socket
from estab.sockets.standin import module
from estab.units import duration_ns
from estab.wire.address import format_address

if TYPE_CHECKING:
    from estab.events import Observer
    from estab.host.engine import Engine
    from estab.host.snapshot import SocketRow
    from estab.host.sysctls import Sysctls
    from estab.lab.topology import Topology
    from estab.observers import Observation
    from estab.settings import Duration

__all__ = ["Host", "Starter"]

R = TypeVar("R")

_NOTHING: Final[Any] = object()


class Starter(Protocol):
    """What ``Host.run`` gives without a function: a decorator that makes a program of one."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, R]], /) -> Program[R]: ...
    @overload
    def __call__(self, function: Callable[..., R], /) -> Program[R]: ...


class Host:
    """A host of the lab. ``Network.host`` makes it. ``runtime`` is what its programs wait on."""

    def __init__(self, runtime: VirtualTime, topology: Topology, programs: Programs) -> None:
        self.runtime = runtime
        self._topology = topology
        self._programs = programs

    # --- what it is

    @property
    def name(self) -> str:
        """The host's name."""
        return self.runtime.name

    @property
    def engine(self) -> Engine:
        """The host's stack. After ``power_on`` it is another one."""
        return self.runtime.engine

    @property
    def address(self) -> str:
        """The host's first IPv4 address; 127.0.0.1 before it has a link."""
        return self.addresses[0] if self.addresses else "127.0.0.1"

    @property
    def addresses(self) -> list[str]:
        """All addresses on links, IPv4 first."""
        return [format_address(address) for address in self._topology.addresses_of(self.runtime)]

    @property
    def is_forwarding(self) -> bool:
        """Whether the host is a router."""
        return self.engine.is_forwarding

    @property
    def is_powered(self) -> bool:
        """Whether the host has power."""
        return self.runtime.is_powered

    @property
    def sysctl(self) -> Sysctls:
        """Settings by Linux's names, ``host.sysctl["net.ipv4.tcp_syn_retries"]``; see ``docs/sysctls.md``."""
        return self.engine.sysctl

    @property
    def now(self) -> float:
        """Virtual seconds since the network's start."""
        return self.runtime.now

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the network's start."""
        return self.runtime.now_ns

    # --- programs and sockets

    @overload
    def run(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, start: Duration = 0,
            daemon: bool = False, name: str | None = None, fresh: Iterable[str] = ()) -> Program[R]: ...
    @overload
    def run(self, function: Callable[..., R], /, *args: Any, start: Duration = 0, daemon: bool = False,
            name: str | None = None, fresh: Iterable[str] = ()) -> Program[R]: ...
    @overload
    def run(self, /, *, start: Duration = 0, daemon: bool = False, name: str | None = None,
            fresh: Iterable[str] = ()) -> Starter: ...
    def run(self, function: Callable[..., R] = _NOTHING, /, *args: Any, start: Duration = 0,
            daemon: bool = False, name: str | None = None, fresh: Iterable[str] = ()) -> Any:
        """Run a function on this host, with ``args``: blocking, on a thread of its own, or async.

        As a decorator, or as a call. ``start`` is the virtual time at which it begins, at once if that is past. A
        ``daemon`` is not waited for by ``Network.run``. Inside, ``socket``, ``select``, ``selectors``, ``asyncio`` and
        ``time`` mean the host's. ``fresh`` names packages that it imports for itself, ``("twisted",)``: they keep one
        object for a process, which programs of a lab would share. Returns a ``Program``, which has the ``result()``.
        """
        start_ns = duration_ns(start, "start")
        if function is _NOTHING:
            return lambda function: self._programs.start(self.runtime, function, (), start_ns, daemon, name, fresh)
        return self._programs.start(self.runtime, function, args, start_ns, daemon, name, fresh)

    def socket(self, family: int = os_socket.AF_INET, type: int = os_socket.SOCK_STREAM, proto: int = 0) -> Socket:
        """Make a socket of this host, for use from anywhere. Outside of programs a blocking call runs the network."""
        self._topology.route()
        return Socket(family, type, proto, runtime=self.runtime)

    @contextmanager
    def installed(self) -> Iterator[Host]:
        """Make ``socket``, ``select``, ``selectors``, ``asyncio`` and ``time`` mean this host's in the body."""
        self._topology.route()
        with module.installed(self.runtime):
            yield self

    # --- power

    def power_off(self) -> None:
        """Take the host's power: programs, connections and memory are gone, and nobody is told.

        For actions, not programs. A host without power is left as it is.
        """
        if self.is_powered:
            self.runtime.lose_power()

    def power_on(self) -> None:
        """Give the host its power back. It starts empty, with its old addresses; start its programs anew."""
        if not self.is_powered:
            self.runtime.regain_power()

    # --- looking at it

    def sockets(self) -> list[SocketRow]:
        """List what ``ss -a`` would: sockets, TIME-WAIT records and half-open entries."""
        return self.engine.sockets(self.now_ns)

    def counters(self) -> dict[str, int]:
        """Give what ``nstat`` would, and how many packets were dropped for each reason."""
        return self.engine.counters()

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` all facts of this host (``estab.events``) from now on, beside those who are told already.

        Returns what ends that: call it, or use it in a ``with`` statement.
        """
        return self.runtime.observe(observer)

    def record(self, *, facts_max: int = FACTS_MAX, frame_bytes_max: int = FRAME_BYTES_MAX) -> Recording:
        """Record what happens on this host from now on: ``print(seen.ladder())`` after the run shows it.

        Until ``stop()`` of what this returns, or the end of its ``with`` block. At most ``facts_max`` facts and
        ``frame_bytes_max`` bytes of frames are kept; what comes after is counted, and said to be missing.
        """
        return Recording(self.observe, f"host {self.name}", facts_max=facts_max, frame_bytes_max=frame_bytes_max)

    def keep_history(self, calls_max: int = CALLS_MAX) -> None:
        """Keep what each socket's last ``calls_max`` calls changed, for ``Socket.history``. 0: keep no more."""
        self.runtime.keep_history(calls_max)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"
