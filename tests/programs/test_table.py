"""The table of docs/programs.md: what programs did when it was made, they do now. Those that need little are tried."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tools.programs.entry import ENTRIES, Entry
from tools.programs.families import load
from tools.programs.page import read_rows, table
from tools.programs.runner import Row, try_entry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "programs.md"
PYTHON = Path(os.environ.get("ESTAB_PROGRAMS_PYTHON", ROOT / "build" / "programs" / "ci" / "bin" / "python"))
ROWS = {row.name: row for row in read_rows(PAGE.with_suffix(".json"))}
load()


def test_the_page_has_every_entry_and_is_made_from_its_json() -> None:
    assert list(ROWS) == list(ENTRIES)
    assert table(list(ROWS.values())) in PAGE.read_text(encoding="utf-8")


def test_the_table_has_many_programs_and_none_fails_in_silence() -> None:
    assert len(ROWS) >= 120
    assert [row.name for row in ROWS.values() if row.status in ("fails", "friction", "refused") and not row.note] == []
    assert sum(row.status == "fails" for row in ROWS.values()) <= 0.03 * len(ROWS)


def test_what_ci_tries_is_in_the_file_of_its_packages() -> None:
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
              for line in (ROOT / "tools" / "programs" / "requirements-ci.txt").read_text().splitlines()}
    asked = {re.sub(r"[-_.]+", "-", entry.package).lower() for entry in ENTRIES.values() if entry.is_in_ci}
    assert asked - {""} <= pinned


def gist(row: Row) -> list[str]:
    """What has to be the same again: not how long a TCP takes, and not how many frames bear a key."""
    captures = "" if ENTRIES[row.name].differs else row.captures.partition(",")[0]  # the size of a signature is chance
    return [row.status, re.sub(r"[\d.]+ s\b", "", row.cut), re.sub(r"[\d.]+ s\b", "", row.power), captures,
            row.note if row.status == "refused" else ""]


@pytest.mark.skipif(not PYTHON.exists(), reason=f"{PYTHON} is not there: make build/programs/ci/bin/tried")
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES.values() if entry.is_in_ci], ids=lambda entry: entry.name)
def test_a_program_does_what_the_table_says(entry: Entry) -> None:
    row = try_entry(entry, str(PYTHON))
    assert gist(row) == gist(ROWS[entry.name]), row.details
