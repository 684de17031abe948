"""Flags of send and recv: programs have the numbers of their system's ``socket`` module, the engine has Linux's."""

from __future__ import annotations

import errno
import socket as os_socket
from typing import Final

from estab import abi
from estab.errors import os_error
from estab.sockets.arguments import c_int

__all__ = ["linux_flags", "message_flags", "system_flags"]

_NAMES: Final = (
    "MSG_OOB", "MSG_PEEK", "MSG_CTRUNC", "MSG_TRUNC", "MSG_DONTWAIT", "MSG_EOR", "MSG_WAITALL", "MSG_ERRQUEUE",
    "MSG_NOSIGNAL", "MSG_MORE", "MSG_FASTOPEN",
)


def _pairs() -> tuple[tuple[int, int], ...]:
    """Return the bits that differ: this system's and Linux's. A flag that the system lacks has Linux's bit, if free."""
    ours = {name: int(getattr(os_socket, name)) for name in _NAMES if hasattr(os_socket, name)}
    for name in _NAMES:
        if name not in ours and int(getattr(abi, name)) not in ours.values():
            ours[name] = int(getattr(abi, name))
    pairs = tuple((bit, int(getattr(abi, name))) for name, bit in ours.items())
    return () if all(bit == linux for bit, linux in pairs) else pairs


_PAIRS: Final = _pairs()


def linux_flags(flags: int) -> int:
    """Write a program's flags in Linux's numbers. Bits that mean nothing here stay as they are."""
    flags = c_int(flags)
    if not _PAIRS:
        return flags
    known = sum(bit for bit, _ in _PAIRS)
    return (flags & ~known) | sum(linux for bit, linux in _PAIRS if flags & bit)


def message_flags(flags: int) -> int:
    """Do the same for ``sendmsg`` and ``recvmsg``. EINVAL for MSG_CMSG_COMPAT, which is the sign."""
    flags = linux_flags(flags)
    if flags < 0:
        raise os_error(errno.EINVAL, f"invalid argument: flags {flags:#x}")
    return flags


def system_flags(flags: int) -> int:
    """Write the flags of a result in the numbers of this system's ``socket`` module."""
    if not _PAIRS:
        return flags
    known = sum(linux for _, linux in _PAIRS)
    return (flags & ~known) | sum(bit for bit, linux in _PAIRS if flags & linux)
