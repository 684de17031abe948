"""How names of Unix sockets are written, and what no Unix socket does."""

from __future__ import annotations

import errno

from mypy_extensions import i64

from estab.abi import MSG_OOB
from estab.errors import os_error

__all__ = ["name_text", "refuse_urgent"]


def name_text(name: bytes) -> str:
    """Write a name as ``ss`` does: an abstract one with ``@``, none as ``*``."""
    if not name:
        return "*"
    return f"@{name[1:].decode('utf-8', 'replace')}" if name[:1] == b"\0" else name.decode("utf-8", "replace")


def refuse_urgent(flags: i64) -> None:
    """Raise EOPNOTSUPP if MSG_OOB is among the flags."""
    if (flags & MSG_OOB) != 0:
        raise os_error(errno.EOPNOTSUPP, "operation not supported: MSG_OOB on a Unix socket")
