"""Names in modules by which a replaced function is kept since before the replacement: ``from time import sleep``.

Compiled with the core: they are some seventy for asyncio alone, and each run exchanges all of them twice.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EarlyNames"]


class _Name:
    """A name in a module, its original and its replacement."""

    def __init__(self, namespace: dict[str, Any], name: str, original: Any, replacement: Any) -> None:
        self.namespace: dict[str, Any] = namespace
        self.name: str = name
        self.original: Any = original
        self.replacement: Any = replacement


class EarlyNames:
    """Those of all modules. One that stands for something else by now is left alone."""

    def __init__(self) -> None:
        self._all: list[_Name] = []

    def add(self, namespace: dict[str, Any], name: str, original: Any, replacement: Any) -> None:
        """Add one."""
        self._all.append(_Name(namespace, name, original, replacement))

    def apply(self) -> None:
        """Put the replacement where the original is."""
        for one in self._all:
            namespace, name = one.namespace, one.name
            if namespace.get(name) is one.original:
                namespace[name] = one.replacement

    def undo(self) -> None:
        """Put the original where the replacement is."""
        for one in self._all:
            namespace, name = one.namespace, one.name
            if namespace.get(name) is one.replacement:
                namespace[name] = one.original
