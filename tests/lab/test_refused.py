"""A link's queue that is the sender's own: what finds no room there is told to the sender's TCP, as Linux's is."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import estab
from estab.errors import DropReason
from estab.events import CongestionChanged, Event, PacketDropped

TEXT = bytes(range(256)) * 2000


def sent_over(rate: str, **properties: Any) -> tuple[dict[str, int], estab.Link, list[Event]]:
    """Send a text to a server, and give the sender's counters, the link, and all facts."""
    facts: list[Event] = []
    net = estab.Network(seed=3)
    server, client = net.host("server"), net.host("client")
    link = net.link(server, client, delay="5ms", rate=rate, **properties)
    net.observe(facts.append)

    def receive() -> bytes:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as peer:
            return b"".join(iter(lambda: peer.recv(65536), b""))

    def send() -> None:
        with socket.create_connection(("server", 80)) as peer:
            peer.sendall(TEXT)

    came = server.run(receive)
    client.run(send)
    net.run()
    assert came.result() == TEXT
    return client.counters(), link, facts


def test_what_the_hosts_own_queue_refuses_is_sent_again_before_the_peer_misses_it() -> None:
    counters, link, facts = sent_over("20Mbit", queue=12, queue_of="host")
    refused = counters["drop:QDISC_DROP"]
    assert refused >= 1
    assert refused == link.back.drops[DropReason.LINK_QUEUE_FULL]
    assert "TcpRetransSegs" not in counters
    reasons = {fact.why for fact in facts if isinstance(fact, CongestionChanged)}
    assert "the queue of this host's device is full" in reasons
    dropped = [fact for fact in facts if isinstance(fact, PacketDropped) and fact.reason == DropReason.QDISC_DROP]
    assert len(dropped) == refused
    assert dropped[0].connection.endswith(">10.0.0.1:80")


def test_the_queue_of_a_link_loses_them_unseen() -> None:
    counters, link, _ = sent_over("20Mbit", queue=12)
    assert "drop:QDISC_DROP" not in counters
    assert counters["TcpRetransSegs"] >= link.back.drops[DropReason.LINK_QUEUE_FULL] > 3


def test_each_direction_has_a_queue_of_its_own() -> None:
    counters, link, _ = sent_over("20Mbit", queue=12, queue_of={"server": "host"})
    assert "drop:QDISC_DROP" not in counters
    assert "queue_of=host" in repr(link)


def test_a_full_queue_of_the_host_delays_acknowledgments_and_loses_no_connection() -> None:
    counters, _, _ = sent_over("3Mbit", queue=2, queue_of="host")
    assert counters["drop:QDISC_DROP"] > 10


@pytest.mark.parametrize("value", ["server", 1, None])
def test_other_owners_are_refused(value: Any) -> None:
    net = estab.Network(seed=1)
    with pytest.raises(ValueError, match=r"queue_of: .* is not 'link' or 'host'"):
        net.link(net.host("a"), net.host("b"), queue_of=value)
