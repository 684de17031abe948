"""``RealTime``: one host on a real link, in real time, for as many threads as like to use it.

- ``lock`` is held around every touch of the host. Who holds it for an input drains the outputs too: a program's
  ``send`` puts its segment on the link before it returns.
- Who waits sleeps on a lock of its own, which whoever brings the news releases.
- Somebody else sleeps until the link has a frame or ``due_ns`` comes: a thread (``pump``), or an event loop of the
  user's. ``sleeper`` wakes that one where a deadline comes earlier than it knows.
"""

from __future__ import annotations

import os
import threading
import time
from _thread import allocate_lock, get_ident
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from estab.host.turn import Turn
from estab.links.link import Link, VnetLink
from estab.sockets.kernel import Kernel, Task, Wait
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.host.host import Host
    from estab.host.interface import Interface

__all__ = ["FRAMES_PER_TURN", "RealTime"]

FRAMES_PER_TURN: Final = 64
"""Frames that are taken off the link before the host's answers go out and others may have the lock."""
_WAIT_S_MAX: Final = threading.TIMEOUT_MAX


class _Waiter:
    """A thread that waits: what for, and the lock on which it sleeps."""

    __slots__ = ("bell", "is_rung", "wait")

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.bell = allocate_lock()
        self.bell.acquire()
        self.is_rung = False

    def ask(self) -> None:
        """Wake the thread if what it waits for has come. To be called with the kernel's lock."""
        if not self.is_rung and self.wait.is_ready():
            self.is_rung = True
            self.bell.release()


class RealTime(Kernel):
    """One host in real time."""

    def __init__(self, host: Host, link: Link, interface: Interface,
                 resolve: Callable[[str, int], list[bytes]], reverse: Callable[[bytes], list[str]]) -> None:
        self._per_thread = threading.local()
        super().__init__(host)
        self._mutex = threading.RLock()
        self.lock = self._mutex
        self.link = link
        self.due_ns = 0
        """When whoever sleeps for the host will wake by itself; 0 while nobody sleeps."""
        self.sleeper: Callable[[], None] = _nothing
        self.driver = 0
        """The thread whose event loop turns the host, where one does: it must not wait for what only it can bring."""
        self._resolve = resolve
        self._reverse = reverse
        send, header_bytes = self._send, 0
        if isinstance(link, VnetLink) and link.header_bytes:
            send, header_bytes = link.send_offloaded, link.header_bytes
        self.turn = Turn(host, interface, link.receive, send, self._tell, header_bytes)
        self._is_draining = False
        self._waiting_fd: dict[int, list[_Waiter]] = {}
        self._waiting_any: list[_Waiter] = []

    # Which told call is under way is a matter of each thread.

    @property
    def call(self) -> int:
        """Number of the told call of this thread; 0: none."""
        return getattr(self._per_thread, "call", 0)

    @call.setter
    def call(self, number: int) -> None:
        self._per_thread.call = number

    # --- for whoever sleeps for the host

    def turn_once(self, frames_max: int = FRAMES_PER_TURN) -> int:
        """Take frames off the link, do what is due, and send all answers. Returns how many frames there were."""
        with self._mutex:
            now_ns = time.monotonic_ns()
            if self.turn.is_full:
                self.turn.retry()
            count = self.turn.receive(now_ns, frames_max)
            if self.due_ns <= now_ns or count == 0:
                self.turn.on_deadline(now_ns)
            self.due_ns = 0
            self._drain()
            return count

    def fall_asleep(self) -> int:
        """Note that whoever calls will sleep until the deadline that this gives, unless ``sleeper`` wakes it."""
        with self._mutex:
            self.due_ns = self.turn.next_deadline_ns()
            return self.due_ns

    # --- the kernel of programs

    def now_ns(self) -> int:
        """Give the system's monotonic clock."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Give the system's calendar clock."""
        return time.time_ns()

    def flush(self) -> None:
        """Send what the host has to say, and wake whoever waited for what happened. With the lock held."""
        if self._is_draining:
            return  # a watcher called, and whoever drains goes on after it
        if self.abandoned:
            self.close_abandoned()
        due_ns = self._drain()
        if due_ns < self.due_ns:
            self.due_ns = due_ns
            self.sleeper()

    def wait(self, wait: Wait) -> bool:
        """Sleep until ready or due, with the lock given up meanwhile. ``False``: the deadline came first.

        A signal's handler runs meanwhile; what it raises ends the wait.
        """
        with self._mutex:
            if wait.is_ready():
                return True
            if self.driver == get_ident():
                raise RuntimeError(f"{wait.describe()} would block the event loop that drives the stack; "
                                   "await stack.open_connection(), or use a thread")
            waiter = _Waiter(wait)
            waiting = self._waiting_any if wait.fd == -1 else self._waiting_fd.setdefault(wait.fd, [])
            waiting.append(waiter)
            held = self._mutex._release_save()  # type: ignore[attr-defined]
            try:
                self._sleep(waiter)
            finally:
                self._mutex._acquire_restore(held)  # type: ignore[attr-defined]
                waiting.remove(waiter)
                if not waiting and wait.fd != -1 and self._waiting_fd.get(wait.fd) is waiting:
                    del self._waiting_fd[wait.fd]
            return waiter.is_rung or wait.is_ready()

    def _sleep(self, waiter: _Waiter) -> None:
        deadline_ns = waiter.wait.deadline_ns
        if deadline_ns is None:
            waiter.bell.acquire()
            return
        while True:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0 or waiter.bell.acquire(True, min(left_ns / SECOND, _WAIT_S_MAX)):
                return

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
        from estab.run.aio import EventLoop

        return EventLoop(self)

    # --- inside

    def _drain(self) -> int:
        self._is_draining = True
        try:
            due_ns = self.turn.drain(time.monotonic_ns())
        finally:
            self._is_draining = False
        if self._waiting_any:
            self._ask(self._waiting_any)
        return due_ns

    def _send(self, header: bytes, frame: bytes) -> bool:
        return self.link.send(frame)

    def _tell(self, fd: int, bits: int) -> None:
        self.watches.tell(fd, bits)
        waiting = self._waiting_fd.get(fd)
        if waiting is not None:
            self._ask(waiting)

    @staticmethod
    def _ask(waiting: Any) -> None:
        for waiter in tuple(waiting):
            waiter.ask()


def _nothing() -> None: ...
