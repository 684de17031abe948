"""Names in modules that stand for replaced functions, in their own modules and where they are kept since before.

Compiled with the core: they are two hundred with those that asyncio keeps, and each run exchanges or checks all.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EarlyNames", "OwnNames"]


class _Name:
    """A name in a module, its original and its replacement."""

    def __init__(self, namespace: dict[str, Any], name: str, original: Any, replacement: Any) -> None:
        self.namespace: dict[str, Any] = namespace
        self.name: str = name
        self.original: Any = original
        self.replacement: Any = replacement


class _Attribute:
    """An attribute of a class, its original and its replacement."""

    def __init__(self, owner: Any, name: str, original: Any, replacement: Any) -> None:
        self.owner: Any = owner
        self.members: Any = vars(owner)
        """What the class has itself."""
        self.name: str = name
        self.original: Any = original
        self.replacement: Any = replacement


class OwnNames:
    """Names in modules, and attributes of other things, that are replaced whatever they stand for."""

    def __init__(self) -> None:
        self._all: list[_Name] = []
        self._modules: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        """Of each module: its namespace, the replacements, the originals, for one update of it."""
        self._attributes: list[_Attribute] = []

    def add(self, namespace: dict[str, Any], name: str, original: Any, replacement: Any) -> None:
        """Add a name in a module."""
        self._all.append(_Name(namespace, name, original, replacement))
        for found, replacements, originals in self._modules:
            if found is namespace:
                replacements[name], originals[name] = replacement, original
                return
        self._modules.append((namespace, {name: replacement}, {name: original}))

    def add_attribute(self, owner: Any, name: str, original: Any, replacement: Any) -> None:
        """Add an attribute of a class."""
        self._attributes.append(_Attribute(owner, name, original, replacement))

    def apply(self) -> None:
        """Put the replacements there."""
        for namespace, replacements, _ in self._modules:
            namespace.update(replacements)
        for one in self._attributes:
            setattr(one.owner, one.name, one.replacement)

    def renew(self) -> None:
        """Put the replacements there again, where anything else is by now."""
        for one in self._all:
            namespace, name = one.namespace, one.name
            if namespace.get(name) is not one.replacement:
                namespace[name] = one.replacement
        for attribute in self._attributes:
            if attribute.members.get(attribute.name) is not attribute.replacement:
                setattr(attribute.owner, attribute.name, attribute.replacement)

    def undo(self) -> None:
        """Put the originals there."""
        for one in self._attributes:
            setattr(one.owner, one.name, one.original)
        for namespace, _, originals in self._modules:
            namespace.update(originals)


class EarlyNames:
    """Names that keep a function since before its replacement: ``from time import sleep``.

    One that stands for something else by now is left alone.
    """

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
