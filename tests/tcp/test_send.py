"""Sending: writes, full segments, Nagle, super-segments, path MTU, ICMP, what each segment bears."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.connection import Connection
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, PSH
from tests.kit.pair import Pair
from tests.kit.peer import set_options
from tests.kit.sending import established, lengths

# --- writing


def test_write_fills_the_last_piece_and_begins_none_in_a_full_buffer() -> None:
    peer = established(wnd=100)
    c = peer.connection
    c.send_buffer_bytes = 5000
    assert c.write(b"x" * 3000, peer.now_ns) == 3000
    assert c.write(b"x" * 3000, peer.now_ns) == 20, "the last piece is filled; with their buffers three are 6860 bytes"
    assert c.write(b"x", peer.now_ns) == 0
    assert c.outq_bytes() == 3020
    assert not c.is_writable()


def test_room_comes_back_with_the_acknowledgment_and_not_with_the_sending() -> None:
    peer = established()
    c = peer.connection
    c.send_buffer_bytes = 5000
    peer.write(b"x" * 5000)
    assert (c.unsent_bytes(), c.outq_bytes(), c.room()) == (0, 5000, 0)
    peer.send(ACK, ack=2001)
    assert (c.outq_bytes(), c.room()) == (3000, 2000)


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_program_that_found_no_room_is_woken_when_a_third_of_the_buffer_is_free(is_asked: bool) -> None:
    peer = established()
    c = peer.connection
    c.send_buffer_bytes = 6000
    peer.write(b"x" * 6000)
    owner = c.owner
    assert owner is not None
    owner.is_woken = False
    assert not is_asked or c.write(b"x", peer.now_ns) == 0
    peer.send(ACK, ack=1001)
    assert not owner.is_woken, "5000 of 6000 are in use"
    peer.send(ACK, ack=4001)
    assert owner.is_woken == is_asked


def test_writing_after_the_end_of_sending_is_a_broken_pipe() -> None:
    peer = established()
    peer.shutdown()
    with pytest.raises(BrokenPipeError, match="sending is over"):
        peer.connection.write(b"x", peer.now_ns)


def test_writing_on_a_connection_that_failed_raises_why_once_and_then_a_broken_pipe() -> None:
    peer = established()
    peer.send(4)  # RST
    with pytest.raises(ConnectionResetError):
        peer.connection.write(b"x", peer.now_ns)
    with pytest.raises(BrokenPipeError):
        peer.connection.write(b"x", peer.now_ns)


# --- full segments


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("is_v6", [False, True])
def test_segments_are_as_full_as_the_link_allows_options_and_all(timestamps: bool, is_v6: bool) -> None:
    peer = established(timestamps=timestamps, is_v6=is_v6, mss=1440 if is_v6 else 1460)
    seen = peer.write(b"x" * 10_000)
    assert {len(s.data) for s in seen[:-1]} == {1500}
    assert sum(lengths(seen)) == 10_000


def test_a_full_segment_less_its_timestamps_is_not_held_back_by_nagle() -> None:
    # The mistake: to compare with the MSS of the handshake, so that every segment waits for the one before.
    peer = established(timestamps=True)
    seen = peer.write(b"x" * 1448)
    seen += peer.write(b"x" * 1448)
    seen += peer.write(b"x" * 1448)
    assert lengths(seen) == [1448, 1448, 1448]


def test_segments_are_full_beside_sack_blocks_too() -> None:
    peer = established(timestamps=True, sack=True)
    peer.send(ACK, seq=101, data=b"x")
    seen = peer.write(b"x" * 6000)
    assert max(len(s.data) for s in seen) <= 1500
    assert sum(lengths(seen)) == 6000
    assert lengths(seen)[0] == 1448 - 12  # the block of the gap, once


def test_the_last_segment_of_what_was_written_is_pushed_and_no_other() -> None:
    peer = established()
    seen = peer.write(b"x" * 4000)
    assert [bool(s.segment.flags & PSH) for s in seen] == [False, False, True]


def test_nothing_written_stays_in_the_buffer_for_ever() -> None:
    pair = Pair()
    client, server = pair.established()
    got = b""
    for n in range(50):
        pair.write(client, bytes([n]) * (n * 37 % 700 + 1))
        if n % 7 == 0:
            pair.run_for(30 * MS)
            got += pair.read(server)
    pair.run_for(SECOND)
    got += pair.read(server)
    assert got == b"".join(bytes([n]) * (n * 37 % 700 + 1) for n in range(50))
    assert client.outq_bytes() == 0


# --- Nagle (RFC 9293 section 3.7.4)


def test_a_small_segment_goes_at_once_where_nothing_is_in_flight() -> None:
    assert lengths(established().write(b"x")) == [1]


def test_a_second_small_segment_waits_for_the_acknowledgment_of_the_first() -> None:
    peer = established()
    peer.write(b"a")
    assert peer.write(b"b") == []
    assert peer.write(b"c") == []
    (gathered,) = peer.send(ACK)
    assert gathered.text == b"bc"


def test_a_second_small_segment_that_fills_up_goes_at_once() -> None:
    peer = established()
    peer.write(b"a")
    peer.write(b"b" * 1000)
    assert lengths(peer.write(b"c" * 600)) == [1460]


def test_with_nodelay_every_small_segment_goes_at_once() -> None:
    peer = established(nodelay=True)
    assert [lengths(peer.write(b"x" * n)) for n in (1, 2, 3)] == [[1], [2], [3]]


def test_switching_nodelay_on_lets_go_what_waits() -> None:
    peer = established()
    peer.write(b"a")
    assert peer.write(b"b") == []
    peer.connection.set_nodelay(True)
    assert lengths(peer.touch()) == [1]


def test_the_tail_of_a_large_write_does_not_wait_for_its_full_segments() -> None:
    peer = established()
    assert lengths(peer.write(b"x" * (2 * 1460 + 100))) == [1460, 1460, 100]


@pytest.mark.parametrize("super_bytes", [0, 60_000])
def test_two_tails_in_flight_at_a_time_are_not_allowed(super_bytes: int) -> None:
    peer = established(segment_bytes_max=super_bytes)
    peer.write(b"x" * (2 * 1460 + 100))
    assert peer.write(b"tail") == []
    assert lengths(peer.send(ACK)) == [4]


def test_a_fin_lets_the_last_small_segment_go() -> None:
    peer = established()
    peer.write(b"a")
    assert peer.write(b"bye") == []
    (last,) = peer.shutdown()
    assert (last.text, last.flags) == (b"bye", "FP.")


# --- super-segments


def test_super_segments_are_as_large_as_the_link_takes_and_of_full_segments() -> None:
    peer = established(segment_bytes_max=10_000)
    seen = peer.write(b"x" * 30_000)
    assert lengths(seen)[:3] == [8760, 8760, 8760]
    assert {s.segment_bytes for s in seen[:3]} == {1460}
    assert sum(lengths(seen)) == 30_000


def test_each_burst_is_pushed_though_more_is_waiting() -> None:
    peer = established(segment_bytes_max=10_000)
    assert ["P" in s.flags for s in peer.write(b"x" * 30_000)[:3]] == [True, True, True]
    peer = established()
    assert [s.flags for s in peer.write(b"x" * 3000)] == [".", ".", "P."]


def test_a_super_segment_keeps_to_both_windows() -> None:
    peer = established(segment_bytes_max=60_000, wnd=20_000)
    c = peer.connection
    c.cwnd_bytes = 10 * 1460
    assert sum(lengths(peer.write(b"x" * 100_000))) == 10 * 1460
    peer.send(ACK, ack=14_601, wnd=3000)
    assert c.in_flight_count() == 1
    assert c.snd_nxt - c.snd_una == 2920


def test_a_lost_super_segment_is_repeated_in_single_ones() -> None:
    peer = established(segment_bytes_max=60_000)
    peer.write(b"x" * 20_000)
    repeats = peer.wait(SECOND)
    assert max(lengths(repeats)) <= 1460
    c: Connection = peer.connection
    assert c.snd_nxt - c.snd_una == 20_000
    for _ in range(20):
        peer.send(ACK)
        repeats = peer.wait(0)
    seen = sorted({(s.seq, s.end) for s in peer.seen if len(s.text) <= 1460})
    assert seen[0][0] == 1


def test_super_segments_carry_a_stream_over_loss() -> None:
    pair = Pair(segment_bytes_max=20_000)
    pair.a.config.tcp_wmem = (4096, 500_000, 500_000)
    count = iter(range(10**6))
    pair.filter = lambda p: p.sender == "b" or next(count) % 5 != 3
    client, server = pair.established()
    data = bytes(range(251)) * 800
    pair.write(client, data)
    got = b""
    for _ in range(600):
        pair.run_for(100 * MS)
        got += pair.read(server)
        if len(got) == len(data):
            break
    assert got == data


# --- path MTU (RFC 1191, RFC 8201)


def test_a_smaller_path_mtu_cuts_what_is_in_flight_and_sends_it_again() -> None:
    peer = established()
    sent = peer.write(b"x" * 2920)
    peer.side.paths.mtu = 1000
    c = peer.connection
    assert peer.demux.on_mtu_changed(c.key, sent[0].segment.seq)
    again = peer.flush()
    assert lengths(again) == [960, 500, 960, 500]
    assert [s.seq for s in again] == [1, 961, 1461, 2421]
    assert lengths(peer.write(b"y" * 2000))[0] == 960


def test_a_message_about_a_number_that_is_not_in_flight_is_ignored() -> None:
    peer = established()
    sent = peer.write(b"x" * 2920)
    peer.send(ACK)
    peer.side.paths.mtu = 1000
    peer.demux.on_mtu_changed(peer.connection.key, sent[0].segment.seq)
    assert peer.connection.mss_base == 1460
    assert peer.counters.TcpExtOutOfWindowIcmps == 1


def test_a_smaller_path_mtu_is_no_loss_to_congestion_control() -> None:
    peer = established()
    sent = peer.write(b"x" * 2920)
    before = peer.connection.cwnd_bytes
    peer.side.paths.mtu = 1000
    peer.demux.on_mtu_changed(peer.connection.key, sent[0].segment.seq)
    peer.flush()
    assert peer.connection.cwnd_bytes == before


def test_no_connection_no_path_mtu() -> None:
    peer = established()
    assert not peer.demux.on_mtu_changed(b"nobody", peer.connection.snd_una)


# --- ICMP errors (RFC 9293 section 3.9.2.2)


def test_an_established_connection_survives_soft_and_hard_errors_and_notes_them() -> None:
    peer = established()
    sent = peer.write(b"x")
    for number in (errno.EHOSTUNREACH, errno.ECONNREFUSED):
        peer.demux.on_unreachable(peer.connection.key, sent[0].segment.seq, number, "said ICMP")
        assert peer.connection.state == State.ESTABLISHED
        assert peer.connection.soft_error == number
        assert peer.connection.error == 0


def test_so_error_gives_a_soft_error_once() -> None:
    peer = established()
    sent = peer.write(b"x")
    peer.demux.on_unreachable(peer.connection.key, sent[0].segment.seq, errno.EHOSTUNREACH, "no route")
    assert [peer.connection.take_error() for _ in range(2)] == [errno.EHOSTUNREACH, 0]
    assert peer.connection.state == State.ESTABLISHED


def test_so_error_says_nothing_of_mere_silence() -> None:
    peer = established()
    peer.write(b"x")
    peer.config.tcp_retries1 = 1
    peer.wait(5 * SECOND)
    assert peer.connection.soft_error == errno.ETIMEDOUT
    assert peer.connection.take_error() == 0


def test_a_soft_error_becomes_the_reason_when_the_connection_times_out() -> None:
    peer = established()
    sent = peer.write(b"x")
    peer.demux.on_unreachable(peer.connection.key, sent[0].segment.seq, errno.EHOSTUNREACH, "no route")
    peer.connection.soft_error = errno.EHOSTUNREACH
    peer.config.tcp_retries1 = 100
    peer.wait(3600 * SECOND)
    assert peer.connection.take_error() == errno.EHOSTUNREACH


def test_an_acknowledgment_clears_the_soft_error() -> None:
    peer = established()
    sent = peer.write(b"x")
    peer.demux.on_unreachable(peer.connection.key, sent[0].segment.seq, errno.EHOSTUNREACH, "no route")
    peer.send(ACK)
    assert peer.connection.soft_error == 0


def test_an_error_about_a_number_that_is_not_in_flight_is_ignored() -> None:
    peer = established()
    peer.write(b"x")
    peer.demux.on_unreachable(peer.connection.key, peer.connection.snd_nxt, errno.EHOSTUNREACH, "forged")
    assert peer.connection.soft_error == 0
    assert peer.counters.TcpExtOutOfWindowIcmps == 1


# --- traffic class, hop limit, address


def test_the_traffic_class_may_change_during_the_connection_and_is_passed_on_unchanged() -> None:
    peer = established(tos=0x10)
    assert peer.write(b"a")[0].segment.tos == 0x10
    peer.send(ACK)
    set_options(peer.connection, tos=0xB8)
    (sent,) = peer.write(b"b")
    assert sent.segment.tos == 0xB8
    assert sent.data[1] == 0xB8


def test_the_hop_limit_is_the_sockets_own() -> None:
    peer = established(ttl=3)
    (sent,) = peer.write(b"a")
    assert sent.ttl == 3
    assert sent.data[8] == 3


def test_every_segment_of_a_connection_leaves_from_its_own_address() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.a.paths.local = b"\x01\x02\x03\x04"
    pair.write(client, b"x" * 5000)
    pair.run_for(SECOND)
    pair.close(client)
    pair.run_for(SECOND)
    pair.close(server)
    pair.run_for(SECOND)
    assert {p.data[12:16] for p in pair.passed if p.sender == "a"} == {pair.a.address}
