"""Sending: full segments, Nagle, silly windows, windows that shrink or shut, probes, PSH, super-segments, path MTU."""

from __future__ import annotations

import errno

import pytest

from estab.tcp.connection import Connection
from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK, PSH
from tests.kit.pair import Pair
from tests.kit.peer import Peer, Seen, set_options


def lengths(seen: list[Seen]) -> list[int]:
    """Give the lengths of the text."""
    return [len(s.text) for s in seen]


def established(**options: object) -> Peer:
    """Open a connection with room for 200 kB and a congestion window that does not get in the way."""
    peer = Peer(
        segment_bytes_max=options.pop("segment_bytes_max", 0),  # type: ignore[arg-type]
        mtu=options.pop("mtu", 1500), is_v6=options.pop("is_v6", False),  # type: ignore[arg-type]
    )
    connection = peer.accept(send_buffer_bytes=200_000, is_send_buffer_fixed=True, **options)  # type: ignore[arg-type]
    connection.cwnd_bytes = 1_000_000
    return peer


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


# --- the peer's window


def test_no_more_is_sent_than_the_window_allows() -> None:
    peer = established(wnd=4000)
    seen = peer.write(b"x" * 10_000)
    assert sum(lengths(seen)) <= 4000
    assert lengths(seen) == [1460, 1460]  # and no silly third


def test_the_silly_window_is_avoided_unless_half_of_the_largest_window_is_free() -> None:
    peer = established(wnd=8000)
    peer.write(b"x" * 20_000)
    peer.send(ACK, ack=7301, wnd=1000)
    assert peer.connection.in_flight_count() == 0
    before = len(peer.seen)
    assert peer.send(ACK, ack=7301, wnd=1400) == []  # less than a segment and less than half of 8000
    assert lengths(peer.send(ACK, ack=7301, wnd=1460)) == [1460]
    assert len(peer.seen) == before + 1


def test_half_of_a_small_peers_window_is_worth_sending() -> None:
    peer = established(wnd=1000)
    assert lengths(peer.write(b"x" * 5000)) == [1000]
    assert lengths(peer.send(ACK, ack=1001, wnd=500)) == [500]
    assert lengths(peer.send(ACK, ack=1501, wnd=499)) == []


def test_what_a_silly_window_holds_back_goes_after_the_override_timeout() -> None:
    peer = established(wnd=8000)
    peer.write(b"x" * 20_000)
    assert peer.send(ACK, ack=7301, wnd=1000) == []
    late = peer.wait(2 * SECOND)
    assert lengths(late)[0] == 1000


def test_a_window_that_shrinks_stops_new_text_and_keeps_old() -> None:
    peer = established(wnd=20_000)
    sent = peer.write(b"x" * 14_600)
    assert sum(lengths(sent)) == 14_600
    assert peer.send(ACK, ack=1461, wnd=3000) == []  # 1461 + 3000 is far left of what was sent
    assert peer.write(b"new") == []
    repeats = peer.wait(3 * SECOND)
    assert {s.seq for s in repeats} == {1461}  # retransmission within the new window, and nothing beyond
    peer.send(ACK, ack=14_601, wnd=20_000)
    assert peer.connection.outq_bytes() == 0 or peer.seen[-1].text == b"new"


def test_old_text_inside_a_shrunk_window_is_repeated_and_none_beyond_it() -> None:
    peer = established(wnd=20_000)
    peer.write(b"x" * 14_600)
    peer.send(ACK, ack=1, wnd=5000)
    repeats = peer.wait(300 * MS)
    repeats += peer.send(ACK, ack=1461, wnd=3540)
    repeats += peer.send(ACK, ack=2921, wnd=2080)
    assert [(s.seq, s.end) for s in repeats] == [(1, 1461), (1461, 2921), (2921, 4381), (4381, 5001)]
    assert peer.send(ACK, ack=4381, wnd=620) == []


