"""The stories of ``examples/`` print what their page says, to the letter, and stay short.

``python tools/tutorial.py`` writes what they print now into the page.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
TOLD = re.findall(r"^```console\n\$ python examples/(\w+)\.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES_MAX = 60


@pytest.mark.parametrize(("name", "said"), TOLD, ids=[name for name, _ in TOLD])
def test_a_story_prints_what_the_page_says(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("name", [name for name, _ in TOLD])
def test_a_story_is_short(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= LINES_MAX


def test_the_page_leads_to_every_example() -> None:
    assert sorted(set(re.findall(r"\((\w+\.py)\)", PAGE))) == sorted(path.name for path in FOLDER.glob("*.py"))
