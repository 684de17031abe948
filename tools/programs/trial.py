"""Runs one entry, in a process that was started for it: ``python -m tools.programs.trial NAME plain,cut,power``.

What the entry imports is imported once. Then each run is a forked process of its own, which writes what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import hashlib
import importlib
import inspect
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from estab import DeadlockError, Network, OverlongRunError
from estab.events import FrameSent
from tools.programs.entry import Entry, rests
from tools.programs.families import load

__all__ = ["LIMIT", "POWERLESS_S", "REAL_LIMIT_S", "Outcome"]

REAL_LIMIT_S: Final = 60
"""Real seconds for one run."""
LIMIT: Final = "2h"
"""Virtual time for a run with a fault, after which a client goes on for ever."""
PLAIN_LIMIT: Final = "24h"
"""Virtual time for a run without."""
POWERLESS_S: Final = 60
"""For how long the server has no power."""
FAULT_AFTER_S: Final = 0.01
"""From the beginning of the second exchange to the fault: what the client sent is on its way."""


@dataclass(slots=True)
class Outcome:
    """What came of one run. Times are virtual seconds."""

    kind: str
    """``right``, ``wrong``, ``raised``, ``waits``, ``goes on``, ``refused`` or ``hangs``."""
    text: str = ""
    """The exception's name and text, the wrong value, or what estab said."""
    error: str = ""
    """The exception's name."""
    ended_s: float = 0
    exchange_s: float = 0
    """When the second exchange began."""
    real_s: float = 0
    noise: list[str] = field(default_factory=list)
    """The last lines of tracebacks, and sentences of estab, on standard error."""
    capture: str = ""
    """A hash of the capture."""
    frames: list[str] = field(default_factory=list)
    """Of each frame, a short hash of its time, sender and size, and one of its bytes."""


def main(name: str, kinds: str) -> None:
    """Make the runs, and print their outcomes as JSON."""
    entry = load()[name]
    warnings.simplefilter("ignore")
    outcomes: dict[str, Outcome] = {}
    for module in entry.imports:
        try:
            importlib.import_module(module)
        except Exception as error:
            print(json.dumps({"plain": asdict(Outcome("missing", f"{type(error).__name__}: {error}"))}))
            return
    fault_s = 0.0
    for kind in kinds.split(","):
        outcome = outcomes[kind] = _in_a_process(lambda kind=kind: _run(entry, kind, fault_s))
        if kind == "plain":
            fault_s = outcome.exchange_s and outcome.exchange_s + FAULT_AFTER_S
            if outcome.kind not in ("right", "wrong") or not fault_s:
                break
    print(json.dumps({kind: asdict(outcome) for kind, outcome in outcomes.items()}))


def _in_a_process(run: Callable[[], Outcome]) -> Outcome:
    """Make a run in a forked process, and give what it wrote, or where it stood when its time was over."""
    with tempfile.TemporaryDirectory() as folder:
        result, errors = Path(folder, "result"), Path(folder, "errors")
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with errors.open("w") as stream:
                    os.dup2(stream.fileno(), 2)
                    os.dup2(stream.fileno(), 1)
                    faulthandler.dump_traceback_later(REAL_LIMIT_S, exit=True)
                    outcome = run()
                    sys.stdout.flush()
                    sys.stderr.flush()
                    logging.shutdown()
                    result.write_text(json.dumps(asdict(outcome)))
                    status = 0
            except BaseException:
                with contextlib.suppress(BaseException):
                    traceback.print_exc()
                    sys.stderr.flush()
            finally:
                os._exit(status)
        os.waitpid(pid, 0)
        said = errors.read_text(errors="replace")
        if result.exists():
            outcome = Outcome(**json.loads(result.read_text()))
        else:
            outcome = Outcome("hangs" if time.monotonic() - started >= REAL_LIMIT_S else "crashed", said[-4000:])
        outcome.real_s = round(time.monotonic() - started, 1)
        outcome.noise = _noise(said)
        refusal = next((line for line in outcome.noise if "can't be used on host" in line), "")
        if refusal and outcome.kind in ("raised", "wrong", "waits"):
            outcome.kind, outcome.text = "refused", refusal.removeprefix("NotImplementedError: ")
        if os.environ.get("PROGRAMS_SHOW"):
            sys.stderr.write(said)
        return outcome


