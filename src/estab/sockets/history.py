"""What a socket's own calls changed, kept for ``Socket.history`` and made from facts.

Nothing is kept until ``Runtime.keep_history`` asks for it. Both are bounded: the calls of a socket (the oldest are
forgotten) and the changes of a call (those beyond are counted in ``left_out``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from typing import Final, Protocol

from estab.cpython import get_ident
from estab.events import (
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    Event,
    FrameReceived,
    FrameSent,
)
from estab.under_way import UnderWay
from estab.units import format_duration

__all__ = ["Historian", "PastCall"]

CALLS_MAX: Final = 256
CHANGES_MAX: Final = 256
_UNTOLD: Final = (CallStarted, CallResumed, FrameReceived, FrameSent)
_HIDDEN: Final = frozenset({"at_ns", "host", "tcb"})


@dataclass(slots=True)
class PastCall:
    """One call. ``changes`` are the facts that it caused: descriptors, TCBs, states, queues, buffers, segments.

    ``returned_ns`` is ``None`` until it returns. ``error`` is ``"EAGAIN: …"`` if it raised.
    """

    name: str
    arguments: str
    started_ns: int
    returned_ns: int | None = None
    result: str = ""
    error: str = ""
    waited_for: list[str] = field(default_factory=list)
    """What it was blocked by, once for each time."""
    changes: list[Event] = field(default_factory=list)
    left_out: int = 0

    def __str__(self) -> str:
        came = "has not returned" if self.returned_ns is None else self.error or self.result
        took = format_duration((self.returned_ns or self.started_ns) - self.started_ns)
        lines = [f"{self.name}({self.arguments}) -> {came}  [at {format_duration(self.started_ns)}, took {took}]"]
        lines += [f"    waited: {words}" for words in self.waited_for]
        lines += [f"    {_words(change)}" for change in self.changes]
        if self.left_out:
            lines.append(f"    and {self.left_out} more")
        return "\n".join(lines)


class Caller(Protocol):
    """The clock of the host that the calls are made on."""

    @property
    def now_ns(self) -> int:
        """The time."""


class Historian:
    """An observer that adds each fact to the call that is under way."""

    def __init__(self, caller: Caller, calls_max: int) -> None:
        self.calls_max = calls_max
        self._caller = caller
        self._open: dict[int, PastCall] = {}
        self._under_way = UnderWay()

    def begin(self, number: int, name: str, arguments: str, past: deque[PastCall]) -> None:
        """Note that a call started. It is in its socket's list at once."""
        record = self._open[number] = PastCall(name, arguments, self._caller.now_ns)
        past.append(record)

    def forget(self, number: int) -> None:
        """Note that a call ended without returning, with its program."""
        self._open.pop(number, None)
        self._under_way.forget(number)

    def __call__(self, event: Event) -> None:
        """Take a fact, in the thread that caused it."""
        number = self._under_way.call_of(event, get_ident())
        if isinstance(event, CallReturned):
            record = self._open.pop(number, None)
            if record is not None:
                record.returned_ns, record.result, record.error = event.at_ns, event.result, event.error
        elif isinstance(event, CallBlocked):
            record = self._open.get(number)
            if record is not None:
                record.waited_for.append(event.waits_for)
        elif not isinstance(event, _UNTOLD):
            record = self._open.get(number)
            if record is None:
                return
            if len(record.changes) < CHANGES_MAX:
                record.changes.append(event)
            else:
                record.left_out += 1


def _words(event: Event) -> str:
    parts = [f"{item.name}={value!r}" for item in fields(event)
             if item.name not in _HIDDEN and (value := getattr(event, item.name)) not in ("", None)]
    return f"{type(event).__name__}({', '.join(parts)})"
