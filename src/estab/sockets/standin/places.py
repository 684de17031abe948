"""The places in which programs and libraries keep functions of the standard library since before the replacement.

This finds names of modules and classes (``from time import sleep``), members kept by ``staticmethod``, default
arguments (``def f(sleep=time.sleep)``), and variables of enclosing functions. It does not find what an object keeps (a
list, a ``functools.partial`` in a module, an attribute of an instance).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, Final

__all__ = ["INHERITED", "Others", "Place", "functions_of", "places_in_class", "places_in_function"]

INHERITED: Final = object()
"""Stands for an attribute that its owner inherits."""
_FUNCTIONS_MAX: Final = 200


class Others:
    """What is to be in the place of functions: by their identity, and for those that are made anew at each access."""

    def __init__(self, by_identity: Mapping[int, Any], alias: Callable[[Any], Any] | None = None) -> None:
        self._by_identity = by_identity
        self._alias = alias

    def of(self, value: Any) -> Any:
        """Return what is to be in the place of a value; ``None``: it stays."""
        found = self._by_identity.get(id(value))
        return self._alias(value) if found is None and self._alias is not None else found


@dataclass(frozen=True, slots=True)
class Place:
    """An attribute, its original and its replacement. ``put`` sets it."""

    owner: Any
    name: str
    original: Any
    replacement: Any
    put: Callable[[Any, str, Any], None] = setattr

    def apply(self) -> None:
        """Put the replacement there."""
        self.put(self.owner, self.name, self.replacement)

    def undo(self) -> None:
        """Put the original there."""
        if self.original is INHERITED:
            delattr(self.owner, self.name)
        else:
            self.put(self.owner, self.name, self.original)

    def turned(self) -> Place:
        """Return the same place with both exchanged: what is there now is the replacement."""
        return Place(self.owner, self.name, self.replacement, self.original, self.put)


def places_in_class(kind: type, others: Others) -> Iterator[Place]:
    """Yield the places in a class: its members, and those in its methods."""
    for name, kept in list(vars(kind).items()):
        other = others.of(kept)
        inner = others.of(kept.__func__) if type(kept) is staticmethod else None
        if other is not None:
            yield Place(kind, name, kept, other)
        elif inner is not None:
            yield Place(kind, name, kept, staticmethod(inner))
        else:
            function = _function_in(kept)
            if function is not None:
                yield from places_in_function(function, others)


def _function_in(kept: Any) -> FunctionType | None:
    """Give the function in a member of a class.

    By its type, and by no attribute: a member may be an object whose attributes answer as they like, or raise.
    """
    kind = type(kept)
    if issubclass(kind, (staticmethod, classmethod)):
        kept = kept.__func__
    elif issubclass(kind, property):
        kept = kept.fget
    return kept if type(kept) is FunctionType else None


def places_in_function(function: FunctionType, others: Others) -> Iterator[Place]:
    """Yield the places in a function: default arguments, and variables of the enclosing function."""
    defaults, by_name = function.__defaults__, function.__kwdefaults__
    if defaults is not None:
        found = [others.of(value) for value in defaults]
        if any(other is not None for other in found):
            replaced = tuple(value if other is None else other for value, other in zip(defaults, found, strict=True))
            yield Place(function, "__defaults__", defaults, replaced)
    if by_name is not None:
        changed = {name: other for name, value in by_name.items() if (other := others.of(value)) is not None}
        if changed:
            yield Place(function, "__kwdefaults__", by_name, by_name | changed)
    for cell in function.__closure__ or ():
        kept = _contents(cell)
        other = others.of(kept)
        if other is not None:
            yield Place(cell, "cell_contents", kept, other)


def functions_of(thing: Any) -> list[FunctionType]:
    """List the functions of something callable: itself, those in its enclosing functions' variables, and theirs."""
    found: dict[FunctionType, None] = {}
    left = [thing]
    while left and len(found) < _FUNCTIONS_MAX:
        thing = left.pop()
        if isinstance(thing, functools.partial):
            left += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, (MethodType, staticmethod, classmethod)):
            left.append(thing.__func__)
        elif isinstance(thing, FunctionType) and thing not in found:
            found[thing] = None
            left += [_contents(cell) for cell in thing.__closure__ or ()]
            left.append(getattr(thing, "__wrapped__", None))
    return list(found)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None
