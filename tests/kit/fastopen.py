"""A key and a cookie of Fast Open, and a listener that takes them."""

from __future__ import annotations

from estab.tcp.fastopen import (
    SERVER,
    SERVER_NO_COOKIE,
)
from estab.tcp.listening.listener import Listener
from estab.wire.tcp import SYN
from tests.kit.peer import Peer, Seen

COOKIE = bytes(range(8))


def server(limit: int = 4, flags: int = SERVER | SERVER_NO_COOKIE, **settings: object) -> tuple[Peer, Listener]:
    peer = Peer()
    peer.config.tcp_fastopen = flags
    for name, value in settings.items():
        peer.config.set(name, value)
    listener = peer.listen()
    listener.fast_open.queue.limit = limit
    return peer, listener


def open_fast(peer: Peer, text: bytes = b"hello", **fields: object) -> list[Seen]:
    """Send a SYN with text; learn the engine's number from its answer."""
    answers = peer.send(SYN, seq=0, ack=0, data=text, **fields)  # type: ignore[arg-type]
    for answer in answers:
        if answer.flags == "S.":
            peer.irs = int(answer.segment.seq)
    peer.seq, peer.ack = 1 + len(text), 1
    return answers
