"""The scripts beside this file, grouped by state and rule, in every IP version that their names allow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from estab.drill.language.parser import parse
from estab.drill.runner import ip_versions_of, run

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.pkt"))
STATES = (
    "closed", "listen", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "close-wait", "closing", "last-ack",
    "time-wait",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_stack_does_as_the_script_says(name: str) -> None:
    for version in ip_versions_of(name):
        result = run(FOLDER / name, ip_version=version)
        assert result.is_ok, f"{version}: {result}"


def test_there_are_scripts_for_every_state() -> None:
    groups = Counter(Path(name).parts[0] for name in SCRIPTS)
    assert len(SCRIPTS) >= 150
    assert set(STATES) <= groups.keys()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_begins_by_saying_which_rule_it_is_about(name: str) -> None:
    source = (FOLDER / name).read_text(encoding="utf-8")
    assert source.startswith("// ")
    assert parse(source, name).events
