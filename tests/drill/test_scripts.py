"""The scripts beside this file, grouped by state and rule, in every IP version that their names allow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from estab.drill.language.parser import parse
from estab.drill.runner import as_expected, ip_versions_of, run

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.pkt"))
FREEBSD = Path(__file__).parent / "scripts-freebsd"
OF_FREEBSD = sorted(str(path.relative_to(FREEBSD)) for path in FREEBSD.rglob("*.pkt"))
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


@pytest.mark.parametrize("name", OF_FREEBSD)
def test_a_script_in_freebsd_s_dialect_is_fulfilled_by_the_profile_freebsd(name: str) -> None:
    for version in ip_versions_of(name):
        result = as_expected(run(FREEBSD / name, ip_version=version, profile="freebsd"))
        assert result.is_ok, f"{version}: {result}"
        assert result.unknown_sysctls == ()
    assert (FREEBSD / name).read_text(encoding="utf-8").startswith("// ")


def test_freebsd_s_scripts_go_through_every_state() -> None:
    groups = Counter(Path(name).parts[0] for name in OF_FREEBSD)
    assert len(OF_FREEBSD) >= 100
    assert {*STATES, "established"} <= groups.keys()
    assert min(groups.values()) >= 7
