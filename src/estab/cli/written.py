"""Files that a command writes by its options, and errors of the system in a line: what goes wrong is for the user."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from estab.errors import explain, os_error

__all__ = ["cannot_write", "ensure_writable", "why", "written"]


@contextmanager
def written(path: str, option: str) -> Iterator[BinaryIO]:
    """Open a file to be written. Raises ``ClickException`` if it can't be opened or closed.

    Errors of the ``with`` block's own writes are its own to tell apart: ``cannot_write`` makes the same of them.
    """
    try:
        stream = open(path, "wb")  # noqa: SIM115 (closed below, where its errors can be told)
    except OSError as error:
        raise cannot_write(path, option, error) from error
    try:
        yield stream
    finally:
        try:
            stream.close()
        except OSError as error:
            raise cannot_write(path, option, error) from error


def cannot_write(path: str, option: str, error: OSError) -> click.ClickException:
    """Make the error that says which file could not be written, and why."""
    return click.ClickException(f"{option}: cannot write {path!r}: {error.strerror or error}")


def ensure_writable(path: str, option: str) -> None:
    """Raise ``ClickException`` if a file can't be written, before the work whose result it is to keep."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise cannot_write(path, option, os_error(errno.ENOENT))
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise cannot_write(path, option, os_error(errno.EACCES))


def why(error: BaseException) -> str:
    """Say what went wrong. The system's own word for it is left out if estab says more."""
    what, word = explain(error), getattr(error, "strerror", None)
    return what[len(word) + 2:] if word and what.lower().startswith(f"{word.lower()}: ") else what