def test_text_beyond_a_window_that_shut_does_not_time_out_while_the_peer_answers() -> None:
    peer = established(wnd=20_000)
    peer.write(b"x" * 2000)
    peer.send(ACK, ack=1, wnd=0)
    for _ in range(60):
        for s in peer.wait(60 * SECOND):
            assert s.seq in (0, 1)
            peer.send(ACK, ack=1, wnd=0)
    assert peer.connection.state == State.ESTABLISHED
    peer.send(ACK, ack=1, wnd=20_000)
    repeats = peer.wait(121 * SECOND)
    assert repeats[0].seq == 1
    peer.send(ACK, ack=2001)
    assert peer.connection.outq_bytes() == 0


# --- a window of zero (RFC 9293 section 3.8.6.1)


def shut_out(**options: object) -> Peer:
    """Write into a window of zero."""
    peer = established(wnd=1000, **options)
    peer.write(b"x" * 5000)
    assert peer.send(ACK, ack=1001, wnd=0) == []
    return peer


def test_a_shut_window_is_probed_after_one_timeout_and_then_ever_more_rarely() -> None:
    peer = shut_out()
    rto = peer.connection.rto_ns
    start = peer.now_ns
    probes = peer.wait(rto * 64)
    assert [s.at_ns - start for s in probes] == [rto * (2**n - 1) for n in range(1, 7)]
    for s in probes:
        assert (s.flags, s.seq, s.text) == (".", 1000, b"")  # an old number, which must be answered
    assert peer.counters.TcpExtTCPWinProbe == 6


def test_the_time_between_probes_is_bounded() -> None:
    peer = shut_out()
    times: list[int] = []
    for _ in range(30):
        for s in peer.wait(60 * SECOND):
            times.append(s.at_ns)
            peer.send(ACK, ack=1001, wnd=0)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert max(gaps) == peer.config.tcp_rto_max_ns


def test_the_connection_stays_open_as_long_as_its_probes_are_answered() -> None:
    peer = shut_out()
    for _ in range(24):
        for _ in peer.wait(3600 * SECOND // 10):
            peer.send(ACK, ack=1001, wnd=0)
    assert peer.connection.state == State.ESTABLISHED
    assert peer.connection.probes_out == 0


def test_probes_that_nobody_answers_end_the_connection() -> None:
    peer = shut_out()
    peer.wait(3600 * SECOND)
    assert peer.connection.state == State.CLOSED
    with pytest.raises(TimeoutError, match="15 zero-window probes unanswered"):
        peer.connection.raise_error()


def test_the_window_update_that_opens_it_lets_text_go_and_ends_the_probing() -> None:
    peer = shut_out()
    peer.wait(SECOND)
    seen = peer.send(ACK, ack=1001, wnd=10_000)
    assert lengths(seen) == [1460, 1460, 1080]
    assert peer.connection.persist_ns == NEVER
    assert peer.connection.backoff == 0


def test_a_fin_waits_behind_text_that_a_shut_window_holds_back() -> None:
    peer = shut_out()
    assert peer.shutdown() == []
    assert peer.connection.state == State.FIN_WAIT_1
    seen = peer.send(ACK, ack=1001, wnd=10_000)
    assert [(len(s.text), s.flags) for s in seen] == [(1460, "P."), (1460, "P."), (1080, "FP.")]


def test_an_orphan_does_not_probe_a_shut_window_for_ever() -> None:
    peer = shut_out()
    peer.close()
    for _ in range(100):
        for _ in peer.wait(60 * SECOND):
            peer.send(ACK, ack=1001, wnd=0)
    assert peer.connection.state == State.CLOSED
    assert peer.demux.table == {}


def test_a_persist_timer_runs_whenever_text_waits_and_nothing_is_in_flight() -> None:
    peer = established(wnd=0, wnd_ack=0)
    peer.write(b"x")
    assert peer.connection.persist_ns != NEVER
    peer.send(ACK, wnd=100)
    assert peer.seen[-1].text == b"x"


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
