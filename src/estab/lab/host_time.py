"""What the programs of a lab's host use all the time: its clocks, waiting, and what came and went on its links.

``lab.runtime`` has all else of a host: power, sleep, names, signals. Compiled with the core.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mypy_extensions import mypyc_attr

from estab.host.engine import Engine
from estab.lab.links.host_side import HostSide
from estab.lab.programs.socket_calls import SocketCalls
from estab.lab.programs.strands import Scheduler, Strand
from estab.lab.record.clock import Agenda
from estab.lab.record.host_clock import HostClock
from estab.sockets.process import Process
from estab.sockets.runtime import Runtime, Wait

if TYPE_CHECKING:
    from estab.host.sockets.files import Descriptor
    from estab.lab.links.way import Way

__all__ = ["HostTime"]


@mypyc_attr(allow_interpreted_subclasses=True)
class HostTime(Runtime):
    """The times and waits of one host of the lab. What derives from it has a slot ``__weakref__``.

    Its side of the links and the calls of its programs refer to it weakly, so that a network is released at once when
    it is dropped.
    """

    __slots__ = ("_agenda", "_calls", "_programs", "_scheduler", "clock", "side")

    def __init__(self, engine: Engine, scheduler: Scheduler, programs: Any, clock: HostClock, wake_up_ns: int) -> None:
        super().__init__(engine, is_virtual=True)
        self._programs: Any = programs
        """All programs of the network; a weak reference to them, that is."""
        self.clock: HostClock = clock
        """What time it is on the host."""
        self._scheduler: Scheduler = scheduler
        self._agenda: Agenda = scheduler.agenda
        owner: Any = weakref.proxy(self)
        self.side: HostSide = HostSide(engine, scheduler.agenda, clock, owner, self.watches.by_fd)
        """What is between the host's engine and its links."""
        self._calls: SocketCalls = SocketCalls(self.side, scheduler, programs, owner, wake_up_ns)
        """The calls of its programs that come most often."""
        self.quick = self._calls

    @property
    def agenda(self) -> Agenda:
        """What is to happen on the network, and when."""
        return self._agenda

    @property
    def is_paced(self) -> bool:
        """Whether the network's time follows the machine's clock whenever it is asked for."""
        return self._scheduler.pace is not None

    # --- clocks

    @property
    def now_ns(self) -> int:
        """The host's monotonic clock: the network's time, unless the host's drifts or stood still."""
        return self._calls.now_ns()

    @property
    def now(self) -> float:
        """The host's monotonic clock, in seconds."""
        return self._calls.now()

    @property
    def network_ns(self) -> int:
        """The network's time: nanoseconds since it was made."""
        self._scheduler.keep_pace()
        return self._agenda.now_ns

    @property
    def wall_ns(self) -> int:
        """The host's calendar."""
        self._scheduler.keep_pace()
        return self.clock.wall_ns

    @property
    def boot_ns(self) -> int:
        """The host's monotonic clock, and for how long it slept."""
        return self.clock.boot_ns

    # --- waiting

    def flush(self) -> None:
        """Put the host's frames on their links and wake the programs that waited for what happened."""
        self.side.flush()

    def abandon(self, descriptor: Descriptor) -> None:
        """Close a descriptor as soon as the program that runs now waits."""
        self.abandoned.append(descriptor)
        self._scheduler.untidy.append(self.flush)
        self._agenda.turns += 1

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due; others run meanwhile. ``False``: the deadline came first."""
        return self._calls.wait(wait)

    def sleep(self, duration_ns: int) -> None:
        """Sleep for a time of the host's clock."""
        self.sleep_for(duration_ns, f"sleep({duration_ns / 1e9:g})")

    def sleep_for(self, duration_ns: int, what: str) -> None:
        """Sleep so, for something that has a name."""
        self.wait(Wait(lambda: False, lambda: what, self.now_ns + duration_ns))

    def can_wait(self) -> bool:
        """Tell whether the code that runs here is a program's."""
        return self._calls.strand_here() is not None

    def notify(self, channel: int) -> None:
        """Wake the strands that wait on a channel and are ready."""
        self.side.notify(channel)

    def poke(self) -> None:
        """Wake the strands that wait for several descriptors and are ready."""
        self.side.poke()

    def spin(self, weight: int) -> None:
        """Let virtual time pass for a program that looks again and again without waiting (``HostCalls.spin``)."""
        self._calls.spin(weight)

    # --- programs

    def process(self) -> Process:
        """Return what the host keeps of the program that runs here; outside of programs, of what acts on the host."""
        strand = self._calls.strand_here()
        process = None if strand is None else strand.process
        return super().process() if process is None else process

    def cpus(self) -> set[int]:
        """Return the CPUs that the process may use, whichever one of them the run is kept on."""
        return self._scheduler.one_cpu.allowed

    def scheduling(self) -> tuple[int, int] | None:
        """Return the policy of the thread that runs the network, whatever those of programs have meanwhile."""
        return self._scheduler.one_cpu.scheduling

    def start_thread(self, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Strand:
        """Start another strand of the program that runs here."""
        started: Strand = self._programs.start_thread(self, run, launch, name, is_daemon, cancel)
        return started

    # --- links

    def attach(self, interface_index: int, way: Way) -> None:
        """Send the frames of an interface along a way."""
        self.side.attach(interface_index, way)

    def way_of(self, interface_index: int) -> Way:
        """Return the way along which an interface sends."""
        way = self.side.ways[interface_index]
        assert way is not None
        return way

    def index_of(self, way: Way) -> int:
        """Find the interface that sends along a way."""
        return self.side.ways.index(way)
