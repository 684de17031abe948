"""Tries entries, each in processes of its own, and judges what came of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.programs.entry import Entry
from tools.programs.trial import LIMIT, REAL_LIMIT_S, Outcome

__all__ = ["Row", "try_all", "try_entry"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_IMPORT_LIMIT_S: Final = 60


@dataclass(slots=True)
class Row:
    """What is known of an entry after its runs. ``status``: works, friction, refused or fails."""

    name: str
    family: str
    version: str
    status: str = ""
    tried: str = ""
    note: str = ""
    """What a user has to know; why it fails; or the sentence by which it is refused."""
    cut: str = ""
    power: str = ""
    captures: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """The outcomes, for whoever looks for a cause. Not kept in the JSON beside the page."""

    def kept(self) -> dict[str, Any]:
        """Give what is kept."""
        fields = asdict(self)
        del fields["details"]
        return fields


def try_all(entries: Iterable[Entry], jobs: int) -> Iterator[Row]:
    """Try entries, some at a time; give their rows in order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(try_entry, entries)


def try_entry(entry: Entry, python: str = sys.executable) -> Row:
    """Try one entry, in an environment's Python. It needs no estab there: the sources here are what is tried."""
    row = Row(entry.name, entry.family, _version(entry), tried=entry.tried)
    first = _start(python, entry, "plain,cut,power")
    row.details = {kind: asdict(outcome) for kind, outcome in first.items()}
    plain = first["plain"]
    if entry.is_refused:
        row.status = "refused" if plain.kind == "refused" else "fails"
        row.note = plain.text if plain.kind == "refused" else f"was to be refused, and is not: {_told(plain)}"
        return row
    if plain.kind != "right":
        row.status, row.note = "fails", _told(plain)
        return row
    again = _start(python, entry, "plain")["plain"]
    row.details["again"] = asdict(again)
    row.captures, is_same = _compare(plain, again)
    reasons = [entry.friction] if entry.friction else []
    if not is_same and not entry.differs:
        reasons.append("two runs with one seed differ")
    elif entry.differs and row.captures != "same":
        row.captures += f": {entry.differs}"
    if plain.noise:
        reasons.append(f"prints `{_short(plain.noise[-1], 100)}` although all is well")
    row.status = "friction" if reasons else "works"
    for kind in ("cut", "power"):
        outcome = first.get(kind)
        if outcome is not None:
            setattr(row, kind, _noticed(outcome))
            if outcome.kind in ("hangs", "crashed", "endless", "refused"):
                row.status = "fails"
                reasons.append(f"{kind}: {_told(outcome)}")
    row.note = "; ".join(reasons)
    return row


def _version(entry: Entry) -> str:
    if not entry.package:
        return platform.python_version()
    try:
        return importlib.metadata.version(entry.package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _start(python: str, entry: Entry, kinds: str) -> dict[str, Outcome]:
    """Make runs of an entry in a process, and read what came of them."""
    limit_s = _IMPORT_LIMIT_S + (REAL_LIMIT_S + 10) * len(kinds.split(","))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    environment |= {"PYTHONPATH": str(_ROOT / "src"), "ESTAB_CORE": "interpreted"}
    command = [python, "-m", "tools.programs.trial", entry.name, kinds]
    try:
        done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"plain": Outcome("hangs", f"not done after {limit_s} real seconds")}
    if os.environ.get("PROGRAMS_SHOW"):
        sys.stderr.write(done.stderr)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"plain": Outcome("crashed", done.stderr[-3000:])}
    return {kind: Outcome(**fields) for kind, fields in json.loads(lines[-1]).items()}


def _compare(one: Outcome, other: Outcome) -> tuple[str, bool]:
    """Compare the captures of two runs: in words, and whether times and sizes are the same."""
    if one.capture == other.capture:
        return "same", True
    shapes = [[frame.split()[0] for frame in outcome.frames] for outcome in (one, other)]
    if shapes[0] == shapes[1]:
        count = sum(a != b for a, b in zip(one.frames, other.frames, strict=True))
        if not count:
            return "same frames", True
        return f"same times and sizes, other bytes in {count} of {len(one.frames)} frames", True
    equal = next((at for at, (a, b) in enumerate(zip(*shapes, strict=False)) if a != b), min(map(len, shapes)))
    return f"differ from frame {equal + 1} of {len(one.frames)} on", False


def _noticed(outcome: Outcome) -> str:
    """Say what the client noticed, and how long after the second exchange began."""
    after = f"{max(outcome.ended_s - outcome.exchange_s, 0):.1f} s"
    if outcome.kind == "right":
        return f"right, after {after}"
    if outcome.kind == "raised":
        return f"`{outcome.error}` after {after}"
    if outcome.kind == "wrong":
        return f"gives `{_short(outcome.text, 60)}` after {after}"
    if outcome.kind == "waits":
        return f"waits for ever: `DeadlockError` at {after}"
    if outcome.kind == "goes on":
        return f"goes on for {LIMIT}: `OverlongRunError`"
    return outcome.kind


def _told(outcome: Outcome) -> str:
    """Say in a line what came of a run."""
    lines = outcome.text.strip().splitlines()
    return f"{outcome.kind}: {_short(lines[-1] if lines else '', 300)}"


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
