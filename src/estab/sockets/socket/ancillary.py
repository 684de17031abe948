"""Ancillary data as programs give it to ``sendmsg`` and get it from ``recvmsg``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Final

from estab.abi import MSG_CTRUNC
from estab.host.sockets.ancillary import Ancillary

__all__ = ["HEADER_BYTES", "fit", "read_items"]

HEADER_BYTES: Final = 16
"""CMSG_LEN(0) of a 64-bit Linux: length, level and kind of an item, before its data."""


def read_items(ancdata: Iterable[Any]) -> list[Ancillary]:
    """Read what a program gives to ``sendmsg``. ``TypeError`` if it has another shape."""
    items: list[Ancillary] = []
    for item in ancdata:
        if not isinstance(item, (tuple, list)) or len(item) != 3:
            raise TypeError("[sendmsg() ancillary data items] must be sequences of 3: level, type, data")
        try:
            data = bytes(memoryview(item[2]).cast("B"))
        except TypeError:
            raise TypeError(f"a bytes-like object is required, not '{type(item[2]).__name__}'") from None
        items.append((index(item[0]), index(item[1]), data))
    return items


def fit(items: Sequence[Ancillary], size: int) -> tuple[list[Ancillary], int]:
    """Return what fits into a buffer of ``size`` bytes, the last one cut, and MSG_CTRUNC if something was left out.

    Linux's ``put_cmsg``: each item takes CMSG_SPACE, and needs CMSG_LEN.
    """
    found: list[Ancillary] = []
    flags = 0
    for level, kind, data in items:
        if size < HEADER_BYTES:
            return found, MSG_CTRUNC
        room = size - HEADER_BYTES
        if room < len(data):
            flags = MSG_CTRUNC
        found.append((level, kind, data[:room]))
        size -= min(size, HEADER_BYTES + (len(data) + 7 & -8))
    return found, flags
