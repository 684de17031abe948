"""The tables of docs/messages/heartbeats.md are what the lab measures: virtual times, and what an idle hour costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"\d+(?= s `)|(?<=\| )\d+(?= \|)")


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.slow
def test_the_page_says_what_the_lab_measures() -> None:
    """To the letter but for the numbers, which may be off by a second, or by a twentieth."""
    tool = ROOT / "tools" / "notice_times.py"
    command = [sys.executable, str(tool)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    page = rows((ROOT / "docs" / "messages" / "heartbeats.md").read_text(encoding="utf-8"))
    measured = rows(result.stdout)
    assert len(measured) == 19
    said = {NUMBER.sub("#", line): line for line in page}
    for line in measured:
        assert NUMBER.sub("#", line) in said, f"the page says nothing like {line}"
        numbers = [int(number) for number in NUMBER.findall(line)]
        assert numbers == [pytest.approx(int(n), rel=0.05, abs=1) for n in NUMBER.findall(said[NUMBER.sub("#", line)])]
