"""The pages of doctor and explain are what their commands write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_parts_of_the_pages_are_current() -> None:
    done = subprocess.run([sys.executable, "tools/doctor_page.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
