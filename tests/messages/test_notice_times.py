"""The tables of docs/messages/heartbeats.md are what the lab measures: virtual times, and what an idle hour costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_page_says_what_the_lab_measures() -> None:
    tool = ROOT / "tools" / "notice_times.py"
    command = [sys.executable, str(tool)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    page = (ROOT / "docs" / "messages" / "heartbeats.md").read_text(encoding="utf-8")
    tables = result.stdout.strip().split("\n\n")
    assert [table for table in tables if table not in page] == []
    assert len(tables) == 2
