"""What ``docs/compare-test-tools.md`` says of estab and of mocks is so: ``bench/three_bugs.py`` finds what it finds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bugs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    module = importlib.import_module("three_bugs")
    monkeypatch.setattr(module, "SEEDS", 3)
    return module


@pytest.mark.parametrize(("name", "sentence"), [
    ("lost update", "seed 1: AssertionError"), ("lost response", "seed 0: ConnectionResetError"),
    ("half-open", "seed 0: the client hangs"),
])
def test_estab_finds_a_bug(bugs: ModuleType, name: str, sentence: str) -> None:
    assert bugs.CASES[f"estab    {name}"][1](False).startswith(sentence)


@pytest.mark.parametrize("name", ["lost response", "half-open"])
def test_estab_passes_with_the_fix(bugs: ModuleType, name: str) -> None:
    assert bugs.CASES[f"estab    {name}"][1](True) == ""


@pytest.mark.parametrize("name", ["lost update", "lost response", "half-open"])
def test_mocks_pass_with_the_bug(bugs: ModuleType, name: str) -> None:
    assert bugs.CASES[f"mock     {name}"][1](False) == ""
