"""Watches the program that runs, in real time: whether it makes no progress, and for how long the run continues.

Virtual time does not pass for a program that does not wait in it. The driver checks twice a second.

- The program waits for a lock that no program can release while it runs: the run ends with ``DeadlockError``.
- Real time passes in it at one virtual instant (a ``time.sleep`` that was not replaced, a read from the machine's
  network): that is reported once for a line.
- It computes without a pause: that is reported after half a minute, and Ctrl-C ends it.
- The run continues although only servers are left, or does not end: what keeps it from ending is reported once.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol

from estab.cpython import current_frames
from estab.errors import is_of_estab
from estab.lab.programs.one_cpu import threads
from estab.sockets.lines import line_of
from estab.sockets.standin import stalls
from estab.units import MS, SECOND, format_duration

__all__ = ["LOOK_S", "DeadlockError", "OverlongRunError", "Watch", "who_ran"]

LOOK_S = 0.5
"""Real seconds between two checks."""
LOCK_NS = 2 * SECOND
ALONE_NS = 400 * MS
"""The same if the process has no other threads, which could release the lock."""
REAL_NS = SECOND
STALL_S = 30.0
LONG_S = 10.0
_IDLE_NS: Final = 20 * MS
_BUSY_SHARE: Final = 5


class DeadlockError(RuntimeError):
    """Nothing can happen any more, and a program has not finished. The text says which program waits for what.

    ``since_ns``: when the last happened that was new, if probes or heartbeats went on; else -1.
    """

    def __init__(self, text: str = "", since_ns: int = -1) -> None:
        super().__init__(text)
        self.since_ns = since_ns


class OverlongRunError(RuntimeError):
    """A run took longer than its network's ``limit``. The text says for which programs."""


class Watched(Protocol):
    """A strand, as far as it is watched."""

    name: str
    ident: int
    native_id: int


def who_ran(now_ns: int, running: Watched | None) -> str:
    """Say of a run that a signal ended where virtual time was and which program ran."""
    where = f"the network was at {format_duration(now_ns)}"
    if running is None:
        return where
    return f"{where}, and {running.name} ran {line_of(current_frames().get(running.ident))}".rstrip()


class Watch:
    """What was seen of the running strand since it last waited. ``go_on`` reports a run that does not end."""

    def __init__(self) -> None:
        self.go_on: Callable[[], str] | None = None
        """Says what keeps the run from ending, if no program that the run is for does; else empty."""
        self._seen: tuple[object, ...] = ()
        self._since_ns = 0
        self._cpu_ns = self._process_ns = 0
        self._began_ns = 0
        self._is_told = self._is_long_told = False
        self._lines: set[str] = set()

    def begin(self) -> None:
        """Note that a run begins."""
        self._began_ns = stalls.real_ns()
        self._seen = ()
        self._is_long_told = False

    def look(self, strand: Watched | None, steps: int, turns: int, now_ns: int) -> None:
        """Check the strand that runs. Raises ``DeadlockError`` if it can't continue."""
        real_ns = stalls.real_ns()
        if self.go_on is not None and not self._is_long_told and real_ns - self._began_ns >= LONG_S * SECOND:
            text = self.go_on()
            if text:
                self._is_long_told = True
                sys.stderr.write(text)
        if strand is None or not strand.ident:
            return
        seen = (strand, steps, turns)
        if seen != self._seen:
            self._seen, self._since_ns, self._is_told = seen, real_ns, False
            self._cpu_ns, self._process_ns = stalls.cpu_ns(strand.ident), stalls.process_ns()
            return
        stood_ns, computed_ns = real_ns - self._since_ns, stalls.cpu_ns(strand.ident) - self._cpu_ns
        frame = current_frames().get(strand.ident)
        if self._cpu_ns >= 0 and computed_ns < _IDLE_NS and not stalls.is_in_debugger(frame):
            self._look_at_idle(strand, frame, stood_ns, now_ns)
        elif stood_ns >= STALL_S * SECOND and not self._is_told:
            self._is_told = True
            sys.stderr.write(f"estab: {strand.name} has run for {STALL_S:g}s without waiting, at "
                             f"{format_duration(now_ns)}, and all others wait for it; Ctrl-C ends it:\n{_stack(frame)}")

    def _look_at_idle(self, strand: Watched, frame: FrameType | None, stood_ns: int, now_ns: int) -> None:
        """Check a strand that runs and does not compute."""
        is_locked = stalls.is_in_lock(strand.native_id)
        computed_ns = stalls.process_ns() - self._process_ns
        if is_locked and computed_ns * _BUSY_SHARE > stood_ns:
            return  # other threads of the process compute: perhaps for it, as those of numpy do
        if is_locked and stood_ns >= (ALONE_NS if stalls.is_alone(threads()) else LOCK_NS):
            line = line_of(frame)
            raise DeadlockError(
                f"{strand.name} waits for a lock that was made outside of programs, at {format_duration(now_ns)}"
                f"{', in ' + line if line else ''}, and whoever holds it can't go on before {strand.name} waits in "
                "virtual time. Make the lock inside of a program, or don't hold it while waiting\n"
                + _stack(frame, own_only=True))
        if not is_locked and stood_ns >= REAL_NS:
            line = line_of(frame) or strand.name
            if line not in self._lines:
                self._lines.add(line)
                sys.stderr.write(f"estab: {strand.name} takes real time and stands still at {format_duration(now_ns)} "
                                 f"of virtual time: {line} waits past estab, in a function that it did not replace\n")


def _stack(frame: FrameType | None, *, own_only: bool = False) -> str:
    """Write where a thread stands; ``own_only``: without lines of estab and of Python's own threads."""
    frames = traceback.extract_stack(frame) if frame is not None else []
    if own_only:
        frames = [one for one in frames if not is_of_estab(one.filename) and one.filename != threading.__file__]
    return "".join(traceback.format_list(frames))
