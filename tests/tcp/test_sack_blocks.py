"""What a receiver tells of what came out of order: SACK (RFC 2018) and DSACK (RFC 2883)."""

from __future__ import annotations

import pytest

from estab.wire.tcp import ACK
from tests.kit.peer import Seen
from tests.kit.receiving import established


def blocks(seen: Seen) -> list[tuple[int, int]]:
    """Give SACK blocks as pairs."""
    return list(zip(seen.sack[::2], seen.sack[1::2], strict=True))


def test_the_block_that_changed_last_is_told_first() -> None:
    peer = established(sack=True)
    assert [blocks(s) for s in peer.send(ACK, seq=1001, data=b"x" * 100)] == [[(1001, 1101)]]
    assert [blocks(s) for s in peer.send(ACK, seq=3001, data=b"x" * 100)] == [[(3001, 3101), (1001, 1101)]]
    (ack,) = peer.send(ACK, seq=2001, data=b"x" * 100)
    assert blocks(ack) == [(2001, 2101), (3001, 3101), (1001, 1101)]
    (ack,) = peer.send(ACK, seq=1101, data=b"x" * 100)
    assert blocks(ack) == [(1001, 1201), (2001, 2101), (3001, 3101)]


@pytest.mark.parametrize(("timestamps", "most"), [(False, 4), (True, 3)])
def test_as_many_blocks_are_told_as_fit_beside_the_other_options(timestamps: bool, most: int) -> None:
    peer = established(sack=True, timestamps=timestamps)
    for n in range(6):
        (ack,) = peer.send(ACK, seq=1001 + 1000 * n, data=b"x")
    assert len(blocks(ack)) == most


def test_blocks_vanish_when_the_gap_is_filled() -> None:
    peer = established(sack=True)
    peer.send(ACK, seq=101, data=b"x" * 100)
    (ack,) = peer.send(ACK, seq=1, data=b"x" * 100)
    assert (ack.ack, ack.sack) == (201, [])


def test_without_sack_there_are_no_blocks() -> None:
    peer = established(sack=False)
    (ack,) = peer.send(ACK, seq=101, data=b"x" * 100)
    assert ack.sack == []
    (ack,) = peer.send(ACK, seq=101, data=b"x" * 100)
    assert ack.sack == []


def test_every_segment_out_of_order_gets_a_duplicate_of_its_own_even_when_many_come_before_a_poll() -> None:
    from estab.wire import ip
    from estab.wire.tcp import parse

    peer = established(sack=True)
    for n in range(1, 6):
        packet = ip.parse(peer.packet(ACK, seq=1 + 1000 * n, data=b"x" * 1000), 0)
        peer.demux.on_segment(packet, parse(packet, False), peer.now_ns)
    assert len(peer.flush()) == 5


def test_text_received_twice_is_told_as_dsack() -> None:
    peer = established(sack=True)
    peer.text(b"x" * 100)
    (ack,) = peer.send(ACK, seq=1, data=b"x" * 100)
    assert (ack.ack, blocks(ack)) == (101, [(1, 101)])
    (ack,) = peer.send(ACK, seq=51, data=b"x" * 100)
    assert (ack.ack, blocks(ack)) == (151, [(51, 101)])
    assert peer.counters.TcpExtTCPDSACKOldSent == 2


def test_a_dsack_is_told_once() -> None:
    peer = established(sack=True)
    peer.text(b"x" * 100)
    (dsack,) = peer.send(ACK, seq=1, data=b"x" * 100)
    assert dsack.sack == [1, 101]
    (ack,) = peer.text(b"y" * 100)
    assert ack.sack == []


def test_text_out_of_order_received_twice_is_told_as_dsack_with_its_block_behind() -> None:
    peer = established(sack=True)
    peer.send(ACK, seq=1001, data=b"x" * 1000)
    peer.send(ACK, seq=5001, data=b"x" * 1000)
    (ack,) = peer.send(ACK, seq=1201, data=b"x" * 100)
    assert blocks(ack)[:2] == [(1201, 1301), (1001, 2001)]  # RFC 2883 section 4.2.1
    assert (5001, 6001) in blocks(ack)
