"""``Host``: a host of the virtual network, as its users see it.

It has an ``engine``, its stack without time and threads, and a ``runtime``, on which its programs wait in virtual time.
"""

from __future__ import annotations

import socket as os_socket
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from estab.lab.naming import Failure, read_resolver
from estab.lab.programs.actions import Actions
from estab.lab.programs.program import Program, Programs
from estab.lab.record.host_clock import HostClock
from estab.lab.runtime import VirtualTime
from estab.report.recording import FACTS_MAX, FRAME_BYTES_MAX, Recording
from estab.settings import read_calendar, read_drift
from estab.sockets.history import CALLS_MAX
from estab.sockets.process import STANDARD_STREAMS
from estab.sockets.runtime import current
from estab.sockets.socket.socket import Socket
from estab.sockets.standin import module
from estab.units import SECOND, duration_ns
from estab.wire.address import format_address, parse_address

if TYPE_CHECKING:
    from estab.events import Observer
    from estab.host.engine import Engine
    from estab.host.ip.interface import Interface
    from estab.host.snapshot import SocketRow
    from estab.host.sysctls import Sysctls
    from estab.lab.topology import Port, Topology, Whole
    from estab.native.called import PythonProcess
    from estab.native.host import HostDriver, NativeHost
    from estab.native.process import Process
    from estab.native.sysctls import KernelSysctls
    from estab.observers import Observation
    from estab.settings import Calendar, Drift, Duration

__all__ = ["Host", "Site", "Starter", "check_nofile", "is_delivering", "this_host"]

R = TypeVar("R")

_NOTHING: Final[Any] = object()
_DELIVERING: Final = frozenset({"SYN-SENT", "FIN-WAIT-1", "CLOSING", "LAST-ACK"})
"""States, as ``ss`` writes them, of a connection that waits for an acknowledgment."""


class Starter(Protocol):
    """What ``Host.run`` returns without a function: a decorator that makes a program of one."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, R]], /) -> Program[R]: ...
    @overload
    def __call__(self, function: Callable[..., R], /) -> Program[R]: ...


class Segment(Protocol):
    """A link or a switch, as far as hosts have addresses on it."""

    number: int

    def interface_of(self, host: Host) -> int:
        """Return the index of the interface that a host has on it."""


class Spawned(Protocol):
    """A host's side in the machine's kernel."""

    native: NativeHost
    driver: HostDriver
    at_boot: list[Callable[[], object]]

    def rows(self) -> list[SocketRow]:
        """List the kernel's sockets."""

    def counters(self) -> dict[str, int]:
        """Give the kernel's counters."""

    def sync(self) -> None:
        """Give it the links, routes and names that were added since."""

    def kill(self) -> None:
        """End all processes."""


@dataclass(slots=True, eq=False)
class Site:
    """What all hosts of a network share."""

    topology: Topology
    whole: Whole
    programs: Programs
    actions: Actions
    make_spawned: Callable[[Host], Spawned]
    keeps: object
    """What refers to the network until that is closed: it stays open while a host is kept."""


