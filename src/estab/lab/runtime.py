"""``VirtualTime``: what the programs of a lab's host wait on.

Their calls wait in virtual time, by the scheduler. A blocking call from outside of any program (a test's own thread, a
prompt) runs the network until it can go on.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from estab.cpython import get_ident
from estab.events import FrameSent, HostChanged
from estab.host.drive.drain import drain
from estab.host.engine import Engine
from estab.lab.programs.program import DeadlockError, ExitError, Programs
from estab.lab.programs.strands import Scheduler, Strand
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Alarm
from estab.sockets.polling.event_loop import EventLoop
from estab.sockets.process import Process
from estab.sockets.runtime import Runtime, Wait, Watches
from estab.sockets.standin import module
from estab.sockets.standin.signals import current_handler
from estab.units import NEVER

if TYPE_CHECKING:
    from estab.host.ip.interface import Outbound
    from estab.host.sockets.files import Descriptor
    from estab.lab.links.way import Way
    from estab.lab.topology import Topology

__all__ = ["EPOCH_NS", "VirtualTime"]

EPOCH_NS: Final = 1_767_225_600_000_000_000
"""What the calendar says when a network starts: 2026-01-01 00:00 UTC."""
_SPINS_FREE: Final = 100_000
_NAP_NS: Final = 1000
_NAPS_EACH: Final = 256
_NAP_DOUBLINGS: Final = 10


class VirtualTime(Runtime):
    """One host in virtual time."""

    is_virtual = True

    def __init__(
        self, engine: Engine, scheduler: Scheduler, topology: Topology, programs: Programs, chance: Chance,
    ) -> None:
        super().__init__(engine)
        self._scheduler = scheduler
        self._agenda = scheduler.agenda
        self._topology = topology
        self._programs = programs
        self._entropy = chance
        self._ways: dict[int, Way] = {}
        self.is_powered = True
        self._boots = 0
        self._alarm = Alarm(self._agenda, self._on_deadline)
        self._inputs = 0
        """How often anything happened on the host."""
        self._waiting_any: list[Strand] = []
        self._waiting_fd: dict[int, list[Strand]] = {}

    # --- power

    def lose_power(self) -> None:
        """End programs and connections, and forget everything. Nobody is told."""
        strand = self._scheduler.current
        if strand is not None and self._programs.runs_on(self, strand):
            raise RuntimeError(f"power_off: a program on {self.name} can't take its own power; use Network.at")
        self.is_powered = False
        self._alarm.set(NEVER)
        self._programs.strand(self)
        self._topology.set_heard(self, False)
        self._tell_power("power off")

    def regain_power(self) -> None:
        """Start with an empty engine, that has the old one's settings, interfaces and addresses."""
        self.is_powered = True
        self._boots += 1
        before = self.engine
        secret = self._entropy.child("boot", self._boots).octets(32)
        self.engine = Engine(before.name, secret, before.config, before.observer)
        self.engine.is_forwarding = before.is_forwarding
        self.watches = Watches()
        self.by_number.clear()
        self.detached.clear()
        self.abandoned.clear()
        self.owners.clear()
        self._topology.plug_again(self, before)
        self._topology.set_heard(self, True)
        self._tell_power("power on")

    # --- for the network

    def attach(self, interface_index: int, way: Way) -> None:
        """Send the frames of an interface along a way."""
        self._ways[interface_index] = way

    def receive(self, interface_index: int, frame: bytes) -> None:
        """Take a frame from a link."""
        self.engine.on_frame(interface_index, frame, self._agenda.now_ns)
        self.flush()

    # --- what programs wait on

    @property
    def now_ns(self) -> int:
        """The network's virtual time."""
        return self._agenda.now_ns

    @property
    def wall_ns(self) -> int:
        """The network's virtual time as a calendar's."""
        return EPOCH_NS + self._agenda.now_ns

    def flush(self) -> None:
        """Put the host's frames on their links and wake the programs that waited for what happened."""
        self._inputs += 1
        if self.abandoned:
            self.close_abandoned()
        self._alarm.set(drain(self.engine, self._agenda.now_ns, self._send, self._tell))
        if self._waiting_any:
            self.poke()
        if self.hooks:
            self.run_hooks()

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due; others run meanwhile. ``False``: the deadline came first."""
        if wait.is_ready():
            return True
        scheduler = self._scheduler
        strand = scheduler.current
        if strand is None:
            return self._run_network(wait)
        strand.spins = strand.naps = 0
        started_ns = self._agenda.now_ns
        while True:
            self._enlist(strand, wait)
            scheduler.wait(wait)
            process = strand.process
            if process is not None and process.pending and strand.thread is process.main_thread:
                self._programs.handle_signals(process)
            if wait.is_ready():
                strand.habit.broken()
                return True
            now_ns = self._agenda.now_ns
            if wait.deadline_ns is not None and wait.deadline_ns <= now_ns:
                if wait.is_serving():
                    strand.habit.timed_out(started_ns, now_ns, self._inputs)
                else:
                    strand.habit.broken()
                return False

    # --- processes

    def process(self) -> Process:
        """Give what the host keeps of the program that runs here; outside of programs, of what acts on the host."""
        strand = self._scheduler.current
        if strand is not None and strand.process is not None and strand.ident == get_ident():
            return strand.process
        return super().process()

    def find_process(self, pid: int) -> Process | None:
        """Find a program of the host that has not ended."""
        return next((program.process for program in self._programs.all
                     if program.runtime is self and program.process.pid == pid and not program.is_done), None)

    def send_signal(self, process: Process, number: int) -> None:
        """Send a signal to a program."""
        if process.wakeup_fd >= 0 and callable(current_handler(process, number)):
            found = self.by_number.get(process.wakeup_fd) or self.detached.get(process.wakeup_fd)
            if found is not None:
                with suppress(BlockingIOError):
                    found.send(bytes([number]))
        self._programs.deliver(process, number)

    def exit_process(self, status: int) -> None:
        """End the program that runs here at once."""
        program = self._programs.find(self.process())
        if program is None:
            raise RuntimeError(f"os._exit on host {self.name}: no program runs here")
        text = f"{program.name} on {self.name} ended with status {status}, by os._exit"
        self._programs.stop(program, ExitError(text, status))

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Have a function called after a virtual time, in no program."""
        self._agenda.at(self._agenda.now_ns + delay_ns, _call, function)

    def excuse_ending(self) -> None:
        """Let an event loop that is ended cancel its tasks and wait for them."""
        self._scheduler.excuse()

    def sleep(self, duration_ns: int) -> None:
        """Sleep for a virtual time."""
        due_ns = self._agenda.now_ns + duration_ns
        self.wait(Wait(lambda: False, lambda: f"sleep({duration_ns / 1e9:g})", due_ns))

    def can_wait(self) -> bool:
        """Tell whether the code that runs here is a program's."""
        strand = self._scheduler.current
        return strand is not None and strand.ident == get_ident()

    def start_thread(self, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Strand:
        """Start another strand of the program that runs here."""
        return self._programs.start_thread(self, run, launch, name, is_daemon, cancel)

    def notify(self, channel: int) -> None:
        """Ask the strands that wait on a channel whether they are ready."""
        for strand in tuple(self._waiting_fd.get(channel, ())):
            wait = strand.wait
            if wait is not None and wait.is_ready():
                strand.wake()

    def poke(self) -> None:
        """Ask the strands that wait for more than one descriptor whether they are ready."""
        for strand in tuple(self._waiting_any):
            wait = strand.wait
            if wait is not None and wait.is_ready():
                strand.wake()

    def spin(self, weight: int) -> None:
        """Let virtual time pass for a program that looks again and again without waiting.

        A program is infinitely fast: one that polls until something changes would never let it change. So after many
        looks each one takes a microsecond, and later up to a millisecond, until it waits in earnest.
        """
        strand = self._scheduler.current
        if strand is None:
            return
        strand.spins += weight
        if strand.spins > _SPINS_FREE:
            naps = strand.naps
            self.sleep(_NAP_NS << min(naps // _NAPS_EACH, _NAP_DOUBLINGS))
            strand.spins, strand.naps = _SPINS_FREE, naps + 1

    def resolve(self, name: str, family: int) -> list[bytes]:
        """Look up a host of the network."""
        return self._topology.resolve(name, family, self)

    def why_unknown(self, name: str) -> str:
        """Say why a name has no address: there is no such host, or it has no link."""
        if name in self._topology.members:
            return f"host {name} has no address yet: Network.link gives it one"
        return super().why_unknown(name)

    def reverse(self, address: bytes) -> list[str]:
        """Find the host of an address."""
        return self._topology.reverse(address)

    def entropy(self, size: int) -> bytes:
        """Draw from the host's own stream of chance."""
        return self._entropy.octets(size)

    def new_event_loop(self) -> AbstractEventLoop:
        """Make an asyncio event loop in virtual time."""
        return EventLoop(self)

    def abandon(self, descriptor: Descriptor) -> None:
        """Close a descriptor as soon as the program that runs now waits."""
        super().abandon(descriptor)
        self._scheduler.untidy.append(self.flush)

    def index_of(self, way: Way) -> int:
        """Find the interface that sends along a way."""
        return next(index for index, own in self._ways.items() if own is way)

    def forge(self, way: Way, frame: bytes) -> None:
        """Put a frame on a way as though the host's stack had sent it."""
        index = self.index_of(way)
        observer = self.engine.observer
        if observer is not None:
            observer(FrameSent(self._agenda.now_ns, self.name, self.engine.interfaces[index].name, frame))
        way.carry(frame)

    # --- inside

    def _tell_power(self, what: str) -> None:
        observer = self.engine.observer
        if observer is not None:
            observer(HostChanged(self._agenda.now_ns, self.name, what))

    def _send(self, outbound: Outbound) -> None:
        way = self._ways.get(outbound.interface_index)
        if way is not None and self.is_powered:
            way.carry(outbound.data)

    def _tell(self, fd: int, bits: int) -> None:
        self.watches.tell(fd, bits)
        self.notify(fd)

    def _on_deadline(self) -> None:
        self.engine.on_deadline(self._agenda.now_ns)
        self.flush()

    def _enlist(self, strand: Strand, wait: Wait) -> None:
        if wait.fd == -1:
            self._waiting_any.append(strand)
            strand.forget = self._waiting_any.remove
        else:
            waiting = self._waiting_fd.setdefault(wait.fd, [])
            waiting.append(strand)
            strand.forget = waiting.remove

    def _run_network(self, wait: Wait) -> bool:
        deadline_ns = wait.deadline_ns
        self._topology.route()
        with module.patched():
            self._scheduler.drive(
                wait.is_ready, NEVER if deadline_ns is None else deadline_ns, detects_quiet=deadline_ns is None)
        if wait.is_ready():
            return True
        if deadline_ns is None:
            raise DeadlockError(f"{wait.describe()} on {self.name} waits for ever: nothing is left to happen in the "
                                "network")
        self._agenda.now_ns = max(self._agenda.now_ns, deadline_ns)
        return False


def _call(function: Callable[[], None]) -> None:
    function()
