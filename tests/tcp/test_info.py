"""``Info``: each number of ``TCP_INFO`` that needs more than a look at the TCB, made to move and read."""

from __future__ import annotations

from estab.tcp.info import Info
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer


def info(peer: Peer) -> Info:
    told: Info = peer.connection.info(peer.now_ns)
    return told


def sending(count: int, **options: object) -> Peer:
    """A connection with SACK and ``count`` segments of 1000 bytes in flight, a round trip of 100 ms known."""
    peer = Peer()
    peer.accept(mss=1000, sack=True, **options)  # type: ignore[arg-type]
    peer.connection.cwnd_bytes = 100_000
    peer.write(b"x")
    peer.now_ns += 100 * MS
    peer.send(ACK, ack=2)
    peer.write(b"x" * 1000 * count)
    peer.now_ns += 100 * MS
    return peer


def test_lost_and_sent_again_and_sacked_segments_are_told_apart() -> None:
    peer = sending(10)
    peer.connection.ssthresh_bytes = peer.connection.cwnd_bytes = 8000
    repeated = peer.send(ACK, ack=2, sack=[3002, 4002, 6002, 7002, 8002, 9002])
    one = info(peer)
    assert (one.ca_state, one.unacked_segments, one.sacked_segments) == ("Recovery", 10, 3)
    assert (one.lost_segments, one.retrans_segments, one.total_retrans_segments) == (6, 3, len(repeated))
    peer.send(ACK, ack=10_002)
    done = info(peer)
    assert (done.unacked_segments, done.sacked_segments, done.lost_segments, done.retrans_segments) == (0, 0, 0, 0)


