"""What an entry of the table is, and the words that families use to make one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ENTRIES", "REST_S", "Entry", "Family", "arest", "rest", "rests", "twice"]

REST_S: Final = 2
"""Virtual seconds between the two exchanges of a client."""

rests: Final[list[float]] = []
"""When each rest ended, in virtual seconds."""


def rest() -> None:
    """Pause between two exchanges, in a blocking client."""
    time.sleep(REST_S)
    rests.append(time.monotonic())


def twice(ask: Callable[[], Any]) -> list[Any]:
    """Ask, rest, ask again: something may happen in between."""
    answers = [ask()]
    rest()
    return [*answers, ask()]


async def arest() -> None:
    """Pause between two exchanges, in a client with asyncio."""
    await asyncio.sleep(REST_S)
    rests.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Entry:
    """A program or library that is tried, as a server and a client on two hosts of the lab."""

    name: str
    family: str
    client: Callable[[], Any]
    expect: Any
    """What the client returns if all is right."""
    server: Callable[[], Any] | None
    package: str
    """The distribution whose version is told; empty: Python's own."""
    imports: tuple[str, ...]
    """Modules that are imported before the network is made, as a test file does at its top."""
    tried: str
    """What the two ends are, where the name does not say it."""
    friction: str
    """What a user has to do, or to know, that is not so with real hosts."""
    differs: str
    """Why captures of two runs may differ, if they may."""
    is_refused: bool
    """It can't work, and has to say so in a sentence."""
    is_in_ci: bool
    fresh: tuple[str, ...]
    """Packages that either end imports for itself."""
    start_s: float
    """When the client begins."""


ENTRIES: Final[dict[str, Entry]] = {}
"""All entries by name, in the order of the table."""


class Family:
    """Makes entries that stand together in the table."""

    def __init__(self, title: str) -> None:
        self.title = title

    def add(
        self, name: str, client: Callable[[], Any], expect: Any = None, *, server: Callable[[], Any] | None = None,
        package: str | None = None, imports: str = "", tried: str = "", friction: str = "", differs: str = "",
        is_refused: bool = False, ci: bool = False, fresh: tuple[str, ...] = (), start: float = 1,
    ) -> None:
        """Add an entry. ``package`` is its name if it is not given."""
        if name in ENTRIES:
            raise ValueError(f"{name}: there are two entries of this name")
        ENTRIES[name] = Entry(
            name, self.title, client, expect, server, name if package is None else package, tuple(imports.split()),
            tried, friction, differs, is_refused, ci, fresh, start)
