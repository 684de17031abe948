"""Doing something in another network namespace of Linux (``ip netns``)."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from estab.errors import os_error

__all__ = ["call_in", "enter_new"]

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000


def call_in(netns: str | None, function: Callable[[], T]) -> T:
    """Call a function in the namespace of that name or path; ``None``: in this one.

    It runs in a thread of its own, as a thread has one namespace at a time. What it opens there stays there.
    ``OSError`` if there is no such namespace (ENOENT), or without CAP_SYS_ADMIN (EPERM).
    """
    if netns is None:
        return function()
    path = netns if "/" in netns else str(Path("/var/run/netns") / netns)
    results: list[T] = []
    errors: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            _enter(path)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter_and_call, name="estab-netns")
    thread.start()
    thread.join()
    try:
        if errors:
            raise errors[0]
    finally:
        errors.clear()  # with its traceback it would hold itself, and what the caller opened
    return results[0]


def enter_new() -> None:
    """Put this thread into a network namespace of its own, which ends with it. ``OSError`` without CAP_SYS_ADMIN."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise os_error(number, f"{os.strerror(number)}: can't make a network namespace")


def _enter(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise os_error(errno.ENOENT, f"no such file or directory: there is no network namespace {path}; "
                                     "`ip netns` lists those that are there") from None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise os_error(number, f"{os.strerror(number)}: can't enter the network namespace {path}")
    finally:
        os.close(fd)
