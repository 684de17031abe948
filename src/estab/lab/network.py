"""``Network``: hosts, links, a virtual clock and a seed. Same seed, same run, to the byte.

- Time moves only when every program waits; then it jumps to whatever happens next.
- Everything of one instant happens before programs run.
- Chance follows from the seed and from names: one more link does not change the chance of the others.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from os import PathLike
from signal import SIGTERM
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from estab.cpython import register_atexit  # imports concurrent.futures, whose hook must come first
from estab.events import Observer
from estab.lab.cabling import NOT_IN_NAMES, Cabling
from estab.lab.ending import Ending
from estab.lab.host import Host, Site, check_nofile, is_delivering
from estab.lab.links.weather import ChanceLog, Weather
from estab.lab.naming import Failure, Names, Order, read_resolver, read_targets
from estab.lab.programs.actions import Actions
from estab.lab.programs.program import Programs
from estab.lab.programs.strands import ProgramEnded, Scheduler
from estab.lab.programs.verdict import Verdict
from estab.lab.programs.watch import DeadlockError, OverlongRunError
from estab.lab.record.chance import Chance
from estab.lab.record.promises import Promises
from estab.lab.runtime import VirtualTime
from estab.observers import Observation, check_observer
from estab.report.recording import FACTS_MAX, FRAME_BYTES_MAX, Recording
from estab.settings import Calendar, Drift, Duration, Settings
from estab.sockets.standin import module, threads
from estab.tcp.profile import check_profile
from estab.units import NEVER, SECOND, duration_ns, format_count, format_duration

if TYPE_CHECKING:
    from estab.lab.spawning import SpawnedHost, Spawning
    from estab.native.clock import Lateness

__all__ = ["LateClockWarning", "LostFramesWarning", "Network"]

_PATIENCE_NS: Final = 30 * SECOND
_NONE: Final[frozenset[str]] = frozenset()


class LateClockWarning(RuntimeWarning):
    """A network in real time could not keep up with the machine's clock."""


class LostFramesWarning(RuntimeWarning):
    """Frames of a spawned host were lost between its kernel and the lab, which did not take them fast enough."""


