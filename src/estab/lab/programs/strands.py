"""Strands: threads of which only one ever runs, and the scheduler that lets one after the other run.

- One strand runs; every other sleeps in a lock of its own. So programs need no locks, and the order in
  which they run follows from the agenda alone. On a platform without threads strands are stacks (``switching``).
- A strand that begins to wait looks for the next to run, and carries out the agenda. That is the event loop: a
  program which waits for its own next segment goes on without any change of thread.
- All that happens at one instant happens before a strand runs again: frames arrive, timers expire, actions are carried
  out. So a program finds all that came with what woke it, as on a machine, where being woken takes time.
- The driver is the thread that called ``drive``; it goes on when the run is over.
- To end a strand is to raise ``ProgramEnded`` out of the call in which it waits, so that its ``finally`` clauses run.

Compiled with the core.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from estab.cpython import enter_loop, get_ident, leave_loop, raise_in_thread
from estab.lab.programs.habit import Habit
from estab.lab.programs.one_cpu import OneCpu
from estab.lab.programs.rare_collection import RareCollection
from estab.lab.programs.repetition import Repetition
from estab.lab.programs.switching import switching
from estab.lab.programs.watch import LOOK_S, DeadlockError, Watch, who_ran
from estab.lab.record.clock import Agenda, Alarm
from estab.lab.record.host_clock import HostClock
from estab.lab.record.real_time import Pace
from estab.sockets.process import Process
from estab.sockets.waiting import Wait, never
from estab.units import NEVER, SECOND

__all__ = ["ASLEEP", "STOPPED", "Own", "ProgramEnded", "Scheduler", "Strand"]

STOPPED: Final = 1
"""Its program is paused, as by SIGSTOP."""
ASLEEP: Final = 2
"""Its host sleeps or is paused."""

_ENDINGS_MAX: Final = 3
"""How often a strand may catch ``ProgramEnded`` and wait again before it is abandoned."""
_INTERRUPT_LOOKS: Final = 40
_ENTRIES_MAX: Final = 1000
"""How many entries of the agenda are carried out before it is asked whether Ctrl-C came."""
_QUIET_NS: Final = 4 * 3600 * SECOND
_QUIET_STEPS: Final = 64
_IN_A_ROW: Final = 256
"""In real time: so many entries are carried out before a program that could run does."""
_native_id: Final = getattr(threading, "get_native_id", get_ident)


class ProgramEnded(BaseException):
    """The network was closed while this program waited. Let it pass: it ends the program."""


class Own(Protocol):
    """What a program has of its own of what all programs of a process share: modules, arguments, standard output."""

    def enter(self) -> None:
        """Put it in the place of the others', before the program runs."""

    def leave(self) -> None:
        """Put the others' back, after it ran."""


