"""One device shared among processes: each has a queue of it and a whole stack, with the same address and ports.

The kernel sends every packet of a connection to the same queue, by the hash of its addresses and ports, as SO_REUSEPORT
spreads connections over listeners. The first process only watches: when one of the others ends, all end.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys
import threading
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Final

from estab.cli.plan import Plan, open_link
from estab.cli.rates import Reading, summary
from estab.cli.standing import Stop, begin_line, end_line, make_stack, watch

if TYPE_CHECKING:
    from estab.links.link import Link

__all__ = ["run_queues"]

_ROW: Final = struct.Struct("8q")
_TELL_S: Final = 0.2
_END_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


class _WorkerEndedError(Exception):
    """One of the processes is no more."""


def run_queues(plan: Plan, link: Link, is_ours: bool) -> int:
    """Start the processes, watch them, and end them. Returns the exit status."""
    board = mmap.mmap(-1, _ROW.size * plan.queues)
    ready_end, told_end = os.pipe()
    workers: dict[int, int] = {}
    with Stop() as stop:
        try:
            for number in range(plan.queues):
                pid = os.fork()
                if pid == 0:
                    _work(plan, link, number, board, told_end)
                workers[pid] = number
            os.close(told_end)
            is_ready = _await_ready(ready_end, plan.queues)
            failure: BaseException | None = None
            if is_ready:
                print(begin_line(plan, link), flush=True)
                began = time.monotonic()
                failure = watch(stop, lambda: _read_all(board, plan.queues), lambda: _find_ended(workers))
        finally:
            _end(workers)
            link.close()
            os.close(ready_end)
        if not is_ready:
            print("estab: a process could not take its queue; what it said stands above", file=sys.stderr)
            return 1
        print(end_line(plan, is_ours, summary(Reading(), _read_all(board, plan.queues), time.monotonic() - began)),
              flush=True)
        if failure is not None:
            print(f"estab: {failure}; all were ended", file=sys.stderr)
            return 1
    return 0


def _work(plan: Plan, link: Link, number: int, board: mmap.mmap, told_end: int) -> None:
    """Be one of the processes. Never returns."""
    status = 1
    try:
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # if the first one is killed, nothing is left over
        leave = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: leave.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first one, which tells the others
        own = link if number == 0 else open_link(plan)
        own.mtu = link.mtu
        with make_stack(plan, own) as stack:
            os.write(told_end, b"r")
            os.close(told_end)
            while not leave.wait(_TELL_S) and os.getppid() == parent and stack.failure is None:
                _ROW.pack_into(board, _ROW.size * number, *astuple(Reading.of(stack.host)))
            if stack.failure is not None:
                print(f"estab: the stack of queue {number} failed: {stack.failure!r}", file=sys.stderr)
            else:
                status = 0
                stack.stop_serving()
            _ROW.pack_into(board, _ROW.size * number, *astuple(Reading.of(stack.host)))
    except OSError as error:
        print(f"estab: queue {number} of {plan.device}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _await_ready(ready_end: int, count: int) -> bool:
    """Read a byte from each process; fewer come where one ended."""
    told = 0
    while told < count and (data := os.read(ready_end, count - told)):
        told += len(data)
    return told == count


def _read_all(board: mmap.mmap, queues: int) -> Reading:
    return Reading.sum([Reading(*_ROW.unpack_from(board, _ROW.size * number)) for number in range(queues)])


def _find_ended(workers: dict[int, int]) -> BaseException | None:
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            how = f"with status {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            return _WorkerEndedError(f"the process of queue {workers.pop(pid)} ended {how}")
    return None


def _end(workers: dict[int, int]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _END_S
    while workers and time.monotonic() < end:
        if _find_ended(workers) is None:
            time.sleep(0.01)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    workers.clear()
