"""A connection that is open, and a peer played by hand."""

from __future__ import annotations

from tests.kit.peer import Peer


def established(**options: object) -> Peer:
    """Open a connection with a window of 8 KiB and no window scaling."""
    peer = Peer()
    peer.accept(**{"receive_buffer_bytes": 16_384, "is_receive_buffer_fixed": True, **options})  # type: ignore[arg-type]
    peer.text(b"0123456789")
    peer.read()
    peer.side.counters.drops.clear()
    return peer


NXT = 11
"""What the connection of ``established`` expects."""
