"""Where in a program's own code a thread or a task stands: the line that a reader looks for."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["line_of", "tasks_of"]

_OURS: Final = str(Path(__file__).parents[1]) + os.sep
_LIBRARY: Final = sysconfig.get_paths()["stdlib"] + os.sep
_SITE: Final = f"{os.sep}site-packages{os.sep}"
_TASKS_MAX: Final = 5


def line_of(frame: FrameType | None) -> str:
    """Name the innermost line that is neither estab's nor the standard library's: ``ask (app.py:12)``; or ``""``."""
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            if not _is_of_the_library(code.co_filename):
                return _words(code, frame.f_lineno)
        frame = frame.f_back
    return ""


def _words(code: CodeType, line: int) -> str:
    return f"{code.co_name} ({os.path.basename(code.co_filename)}:{line})"


def _is_of_the_library(path: str) -> bool:
    return (path.startswith(_LIBRARY) and _SITE not in path) or path.startswith("<frozen")


def tasks_of(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Name the tasks of an event loop that wait, and where: ``task 'Task-1' in serve (app.py:12)``."""
    found: list[str] = []
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name())):
        coroutine: Any = task.get_coro()
        lines = []
        while coroutine is not None and getattr(coroutine, "cr_frame", None) is not None:
            lines.append((coroutine.cr_code, coroutine.cr_frame.f_lineno))
            coroutine = coroutine.cr_await
        own = [item for item in lines if not _is_of_the_library(item[0].co_filename)] or lines
        if own:
            found.append(f"task {task.get_name()!r} in {_words(*own[-1])}")
    more = len(found) - _TASKS_MAX
    return found[:_TASKS_MAX] + ([f"{more} more tasks"] if more > 0 else [])
