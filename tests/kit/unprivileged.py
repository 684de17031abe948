"""Runs a function of a test module in a process without rights: as root, with another user's id and no capability.

One capability is left, to read any file: the sources may lie where only root can read. It allows nothing on networks.
In a user namespace of its own a process does not have it, so what other users can't read (the interpreter, the sources)
is mounted where they can, in a mount namespace that ends with the process.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["call_unprivileged", "unprivileged"]

_PATH = "import json, os, sys; sys.path[:0] = json.loads(sys.argv.pop(1))\n"
_CODE = """
import importlib, json, os, sys
os.chdir("/")
result = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
print("\\nRESULT " + json.dumps(result))
"""
_Command: TypeAlias = tuple[list[str], dict[str, str]]
_NO_RIGHTS = ("--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search",
              "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search")


def call_unprivileged(function: Callable[[], Any], timeout_s: float = 120) -> Any:
    """Call a function at the top of a module, and return what it returns, by way of JSON."""
    with unprivileged(_CODE, function.__module__, function.__name__) as (argv, env):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("RESULT ")[2])


@contextmanager
def unprivileged(code: str, *words: str, rights: Sequence[str] = _NO_RIGHTS) -> Iterator[_Command]:
    """Give the command and the environment that run Python code without rights, with these words in ``sys.argv``.

    ``rights`` are what ``setpriv`` is told, if this is root.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        python, path, mounts = sys.executable, list(map(os.path.abspath, sys.path)), ""
        if os.geteuid() == 0 and not all(map(_is_readable, [python, *path])):
            (python, *path), mounts = _mounted([os.path.realpath(python), *path], Path(folder))
        argv = [python, "-W", "error", "-c", _PATH + code, json.dumps(path), *words]
        if os.geteuid() == 0:
            argv = [shutil.which("setpriv") or "/usr/bin/setpriv", *rights, *argv]
        if mounts:
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{mounts}exec {shlex.join(argv)}"]
        yield argv, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/",
                     "LD_LIBRARY_PATH": f"{Path(python).parent.parent}/lib"}


def _is_readable(name: str) -> bool:
    """Tell whether other users can read a file or folder."""
    path = Path(name).absolute()
    if not path.exists():
        return True
    return all(one.stat().st_mode & stat.S_IXOTH for one in path.parents) and bool(path.stat().st_mode & stat.S_IROTH)


def _mounted(paths: list[str], folder: Path) -> tuple[list[str], str]:
    """Give paths that others can read, and the commands that mount there what they can't."""
    places: dict[str, Path] = {}
    found = []
    for path in paths:
        top = sys.base_prefix if Path(path).is_relative_to(sys.base_prefix) else path
        if Path(path).exists() and not _is_readable(path):
            place = places.setdefault(top, folder / str(len(places)))
            path = str(place / Path(path).relative_to(top))
        found.append(path)
    for place in places.values():
        place.mkdir()
    return found, "".join(f"mount --bind {shlex.quote(top)} {place}; " for top, place in places.items())
