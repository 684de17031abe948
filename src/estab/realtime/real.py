"""``RealTime``: one host on a real device, in real time, for as many threads as like to use it.

- ``lock`` is held around every touch of the host. Who holds it for an input drains the outputs too: a program's
  ``send`` puts its segment on the device before it returns.
- One thread leads: it sleeps until the device has a frame or ``due_ns`` comes, and turns the host. That is a program
  which waits, where there is one, so that an answer reaches it without a switch of threads; else a thread of ours
  (``pump``). Or an event loop of the user's leads all the time. ``sleeper`` wakes the leader where a deadline comes
  earlier than it knows.
- Others who wait follow: each sleeps on a lock of its own, which whoever brings the news releases.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estab.cpython import allocate_lock, get_ident, rlock_acquire_again, rlock_release_all
from estab.devices.descriptor import DescriptorDevice
from estab.devices.device import Device, VnetDevice
from estab.errors import os_error
from estab.host.drive.lead import Lead
from estab.host.drive.turn import Turn
from estab.realtime.sleep import Sleep
from estab.sockets.runtime import Runtime, Task, Wait
from estab.units import NEVER, SECOND, US

if TYPE_CHECKING:
    from estab.host.engine import Engine
    from estab.host.ip.interface import Interface

__all__ = ["RealTime"]

_monotonic_ns: Final = time.monotonic_ns
_BUSY_POLL_US: Final = 50
_BUSY_POLL_US_MAX: Final = 1_000_000
_WAIT_S_MAX: Final = threading.TIMEOUT_MAX


class _Waiter:
    """A thread that waits: what for, and the lock on which it sleeps."""

    __slots__ = ("bell", "is_leading", "is_rung", "must_lead", "rope", "wait")

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.bell = allocate_lock()
        self.bell.acquire()
        self.rope = -1
        """Where it is not the lock that it sleeps on: the writing end of a pipe."""
        self.is_rung = False
        self.is_leading = False
        self.must_lead = False

    def ask(self, wake_leader: Callable[[], None]) -> None:
        """Wake the thread if what it waits for has come. To be called with the runtime's lock."""
        if not self.is_rung and self.wait.is_ready():
            self.is_rung = True
            if self.is_leading:
                wake_leader()
            else:
                self.ring()

    def ring(self) -> None:
        """Wake the thread from following."""
        if self.rope >= 0:
            os.write(self.rope, b"r")
        elif self.bell.locked():
            self.bell.release()


