"""Programs: unmodified functions that run on a host of the lab, and what becomes of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from estab.lab.strands import ProgramEnded, Scheduler, Strand
from estab.sockets.runtime import Runtime, Wait, activated, current
from estab.sockets.standin import module
from estab.units import format_duration

if TYPE_CHECKING:
    from estab.lab.node import Node

__all__ = ["Deadlock", "Program", "Programs", "Unfinished"]

R = TypeVar("R")


class Deadlock(RuntimeError):
    """Nothing is left to happen, and a program has not finished. The text says who waits for what."""


class Unfinished(RuntimeError):
    """The result was asked for of a program that has not finished."""


class Program(Generic[R]):
    """A function on a host: waiting for its start, running, or ``done``."""

    def __init__(self, node: Node, name: str, is_daemon: bool, scheduler: Scheduler) -> None:
        self.node = node
        self.name = name
        self.is_daemon = is_daemon
        self.done = False
        self.exception: BaseException | None = None
        """What it raised, once it is done."""
        self.strands: list[Strand] = []
        self.waiters: list[Runtime] = []
        """Hosts on which another program waits for this one's result."""
        self._scheduler = scheduler
        self._value: R | None = None

    def result(self) -> R:
        """Give what the function returned, or raise what it raised.

        Inside of another program it waits for the end; outside it raises ``Unfinished``, which says what the program
        waits for.
        """
        runtime = current()
        if not self.done and self._scheduler.current is not None and runtime is not None:
            self.waiters.append(runtime)
            runtime.wait(Wait(lambda: self.done, lambda: f"the result of {self.name}"))
        if not self.done:
            raise Unfinished(f"{self.describe()}; Network.run() runs it")
        if self.exception is not None:
            raise self.exception
        return self._value  # type: ignore[return-value]

    def __call__(self, *args: object, **more: object) -> NoReturn:
        """Say how to come by the result: a program is run by its network, not by a call."""
        raise TypeError(f"{self.name} is a program of host {self.node.name}: Network.run() runs it, and then "
                        f"{self.name}.result() gives what it returned")

    def finish(self, value: R | None, exception: BaseException | None) -> None:
        """Note what became of the function, and wake who waits for it."""
        self._value, self.exception, self.done = value, exception, True
        for runtime in self.waiters:
            runtime.poke()

    def is_busy(self) -> bool:
        """Tell whether it has something to do or something of its own to wait for.

        It has not where all its strands wait, without a deadline or polling idly, and one of them for callers: then it
        is a server with no one to serve. Nor where its function has returned and its threads, daemons apart, only wait.
        """
        is_serving = self.done
        for strand in self.strands:
            wait = strand.wait
            if self.done and strand.is_daemon:
                continue
            if wait is None or (wait.deadline_ns is not None and not self._polls_in_vain(strand)):
                return True
            is_serving = is_serving or wait.is_serving()
        return not is_serving

    def _polls_in_vain(self, strand: Strand) -> bool:
        """Tell whether a strand only polls, and no other has done anything that its next look may find."""
        return strand.habit.is_idle and not any(
            other.since_ns > strand.since_ns and not other.habit.is_idle for other in self.strands)

    def describe(self) -> str:
        """Say in a line where the program stands."""
        who = f"{self.name} on {self.node.name}"
        if self.done:
            return f"{who} is done" if self.exception is None else f"{who} raised {self.exception!r}"
        waits = []
        for strand in self.strands:
            if strand.wait is not None:
                waits.append(f"{strand.wait.describe()} since {format_duration(strand.since_ns)}")
        return f"{who} waits for {' and '.join(waits)}" if waits else f"{who} is about to run"

    def __repr__(self) -> str:
        return f"<Program {self.describe()}>"


class Programs:
    """All programs of a network, in the order in which they were started."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.all: list[Program[Any]] = []
        self.is_checking = True
        """A program that raises ends the run, unless another program waits for its result."""
        self._scheduler = scheduler
        self._asked_turn = -1
        self._were_busy = False

    def start(self, node: Node, function: Callable[..., Any], args: tuple[Any, ...], start_ns: int, is_daemon: bool,
              name: str | None) -> Program[Any]:
        """Start a function on a host at a virtual time."""
        if not callable(function):
            raise TypeError(f"run: {function!r} is not a function; give the arguments behind it: host.run(f, 1, 2)")
        name = name or str(getattr(function, "__name__", function))
        program: Program[Any] = Program(node, name, is_daemon, self._scheduler)

        def body() -> None:
            try:
                self._run(program, function, args)
            finally:
                self._forget(program, strand)

        strand = self._scheduler.spawn(f"{program.name}@{node.name}", body, start_ns)
        program.strands.append(strand)
        self.all.append(program)
        return program

    def start_thread(self, node: Node, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Strand:
        """Start another strand of the program that runs now."""
        current = self._scheduler.current
        program = next(program for program in self.all if current in program.strands)

        def body() -> None:
            try:
                with activated(node):
                    run()
            finally:
                self._forget(program, strand)
                strand.is_done = True
                node.notify(strand.channel)

        strand = self._scheduler.adopt(f"{name}@{node.name}", body, cancel)
        strand.is_daemon = is_daemon
        strand.channel = node.new_channel()
        strand.ident = launch(strand.main)
        program.strands.append(strand)
        return strand

    def runs_on(self, node: Node, strand: Strand) -> bool:
        """Tell whether a strand is of a program on that host."""
        return any(program.node is node and strand in program.strands for program in self.all)

    def strand(self, node: Node) -> None:
        """End all programs of a host that has lost its power: they get no chance to tidy up."""
        for program in self.all:
            if program.node is node and not program.done:
                for strand in program.strands:
                    strand.strand()
                program.strands.clear()
                program.finish(None, Unfinished(f"{program.name} on {node.name}: the host lost its power"))

    def are_busy(self) -> bool:
        """Tell whether one that the run is for is not at its end."""
        turns = self._scheduler.turns
        if turns != self._asked_turn:
            self._asked_turn = turns
            self._were_busy = any(program.is_busy() for program in self.all if not program.is_daemon)
        return self._were_busy

    def are_done(self) -> bool:
        """Tell whether there were programs and all that the run is for have returned or raised."""
        return bool(self.all) and all(program.done or program.is_daemon for program in self.all)

    def report(self) -> str:
        """Say of every unfinished program what it waits for, a line each."""
        return "\n".join(f"  {program.describe()}" for program in self.all if not program.done)

    @staticmethod
    def _forget(program: Program[Any], strand: Strand) -> None:
        """Take off a strand that is over. A host that lost its power has forgotten its strands already."""
        if strand in program.strands:
            program.strands.remove(strand)

    def _run(self, program: Program[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        node = program.node
        value: Any = None
        exception: BaseException | None = None
        try:
            with activated(node):
                value = module.stand_in_for(function)(*args)
                if inspect.iscoroutine(value):
                    with asyncio.Runner(loop_factory=node.new_event_loop) as runner:
                        value = runner.run(value)
        except ProgramEnded:
            text = f"{program.name} on {node.name}: the network was closed before it finished"
            program.finish(None, Unfinished(text))
            raise
        except BaseException as error:
            error.add_note(f"in program {program.name} on host {node.name}, at {format_duration(node.now_ns())}")
            exception = error
        program.finish(value, exception)
        if exception is not None and self.is_checking and not program.waiters:
            self._scheduler.fail(exception)
