"""The places in which programs and libraries keep functions of the standard library since before the replacement.

This finds names of modules and classes (``from time import sleep``), members kept by ``staticmethod``, default
arguments (``def f(sleep=time.sleep)``), and variables of enclosing functions. It does not find what an object keeps (a
list, a ``functools.partial`` in a module, an attribute of an instance).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from estab import cpython
from estab.sockets.standin.early import EarlyNames, OwnNames

__all__ = [
    "INHERITED", "Batch", "Found", "Others", "Place", "functions_of", "has_places", "is_simple",
    "places_in_class", "places_in_function",
]

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


class Batch:
    """Places that are changed together. Those of one module are changed by one update of its namespace.

    A network of two hosts lives for a millisecond: to set two hundred attributes one by one takes longer.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._names = OwnNames()
        self._types: dict[type, _InType] = {}
        """Types that are made in C."""
        self._others: list[Place] = []
        for place in places:
            owner, of_place = place.owner, (place.name, place.original, place.replacement)
            if place.put is cpython.put_into_type:
                self._types.setdefault(owner, _InType(owner)).add(place)
            elif place.put is not setattr or place.original is INHERITED:
                self._others.append(place)
            elif type(owner) is ModuleType:
                self._names.add(vars(owner), *of_place)
            else:
                self._names.add_attribute(owner, *of_place)

    def apply(self) -> None:
        """Put the replacements there."""
        self._names.apply()
        for kind in self._types.values():
            kind.apply()
        for place in self._others:
            place.put(place.owner, place.name, place.replacement)

    def renew(self) -> None:
        """Put the replacements there again, where anything else is by now. If nothing is, that costs little."""
        self._names.renew()
        for kind in self._types.values():
            kind.renew()
        for place in self._others:
            if vars(place.owner).get(place.name) is not place.replacement:
                place.apply()

    def undo(self) -> None:
        """Put the originals there."""
        for place in reversed(self._others):
            place.undo()
        for kind in self._types.values():
            kind.undo()
        self._names.undo()


class _InType:
    """Places in one type that is made in C: CPython is told once that they changed."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._members: Mapping[str, Any] = vars(kind)
        self._originals: dict[str, Any] = {}
        self._replacements: dict[str, Any] = {}

    def add(self, place: Place) -> None:
        self._originals[place.name], self._replacements[place.name] = place.original, place.replacement

    def apply(self) -> None:
        cpython.put_all_into_type(self._kind, self._replacements)

    def renew(self) -> None:
        members = self._members
        for name, value in self._replacements.items():
            if members.get(name) is not value:
                self.apply()
                break

    def undo(self) -> None:
        cpython.put_all_into_type(self._kind, self._originals)


class Found:
    """Places that were found in modules and classes. One that has something else by now is left alone."""

    def __init__(self) -> None:
        self._in_modules = EarlyNames()
        self._in_classes: list[tuple[Mapping[str, Any], Place]] = []
        """With the members that a class or an unusual module defines itself."""
        self._others: list[Place] = []

    def add(self, place: Place) -> None:
        """Add one."""
        if type(place.owner) is ModuleType:
            self._in_modules.add(vars(place.owner), place.name, place.original, place.replacement)
        elif isinstance(place.owner, (type, ModuleType)):
            self._in_classes.append((vars(place.owner), place))
        else:
            self._others.append(place)

    def apply(self) -> None:
        """Put the replacement where the original is."""
        self._in_modules.apply()
        for members, place in self._in_classes:
            if members.get(place.name) is place.original:
                place.apply()
        for place in self._others:
            if getattr(place.owner, place.name, None) is place.original:
                place.apply()

    def undo(self) -> None:
        """Put the original where the replacement is."""
        self._in_modules.undo()
        for members, place in self._in_classes:
            if members.get(place.name) is place.replacement:
                place.undo()
        for place in self._others:
            if getattr(place.owner, place.name, None) is place.replacement:
                place.undo()


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


def has_places(function: FunctionType) -> bool:
    """Tell whether a function has default arguments or variables of an enclosing function."""
    return not (function.__defaults__ is None and function.__kwdefaults__ is None and function.__closure__ is None)


def is_simple(function: Any) -> bool:
    """Tell whether it is a function that has no places, and no other function in which there may be one."""
    if type(function) is MethodType:
        function = function.__func__
    return type(function) is FunctionType and not has_places(function) and not function.__dict__


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
