"""Modules of a program's own, for libraries that keep one object for a process: a reactor, an event loop, a registry.

Programs of all hosts share ``sys.modules``. The packages that a program wants for itself are removed from it while that
program runs, and imported again by it; while other programs run, they are as before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

__all__ = ["FreshModules"]


class FreshModules:
    """The modules of some packages, as one program has them. ``enter`` before it runs, ``leave`` after it."""

    def __init__(self, packages: Iterable[str]) -> None:
        if isinstance(packages, str):
            raise TypeError(f"fresh: give a tuple of names of packages, ({packages!r},)")
        self.packages = tuple(packages)
        for name in self.packages:
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"fresh: {name!r} is not the name of a package; a part of one can't be had fresh")
            if name in sys.builtin_module_names or name in ("estab", "sys", "threading", "socket", "time", "asyncio"):
                raise ValueError(f"fresh: {name!r} is of Python or estab, and all programs share it")
        self._own: dict[str, ModuleType] = {}
        self._others: dict[str, ModuleType] = {}

    def enter(self) -> None:
        """Replace the shared modules by the program's own."""
        self._others = self._take()
        sys.modules.update(self._own)

    def leave(self) -> None:
        """Restore the shared modules."""
        self._own = self._take()
        sys.modules.update(self._others)

    def _take(self) -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in self.packages]
        return {name: sys.modules.pop(name) for name in names}
