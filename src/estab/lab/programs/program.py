"""Programs: unmodified functions that run on a host of the lab, and what becomes of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar

from estab.lab.programs.strands import ProgramEnded, Scheduler, Strand
from estab.sockets.runtime import Runtime, Wait, activated, current
from estab.sockets.standin import module
from estab.units import duration_ns, format_duration

__all__ = ["DeadlockError", "Program", "Programs", "UnfinishedError"]

R = TypeVar("R")


class DeadlockError(RuntimeError):
    """Nothing is left to happen, and a program has not finished. The text says who waits for what."""


class UnfinishedError(RuntimeError):
    """The result was asked for of a program that has not finished."""


class Program(Generic[R]):
    """A function on a host. It is asked as a ``concurrent.futures.Future`` is, and its time-outs are virtual time."""

    def __init__(self, runtime: Runtime, name: str, is_daemon: bool, scheduler: Scheduler) -> None:
        self.runtime = runtime
        self.name = name
        self.is_daemon = is_daemon
        self.strands: list[Strand] = []
        self.waiters: list[Runtime] = []
        """Hosts on which another program waits for this one's end."""
        self.is_done = False
        self.failure: BaseException | None = None
        """What it raised, once it is done."""
        self.was_asked = False
        """Somebody asked for its result or its exception, so what it raised is known."""
        self._was_cancelled = False
        self._scheduler = scheduler
        self._value: R | None = None

    @property
    def host(self) -> str:
        """The name of the host that it runs on."""
        return self.runtime.name

    def done(self) -> bool:
        """Tell whether it returned, raised or was cancelled."""
        return self.is_done

    def running(self) -> bool:
        """Tell whether it began and is not done."""
        return not self.is_done and any(strand.is_started for strand in self.strands)

    def cancelled(self) -> bool:
        """Tell whether it was ended before it was done: by ``cancel``, or with its host's power or its network."""
        return self._was_cancelled

    def cancel(self) -> bool:
        """Take back a program that has not begun. ``False``: it has, or is done."""
        if not self.is_done and not self.running():
            for strand in self.strands:
                strand.strand()
            self.strands.clear()
            self.end(UnfinishedError(f"{self.name} on {self.host} was cancelled before it began"))
        return self._was_cancelled

    def result(self, timeout: float | str | None = None) -> R:
        """Give what the function returned, or raise what it raised.

        Inside of another program it waits for the end, for ``timeout`` at most (seconds, or words like ``"5s"``), and
        then raises ``TimeoutError``. Outside it raises ``UnfinishedError``, which says what the program waits for. It
        raises that, too, for a program that was cancelled.
        """
        failure = self.exception(timeout)
        if failure is not None:
            raise failure
        return self._value  # type: ignore[return-value]

    def exception(self, timeout: float | str | None = None) -> BaseException | None:
        """Give what the function raised, ``None`` if it returned. It waits and raises as ``result`` does."""
        self.was_asked = True
        runtime = current()
        if not self.is_done and self._scheduler.current is not None and runtime is not None:
            due_ns = None if timeout is None else runtime.now_ns + duration_ns(timeout, "timeout")
            self.waiters.append(runtime)
            if not runtime.wait(Wait(self.done, lambda: f"the result of {self.name}", due_ns)):
                self.waiters.remove(runtime)
                raise TimeoutError(f"{self.describe()}; it was waited for for {timeout}")
        if not self.is_done:
            raise UnfinishedError(f"{self.describe()}; Network.run() runs it")
        if self._was_cancelled and self.failure is not None:
            raise self.failure
        return self.failure

    def __call__(self, *args: object, **more: object) -> NoReturn:
        """Say how to come by the result: a program is run by its network, not by a call."""
        raise TypeError(f"{self.name} is a program of host {self.host}: Network.run() runs it, and then "
                        f"{self.name}.result() gives what it returned")

    def end(self, why: UnfinishedError) -> None:
        """Note that it was ended before it was done."""
        self._was_cancelled = True
        self.finish(None, why)

    def finish(self, value: R | None, failure: BaseException | None) -> None:
        """Note what became of the function, and wake whoever waits for it."""
        self._value, self.failure, self.is_done = value, failure, True
        for runtime in self.waiters:
            runtime.poke()

    def is_busy(self) -> bool:
        """Tell whether it has something to do or something of its own to wait for.

        It has not where all its strands wait, without a deadline or polling idly, and one of them for callers: then it
        is a server with no one to serve. Nor where its function has returned and its threads, daemons apart, only wait.
        """
        is_serving = self.is_done
        for strand in self.strands:
            wait = strand.wait
            if self.is_done and strand.is_daemon:
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
        who = f"{self.name} on {self.host}"
        if self.is_done:
            return f"{who} is done" if self.failure is None else f"{who} raised {self.failure!r}"
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
        self._busy: Program[Any] | None = None
        """One that was busy when it was looked at last. It is asked first, so that others need not be."""

    def start(self, runtime: Runtime, function: Callable[..., Any], args: tuple[Any, ...], start_ns: int,
              is_daemon: bool, name: str | None) -> Program[Any]:
        """Start a function on a host at a virtual time."""
        if not callable(function):
            raise TypeError(f"run: {function!r} is not a function; give the arguments behind it: host.run(f, 1, 2)")
        name = name or str(getattr(function, "__name__", function))
        program: Program[Any] = Program(runtime, name, is_daemon, self._scheduler)

        def body() -> None:
            try:
                self._run(program, function, args)
            finally:
                self._forget(program, strand)

        strand = self._scheduler.spawn(f"{program.name}@{runtime.name}", body, start_ns)
        program.strands.append(strand)
        self.all.append(program)
        return program

    def start_thread(self, runtime: Runtime, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any],
                     name: str, is_daemon: bool, cancel: Callable[[], None]) -> Strand:
        """Start another strand of the program that runs now."""
        current = self._scheduler.current
        program = next(program for program in self.all if current in program.strands)

        def body() -> None:
            try:
                with activated(runtime):
                    run()
            finally:
                self._forget(program, strand)
                strand.is_done = True
                runtime.notify(strand.channel)

        strand = self._scheduler.adopt(f"{name}@{runtime.name}", body, cancel)
        strand.is_daemon = is_daemon
        strand.channel = runtime.new_channel()
        strand.ident = launch(strand.main)
        program.strands.append(strand)
        return strand

    def runs_on(self, runtime: Runtime, strand: Strand) -> bool:
        """Tell whether a strand is of a program on that host."""
        return any(program.runtime is runtime and strand in program.strands for program in self.all)

    def strand(self, runtime: Runtime) -> None:
        """End all programs of a host that has lost its power: they get no chance to tidy up."""
        for program in self.all:
            if program.runtime is runtime and not program.is_done:
                for strand in program.strands:
                    strand.strand()
                program.strands.clear()
                program.end(UnfinishedError(f"{program.name} on {runtime.name}: the host lost its power"))

    def are_busy(self) -> bool:
        """Tell whether one that the run is for is not at its end."""
        turns = self._scheduler.turns
        if turns != self._asked_turn:
            self._asked_turn = turns
            busy = self._busy
            if busy is None or not busy.is_busy():
                busy = next((program for program in self.all if not program.is_daemon and program.is_busy()), None)
                self._busy = busy
            self._were_busy = busy is not None
        return self._were_busy

    def are_done(self) -> bool:
        """Tell whether there were programs and all that the run is for have returned or raised."""
        return bool(self.all) and all(program.is_done or program.is_daemon for program in self.all)

    def report(self) -> str:
        """Say of every unfinished program what it waits for, a line each."""
        return "\n".join(f"  {program.describe()}" for program in self.all if not program.is_done)

    @staticmethod
    def _forget(program: Program[Any], strand: Strand) -> None:
        """Take off a strand that is over. A host that lost its power has forgotten its strands already."""
        if strand in program.strands:
            program.strands.remove(strand)

    def _run(self, program: Program[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        runtime = program.runtime
        value: Any = None
        exception: BaseException | None = None
        try:
            with activated(runtime):
                value = module.stand_in_for(function)(*args)
                if inspect.iscoroutine(value):
                    with asyncio.Runner(loop_factory=runtime.new_event_loop) as runner:
                        value = runner.run(value)
        except ProgramEnded:
            text = f"{program.name} on {runtime.name}: the network was closed before it finished"
            program.end(UnfinishedError(text))
            raise
        except BaseException as error:
            error.add_note(f"in program {program.name} on host {runtime.name}, at {format_duration(runtime.now_ns)}")
            exception = error
        program.finish(value, exception)
        if exception is not None and self.is_checking and not program.waiters:
            self._scheduler.fail(exception)
