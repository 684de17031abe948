"""A connection whose peer sends, and what is read of its acknowledgments."""

from __future__ import annotations

from tests.kit.peer import Peer


def established(*, quick: int = 0, **options: object) -> Peer:
    """Open a connection that has sent its first, quick acknowledgments."""
    peer = Peer()
    peer.accept(**options)  # type: ignore[arg-type]
    peer.connection.quick_acks = quick
    return peer