def _noise(said: str) -> list[str]:
    """Find the last line of each traceback, and what estab said."""
    found = []
    is_inside = False
    for line in said.splitlines():
        if line.startswith("estab:"):
            found.append(line)
        elif line.lstrip(" |+-").startswith("Traceback (most recent call last)"):
            is_inside = True
        elif is_inside and line and not line.startswith((" ", "Traceback")):
            found.append(line)
            is_inside = False
    return found[:20]


def _run(entry: Entry, kind: str, fault_s: float) -> Outcome:
    """Make one run of an entry."""
    outcome = Outcome("")
    with Network(seed=1, limit=PLAIN_LIMIT if kind == "plain" else LIMIT) as net:
        client, server = net.host("client"), net.host("server")
        cable = net.link(client, server, delay="20ms")
        seen = net.record()
        servers = []

        def boot() -> None:
            server.power_on()
            if entry.server is not None:
                servers.append(server.run(entry.server, fresh=entry.fresh, daemon=kind != "plain"))

        boot()
        if kind == "cut":
            net.at(fault_s, cable.cut)
        elif kind == "power":
            net.at(fault_s, server.power_off)
            net.at(fault_s + POWERLESS_S, boot)
        program = client.run(_watched(entry, outcome), start=entry.start_s, fresh=entry.fresh)
        told = ""
        try:
            net.run(check=False)
        except (DeadlockError, OverlongRunError) as error:
            told = str(error)
            told = f"{type(error).__name__}: {told}"
        errors = [made.exception() for made in (*servers, program)
                    if made.done() and not made.cancelled()]
        refusal = next((inner for error in errors for inner in _inside(error)
                        if isinstance(inner, NotImplementedError)), None)
        if outcome.kind == "raised" and outcome.error == "NotImplementedError":
            outcome.kind = "refused"
        elif refusal is not None:
            outcome.kind, outcome.text = "refused", str(refusal)
        elif told and program.done():
            outcome.text = f"the client is done ({outcome.kind}), and the run went on: {told}"
            outcome.kind = "endless"
        elif not outcome.kind:
            outcome.kind = "waits" if told.startswith("Deadlock") else "goes on"
            outcome.text = told or str(net.waiting())
            outcome.ended_s = net.now
        if outcome.kind in ("raised", "wrong"):
            for made in servers:
                if made.done() and not made.cancelled() and made.exception() is not None:
                    outcome.text += f"; the server raised {made.exception()!r}"
        outcome.exchange_s = rests[-1] if rests else 0
        _note_frames(outcome, seen)
    return outcome


def _watched(entry: Entry, outcome: Outcome) -> Callable[[], Any]:
    """Have an entry's client note what came of it, and when."""
    def note(value: Any) -> None:
        outcome.ended_s = time.monotonic()
        outcome.kind = "right" if value == entry.expect else "wrong"
        outcome.text = "" if outcome.kind == "right" else repr(value)[:600]

    def note_error(error: BaseException) -> None:
        outcome.ended_s = time.monotonic()
        outcome.kind, outcome.error = "raised", type(error).__name__
        outcome.text = "".join(traceback.format_exception(error))[-3000:]
        refusal = next((inner for inner in _inside(error) if isinstance(inner, NotImplementedError)), None)
        if refusal is not None:
            outcome.error, outcome.text = "NotImplementedError", str(refusal)

    if inspect.iscoroutinefunction(entry.client):
        async def watched_async() -> None:
            try:
                note(await entry.client())
            except (Exception, asyncio.CancelledError) as error:
                note_error(error)
        return watched_async

    def watched() -> None:
        try:
            note(entry.client())
        except Exception as error:
            note_error(error)
    return watched


def _inside(error: BaseException | None) -> list[BaseException]:
    """List an error and those that it is a group of."""
    if isinstance(error, BaseExceptionGroup):
        return [inner for part in error.exceptions for inner in _inside(part)]
    return [] if error is None else [error]


def _note_frames(outcome: Outcome, seen: Any) -> None:
    """Note hashes of what was on the cable."""
    with tempfile.NamedTemporaryFile(suffix=".pcapng") as file:
        seen.pcapng(file.name)
        outcome.capture = hashlib.sha256(Path(file.name).read_bytes()).hexdigest()
    for fact in seen.facts:
        if isinstance(fact, FrameSent):
            shape = hashlib.sha256(f"{fact.at_ns} {fact.host} {len(fact.data)}".encode()).hexdigest()[:10]
            outcome.frames.append(f"{shape} {hashlib.sha256(fact.data).hexdigest()[:10]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
