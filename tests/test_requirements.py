"""``docs/rfc9293.md`` keeps its word: every row of RFC 9293's requirements is there, and what it names exists.

A row says where the requirement is done and which tests show it; or, after "n/a:", why it does not apply; or, after
"not yet:", what is missing, which no MUST may.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "docs" / "rfc9293_requirements.csv"
TABLE = ROOT / "docs" / "rfc9293.md"
REASON_LENGTH_MIN = 25


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    id: str
    level: str
    section: str
    requirement: str
    where: str
    shown_by: str

    @property
    def files(self) -> list[str]:
        """The source files that the row names, below ``src/estab``."""
        return re.findall(r"`([\w/]+\.py)`", self.where)

    @property
    def tests(self) -> list[str]:
        """The tests that the row names."""
        return re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", self.shown_by)

    @property
    def reason(self) -> str:
        """Why the row does not apply or is not done, or nothing."""
        return re.sub("^(n/a|not yet): ", "", self.where) if self.is_left_out else ""

    @property
    def is_left_out(self) -> bool:
        """Whether the row says why not, instead of where."""
        return self.where.startswith(("n/a:", "not yet:"))


def read_table(text: str) -> list[Row]:
    """Read the rows of the Markdown table whose first cell is the id of a requirement."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if re.match(r"\| (MUST|SHLD|MAY|REC)-\d+ \|", line):
            assert len(cells) == 6, f"six cells, not {len(cells)}: {line}"
            rows.append(Row(*cells))
    return rows


@cache
def names_in(path: Path) -> frozenset[str]:
    """Give the names of all functions and methods in a file, as pytest writes them: ``test_a``, ``Class::test_b``."""
    if not path.is_file():
        return frozenset()
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.update(f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))
    return frozenset(names)


def complaints_about(row: Row, root: Path) -> list[str]:
    """Say what is wrong with one row of the table of a project at ``root``."""
    found = []
    if row.is_left_out:
        if len(row.reason) < REASON_LENGTH_MIN:
            found.append(f"{row.id}: why not is not said")
        if row.tests:
            found.append(f"{row.id}: is not there, and yet has a test")
        if row.level.startswith("MUST") and row.where.startswith("not yet:"):
            found.append(f"{row.id}: a MUST that is not there yet")
        return found
    if not row.files:
        found.append(f"{row.id}: where it is done is not said")
    gone = [name for name in row.files if not (root / "src" / "estab" / name).is_file()]
    found += [f"{row.id}: there is no src/estab/{name}" for name in gone]
    for name in row.tests:
        file, _, function = name.partition("::")
        if not function.rpartition("::")[2].startswith("test_") or function not in names_in(root / file):
            found.append(f"{row.id}: there is no test {name}")
    if not row.tests and row.level.startswith("MUST"):
        found.append(f"{row.id}: a MUST without a test")
    if not row.tests and len(row.shown_by) < REASON_LENGTH_MIN:
        found.append(f"{row.id}: neither a test nor how else one can see it")
    return found


def stray_tags(rows: list[Row], root: Path) -> list[str]:
    """Find tags (``MUST-39``) in the code that are no requirement, or stand in a file that the row does not name."""
    files = {row.id: row.files for row in rows}
    tagged = [
        (tag, str(path.relative_to(root / "src" / "estab")))
        for path in sorted((root / "src" / "estab").rglob("*.py"))
        for tag in sorted(set(re.findall(r"\b(?:MUST|SHLD|MAY|REC)-\d+\b", path.read_text(encoding="utf-8"))))
    ]
    return [f"{name}: {tag}" for tag, name in tagged if name not in files.get(tag, [])]


def missing_rows(requirements: list[Mapping[str, str]], rows: list[Row]) -> list[str]:
    """Compare the table with the list of the RFC's requirements: same rows, same order, same words."""
    wanted = [(line["id"], line["level"], line["section"], line["requirement"]) for line in requirements]
    there = [(row.id, row.level, row.section, row.requirement) for row in rows]
    return [f"{row[0]}: not in the table as the RFC has it" for row in wanted if row not in there] + [
        f"{row[0]}: not a requirement, or with other words" for row in there if row not in wanted
    ] + ([] if wanted == there or sorted(wanted) != sorted(there) else ["the order is not the list's"])


def read_requirements() -> list[Mapping[str, str]]:
    """Read the list of the RFC's requirements."""
    with REQUIREMENTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_requirement_has_its_row() -> None:
    requirements = read_requirements()
    assert len(requirements) == 119
    assert missing_rows(requirements, read_table(TABLE.read_text(encoding="utf-8"))) == []


def test_every_row_names_code_and_tests_that_exist_or_says_why_not() -> None:
    rows = read_table(TABLE.read_text(encoding="utf-8"))
    assert [complaint for row in rows for complaint in complaints_about(row, ROOT)] == []


def test_every_tag_in_the_code_stands_in_a_file_that_its_row_names() -> None:
    assert stray_tags(read_table(TABLE.read_text(encoding="utf-8")), ROOT) == []


