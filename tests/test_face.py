"""The package's own face: what ``dir`` shows, and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import estab

PLUGIN_US_MAX = 10_000


def loaded_by(code: str) -> list[str]:
    """List the modules of estab that a fresh interpreter has loaded after some code."""
    asked = f"import sys\n{code}\nprint(*(name for name in sys.modules if name.split('.')[0] == 'estab'))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_dir_shows_what_is_public_and_nothing_else() -> None:
    assert dir(estab) == sorted(estab.__all__)
    for name in estab.__all__:
        assert getattr(estab, name) is not None
    # (pytest itself puts names with an @ into a package whose plugin it loads.)
    known = {*estab.__all__, *loaded_by_itself()}
    assert [name for name in vars(estab) if name[0] not in "_@" and name not in known] == []


def loaded_by_itself() -> set[str]:
    """Name what stands in the package without being shown: rooms that were imported, and what Python puts there."""
    return {name.split(".")[1] for name in sys.modules if name.startswith("estab.")} | {"annotations", "TYPE_CHECKING"}


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse(Path(estab.__file__).read_text())
    typed = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
             and node.module.startswith("estab.") for alias in node.names]
    assert sorted(typed) == sorted(estab.__all__)
    assert sorted([*estab._ROOMS, "__version__"]) == sorted(estab.__all__)


def test_importing_the_package_loads_nothing_behind_it() -> None:
    assert sorted(loaded_by("import estab")) == ["estab", "estab._version"]


def test_a_network_loads_nothing_of_real_time() -> None:
    loaded = loaded_by("import estab; estab.Network().host('a')")
    assert [name for name in loaded if name.split(".")[1:2] in (["realtime"], ["stack"], ["devices"], ["cli"])] == []
    assert "estab.lab.network" in loaded


def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    loaded = loaded_by("import pytest; import estab.pytest_plugin")
    assert {name.split(".")[1] for name in loaded if "." in name} <= {"_version", "pytest_plugin"}


def test_the_plugin_costs_a_run_that_does_not_use_it_less_than_10_ms() -> None:
    """By the interpreter's own clock, the best of some: pytest itself is loaded in any case."""
    costs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import pytest; import estab.pytest_plugin"],
                              capture_output=True, text=True, check=True)
        found = re.search(r"\|\s+(\d+) \| estab\.pytest_plugin$", done.stderr, re.M)
        assert found is not None
        costs.append(int(found[1]))
    assert min(costs) < PLUGIN_US_MAX
