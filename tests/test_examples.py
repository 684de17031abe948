"""What the README and the pages show is so: their Python runs, and prints what they say; their commands run.

The Python blocks of a page run one after the other in one process, on whatever estab is under test. A ``text`` block
right behind a Python block is what that one prints, to the letter.
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import estab
import estab.messages
from estab.sockets.socket import options
from tests.test_house import FLOORS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n?(?:\n*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)

_HAS_NAMESPACES: Final = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None
"""A page that opens a device takes a name which another run of the tests may have in this machine's namespace."""
_RUNNER = """
import contextlib, io, json, sys, warnings
warnings.filterwarnings("ignore", "real time: ")  # a machine that runs tests may be late
namespace = {"__name__": "__main__"}
printed = []
for code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def python_blocks(text: str) -> list[tuple[str, str | None]]:
    """Find the Python blocks of a page, each with what it is said to print."""
    return [(code, printed or None) for kind, code, printed in _BLOCK.findall(text) if kind == "python"]


def commands(text: str) -> list[list[str]]:
    """Find the ``estab`` commands of a page: lines ``$ estab …`` in console blocks."""
    lines = [line for kind, block, _ in _BLOCK.findall(text) if kind == "console" for line in block.splitlines()]
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ estab")]


def run(code: str, *arguments: str, given: str = "", folder: Path) -> str:
    """Run Python in a process of its own and give what it printed. As root it has a network namespace of its own."""
    apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-"] if _HAS_NAMESPACES else []
    result = subprocess.run(
        [*apart, sys.executable, "-W", "error", "-c", code, *arguments], input=given, capture_output=True, text=True,
        check=False, timeout=120, cwd=folder, env=os.environ | {"PYTHONPATH": os.pathsep.join(path_of_estab())},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def path_of_estab() -> list[str]:
    """Give the path on which this process finds its estab, so that another finds the same."""
    return [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


PAGES_WITH_PYTHON = [page for page in PAGES
                     if python_blocks(page.read_text(encoding="utf-8")) and ROOT / "docs" / "zh" not in page.parents]
"""A page in Chinese has the programs of its original: ``test_pages_of_learners.py``."""


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    blocks = python_blocks(page.read_text(encoding="utf-8"))
    printed = json.loads(run(_RUNNER, given=json.dumps([code for code, _ in blocks]), folder=tmp_path))
    for (_, said), seen in zip(blocks, printed, strict=True):
        if said is not None:
            assert seen == said


ALL_COMMANDS = sorted({shlex.join(words) for page in PAGES for words in commands(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_commands_on_a_page_run(command: str, tmp_path: Path) -> None:
    code = "import sys; from estab.cli.main import main; sys.exit(main())"
    assert run(code, *shlex.split(command)[1:], folder=tmp_path).strip()


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    there = {path.name for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")} | {"setup.py"}
    assert [name for name in re.findall(r"`(?:\w+/)*(\w+\.py)`", text) if name not in there] == []


def test_the_architecture_names_every_file_of_tcp() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in (ROOT / "src/estab/tcp").glob("*.py") if path.name != "__init__.py")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_architecture_shows_the_floors_as_they_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown, floor = {}, 0
    for number, rooms in re.findall(r"^\| *(\d*) \| ((?:`\w+/?` ?)+)\|", text, re.MULTILINE):
        floor = int(number or floor)
        shown.update({room.strip("`/"): floor for room in rooms.split()})
    assert shown == {room: floor for room, floor in FLOORS.items() if not room.startswith("_")}


def test_the_page_of_the_socket_names_every_option_that_there_is() -> None:
    text = (ROOT / "docs" / "sockets.md").read_text(encoding="utf-8")
    table = text[text.index("## Options"):text.index("## Ancillary data")]
    there = [options._NAMES[key].split(", ")[1] for key in options._OPTIONS]
    assert sorted(re.findall(r"\b(?:SO|TCP|UDP|IP|IPV6|MCAST)_[A-Z0-9_]+", table)) == sorted(there)


def test_the_first_page_leads_to_every_other() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.parent != ROOT}
    linked = set(re.findall(r"\]\(([\w/.-]+)\)", (ROOT / "docs/index.md").read_text(encoding="utf-8")))
    folders = ("misconceptions/", "reference/", "zh/")
    below = {page for page in pages if page.startswith(folders) and "index" not in page}
    assert sorted(pages - linked - below) == ["index.md", "zh/misconceptions/index.md"]


@pytest.mark.parametrize("folder", [ROOT / "docs/misconceptions", ROOT / "docs/zh/misconceptions"], ids=["en", "zh"])
def test_the_index_of_misconceptions_leads_to_each(folder: Path) -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (folder / "index.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(path.name for path in folder.glob("*.md") if path.name != "index.md")


@pytest.mark.parametrize("module", [estab, estab.messages], ids=lambda module: module.__name__)
def test_the_api_reference_has_every_public_name(module: ModuleType) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference").glob("*.md")))
    there = set(re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", pages, re.MULTILINE))
    assert sorted(set(module.__all__) - there - {"__version__"}) == []


NAMED_IN_REFERENCE = sorted({
    name for path in (ROOT / "docs/reference").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
})


@pytest.mark.parametrize("name", NAMED_IN_REFERENCE)
def test_what_the_api_reference_names_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


def test_what_is_imported_from_estab_is_what_it_says_it_has() -> None:
    assert sorted([*estab._ROOMS, "__version__"]) == sorted(estab.__all__)
    assert [name for name in estab.__all__ if getattr(estab, name) is None] == []


@pytest.mark.parametrize(
    ("text", "blocks", "words"),
    [
        ("```python\nx = 1\n```\n", [("x = 1\n", None)], []),
        ("```python\nprint(1)\n```\n\n```text\n1\n```\n", [("print(1)\n", "1\n")], []),
        ("```python\nx = 1\n```\n\nand then\n\n```text\n1\n```\n", [("x = 1\n", None)], []),
        ("```console\n$ estab tour close  # a chapter\n$ make test\n```\n", [], [["estab", "tour", "close"]]),
        ("```\nx = 1\n```\n", [], []),
    ],
)
def test_blocks_are_found(text: str, blocks: list[tuple[str, str | None]], words: list[list[str]]) -> None:
    assert python_blocks(text) == blocks
    assert commands(text) == words
