"""A host's side of its links: frames from them into its engine, and what the engine has to say out of it.

Compiled with the core, so that nothing interpreted runs for a frame that wakes no program.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from mypy_extensions import i64

from estab.host.engine import Engine
from estab.lab.links.frame import Frame, Receiver
from estab.lab.links.way import Way
from estab.lab.record.clock import Agenda, Alarm
from estab.lab.record.host_clock import HostClock

__all__ = ["Arrival", "HostSide", "Owner"]


class Owner(Protocol):
    """What the programs of the host wait on."""

    abandoned: deque[Any]
    """Descriptors to close, in ``close_abandoned``."""
    hooks: list[Callable[[], None]]
    """What ``run_hooks`` calls."""

    def run_hooks(self) -> None:
        """Call the hooks: the host did something."""

    def close_abandoned(self) -> None:
        """Close what was abandoned."""


class HostSide:
    """What is between one host's engine and its links."""

    def __init__(
        self, engine: Engine, agenda: Agenda, clock: HostClock, owner: Owner, watchers: dict[int, Any],
    ) -> None:
        self.engine: Engine = engine
        self.agenda: Agenda = agenda
        self.clock: HostClock = clock
        self.owner: Owner = owner
        self.abandoned: deque[Any] = owner.abandoned
        self.hooks: list[Callable[[], None]] = owner.hooks
        self.watchers: dict[int, Any] = watchers
        """Those that are told of a descriptor's news, by descriptor."""
        self._waiting_fd: dict[int, list[Any]] = {}
        """Programs that wait for one descriptor."""
        self._waiting_any: list[Any] = []
        """Programs that wait for several."""
        self.ways: list[Way | None] = []
        """Where frames go, by the index of the interface; ``None``: nowhere."""
        self.is_sending: bool = True
        """The host has power, and is awake."""
        self.outside: Callable[[int, bytes], object] | None = None
        """Takes the frames in place of the engine, if the host's TCP is the machine's kernel."""
        self.inputs: i64 = 0
        """How often anything happened on the host."""
        self.alarm: Alarm = Alarm(agenda, self.on_deadline)

    def attach(self, interface_index: i64, way: Way) -> None:
        """Send the frames of an interface along a way."""
        while len(self.ways) <= interface_index:
            self.ways.append(None)
        self.ways[interface_index] = way

    def now_ns(self) -> i64:
        """Return the host's monotonic clock."""
        clock = self.clock
        if clock.is_true:
            return self.agenda.now_ns
        return clock.now_ns

    def waiting(self, fd: int) -> list[Any]:
        """Return the list of the programs that wait for a descriptor or a channel; -1: for any news of the host."""
        if fd == -1:
            return self._waiting_any
        waiting = self._waiting_fd.get(fd)
        if waiting is None:
            waiting = self._waiting_fd[fd] = []
        return waiting

    def notify(self, fd: int) -> None:
        """Wake the programs that wait for a descriptor or a channel and are ready."""
        waiting = self._waiting_fd.get(fd)
        if waiting is not None and len(waiting) > 0:
            _wake_ready(waiting)

    def poke(self) -> None:
        """Wake the programs that wait for several descriptors and are ready."""
        _wake_ready(self._waiting_any)

    def receive(self, interface_index: i64, frame: Frame) -> None:
        """Take a frame from a link."""
        outside = self.outside
        if outside is not None:
            outside(interface_index, frame.octets())
            return
        engine = self.engine
        if frame.lacks_checksum and engine.looks_at_packets():
            frame.octets()
        engine.on_frame(interface_index, frame.data, self.now_ns(), frame.lacks_checksum)
        self.flush()

    def on_deadline(self) -> None:
        """Let the engine do what is due."""
        self.engine.on_deadline(self.now_ns())
        self.flush()

    def flush(self) -> None:
        """Put the host's frames on their links and wake the programs that waited for what happened."""
        self.inputs += 1
        if len(self.abandoned) > 0:
            self.owner.close_abandoned()
        engine, now_ns = self.engine, self.now_ns()
        while True:
            outbound = engine.poll_frame(now_ns)
            if outbound is None:
                break
            way = self.ways[outbound.interface_index] if outbound.interface_index < len(self.ways) else None
            if way is not None and self.is_sending:
                way.is_refused = False
                way.send(Frame(outbound.data, outbound.is_partial_checksum))
                if way.is_refused:
                    engine.on_refused(outbound, now_ns)
        while True:
            event = engine.poll_event()
            if event is None:
                break
            fd = event[0]
            watchers = self.watchers.get(fd)
            if watchers is not None:
                for watcher in watchers:
                    watcher.on_ready(fd, event[1])
            self.notify(fd)
        due_ns: i64 = engine.next_deadline_ns()
        if self.clock.is_true:
            self.alarm.put(due_ns)
        else:
            self.alarm.set(self.clock.due_ns(due_ns))
        if len(self._waiting_any) > 0:
            self.poke()
        if len(self.hooks) > 0:
            self.owner.run_hooks()


def _wake_ready(waiting: list[Any]) -> None:
    for strand in tuple(waiting):
        wait = strand.wait
        if wait is not None and wait.is_ready():
            strand.wake()


class Arrival(Receiver):
    """Where frames of one link come in: an interface of a host."""

    def __init__(self, side: HostSide, interface_index: i64) -> None:
        self.side: HostSide = side
        self.interface_index: i64 = interface_index

    def arrive(self, frame: Frame) -> None:
        """Take a frame from the link."""
        self.side.receive(self.interface_index, frame)
