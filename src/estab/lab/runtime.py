"""``VirtualTime``: what the programs of a lab's host wait on.

Their calls wait in virtual time, with the scheduler (``host_time``). A blocking call from outside of programs (a test's
own thread, a prompt) runs the network until it can return.
"""

from __future__ import annotations

import socket as os_socket
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Protocol

from estab.abi import AF_INET, AF_INET6, AF_UNSPEC
from estab.events import Event, FrameSent, HostChanged, Observer
from estab.host.engine import Engine
from estab.lab.boxes.box import Boxes
from estab.lab.host_time import HostTime
from estab.lab.naming import AT_ONCE, Names, Resolver
from estab.lab.programs.program import DeadlockError, ExitError, Programs
from estab.lab.programs.strands import Scheduler
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Alarm
from estab.lab.record.host_clock import HostClock
from estab.sockets.polling.event_loop import FILES, EventLoop
from estab.sockets.process import Process
from estab.sockets.runtime import Wait, Watches
from estab.sockets.standin import module
from estab.sockets.standin.signals import current_handler, name_of
from estab.units import NEVER, format_duration
from estab.wire.address import format_address

if TYPE_CHECKING:
    from estab.host.snapshot import SocketRow
    from estab.lab.links.way import Way
    from estab.lab.topology import Topology

__all__ = ["Outside", "VirtualTime"]


_NUMBERED_BITS: Final = 20
"""The numbers by which a host's objects hash begin at its place among hosts, times two to this power."""


class Outside(Protocol):
    """A host whose TCP is not its engine but the machine's kernel."""

    def rows(self) -> list[SocketRow]:
        """List its sockets."""

    def counters(self) -> dict[str, int]:
        """Give its counters."""

    def lose_power(self) -> None:
        """End all of it at once."""

    def regain_power(self) -> None:
        """Begin anew, empty."""

    def set_carrier(self, name: str, *, is_up: bool) -> None:
        """Have an interface see whether its cable is plugged in."""

    def set_awake(self, *, is_awake: bool) -> None:
        """Let its processes do nothing, or go on."""

    def kill(self) -> None:
        """End its processes at once; their kernel goes on."""