class Host:
    """A host of the lab. ``Network.host`` makes it. ``runtime`` is what its programs wait on."""

    _spawned: Spawned | None = None
    """The kernel's side, since the first process was spawned."""
    _at_boot: tuple[tuple[Program[Any], Callable[[], Program[Any]]], ...] = ()
    """The programs that start whenever the host does, and what starts them."""

    def __init__(self, runtime: VirtualTime, site: Site, given: tuple[str, ...] = ()) -> None:
        self.runtime = runtime
        runtime.host = self
        self._site = site
        self._given = given
        """The settings that ``Network.host`` was given: of a stack that a spawned host does not have."""

    # --- what it is

    @property
    def name(self) -> str:
        """The host's name."""
        return self.runtime.engine.name

    @property
    def engine(self) -> Engine:
        """The host's stack. ``power_on`` makes another one."""
        return self.runtime.engine

    @property
    def address(self) -> str:
        """The host's first IPv4 address; 127.0.0.1 before it has a link."""
        return self.addresses[0] if self.addresses else "127.0.0.1"

    @property
    def addresses(self) -> list[str]:
        """All addresses on links, IPv4 first; then those that were added."""
        own = self._site.topology.addresses_of(self.runtime) + self._site.topology.added_to(self.runtime)
        return [format_address(address) for address in own]

    @property
    def is_forwarding(self) -> bool:
        """Whether the host is a router."""
        return self.engine.is_forwarding

    @property
    def is_powered(self) -> bool:
        """Whether the host has power."""
        return self.runtime.is_powered

    @property
    def is_awake(self) -> bool:
        """Whether the host has power, and is neither suspended nor paused."""
        return self.runtime.is_powered and self.runtime.is_awake

    @property
    def clock(self) -> HostClock:
        """What time it is on the host: ``now_ns`` (monotonic), ``wall_ns`` (the calendar), ``drift_ppb``."""
        return self.runtime.clock

    @property
    def programs(self) -> list[Program[Any]]:
        """The host's programs, those that ended too, in the order in which they were started."""
        return [program for program in self._site.programs.all if program.runtime is self.runtime]

    @property
    def sysctl(self) -> Sysctls | KernelSysctls:
        """Settings by Linux's names, ``host.sysctl["net.ipv4.tcp_syn_retries"]``; see ``docs/sysctls.md``.

        Those of the machine's kernel, once a process was spawned on the host.
        """
        return self.engine.sysctl if self._spawned is None else self._spawned.native.sysctls()

    @property
    def now(self) -> float:
        """Virtual seconds since the network's start. Its programs go by ``clock``."""
        return self.now_ns / SECOND

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the network's start."""
        return self.runtime.network_ns

    # --- addresses

    def add_address(self, prefix: str, on: Segment | None = None, *, announce: bool = True) -> None:
        """Add an address, ``"10.9.0.100/24"``, on a link or switch; without one on the host's only one.

        All hosts reach it there. With ``announce``, an Ethernet segment is told at once (gratuitous ARP, an unsolicited
        neighbour advertisement); else others learn of it when they ask. It is gone when the host loses its power.
        ``ValueError`` on one that no host can have, or that the host has already.
        """
        interface = self._interface_on(on)
        self.engine.add_address(interface, prefix)
        address = interface.addresses[-1].address
        self._site.topology.place(address, self._number_of(on), self.runtime)
        self._site.topology.route()
        if announce:
            self.engine.announce(interface, address, self.runtime.now_ns)
        self.runtime.flush()

    def remove_address(self, address: str) -> None:
        """Remove an address that was added. Connections on it stay, and receive nothing. ``ValueError`` on another."""
        text = address.partition("/")[0]
        octets = parse_address(text)
        interface = self.engine.paths.local.get(octets)
        if interface is None or not self._site.topology.unplace(octets, self.runtime):
            raise ValueError(f"address: {address!r} was not added to {self.name}")
        self.engine.remove_address(interface, text)

    def _interface_on(self, on: Segment | None) -> Interface:
        if on is not None:
            return self.engine.interfaces[on.interface_of(self)]
        return self.engine.interfaces[self._only_port().index]

    def _only_port(self) -> Port:
        ports = self._site.topology.ports_of(self.runtime)
        if len(ports) != 1:
            raise ValueError(f"on: {self.name} is on {len(ports)} links; say on which one")
        return ports[0]

    def _number_of(self, on: Segment | None) -> int:
        return on.number if on is not None else self._site.topology.ports_of(self.runtime)[0].link

    def inject(self, frame: bytes, on: Segment | None = None) -> None:
        """Send a frame as it is, as with a raw socket: a forged one, for example. Without ``on`` by the only link.

        ``ValueError`` if the host has several links and none is named.
        """
        number = on.interface_of(self) if on is not None else self._only_port().index
        self.runtime.forge(self.runtime.way_of(number), frame)

    # --- programs and sockets

    @overload
    def run(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, start: Duration = 0,
            daemon: bool = False, name: str | None = None, fresh: Iterable[str] = (),
            at_boot: bool = False) -> Program[R]: ...
    @overload
    def run(self, function: Callable[..., R], /, *args: Any, start: Duration = 0, daemon: bool = False,
            name: str | None = None, fresh: Iterable[str] = (), at_boot: bool = False) -> Program[R]: ...
    @overload
    def run(self, /, *, start: Duration = 0, daemon: bool = False, name: str | None = None,
            fresh: Iterable[str] = (), at_boot: bool = False) -> Starter: ...
    def run(self, function: Callable[..., R] = _NOTHING, /, *args: Any, start: Duration = 0,
            daemon: bool = False, name: str | None = None, fresh: Iterable[str] = (),
            at_boot: bool = False) -> Any:
        """Run a function on this host, with ``args``: blocking, on a thread of its own, or async.

        As a decorator, or as a call. ``start`` is the virtual time at which it begins, at once if that is past.
        ``Network.run`` does not wait for a ``daemon``. Inside, ``socket``, ``select``, ``selectors``, ``asyncio`` and
        ``time`` are the host's. ``fresh`` names packages that it imports for itself, ``("twisted",)``: they keep one
        object for a process, which programs of a lab would share. ``at_boot``: it starts again, as another program,
        whenever the host does (``power_on``, ``reboot``). Returns a ``Program``, which has the ``result()``.
        """
        start_ns = duration_ns(start, "start")
        if function is _NOTHING:
            return lambda function: self._start(function, (), start_ns, daemon, name, fresh, at_boot)
        return self._start(function, args, start_ns, daemon, name, fresh, at_boot)

    def _start(self, function: Callable[..., Any], args: tuple[Any, ...], start_ns: int, is_daemon: bool,
               name: str | None, fresh: Iterable[str], is_at_boot: bool) -> Program[Any]:
        programs, runtime = self._site.programs, self.runtime
        if not runtime.is_powered:
            raise RuntimeError(f"run: host {self.name} has no power; call power_on() first")
        if self._spawned is not None:
            raise RuntimeError(f"run: host {self.name} runs processes of the system, whose TCP is the kernel's; a "
                               "Python function runs there by spawn_python()")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name: {name!r} is not a text")
        packages = fresh if isinstance(fresh, str) else tuple(fresh)
        program = _begin(programs, runtime, function, args, start_ns, is_daemon, name, packages)
        if is_at_boot:
            again = partial(_begin, programs, runtime, function, args, 0, is_daemon, name, packages)
            self._at_boot = (*self._at_boot, (program, again))
        return program

    # --- processes of the system, in real time

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None,
              user: str | None = None, stdin: bytes | None = None, quiet: bool = False,
              at_boot: bool = False) -> Process:
        """Run a program of any language on this host, with the machine's kernel as its TCP (Linux, ``clock="real"``).

        The host gets a network namespace of its own, with the lab's addresses, routes and names; root is not needed.
        It has no stack of estab's from then on, so it must have no programs of ``run`` and no sockets.

        ``argv`` is the command (``["redis-server", "--port", "6379"]``); ``env`` is added to this process's
        environment. ``cwd`` is its folder, ``user`` whose rights it has (as root only), ``stdin`` what it can read. Its
        output is shown with the host's name before each line, unless it is ``quiet``. ``at_boot``: it starts again
        whenever the host does (``power_on``, ``reboot``).

        ``OSError`` says what the system refuses: a command that is not there, or namespaces.
        """
        words = [argv] if isinstance(argv, str) else list(argv)
        if not words or not all(isinstance(word, str) for word in words):
            raise TypeError(f'spawn: {argv!r} is not a command; give a list of words: ["curl", "-s", "http://db/"]')
        spawned = self._spawned_side("spawn")

        def start() -> Process:
            return spawned.native.spawn(words, spawned.driver, env=env, cwd=cwd, user=user, stdin=stdin, is_quiet=quiet)

        process = start()
        if at_boot:
            spawned.at_boot.append(start)
        return process

    def spawn_python(self, function: Callable[..., Any], *args: Any, env: Mapping[str, str] | None = None,
                     quiet: bool = False) -> PythonProcess:
        """Call ``function(*args)`` in a fresh interpreter on this host, whose TCP is the machine's kernel.

        For clients that are written in C: psycopg, grpcio, pycurl. The function stands at the top of a module; it and
        its arguments are pickled. Returns a process with a ``result()``. Otherwise as ``spawn``.
        """
        spawned = self._spawned_side("spawn_python")
        return spawned.native.spawn_python(function, args, spawned.driver, env=env, is_quiet=quiet)

    def attach(self, spawned: Spawned) -> None:
        """Have the machine's kernel as TCP from now on (``Network.attach`` calls this)."""
        self._spawned = spawned

    def use_kernel(self) -> None:
        """Have the machine's kernel as TCP from now on, as with the first process: ``sysctl`` can be set before it."""
        self._spawned_side("use_kernel")

    def _spawned_side(self, what: str) -> Spawned:
        """Give the kernel's side of the host, made now if this is the first process."""
        if not self.is_powered:
            raise RuntimeError(f"{what}: host {self.name} has no power; call power_on() first")
        if self._spawned is None:
            if self.programs or self.engine.sockets(self.runtime.now_ns):
                raise RuntimeError(f"{what}: host {self.name} has programs or sockets on estab's stack; spawn on a "
                                   "host of its own")
            if self._given:
                raise RuntimeError(f"{what}: host {self.name} was given {', '.join(self._given)}, which a host "
                                   "with the machine's kernel does not take; set host.sysctl[...] after "
                                   "host.use_kernel()")
            self._spawned = self._site.make_spawned(self)
        self._spawned.sync()
        return self._spawned

    @property
    def processes(self) -> list[Process]:
        """The processes that were spawned on this host since it has power, those that ended too."""
        return [] if self._spawned is None else list(self._spawned.native.processes)

    @property
    def is_spawned(self) -> bool:
        """Whether the host's TCP is the machine's kernel."""
        return self._spawned is not None

    @property
    def namespace_pid(self) -> int:
        """A process in the host's namespaces, for ``nsenter -t PID -n -U ss -ti``; 0 if its TCP is estab's."""
        return 0 if self._spawned is None else self._spawned.native.pid

    def socket(self, family: int = os_socket.AF_INET, type: int = os_socket.SOCK_STREAM, proto: int = 0) -> Socket:
        """Make a socket of this host, for use from anywhere. Outside of programs a blocking call runs the network."""
        if self._spawned is not None:
            raise RuntimeError(f"socket: host {self.name} runs processes of the system, whose TCP is the kernel's")
        self._site.topology.route()
        return Socket(family, type, proto, runtime=self.runtime)

    @contextmanager
    def installed(self) -> Iterator[Host]:
        """Replace ``socket``, ``select``, ``selectors``, ``asyncio``, ``time`` by this host's in the ``with`` block."""
        self._site.topology.route()
        with module.installed(self.runtime):
            yield self

    # --- what happens to it: for actions, ``net.at("5s", host.power_off)``

    def power_off(self) -> None:
        """Switch the host off: programs, connections and memory are gone, and no peer is told.

        For actions, not programs. A host without power is left as it is.
        """
        if self.is_powered:
            self.runtime.lose_power()

    def power_on(self) -> None:
        """Switch the host on. It starts empty, with its old addresses, and starts its ``at_boot`` programs.

        Its clock has gone on. Other programs have to be started again.
        """
        if not self.is_powered:
            self.runtime.regain_power()
            started = [(before, start(), start) for before, start in self._at_boot]
            for before, program, _ in started:
                before.again = program
            self._at_boot = tuple([(program, start) for _, program, start in started])

    def reboot(self, after: Duration = 0) -> None:
        """Switch the host off, and on again ``after`` a time: a crash, or a reset by the button.

        The peers of its connections receive nothing while it is off. It answers what comes for them later with RST.
        """
        due_ns = self.now_ns + duration_ns(after, "after")
        self.power_off()
        self._site.actions.at(due_ns, lambda: self.power_on(), ())

    def kill(self) -> None:
        """End all programs of the host at once, as SIGKILL does. Its kernel closes what they had open: FIN, or RST."""
        self._site.programs.kill_all(self.runtime)
        if self._spawned is not None:
            self._spawned.kill()

    def suspend(self) -> None:
        """Let the host sleep, as a laptop does whose lid is closed, until ``resume``.

        It answers nothing, and what arrives is lost. Its monotonic clock and all its timers stand still; its calendar
        goes on.
        """
        self._stop("suspend", is_calendar_stopped=False)

    def pause(self) -> None:
        """Stop the host, as a virtual machine is paused, until ``resume``: as ``suspend``, but its calendar stops, too.

        For a program alone there is ``Program.pause``.
        """
        self._stop("pause", is_calendar_stopped=True)

    def resume(self) -> None:
        """Let the host go on after ``suspend`` or ``pause``. By its monotonic clock no time has passed.

        A host that is awake is left as it is.
        """
        if self.is_powered and not self.runtime.is_awake:
            self.runtime.wake_up()

    def set_clock(self, to: Calendar) -> None:
        """Set the host's calendar (``time.time``, ``datetime.now``), as an operator or NTP does; no other clock.

        ``"+1h"``, ``"-90s"`` or seconds: by so much. A date, ``"2026-03-01 12:00"`` or a ``datetime``: to that.
        """
        self.runtime.set_calendar(read_calendar(to, self.clock.wall_ns, "to") - self.clock.wall_ns)

    def set_drift(self, drift: Drift) -> None:
        """Let both of the host's clocks run fast or, below 0, slow from now on: ``"50ppm"``, ``"-0.1%"``.

        All timers of its programs and its stack go by them.
        """
        self.runtime.set_drift(read_drift(drift))

    def set_resolver(self, failure: Failure = "", *, delay: Duration = 0, loss: float | str = 0.0,
                     timeout: Duration = "5s", attempts: int = 2,
                     answers: Mapping[str, Host | str | Iterable[Host | str]] | None = None) -> None:
        """Set how names are looked up on this host from now on. Without arguments every question is answered at once.

        A question is answered after ``delay``. A share of them, ``loss``, is lost: that takes ``timeout``, and the next
        of ``attempts`` is made, as Linux does. If none is answered, ``getaddrinfo`` fails with EAI_AGAIN. A
        ``failure`` happens to every question: ``"silent"``, ``"SERVFAIL"`` and ``"REFUSED"`` end with EAI_AGAIN,
        ``"NXDOMAIN"`` with EAI_NONAME. ``answers`` are false answers that this host gets for some names, as
        ``Network.name`` takes them. ``localhost``, the host's own name and numeric addresses need no resolver.
        """
        self.runtime.resolver = read_resolver(failure, delay, loss, timeout, attempts, answers or {})

    def set_backlog(self, port: int, backlog: int) -> None:
        """Change the limit of the queues of the listener on a TCP port, as a second ``listen(backlog)`` would.

        What is queued stays. ``ValueError`` if there is no listener.
        """
        if not self.engine.set_backlog(port, backlog, self.runtime.now_ns):
            raise ValueError(f"set_backlog: nobody listens on port {port} of {self.name}")

    def _stop(self, what: str, *, is_calendar_stopped: bool) -> None:
        if self.is_awake:
            self.runtime.fall_asleep(what, is_calendar_stopped=is_calendar_stopped)

    # --- looking at it

    def sockets(self) -> list[SocketRow]:
        """List what ``ss -a`` lists: sockets, TIME-WAIT records and half-open entries."""
        if self._spawned is not None:
            return self._spawned.rows()
        return self.engine.sockets(self.runtime.now_ns)

    def counters(self) -> dict[str, int]:
        """Return the counters that ``nstat`` shows, and how many packets were dropped for each reason."""
        if self._spawned is not None:
            return self._spawned.counters()
        return self.engine.counters()

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` all facts of this host (``estab.events``) from now on. Other observers stay.

        Returns what ends that: call it, or use it in a ``with`` statement.
        """
        return self.runtime.observe(observer)

    def record(self, *, facts_max: int = FACTS_MAX, frame_bytes_max: int = FRAME_BYTES_MAX) -> Recording:
        """Record what happens on this host from now on: ``print(seen.ladder())`` after the run shows it.

        Until ``stop()`` of what this returns, or the end of its ``with`` block. At most ``facts_max`` facts and
        ``frame_bytes_max`` bytes of frames are kept; what comes after is counted, and said to be missing.
        """
        runtime = self.runtime
        is_real = runtime.is_paced
        return Recording(self.observe, f"host {self.name}" + (" in real time: not repeatable" if is_real else ""),
                         epoch_ns=runtime.wall_ns - runtime.network_ns if is_real else 0,
                         clock=lambda: runtime.network_ns, facts_max=facts_max, frame_bytes_max=frame_bytes_max)

    def keep_history(self, calls_max: int = CALLS_MAX) -> None:
        """Keep what each socket's last ``calls_max`` calls changed, for ``Socket.history``. 0: keep no more."""
        self.runtime.keep_history(calls_max)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"


def _begin(programs: Programs, runtime: VirtualTime, function: Callable[..., Any], args: tuple[Any, ...],
           start_ns: int, is_daemon: bool, name: str | None, packages: str | tuple[str, ...]) -> Program[Any]:
    """Start a program. On a host that sleeps it is frozen."""
    program = programs.start(runtime, function, args, start_ns, is_daemon, name, packages)
    if not runtime.is_awake:
        programs.freeze(runtime)
    return program


def this_host() -> Host:
    """Return the host of the lab on which the calling program runs. ``RuntimeError`` outside of one.

    For what sockets can't do: ``inject`` a forged frame, read ``counters``, offer a congestion control of one's own.
    """
    host = getattr(current(), "host", None)
    if not isinstance(host, Host):
        raise RuntimeError("this_host() is for programs that run on a host of the lab, and this one does not")
    return host


def check_nofile(nofile: int) -> int:
    """Return how many descriptors a program may have, if that is a number that there can be."""
    if isinstance(nofile, bool) or not isinstance(nofile, int):
        raise TypeError(f"nofile: {nofile!r} is no number of descriptors")
    if nofile < STANDARD_STREAMS:
        raise ValueError(f"nofile: {nofile} is less than the {STANDARD_STREAMS} standard streams of a program")
    return nofile


def is_delivering(host: Host) -> bool:
    """Tell whether a connection of a host still has something to bring to its peer."""
    if not host.is_spawned:
        return host.engine.is_delivering()
    return any(row.netid.startswith("tcp") and (row.state in _DELIVERING or (row.send_q > 0 and row.state != "LISTEN"))
               for row in host.sockets())
