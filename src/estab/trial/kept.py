"""What is kept of a failure, in a folder of its own: the report, the facts, the capture, and what replays it."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import tomli_w

from estab.observe.capture import write_section
from estab.observe.facts import event_json
from estab.observe.pcapng import PcapngWriter
from estab.report.columns import Columns
from estab.report.page import Scene, write_report
from estab.trial.explain import Explanation
from estab.trial.scenario import Scenario

__all__ = ["FOLDER", "KEPT", "folder_for", "keep"]

FOLDER: Final = ".estab"
KEPT: Final = "scenario.toml"
"""Seed, minimal weather, and what failed; a whole scenario if a scenario file failed."""


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
        return str(tomllib.loads((folder / KEPT).read_text(encoding="utf-8"))["failed"]["test"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(found: Explanation, folder: Path, *, test: str = "", scenario: Scenario | None = None,
         shown: Path | None = None) -> None:
    """Write report, scenario, facts, page and capture. What was found says where, or why they can't be written.

    ``scenario`` is the file's that failed; ``None`` if a function failed, which no file can say again. ``shown`` is how
    the folder is called once it is written.
    """
    try:
        _write(found, folder, test, scenario)
        found.kept = str(folder if shown is None else shown)
    except OSError as error:
        found.kept = f"nothing: {folder} can't be written ({error.strerror})"


def _write(found: Explanation, folder: Path, test: str, scenario: Scenario | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    found.kept = str(folder)
    (folder / "report.txt").write_text(found.text() + "\n", encoding="utf-8")
    (folder / KEPT).write_text(_scenario_text(found, folder, test, scenario), encoding="utf-8")
    if found.output:
        (folder / "output.txt").write_text(found.output, encoding="utf-8", newline="")
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


def _scenario_text(found: Explanation, folder: Path, test: str, scenario: Scenario | None) -> str:
    """Write seed and minimal weather as a scenario file, with what failed in a table of its own."""
    seed = found.attempt.seed
    weather = found.minimal.weather if found.minimal is not None else None
    failed = {
        "test": test, "failure": str(found.signature), "sentence": found.attempt.sentence, "again": found.again,
        "facts": found.digest, "fingerprint": found.fingerprint.words(),
    }
    if scenario is not None:
        kept = replace(scenario.moved(folder.resolve()), seed=seed, weather=weather or scenario.weather)
        return kept.text() + "\n" + tomli_w.dumps({"failed": failed})
    words: dict[str, Any] = {"seed": seed}
    if weather is not None:
        words["weather"] = weather.words()
    return tomli_w.dumps({**words, "failed": failed})
