"""Files that a command writes by its options. What goes wrong with one is the user's to know, in a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

__all__ = ["cannot_write", "written"]


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
    return click.ClickException(f"{option}: cannot write {path!r}: {error.strerror}")
