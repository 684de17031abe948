"""Where a Python process is: the lines that its threads run, by py-spy (``estab[doctor]``), if that may look.

py-spy reads another process's memory: the same user's, if the system allows that (Yama's ``ptrace_scope``), or as root.
"""

from __future__ import annotations

import json
import shutil
import subprocess

__all__ = ["lines_of"]

_WITHIN_S = 3.0
_FRAMES = 2


def lines_of(pid: int) -> list[str]:
    """Return, for each thread, the innermost lines of its own code: ``app.py:17 in serve``; none without permission."""
    tool = shutil.which("py-spy")
    if tool is None:
        return []
    try:
        done = subprocess.run([tool, "dump", "--pid", str(pid), "--json", "--nonblocking"], capture_output=True,
                              timeout=_WITHIN_S, check=True)
        threads = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError, OSError):
        return []
    found = []
    for thread in threads:
        frames = [frame for frame in thread.get("frames", []) if "lib/python" not in frame.get("filename", "")]
        if frames:
            found.append(" < ".join(f"{frame['short_filename'] or frame['filename']}:{frame['line']} in {frame['name']}"
                                    for frame in frames[:_FRAMES]))
    return found
