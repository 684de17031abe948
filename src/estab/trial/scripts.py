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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

__all__ = ["Prefixed", "Script", "ScriptState", "find_function", "is_of_output", "moved_run", "program_of",
           "script_path"]

_OF_OUTPUT: Final = "raised by the output of the process, which is that of all programs"


class Prefixed(io.TextIOBase):
    """A stream that writes each line of a program with the host's name before it."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Write text; a line that is not complete yet gets its prefix at once, and the rest without one."""
        with _marked():
            for line in text.splitlines(keepends=True):
                if self._is_at_start:
                    self._stream.write(self._prefix)
                self._stream.write(line)
                self._is_at_start = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with _marked():
            self._stream.flush()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    @property
    def buffer(self) -> io.RawIOBase:
        """A stream for bytes, which are text of the stream's encoding."""
        return _Bytes(self)

    def reconfigure(self, **_: object) -> None:
        """Change nothing: lines of several programs stand on one stream."""

    def fileno(self) -> int:
        """Return the number of the original stream's file."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Say that it is no terminal: programs colour nothing."""
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the original stream."""
        return self._stream.encoding


class _Bytes(io.RawIOBase):
    """The bytes of a ``Prefixed``."""

    def __init__(self, text: Prefixed) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write bytes."""
        piece = bytes(data)
        self._text.write(piece.decode(self._text.encoding or "utf-8", "backslashreplace"))
        return len(piece)

    def flush(self) -> None:
        if not self.closed:
            self._text.flush()


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


@contextmanager
def _marked() -> Iterator[None]:
    """Mark what the process's output raises: a reader that went away, a full disk."""
    try:
        yield
    except OSError as error:
        error.add_note(_OF_OUTPUT)
        raise


def is_of_output(error: BaseException) -> bool:
    """Tell whether the process's output raised an error, which is then no failure of the program that met it."""
    return _OF_OUTPUT in getattr(error, "__notes__", ())


def script_path(text: str) -> str | None:
    """Return the file of a program's text like ``app.py --n 5``, as it is written; ``None`` if that is a function."""
    words = shlex.split(text)
    return words[0] if words and words[0].endswith(".py") else None


def find_function(text: str, folder: str = ".") -> Callable[[], object]:
    """Find ``package.module:function``, in ``folder`` too. ``ImportError``, ``AttributeError``, ``TypeError``."""
    module, _, name = text.partition(":")
    here = str(Path(folder).resolve())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise TypeError(f"{text} is not a function")
    function: Callable[[], object] = found
    return function


def program_of(text: str, folder: str, env: Mapping[str, str] | None = None) -> Script | Callable[[], object]:
    """Find what a program's text means: a script with arguments, or a function. ``ValueError``."""
    words = shlex.split(text)
    if not words:
        raise ValueError("run: an empty text names no program")
    if words[0].endswith(".py"):
        path = Path(folder, words[0])
        if not path.is_file():
            raise ValueError(f"run: there is no file {path}")
        return Script(str(path), tuple(words[1:]), dict(env or {}))
    if ":" in words[0] and len(words) == 1:
        try:
            return find_function(words[0], folder)
        except (ImportError, AttributeError, TypeError) as error:
            raise ValueError(f"run: {text!r}: {error}") from None
    script = next((text[:end] for end in range(len(text), 0, -1)
                   if text[:end].endswith(".py") and Path(folder, text[:end]).is_file()), "")
    if script:
        raise ValueError(f"run: {text!r}: a file's name with spaces stands in quotes: "
                            f"{shlex.quote(script) + text[len(script):]!r}")
    raise ValueError(f"run: {text!r} is neither a script like 'app.py --n 5' nor a function like "
                        "'package.module:main'")


def moved_run(text: str, folder: str) -> str:
    """Write what a program runs so that a script is found from elsewhere."""
    words = shlex.split(text)
    if not words or not words[0].endswith(".py"):
        return text
    return shlex.join([os.path.join(folder, words[0]), *words[1:]])


def _set_environ(wanted: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
