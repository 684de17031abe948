"""aiohttp's resolver over aiodns, which asks name servers in C: on a host it asks the host, as its other one does.

aiohttp uses it as soon as aiodns is installed (``aiohttp[speedups]``), so a program may never have heard of it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["asks_host", "asks_nobody_else", "close", "make", "resolve"]

_KEPT = "_estab_resolver"


def asks_nobody_else(resolver: Any, loop: Any = None, *args: Any, **kwargs: Any) -> bool:
    """Tell whether a resolver is made without name servers of its own."""
    return not args and not kwargs


def asks_host(resolver: Any, *args: Any, **kwargs: Any) -> bool:
    """Tell whether ``make`` made this one."""
    return hasattr(resolver, _KEPT)


def make(runtime: Runtime, resolver: Any, loop: Any = None) -> None:
    """Give it a resolver that asks the event loop."""
    setattr(resolver, _KEPT, sys.modules[type(resolver).__module__].ThreadedResolver(loop))


def resolve(runtime: Runtime, resolver: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
    """Ask the event loop."""
    found: Awaitable[Any] = getattr(resolver, _KEPT).resolve(*args, **kwargs)
    return found


def close(runtime: Runtime, resolver: Any) -> Awaitable[None]:
    """Close nothing."""
    closing: Awaitable[None] = getattr(resolver, _KEPT).close()
    return closing
