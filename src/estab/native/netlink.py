"""What all requests to the kernel by netlink have in common (Linux): a dump's messages, and their attributes."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

__all__ = ["ATTRIBUTE", "attributes", "dump", "open_netlink"]

ATTRIBUTE: Final = struct.Struct("=HH")
"""An attribute's header: its length with this header, and its kind."""
_DUMP: Final = 0x301
_DONE, _ERROR = 3, 2
_HEADER: Final = struct.Struct("=IHHII")
_BUFFER_BYTES: Final = 1 << 18


def open_netlink(protocol: int) -> socket.socket:
    """Open a socket on which one part of the kernel can be asked."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)


def dump(netlink: socket.socket, kind: int, request: bytes, sequence: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Ask for all that there is of a kind; give where in which bytes each message of the answer is, without its header.

    ``OSError`` if the kernel refuses.
    """
    netlink.send(_HEADER.pack(_HEADER.size + len(request), kind, _DUMP, sequence, 0) + request)
    while True:
        data = netlink.recv(_BUFFER_BYTES)
        at, size = 0, len(data)
        while at + _HEADER.size <= size:
            length, answered, _, _, _ = _HEADER.unpack_from(data, at)
            if answered == _DONE:
                return
            if answered == _ERROR:
                number = -int.from_bytes(data[at + 16:at + 20], sys.byteorder, signed=True)
                raise OSError(number, f"{os.strerror(number)}: the kernel does not answer a request by netlink")
            yield data, at + _HEADER.size, at + length
            at += length + 3 & ~3


def attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give the kind of each attribute between ``at`` and ``end``, and where its value begins and ends."""
    while at + ATTRIBUTE.size <= end:
        size, kind = ATTRIBUTE.unpack_from(data, at)
        if size < ATTRIBUTE.size:
            return
        yield kind, at + ATTRIBUTE.size, at + size
        at += size + 3 & ~3