class RealTime(Runtime):
    """One host in real time."""

    def __init__(self, engine: Engine, device: Device, interface: Interface,
                 resolve: Callable[[str, int], list[bytes]], reverse: Callable[[bytes], list[str]],
                 busy_poll_us: int | None = None) -> None:
        self._per_thread = threading.local()
        super().__init__(engine)
        self._mutex = threading.RLock()
        self.lock = self._mutex
        self.device = device
        self.sleeper: Callable[[], None] = _nothing
        self.bed: Sleep | None = None
        """Where a leader sleeps; ``None`` where an event loop leads."""
        self.is_led = False
        self.is_over = False
        self.leads = 0
        """How often a program has led."""
        self._parked = threading.Event()
        self._is_parked = False
        self.driver = 0
        """The thread whose event loop turns the host, where one does: it must not wait for what only it can bring."""
        self._resolve = resolve
        self._reverse = reverse
        send, header_bytes = self._send, 0
        if isinstance(device, VnetDevice) and device.header_bytes:
            send, header_bytes = device.send_offloaded, device.header_bytes
        self.turn = Turn(engine, interface, device.receive, send, self._tell, header_bytes, device.fileno() >= 0)
        if isinstance(device, DescriptorDevice) and device.is_plain():
            self.turn.use_descriptor(device.fileno(), device.read_bytes, os.read, os.write, os.writev)
        self._waiting_fd: dict[int, list[_Waiter]] = {}
        self._waiting_any: list[_Waiter] = []
        self.lead = Lead(self.turn, self._mutex.acquire, self._mutex.release, _monotonic_ns, self._ask_all,
                         self._attend, _nothing, self._waiting_any, self.hooks)
        if busy_poll_us is None:
            busy_poll_us = _BUSY_POLL_US if _processor_count() > 1 else 0
        if not isinstance(busy_poll_us, int) or not 0 <= busy_poll_us <= _BUSY_POLL_US_MAX:
            raise ValueError(f"busy_poll_us: {busy_poll_us!r} is not a number from 0 to {_BUSY_POLL_US_MAX}")
        self.lead.busy_poll_ns = busy_poll_us * US

    # Which told call is under way is a matter of each thread.

    @property
    def call(self) -> int:
        """Number of the told call of this thread; 0: none."""
        return getattr(self._per_thread, "call", 0)

    @call.setter
    def call(self, number: int) -> None:
        self._per_thread.call = number

    # --- for whoever sleeps for the host

    def turn_once(self) -> int:
        """Take frames off the device, do what is due, and send all answers.

        Returns until when whoever leads may sleep, unless ``sleeper`` wakes it; 0 where there is more to do.
        """
        return self.lead.step()

    @property
    def due_ns(self) -> int:
        """When whoever sleeps for the host will wake by itself; 0 while nobody sleeps."""
        return self.lead.due_ns

    # --- the runtime of programs

    def now_ns(self) -> int:
        """Give the system's monotonic clock."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Give the system's calendar clock."""
        return time.time_ns()

    def flush(self) -> None:
        """Send what the host has to say, and wake whoever waited for what happened. With the lock held."""
        lead = self.lead
        if lead.is_working:
            return  # a watcher called, and whoever drains goes on after it
        if self.abandoned:
            self.close_abandoned()
        due_ns = lead.work(False)
        if due_ns < lead.due_ns:
            lead.due_ns = due_ns
            self.sleeper()

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due, with the lock given up meanwhile. ``False``: the deadline came first.

        A signal's handler runs meanwhile; what it raises ends the wait.
        """
        with self._mutex:
            if wait.is_ready():
                return True
            self._ensure_turning(wait)
            if self.driver == get_ident():
                raise RuntimeError(f"{wait.describe()} would block the event loop that drives the stack; "
                                   "await stack.open_connection(), or use a thread")
            waiter = _Waiter(wait)
            waiting = self._waiting_any if wait.fd == -1 else self._waiting_fd.setdefault(wait.fd, [])
            waiting.append(waiter)
            is_os_ready = False
            if self.bed is not None and not self.is_led:
                self._begin_lead(waiter)
            else:
                self.lead.is_wanted = True
            held = rlock_release_all(self._mutex)
            try:
                if not waiter.is_leading:
                    is_os_ready = self._follow(waiter)
                if waiter.is_leading or waiter.must_lead:
                    is_os_ready = self._lead(waiter)
            finally:
                rlock_acquire_again(self._mutex, held)
                waiting.remove(waiter)
                if not waiting and wait.fd != -1 and self._waiting_fd.get(wait.fd) is waiting:
                    del self._waiting_fd[wait.fd]
                if waiter.is_leading or waiter.must_lead:
                    self.give_lead()
            if waiter.is_rung or is_os_ready or wait.is_ready():
                return True
            self._ensure_turning(wait)
            return False

    def _ensure_turning(self, wait: Wait) -> None:
        if self.is_over:
            raise os_error(errno.ENETDOWN, f"network is down: {wait.describe()} on a stack that is closed")

    def _begin_lead(self, waiter: _Waiter) -> None:
        self.is_led = True
        self.lead.is_wanted = False
        self.leads += 1
        waiter.is_leading = True

    def _lead(self, waiter: _Waiter) -> bool:
        """Turn the host until the waiter's wait is over. Tells whether its descriptor of the system's is readable."""
        waiter.is_leading = True
        bed, wait = self.bed, waiter.wait
        assert bed is not None
        deadline_ns = NEVER if wait.deadline_ns is None else wait.deadline_ns
        # A device with a descriptor says by it that it has frames; another one has to be asked before one may sleep.
        begins_asleep = self.device.fileno() >= 0
        while not waiter.is_rung and not self.is_over:
            if bed.lead(self.lead, deadline_ns, begins_asleep, False, wait.os_fd):
                return True
            if bed.is_device_gone:
                self.lose_device()
            if deadline_ns < NEVER and _monotonic_ns() >= deadline_ns:
                break
            begins_asleep = False
        return False

    def _follow(self, waiter: _Waiter) -> bool:
        """Sleep until the waiter's bell rings or its deadline comes."""
        deadline_ns = waiter.wait.deadline_ns
        if waiter.wait.os_fd >= 0:
            return self._follow_descriptor(waiter, waiter.wait.os_fd)
        if deadline_ns is None:
            waiter.bell.acquire()
            return False
        while True:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0 or waiter.bell.acquire(True, min(left_ns / SECOND, _WAIT_S_MAX)):
                return False

    def _follow_descriptor(self, waiter: _Waiter, os_fd: int) -> bool:
        """Do the same, and have a descriptor of the operating system's end it too."""
        bed = Sleep(-1)
        try:
            with self._mutex:
                if waiter.is_rung or waiter.must_lead:
                    return False
                waiter.rope = bed.rope
            deadline_ns = waiter.wait.deadline_ns
            return bed.until(NEVER if deadline_ns is None else deadline_ns, False, os_fd)
        finally:
            with self._mutex:
                waiter.rope = -1
            bed.close()

    def has_waiters(self, count: int = 1) -> bool:
        """Tell whether at least ``count`` threads wait for the host's news."""
        with self._mutex:
            return sum(map(len, (self._waiting_any, *self._waiting_fd.values()))) >= count

    # --- who leads

    def take_lead(self, leads: int) -> bool:
        """Let the pump lead, unless a program does, or has since it had led ``leads`` times."""
        with self._mutex:
            if self.is_led or self.leads != leads:
                return False
            self.is_led = True
            return True

    def give_lead(self) -> None:
        """End leading: somebody else who waits does it from now on, or the pump when it looks."""
        with self._mutex:
            self.is_led = self.lead.is_wanted = False
            for waiting in (self._waiting_any, *self._waiting_fd.values()):
                for waiter in waiting:
                    if not waiter.is_rung and not waiter.is_leading and not waiter.must_lead:
                        self._begin_lead(waiter)
                        waiter.is_leading = False
                        waiter.must_lead = True
                        waiter.ring()
                        return
            if self._is_parked:
                self._parked.set()

    def park(self, pause_s: float) -> None:
        """Let the pump sleep while programs lead, and a little longer."""
        with self._mutex:
            is_led = self._is_parked = self.is_led
        if is_led and not self.is_over:
            self._parked.wait()
        self._is_parked = False
        self._parked.clear()
        if not self.is_over:
            time.sleep(pause_s)

    def end(self) -> None:
        """End all waits, for nobody turns the host any more."""
        with self._mutex:
            self.is_over = True
            self.sleeper()
            for waiting in (self._waiting_any, *self._waiting_fd.values()):
                for waiter in waiting:
                    waiter.ring()
        self._parked.set()

    def lose_device(self) -> None:
        """Note that the device is gone: nothing leaves any more, and connections end by their timers."""
        with self._mutex:
            interface = self.engine.interfaces[self.turn.interface_index]
            if interface.is_up:
                self.engine.set_link(interface, False, time.monotonic_ns())

    def sleep(self, duration_ns: int) -> None:
        """Sleep for a time."""
        time.sleep(duration_ns / SECOND)

    def can_wait(self) -> bool:
        """Tell that any thread may wait."""
        return True

    def start_thread(self, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Task:
        """Raise: in real time threads are the operating system's."""
        raise RuntimeError("in real time threads are the operating system's")

    def notify(self, channel: int) -> None:
        """Ask those who wait on a channel whether they are ready."""
        with self._mutex:
            self._ask(self._waiting_fd.get(channel, ()))

    def poke(self) -> None:
        """Ask everybody who waits for more than one descriptor whether they are ready."""
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

    def _attend(self) -> None:
        """Tell those who wait for more than one descriptor, or by a hook, that the host did something."""
        if self._waiting_any:
            self._ask(self._waiting_any)
        if self.hooks:
            self.run_hooks()

    def _ask_all(self) -> None:
        """Ask everybody who waits whether they are ready."""
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
        wake = self.sleeper
        for waiter in tuple(waiting):
            waiter.ask(wake)


def _processor_count() -> int:
    """Count the processors that this process may use: to wait busily on the only one keeps off who is waited for."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _nothing() -> None: ...
