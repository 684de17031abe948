"""``estab up --queues N``: the same services in N processes, each with a queue of the device (``stack.queues``)."""

from __future__ import annotations

import mmap
import struct
import sys
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Final

from estab.cli.plan import Plan, open_device
from estab.cli.rates import Reading, summary
from estab.cli.standing import Stop, begin_line, end_line, make_stack, watch
from estab.cli.written import why
from estab.stack.queues import Crew, Member

if TYPE_CHECKING:
    from estab.devices.device import Device

__all__ = ["run_queues"]

_ROW: Final = struct.Struct("8q")
_TELL_S: Final = 0.2


def run_queues(plan: Plan, device: Device, is_ours: bool) -> int:
    """Start the processes, watch them, and end them. Returns the exit status."""
    board = mmap.mmap(-1, _ROW.size * plan.queues)

    def work(member: Member) -> int:
        return _work(plan, device, member, board)

    failure: BaseException | None = None
    began = time.monotonic()
    with Stop() as stop:
        try:
            with Crew(plan.queues, work, hears_by_event=True) as crew:
                is_ready = crew.await_ready()
                if is_ready:
                    print(begin_line(plan, device), flush=True)
                    began = time.monotonic()
                    failure = watch(stop, lambda: _read_all(board, plan.queues), crew.find_failed)
        finally:
            device.close()
        if not is_ready:
            print("estab: a process could not take its queue; what it said stands above", file=sys.stderr)
            return 1
        print(end_line(plan, is_ours, summary(Reading(), _read_all(board, plan.queues), time.monotonic() - began)),
              flush=True)
        if failure is not None:
            print(f"estab: {failure}", file=sys.stderr)
            return 1
    return 0


def _work(plan: Plan, device: Device, member: Member, board: mmap.mmap) -> int:
    """Be one of the processes. Returns its exit status."""

    def tell() -> None:
        _ROW.pack_into(board, _ROW.size * member.number, *astuple(Reading.of(stack.engine)))

    try:
        own = device if member.number == 0 else open_device(plan)
        own.mtu = device.mtu
        with make_stack(plan, own, member.number) as stack:
            member.tell_ready()
            while not member.leave.wait(_TELL_S) and member.is_wanted() and stack.failure is None:
                tell()
            tell()
            if stack.failure is not None:
                print(f"estab: the stack of queue {member.number} failed: {stack.failure!r}", file=sys.stderr)
                return 1
            stack.stop_serving()
            tell()
            return 0
    except OSError as error:
        print(f"estab: queue {member.number} of {plan.device}: {why(error)}", file=sys.stderr)
        return 1


def _read_all(board: mmap.mmap, queues: int) -> Reading:
    return Reading.sum([Reading(*_ROW.unpack_from(board, _ROW.size * number)) for number in range(queues)])
