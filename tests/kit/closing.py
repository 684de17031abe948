"""Connections on the way to their end."""

from __future__ import annotations

from estab.tcp.state import State
from estab.wire.tcp import ACK, FIN
from tests.kit.peer import Peer, Seen


def established(**options: object) -> Peer:
    """Open a connection."""
    peer = Peer()
    peer.accept(**options)  # type: ignore[arg-type]
    return peer


def flags(seen: list[Seen]) -> list[str]:
    """Give the flags."""
    return [s.flags for s in seen]


def in_state(state: State) -> Peer:
    """Bring a connection into a state; the peer is up to date on everything."""
    peer = established()
    if state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.TIME_WAIT):
        peer.shutdown()
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        peer.send(ACK, ack=2)
    if state in (State.CLOSE_WAIT, State.LAST_ACK, State.TIME_WAIT):
        peer.send(ACK | FIN)
    if state == State.CLOSING:
        peer.send(ACK | FIN, ack=1)
    if state == State.LAST_ACK:
        peer.shutdown()
    assert peer.connection.state == state
    peer.seen.clear()
    peer.side.counters.drops.clear()
    return peer
