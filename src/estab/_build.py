"""How this copy of estab was built: whether its core runs compiled or interpreted, and why."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

__all__ = ["core_kind", "core_line", "core_note"]

_CORE = ("estab.counters", "estab.wire.tcp", "estab.tcp.connection", "estab.host.engine")


def core_kind() -> str:
    """Say what the core runs as: ``compiled`` (all of it), ``interpreted``, or ``mixed`` (a build that went wrong)."""
    specs = [find_spec(name) for name in _CORE]
    # In a browser the core's modules are built into Python.
    ends = ("built-in", *EXTENSION_SUFFIXES)
    kinds = {spec is not None and (spec.origin or "").endswith(ends) for spec in specs}
    if len(kinds) > 1:
        return "mixed"
    return "compiled" if kinds == {True} else "interpreted"


def core_note() -> str:
    """Say why the core is as it is: what the build wrote down, or that this is a source tree."""
    path = Path(__file__).parent / "_core.txt"
    return path.read_text().strip() if path.exists() else "run from the source tree"


def core_line() -> str:
    """Say in a line what the core runs as and, if interpreted, why."""
    kind = core_kind()
    return f"estab: the core is {kind}" + ("" if kind == "compiled" else f": {core_note()}")


if __name__ == "__main__":
    print(core_line())
