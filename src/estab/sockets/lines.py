"""Where in a program's own code a thread or a task stands: the line that a reader looks for."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from types import CodeType, FrameType
from typing import Any, Final

from estab.errors import is_of_estab

__all__ = ["frames_of", "is_own", "line_of", "task_line", "tasks_of"]

_LIBRARY: Final = sysconfig.get_paths()["stdlib"] + os.sep
_SITE: Final = f"{os.sep}site-packages{os.sep}"
_TASKS_MAX: Final = 5


def line_of(frame: FrameType | None) -> str:
    """Name the innermost line that is neither estab's nor the standard library's: ``ask (app.py:12)``; or ``""``."""
    while frame is not None:
        if is_own(frame.f_code):
            return _words(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return ""


def _words(code: CodeType, line: int) -> str:
    return f"{code.co_name} ({os.path.basename(code.co_filename)}:{line})"


def _is_of_the_library(path: str) -> bool:
    return (path.startswith(_LIBRARY) and _SITE not in path) or path.startswith("<frozen")


def is_own(code: CodeType) -> bool:
    """Tell whether code is neither estab's nor the standard library's."""
    return not is_of_estab(code.co_filename) and not _is_of_the_library(code.co_filename)


def frames_of(task: asyncio.Task[Any]) -> list[FrameType]:
    """List the frames of a task that waits, from its coroutine to the innermost one."""
    awaitable: Any = task.get_coro()
    frames: list[FrameType] = []
    while awaitable is not None:
        for kind, following in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            frame = getattr(awaitable, f"{kind}_frame", None)
            if frame is not None:
                frames.append(frame)
                awaitable = getattr(awaitable, f"{kind}_{following}")
                break
        else:
            break
    return frames


def task_line(task: asyncio.Task[Any]) -> str:
    """Name the innermost line of a task that is not the standard library's: ``ask (app.py:12)``; or ``""``."""
    frames = frames_of(task)
    own = [frame for frame in frames if not _is_of_the_library(frame.f_code.co_filename)] or frames
    return _words(own[-1].f_code, own[-1].f_lineno) if own else ""


def tasks_of(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Name the tasks of an event loop that wait, and where: ``task 'Task-1' in serve (app.py:12)``."""
    found: list[str] = []
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name())):
        line = task_line(task)
        if line:
            found.append(f"task {task.get_name()!r} in {line}")
    more = len(found) - _TASKS_MAX
    return found[:_TASKS_MAX] + ([f"{more} more tasks"] if more > 0 else [])
