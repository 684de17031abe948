"""The order of sets: an object of a program hashes by a number of its own, not by its address.

Tasks, futures, sockets, transports, protocols and stream writers compare by identity, so a set of them is iterated in
the order of their addresses. ``asyncio.wait``, ``TaskGroup``, the end of ``asyncio.run`` and many a server's
``for writer in self.writers`` do that, and addresses differ from run to run. Here:

- An object that a program of a host hashes first gets the host's next number. It keeps that as long as it lives.
- Any other object hashes by its address, as ever. So the method may stay in a class when nothing is replaced any more.
- ``asyncio`` makes sets of what it was given (``as_completed``), and of addresses, which hash by their strings
  (``create_server``). These keep the order in which it was given: ``InOrder``.

Classes of a user's own hash by address, as in any process, and so does what ``loop.create_future`` makes: a class of
ours would make each wait of an event loop a tenth more expensive.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, Final, TypeVar

from estab.sockets.runtime import current

__all__ = ["Future", "Generators", "InOrder", "Task", "hash_by_number", "hash_of_slot", "set_in_order"]

T = TypeVar("T")

_CLASSES: Final[tuple[type[Any], ...]] = (
    asyncio.BaseProtocol, asyncio.BaseTransport, asyncio.StreamReader, asyncio.StreamWriter, concurrent.futures.Future,
)
_KEY: Final = "_estab_number"


def _number_of(thing: object) -> int:
    """Return the next number of the host whose program asks; outside of programs a number from the address."""
    runtime = current()
    return object.__hash__(thing) if runtime is None else runtime.next_number()


def _hash(self: object) -> int:
    """Hash by the number that the object got when it was hashed first."""
    try:
        kept = vars(self)
    except TypeError:  # a class with slots only
        return object.__hash__(self)
    found: int | None = kept.get(_KEY)
    if found is None:
        found = kept[_KEY] = _number_of(self)
    return found


def hash_of_slot(self: Any) -> int:
    """Hash so, in a class that has a slot ``_estab_number``."""
    found: int | None = getattr(self, _KEY, None)  # an error that is caught costs twice as much
    if found is None:
        found = self._estab_number = _number_of(self)
    return found


def hash_by_number() -> None:
    """Let classes of the standard library hash so. It stays: a set must find its members after the run, too."""
    for kind in _CLASSES:
        if vars(kind).get("__hash__") is None:
            setattr(kind, "__hash__", _hash)  # noqa: B010 - types say that a class can't be given one


class Task(asyncio.Task[Any]):
    """A task that hashes by its number."""

    __module__ = asyncio.Task.__module__
    __slots__ = ("_estab_number",)

    __hash__ = hash_of_slot


class Future(asyncio.Future[Any]):
    """What a thread of a pool is to give, which hashes by its number. asyncio awaits its own class faster."""

    __module__ = asyncio.Future.__module__
    __slots__ = ("_estab_number",)

    __hash__ = hash_of_slot


class InOrder(set[T]):
    """A set that is iterated in the order in which its members were given. It is not to be changed."""

    def __init__(self, members: Iterable[T]) -> None:
        self._order = dict.fromkeys(members)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[T]:
        """Iterate in that order."""
        return iter(self._order)


def set_in_order(*members: Iterable[T]) -> set[T]:
    """Do what ``set`` does in asyncio's modules."""
    return InOrder(*members) if members else set()


class Generators:
    """The asynchronous generators of a loop, in the order in which they began. In the place of a ``WeakSet``."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[AsyncGenerator[Any, Any], None] | None = None
        """Made for the first one: most loops have none."""

    def __len__(self) -> int:
        return 0 if self._kept is None else len(self._kept)

    def __iter__(self) -> Iterator[AsyncGenerator[Any, Any]]:
        return iter([] if self._kept is None else list(self._kept))

    def add(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Add one that begins."""
        if self._kept is None:
            self._kept = weakref.WeakKeyDictionary()
        self._kept[generator] = None

    def discard(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Take one out that ends."""
        if self._kept is not None:
            self._kept.pop(generator, None)

    def clear(self) -> None:
        """Take all out."""
        self._kept = None
