"""Which scenario a sweep is about, in a form that reaches any worker: a file's text and the function in it.

``file.py::function`` names a function of a file, ``package.module:function`` one of an installed module, ``file.toml``
a scenario file. The text of a file travels with the target, so a worker on another machine needs estab and what it
imports or runs, but not the file itself.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from estab.trial.attempt import Scenario
from estab.trial.quiet import stand_in_streams
from estab.trial.scenario import Scenario as ScenarioFile
from estab.trial.scenario import ScenarioError
from estab.trial.text import read_text

__all__ = ["Target", "TargetError", "load", "read_target"]


class TargetError(ValueError):
    """There is no such scenario. The text says what is there."""


@dataclass(frozen=True, slots=True)
class Target:
    """A scenario by name. ``source`` is the file's text, empty for a function of an installed module."""

    name: str
    """As the user wrote it."""
    file: str
    module: str
    function: str
    source: str


def read_target(text: str) -> Target:
    """Read what names a scenario. ``TargetError`` if there is no such file, or it has no such function."""
    if text.endswith(".toml"):
        try:
            return Target(text, str(Path(text).resolve()), "", "", read_text(text, TargetError))
        except OSError as error:
            raise TargetError(f"{text!r}: can't read it: {error.strerror}") from None
    if "::" in text:
        path, _, function = text.rpartition("::")
        if not path.endswith(".py"):
            raise TargetError(f"{text!r}: {path!r} is not a Python file; write file.py::function")
        try:
            source = read_text(path, TargetError)
        except OSError as error:
            raise TargetError(f"{text!r}: can't read {path}: {error.strerror}") from None
        return Target(text, str(Path(path).resolve()), "", function, source)
    module, colon, function = text.partition(":")
    if not colon or not module or not function:
        raise TargetError(f"{text!r} names no scenario; write file.py::function, package.module:function or file.toml")
    return Target(text, "", module, function, "")


_loaded: dict[Target, Scenario] = {}


def load(target: Target) -> Scenario:
    """Find the function that a target names, in this process. ``TargetError`` if it is not there or fails to import."""
    found = _loaded.get(target)
    if found is None:
        found = _loaded[target] = _load(target)
    return found


def _load(target: Target) -> Scenario:
    if not target.function:
        try:
            return ScenarioFile.parse(target.source, target.name, str(Path(target.file).parent))
        except ScenarioError as error:
            raise TargetError(str(error)) from None
    try:
        with stand_in_streams():
            module = _module_of(target)
    except Exception as error:
        raise TargetError(f"{target.name!r}: importing it failed: {type(error).__name__}: {error}") from error
    function = getattr(module, target.function, None)
    if not callable(function):
        known = ", ".join(name for name, value in vars(module).items() if inspect.isfunction(value)
                          and value.__module__ == module.__name__)
        raise TargetError(f"{target.name!r}: there is no function {target.function!r}; there are: {known or 'none'}")
    parameters = [one for one in inspect.signature(function).parameters.values()
                  if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(parameters) != 1:
        raise TargetError(f"{target.name!r}: a scenario takes one argument, the network, and {target.function} takes "
                          f"{len(parameters)}")
    scenario: Scenario = function
    return scenario


def _module_of(target: Target) -> types.ModuleType:
    if target.module:
        return importlib.import_module(target.module)
    folder = str(Path(target.file).parent)
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"estab_target_{Path(target.file).stem}"
    module = types.ModuleType(name)
    module.__file__ = target.file
    sys.modules[name] = module
    exec(compile(target.source, target.file, "exec"), module.__dict__)
    return module
