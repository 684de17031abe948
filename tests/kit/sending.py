"""A connection that sends, and what is read of its segments."""

from __future__ import annotations

from tests.kit.peer import Peer, Seen


def lengths(seen: list[Seen]) -> list[int]:
    """Give the lengths of the text."""
    return [len(s.text) for s in seen]


def established(**options: object) -> Peer:
    """Open a connection with room for 200 kB and a congestion window that does not get in the way."""
    peer = Peer(
        segment_bytes_max=options.pop("segment_bytes_max", 0),  # type: ignore[arg-type]
        mtu=options.pop("mtu", 1500), is_v6=options.pop("is_v6", False),  # type: ignore[arg-type]
    )
    connection = peer.accept(send_buffer_bytes=200_000, is_send_buffer_fixed=True, **options)  # type: ignore[arg-type]
    connection.cwnd_bytes = 1_000_000
    return peer
