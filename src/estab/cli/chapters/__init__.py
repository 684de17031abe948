"""The chapters of the tour, in the order of a connection's life."""

from __future__ import annotations

from estab.cli.chapters import (
    backlog,
    cable,
    close,
    close_wait,
    data,
    flood,
    frames,
    half_close,
    handshake,
    loss,
    simultaneous,
    time_wait,
)
from estab.cli.chapters.chapter import Chapter

__all__ = ["CHAPTERS", "find"]

CHAPTERS: tuple[Chapter, ...] = (
    handshake.CHAPTER, backlog.CHAPTER, flood.CHAPTER, data.CHAPTER, loss.CHAPTER, frames.CHAPTER, cable.CHAPTER,
    close.CHAPTER, half_close.CHAPTER, simultaneous.CHAPTER, time_wait.CHAPTER, close_wait.CHAPTER,
)


def find(name: str) -> Chapter | None:
    """Find a chapter by its name; capital letters and ``_`` for ``-`` are forgiven."""
    wanted = name.lower().replace("_", "-")
    return next((chapter for chapter in CHAPTERS if chapter.name == wanted), None)