# --- the checks can fail


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src" / "estab" / "tcp").mkdir(parents=True)
    (tmp_path / "src" / "estab" / "tcp" / "output.py").write_text("# RFC 9293 MUST-1\n")
    (tmp_path / "src" / "estab" / "tcp" / "tcb.py").touch()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_tcp.py").write_text("def test_a(): ...\nclass TestB:\n    def test_c(self): ...\n")
    return tmp_path


def row(where: str, shown_by: str, level: str = "MUST", name: str = "MUST-1") -> Row:
    """Make a row of the table."""
    return Row(name, level, "3.1", "window field is unsigned", where, shown_by)


@pytest.mark.parametrize(
    "good",
    [
        row("`tcp/output.py`", "`tests/test_tcp.py::test_a`"),
        row("`tcp/output.py`, `tcp/tcb.py`", "`tests/test_tcp.py::test_a`"),
        row("not yet: nobody has written it, and the peer sees that", "", "SHOULD", "SHLD-9"),
        row("`tcp/output.py`", "`tests/test_tcp.py::TestB::test_c`, `tests/test_tcp.py::test_a`"),
        row("n/a: it is about the application, which is not ours to write", ""),
        row("`tcp/output.py`", "one sees it in every capture of the tour", "SHOULD", "SHLD-9"),
    ],
)
def test_a_good_row_is_let_through(project: Path, good: Row) -> None:
    assert complaints_about(good, project) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (row("`tcp/output.py`", "`tests/test_tcp.py::test_gone`"), "there is no test"),
        (row("`tcp/output.py`", "`tests/test_gone.py::test_a`"), "there is no test"),
        (row("`tcp/output.py`", "`tests/test_tcp.py::TestB`"), "there is no test"),
        (row("`tcp/output.py`", "to be seen by anybody who looks at it"), "a MUST without a test"),
        (row("`tcp/output.py`, `tcp/gone.py`", "`tests/test_tcp.py::test_a`"), "there is no src/estab/tcp/gone.py"),
        (row("somewhere", "`tests/test_tcp.py::test_a`", "SHOULD"), "where it is done is not said"),
        (row("n/a: no", ""), "why not is not said"),
        (row("not yet: nobody has written it, and the peer sees that", ""), "a MUST that is not there yet"),
        (row("`tcp/output.py`", "", "SHOULD"), "neither a test nor how else"),
    ],
)
def test_a_bad_row_is_found(project: Path, bad: Row, complaint: str) -> None:
    assert [complaint in found for found in complaints_about(bad, project)] == [True]


def test_a_tag_that_no_row_knows_is_found(project: Path) -> None:
    known = row("`tcp/output.py`", "`tests/test_tcp.py::test_a`")
    assert stray_tags([known], project) == []
    assert stray_tags([row("`tcp/tcb.py`", "")], project) == ["tcp/output.py: MUST-1"]
    assert stray_tags([], project) == ["tcp/output.py: MUST-1"]


def test_a_missing_an_extra_and_a_reworded_row_are_found() -> None:
    listed = [{"id": f"MUST-{n}", "level": "MUST", "section": "3.1", "requirement": "x"} for n in (1, 2)]
    rows = [Row("MUST-1", "MUST", "3.1", "x", "", ""), Row("MUST-2", "MUST", "3.1", "y", "", "")]
    assert missing_rows(listed, rows) == [
        "MUST-2: not in the table as the RFC has it", "MUST-2: not a requirement, or with other words",
    ]
    assert missing_rows(listed, rows[:1]) == ["MUST-2: not in the table as the RFC has it"]
    assert missing_rows(listed, [Row("MUST-2", "MUST", "3.1", "x", "", ""), rows[0]]) == ["the order is not the list's"]


def test_the_table_is_read_cell_by_cell() -> None:
    line = "| MUST-7 | MUST | 3.1 | survive it | `wire/tcp.py` | `tests/wire/test_tcp.py::test_x` |"
    assert read_table(f"| id | level |\n|---|---|\n{line}\n") == [
        Row("MUST-7", "MUST", "3.1", "survive it", "`wire/tcp.py`", "`tests/wire/test_tcp.py::test_x`")
    ]


# --- docs/security.md


SECURITY = ROOT / "docs" / "security.md"


def security_rows() -> list[str]:
    """Give the rows of the tables of attacks."""
    text = SECURITY.read_text(encoding="utf-8")
    attacks = text.partition("## Attacks")[2].partition("## Time per frame")[0]
    rows = [line for line in attacks.splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith(("| attack", "| ---"))]


@cache
def names_of_tests() -> frozenset[str]:
    """Give the names of all tests, wherever they stand."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return frozenset().union(*(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")) for path in files))


@pytest.mark.parametrize("row", security_rows())
def test_each_attack_of_the_security_page_is_shown_by_tests_that_exist(row: str) -> None:
    named = re.findall(r"`(test_\w+)`", row)
    assert named
    assert set(named) <= names_of_tests()