def test_a_false_alarm_that_is_taken_back_leaves_no_segment_lost() -> None:
    peer = sending(4, timestamps=True)
    peer.send(ACK, ack=2, sack=[1990, 2978])
    peer.wait(SECOND // 4)
    assert info(peer).lost_segments >= 1
    peer.send(ACK, ack=1002, ts_ecr=(peer.now_ns // MS - 400 + int(peer.connection.ts_offset)))
    assert info(peer).lost_segments == 0


def test_reordering_is_the_distance_from_the_late_original_to_the_highest_that_came() -> None:
    peer = sending(10)
    peer.send(ACK, ack=2, sack=[7002, 8002])
    assert (info(peer).reordering_segments, info(peer).reord_seen) == (3, 0)
    peer.send(ACK, ack=2, sack=[3002, 4002, 7002, 8002])
    assert (info(peer).reordering_segments, info(peer).reord_seen) == (5, 1)
    assert peer.counters.TcpExtTCPSACKReorder == 1
    peer.send(ACK, ack=2, sack=[2002, 4002, 7002, 8002])
    assert (info(peer).reordering_segments, info(peer).reord_seen) == (6, 2)


def test_reordering_is_believed_up_to_tcp_max_reordering() -> None:
    peer = Peer()
    peer.config.tcp_max_reordering = 4
    peer.accept(mss=1000, sack=True)
    peer.write(b"x" * 10_000)
    peer.send(ACK, ack=1, sack=[9001, 10_001])
    peer.send(ACK, ack=1, sack=[2001, 3001, 9001, 10_001])
    assert info(peer).reordering_segments == 4


def test_what_the_peer_reports_twice_is_counted_in_segments() -> None:
    peer = sending(6)
    peer.send(ACK, ack=3002)
    peer.send(ACK, ack=3002, sack=[2, 2502])
    assert info(peer).dsack_dups_segments == 3
    assert (peer.counters.TcpExtTCPDSACKRecv, peer.counters.TcpExtTCPDSACKRecvSegs) == (1, 3)


def test_delivered_counts_each_segment_once_and_the_handshake() -> None:
    peer = sending(6)
    assert info(peer).delivered_segments == 2
    peer.send(ACK, ack=2, sack=[2002, 4002])
    assert info(peer).delivered_segments == 4
    peer.send(ACK, ack=6002)
    assert info(peer).delivered_segments == 8


def test_a_super_segment_counts_for_those_that_it_is_cut_into() -> None:
    peer = Peer(segment_bytes_max=65535)
    peer.config.tcp_min_tso_segs = 9
    peer.accept(mss=1000)
    peer.connection.cwnd_bytes = 20_000
    (sent,) = peer.write(b"x" * 8500)
    assert sent.segment_bytes == 1000
    one = info(peer)
    assert (one.unacked_segments, one.data_segs_out, one.segs_out, one.bytes_sent) == (9, 9, 9, 8500)
    peer.send(ACK, ack=3001)
    assert (info(peer).unacked_segments, info(peer).delivered_segments) == (6, 4)
    peer.wait(SECOND)
    again = info(peer)
    assert again.total_retrans_segments == again.data_segs_out - 9 > 0
    assert again.bytes_sent == 8500 + again.bytes_retrans


def test_text_in_and_out_is_counted_with_all_that_bore_it() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN | ACK, seq=0, ack=1, mss=1000)
    peer.write(b"x" * 1500)
    peer.text(b"y" * 10)
    peer.send(ACK, seq=21, data=b"z" * 10)  # beyond a gap
    one = info(peer)
    assert (one.data_segs_out, one.data_segs_in, one.segs_in, one.rcv_ooopack_segments) == (2, 2, 3, 1)
    assert (one.bytes_sent, one.bytes_received, one.bytes_acked) == (1500, 10, 1501)


def test_time_with_the_peers_window_shut_is_told_apart_from_being_busy() -> None:
    peer = Peer()
    peer.accept(mss=1000, wnd_ack=0)
    peer.wait(SECOND)
    assert (info(peer).busy_ns, info(peer).rwnd_limited_ns) == (0, 0)
    peer.write(b"x" * 500)
    peer.wait(100 * MS)
    assert (info(peer).busy_ns, info(peer).rwnd_limited_ns) == (100 * MS, 100 * MS)
    peer.send(ACK, ack=1, wnd=4000)
    peer.wait(30 * MS)
    peer.send(ACK, ack=501, wnd=4000)
    peer.wait(SECOND)
    one = info(peer)
    assert (one.busy_ns, one.rwnd_limited_ns, one.sndbuf_limited_ns) == (130 * MS, 100 * MS, 0)


def test_time_with_a_send_buffer_that_is_too_small_is_told_until_there_is_room() -> None:
    peer = Peer()
    peer.accept(mss=1000, wnd=60_000, send_buffer_bytes=5000, is_send_buffer_fixed=True)
    peer.connection.cwnd_bytes = 100_000
    count = peer.connection.write(b"x" * 60_000, peer.now_ns)
    assert 5000 < count < 60_000  # both windows would take all
    peer.touch()
    peer.wait(20 * MS)
    assert info(peer).sndbuf_limited_ns == 20 * MS
    peer.send(ACK, ack=count - 1999)
    peer.wait(10 * MS)
    peer.send(ACK, ack=count + 1)
    peer.wait(SECOND)
    one = info(peer)
    assert (one.sndbuf_limited_ns, one.busy_ns, one.rwnd_limited_ns) == (20 * MS, 30 * MS, 0)


def test_timeouts_are_counted_and_timed_until_the_peer_answers() -> None:
    peer = sending(1)
    while info(peer).total_rto < 2:
        peer.wait(100 * MS)
    one = info(peer)
    assert (one.total_rto, one.total_rto_recoveries, one.retransmits) == (2, 1, 2)
    assert one.total_rto_time_ns > 0
    peer.send(ACK, ack=1002)
    done = info(peer)
    assert (done.total_rto, done.total_rto_recoveries, done.retransmits) == (2, 1, 0)
    peer.wait(SECOND)
    assert info(peer).total_rto_time_ns == done.total_rto_time_ns


def test_the_delivery_rate_is_what_the_path_delivered_and_says_when_the_program_held_it_down() -> None:
    peer = sending(10)
    peer.send(ACK, ack=10_002)
    one = info(peer)
    assert one.delivery_rate == 10_000 * SECOND // (100 * MS)
    peer.write(b"x" * 10)
    peer.write(b"x" * 10)
    peer.now_ns += 100 * MS
    peer.send(ACK, ack=10_022)
    assert info(peer).delivery_rate == one.delivery_rate  # a slower one, for want of text, does not replace it


def test_the_shortest_round_trip_is_forgotten_after_tcp_min_rtt_wlen() -> None:
    peer = Peer()
    peer.config.tcp_min_rtt_wlen_ns = 10 * SECOND
    peer.accept(mss=1000)
    peer.connection.min_rtt_ns = 0  # the handshake took no time

    def round_trip(rtt_ns: int) -> int:
        peer.write(b"x")
        end = peer.ack
        peer.now_ns += rtt_ns
        peer.side.context.now_ns = peer.now_ns
        peer.send(ACK, ack=end)
        return info(peer).min_rtt_ns

    assert round_trip(20 * MS) == 20 * MS
    for _ in range(4):
        peer.wait(2 * SECOND)
        assert round_trip(50 * MS) == 20 * MS
    peer.wait(3 * SECOND)
    assert round_trip(60 * MS) == 50 * MS


def test_the_receiver_measures_its_round_trip_by_the_echo_of_full_segments() -> None:
    peer = Peer()
    peer.accept(mss=1000, timestamps=True, wnd=60_000)
    echo = peer.ts_recent
    peer.now_ns += 40 * MS
    peer.side.context.now_ns = peer.now_ns
    peer.text(b"y" * 988, ts_ecr=echo)
    assert info(peer).rcv_rtt_ns == 40 * MS
    peer.read()
    peer.now_ns += 10 * MS
    peer.text(b"y" * 988, ts_ecr=echo)  # an echo counts once
    assert info(peer).rcv_rtt_ns == 40 * MS


def test_the_receiver_measures_without_timestamps_how_long_a_window_takes() -> None:
    peer = Peer()
    peer.accept(mss=1000, receive_buffer_bytes=8000, is_receive_buffer_fixed=True)
    for _ in range(6):
        peer.text(b"y" * 1000)
        peer.read()
        peer.now_ns += 5 * MS
        peer.side.context.now_ns = peer.now_ns
    assert 15 * MS <= info(peer).rcv_rtt_ns <= 25 * MS


def test_the_receive_buffer_grows_on_a_long_path_although_only_the_receiver_measures_it() -> None:
    pair = Pair(delay_ns=100 * MS)
    for side in (pair.a, pair.b):
        side.config.tcp_timestamps = False  # the receiver sends nothing that the sender would echo
    client, server = pair.established()
    before = server.receive_buffer_bytes
    got = 0
    for _ in range(100):
        if client.room() > 0:
            pair.write(client, bytes(65536))
        pair.run_for(20 * MS)
        got += len(pair.read(server))
    assert got > 1_000_000
    told = server.info(pair.now_ns)
    assert told.rcv_rtt_ns >= 200 * MS
    assert told.receive_buffer_bytes > 2 * before
