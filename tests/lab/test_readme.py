"""The README's first program runs as it is printed there. Its ladder is the picture there (test_recording)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_first_program_draws_what_the_readme_shows() -> None:
    text = README.read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    program = found[1]
    # Its programs leave their sockets open; the host closes them, as the kernel does for a process that ended.
    command = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::ResourceWarning", "-c", program]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr == ""
    assert done.stdout.count("lost on the link by chance") == 1
    assert "fast retransmission" in done.stdout, "what was lost is sent again"
    assert "recv → b'hello'" in done.stdout, "and arrives"
    assert len([line for line in program.splitlines() if line.strip()]) == 10, "the README promises ten lines"
