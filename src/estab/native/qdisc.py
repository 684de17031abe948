"""What the queues of this machine's interfaces have dropped, from the kernel by rtnetlink (Linux). Root is not needed.

Ours, and not pyroute2's, whose import takes longer than the doctor's whole look.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = ["read_queue_drops"]

_NETLINK_ROUTE: Final = 0
_GET_QDISC: Final = 38
_DUMP: Final = 0x301
_DONE, _ERROR = 3, 2
_HEADER: Final = struct.Struct("=IHHII")
_MESSAGE: Final = struct.Struct("=BxHiIII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_STATS: Final = 3
_DROPS: Final = struct.Struct("=12xI")
"""In ``struct tc_stats``: after the bytes and the packets."""
_ROOT: Final = 0xFFFFFFFF
_BUFFER_BYTES: Final = 1 << 17


def read_queue_drops() -> dict[str, int]:
    """Count the packets that the root queue of each interface of this thread's namespace dropped so far, by name.

    Empty if the kernel does not tell.
    """
    found: dict[str, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as asked:
            size = _HEADER.size + _MESSAGE.size
            asked.send(_HEADER.pack(size, _GET_QDISC, _DUMP, 1, 0) + _MESSAGE.pack(0, 0, 0, 0, 0, 0))
            while _read(asked.recv(_BUFFER_BYTES), found):
                pass
    except OSError:
        return found
    return found


def _read(data: bytes, found: dict[str, int]) -> bool:
    """Add what one answer tells; ``False``: it was the last."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if kind in (_DONE, _ERROR):
            return False
        _, _, index, _, parent, _ = _MESSAGE.unpack_from(data, at + _HEADER.size)
        drops = _drops_in(data, at + _HEADER.size + _MESSAGE.size, at + length)
        if parent == _ROOT and drops is not None:
            name = socket.if_indextoname(index)
            found[name] = found.get(name, 0) + drops
        at += length + 3 & ~3
    return True


def _drops_in(data: bytes, at: int, end: int) -> int | None:
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if kind == _STATS and length >= _ATTRIBUTE.size + _DROPS.size:
            drops: int = _DROPS.unpack_from(data, at + _ATTRIBUTE.size)[0]
            return drops
        at += max(length, _ATTRIBUTE.size) + 3 & ~3
    return None
