"""What a call of a script needs of the table of descriptors, for those calls that have a file of their own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from estab.drill.language.syntax import Call, Expression
from estab.drill.machine.files import File, SocketFile

__all__ = ["Descriptors", "Steps"]

Steps = Generator[int, None, int]
"""A call under way: yields when it stops waiting, returns its number."""


class Descriptors(Protocol):
    """A script's descriptors by number, and its virtual time."""

    files: dict[int, File]

    @property
    def now_ns(self) -> int:
        """The virtual time."""

    def add(self, call: Call, file: File) -> int:
        """Return a new descriptor the number that the script expects."""

    def file(self, value: Expression) -> File:
        """Find a descriptor, or raise EBADF."""

    def socket_file(self, value: Expression) -> SocketFile:
        """Find a socket. EBADF, ENOTSOCK."""
