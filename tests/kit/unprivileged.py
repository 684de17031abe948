"""Runs a function of a test module in a process without rights: as root, with another user's id and no capability.

One capability is left, to read any file: the interpreter and the sources may lie where only root can read. It allows
nothing on networks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["call_unprivileged"]

_CODE = """
import importlib, json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
os.chdir("/")
result = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])()
print("\\nRESULT " + json.dumps(result))
"""


def call_unprivileged(function: Callable[[], Any], timeout_s: float = 120) -> Any:
    """Call a function at the top of a module, and return what it returns, by way of JSON."""
    argv = [sys.executable, "-W", "error", "-c", _CODE, json.dumps(sys.path), function.__module__, function.__name__]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv") or "/usr/bin/setpriv"
        argv = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search",
                "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search", *argv]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("RESULT ")[2])