class VirtualTime(HostTime):
    """One host in virtual time; in real time if its network keeps pace with the machine's clock."""

    __slots__ = (
        "__weakref__", "_asked", "_boots", "_entropy", "_host", "_later", "_later_alarm", "_later_count", "_names_ref",
        "_told", "_whole", "boxes", "is_awake", "is_powered", "outside", "resolver",
    )

    def __init__(
        self, engine: Engine, scheduler: Scheduler, topology: Topology, programs: Programs, chance: Chance,
        names: Names, clock: HostClock, wake_up_ns: int = 0,
    ) -> None:
        super().__init__(engine, scheduler, weakref.proxy(programs), clock, wake_up_ns)
        self._host: weakref.ref[object] | None = None
        self.resolver: Resolver | None = None
        """What it is like to look a name up here; ``None``: as on any host."""
        # Sets of asyncio's own have objects of all hosts: equal numbers would all be in one place of their tables.
        self.numbered = len(topology.members) << _NUMBERED_BITS
        self._names_ref = weakref.ref(names)
        self._whole = weakref.ref(topology.whole())
        self._asked = chance.child("resolver")
        self.is_awake = True
        """It neither sleeps nor is paused."""
        self._entropy = chance
        self.boxes: Boxes | None = None
        """What translates and balances on this host; ``None``: nothing."""
        self.outside: Outside | None = None
        """What the host is instead of its engine, if its TCP is the machine's kernel."""
        self.is_powered = True
        self._boots = 0
        self._told: Observer | None = None
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        """What is to be called later, by the host's clock: when, in which order, and what."""
        self._later_count = 0
        self._later_alarm: Alarm | None = None
        """Made when something is first to be called later."""

    def release(self) -> None:
        """Let nothing refer to it in a circle: its network is closed, so no timer of it will ring."""
        self.side.alarm.release()
        if self._later_alarm is not None:
            self._later_alarm.release()

    @property
    def host(self) -> object:
        """The ``Host`` that it belongs to."""
        return None if self._host is None else self._host()

    @host.setter
    def host(self, host: object) -> None:
        self._host = weakref.ref(host)

    @property
    def _names(self) -> Names:
        names = self._names_ref()
        if names is None:
            raise RuntimeError("the network is closed")
        return names

    @property
    def _topology(self) -> Topology:
        whole = self._whole()
        if whole is None:
            raise RuntimeError("the network is closed")
        return whole.topology

    # --- power

    def lose_power(self) -> None:
        """End programs and connections, and forget everything. No peer is told."""
        self._ensure_not_own("power_off")
        if not self.is_awake:
            self.clock.start()
            self.is_awake = True
        self.is_powered = self.side.is_sending = False
        self.side.alarm.set(NEVER)
        self._later.clear()
        self._set_later()
        self._programs.strand(self)
        self._topology.set_heard(self, False)
        if self.outside is not None:
            self.outside.lose_power()
        self._tell_change("power off")

    def regain_power(self) -> None:
        """Start with an empty engine that has the old one's settings, interfaces and addresses."""
        self.is_powered = self.side.is_sending = True
        self._boots += 1
        before = self.engine
        secret = self._entropy.child("boot", self._boots).octets(32)
        self.engine = Engine(before.name, secret, before.config, before.observer)
        self.engine.is_forwarding = before.is_forwarding
        self.engine.files.limit = before.files.limit
        self.watches = Watches()
        self.side.engine, self.side.watchers = self.engine, self.watches.by_fd
        self.by_number.clear()
        self.detached.clear()
        self.abandoned.clear()
        self.owners.clear()
        self.shared.clear()
        self._topology.plug_again(self, before)
        if self.boxes is not None:
            self.boxes.restart(self.engine)
        self._topology.set_heard(self, True)
        if self.outside is not None:
            self.outside.regain_power()
        self._tell_change("power on")

    # --- sleep, and clocks

    def fall_asleep(self, what: str, *, is_calendar_stopped: bool) -> None:
        """Stand still: no frame is taken, no timer runs, no program goes on."""
        self._ensure_not_own(what)
        self.clock.stop(is_calendar_stopped=is_calendar_stopped)
        self.is_awake = self.side.is_sending = False
        self._set_timers()
        self._programs.freeze(self)
        self._topology.set_heard(self, False)
        if self.outside is not None:
            self.outside.set_awake(is_awake=False)
        self._tell_change("paused" if is_calendar_stopped else "suspended")

    def wake_up(self) -> None:
        """Go on. What arrived meanwhile is lost."""
        self.clock.start()
        self.is_awake = self.side.is_sending = True
        self._topology.set_heard(self, True)
        if self.outside is not None:
            self.outside.set_awake(is_awake=True)
        self._tell_change("resumed")
        self._follow_clock()
        self._set_timers()
        self._programs.thaw(self)

    def set_calendar(self, by_ns: int) -> None:
        """Set the calendar forward, or back."""
        self.clock.step(by_ns)
        self._tell_change(f"clock set by {'+' if by_ns >= 0 else ''}{format_duration(by_ns)}")

    def set_drift(self, ppb: int) -> None:
        """Let both clocks run faster by a share, or slower."""
        self.clock.drift(ppb)
        self._tell_change(f"clock drifts by {ppb / 1000:g} ppm")
        self._follow_clock()
        self._set_timers()
        self._programs.retime(self)

    def _set_timers(self) -> None:
        """Set the timers of the host's stack anew, by its clock as that runs now."""
        due_ns = self.engine.next_deadline_ns() if self.is_powered else NEVER
        self.side.alarm.set(self.clock.due_ns(due_ns))
        self._set_later()

    def _follow_clock(self) -> None:
        """Tell facts with the network's time, also where the host's clock says another."""
        if not self.clock.is_true:
            self._tell_all_facts(self._told)

    def _ensure_not_own(self, what: str) -> None:
        strand = self._scheduler.current
        if strand is not None and self._programs.runs_on(self, strand):
            raise RuntimeError(f"{what}: a program on {self.name} can't do that to its own host; use Network.at")

    # --- processes

    def find_process(self, pid: int) -> Process | None:
        """Find a program of the host that has not ended."""
        return next((program.process for program in self._programs.all
                     if program.runtime is self and program.process.pid == pid and not program.is_done), None)

    def send_signal(self, process: Process, number: int) -> None:
        """Send a signal to a program."""
        if self._programs.find(process) is not None:
            self._tell_change(f"{name_of(number)} to {process.name}")
        if self._programs.has_to_wait(process, number, self.is_awake):
            return
        if process.wakeup_fd >= 0 and callable(current_handler(process, number)):
            found = self.by_number.get(process.wakeup_fd) or self.detached.get(process.wakeup_fd)
            if found is not None:
                with suppress(BlockingIOError):
                    found.send(bytes([number]))
        self._programs.deliver(process, number)

    def note_thread_failure(self, error: BaseException) -> None:
        """Keep what ended a thread of the program that runs here: the network's ``check`` raises it."""
        program = self._programs.find(self.process())
        if program is not None:
            program.thread_failures.append(error)

    def exit_process(self, status: int) -> None:
        """End the program that runs here at once."""
        program = self._programs.find(self.process())
        if program is None:
            raise RuntimeError(f"os._exit on host {self.name}: no program runs here")
        text = f"{program.name} on {self.name} ended with status {status}, by os._exit"
        self._programs.stop(program, ExitError(text, status))

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call a function after a time of the host's clock, outside of programs."""
        self._later_count += 1
        heappush(self._later, (self.now_ns + delay_ns, self._later_count, function))
        self._set_later()

    def excuse_ending(self) -> None:
        """Let an event loop that is ended cancel its tasks and wait for them."""
        self._scheduler.excuse()

    def resolve(self, name: str, family: int) -> list[bytes]:
        """Look up a name of the network. It takes as long as the host's resolver does. ``gaierror`` if that fails."""
        names = self._names
        resolver = self.resolver or names.resolver
        if (resolver is AT_ONCE and not names.changes) or names.is_local(name, self):
            return self._topology.resolve(name, family, self)
        self._ask(resolver, repr(name))
        size = {AF_INET: (4,), AF_INET6: (16,), AF_UNSPEC: (4, 16)}[family]
        return [address for address in names.find(name, self, resolver) if len(address) in size]

    @property
    def answers_at_once(self) -> bool:
        """Whether the host's resolver takes no time."""
        resolver = self.resolver or self._names.resolver
        return resolver is AT_ONCE or resolver.is_at_once

    def why_unknown(self, name: str) -> str:
        """Say why a name has no address: there is no such host, or it has no link."""
        if name in self._topology.members:
            return f"host {name} has no address yet: Network.link gives it one"
        return super().why_unknown(name)

    def reverse(self, address: bytes) -> list[str]:
        """Find the host of an address, in the time that the host's resolver takes. One that fails knows no name."""
        found = self._topology.reverse(address)
        if found != ["localhost"] and self.name not in found:
            try:
                self._ask(self.resolver or self._names.resolver, format_address(address))
            except os_socket.gaierror:
                return []
        return found

    def _ask(self, resolver: Resolver, what: str) -> None:
        resolver.ask(what, lambda ns: self.sleep_for(ns, f"an answer about {what} from its name server"), self._asked)

    def entropy(self, size: int) -> bytes:
        """Draw from the host's own stream of chance."""
        return self._entropy.octets(size)

    def new_event_loop(self) -> AbstractEventLoop:
        """Make an asyncio event loop in virtual time."""
        self.ensure_may_open(FILES)
        return EventLoop(self)

    def set_carrier(self, way: Way, *, is_up: bool) -> None:
        """Have an interface see whether its cable is plugged in."""
        interface = self.engine.interfaces[self.index_of(way)]
        if self.outside is not None:
            self.outside.set_carrier(interface.name, is_up=is_up)
        self.engine.set_link(interface, is_up=is_up, now_ns=self.now_ns)
        self.flush()

    def forge(self, way: Way, frame: bytes) -> None:
        """Put a frame on a way as if the host's stack had sent it."""
        index = self.index_of(way)
        observer = self.engine.observer
        if observer is not None:
            observer(FrameSent(self._agenda.now_ns, self.name, self.engine.interfaces[index].name, frame))
        way.carry(frame)

    # --- inside

    def _set_later(self) -> None:
        alarm = self._later_alarm
        if alarm is None and self._later:
            alarm = self._later_alarm = Alarm(self._agenda, self._on_later)
        if alarm is not None:
            alarm.set(self.clock.due_ns(self._later[0][0]) if self._later else NEVER)

    def _on_later(self) -> None:
        while self._later and self._later[0][0] <= self.now_ns:
            heappop(self._later)[2]()
        self._set_later()

    def _tell_all_facts(self, observer: Observer | None) -> None:
        """Let the stack report its facts with the network's time, also if its own clock has another."""
        self._told = observer
        if observer is None or self.clock.is_true:
            self.engine.observer = observer
            return
        agenda, clock = self._agenda, self.clock

        def tell(fact: Event) -> None:
            tcb = getattr(fact, "tcb", None)
            if tcb is not None and tcb.timer_due_ns:
                due = replace(tcb, timer_due_ns=clock.due_ns(tcb.timer_due_ns))
                observer(replace(fact, at_ns=agenda.now_ns, tcb=due))  # type: ignore[call-arg]
            else:
                observer(replace(fact, at_ns=agenda.now_ns))

        self.engine.observer = tell

    def _tell_change(self, what: str) -> None:
        observer = self.engine.observer
        if observer is not None:
            observer(HostChanged(self._agenda.now_ns, self.name, what))

    def run_network(self, wait: Wait) -> bool:
        """Run the network until ready or due, for a call from outside of programs."""
        deadline_ns = NEVER if wait.deadline_ns is None else self.clock.due_ns(wait.deadline_ns)
        self._topology.route()
        with module.patched():
            self._scheduler.drive(wait.is_ready, deadline_ns, detects_quiet=deadline_ns == NEVER)
        if wait.is_ready():
            return True
        if deadline_ns == NEVER:
            raise DeadlockError(f"{wait.describe()} on {self.name} waits for ever: nothing is left to happen in the "
                                "network")
        self._agenda.now_ns = max(self._agenda.now_ns, min(deadline_ns, NEVER))
        return False
