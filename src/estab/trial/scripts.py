"""Script files as programs of hosts, each with its own arguments, environment, ``__main__`` and prefix on its output.

``sys.argv``, ``os.environ``, ``sys.modules["__main__"]`` and ``sys.stdout`` are one to a process. Exactly one program
runs at a time, so they are exchanged whenever another one begins to run (``enter``, ``leave``).
"""

from __future__ import annotations

import importlib
import io
import os
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

__all__ = ["Prefixed", "Script", "ScriptState", "find_function", "script_path"]


class Prefixed(io.TextIOBase):
    """A stream that writes each line of a program with the host's name before it."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Write text; a line that is not complete yet gets its prefix at once, and the rest without one."""
        for line in text.splitlines(keepends=True):
            if self._is_at_start:
                self._stream.write(self._prefix)
            self._stream.write(line)
            self._is_at_start = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._stream.flush()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def isatty(self) -> bool:
        """Say that it is no terminal: programs colour nothing."""
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the original stream."""
        return self._stream.encoding


class ScriptState:
    """What there is only one of in a process, for one script."""

    def __init__(self, argv: list[str], environ: dict[str, str], main: types.ModuleType, host: str) -> None:
        self._argv = argv
        self._environ = {**os.environ, **environ}
        self._main = main
        self._prefix = f"{host}| "
        self._streams: tuple[TextIO, TextIO] | None = None
        self._outside: tuple[list[str], dict[str, str], types.ModuleType | None, TextIO, TextIO] | None = None

    def enter(self) -> None:
        """Make them the process's."""
        if self._outside is not None:
            return
        self._outside = (sys.argv, dict(os.environ), sys.modules.get("__main__"), sys.stdout, sys.stderr)
        if self._streams is None:
            self._streams = (Prefixed(sys.stdout, self._prefix), Prefixed(sys.stderr, self._prefix))  # type: ignore[assignment]
        sys.argv = self._argv
        _set_environ(self._environ)
        sys.modules["__main__"] = self._main
        assert self._streams is not None
        sys.stdout, sys.stderr = self._streams

    def leave(self) -> None:
        """Restore what was there, and keep the script's changes for it."""
        if self._outside is None:
            return
        self._argv, self._environ = sys.argv, dict(os.environ)
        self._streams = (sys.stdout, sys.stderr)
        argv, environ, main, stdout, stderr = self._outside
        self._outside = None
        sys.argv = argv
        _set_environ(environ)
        if main is not None:
            sys.modules["__main__"] = main
        sys.stdout, sys.stderr = stdout, stderr


class Script:
    """A script file to be run as a program: ``host.run(Script("app.py", ("--n", "5")))``."""

    def __init__(self, path: str, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        self.path = path
        self.arguments = arguments
        self.env = env or {}

    @property
    def name(self) -> str:
        """What the program is called: the file's name."""
        return Path(self.path).name

    def own_on(self, host: str) -> ScriptState:
        """Make what is exchanged whenever the script runs or another program does. A script that runs again is new."""
        main = types.ModuleType("__main__")
        main.__file__ = str(Path(self.path).resolve())
        return ScriptState([self.path, *self.arguments], self.env, main, host)

    def __call__(self) -> None:
        """Run the file as ``__main__``, which is the script's own while it is a program that runs."""
        folder = str(Path(self.path).resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        source = Path(self.path).read_bytes()
        exec(compile(source, self.path, "exec"), sys.modules["__main__"].__dict__)


def script_path(text: str) -> str | None:
    """Return the file of a program's text like ``app.py --n 5``, as it is written; ``None`` if that is a function."""
    words = shlex.split(text)
    return words[0] if words and words[0].endswith(".py") else None


def find_function(text: str) -> Callable[[], object]:
    """Find ``package.module:function``. ``ImportError``, ``AttributeError``, ``TypeError``."""
    module, _, name = text.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise TypeError(f"{text} is not a function")
    function: Callable[[], object] = found
    return function


def _set_environ(wanted: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