class Strand:
    """One thread of a program. ``wait`` is what it waits for, ``None`` while it runs or is about to."""

    def __init__(self, scheduler: Scheduler, name: str, body: Callable[[], None], cancel: Callable[[], None]) -> None:
        self.name = name
        self.ident = 0
        """The thread's, once it runs."""
        self.is_started = False
        self.is_done = False
        self.channel = 0
        """What the program's runtime notifies when it is done; 0: no thread asked."""
        self.is_daemon = False
        self.is_background = False
        """No run is for it: a daemon thread, or one of a program that is a daemon."""
        self.native_id = 0
        self.cpu = -1
        """The CPU that the thread is kept on; -1: none."""
        self.thread: threading.Thread | None = None
        self.modules: Own | None = None
        """Modules that its program has for itself."""
        self.process: Process | None = None
        """What the system keeps of its program."""
        self.wait: Wait | None = None
        self.since_ns = 0
        self.habit = Habit()
        self.spins = 0
        """Looks without a result since it last waited, by their weight; see ``VirtualTime.spin``."""
        self.naps = 0
        """How often it was made to sleep for that."""
        self.lock = scheduler.switching.new_lock()
        self.is_stranded = False
        self.paused_by = 0
        """What keeps it from running, by bits: ``STOPPED``, ``ASLEEP``."""
        self.is_due = False
        """It was to run while it is paused."""
        self.clock: HostClock | None = None
        """Its host's: deadlines are times by it. ``None``: by the network's."""
        self.wake_up_ns = 0
        """How long it takes from what ends its wait until it runs."""
        self.join: Callable[[], object] | None = None
        """Waits for the thread's very end."""
        self.alarm = Alarm(scheduler.agenda, self._time_out)
        self.waiting: list[Strand] | None = None
        """The list of those to be asked whether they are ready that it is on."""
        self._scheduler = scheduler
        self._body = body
        self._cancel = cancel

    def start(self) -> None:
        """Make the thread. It sleeps until the scheduler lets it run."""
        self.is_started = True
        self.join = self._scheduler.switching.start(self.name, self.main, self._have)

    def _have(self, thread: threading.Thread) -> None:
        self.thread = thread
        if self.process is not None and self.process.main_thread is None:
            self.process.main_thread = thread

    def main(self) -> None:
        """Be the thread: what its ``start``, or other code that starts a thread for it, has run there."""
        self.lock.acquire()
        self.ident = get_ident()
        # A reused thread's object knows its number, which saves a system call. Without threads none has one.
        self.native_id = getattr(self.thread, "native_id", None) or _native_id()
        self._scheduler.one_cpu.bring(self)
        if self.modules is not None:
            self.modules.enter()
        try:
            if self._scheduler.is_closing:
                self._cancel()
            else:
                self._body()
        except ProgramEnded as ended:
            ended.__traceback__ = None  # tasks that it ended refer to it, and frames to tasks
        finally:
            self._scheduler.finish(self)

    def wake(self) -> None:
        """Make it runnable, if it waits; once it is no longer paused."""
        if self.paused_by:
            self.is_due = True
        elif self.wait is not None:
            self.wait = None
            self.alarm.due_ns = NEVER
            self.forget()
            if self.wake_up_ns:
                agenda = self._scheduler.agenda
                agenda.at(agenda.now_ns + self.wake_up_ns, self._scheduler.runnable.append, self)
            else:
                self._scheduler.runnable.append(self)

    def forget(self) -> None:
        """Take it off the list of those to be asked whether they are ready."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.remove(self)

    def due_ns(self, deadline_ns: int) -> int:
        """Say when, in the network's time, a deadline comes."""
        return deadline_ns if self.clock is None else self.clock.due_ns(deadline_ns)

    def pause(self, why: int) -> None:
        """Don't let it run until ``resume``. Its clock goes on, and what it waits for comes."""
        self.paused_by |= why
        self._scheduler.agenda.turns += 1

    def resume(self, why: int) -> None:
        """Let it run again, if nothing else keeps it from that."""
        was_paused, self.paused_by = self.paused_by, self.paused_by & ~why
        self._scheduler.agenda.turns += 1
        if was_paused and not self.paused_by and self.is_due:
            self.is_due = False
            if self.wait is None:
                self._scheduler.runnable.append(self)
            else:
                self.wake()

    def rearm(self) -> None:
        """Set the deadline of its wait anew: its host's clock was changed."""
        if self.is_started and self.wait is not None and self.wait.deadline_ns is not None and not self.is_due:
            self.alarm.set(self.due_ns(self.wait.deadline_ns))

    def strand(self) -> None:
        """Never let it run again until the network is closed: its host lost its power, or its program was ended."""
        self.is_stranded = True
        self.wait = None
        self._scheduler.agenda.turns += 1
        self.alarm.due_ns = NEVER
        self.forget()

    def _time_out(self) -> None:
        self.wake()


