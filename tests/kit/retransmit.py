"""A connection with much in flight, and what is read of its repair."""

from __future__ import annotations

from estab.wire.tcp import ACK
from tests.kit.peer import Peer, Seen

MSS = 1460


def established(*, cwnd: int = 100 * MSS, rtt_ns: int = 0, **options: object) -> Peer:
    """Open a connection with a send buffer of 400 kB and the given congestion window."""
    peer = Peer()
    listener = peer.listen(send_buffer_bytes=400_000, is_send_buffer_fixed=True)
    peer.syn(wnd=65_535, **options)  # type: ignore[arg-type]
    peer.wait(rtt_ns)
    peer.send(ACK)
    connection = listener.accept()
    assert connection is not None
    peer.connection = connection
    from estab.tcp.context import Owner

    connection.owner = Owner()
    connection.cwnd_bytes = cwnd
    peer.seen.clear()
    return peer


def places(seen: list[Seen]) -> list[int]:
    """Give where the segments stand, in full segments from 0."""
    return [(s.seq - 1) // MSS for s in seen]


def ack_to(peer: Peer, segment: int, *blocks: tuple[int, int]) -> list[Seen]:
    """Acknowledge everything before a segment, with SACK blocks in segments."""
    sack = [1 + MSS * edge for block in blocks for edge in block]
    if sack:
        return peer.send(ACK, ack=1 + MSS * segment, sack=sack)
    return peer.send(ACK, ack=1 + MSS * segment)
