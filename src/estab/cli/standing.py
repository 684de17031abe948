"""A stack that runs until it is ended: by Ctrl-C, SIGTERM or SIGHUP, by its program's end, or by a failure."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from estab.cli.plan import Plan, apply_settings
from estab.cli.rates import Reading, line, summary
from estab.cli.serving import make_service
from estab.cli.written import why
from estab.realtime.heap import keep_heap
from estab.stack.publishing import default_path
from estab.stack.stack import Stack

if TYPE_CHECKING:
    from estab.devices.device import Device
    from estab.stack.watching import CaptureFile

__all__ = ["Stop", "begin_line", "end_line", "make_stack", "stand", "watch"]

FILES_MAX: Final = 1 << 20
TICK_S: Final = 0.5
_GOODBYE_S: Final = 2.0
"""How long the last bytes and FINs may take when all is over."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Set when the process is told to end. In a ``with`` block the signals set it."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = 0
        self._before: list[tuple[signal.Signals, Callable[[int, FrameType | None], object] | int | None]] = []

    def __enter__(self) -> Stop:
        for number in _SIGNALS:
            self._before.append((number, signal.signal(number, self._hear)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            number, handler = self._before.pop()
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self.event.set()


def stand(plan: Plan, device: Device, is_ours: bool) -> int:
    """Bring the stack up on ``device``, and let it run until its end. Returns the exit status."""
    with ExitStack() as cleanup:
        try:
            stack = cleanup.enter_context(make_stack(plan, device))
        except (OSError, ValueError) as error:
            print(f"estab: {why(error)}", file=sys.stderr)
            return 1
        try:
            capture = None
            if plan.pcap is not None:
                capture = stack.capture(plan.pcap, bytes_max=plan.pcap_bytes_max, on_end=_tell_end_of_capture)
        except OSError as error:
            print(f"estab: --pcap: cannot write {plan.pcap!r}: {error.strerror}", file=sys.stderr)
            return 1
        stop = Stop() if plan.program is None else None
        if stop is not None:
            cleanup.enter_context(stop)
        else:
            _leave_by_signal()
        print(begin_line(plan, device), flush=True)
        start, began = Reading.of(stack.engine), time.monotonic()
        failure: BaseException | None = None
        status = 0
        try:
            if stop is None:
                status = _run_program(plan, stack)
            else:
                failure = watch(stop, lambda: Reading.of(stack.engine), lambda: stack.failure, capture)
        finally:
            _say_goodbye(stack)
            told = summary(start, Reading.of(stack.engine), time.monotonic() - began)
            print(end_line(plan, is_ours, told), flush=True)
        if failure is not None:
            print(f"estab: the stack failed: {failure!r}", file=sys.stderr)
            return 1
    return status


def _tell_end_of_capture(why: str) -> None:
    print(f"estab: --pcap: no more is written: {why}", file=sys.stderr, flush=True)


def make_stack(plan: Plan, device: Device, number: int = 0) -> Stack:
    """Make the stack that was asked for, with its services. ``device`` is closed with it, or if it can't be made.

    ``number``: which one it is of several processes with a queue each.
    """
    keep_heap()
    try:
        stack = Stack(device, plan.addresses, gateway=plan.gateways, busy_poll_us=plan.busy_poll_us)
    except BaseException:
        device.close()
        raise
    stack.engine.files.limit = FILES_MAX
    apply_settings(stack.engine, plan)
    for served in plan.served:
        stack.serve(make_service(served), served.port)
    stack.run_in_thread()
    if plan.is_published:
        try:
            stack.publish(default_path(plan.device, number))
        except OSError as error:
            print(f"estab: estab top can't see this stack: {why(error)}", file=sys.stderr)
    return stack


def begin_line(plan: Plan, device: Device) -> str:
    """Say what runs, and where."""
    offload = ", offload" if getattr(device, "has_checksum_offload", False) else ""
    queues = f", {plan.queues} queues" if plan.queues > 1 else ""
    about = "; ".join([f"MTU {device.mtu}{offload}{queues}", *plan.notes])
    does = [f"{served.name} on {served.port}" for served in plan.served]
    if plan.program is not None:
        does.append(f"{plan.program} runs")
    return f"estab: {', '.join(plan.addresses)} on {plan.device} ({about}): {', '.join(does)}"


def end_line(plan: Plan, is_ours: bool, what: str) -> str:
    """Say what was, and what becomes of the device."""
    return f"estab: {what}; {plan.device} {'is gone' if is_ours else 'stays as it was'}"


def watch(stop: Stop, read: Callable[[], Reading], find_failure: Callable[[], BaseException | None],
          capture: CaptureFile | None = None) -> BaseException | None:
    """Show a line of rates on a terminal until it is time to stop. Gives the failure that ended it, if one did."""
    console = Console(stderr=True)
    before, at = read(), time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False,
              redirect_stderr=False) as live:
        while not stop.event.wait(TICK_S):
            failure = find_failure()
            if failure is not None:
                return failure
            if capture is not None:
                capture.flush()
            if console.is_terminal:
                now, later = read(), time.monotonic()
                live.update(Text(line(before, now, later - at), no_wrap=True, overflow="ellipsis"), refresh=True)
                before, at = now, later
    return None


def _leave_by_signal() -> None:
    """Let SIGTERM and SIGHUP end a program as Ctrl-C does, so that it can clean up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _run_program(plan: Plan, stack: Stack) -> int:
    """Run the program as ``python FILE`` does, with the stack for its sockets. Returns the exit status."""
    assert plan.program is not None
    sys.argv = [plan.program, *plan.words]
    sys.path.insert(0, os.path.dirname(os.path.abspath(plan.program)))
    with stack.installed():
        try:
            runpy.run_path(plan.program, run_name="__main__")
        except Exception as error:
            _print_its_own(error, plan.program)
            return 1
    return 0


def _print_its_own(error: Exception, program: str) -> None:
    """Print the traceback of a program's error as ``python FILE`` would: without what lies before its first line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != program:
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace))


def _say_goodbye(stack: Stack) -> None:
    """Close the services, and give what was closed a moment to reach its peers."""
    if stack.failure is not None:
        return
    stack.stop_serving()
    end = time.monotonic() + _GOODBYE_S
    while time.monotonic() < end:
        with stack.runtime.lock:
            if stack.engine.demux.orphan_count == 0:
                return
        time.sleep(0.01)
