"""``RealTime``: one host on a real device, in real time, for any number of threads.

- A thread holds ``lock`` around every use of the host. The thread that holds it for an input drains the outputs too: a
  program's ``send`` puts its segment on the device before it returns.
- One thread at a time runs the loop (``host.drive.loop``): it sleeps until the device has a frame or ``due_ns`` comes,
  and steps the host. If a program waits, the loop runs in the program's thread, so that an answer reaches it without a
  switch of threads; else it runs in a thread of ours (``loop_thread``). Or the user's event loop steps the host all the
  time (``on_event_loop``). ``wake_loop`` wakes the loop if a deadline comes earlier than it knows.
- Each other thread that waits sleeps on a lock of its own. The thread that has the news releases that lock.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from estab.cpython import allocate_lock, get_ident, rlock_acquire_again, rlock_release_all
from estab.devices.descriptor import DescriptorDevice
from estab.devices.device import Device, VnetDevice
from estab.host.drive.loop import Loop, Surroundings
from estab.host.drive.step import Stepper
from estab.realtime.sleep import Sleep
from estab.realtime.together import Together
from estab.sockets.runtime import Runtime, Task, Wait
from estab.units import NEVER, SECOND, US

if TYPE_CHECKING:
    from estab.host.engine import Engine
    from estab.host.ip.interface import Interface

__all__ = ["Dependent", "RealTime"]

_monotonic_ns: Final = time.monotonic_ns
_BUSY_POLL_US: Final = 50
_BUSY_POLL_US_MAX: Final = 1_000_000
_WAIT_S_MAX: Final = threading.TIMEOUT_MAX


class Dependent(Protocol):
    """What waits in an event loop, and has to hear when no thread steps the host any more."""

    def end(self, error: OSError) -> None:
        """Hear it. From any thread."""

    def has_unsent(self) -> bool:
        """Tell whether it keeps text that was written and that the host has not taken yet."""


class _Waiter:
    """A thread that waits: what for, and the lock on which it sleeps."""

    __slots__ = ("has_loop", "is_woken", "must_run_loop", "sleep_lock", "wait", "wake_fd")

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.sleep_lock = allocate_lock()
        self.sleep_lock.acquire()
        self.wake_fd = -1
        """The writing end of a pipe, if it sleeps on that instead of the lock."""
        self.is_woken = False
        self.has_loop = False
        self.must_run_loop = False

    def ask(self, wake_loop: Callable[[], None]) -> None:
        """Wake the thread if what it waits for has come. The caller holds the runtime's lock."""
        if not self.is_woken and self.wait.is_ready():
            self.is_woken = True
            if self.has_loop:
                wake_loop()
            else:
                self.wake()

    def wake(self) -> None:
        """Wake the thread from its sleep on the lock or the pipe."""
        if self.wake_fd >= 0:
            os.write(self.wake_fd, b"w")
        elif self.sleep_lock.locked():
            self.sleep_lock.release()


class _Surroundings(Surroundings):
    """What the loop needs from its runtime."""

    def __init__(self, runtime: RealTime, mutex: threading.RLock, waiters: list[_Waiter]) -> None:
        super().__init__(mutex.acquire, mutex.release, _monotonic_ns, waiters, runtime.hooks)
        self._runtime = runtime

    def run_signal_handlers(self) -> None:
        """Let signal handlers run: an interpreted function is enough."""

    def tell_some(self) -> None:
        """Check the threads that wait for several descriptors, and run the hooks: the host did something."""
        self._runtime.tell_some()

    def tell_all(self) -> None:
        """Wake each waiting thread that is ready."""
        self._runtime.tell_all()