class Scheduler:
    """Runs strands and the agenda. Exactly one strand runs at a time."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.runnable: deque[Strand] = deque()
        self.strands: dict[Strand, None] = {}
        self.current: Strand | None = None
        self.sure_turns = -1
        """The number of turns of which ``is_over`` said that the run is not over before there is another one."""
        self.ends_at_rest = False
        """Nor before no frame is under way."""
        self.is_running = False
        self.was_driven = False
        """Whether there was a run."""
        self.is_closing = False
        self.untidy: deque[Callable[[], None]] = deque()
        """What is to be called once, when a strand begins to wait, before the next is chosen."""
        self.look: Callable[[], None] | None = None
        """Called whenever something has happened: an entry of the agenda, or a program that began to wait."""
        self.switching = switching()
        """How its strands are started and switched."""
        self._driver = self.switching.new_lock()
        self._is_over: Callable[[], bool] = _yes
        self._until_ns = 0
        self._detects_quiet = False
        self._failure: BaseException | None = None
        self._is_interrupted = False
        self._is_driver_free = False  # the last strand has let the driver go on
        self._gone: list[Callable[[], object]] = []
        self._endings = 0
        self.watch = Watch()
        self.repetition = Repetition()
        """Notices that a run only repeats itself."""
        self.one_cpu = OneCpu()
        self._rare_collection = RareCollection()
        self.pace: Pace | None = None
        """Where time comes from, if it is real."""
        self.report: Callable[[], str] = str
        """Says of every program what it waits for, a line each."""
        self.active_ns = 0
        """When a strand last ran that a run is for, servers that poll in vain apart."""
        self._active_steps = 0
        self.is_quiet = False
        """The last run ended because nothing but probes and the like happened for hours."""

    @property
    def steps(self) -> int:
        """How many entries of the agenda were carried out."""
        return self.agenda.steps

    @property
    def turns(self) -> int:
        """How often a strand was made, began to wait or ended: between two turns no strand changes what it does."""
        return self.agenda.turns

    def spawn(self, name: str, body: Callable[[], None], start_ns: int) -> Strand:
        """Make a strand that runs ``body`` from ``start_ns`` on."""
        strand = Strand(self, name, body, _nothing)
        self.strands[strand] = None
        self.agenda.turns += 1
        strand.wait = Wait(never, lambda: "its start", start_ns)
        strand.alarm.set(start_ns)
        return strand

    def adopt(self, name: str, body: Callable[[], None], cancel: Callable[[], None]) -> Strand:
        """Make a strand that runs ``body`` when its turn comes, in a thread that the caller starts with ``main``."""
        strand = Strand(self, name, body, cancel)
        self.strands[strand] = None
        self.agenda.turns += 1
        strand.is_started = True
        self.runnable.append(strand)
        return strand

    def drive(self, is_over: Callable[[], bool], until_ns: int, *, detects_quiet: bool = False) -> None:
        """Run until ``is_over`` says so, nothing is left to happen, or what is left comes after ``until_ns``.

        ``detects_quiet``: also if for hours nothing happens but probes, and all that runs are for waits for ever.

        Raises what an entry of the agenda raised, and what ``fail`` was told.
        """
        if self.is_running:
            raise RuntimeError("the network is running: only a program may wait in it, not an action or an observer")
        if self.is_closing:
            raise RuntimeError("the network is closed")
        self._is_over, self._until_ns, self._detects_quiet = is_over, until_ns, detects_quiet
        self.sure_turns, self.ends_at_rest = -1, False
        self._failure, self._is_interrupted, self._is_driver_free = None, False, False
        self.active_ns, self._active_steps = self.agenda.now_ns, self.steps
        self.watch.begin()
        self.repetition.begin(self.strands, self.agenda.now_ns, is_wanted=detects_quiet and self.pace is None)
        if self.pace is not None:
            self.pace.begin()
        left = leave_loop()
        self.is_running, self.is_quiet, self.was_driven = True, False, True
        try:
            self.one_cpu.begin()
            self._lend(self._next())
        finally:
            self.is_running, self.current, self._is_over = False, None, _yes
            self.one_cpu.end()
            try:
                self.repetition.end()  # is not compiled: Ctrl-C that came shortly before is raised at its start
            finally:
                if left is not None:
                    enter_loop(left)
                self._join()
        self._raise_failure()

    def wait(self, wait: Wait, waiting: list[Strand] | None = None) -> None:
        """Put the running strand to sleep until it is woken or its deadline comes. Raises ``ProgramEnded``.

        ``waiting`` is the list of those to be asked whether they are ready that it is put on meanwhile.
        """
        strand = self.current
        assert strand is not None
        if waiting is not None:
            waiting.append(strand)
            strand.waiting = waiting
        if strand.ident != get_ident():
            raise RuntimeError(f"a thread that is no program waits for {wait.describe()}; start it inside one")
        self._ensure_open(strand)
        strand.wait = wait
        self.agenda.turns += 1
        strand.since_ns = self.agenda.now_ns
        if not strand.is_background and not strand.habit.is_idle:
            self.active_ns, self._active_steps = strand.since_ns, self.steps
        if wait.deadline_ns is not None:
            strand.alarm.set(strand.due_ns(wait.deadline_ns))
        if strand.since_ns >= self.repetition.next_ns:
            self.repetition.look(strand, strand.since_ns, self.turns)
        self._give_way(strand)
        self._ensure_open(strand)

    def leave(self) -> None:
        """Let another strand run after one was stranded while it ran. It goes on only when the network closes."""
        strand = self.current
        assert strand is not None
        self._give_way(strand)
        self._ensure_open(strand)

    def _give_way(self, strand: Strand) -> None:
        """Let other strands run until this one is to.

        What its thread carries out of users' own meanwhile is in no event loop: promises, and actions (``act``).
        """
        self.current = None
        if strand.modules is not None:
            strand.modules.leave()
        left = None if self.look is None and self.pace is None else leave_loop()
        following = self._next()
        if following is not strand:
            self._hand_to(following)
            strand.lock.acquire()
        if left is not None:
            enter_loop(left)
        self.current = strand
        if strand.modules is not None:
            strand.modules.enter()

    def excuse(self) -> None:
        """Let a strand go on that took its end on purpose, to tidy up: an event loop that cancels its tasks."""
        self._endings = max(0, self._endings - 1)

    def fail(self, failure: BaseException) -> None:
        """Stop the run as soon as the running strand waits or ends; ``drive`` raises this."""
        if self._failure is None:
            self._failure = failure

    def fail_or_raise(self, failure: BaseException) -> None:
        """Stop the run with this; raise it at once if there is none."""
        if not self.is_running:
            raise failure
        self.fail(failure)

    def finish(self, strand: Strand) -> None:
        """Let the next strand run at a strand's end."""
        self.agenda.turns += 1
        self.strands.pop(strand, None)
        if strand.modules is not None:
            strand.modules.leave()
        if strand.join is not None:
            self._gone.append(strand.join)
        self.current = None
        self._hand_to(self._next())

    def close(self) -> None:
        """End all strands, newest last, each in its own thread. Idempotent."""
        if self.is_closing or self.is_running:
            return
        self.is_closing = True
        self._rare_collection.end()
        if self.strands:
            self.one_cpu.begin()
            try:
                for strand in list(self.strands):
                    self._end(strand)
            finally:
                self.one_cpu.end()
                self.current = None
            self._join()
        self._release()

    def _release(self) -> None:
        """Forget what was to happen and what is asked during runs: it refers to what refers to the scheduler."""
        self.agenda.clear()
        self.runnable.clear()
        self.untidy.clear()
        self.repetition.release()
        self.look = None
        self.report = str

    def _end(self, strand: Strand) -> None:
        """End a strand in its own thread, and wait until that is done."""
        if not strand.is_started:
            self.strands.pop(strand)
            return
        strand.wait = None
        strand.alarm.due_ns = NEVER
        strand.forget()
        self._endings = 0
        self.current = strand
        if strand.cpu != self.one_cpu.cpu:
            self.one_cpu.bring(strand)
        strand.lock.release()
        self._driver.acquire()

    def keep_pace(self) -> None:
        """Move the network's time to the machine's, if it is real."""
        if self.pace is not None:
            self.agenda.now_ns = max(self.agenda.now_ns, self.pace.now_ns)

    def _next_in_real_time(self, pace: Pace) -> Strand | None:
        """Find the strand that runs next: what is due and what came from outside goes first, but not for ever."""
        agenda = self.agenda
        carried_out = 0
        while self._failure is None and not self._is_interrupted and not self.is_closing:
            pace.look()
            self.keep_pace()
            due_ns = agenda.next_due_ns()
            if due_ns <= min(agenda.now_ns, self._until_ns) and carried_out < _IN_A_ROW:
                carried_out += 1
                pace.carried_out(due_ns)
                agenda.take()
                continue
            carried_out = 0
            if self.look is not None:
                self.look()
            while self.untidy:
                self.untidy.popleft()()
            strand = self._take_runnable()
            if strand is not None:
                return strand
            if agenda.now_ns >= self._until_ns or self._is_over():
                break
            if due_ns >= NEVER and self._until_ns >= NEVER and not pace.has_descriptors:
                break
            pace.sleep(min(due_ns, self._until_ns))
        return None

    def _take_runnable(self) -> Strand | None:
        """Take the first strand that can run off the queue."""
        while self.runnable:
            strand = self.runnable.popleft()
            if strand.paused_by:
                strand.is_due = True
            elif strand in self.strands and not strand.is_stranded:
                return strand
        return None

    def _next(self) -> Strand | None:
        """Find the strand that runs next, and carry out the agenda on the way; ``None`` if the run is over."""
        try:
            if self.pace is not None:
                return self._next_in_real_time(self.pace)
            agenda = self.agenda
            while self._failure is None and not self._is_interrupted and not self.is_closing:
                if self.look is not None:
                    self.look()
                while self.untidy:
                    self.untidy.popleft()()
                due_ns = agenda.next_due_ns()
                is_sure = self.sure_turns == agenda.turns and not (
                    self.ends_at_rest and agenda.frames_under_way == 0)
                if self.runnable:
                    if due_ns > agenda.now_ns:
                        strand = self.runnable.popleft()
                        if strand.paused_by:
                            strand.is_due = True
                        elif strand in self.strands and not strand.is_stranded:
                            return strand
                        continue
                elif (due_ns >= NEVER or due_ns > self._until_ns or (not is_sure and self._is_over())
                      or self._has_gone_quiet()):
                    break
                is_sure = self.sure_turns == agenda.turns
                self._run_agenda(due_ns, is_one=self.look is not None or not is_sure)
        except BaseException as failure:
            self.fail(failure)
        return None

    def _run_agenda(self, due_ns: int, *, is_one: bool) -> None:
        """Carry out what is due next, and what follows as long as that changes no program."""
        until_ns = self._until_ns
        if self._detects_quiet:
            quiet_ns = self.active_ns + _QUIET_NS
            is_one = is_one or due_ns >= quiet_ns
            until_ns = until_ns if is_one else min(until_ns, quiet_ns)
        self.agenda.run(until_ns, 1 if is_one else _ENTRIES_MAX, self.runnable, self.ends_at_rest)

    def _has_gone_quiet(self) -> bool:
        """Tell whether for hours nothing but probes and the like has happened, and all programs wait for ever."""
        if self.repetition.is_found:
            return True
        if (not self._detects_quiet or self.steps - self._active_steps < _QUIET_STEPS
                or self.agenda.now_ns - self.active_ns < _QUIET_NS):
            return False
        self._active_steps = self.steps
        strands = [strand for strand in self.strands if not strand.is_background and not strand.is_stranded]
        self.is_quiet = bool(strands) and all(
            strand.paused_by or (strand.wait is not None and (
                strand.wait.deadline_ns is None or strand.wait.is_serving())) for strand in strands)
        return self.is_quiet

    def _hand_to(self, strand: Strand | None) -> None:
        if strand is None:
            self._driver.release()
            self._is_driver_free = True
            return
        self.current = strand
        if not strand.is_started:
            contextvars.Context().run(strand.start)
        elif strand.cpu != self.one_cpu.cpu:
            self.one_cpu.bring(strand)
        strand.lock.release()

    def _lend(self, strand: Strand | None) -> None:
        """Let a strand run and sleep until the run is over. Ctrl-C wakes the driver earlier."""
        if strand is None:
            return
        try:
            self._hand_to(strand)
            while not self._driver.acquire(timeout=LOOK_S):
                self.one_cpu.look(self.current)
                if self.pace is None or self.current is not None:
                    self.watch.look(self.current, self.steps, self.turns, self.agenda.now_ns)
        except BaseException as error:
            self._is_interrupted = True
            running = self.current
            if not isinstance(error, DeadlockError):  # Ctrl-C, or what another signal's handler raised
                error.add_note(f"{who_ran(self.agenda.now_ns, running)}\n{self.report()}".rstrip())
            if self._regain(2 if isinstance(error, DeadlockError) else _INTERRUPT_LOOKS):
                raise
            if running is not None and running.ident:
                raise_in_thread(running.ident, ProgramEnded)  # it computes without a pause; a lock lets nothing through
            if not self._regain(2 if isinstance(error, DeadlockError) else _INTERRUPT_LOOKS):
                self.is_closing = True  # it waits where nothing reaches it: its thread is abandoned
                if running is not None:
                    self.one_cpu.free(running)
            raise

    def _regain(self, looks: int) -> bool:
        """Wait until the run is over, 50 ms a look. Ctrl-C may have come once the driver had noticed that it is."""
        for _ in range(looks):
            if self._is_driver_free or self._driver.acquire(timeout=0.05):
                self._driver.acquire(False)
                return True
        return False

    def _ensure_open(self, strand: Strand) -> None:
        """Raise ``ProgramEnded`` if the network is being closed. One that takes no notice for long is abandoned."""
        if not self.is_closing:
            return
        self._endings += 1
        if self._endings > _ENDINGS_MAX:
            self.strands.pop(strand, None)
            self._driver.release()
            self._is_driver_free = True
            strand.lock.acquire()
        raise ProgramEnded(f"{strand.name}: the network was closed")

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _join(self) -> None:
        for join in self._gone:
            join()
        self._gone.clear()


def _nothing() -> None: ...


def _yes() -> bool:
    return True
