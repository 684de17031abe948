"""What a program's function is, and what it has of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from estab.lab.programs.strands import Own
from estab.sockets.standin.fresh import FreshModules

__all__ = ["is_generator", "own_of"]


def is_generator(function: Callable[..., Any]) -> bool:
    """Tell whether to call a function runs nothing of it, because it is one that yields."""
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def own_of(function: Callable[..., Any], host: str, fresh: Iterable[str]) -> Own | None:
    """Make a program's own copies of what all programs of the process share; ``None`` if it has none.

    ``fresh`` names packages. A function that is a script (``estab.trial.scripts``) names the rest by ``own_on``.
    """
    parts: list[Own] = [FreshModules(fresh)] if fresh else []
    own_on: Callable[[str], Own] | None = getattr(function, "own_on", None)
    if own_on is not None:
        parts.append(own_on(host))
    return None if not parts else parts[0] if len(parts) == 1 else _Several(parts)


class _Several:
    """Several things of one program's own."""

    def __init__(self, parts: list[Own]) -> None:
        self._parts = parts

    def enter(self) -> None:
        for part in self._parts:
            part.enter()

    def leave(self) -> None:
        for part in reversed(self._parts):
            part.leave()
