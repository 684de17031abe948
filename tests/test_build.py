"""What a build gives: the interpreted files, or, where that is asked for, a compiled core or the reason why not.

Nothing here compiles: whether the core does is what ``ESTAB_CORE=installed`` and CI's wheel show.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import estab
from estab import _build

ROOT = Path(__file__).resolve().parent.parent
IN_A_BUILD = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "src")

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the source tree")


def build_wheel(folder: Path, **environment: str) -> tuple[int, str, list[Path]]:
    """Build a wheel from a copy of the sources: gives the exit code, what was said, and the wheels."""
    copy = folder / "copy"
    copy.mkdir()
    for name in IN_A_BUILD:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so"))
        else:
            shutil.copy(source, copy / name)
    command = [
        sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('../wheels')",
    ]
    (folder / "wheels").mkdir()
    variables = {key: value for key, value in os.environ.items() if key not in ("ESTAB_COMPILE", "PYTHONPATH")}
    result = subprocess.run(
        command, cwd=copy, env=variables | environment, capture_output=True, text=True, check=False, timeout=120,
    )
    return result.returncode, result.stdout + result.stderr, sorted((folder / "wheels").glob("*.whl"))


def note_in(wheel: Path) -> str:
    """Read why the core in a wheel is as it is."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("estab/_core.txt").decode().strip()


def test_without_a_working_compiler_the_wheel_is_pure_and_says_why_in_one_line(tmp_path: Path) -> None:
    code, said, wheels = build_wheel(tmp_path, ESTAB_COMPILE="auto", CC="false")
    assert code == 0, said
    assert [wheel.name for wheel in wheels] == [f"estab-{estab.__version__}-py3-none-any.whl"]
    lines = [line for line in said.splitlines() if line.startswith("estab: ")]
    assert lines == [f"estab: the core stays interpreted, several times slower: {note_in(wheels[0])}"]
    assert note_in(wheels[0]).startswith("false can't compile against Python's headers")


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, said, wheels = build_wheel(tmp_path, ESTAB_COMPILE="auto", CC="no-such-compiler")
    assert code == 0, said
    assert note_in(wheels[0]) == "no C compiler (no-such-compiler is not installed)"


@pytest.mark.parametrize("environment", [{}, {"ESTAB_COMPILE": "0"}])
def test_nothing_is_compiled_unless_asked_for_and_the_wheel_says_how(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    code, said, wheels = build_wheel(tmp_path, CC="no-such-compiler", **environment)
    assert code == 0, said
    assert "estab: " not in said
    assert wheels[0].name.endswith("-py3-none-any.whl")
    assert note_in(wheels[0]) == "compiling was not asked for; ESTAB_COMPILE=1 pip install does"


@pytest.mark.parametrize(("wish", "tools"), [("", []), ("0", []), ("1", ["mypy[mypyc]", "mypy_extensions", "librt"]),
                                             ("auto", ["mypy[mypyc]", "mypy_extensions", "librt"])])
def test_only_a_build_that_compiles_asks_for_the_compilers_parts(tmp_path: Path, wish: str, tools: list[str]) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools.build_meta as b; print(b.get_requires_for_build_wheel())"],
        cwd=tmp_path, env={**os.environ, "ESTAB_COMPILE": wish}, capture_output=True, text=True, check=True,
    )
    asked = ast.literal_eval(done.stdout.splitlines()[-1])
    assert [text.partition(">")[0] for text in asked] == tools


def test_estab_compile_1_fails_where_the_core_does_not_compile(tmp_path: Path) -> None:
    code, said, wheels = build_wheel(tmp_path, ESTAB_COMPILE="1", CC="false")
    assert code != 0
    assert "ESTAB_COMPILE=1, but the core does not compile: false can't compile" in said
    assert wheels == []


def test_estab_compile_takes_no_other_word(tmp_path: Path) -> None:
    code, said, _ = build_wheel(tmp_path, ESTAB_COMPILE="perhaps")
    assert code != 0
    assert "ESTAB_COMPILE='perhaps': 0 (interpreted), 1 (compiled, or fail) or auto" in said


def test_a_wheel_holds_every_source_the_types_and_the_licence(tmp_path: Path) -> None:
    _, said, wheels = build_wheel(tmp_path, ESTAB_COMPILE="0")
    with zipfile.ZipFile(wheels[0]) as archive:
        names = set(archive.namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "estab").rglob("*.py")}
    assert sources - names == set(), said
    assert "estab/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_core_says_what_it_is() -> None:
    assert _build.core_kind() in ("compiled", "interpreted")
    assert (_build.core_kind() == "compiled") == (_build.core_note() == "compiled")


def test_a_core_that_is_compiled_in_part_is_called_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build, "_CORE", ("librt.strings", "estab.units"))
    assert _build.core_kind() == "mixed"


def test_a_release_has_a_compiled_wheel_for_each_python_that_is_promised_and_a_pure_one() -> None:
    recipe = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    description = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)$", "\n".join(description["classifiers"]), re.M)
    assert f">={promised[0]}" == description["requires-python"]
    built = re.search(r'CIBW_BUILD: "(.*)"', recipe)
    assert built is not None
    assert built[1].split() == [f"cp{version.replace('.', '')}-*" for version in promised]
    assert f"python: {json.dumps(promised)}" in recipe
    assert 'ESTAB_COMPILE: "0"' in recipe
    assert "CIBW_ENVIRONMENT: ESTAB_COMPILE=1 ESTAB_OPTIMIZE=3" in recipe
