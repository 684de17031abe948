"""Names of Unix sockets that programs treat as files: programs check whether one exists, and remove it.

A host makes no file for such a name. All other paths are the machine's.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Final

from estab.sockets.socket.unix_paths import place_at
from estab.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from estab.sockets.runtime import Runtime

__all__ = ["path_stand_ins"]

_MODE: Final = stat.S_IFSOCK | 0o755


def _name(runtime: Runtime, path: Any, *, follow: bool = True) -> bytes | None:
    """Return under which name the Unix socket is kept that has a path; ``None`` if none has it."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    return place_at(runtime.engine.locals, os.fsencode(path), follow=follow)


def _remove(runtime: Runtime, original: Callable[..., Any], path: Any, **more: Any) -> None:
    name = _name(runtime, path, follow=False)
    if name is None:
        original(path, **more)
    else:
        runtime.engine.locals.remove(name)


def _lstat(runtime: Runtime, original: Callable[..., Any], path: Any, **more: Any) -> Any:
    name = _name(runtime, path, follow=False)
    return original(path, **more) if name is None else _status(runtime, name)


def _stat(runtime: Runtime, original: Callable[..., Any], path: Any, **more: Any) -> Any:
    name = _name(runtime, path, follow=more.get("follow_symlinks", True))
    return original(path, **more) if name is None else _status(runtime, name)


def _status(runtime: Runtime, name: bytes) -> os.stat_result:
    now_s = runtime.wall_ns // SECOND
    return os.stat_result((_MODE, runtime.engine.locals.inode(name), 0, 1, 0, 0, 0, now_s, now_s, now_s))


def _change(runtime: Runtime, original: Callable[..., Any], path: Any, *args: Any, **more: Any) -> None:
    if _name(runtime, path) is None:
        original(path, *args, **more)


def path_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``os`` on paths that may be names of Unix sockets."""
    return {"unlink": _remove, "remove": _remove, "stat": _stat, "lstat": _lstat, "chmod": _change, "chown": _change}
