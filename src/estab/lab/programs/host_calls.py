"""What programs ask of their host most often, beside what they ask of its sockets: the time, and to wait.

Compiled with the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from mypy_extensions import i64

from estab.cpython import get_ident
from estab.lab.links.host_side import HostSide
from estab.lab.programs.strands import Scheduler, Strand
from estab.sockets.runtime import divide
from estab.sockets.waiting import Wait
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.host.sockets.files import Descriptor
    from estab.lab.programs.program import Programs
    from estab.sockets.process import Process
    from estab.sockets.runtime import Numbered, Numbers, Watches

__all__ = ["HostCalls", "Owner"]

_EXACT_MAX: Final = 1 << 53
_get_ident: Final[Any] = get_ident
_SPINS_FREE: Final = 100_000
_NAP_NS: Final = 1000
_NAPS_EACH: Final = 256
_NAP_DOUBLINGS: Final = 10


class Owner(Protocol):
    """What the programs of the host wait on."""

    owners: dict[Descriptor, Process]
    """Which program has opened what."""
    shared: dict[Descriptor, list[Process | None]]
    """What was passed to other programs."""
    detached: dict[int, Numbered]
    """The numbers that no socket has now."""
    by_number: Numbers
    """What stands for each number."""
    watches: Watches
    """Those that are told of a descriptor's news."""
    nofile: int
    """How many descriptors a program may have that has set no limit of its own."""

    def process(self) -> Process:
        """Return what the host keeps of the program that runs here."""

    def sleep(self, duration_ns: int) -> None:
        """Sleep for a virtual time."""

    def run_network(self, wait: Wait) -> bool:
        """Run the network until ready or due, for a call from outside of programs."""


class HostCalls:
    """The calls of one host's programs that are for no socket."""

    def __init__(
        self, side: HostSide, scheduler: Scheduler, programs: Programs, owner: Owner, wake_up_ns: int,
    ) -> None:
        self._side: HostSide = side
        self._scheduler: Scheduler = scheduler
        self._programs: Programs = programs
        self._owner: Owner = owner
        self._wake_up_ns: int = wake_up_ns

    def strand_here(self) -> Strand | None:
        """Return the strand whose code runs here, ``None`` if that is no program's."""
        strand = self._scheduler.current
        return strand if strand is not None and strand.ident == _get_ident() else None

    def now_ns(self) -> i64:
        """Return the host's monotonic clock."""
        if self._scheduler.pace is not None:
            self._scheduler.keep_pace()
        return self._side.now_ns()

    def now(self) -> float:
        """Return the host's monotonic clock, in seconds."""
        now_ns = self.now_ns()
        return now_ns / SECOND if now_ns <= _EXACT_MAX else divide(now_ns, SECOND)

    def time(self) -> float:
        """Return the host's calendar, in seconds, to a program that may look again and again."""
        self.spin(1)
        if self._scheduler.pace is not None:
            self._scheduler.keep_pace()
        return divide(self._side.clock.wall_ns, SECOND)

    def monotonic(self) -> float:
        """Return the host's monotonic clock, in seconds, to a program that may look again and again."""
        self.spin(1)
        return self.now()

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due; others run meanwhile. ``False``: the deadline came first."""
        if wait.is_ready():
            return True
        scheduler = self._scheduler
        strand = scheduler.current
        if strand is None:
            return self._owner.run_network(wait)
        strand.spins = strand.naps = 0
        side = self._side
        strand.clock, strand.wake_up_ns = side.clock, self._wake_up_ns
        started_ns: int = side.agenda.now_ns
        waiting = side.waiting(wait.fd)
        deadline_ns = wait.deadline_ns
        while True:
            scheduler.wait(wait, waiting)
            process: Any = strand.process
            if process is not None and process.pending and strand.thread is process.main_thread:
                self._programs.handle_signals(process)
            if wait.is_ready():
                strand.habit.broken()
                return True
            if deadline_ns is not None and deadline_ns <= self.now_ns():
                if wait.is_serving():
                    strand.habit.timed_out(started_ns, side.agenda.now_ns, side.inputs)
                elif self._programs.serves_beside(strand):
                    strand.habit.timed_out(started_ns, side.agenda.now_ns, side.inputs, is_beside=True)
                else:
                    strand.habit.broken()
                return False

    def spin(self, weight: int) -> None:
        """Let virtual time pass for a program that looks again and again without waiting.

        A program takes no virtual time: one that polls until something changes would poll for ever. So after many polls
        each one takes a microsecond, and later up to a millisecond, until the program waits.
        """
        strand = self._scheduler.current
        if strand is None:
            return
        strand.spins += weight
        if strand.spins > _SPINS_FREE:
            naps = strand.naps
            self._owner.sleep(_NAP_NS << min(naps // _NAPS_EACH, _NAP_DOUBLINGS))
            strand.spins, strand.naps = _SPINS_FREE, naps + 1
