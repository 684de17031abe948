"""What the queues of this machine's interfaces have dropped, from the kernel by rtnetlink (Linux). Root is not needed.

Ours, and not pyroute2's, whose import takes longer than the doctor's whole look.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from estab.native.netlink import attributes, dump, open_netlink

__all__ = ["read_queue_drops"]

_NETLINK_ROUTE: Final = 0
_GET_QDISC: Final = 38
_MESSAGE: Final = struct.Struct("=BxHiIII")
_STATS: Final = 3
_DROPS: Final = struct.Struct("=12xI")
"""In ``struct tc_stats``: after the bytes and the packets."""
_ROOT: Final = 0xFFFFFFFF


def read_queue_drops() -> dict[str, int]:
    """Count the packets that the root queue of each interface of this thread's namespace dropped so far, by name.

    Empty if the kernel does not tell.
    """
    found: dict[str, int] = {}
    try:
        with open_netlink(_NETLINK_ROUTE) as asked:
            for data, at, end in dump(asked, _GET_QDISC, bytes(_MESSAGE.size)):
                _, _, index, _, parent, _ = _MESSAGE.unpack_from(data, at)
                if parent == _ROOT:
                    name = socket.if_indextoname(index)
                    found[name] = found.get(name, 0) + _drops_in(data, at + _MESSAGE.size, end)
    except OSError:
        return found
    return found


def _drops_in(data: bytes, at: int, end: int) -> int:
    for kind, start, stop in attributes(data, at, end):
        if kind == _STATS and stop - start >= _DROPS.size:
            drops: int = _DROPS.unpack_from(data, start)[0]
            return drops
    return 0
