"""The examples tell what ``docs/programs.md`` says they do, to the hundredth of a second."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_examples import path_of_estab

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
TOLD = re.findall(r"^```console\n\$ python (examples/\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_tells_of_both() -> None:
    assert [name for name, _ in TOLD] == ["examples/redis_without_power.py", "examples/forgetful_firewall.py"]


@pytest.mark.parametrize(("name", "said"), TOLD)
def test_an_example_prints_what_the_page_says(name: str, said: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", ROOT / name], capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path_of_estab())})
    assert result.stderr == ""
    assert result.stdout == said
