"""Several processes on one device: each has a queue of it and its own stack, with the same address and ports (Linux).

The kernel gives every packet of a connection to the same queue, by the hash of its addresses and ports: a listening
port is shared as with SO_REUSEPORT. This is for servers. The kernel learns to which queue a connection belongs only
after it has taken the first packet, so its own answer to a SYN may reach another process, which refuses it.

The first process only watches. If one of the others fails, or the first is told to end, all end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from estab.realtime.heap import keep_heap
from estab.stack.stack import Stack

if TYPE_CHECKING:
    from estab.devices.device import Device

__all__ = ["Crew", "Member", "QueueEndedError", "run_queues"]

QUEUES_MAX: Final = 64
_END_S: Final = 5.0
_LOOK_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1


class QueueEndedError(RuntimeError):
    """One of the processes ended before its time, and so all were ended."""


class Member:
    """One of the processes, as its own work sees it."""

    def __init__(self, number: int, parent: int, told_end: int) -> None:
        self.number = number
        self._parent = parent
        self._told_end = told_end
        self.leave = threading.Event()
        """Set when it is told to end, if ``hears_by_event``."""

    def tell_ready(self) -> None:
        """Say that the queue is taken and the stack is up."""
        os.write(self._told_end, b"r")

    def is_wanted(self) -> bool:
        """Tell whether the first process is there and has not said that all is over."""
        return not self.leave.is_set() and os.getppid() == self._parent

    def begin(self, hears_by_event: bool) -> None:
        """Become a separate process. SIGTERM ends it, it ignores Ctrl-C, and it ends with the first process."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._on_signal if hears_by_event else _exit_by_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if os.getppid() != self._parent:
            os._exit(1)  # it ended before this process asked to be told

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.leave.set()


class Crew:
    """Starts ``count`` processes. Each calls ``work`` with its ``Member`` and exits with the status that it returns.

    A context manager: at its end no process is left. ``hears_by_event``: SIGTERM sets ``Member.leave``, instead of
    raising ``SystemExit``.
    """

    def __init__(self, count: int, work: Callable[[Member], int], *, hears_by_event: bool = False) -> None:
        self._count = count
        self._work = work
        self._hears_by_event = hears_by_event
        self._workers: dict[int, int] = {}
        self._ready_end = -1

    def __enter__(self) -> Crew:
        self._ready_end, told_end = os.pipe()
        parent = os.getpid()
        try:
            for number in range(self._count):
                pid = os.fork()
                if pid == 0:
                    _become(Member(number, parent, told_end), self._work, self._hears_by_event)
                self._workers[pid] = number
        except BaseException:
            self.end()
            raise
        finally:
            os.close(told_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.end()

    def await_ready(self) -> bool:
        """Wait until every process has said that it is ready; ``False``: one ended first."""
        told = 0
        while told < self._count and (data := os.read(self._ready_end, self._count - told)):
            told += len(data)
        return told == self._count

    @property
    def count(self) -> int:
        """How many processes run."""
        return len(self._workers)

    def find_failed(self) -> QueueEndedError | None:
        """Look whether a process ended with another status than 0. Those that ended with 0 are left out from now on."""
        for pid in list(self._workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                number = self._workers.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                if code:
                    how = f"with status {code}" if code > 0 else f"by {signal.Signals(-code).name}"
                    return QueueEndedError(f"the process of queue {number} ended {how}; all were ended")
        return None

    def end(self) -> None:
        """End all by SIGTERM, and those that ignore it by SIGKILL."""
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _END_S
        while self._workers and time.monotonic() < end:
            self.find_failed()
            time.sleep(0.01)
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._workers.clear()
        if self._ready_end >= 0:
            os.close(self._ready_end)
            self._ready_end = -1


def run_queues(program: Callable[[Stack, int], object], open_device: Callable[[], Device],
               address: str | Iterable[str], *, queues: int, **options: Any) -> None:
    """Run ``program(stack, number)`` in ``queues`` processes, each with a queue of one device.

        estab.run_queues(serve, lambda: estab.Tun("tun0", is_multi_queue=True), "10.7.0.2/24", queues=4)

    Returns when every program has returned. If one raises, exits with another status than 0, or is killed, the others
    are ended and ``QueueEndedError`` says which; its traceback stands on standard error. Ctrl-C and whatever else
    raises here ends them, too; in them it is ``SystemExit``. A device that was made goes with the last process.

    For servers: a connection that a program opens may be answered to another one. ``options`` are those of ``Stack``.
    To be called before there are other threads, as ``os.fork`` is.
    """
    if not isinstance(queues, int) or not 1 <= queues <= QUEUES_MAX:
        raise ValueError(f"queues: {queues!r} is not a number from 1 to {QUEUES_MAX}")
    if not callable(open_device):
        raise TypeError(f"open_device: {open_device!r} is not a function; give one that opens a queue, like "
                        "lambda: estab.Tun('tun0', is_multi_queue=True)")
    addresses = [address] if isinstance(address, str) else list(address)
    first = open_device()

    def work(member: Member) -> int:
        device = first if member.number == 0 else open_device()
        keep_heap()
        with Stack(device, addresses, **options) as stack:
            member.tell_ready()
            program(stack, member.number)
        return 0

    try:
        with Crew(queues, work) as crew:
            while crew.count:
                failed = crew.find_failed()
                if failed is not None:
                    raise failed
                time.sleep(_LOOK_S)
    finally:
        first.close()


def _become(member: Member, work: Callable[[Member], int], hears_by_event: bool) -> None:
    """Be one of the processes. Never returns."""
    status = 1
    try:
        member.begin(hears_by_event)
        status = work(member)
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
