"""What a peer that means harm can make a connection hold, spend or believe: each bound is filled and measured."""

from __future__ import annotations

import time

import pytest

from estab.tcp.record.buffers import ByteQueue
from estab.tcp.record.reassembly import Reassembly
from estab.units import MS
from estab.wire.tcp import ACK, SYN
from tests.kit.peer import Peer

PIECE_MAX = 65536
"""What a piece of the send queue holds at most."""


@pytest.mark.parametrize(("buffer_bytes", "write_bytes"), [(16_384, 65_536), (200_000, 1 << 20), (1 << 20, 65_536)])
@pytest.mark.parametrize("segment_bytes_max", [0, 65_000])
def test_the_send_buffer_is_bounded_whatever_window_the_peer_offers(
    buffer_bytes: int, write_bytes: int, segment_bytes_max: int,
) -> None:
    peer = Peer(segment_bytes_max=segment_bytes_max)
    peer.accept(mss=1448, wscale=14, sack=True, send_buffer_bytes=buffer_bytes, is_send_buffer_fixed=True)
    connection, data, worst = peer.connection, bytes(write_bytes), 0
    for _ in range(40):  # a fast reader, which lets the congestion window grow for ever
        while connection.write(data, peer.now_ns) > 0:
            worst = max(worst, connection.outq_bytes())
        worst = max(worst, connection.outq_bytes())
        peer.touch()
        peer.wait(20 * MS)
        peer.send(ACK)
    assert worst <= buffer_bytes + 2 * PIECE_MAX


def costs_of_repeats(holes: int) -> float:
    """Give the seconds that a thousand repeated pieces take while so many holes are open."""
    queue = Reassembly()
    for number in range(holes):
        queue.add(10 + 2 * number, b"x")
    began = time.process_time()
    for number in range(1000):
        queue.touch(10 + 2 * (number % 100))
        queue.blocks(4)
    return time.process_time() - began


def test_a_piece_that_comes_again_costs_the_same_however_many_holes_are_open() -> None:  # CVE-2018-5390
    few = min(costs_of_repeats(100) for _ in range(3))
    many = min(costs_of_repeats(20_000) for _ in range(3))
    assert many < 8 * few


def test_filling_thousands_of_holes_at_once_takes_all_runs_away() -> None:
    queue, received = Reassembly(), ByteQueue()
    for number in range(5000):
        queue.add(10 + 2 * number, b"x")
    queue.add(10, bytes(10_000))
    assert (len(queue.blocks(4)), queue.size_bytes) == (2, 10_000)
    assert queue.take_into(received, 10) == 10_010
    assert (queue.is_empty(), queue.blocks(4), len(queue)) == (True, [], 0)


@pytest.mark.parametrize("offload", [0, 65_000])
@pytest.mark.parametrize("probing", [0, 2])
def test_no_packet_is_larger_than_the_mtu_with_sack_blocks_and_offload(offload: int, probing: int) -> None:
    peer = Peer(segment_bytes_max=offload)
    peer.config.tcp_mtu_probing = probing
    peer.accept(mss=8960, wscale=7, sack=True, timestamps=True)
    if probing == 0:
        peer.send(ACK, seq=11, data=b"x")  # a hole before it: SACK blocks are due
    for _ in range(30):
        peer.connection.write(bytes(1448 if probing == 0 else 50_000), peer.now_ns)
        peer.touch()
        peer.wait(20 * MS)
        peer.send(ACK, seq=1)
    whole = [len(seen.data) for seen in peer.seen if seen.segment_bytes == 0]
    assert 1400 < max(whole) <= 1500 or offload
    assert max(whole) <= 1500


def test_acknowledgments_stay_in_a_window_that_the_peer_has_shrunk() -> None:
    peer = Peer()
    peer.accept(wnd=10_000, sack=True)
    peer.connection.cwnd_bytes = 100_000
    peer.write(bytes(10_000))
    peer.send(ACK, ack=1, wnd=1000)
    seen = peer.send(ACK, ack=1, wnd=1000, data=b"text") + peer.wait(200 * MS)
    assert [(one.seq, one.ack) for one in seen if not one.text][:1] == [(1001, 5)]


def test_the_rounding_of_a_scaled_window_is_no_shrinking() -> None:
    peer = Peer()
    peer.accept(wnd=1000, wscale=7, wnd_ack=10)
    peer.connection.cwnd_bytes = 100_000
    peer.write(bytes(1280))
    peer.send(ACK, ack=101, wnd=9, data=b"text")  # 100 octets fewer than a unit: the edge seems to go back
    acks = [seen for seen in peer.seen + peer.wait(200 * MS) if not seen.text]
    assert acks[-1].seq == 1281


@pytest.mark.parametrize("is_v6", [False, True])
def test_the_text_of_a_syn_is_kept_up_to_a_segment(is_v6: bool) -> None:
    for length, kept in ((1, 1), (1460, 1460), (1461, 0)):
        peer = Peer(is_v6=is_v6)
        listener = peer.listen()
        (syn_ack,) = peer.send(SYN, seq=0, ack=0, mss=9000, data=b"x" * length)
        assert syn_ack.ack == 1
        peer.irs = int(syn_ack.segment.seq)
        (entry,) = listener.half_open.values()
        assert len(entry.syn.data) == kept
        peer.send(ACK, seq=1 + length, ack=1)
        child = listener.accept()
        assert child is not None
        assert child.unread_bytes() == kept
