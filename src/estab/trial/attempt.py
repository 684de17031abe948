"""One run of a scenario: a function that is given a network, builds hosts on it and runs it.

A scenario says by an exception that something is wrong. A program that raised is wrong too, unless the scenario asked
for its result or its exception.
"""

from __future__ import annotations

import linecache
import os
import signal
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from estab.errors import is_of_estab
from estab.events import Observer
from estab.lab.links.weather import Happening, Weather
from estab.lab.network import Network

__all__ = ["RUN_LIMIT", "Attempt", "Scenario", "Signature", "attempt", "one_line", "signature_of", "stopped_by"]

Scenario = Callable[[Network], object]

RUN_LIMIT: Final = "168h"
"""How long a trial's run without ``until`` may be in virtual time, unless the test sets ``net.limit``."""

_STANDARD: Final = sysconfig.get_paths()["stdlib"] + os.sep
_INSTALLED: Final = f"{os.sep}site-packages{os.sep}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What two failures have in common that count as the same: the exception's type, and the line that raised it."""

    type: str
    file: str
    line: int
    code: str
    program: str
    """The program that raised, as ``name on host``; empty if the scenario did."""

    def __str__(self) -> str:
        place = f"{os.path.basename(self.file)}:{self.line}" if self.file else "?"
        return f"{self.type} at {place}" + (f" in {self.program}" if self.program else "")


@dataclass(slots=True)
class Attempt:
    """The outcome of one run. ``error`` is ``None`` if nothing was wrong."""

    seed: int | str
    weather: Weather | None = None
    error: BaseException | None = None
    now_ns: int = 0
    has_run: bool = True
    """Whether the scenario came as far as running its network."""
    happenings: list[Happening] = field(default_factory=list)
    """What chance did to frames, if it was logged."""
    faults: list[str] = field(default_factory=list)
    """What ``Network.at`` did to links and hosts."""
    missed: list[str] = field(default_factory=list)
    """Frames that the given weather names and that were never sent."""
    waiting: list[str] = field(default_factory=list)
    """If it failed, of each program that had not finished: what it waits for, and in which state its sockets are."""
    held: list[str] = field(default_factory=list)
    """Names of ``Network.sometimes`` that were true at least once; ``promised`` are all names."""
    promised: list[str] = field(default_factory=list)

    @property
    def is_failure(self) -> bool:
        """Whether something was wrong."""
        return self.error is not None

    @property
    def signature(self) -> Signature:
        """What identifies the failure. ``ValueError`` if there was none."""
        if self.error is None:
            raise ValueError("signature: this run did not fail")
        return signature_of(self.error)

    @property
    def place(self) -> str:
        """The innermost line of the user's own code that the failure came from, ``test_shop.py:17``; empty if none."""
        where = self.signature
        return "" if not where.file or is_of_estab(where.file) else f"{os.path.basename(where.file)}:{where.line}"

    @property
    def sentence(self) -> str:
        """Say what was wrong, in a line."""
        return "" if self.error is None else one_line(self.error)


def attempt(
    scenario: Scenario, seed: int | str, *, weather: Weather | None = None, observer: Observer | None = None,
    logs_chance: bool = False, passing: tuple[type[BaseException], ...] = (),
) -> Attempt:
    """Run a scenario once on a network of its own, and close that.

    Whatever the scenario raises is the outcome, ``SystemExit`` as well; ``KeyboardInterrupt``, what ``passing`` names,
    and a ``SystemExit`` that a signal brought pass.
    """
    made = Attempt(seed, weather)
    net = Network(seed, weather=weather, limit=RUN_LIMIT)
    end_observing = net.observe(observer) if observer is not None else None
    log = net.log_chance() if logs_chance and weather is None else None
    try:
        try:
            scenario(net)
            net.check()
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, *passing)):
                raise
            if isinstance(error, SystemExit) and stopped_by(error):
                raise
            made.error = error
        made.now_ns = net.now_ns
        made.has_run = net.has_run
        if made.error is not None:
            made.waiting = net.waiting()
    finally:
        if end_observing is not None:
            end_observing()  # how what is left is ended is no part of the run
        net.close()
    made.faults = net.faults
    made.promised, made.held = net.promises.promised, net.promises.held
    made.happenings = [] if log is None else log.happenings
    made.missed = [] if net.fixed_weather is None else net.fixed_weather.missed()
    return made


def one_line(error: BaseException) -> str:
    """Write an error in one line: its own first line, with the type before it if that says more."""
    text = str(error).strip()
    lines = text.splitlines()
    first = lines[0] if lines else ""
    if first.endswith(":") and len(lines) > 1:
        first += f" {lines[1].strip()}" + (" …" if len(lines) > 2 else "")
    name = type(error).__name__
    if not first:
        return name
    return first if name == "AssertionError" and not first.startswith("assert") else f"{name}: {first}"


def stopped_by(error: BaseException) -> str:
    """Name the signal whose handler raised an error: then the run was stopped from outside. ``""`` for none."""
    names = {getattr(signal.getsignal(one), "__code__", None): one.name for one in signal.Signals}
    names.pop(None, None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in names:
            return names[trace.tb_frame.f_code]
        trace = trace.tb_next
    return ""


def signature_of(error: BaseException) -> Signature:
    """Find the type of an error and the innermost line of the user's own code that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((_STANDARD, "<"))
           and _INSTALLED not in frame.filename and not is_of_estab(frame.filename)]
    frame = own[-1] if own else frames[-1] if frames else None
    program = next((note.removeprefix("in program ").partition(", at")[0]
                    for note in getattr(error, "__notes__", []) if note.startswith("in program ")), "")
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if frame is None:
        return Signature(name, "", 0, "", program)
    line: Any = frame.lineno or 0
    return Signature(name, frame.filename, line, linecache.getline(frame.filename, line).strip(), program)
