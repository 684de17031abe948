"""Frozen dataclasses with slots that are made in a fifth of the time.

- The ``__init__`` of a frozen dataclass calls ``object.__setattr__`` with each field's name. The one that is put in its
  place makes the new object one of a class that is alike but not frozen, sets its fields as any object's, and gives it
  its own class back. Nobody has seen the object by then.
- It is for records that are made with every segment. Else it is the dataclass that it was: frozen, compared by value.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

__all__ = ["quickly_made"]

_Kind = TypeVar("_Kind")


def quickly_made(kind: type[_Kind]) -> type[_Kind]:
    """Give a frozen dataclass an ``__init__`` that takes a fifth of the time. It has slots and no default factory."""
    own = fields(kind)  # type: ignore[arg-type]
    unfrozen = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    in_the_making = type(f"{kind.__name__}InTheMaking", (kind,), unfrozen)
    names: dict[str, Any] = {"_put": object.__setattr__, "_open": in_the_making}
    names |= {f"_of_{one.name}": one.default for one in own}
    given = (one.name if one.default is MISSING else f"{one.name}=_of_{one.name}" for one in own)
    lines = (f"    self.{one.name} = {one.name}" for one in own)
    exec("\n".join((f"def __init__(self, {', '.join(given)}):", "    kind = self.__class__",
                    "    _put(self, '__class__', _open)", *lines, "    self.__class__ = kind")), names)
    names["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    type.__setattr__(kind, "__init__", names["__init__"])
    return kind
