"""Segments to a listener without an entry, and to nobody (RFC 9293 sections 3.10.7.1 and 3.10.7.2)."""

from __future__ import annotations

import pytest

from estab.wire.address import parse_address
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.listening import depths
from tests.kit.peer import Peer

# --- segments to a listener without an entry (RFC 9293 section 3.10.7.2)


def test_a_listener_ignores_a_reset() -> None:
    peer = Peer()
    peer.listen()
    assert peer.send(RST, seq=0) == []
    assert peer.send(RST | ACK, seq=0) == []
    assert peer.drops() == {"TCP_RESET_INVALID": 2}


@pytest.mark.parametrize("flags", [ACK, ACK | FIN, SYN | ACK, ACK | PSH])
def test_a_listener_resets_an_acknowledgment(flags: int) -> None:
    peer = Peer()
    peer.listen()
    (reset,) = peer.send(flags, seq=0, ack=4711)
    assert (reset.flags, reset.seq) == ("R", 4711)


@pytest.mark.parametrize("flags", [0, FIN, PSH, FIN | PSH])
def test_a_listener_ignores_what_is_neither_syn_nor_ack_nor_rst(flags: int) -> None:
    peer = Peer()
    peer.listen()
    assert peer.send(flags, seq=0) == []
    assert peer.drops() == {"TCP_FLAGS": 1}


@pytest.mark.parametrize("source", ["224.0.0.1", "255.255.255.255", "0.0.0.0"])
def test_a_syn_from_an_address_that_can_have_no_connection_is_ignored(source: str) -> None:
    peer = Peer()
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address(source))) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_INVALID_SYN": 1}


@pytest.mark.parametrize("destination", ["224.0.0.1", "239.255.0.1", "255.255.255.255"])
def test_a_syn_to_a_multicast_or_broadcast_address_is_ignored(destination: str) -> None:
    peer = Peer()
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address(destination))) == []
    assert depths(listener) == (0, 0)
    assert peer.drops() == {"TCP_INVALID_SYN": 1}


def test_an_ipv6_syn_from_or_to_a_multicast_address_is_ignored() -> None:
    peer = Peer(is_v6=True)
    listener = peer.listen()
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address("ff02::1"))) == []
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address("ff02::1"))) == []
    assert peer.inject(peer.packet(SYN, seq=0, source=parse_address("::"))) == []
    assert depths(listener) == (0, 0)


def test_a_multicast_segment_to_a_closed_port_is_not_even_reset() -> None:
    peer = Peer()
    assert peer.inject(peer.packet(SYN, seq=0, destination=parse_address("224.0.0.1"))) == []
    assert peer.inject(peer.packet(ACK, source=parse_address("224.0.0.1"))) == []
    assert peer.drops() == {"NO_SOCKET": 2}


# --- CLOSED (RFC 9293 section 3.10.7.1)


def test_a_closed_port_answers_a_segment_with_ack_by_a_reset_at_its_acknowledgment() -> None:
    peer = Peer()
    (reset,) = peer.send(ACK, seq=9, ack=777, data=b"hello")
    assert (reset.flags, reset.seq) == ("R", 777)


def test_a_closed_port_answers_a_segment_without_ack_by_a_reset_that_acknowledges_it() -> None:
    peer = Peer()
    (reset,) = peer.send(SYN | FIN, seq=9, data=b"hello")
    assert (reset.flags, int(reset.segment.seq), reset.ack) == ("R.", 0, 9 + 5 + 2)


def test_a_closed_port_answers_no_reset() -> None:
    peer = Peer()
    assert peer.send(RST, seq=9) == []
    assert peer.send(RST | ACK, seq=9, ack=10) == []
