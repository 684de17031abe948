"""How far the reading of a capture is, for a person at a terminal who waits for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from estab.devices.capture_file import Captured

__all__ = ["with_progress"]

_PATIENCE_S: Final = 0.5
"""What takes no longer has no bar."""


def with_progress(frames: Iterable[Captured], stream: BinaryIO) -> Iterator[Captured]:
    """Pass frames on. If that takes a while, show on a terminal how much of the file is read; then take that away."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield from frames
        return
    size, began = os.fstat(stream.fileno()).st_size, time.monotonic()
    with ExitStack() as shown:
        progress = Progress(TextColumn("reading"), BarColumn(), TaskProgressColumn(), console=console, transient=True)
        task = progress.add_task("reading", total=size)
        is_shown = False
        for number, frame in enumerate(frames):
            yield frame
            if number % 2000 == 1999:
                if not is_shown and time.monotonic() - began > _PATIENCE_S:
                    shown.enter_context(progress)
                    is_shown = True
                progress.update(task, completed=stream.tell())
