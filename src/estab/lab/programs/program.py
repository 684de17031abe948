"""Programs: unmodified functions that run on a host of the lab, and what becomes of them."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Generic, NoReturn, TypeVar

from estab.cpython import current_frames, is_idle_worker
from estab.lab.programs.functions import is_generator, own_of
from estab.lab.programs.strands import ASLEEP, STOPPED, ProgramEnded, Scheduler, Strand
from estab.lab.programs.watch import DeadlockError
from estab.lab.record.clock import Alarm
from estab.sockets.lines import line_of
from estab.sockets.polling.event_loop import run_coroutine
from estab.sockets.process import Process
from estab.sockets.runtime import Runtime, Wait, activated, current
from estab.sockets.standin import module
from estab.sockets.standin.signals import (
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    current_handler,
    ends_by_default,
    name_of,
    stops_by_default,
)
from estab.units import duration_ns, format_duration

__all__ = ["DeadlockError", "ExitError", "Program", "Programs", "UnfinishedError"]

R = TypeVar("R")

_FIRST_PID: Final = 1001


class UnfinishedError(RuntimeError):
    """The result of a program was requested before it finished."""


class ExitError(RuntimeError):
    """A program ended itself with a ``status`` other than 0, or a signal ended it: then minus the signal's number.

    It is no ``SystemExit``, which would end the test, too.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Program(Generic[R]):
    """A function on a host, with the methods of a ``concurrent.futures.Future``. ``Host.run`` makes it.

    Time-outs are virtual time: seconds, or words like ``"5s"``.
    """

    def __init__(self, runtime: Runtime, name: str, is_daemon: bool, scheduler: Scheduler, process: Process) -> None:
        self.runtime = runtime
        self.name = name
        self.process = process
        """What its host's system keeps of it: its number, its handlers of signals."""
        self.is_daemon = is_daemon
        self.strands: list[Strand] = []
        self.waiters: list[Runtime] = []
        """Hosts on which another program waits for this one's end."""
        self.is_done = False
        self.failure: BaseException | None = None
        """What it raised, once it is done."""
        self.thread_failures: list[BaseException] = []
        """What ended threads that it started, and that nothing caught."""
        self.again: Program[R] | None = None
        """The program that was started in its place when its host started anew."""
        self.ended_ns = -1
        """When it was done, in the network's time; -1: it is not."""
        self.paused_ns = -1
        """Since when it is paused, in the network's time; -1: it is not."""
        self.was_asked = False
        """Its result or its exception was requested, so what it raised is known."""
        self._was_cancelled = False
        self._scheduler = scheduler
        self._value: R | None = None

    @property
    def host(self) -> str:
        """The name of the host that it runs on."""
        return self.runtime.name

    @property
    def place(self) -> str:
        """Its name and its host's: ``serve@server``."""
        return f"{self.name}@{self.host}"

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
        """Cancel a program that has not begun. ``False``: it has begun, or is done."""
        if not self.is_done and not self.running():
            for strand in self.strands:
                strand.strand()
            self.strands.clear()
            self.end(UnfinishedError(f"{self.name} on {self.host} was cancelled before it began"))
        return self._was_cancelled

    def result(self, timeout: float | str | None = None) -> R:
        """Return what the function returned, or raise what it raised.

        Inside of another program it waits for the end, for ``timeout`` at most (seconds, or words like ``"5s"``), and
        then raises ``TimeoutError``. Outside it raises ``UnfinishedError``, which says what the program waits for. It
        raises that, too, for a program that was cancelled.
        """
        failure = self.exception(timeout)
        if failure is not None:
            raise failure
        return self._value  # type: ignore[return-value]

    def exception(self, timeout: float | str | None = None) -> BaseException | None:
        """Return what the function raised, ``None`` if it returned. It waits and raises as ``result`` does."""
        self.was_asked = True
        runtime = current()
        if not self.is_done and self._scheduler.current is not None and runtime is not None:
            due_ns = None if timeout is None else runtime.now_ns + duration_ns(timeout, "timeout")
            self.waiters.append(runtime)
            if not runtime.wait(Wait(self.done, lambda: f"the result of {self.name}", due_ns)):
                self.waiters.remove(runtime)
                raise TimeoutError(f"{self.describe()}; it was waited for for {timeout}")
        if not self.is_done:
            does = "goes on with" if self.running() else "runs"
            raise UnfinishedError(f"{self.describe()}; Network.run() {does} it")
        if self._was_cancelled and self.failure is not None:
            raise self.failure
        return self.failure

    def signal(self, number: int) -> None:
        """Send it a signal: its handler runs in its main thread; without one it ends, if that is the default.

        From an action, from another program, or between two runs. If it was started again with its host (``at_boot``),
        the signal is for the one that runs now.
        """
        program = self
        while program.again is not None:
            program = program.again
        if not program.is_done:
            program.runtime.send_signal(program.process, number)

    def terminate(self) -> None:
        """Send it SIGTERM, which tells a service to stop."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, without any cleanup. Its host closes what it had open: its peers get a FIN or RST."""
        self.signal(SIGKILL)

    def pause(self) -> None:
        """Stop it where it is, as SIGSTOP does, until ``resume``. It can be planned: ``net.at("5s", program.pause)``.

        Its host goes on: the kernel acknowledges and buffers what comes for it, until its window is closed. Its
        time-outs and timers run; what ran out meanwhile it finds when it goes on. A program may pause itself.
        """
        self.signal(SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``, as SIGCONT does. Signals that came meanwhile are delivered now."""
        self.signal(SIGCONT)

    @property
    def is_paused(self) -> bool:
        """Whether it was paused, and did not go on."""
        return self.paused_ns >= 0 and not self.is_done

    def __call__(self, *args: object, **more: object) -> NoReturn:
        """Raise, and say how to get the result: the network runs a program, not a call."""
        raise TypeError(f"{self.name} is a program of host {self.host}: Network.run() runs it, and then "
                        f"{self.name}.result() gives what it returned")

    def end(self, why: UnfinishedError) -> None:
        """Note that it was ended before it was done."""
        self._was_cancelled = True
        self.finish(None, why)

    def finish(self, value: R | None, failure: BaseException | None) -> None:
        """Note the function's result or exception, and wake the programs that wait for it."""
        self._value, self.failure, self.is_done = value, failure, True
        self.ended_ns = self._scheduler.agenda.now_ns
        for runtime in self.waiters:
            runtime.poke()

    def is_busy(self) -> bool:
        """Tell whether it has something to do or something of its own to wait for.

        It has nothing if all its strands wait, without a deadline or polling idly, and one of them for new clients:
        then it is a server without clients. Nor if its function has returned and its threads, daemons apart, only
        wait. Until then a daemon thread counts as any other: the function may wait for what it does next.
        """
        is_serving = self.is_done
        for strand in self.strands:
            wait = strand.wait
            if strand.is_daemon and self.is_done and wait is not None:
                continue
            if wait is None or (wait.deadline_ns is not None and not self._polls_in_vain(strand)):
                return True
            is_serving = is_serving or wait.is_serving()
        return not is_serving

    def only_polls(self) -> bool:
        """Tell whether all its threads wait, and those that have a deadline wait for new clients until then."""
        if self.is_done:
            return False
        has_waits = False
        for strand in self.strands:
            wait = strand.wait
            if strand.is_daemon:
                continue
            if wait is None or (wait.deadline_ns is not None and not self._serves()):
                return False
            has_waits = True
        return has_waits

    def _serves(self) -> bool:
        """Tell whether one of its threads waits for new clients."""
        return any(strand.wait is not None and strand.wait.is_serving() for strand in self.strands)

    def serves_beside(self, strand: Strand) -> bool:
        """Tell whether another thread than this one waits for new clients."""
        return any(other is not strand and other.wait is not None and other.wait.is_serving() for other in self.strands)

    def handles(self, number: int) -> bool:
        """Tell whether it began and has a handler of its own for a signal."""
        return self.running() and number in self.process.handlers and callable(self.process.handlers[number])

    def _polls_in_vain(self, strand: Strand) -> bool:
        """Tell whether a strand only polls, and no other has done anything that its next poll may find."""
        return strand.habit.is_idle and not any(
            other is not strand and other.since_ns >= strand.since_ns and not other.habit.is_idle
            for other in self.strands)

    def describe(self) -> str:
        """Say in a line what the program does now."""
        who = f"{self.name} on {self.host}"
        if self.is_done:
            return f"{who} is done" if self.failure is None else f"{who} raised {self.failure!r}"
        waits = [self._describe_wait(strand) for strand in self.strands if strand.wait is not None]
        what = f"waits for {' and '.join(waits)}" if waits else self._describe_step()
        if self.is_paused:
            return f"{who} is paused since {format_duration(self.paused_ns)}, and {what}"
        if any(strand.paused_by & ASLEEP for strand in self.strands):
            return f"{who} stands still with its host, and {what}"
        return f"{who} {what}"

    def _describe_step(self) -> str:
        """Say where it runs, or stands in real time; one that was woken and has not gone on yet is about to run."""
        for strand in self.strands:
            if strand.is_started and strand not in self._scheduler.runnable:
                line = line_of(current_frames().get(strand.ident))
                return f"runs, in {line}" if line else "runs"
        return "is about to run"

    def _describe_wait(self, strand: Strand) -> str:
        """Say which thread it is, what it waits for, since when, and at which line of the program."""
        assert strand.wait is not None
        text = f"{strand.wait.describe()} since {format_duration(strand.since_ns)}"
        if strand.ident and not self._scheduler.is_closing:
            line = line_of(current_frames().get(strand.ident))
            text += f", in {line}" if line else ""
            if strand is not self.strands[0]:
                text += f", thread {strand.name.partition('@')[0]}"
        return text

    def __repr__(self) -> str:
        return f"<Program {self.describe()}>"


class Programs:
    """All programs of a network, in the order in which they were started."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.all: list[Program[Any]] = []
        self._of: dict[Process, Program[Any]] = {}
        self.is_checking = True
        """A program that raises ends the run, unless another program waits for its result."""
        self._scheduler = scheduler
        scheduler.report = self.report
        self._no_alarm = Alarm(scheduler.agenda, _nothing)
        """That of threads that have ended."""
        self._asked_turn = -1
        self._busy_at = 0
        self._busy: Program[Any] | None = None
        """A program that was busy at the last look. It is checked first: if it is busy still, others need no check."""

    def start(self, runtime: Runtime, function: Callable[..., Any], args: tuple[Any, ...], start_ns: int,
              is_daemon: bool, name: str | None, fresh: Iterable[str] = ()) -> Program[Any]:
        """Start a function on a host at a virtual time."""
        if not callable(function):
            raise TypeError(f"run: {function!r} is not a function; give the arguments after it: host.run(f, 1, 2)")
        if is_generator(function):
            raise TypeError(f"run: {function!r} is a generator function: to call it runs nothing of it. Give a "
                            "function that goes through what it yields")
        if self._scheduler.is_closing:
            raise RuntimeError(f"run: the network of host {runtime.name} is closed")
        name = name or str(getattr(function, "__name__", function))
        runtime.pid = max(runtime.pid + 1, _FIRST_PID)
        process = Process(runtime.pid, name)
        program: Program[Any] = Program(runtime, name, is_daemon, self._scheduler, process)
        body = partial(self._be_program, program, function, args)
        strand = self._scheduler.spawn(f"{program.name}@{runtime.name}", body, start_ns)
        strand.process = process
        strand.modules = own_of(function, runtime.name, fresh)
        strand.is_background = is_daemon
        program.strands.append(strand)
        self.all.append(program)
        self._of[program.process] = program
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
                self._settle(program)

        strand = self._scheduler.adopt(f"{name}@{runtime.name}", body, cancel)
        strand.is_daemon = is_daemon
        strand.is_background = is_daemon or program.is_daemon
        strand.process = program.process
        strand.modules = current.modules if current is not None else None
        strand.channel = runtime.new_channel()
        strand.ident = self._scheduler.switching.launch(strand.main, launch)
        program.strands.append(strand)
        return strand

    def runs_on(self, runtime: Runtime, strand: Strand) -> bool:
        """Tell whether a strand is of a program on that host."""
        return any(program.runtime is runtime and strand in program.strands for program in self.all)

    def strand(self, runtime: Runtime) -> None:
        """End all programs of a host that was switched off, without any cleanup."""
        for program in self.all:
            if program.runtime is runtime and not program.is_done:
                for strand in program.strands:
                    strand.strand()
                program.strands.clear()
                program.end(UnfinishedError(f"{program.name} on {runtime.name}: the host lost its power"))

    # --- signals and ends

    def serves_beside(self, strand: Strand) -> bool:
        """Tell whether another thread of a strand's program waits for new clients."""
        program = self.find(strand.process) if strand.process is not None else None
        return program is not None and len(program.strands) > 1 and program.serves_beside(strand)

    def find(self, process: Process) -> Program[Any] | None:
        """Find the program of a process that has not ended."""
        program = self._of.get(process)
        return None if program is None or program.is_done else program

    def deliver(self, process: Process, number: int) -> None:
        """Deliver a signal to a program: note it for the handler, end the program, or ignore it."""
        program = self.find(process)
        if program is None:
            return
        handler = current_handler(process, number)
        process.received.append(number)
        if number == SIGCONT:
            self._go_on(program)
        elif stops_by_default(number) and handler == signal.SIG_DFL:
            self._pause(program)
            return
        if handler == signal.SIG_DFL:
            if ends_by_default(number):
                program.was_asked = True
                text = f"{program.name} on {program.host} was ended by {name_of(number)}"
                self.stop(program, ExitError(text, -number))
            return
        if handler == signal.SIG_IGN:
            return
        program.was_asked = True
        process.pending.append(number)
        main = program.strands[0] if program.strands else None
        if main is not None and main is self._scheduler.current:
            self.handle_signals(process)
        elif main is not None:
            main.wake()

    def has_to_wait(self, process: Process, number: int, is_awake: bool) -> bool:
        """Keep a signal for a program that is paused until it goes on, as systems do with all but two.

        On a host that sleeps any signal has to wait: nothing there goes on that could bring it.
        """
        program = self.find(process)
        if program is None or (is_awake and (not program.is_paused or number in (SIGKILL, SIGCONT))):
            return False
        process.held.append(number)
        return True

    def _pause(self, program: Program[Any]) -> None:
        if program.is_paused:
            return
        program.paused_ns = self._scheduler.agenda.now_ns
        for strand in program.strands:
            strand.pause(STOPPED)
        current = self._scheduler.current
        if current is not None and current in program.strands:
            current.is_due = True
            self._scheduler.leave()

    def _go_on(self, program: Program[Any]) -> None:
        if not program.is_paused:
            return
        program.paused_ns = -1
        for strand in program.strands:
            strand.resume(STOPPED)
        self._send_held(program)

    @staticmethod
    def _send_held(program: Program[Any]) -> None:
        held, program.process.held = program.process.held, []
        for number in held:
            program.runtime.send_signal(program.process, number)

    def freeze(self, runtime: Runtime) -> None:
        """Stop all programs of a host that begins to sleep."""
        for strand in self._strands_on(runtime):
            strand.pause(ASLEEP)
            strand.rearm()

    def thaw(self, runtime: Runtime) -> None:
        """Let the programs of a host go on that wakes up."""
        for strand in self._strands_on(runtime):
            strand.rearm()
        for strand in self._strands_on(runtime):
            strand.resume(ASLEEP)
        for program in self.all:
            if program.runtime is runtime and program.process.held:
                self._send_held(program)

    def retime(self, runtime: Runtime) -> None:
        """Move what programs of a host wait for to the times of its clock, which was changed."""
        for strand in self._strands_on(runtime):
            strand.rearm()

    def _strands_on(self, runtime: Runtime) -> list[Strand]:
        return [strand for program in self.all if program.runtime is runtime for strand in program.strands]

    def kill_all(self, runtime: Runtime) -> None:
        """Send SIGKILL to all programs of a host, to the one that runs now last."""
        current = self._scheduler.current
        those = [program for program in self.all if program.runtime is runtime and not program.is_done]
        for program in sorted(those, key=lambda program: current in program.strands):
            program.kill()

    def handle_signals(self, process: Process) -> None:
        """Run the handlers of the signals that came, in the program's main thread. Their exceptions are not caught."""
        while process.pending:
            number = process.pending.pop(0)
            handler = current_handler(process, number)
            if callable(handler):
                handler(number, sys._getframe(1))

    def stop(self, program: Program[Any], why: ExitError) -> None:
        """End a program at once, as SIGKILL does: no thread of it runs again, and what it has open is closed."""
        is_own = self._scheduler.current in program.strands
        for strand in program.strands:
            strand.strand()
        program.strands.clear()
        program.finish(None, why)
        program.runtime.close_all_of(program.process)
        if is_own:
            self._scheduler.leave()

    def _settle(self, program: Program[Any]) -> None:
        """Close what a program has open once its function and its threads, daemons apart, have ended."""
        if not program.is_done or self._scheduler.is_closing or any(
                not strand.is_daemon and not is_idle_worker(strand.ident) for strand in program.strands):
            return
        for strand in program.strands:
            if strand.is_daemon:
                strand.strand()
        program.strands = [strand for strand in program.strands if not strand.is_daemon]
        program.runtime.close_all_of(program.process)

    def busy(self) -> list[Program[Any]]:
        """List those that the run is for and that have not ended."""
        return [program for program in self.all if not program.is_daemon and program.is_busy()]

    def only_poll(self) -> bool:
        """Tell whether all that are busy wait for callers, with time-outs: they may be servers that poll."""
        busy = self._busy
        if busy is not None and busy.is_busy() and not busy.only_polls():
            return False
        return all(program.only_polls() for program in self.busy())

    def are_busy(self) -> bool:
        """Tell whether one that the run is for has not ended."""
        turns = self._scheduler.turns
        if turns != self._asked_turn:
            self._asked_turn = turns
            if self._busy is None or not self._busy.is_busy():
                self._busy = self._find_busy()
        return self._busy is not None

    def _find_busy(self) -> Program[Any] | None:
        """Find a program that is busy, from the one on that was found last: those before it are mostly done."""
        count = len(self.all)
        for place in range(count):
            at = (self._busy_at + place) % count
            program = self.all[at]
            if not program.is_daemon and (program.strands or not program.is_done) and program.is_busy():
                self._busy_at = at
                return program
        return None

    def are_done(self) -> bool:
        """Tell whether there were programs and all that the run is for have returned or raised."""
        return bool(self.all) and all(program.is_done or program.is_daemon for program in self.all)

    def report(self) -> str:
        """Say of every unfinished program what it waits for, a line each."""
        return "\n".join(f"  {program.describe()}" for program in self.all if not program.is_done)

    def _forget(self, program: Program[Any], strand: Strand) -> None:
        """Remove a strand that has ended. A host that was switched off has forgotten its strands already.

        Its alarm, which refers to it, is replaced, so that it is released at once and not by the garbage collector.
        """
        strand.alarm = self._no_alarm
        if strand in program.strands:
            program.strands.remove(strand)

    def _be_program(self, program: Program[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Be the main thread of a program."""
        strand = self._scheduler.current
        assert strand is not None
        try:
            self._run(program, function, args)
        finally:
            self._forget(program, strand)
            self._settle(program)

    def _run(self, program: Program[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        runtime = program.runtime
        value: Any = None
        exception: BaseException | None = None
        try:
            with activated(runtime):
                value = module.stand_in_for(function)(*args)
                if inspect.iscoroutine(value):
                    value = run_coroutine(runtime, value)
        except ProgramEnded:
            if program.is_done:
                raise
            text = f"{program.name} on {runtime.name}: the network was closed before it finished"
            program.end(UnfinishedError(text))
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            exception = self._exit_of(program, error)
        except BaseException as error:
            error.add_note(f"in program {program.name} on host {runtime.name}, at {format_duration(runtime.now_ns)}")
            exception = error
        program.finish(value, exception)
        if exception is not None and self.is_checking and not program.waiters and not (
                isinstance(exception, ExitError) and program.process.received):
            program.was_asked = True  # the run raises it, so its caller knows
            self._scheduler.fail(exception)

    @staticmethod
    def _exit_of(program: Program[Any], error: SystemExit | KeyboardInterrupt) -> ExitError | None:
        """Return the exception of a program that ends itself: none with status 0, else an error with its status."""
        who = f"{program.name} on {program.host}"
        if isinstance(error, KeyboardInterrupt):
            return ExitError(f"{who} was ended by KeyboardInterrupt", -signal.SIGINT)
        if error.code is None or error.code == 0:
            return None
        if isinstance(error.code, int):
            return ExitError(f"{who} ended with status {error.code}", error.code)
        return ExitError(f"{who} ended with status 1: {error.code}", 1)


def _nothing() -> None: ...
