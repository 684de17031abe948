"""Many connections at once, in small: bench/stacks/soak.py does the same with 100,000."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import estab
from tests.kit.namespaces import requires_kernel

pytestmark = requires_kernel

ROOT = Path(__file__).resolve().parents[2]


def test_idle_and_busy_connections_are_held_without_growth() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(estab.__file__).parent.parent)}
    done = subprocess.run([sys.executable, str(ROOT / "bench/stacks/soak.py"), "--idle", "1000", "--busy", "100",
                           "--seconds", "5"], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,000 idle and 100 busy connections" in done.stdout
