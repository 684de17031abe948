"""Peers that speak Accurate ECN, played by hand, and what is read of their segments."""

from __future__ import annotations

from typing import Any

from estab.tcp.ecn.accurate import ace_flags, ace_of
from estab.tcp.record.ecn_state import ECT0, NOT_ECT
from estab.wire.tcp import (
    ACCECN0_KIND,
    AE,
    CWR,
    ECE,
    AccEcnOption,
)
from tests.kit.pair import ACK, SYN
from tests.kit.peer import Peer, Seen

ALL = AE | CWR | ECE
WHOLE = AccEcnOption(ACCECN0_KIND, [1, 0, 1])


def ace(seen: Seen) -> int:
    return int(ace_of(seen.segment.flags))


def codepoint(seen: Seen) -> int:
    return int(seen.segment.tos) & 3


def option(seen: Seen) -> list[int] | None:
    found = seen.segment.accecn
    return None if found is None else list(found.fields)


def counters(e0b: int = 1, ceb: int = 0, e1b: int = 1) -> AccEcnOption:
    return AccEcnOption(ACCECN0_KIND, [e0b, ceb, e1b])


def client(*, answer: int = 2, tos: int = NOT_ECT, accecn: AccEcnOption | None = WHOLE, **config: Any) -> Peer:
    """An engine that connected, asking for AccECN; ``answer`` is the SYN-ACK's ACE field. ``peer.seen`` has the third
    segment.
    """
    peer = Peer()
    peer.config.tcp_ecn = 3
    fields = {name: config.pop(name) for name in ("sack_permitted", "mss") if name in config}
    for name, value in config.items():
        setattr(peer.config, name, value)
    peer.has_timestamps = peer.config.tcp_timestamps = config.get("tcp_timestamps", False)
    peer.connect()
    peer.seen.clear()
    fields.setdefault("mss", 1000)
    peer.send(SYN | ACK | ace_flags(answer), seq=0, ack=1, tos=tos, accecn=accecn, **fields)
    return peer


def server(*, third: int = 2, third_tos: int = ECT0, accecn: AccEcnOption | None = WHOLE, **config: Any) -> Peer:
    """An engine whose listener agreed on AccECN with the peer."""
    peer = Peer()
    peer.config.tcp_ecn = 3
    timestamps = config.pop("timestamps", False)
    for name, value in config.items():
        setattr(peer.config, name, value)
    listener = peer.listen()
    peer.has_timestamps = timestamps
    (answer,) = peer.send(SYN | ALL, seq=0, ack=0, mss=1000, sack_permitted=True, wscale=7)
    assert ace(answer) == 2
    peer.irs = int(answer.segment.seq)
    peer.seq = peer.ack = 1
    peer.send(ACK | ace_flags(third), seq=1, ack=1, tos=third_tos, accecn=accecn)
    connection = listener.accept()
    assert connection is not None
    peer.connection = connection
    peer.seen.clear()
    return peer


def state(peer: Peer) -> Any:
    assert peer.connection.ecn is not None
    return peer.connection.ecn
