"""The example of a link of one's own does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.test_examples import path_of_estab

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "websocket_link.py"


def test_a_page_is_fetched_over_a_link_of_websocket_messages() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path_of_estab())})
    assert (done.stdout, done.returncode) == ("over a WebSocket\n", 0), done.stderr
