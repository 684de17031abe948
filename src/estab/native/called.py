"""A Python function in a fresh interpreter on a spawned host: how it gets there, and how its result comes back.

Functions are pickled by name, as ``multiprocessing`` does: the interpreter there imports the module that defines them.
A function of the script that runs (``__main__``) is found by running the script under another name.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, Final

from estab.native.process import Driver, Process, ProcessFailedError

__all__ = ["PythonProcess", "ensure_not_loading", "pickled", "python_argv"]

_RESULT_FD: Final = 3
_CODE: Final = ("import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
                "from estab.native.called import main; main()")


def python_argv() -> list[str]:
    """Give the command that runs a pickled function."""
    return [sys.executable, "-c", _CODE, json.dumps(sys.path)]


def pickled(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Write a call down. ``TypeError`` says why it can't be."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None) if getattr(function, "__module__", "") == "__main__" else None
    try:
        call = pickle.dumps((function, args))
    except Exception as error:
        raise TypeError(f"spawn_python: {function!r} with {args!r} can't be sent to another process ({error}); define "
                        "the function at the top of a module, and give it plain values") from None
    return pickle.dumps((path and os.path.abspath(path), call))


class PythonProcess(Process):
    """A Python function on a spawned host. ``Host.spawn_python`` makes it."""

    def __init__(self, number: int, host: str, argv: list[str], driver: Driver, function: Callable[..., Any], *,
                 is_quiet: bool) -> None:
        super().__init__(number, host, argv, driver, is_quiet=is_quiet)
        self._function = getattr(function, "__name__", "function")

    @property
    def name(self) -> str:
        """The function's name."""
        return self._function

    def result(self, timeout: int | float | str | None = None) -> Any:
        """Wait until the function has returned, and give what it returned, or raise what it raised."""
        data = self.await_result(timeout)
        if not data:
            raise ProcessFailedError(f"{self} gave no result{self._tail()}")
        is_error, value, text = pickle.loads(data)
        if not is_error:
            return value
        if isinstance(value, BaseException):
            value.add_note(f"raised by {self}:\n{text}")
            raise value
        raise ProcessFailedError(f"{self} raised:\n{text}")


def main() -> None:
    """Be the interpreter on the host: call what stands on standard input, and give the result back."""
    path, call = pickle.loads(sys.stdin.buffer.read())
    is_error = False
    text = ""
    try:
        if path:
            _load_main(path)
        function, args = pickle.loads(call)
        value = function(*args)
    except BaseException as error:
        is_error, value, text = True, error, traceback.format_exc()
    try:
        data = pickle.dumps((is_error, value, text))
    except Exception:
        data = pickle.dumps((True, None, text or f"{value!r} can't be sent to another process"))
    with os.fdopen(_RESULT_FD, "wb") as file:
        file.write(data)
    sys.exit(int(is_error))


def _load_main(path: str) -> None:
    """Run the script that defines the function, under the name that ``multiprocessing`` uses."""
    import runpy

    module = types.ModuleType("__mp_main__")
    _loading.append(path)
    module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))
    _loading.clear()
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def ensure_not_loading() -> None:
    """Raise where a script that is read for one of its functions begins a network of its own."""
    if _loading:
        raise RuntimeError(f"{_loading[0]} is run again in the spawned interpreter, which looks for a function in it; "
                           'put what spawns hosts under  if __name__ == "__main__":')


_loading: Final[list[str]] = []
"""The script that is being read."""
