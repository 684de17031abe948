"""How far the reading of a capture is, for a person at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import click

from estab.devices.capture_file import Captured

__all__ = ["with_progress"]


def with_progress(frames: Iterable[Captured], stream: BinaryIO) -> Iterator[Captured]:
    """Pass frames on, and show on a terminal how much of the file is read."""
    size = os.fstat(stream.fileno()).st_size
    with click.progressbar(length=size, label="reading", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        done = 0
        for number, frame in enumerate(frames):
            yield frame
            if number % 2000 == 0:
                bar.update(stream.tell() - done)
                done = stream.tell()
        bar.update(size - done)
