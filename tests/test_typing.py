"""What type checkers see of the package: a user's program passes strictly, and a user's mistakes are found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

import estab
from estab.lab.record.conditions import Conditions, LinkProperties, read_conditions
from estab.settings import Settings, read_config
from estab.tcp.config import NAMES, Config

TYPED = Path(__file__).parent / "typed"
PACKAGE = Path(estab.__file__).resolve().parent
PYRIGHT = shutil.which("pyright")
MISTAKES = {number for number, line in enumerate((TYPED / "mistakes.py").read_text().splitlines(), 1)
            if "# a mistake: " in line}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the user's programs to a folder of their own: the project's settings for mypy are not theirs."""
    for name in ("program.py", "mistakes.py"):
        shutil.copy(TYPED / name, tmp_path)
    return tmp_path


def mypys(folder: Path, name: str) -> tuple[set[int], str]:
    """Have mypy read a file. Returns the lines that it complains of, and what it says."""
    # Where the package is not installed, its sources are searched; an installed one is found by itself.
    searched = {} if PACKAGE.parent.name == "site-packages" else {"MYPYPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={folder / 'cache'}", name],
        cwd=folder, env={**os.environ, **searched}, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    assert re.search(rf"^(?!{name}:).*: error: ", done.stdout, re.M) is None, done.stdout
    return {int(line) for line in re.findall(rf"^{name}:(\d+): error: ", done.stdout, re.M)}, done.stdout


def pyrights(folder: Path, name: str) -> tuple[set[int], str]:
    """Have pyright read a file, strictly. Returns the lines that it complains of, and what it says."""
    assert PYRIGHT is not None
    settings = {"include": [name], "extraPaths": [str(PACKAGE.parent)], "typeCheckingMode": "strict"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run([PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "--project", str(folder)],
                          cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    told = json.loads(done.stdout)["generalDiagnostics"]
    assert {Path(each["file"]).name for each in told} <= {name}, done.stdout
    return {each["range"]["start"]["line"] + 1 for each in told}, done.stdout


needs_pyright = pytest.mark.skipif(PYRIGHT is None, reason="pyright is not installed (npm install --global pyright)")


def test_mypy_has_nothing_against_a_users_program(folder: Path) -> None:
    lines, told = mypys(folder, "program.py")
    assert lines == set(), told


def test_mypy_finds_a_users_mistakes(folder: Path) -> None:
    lines, told = mypys(folder, "mistakes.py")
    assert lines == MISTAKES, told


@needs_pyright
def test_pyright_has_nothing_against_a_users_program(folder: Path) -> None:
    lines, told = pyrights(folder, "program.py")
    assert lines == set(), told


@needs_pyright
def test_pyright_finds_a_users_mistakes(folder: Path) -> None:
    lines, told = pyrights(folder, "mistakes.py")
    assert lines == MISTAKES, told


# --- what is written twice is the same


def test_the_typed_settings_are_those_of_the_config() -> None:
    assert sorted(Settings.__annotations__) == sorted(name.removesuffix("_ns") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_settings_type_is_that_of_its_default(name: str) -> None:
    typed = get_type_hints(Settings)[name.removesuffix("_ns")]
    default = getattr(Config(), name)
    if name.endswith("_ns"):
        assert {*get_args(typed)} == {int, float, str}
        read_config({name.removesuffix("_ns"): f"{default}ns"})
    elif isinstance(default, str) and get_args(typed):
        for choice in get_args(typed):
            assert getattr(read_config({name: choice}), name) == choice
        with pytest.raises(ValueError, match=re.escape(f"is not one of {', '.join(get_args(typed))}")):
            read_config({name: "something else"})
    elif isinstance(default, tuple):
        assert get_origin(typed) is tuple
        assert get_args(typed) == tuple(map(type, default))
    else:
        assert typed is type(default)


def test_the_typed_properties_of_a_link_are_those_that_it_reads(tmp_path: Path) -> None:
    (tmp_path / "up.trace").write_text("1\n2\n")
    values = {"aqm": "codel", "mtu": 1400, "rate": "1Mbit", "queue": 5, "ecn_mark": 5, "delay": "1ms", "jitter": "1ms",
              "trace": str(tmp_path / "up.trace"), "queue_of": "host"}
    for name in LinkProperties.__annotations__:
        assert read_conditions(Conditions(), "a", True, {name: values.get(name, 0.5)}) != Conditions()
    with pytest.raises(TypeError, match="a link has no property 'latency'"):
        read_conditions(Conditions(), "a", True, {"latency": 1})