class Network(Cabling):
    """A virtual network. ``seed`` decides all chance; ``observer`` is told all facts.

    ``weather`` replaces chance on the links: exactly what it names happens to frames (``lab.links.weather``).
    It is a dictionary, or the path of a scenario file that has it, such as the one that is kept of a failure.
    ``limit`` bounds the virtual time of a run that is given no ``until``. ``profile`` is the system whose settings the
    hosts have: ``"estab"``, ``"linux"`` or ``"freebsd"`` (``estab.tcp.profile``).

    ``clock="real"`` (Linux): time is the machine's, so that processes of the operating system can be hosts, too
    (``Host.spawn``). The seed decides the weather then, and not the schedule: such a run is not repeatable. If
    something is carried out more than ``late_max`` after its time, a ``LateClockWarning`` says how late the run was.
    While such hosts are recorded or observed, their kernel's TCP sockets are sampled every ``sample_every``.

    A context manager: its end ends programs that have not finished. Without ``with`` that happens when the network is
    collected, or at the interpreter's exit. ``TypeError`` and ``ValueError`` name the argument and what is right.
    """

    def __init__(
        self, seed: int | str = 0, observer: Observer | None = None, *,
        weather: Weather | Mapping[str, Any] | str | PathLike[str] | None = None, limit: Duration | None = None,
        profile: str = "estab", clock: Literal["virtual", "real"] = "virtual", late_max: Duration = "50ms",
        sample_every: Duration = "100ms",
    ) -> None:
        check_profile(profile)
        self.profile = profile
        """The system whose settings hosts have if they are not told another."""
        if limit is not None:
            duration_ns(limit, "limit")
        self.limit = limit
        """How long a run without ``until`` may be, in virtual time; ``None``: for ever."""
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise TypeError(f"seed: {seed!r} is neither an integer nor a text, so a run could not be repeated by it")
        self.seed = seed
        if weather is not None and not isinstance(weather, Weather):
            weather = Weather.load(weather) if isinstance(weather, (str, PathLike)) else Weather.read(weather)
        super().__init__(Scheduler(), Chance(seed), weather)
        self._programs = Programs(self._scheduler)
        self._actions = Actions(self._agenda, _NONE if weather is None else weather.skipped)
        self._ending = Ending(self._scheduler, self._topology, self._programs, self._actions)
        self._verdict = Verdict(self._programs, self._actions, self._scheduler.repetition, self._topology.members)
        if self.fixed_weather is not None:
            self.fixed_weather.planned = self._actions.faults
        self._promises = Promises()
        self._names = Names(self._topology)
        self._site: Site | None = None
        """What its hosts share, made with the first one."""
        self._settled_ns = (-1, -1)
        """When the last run was over, if it took time to be sure that servers only poll; and the time at its end."""
        self._late_max_ns = duration_ns(late_max, "late_max")
        self._late_told = 0
        self._spawning = self._make_spawning(clock, sample_every)
        self._number = next(_numbers)
        self._itself: list[object] = [self]
        """By this hosts refer to it until it is closed."""
        _networks[self._number] = weakref.ref(self)
        if observer is not None:
            self.observe(observer)

    def _make_spawning(self, clock: str, sample_every: Duration) -> Spawning | None:
        """Make what real time needs, if it is asked for."""
        sample_every_ns = duration_ns(sample_every, "sample_every")
        if sample_every_ns <= 0:
            raise ValueError(f"sample_every: {sample_every!r} is not more than nothing")
        if clock not in ("virtual", "real"):
            raise ValueError(f'clock: {clock!r} is neither "virtual" nor "real"')
        if clock == "virtual":
            return None
        from estab.lab.spawning import Spawning
        from estab.native.clock import RealClock

        pace = RealClock()
        pace.tick_ns = sample_every_ns
        self._scheduler.pace, self._scheduler.one_cpu.is_real_time = pace, True
        self._maker.began_ns = pace.began_wall_ns
        self._ending.are_delivering = partial(_are_delivering, self._hosts)
        return Spawning(pace, self._topology, self._hosts, self._links, self._names)

    @property
    def is_real_time(self) -> bool:
        """Whether time is the machine's: then a run is not repeatable."""
        return self._spawning is not None

    @property
    def lateness(self) -> Lateness:
        """How late the network was, in real time: ``count``, ``worst_ns``, ``share_ns(0.99)``."""
        if self._spawning is None:
            raise RuntimeError('lateness: virtual time is never late; this is for Network(clock="real")')
        return self._spawning.clock.lateness

    # --- building it

    def host(self, name: str, forwarding: bool = False, *, profile: str | None = None, clock: Calendar = 0,
             drift: Drift = 0, wake_up: Duration = 0, nofile: int | None = None,
             **config: Unpack[Settings]) -> Host:
        """Add a host. ``forwarding=True`` makes it a router.

        ``config`` are settings of its stack (``estab.tcp.config.Config``), durations as numbers of seconds or words:
        ``net.host("server", tcp_syncookies="always", tcp_fin_timeout="10s")``, on top of those of a ``profile``:
        ``"linux"``, ``"freebsd"``, or the network's if none is named.

        ``clock`` sets its calendar, which else says 2026-01-01 at the network's start: a date, or how far it is off
        (``"+3s"``). ``drift`` makes its clocks fast or slow: ``"50ppm"``. ``wake_up`` is the time from what ends a wait
        of one of its programs, a frame or a timer, until the program runs: ``"50us"``. It finds what came meanwhile.
        ``nofile`` is how many descriptors each of its programs may have, the three standard streams among them
        (RLIMIT_NOFILE): more are EMFILE. All programs of a host together have 65,536, or ``nofile`` if that is more.
        ``ValueError`` for a name that another host has, or that no host can have.
        """
        if not isinstance(name, str) or not name or not NOT_IN_NAMES.isdisjoint(name):
            raise ValueError(f"name: {name!r} is not a name for a host: no spaces and none of : / , =")
        if name in self._hosts:
            raise ValueError(f"name: there is a host {name!r} already")
        self._ensure_open()
        if profile is not None:
            check_profile(profile)
        runtime = self._maker.make_host(
            VirtualTime, self._programs, self._names, name, bool(forwarding),
            self.profile if profile is None else profile, clock, drift, wake_up, config)
        given: tuple[str, ...] = ()
        if config or clock or drift or wake_up or profile is not None or nofile is not None:
            others = {"profile": profile, "clock": clock or None, "drift": drift or None, "wake_up": wake_up or None,
                      "nofile": nofile, **config}
            given = tuple([f"{word}=" for word, value in others.items() if value is not None or word in config])
        if nofile is not None:
            runtime.nofile = check_nofile(nofile)
            runtime.engine.files.limit = max(runtime.engine.files.limit, nofile)
        site = self._site
        if site is None:
            spawn = _refuse_spawn if self._spawning is None else self._spawning.make
            site = self._site = Site(self._topology, self._whole, self._programs, self._actions, spawn, self._itself)
        host = Host(runtime, site, given)
        self._topology.members[name] = runtime
        self._hosts[name] = host
        self._tell_of(host)
        return host

    def name(self, name: str, addresses: Host | str | Iterable[Host | str], order: Order = "given") -> None:
        """Make a name stand for hosts, addresses or other names, in this order, from now on.

        A host is all its addresses, IPv4 before IPv6. ``order``: ``"rotate"`` begins with another one at each lookup,
        ``"ipv6"`` and ``"ipv4"`` put that version first. A name may be given others later, ``net.at("10s", net.name,
        "db", [b])``; without any it is unknown. It may be a host's own name, too: other hosts then find what is set.
        """
        self._names.set(name, read_targets(addresses), order)

    def set_resolver(self, failure: Failure = "", *, delay: Duration = 0, loss: float | str = 0.0,
                     timeout: Duration = "5s", attempts: int = 2,
                     answers: Mapping[str, Host | str | Iterable[Host | str]] | None = None) -> None:
        """Set how names are looked up on all hosts that have no resolver of their own: see ``Host.set_resolver``."""
        self._names.resolver = read_resolver(failure, delay, loss, timeout, attempts, answers or {})

    def avoid_tun(self) -> None:
        """Give hosts that are spawned later veth pairs, even if TUN devices could be opened."""
        if self._spawning is not None:
            self._spawning.may_use_tun = False

    def attach(self, name: str, *, netns: str | None = None, pid: int | None = None) -> Host:
        """Add a host that runs already: a container's network namespace, by a ``pid`` in it or by its name or path.

        It gets an interface ``lab0`` … for each link, with an address and routes to the other hosts; what else it has
        stays. It does not know the lab's names. Needs root, and ``Network(clock="real")`` (``RuntimeError``); the
        interfaces are removed with the network.
        """
        if (netns is None) == (pid is None):
            raise TypeError("attach: give either netns= or pid=")
        path = f"/proc/{pid}/ns/net" if netns is None else netns if "/" in netns else f"/run/netns/{netns}"
        if self._spawning is None:
            raise RuntimeError('attach: a namespace of the system needs real time: Network(clock="real")')
        host = self.host(name)
        try:
            host.attach(self._spawning.make(host, path))
        except BaseException:
            del self._hosts[name], self._topology.members[name]
            raise
        return host

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` all facts from now on, those of hosts and links made later, too, and what links are.

        Other observers stay. Returns what ends that: call it, or use it in a ``with`` statement.
        """
        check_observer(observer)
        ends: list[Observation] = []
        told = (observer, ends)
        ends.extend(host.observe(observer) for host in self._hosts.values())
        ends.extend(link.observe(observer) for link in self._links)
        self._observed.append(told)

        def end() -> None:
            self._observed.remove(told)
            for take_off in ends:
                take_off()

        return Observation(end)

    def log_chance(self) -> ChanceLog:
        """Note from now on what chance decides on the links, by frame. Call it before the first link is made.

        ``Weather.of(chance_log.happenings)`` is the same weather without chance.
        """
        if self._links:
            raise RuntimeError("log_chance: links were made already; ask for the log before")
        if self.fixed_weather is not None:
            raise RuntimeError("log_chance: this network was given its weather, so chance decides nothing")
        self.chance_log = self._maker.decider = ChanceLog(self._make_namer())
        return self.chance_log

    @property
    def has_run(self) -> bool:
        """Whether anything ran yet: ``run``, or what runs the network while it waits."""
        return self._scheduler.was_driven

    @property
    def faults(self) -> list[str]:
        """What ``at`` does to links and hosts, each as ``"5s wifi.cut"``: names for ``weather`` to skip."""
        return list(self._actions.faults)

    def record(self, *, facts_max: int = FACTS_MAX, frame_bytes_max: int = FRAME_BYTES_MAX) -> Recording:
        """Record what happens in this network from now on: ``print(seen.ladder())`` after the run shows it.

        Until ``stop()`` of what this returns, or the end of its ``with`` block. At most ``facts_max`` facts and
        ``frame_bytes_max`` bytes of frames are kept; what comes after is counted, and said to be missing.
        """
        kind = " in real time: not repeatable" if self.is_real_time else ""
        epoch_ns = 0 if self._spawning is None else self._spawning.clock.began_wall_ns
        return Recording(self.observe, f"network with seed {self.seed!r}{kind}", epoch_ns=epoch_ns,
                         clock=lambda: self.now_ns, facts_max=facts_max, frame_bytes_max=frame_bytes_max)

    @property
    def hosts(self) -> dict[str, Host]:
        """The hosts by name."""
        return dict(self._hosts)

    # --- time

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.now_ns / SECOND

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the start.

        If a run ends because only servers poll, that is when this began, not when it was certain.
        """
        settled_ns, at_ns = self._settled_ns
        return settled_ns if self._agenda.now_ns == at_ns else self._agenda.now_ns

    def at(self, time: Duration, action: Callable[..., object], /, *args: Any, **keywords: Any) -> None:
        """Call ``action(*args, **keywords)`` at a virtual time (``"5s"``, or seconds): cut a cable, start a program.

        The action can't wait, so it can't sleep or receive. ``ValueError`` if the time is past.
        """
        _check_callable(action, "action")
        due_ns = duration_ns(time, "time")
        if due_ns < self.now_ns:
            raise ValueError(f"time: {time!r} is past: it is {self.now:g}s")
        self._actions.at(due_ns, partial(action, **keywords) if keywords else action, args)

    def every(self, interval: Duration, action: Callable[..., object], /, *args: Any, **keywords: Any) -> None:
        """Call ``action(*args, **keywords)`` every ``interval``, first after one. A run does not wait for it."""
        _check_callable(action, "action")
        interval_ns = duration_ns(interval, "interval")
        if interval_ns <= 0:
            raise ValueError(f"interval: {interval!r} is not more than nothing")
        self._actions.every(interval_ns, partial(action, **keywords) if keywords else action, args)

    def run(self, until: Duration | None = None, check: bool = True) -> None:
        """Run until a virtual time; without one, until every program is done.

        A server that waits only for new clients counts as done once the others are done and no frame is under way;
        so does every ``daemon``. A program that raises ends the run with its exception, unless
        ``check`` is ``False``: then ``result()`` has it. Raises ``DeadlockError`` if nothing can happen any more and
        programs wait, and ``OverlongRunError`` if the run takes longer than the network's ``limit``.
        """
        self._programs.is_checking = check
        if until is None:
            self._run_to_the_end()
            return
        until_ns = duration_ns(until, "until")
        if until_ns < self.now_ns:
            raise ValueError(f"until: {until!r} is past: it is {self.now:g}s")
        until_ns = min(until_ns, NEVER)
        self._drive(self._ending.goes_on, until_ns)
        self._settled_ns = (until_ns, max(self._agenda.now_ns, until_ns))
        self._agenda.now_ns = max(self._agenda.now_ns, until_ns)

    def _run_to_the_end(self) -> None:
        """Run until every program is done, and raise what keeps them from that."""
        limit_ns = NEVER if self.limit is None else self._agenda.now_ns + duration_ns(self.limit, "limit")
        self._scheduler.watch.go_on = self._who_goes_on
        try:
            self._drive(self._ending.is_finished, limit_ns, detects_quiet=True)
        finally:
            self._scheduler.watch.go_on = None
        if self._verdict.is_over():
            self._settled_ns = (self._verdict.ended_ns(), self._agenda.now_ns)
            return
        is_busy = self._programs.are_busy()
        if self._ending.polling_since_ns < NEVER and not is_busy:
            self._settled_ns = (max(self._ending.polling_since_ns, self._verdict.ended_ns()), self._agenda.now_ns)
        if self._scheduler.is_quiet:
            raise DeadlockError(f"nothing has happened since {self._scheduler.active_ns / SECOND:g}s but probes and "
                                f"what keeps connections alive, and programs wait for ever:\n{self._programs.report()}",
                                self._scheduler.active_ns)
        if is_busy and self._agenda.next_due_ns() < NEVER:
            raise OverlongRunError(f"the run goes on at {self.now:g}s, after {self.limit!r} of virtual time (limit=):\n"
                                   f"{self._programs.report()}\n"
                                   "For a program that never ends: host.run(…, daemon=True), or Network.run(until=…)")
        if is_busy:
            text = f"nothing is left to happen at {self.now:g}s, and programs wait:\n{self._programs.report()}"
            raise DeadlockError(text)

    def always(self, predicate: Callable[[], object], why: str) -> None:
        """Fail the run as soon as ``predicate()`` is not true, whenever anything happens. ``why`` says what was wanted.

        It must only read, and not wait: ``net.always(lambda: stock.count >= 0, "stock is never negative")``.
        """
        self._promise("always", predicate, why)

    def eventually(self, predicate: Callable[[], object], why: str, within: int | float | str | None = None) -> None:
        """Fail unless ``predicate()`` becomes true, ``within`` a virtual time from now or before the run ends."""
        due_ns = NEVER if within is None else self.now_ns + duration_ns(within, "within")
        self._promise("eventually", predicate, why, due_ns)

    def sometimes(self, predicate: Callable[[], object], why: str) -> None:
        """Note whether ``predicate()`` is ever true. A sweep in which it never was, in no seed, fails."""
        self._promise("sometimes", predicate, why)

    def check(self) -> None:
        """Raise what is wrong at the end of a run and was not reported yet.

        That is a program that raised, if its ``result()`` or ``exception()`` was not called; what ended a thread that a
        program started; a promise of ``eventually`` that was not kept; and programs that never began because there was
        no run. The fixture of estab's pytest plugin calls it.
        """
        if self._programs.all and not self._scheduler.was_driven:
            names = ", ".join(f"{program.name} on {program.host}" for program in self._programs.all[:3])
            more = ", …" if len(self._programs.all) > 3 else ""
            raise RuntimeError(f"no program ran: {names}{more} waited for net.run(), which was not called")
        self._promises.check(self.now_ns)
        for program in self._programs.all:
            if program.failure is not None and not program.was_asked and not program.cancelled():
                raise program.failure
            for error in program.thread_failures:
                error.add_note(f"in a thread of program {program.name} on host {program.host}")
                raise error

    def waiting(self) -> list[str]:
        """Say of every unfinished program what it waits for, and the state of the socket that it waits on."""
        lines = []
        for program in self._programs.all:
            if not program.is_done:
                rows = {row.fd: row for row in self._hosts[program.host].sockets() if row.fd >= 0}
                waited = [rows[strand.wait.fd] for strand in program.strands
                          if strand.wait is not None and strand.wait.fd in rows]
                states = [f"{row.state}, {row.recv_q} unread, {row.send_q} unacknowledged" if row.state != "LISTEN"
                          else f"LISTEN, {row.recv_q} of {row.send_q} in the accept queue" for row in waited]
                lines.append(program.describe() + (f" ({'; '.join(states)})" if states else ""))
        return lines

    @property
    def promises(self) -> Promises:
        """What was promised of this run: ``always``, ``eventually``, ``sometimes``."""
        return self._promises

    def step(self) -> bool:
        """Carry out the next entry of the agenda, and let every program run until it waits again.

        ``False``: nothing is left to happen.
        """
        before = self._scheduler.steps
        had_programs = bool(self._scheduler.runnable)
        self._programs.is_checking = True
        self._drive(lambda: self._scheduler.steps > before, NEVER)
        return had_programs or self._scheduler.steps > before

    # --- its end

    def close(self) -> None:
        """End programs that have not finished. The network can be looked at, but does not run again. Idempotent.

        Programs that handle SIGTERM get it first, as services do that are stopped, and up to 30 virtual seconds. All
        others are ended in the call in which they wait.
        """
        if self._scheduler.is_running:
            raise RuntimeError("close: the network is running; only what runs it can close it")
        if not self._scheduler.is_closing:
            self._wind_down()
            if self._spawning is not None:
                self._tell_lost(self._spawning)
        self.abandon()

    def abandon(self) -> None:
        """End programs as ``close`` does, without SIGTERM."""
        if not self._itself:
            return
        self._itself.clear()
        _networks.pop(self._number, None)
        for host in self._hosts.values():
            host.runtime.is_closing = True
        if self._scheduler.strands:
            with module.patched(), threads.quiet_ends(ProgramEnded):
                self._scheduler.close()
        else:
            self._scheduler.close()
        for host in self._hosts.values():
            host.runtime.release()
        if self._spawning is not None:
            self._spawning.close()

    def __del__(self) -> None:
        if hasattr(self, "_itself"):  # else it was refused
            self.abandon()

    def _wind_down(self) -> None:
        """Let programs that handle SIGTERM end themselves. What users planned for later does not happen any more."""
        asked = [program for program in self._programs.all if not program.is_done and program.handles(SIGTERM)]
        if not asked:
            return
        self._actions.are_over = True
        self._programs.is_checking = False
        for program in asked:
            program.signal(SIGTERM)
        until_ns = self._agenda.now_ns + _PATIENCE_NS
        self._drive(lambda: all(program.is_done for program in asked), until_ns)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def __repr__(self) -> str:
        kind = "real time, " if self.is_real_time else ""
        return (f"<Network seed={self.seed!r} {kind}{format_count(len(self._hosts), 'host')}, "
                f"{format_count(len(self._links), 'link')}, at {self.now:g}s>")

    # --- inside

    def _promise(self, kind: str, predicate: Callable[[], object], why: str, due_ns: int = NEVER) -> None:
        _check_callable(predicate, kind)
        if not isinstance(why, str) or not why:
            raise TypeError(f"why: {why!r} is not a sentence that says what was wanted")
        self._promises.add(kind, predicate, why, due_ns)
        self._scheduler.look = self._look

    def _look(self) -> None:
        self._promises.look(self.now_ns)

    def _who_goes_on(self) -> str:
        """Say which programs keep a run from ending."""
        busy = self._programs.busy()
        if not busy:
            return ""
        who = "\n".join(f"  {program.describe()}" for program in busy)
        return ("estab: this run has taken 10 s so far, and is at "
                f"{format_duration(self._agenda.now_ns)} of virtual time. It goes on for:\n{who}\n"
                "For a program that never ends: host.run(…, daemon=True), or Network.run(until=…)\n")

    def _drive(self, is_over: Callable[[], bool], until_ns: int, *, detects_quiet: bool = False) -> None:
        self._topology.route()
        self._ending.polling_since_ns = NEVER
        with module.patched():
            self._scheduler.drive(is_over, until_ns, detects_quiet=detects_quiet)
        if self._spawning is not None:
            self._tell_late(self._spawning.clock.lateness)
            self._tell_lost(self._spawning)

    def _tell_late(self, lateness: Lateness) -> None:
        """Warn, once for each run, if the network could not keep up with the machine's clock."""
        late = lateness.over(self._late_max_ns)
        if late > self._late_told:
            self._late_told = late
            bound = format_duration(self._late_max_ns)
            warnings.warn(f"real time: {late} things happened more than {bound} after their time ({lateness}); use a "
                          "less busy machine, slower links, or late_max=", LateClockWarning, stacklevel=4)

    def _tell_lost(self, spawning: Spawning) -> None:
        """Warn if frames did not reach the lab."""
        spawning.count_losses()
        lost = spawning.take_losses()
        if lost:
            warnings.warn(f"frames were lost before the lab had them, on no link of it: {'; '.join(lost)}; the network "
                          "ran too seldom or too slowly: use a less busy machine, or let the host send less at once",
                          LostFramesWarning, stacklevel=4)


def _are_delivering(hosts: Mapping[str, Host]) -> bool:
    """Tell whether a connection of a host still has something to bring to its peer."""
    return any(map(is_delivering, hosts.values()))


def _refuse_spawn(host: Host) -> SpawnedHost:
    raise RuntimeError(f'spawn: a process of the system needs real time, so host {host.name} has to be one of '
                       'Network(clock="real")')


def _check_callable(given: object, name: str) -> None:
    if not callable(given):
        raise TypeError(f"{name}: {given!r} is not a function; give the function itself, without calling it")


_numbers: Final = count(1)
_networks: Final[dict[int, weakref.ref[Network]]] = {}
"""Those that are not closed, in the order in which they were made."""


def _close_all() -> None:
    """End what still waits at the interpreter's end, before that joins the threads of executors."""
    for reference in list(_networks.values()):
        network = reference()
        if network is not None:
            network.abandon()


# The last hook is called first.
register_atexit(_close_all)