class RealTime(Runtime):
    """One host in real time."""

    def __init__(self, engine: Engine, device: Device, interface: Interface,
                 resolve: Callable[[str, int], list[bytes]], reverse: Callable[[bytes], list[str]],
                 busy_poll_us: int | None = None) -> None:
        self._per_thread = threading.local()
        self._mutex = threading.RLock()
        super().__init__(engine, self._mutex)
        self.device = device
        self.wake_loop: Callable[[], None] = _nothing
        self.sleeping: Sleep | None = None
        """What the loop sleeps with; ``None`` if an event loop steps the host."""
        self.is_looping = False
        """A thread runs the loop: a program's or ``LoopThread``'s."""
        self.dependents: dict[Dependent, None] = {}
        """What waits in event loops, in the order in which it came."""
        self.program_loops = 0
        """How often a program's thread has begun to run the loop."""
        self._parked = threading.Event()
        self._is_parked = False
        self.driver = 0
        """The thread whose event loop steps the host, if one does: it must not wait for what only it can bring."""
        self._resolve = resolve
        self._reverse = reverse
        self._together: Together | None = None
        send, header_bytes = self._send, 0
        if isinstance(device, VnetDevice) and device.header_bytes:
            send, header_bytes = device.send_offloaded, device.header_bytes
        self.stepper = Stepper(engine, interface, device.receive, send, self._tell, header_bytes, device.fileno() >= 0)
        if isinstance(device, DescriptorDevice) and device.is_plain():
            self._together = Together(device)
            read_into = io.FileIO(device.fileno(), closefd=False).readinto
            buffer = mmap.mmap(-1, device.read_bytes, access=mmap.ACCESS_COPY)
            self.stepper.use_descriptor(device.fileno(), buffer, os.read, read_into, os.write, os.writev,
                                        self._together.outbox, self._together.inbox)
        self._waiting_fd: dict[int, list[_Waiter]] = {}
        self._waiting_any: list[_Waiter] = []
        self.loop = Loop(self.stepper, _Surroundings(self, self._mutex, self._waiting_any))
        if busy_poll_us is None:
            busy_poll_us = _BUSY_POLL_US if _processor_count() > 1 else 0
        if not isinstance(busy_poll_us, int) or not 0 <= busy_poll_us <= _BUSY_POLL_US_MAX:
            raise ValueError(f"busy_poll_us: {busy_poll_us!r} is not a number from 0 to {_BUSY_POLL_US_MAX}")
        self.loop.busy_poll_ns = busy_poll_us * US

    # Each thread has its own told call under way.

    @property
    def call(self) -> int:
        """Number of the told call of this thread; 0: none."""
        return getattr(self._per_thread, "call", 0)

    @call.setter
    def call(self, number: int) -> None:
        self._per_thread.call = number

    # --- for the thread that runs the loop

    def step(self) -> int:
        """Take frames from the device, do what is due, and send all answers.

        Returns until when the caller may sleep if ``wake_loop`` does not wake it; 0 if there is more to do.
        """
        return self.loop.step()

    @property
    def due_ns(self) -> int:
        """When the thread that runs the loop will wake by itself; 0 while none sleeps."""
        return self.loop.due_ns

    # --- the runtime of programs

    @property
    def now_ns(self) -> int:
        """The system's monotonic clock."""
        return time.monotonic_ns()

    @property
    def wall_ns(self) -> int:
        """The system's calendar clock."""
        return time.time_ns()

    def flush(self) -> None:
        """Send the host's frames, and wake the threads that waited for what happened. The caller holds the lock."""
        loop = self.loop
        if loop.is_working:
            return  # a watcher called; the drain that is under way continues after it
        if self.abandoned:
            self.close_abandoned()
        due_ns = loop.drain_locked()
        if due_ns < loop.due_ns:
            loop.due_ns = due_ns
            self.wake_loop()

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due; the lock is released during the sleep. ``False``: the deadline came first.

        A signal's handler may run during the wait; what it raises ends the wait.
        """
        with self._mutex:
            if wait.is_ready():
                return True
            self._ensure_running(wait)
            if self.driver == get_ident():
                raise RuntimeError(f"{wait.describe()} would block the event loop that drives the stack; "
                                   "await stack.open_connection(), or use a thread")
            waiter = _Waiter(wait)
            waiting = self._waiting_any if wait.fd == -1 else self._waiting_fd.setdefault(wait.fd, [])
            waiting.append(waiter)
            is_os_ready = False
            if self.sleeping is not None and not self.is_looping:
                self._begin_loop(waiter)
            else:
                self.loop.is_wanted = True
            held = rlock_release_all(self._mutex)
            try:
                if not waiter.has_loop:
                    is_os_ready = self._sleep_on_lock(waiter)
                if waiter.has_loop or waiter.must_run_loop:
                    is_os_ready = self._run_loop(waiter)
            finally:
                rlock_acquire_again(self._mutex, held)
                waiting.remove(waiter)
                if not waiting and wait.fd != -1 and self._waiting_fd.get(wait.fd) is waiting:
                    del self._waiting_fd[wait.fd]
                if waiter.has_loop or waiter.must_run_loop:
                    self.end_loop()
            if waiter.is_woken or is_os_ready or wait.is_ready():
                return True
            self._ensure_running(wait)
            return False

    def _ensure_running(self, wait: Wait) -> None:
        if self.is_over:
            raise self.down_error(f"{wait.describe()} on a stack that is closed")

    def _begin_loop(self, waiter: _Waiter) -> None:
        self.is_looping = True
        self.loop.is_wanted = False
        self.program_loops += 1
        waiter.has_loop = True

    def _run_loop(self, waiter: _Waiter) -> bool:
        """Run the loop until the waiter's wait is over. Tells whether ``wait.os_fd`` is readable."""
        waiter.has_loop = True
        sleeping, wait = self.sleeping, waiter.wait
        assert sleeping is not None
        deadline_ns = NEVER if wait.deadline_ns is None else wait.deadline_ns
        # A device's descriptor says that there are frames; a device without one has to be asked before the first sleep.
        begins_asleep = self.device.fileno() >= 0
        while not waiter.is_woken and not self.is_over:
            if sleeping.run(self.loop, deadline_ns, begins_asleep=begins_asleep, yields=False, os_fd=wait.os_fd):
                return True
            if sleeping.is_device_gone:
                self.lose_device()
            if deadline_ns < NEVER and _monotonic_ns() >= deadline_ns:
                break
            begins_asleep = False
        return False

    def _sleep_on_lock(self, waiter: _Waiter) -> bool:
        """Sleep until another thread wakes the waiter or its deadline comes."""
        deadline_ns = waiter.wait.deadline_ns
        if waiter.wait.os_fd >= 0:
            return self._sleep_on_pipe(waiter, waiter.wait.os_fd)
        if deadline_ns is None:
            waiter.sleep_lock.acquire()
            return False
        while True:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0 or waiter.sleep_lock.acquire(timeout=min(left_ns / SECOND, _WAIT_S_MAX)):
                return False

    def _sleep_on_pipe(self, waiter: _Waiter, os_fd: int) -> bool:
        """Sleep likewise; a descriptor of the operating system ends the sleep, too."""
        sleeping = Sleep(-1)
        try:
            with self._mutex:
                if waiter.is_woken or waiter.must_run_loop:
                    return False
                waiter.wake_fd = sleeping.wake_fd
            deadline_ns = waiter.wait.deadline_ns
            return sleeping.until(NEVER if deadline_ns is None else deadline_ns, is_full=False, os_fd=os_fd)
        finally:
            with self._mutex:
                waiter.wake_fd = -1
            sleeping.close()

    def has_waiters(self, count: int = 1) -> bool:
        """Tell whether at least ``count`` threads wait for the host's news."""
        with self._mutex:
            return sum(map(len, (self._waiting_any, *self._waiting_fd.values()))) >= count

    # --- which thread runs the loop

    def take_loop(self, program_loops: int) -> bool:
        """Begin the loop in ``LoopThread``. ``False``: a program runs it, or did since ``program_loops`` was read."""
        with self._mutex:
            if self.is_looping or self.program_loops != program_loops:
                return False
            self.is_looping = True
            return True

    def end_loop(self) -> None:
        """Stop running the loop: another thread that waits runs it from now on, or ``LoopThread`` if none waits."""
        with self._mutex:
            self.is_looping = self.loop.is_wanted = False
            for waiting in (self._waiting_any, *self._waiting_fd.values()):
                for waiter in waiting:
                    if not waiter.is_woken and not waiter.has_loop and not waiter.must_run_loop:
                        self._begin_loop(waiter)
                        waiter.has_loop = False
                        waiter.must_run_loop = True
                        waiter.wake()
                        return
            if self._is_parked:
                self._parked.set()

    def park(self, pause_s: float) -> None:
        """Let ``LoopThread`` sleep while programs run the loop, and a little longer."""
        with self._mutex:
            is_looping = self._is_parked = self.is_looping
        if is_looping and not self.is_over:
            self._parked.wait()
        self._is_parked = False
        self._parked.clear()
        if not self.is_over:
            time.sleep(pause_s)

    def end(self) -> None:
        """End all waits: no thread steps the host any more."""
        with self._mutex:
            self.is_over = True
            self.wake_loop()
            for waiting in (self._waiting_any, *self._waiting_fd.values()):
                for waiter in waiting:
                    waiter.wake()
            dependents = list(self.dependents)
            self.run_hooks()
        self._parked.set()
        for dependent in dependents:
            dependent.end(self.down_error(f"stack {self.name} was closed"))

    def has_unsent(self) -> bool:
        """Tell whether something keeps text that was written and that the host has not taken yet."""
        return any(dependent.has_unsent() for dependent in self.dependents)

    def close_device(self) -> None:
        """Release the device. The caller holds the lock."""
        self.stepper.forget_descriptor()
        if self._together is not None:
            self._together.close()
        self.device.close()

    def lose_device(self) -> None:
        """Note that the device is gone: no frame leaves any more, and connections end by their timers."""
        with self._mutex:
            interface = self.engine.interfaces[self.stepper.interface_index]
            if interface.is_up:
                self.engine.set_link(interface, is_up=False, now_ns=time.monotonic_ns())

    def sleep(self, duration_ns: int) -> None:
        """Sleep for a time."""
        time.sleep(duration_ns / SECOND)

    def can_wait(self) -> bool:
        """Return that any thread may wait."""
        return True

    def start_thread(self, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Task:
        """Raise: in real time threads are the operating system's."""
        raise RuntimeError("in real time threads are the operating system's")

    def notify(self, channel: int) -> None:
        """Wake each thread that waits on a channel and is ready."""
        with self._mutex:
            self._ask(self._waiting_fd.get(channel, ()))

    def poke(self) -> None:
        """Wake each thread that waits for several descriptors and is ready."""
        with self._mutex:
            self._ask(self._waiting_any)

    def spin(self, weight: int) -> None:
        """Do nothing: real time passes by itself."""

    def resolve(self, name: str, family: int) -> list[bytes]:
        """Look up a name."""
        return self._resolve(name, family)

    def reverse(self, address: bytes) -> list[str]:
        """Look up an address."""
        return self._reverse(address)

    def entropy(self, size: int) -> bytes:
        """Draw from the operating system."""
        return os.urandom(size)

    def new_event_loop(self) -> AbstractEventLoop:
        """Make an asyncio event loop that waits on this host."""
        from estab.realtime.real_loop import RealEventLoop

        return RealEventLoop(self)

    # --- inside

    def tell_some(self) -> None:
        """Check the threads that wait for several descriptors, and run the hooks: the host did something."""
        if self._waiting_any:
            self._ask(self._waiting_any)
        if self.hooks:
            self.run_hooks()

    def tell_all(self) -> None:
        """Wake each waiting thread that is ready."""
        for waiting in (self._waiting_any, *self._waiting_fd.values()):
            self._ask(waiting)

    def _send(self, header: bytes, frame: bytes) -> bool:
        return self.device.send(frame)

    def _tell(self, fd: int, bits: int) -> None:
        self.watches.tell(fd, bits)
        waiting = self._waiting_fd.get(fd)
        if waiting is not None:
            self._ask(waiting)

    def _ask(self, waiting: Any) -> None:
        wake = self.wake_loop
        for waiter in tuple(waiting):
            waiter.ask(wake)


def _processor_count() -> int:
    """Count the processors that this process may use. On a single one, a busy wait delays the awaited program."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _nothing() -> None: ...
