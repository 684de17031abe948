"""CPython's own tests of sockets, against estab: a part that takes seconds. ``tools/cpython_tests.py`` runs all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import estab

ROOT = Path(__file__).resolve().parent.parent
SUITES = [
    "socket-tcp", "socket", "socket-signals", "asyncio-streams", "asyncio-server", "socketserver",
    "socketserver-signals", "httpservers", "smtplib", "selectors",
]


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="what is left out is listed for the tests of Python 3.11")
@pytest.mark.skipif(importlib.util.find_spec("test.test_socket") is None, reason="this Python came without its tests")
def test_cpythons_own_tests_pass_against_estab(tmp_path: Path) -> None:
    sources = str(Path(estab.__file__).parent.parent)
    command = [sys.executable, str(ROOT / "tools" / "cpython_tests.py"), *SUITES]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": sources}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if " passed" in line] == SUITES
