"""What is kept of a failure, in a folder of its own: the report, the facts, the capture, and what replays it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from estab.observe.capture import write_section
from estab.observe.facts import event_json
from estab.observe.pcapng import PcapngWriter
from estab.report.columns import Columns
from estab.report.page import Scene, write_report
from estab.trial.explain import Explanation

__all__ = ["FOLDER", "folder_for", "keep"]

FOLDER: Final = ".estab"


def folder_for(root: Path, name: str, seed: int | str, *, test: str = "") -> Path:
    """Name the folder of a test and a seed: letters, digits, ``.``, ``-`` and ``_`` of the name stay.

    If that folder has what was kept of another test than ``test``, this one's has a hash of ``test`` in its name.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    folder = root / FOLDER / f"{plain[-120:]}-{re.sub(r'[^A-Za-z0-9._-]+', '-', str(seed))}"
    if _test_of(folder) in (None, test):
        return folder
    return folder.with_name(f"{folder.name}-{hashlib.sha256(test.encode()).hexdigest()[:8]}")


def _test_of(folder: Path) -> str | None:
    """Say of which test a folder keeps a failure; ``None`` if it keeps none."""
    try:
        return str(json.loads((folder / "replay.json").read_text(encoding="utf-8"))["test"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(found: Explanation, folder: Path, *, test: str = "") -> None:
    """Write report, replay, facts, page and capture. ``OSError`` if they can't be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    found.kept = str(folder)
    (folder / "report.txt").write_text(found.text() + "\n", encoding="utf-8")
    replay: dict[str, Any] = {
        "test": test, "seed": found.attempt.seed, "fingerprint": found.fingerprint.words(), "facts": found.digest,
        "failure": str(found.signature), "sentence": found.attempt.sentence, "again": found.again,
    }
    if found.minimal is not None and found.minimal.weather is not None:
        replay["weather"] = found.minimal.weather.words()
    (folder / "replay.json").write_text(json.dumps(replay, indent=1) + "\n", encoding="utf-8")
    with (folder / "facts.jsonl").open("w", encoding="utf-8") as stream:
        for fact in found.facts:
            stream.write(json.dumps(event_json(fact)) + "\n")
    columns = Columns()
    for fact in found.facts:
        columns(fact)
    write_report(str(folder / "run.html"), Scene(columns, f"seed {found.attempt.seed}: {found.attempt.sentence}",
                                                 found.again))
    with (folder / "run.pcapng").open("wb") as capture:
        write_section(PcapngWriter(capture), found.facts, comment=f"{test} seed {found.attempt.seed}: "
                      f"{found.attempt.sentence}\n{found.again}")
