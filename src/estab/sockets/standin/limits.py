"""``resource`` for a program on a host: RLIMIT_NOFILE is the program's own. What else there is, is the process's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import resource as os_resource
except ImportError:  # where the system has none
    os_resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from estab.sockets.runtime import Runtime

__all__ = ["limit_stand_ins"]


def _getrlimit(runtime: Runtime, original: Callable[..., Any], resource: int, /) -> tuple[int, int]:
    if resource != os_resource.RLIMIT_NOFILE:
        soft, hard = original(resource)
        return soft, hard
    return runtime.nofile_of(runtime.process())


def _setrlimit(runtime: Runtime, original: Callable[..., Any], resource: int, limits: Any, /) -> None:
    if resource != os_resource.RLIMIT_NOFILE:
        original(resource, limits)
        return
    soft, hard = (_endless(int(limit), runtime.nofile_of(runtime.process())[1]) for limit in limits)
    if soft > hard:
        raise ValueError("current limit exceeds maximum limit")
    if hard > runtime.nofile_of(runtime.process())[1]:
        raise ValueError("not allowed to raise maximum limit")
    runtime.process().nofile = (soft, hard)


def _endless(limit: int, hard: int) -> int:
    return hard if limit == os_resource.RLIM_INFINITY else limit


def _prlimit(runtime: Runtime, original: Callable[..., Any], pid: int, resource: int, limits: Any = None,
             /) -> tuple[int, int]:
    if resource != os_resource.RLIMIT_NOFILE or pid not in (0, runtime.process().pid):
        soft, hard = original(pid, resource) if limits is None else original(pid, resource, limits)
        return soft, hard
    before = runtime.nofile_of(runtime.process())
    if limits is not None:
        _setrlimit(runtime, original, resource, limits)
    return before


def limit_stand_ins() -> dict[str, Callable[..., Any]]:
    """Give what stands in for functions of ``resource``."""
    return {"getrlimit": _getrlimit, "setrlimit": _setrlimit, "prlimit": _prlimit}
