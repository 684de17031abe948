"""A system call under way: from its start to its return, which may be later."""

from __future__ import annotations

import errno

from estab.drill.errors import MismatchError
from estab.drill.language.syntax import Blank, Call
from estab.drill.language.syntax import Event as ScriptEvent
from estab.drill.language.values import errno_number, expression_text, integer
from estab.drill.machine.machine import Machine
from estab.drill.steps.calls import Calls
from estab.drill.steps.descriptors import Steps
from estab.errors import explain
from estab.events import CallBlocked, CallReturned, CallStarted, Event
from estab.units import NEVER

__all__ = ["CallUnderWay"]


class CallUnderWay:
    """A call of ``event``, which blocks until ``end_ns`` unless that is ``None``. Times are the script's."""

    def __init__(self, number: int, call: Call, event: ScriptEvent, start_ns: int, end_ns: int | None) -> None:
        self.number = number
        self.call = call
        self.event = event
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.returned_ns = -1
        self.wake_ns = NEVER
        """When the call stops waiting, on the machine's clock."""
        self.is_done = False
        self.is_running = False
        self._machine: Machine | None = None
        self._steps: Steps | None = None
        self._result = 0
        self._error: OSError | None = None

    def begin(self, calls: Calls) -> None:
        """Start it; it runs until it returns or would block."""
        self._machine = calls.machine
        arguments = ", ".join(map(expression_text, self.call.arguments))
        self._tell(CallStarted(self._machine.now_ns, "host", self.number, self._fd(), self.call.name, arguments))
        try:
            started = calls.start(self.call)
        except OSError as error:
            self._return(-1, error, self.start_ns)
            return
        if isinstance(started, int):
            self._return(started, None, self.start_ns)
        else:
            self._steps = started
            self.resume(self.start_ns)
            if not self.is_done:
                self._tell(CallBlocked(self._machine.now_ns, "host", self.number, self._fd(), "news"))

    def resume(self, now_ns: int) -> None:
        """Continue it: something happened, or its time is over."""
        assert self._steps is not None
        self.is_running = True
        try:
            self.wake_ns = next(self._steps)
        except StopIteration as end:
            self._return(end.value, None, now_ns)
        except OSError as error:
            self._return(-1, error, now_ns)
        finally:
            self.is_running = False

    def _return(self, result: int, error: OSError | None, now_ns: int) -> None:
        self.is_done = True
        self._result, self._error = result, error
        self.returned_ns = now_ns
        text = "" if error is None else f"{errno.errorcode.get(error.errno or 0, '')}: {explain(error)}"
        at_ns = self._machine.now_ns if self._machine is not None else 0
        shown = "" if error is not None else str(result)
        self._tell(CallReturned(at_ns, "host", self.number, self._fd(), self.call.name, shown, text))

    def _fd(self) -> int:
        """The descriptor that the call is about, for observers: the script's number."""
        first = self.call.arguments[0] if self.call.arguments else -1
        return first if isinstance(first, int) else -1

    def _tell(self, event: Event) -> None:
        if self._machine is not None:
            self._machine.tell(event)

    def check(self) -> None:
        """Compare result and errno with the script's."""
        call = self.call
        number = self._error.errno if self._error is not None else 0
        got = str(self._result) if self._error is None else f"-1 {errno.errorcode.get(number or 0, str(number))}"
        wanted = expression_text(call.result) + (f" {call.errno}" if call.errno else "")
        is_same = isinstance(call.result, Blank) or integer(call.result) == self._result
        if is_same and call.errno:
            is_same = self._error is not None and errno_number(call.errno) == number
        if not is_same:
            why = f" ({explain(self._error)})" if self._error is not None else ""
            raise MismatchError(f"{call.name}(): expected {wanted}, got {got}{why}", call.text, f"= {got}")
