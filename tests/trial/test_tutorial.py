"""``docs/testing.md`` is played from first line to last: its files are written, its commands run and compared.

``python tools/tutorial.py`` writes what the commands print now into the page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COLUMNS = 100
_VARIES = (
    (re.compile(r"\d+(\.\d+)?s\b(?=\)|$| call| =)"), "<real time>"),
    (re.compile(r"\(estab .*\)"), "(<fingerprint>)"),
    (re.compile(r"in \d+\.\d+s"), "in <real time>"),
    (re.compile(r"/\S*/(?=\.estab|test_shop)"), ""),
    (re.compile(r"\.\.\. .*$", re.MULTILINE), "..."),
    (re.compile(r"^(\.|F) +\[", re.MULTILINE), r"\1 ["),
)


def test_the_tutorial_is_so(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    shown = played = ""
    for kind, name, text in blocks:
        if kind != "console":
            (tmp_path / name).write_text(text, encoding="utf-8")
            continue
        command = text.partition("\n")[0].removeprefix("$ ")
        shown += text
        played += f"$ {command}\n{play(command, tmp_path)}"
    assert steady(played) == steady(shown)
    assert len(blocks) >= 8
    (tmp_path / "shop.py").write_text(next(text for _, name, text in blocks if name == "shop.py"), encoding="utf-8")
    assert "1 failed" in play("pytest -q test_late_order.py", tmp_path), "without its fix"


def play(command: str, folder: Path) -> str:
    """Run a command of the page and give what it printed, as on a terminal."""
    words = shlex.split(command)
    program = {
        "pytest": ["-m", "pytest", "-p", "estab.pytest_plugin", "-p", "no:cacheprovider"],
        "python": [], "estab": ["-m", "estab"],
    }[words[0]]
    source = Path(sys.modules["estab"].__file__ or "").parent.parent
    result = subprocess.run(
        [sys.executable, *program, *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", check=False, timeout=120, cwd=folder, env=os.environ | {
            "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]), "COLUMNS": str(COLUMNS),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1",
        })
    return result.stdout


def steady(text: str) -> str:
    """Take out of an output what differs from run to run: real times, versions, places."""
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return text
