"""SYNs from many ports to one listener, and how deep its queues are."""

from __future__ import annotations

from estab.tcp.listening.listener import Listener
from estab.wire.tcp import ACK
from tests.kit.peer import Peer, Seen


def syn_from(peer: Peer, port: int) -> list[Seen]:
    """Send a SYN from another port of the peer."""
    peer.peer_port = port
    return peer.syn()


def open_from(peer: Peer, port: int) -> None:
    """Do a whole handshake from another port of the peer."""
    assert [s.flags for s in syn_from(peer, port)] == ["S."]
    peer.send(ACK)


def depths(listener: Listener) -> tuple[int, int]:
    """Give how many wait in the half-open and in the accept queue."""
    return len(listener.half_open), len(listener.ready)
