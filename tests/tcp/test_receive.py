"""Receiving: order, acknowledgments, the window."""

from __future__ import annotations

import pytest

from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, SYN
from tests.kit.pair import Pair, Passed
from tests.kit.peer import Peer, Seen, set_options
from tests.kit.receiving import established

# --- order


def test_text_out_of_order_is_held_and_given_in_order() -> None:
    peer = established()
    peer.send(ACK, seq=7, data=b"world")
    assert peer.connection.readable_bytes() == 0
    (ack,) = peer.send(ACK, seq=1, data=b"hello ")
    assert ack.ack == 12
    assert peer.read() == b"hello world"
    assert peer.connection.out_of_order is None


def test_overlapping_copies_are_given_once_and_the_first_wins() -> None:
    peer = established()
    peer.send(ACK, seq=5, data=b"EFGH")
    peer.send(ACK, seq=3, data=b"cdefghij")
    peer.send(ACK, seq=1, data=b"abcd")
    assert peer.read() == b"abcdEFGHij"


def test_a_fin_out_of_order_counts_once_the_text_before_it_is_here() -> None:
    peer = established()
    (ack,) = peer.send(ACK | FIN, seq=4, data=b"def")
    assert ack.ack == 1
    assert peer.connection.state == State.ESTABLISHED
    (ack,) = peer.send(ACK, seq=1, data=b"abc")
    assert ack.ack == 8
    assert peer.connection.state == State.CLOSE_WAIT
    assert peer.read() == b"abcdef"
    assert peer.connection.is_eof()


def test_a_bare_fin_out_of_order_counts_once_the_text_before_it_is_here() -> None:
    peer = established()
    (ack,) = peer.send(ACK | FIN, seq=4)
    assert ack.ack == 1
    (ack,) = peer.send(ACK, seq=1, data=b"abc")
    assert (ack.ack, peer.connection.state) == (5, State.CLOSE_WAIT)


def test_a_forged_fin_that_text_has_overtaken_does_not_hide_the_real_one() -> None:
    peer = established()
    peer.send(ACK | FIN, seq=3)
    peer.send(ACK, seq=1, data=b"abcdef")
    assert peer.connection.state == State.ESTABLISHED
    peer.send(ACK | FIN, seq=7)
    assert peer.connection.state == State.CLOSE_WAIT
    assert peer.read() == b"abcdef"


def test_text_after_the_fin_is_not_taken() -> None:
    peer = established()
    peer.send(ACK | FIN, seq=1, data=b"all")
    peer.send(ACK, seq=5, data=b"more")
    assert peer.read() == b"all"
    assert peer.connection.is_eof()


def test_the_owner_is_woken_by_text_in_order_and_not_by_a_gap() -> None:
    peer = established()
    owner = peer.connection.owner
    assert owner is not None
    peer.take_woken()
    peer.send(ACK, seq=5, data=b"late")
    assert peer.take_woken() == []
    peer.send(ACK, seq=1, data=b"soon")
    assert peer.take_woken() == [owner]


def test_tiny_pieces_beyond_a_gap_take_no_more_memory_than_the_buffer() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    for n in range(200):
        peer.send(ACK, seq=10 + 10 * n, data=b"x")
    queue = peer.connection.out_of_order
    assert queue is not None
    assert len(queue) == 20_000 // 257
    assert queue.blocks(1) == [queue.blocks(1)[0], queue.blocks(1)[0] + 1]
    assert peer.counters.TcpExtTCPOFODrop == 200 - 20_000 // 257, "each is farther than all that is held"
    assert peer.counters.TcpExtOfoPruned == 0


def test_for_what_comes_nearer_the_farthest_is_dropped_an_eighth_of_the_buffer_at_a_time() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    for n in range(20_000 // 257):
        peer.send(ACK, seq=5000 - 10 * n, data=b"x")
    assert peer.counters.TcpExtOfoPruned == peer.counters.TcpExtTCPOFODrop == 0
    queue = peer.connection.out_of_order
    assert queue is not None
    held = len(queue)
    peer.send(ACK, seq=10, data=b"y")
    assert peer.counters.TcpExtOfoPruned == 1
    assert len(queue) == held - 10 + 1, "ten of 257 bytes are more than 2,500"
    assert peer.counters.TcpExtTCPOFODrop == 0
    peer.send(ACK, seq=1, data=b"z" * 9)
    assert peer.read() == b"z" * 9 + b"y"


def test_text_in_order_is_taken_though_what_is_out_of_order_fills_the_buffer() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    for n in range(20_000 // 257):
        peer.send(ACK, seq=3000 + 10 * n, data=b"x")
    peer.send(ACK, seq=1, data=b"y" * 1460)
    assert peer.read() == b"y" * 1460
    assert peer.counters.TcpExtOfoPruned == 1


def test_a_whole_window_of_small_segments_beyond_a_gap_is_held() -> None:
    peer = established(receive_buffer_bytes=65_536, is_receive_buffer_fixed=True)
    for n in range(100):
        peer.send(ACK, seq=257 + 256 * n, data=b"x" * 256)
    assert peer.counters.TcpExtTCPOFOQueue == 100
    assert peer.counters.TcpExtTCPOFODrop == peer.counters.TcpExtOfoPruned == 0


def test_peeking_leaves_the_text_where_it_is() -> None:
    peer = established()
    peer.text(b"hello")
    assert peer.connection.read(3, True, peer.now_ns) == b"hel"
    assert peer.connection.read(100, True, peer.now_ns) == b"hello"
    assert peer.read(2) == b"he"
    assert peer.read() == b"llo"
    assert peer.read() == b""


def test_what_was_received_can_be_read_after_reading_was_shut_down() -> None:
    peer = established()
    peer.text(b"hello")
    peer.connection.shutdown_read()
    assert not peer.connection.is_eof()
    assert peer.read() == b"hello"
    assert peer.connection.is_eof()


# --- when to acknowledge


def test_a_lone_segment_is_acknowledged_after_the_delay_and_under_half_a_second() -> None:
    peer = established()
    start = peer.now_ns
    assert peer.text(b"x" * 1000) == []
    (ack,) = peer.wait(SECOND)
    assert (ack.flags, ack.ack, ack.at_ns - start) == (".", 1001, 40 * MS)
    assert peer.counters.TcpExtDelayedACKs == 1


def test_every_second_full_segment_is_acknowledged_at_once() -> None:
    peer = established()
    answers = [[s.ack for s in peer.text(b"x" * 1460)] for _ in range(6)]
    peer_acks = [a for a in answers if a]
    assert answers[0] == [] or answers[1] == []
    assert len(peer_acks) == 3


def test_acknowledgments_are_aggregated_when_segments_come_together() -> None:
    pair = Pair()
    client, server = pair.established()
    server.quick_acks = 0
    before = len(pair.passed)
    pair.write(client, b"x" * 14_480)
    pair.run_for(6 * MS)
    acks = [p for p in pair.passed[before:] if p.sender == "b"]
    assert len(acks) <= 6


def test_all_segments_handed_over_before_a_poll_get_one_acknowledgment() -> None:
    from estab.wire import ip
    from estab.wire.tcp import parse

    peer = established()
    for n in range(6):
        packet = ip.parse(peer.packet(ACK, seq=1 + 1000 * n, data=b"x" * 1000), 0)
        peer.demux.on_segment(packet, parse(packet, False), peer.now_ns)
    assert [s.ack for s in peer.flush()] == [6001]


def test_an_acknowledgment_rides_on_text_that_goes_out() -> None:
    peer = established()
    assert peer.text(b"ping") == []
    (pong,) = peer.write(b"pong")
    assert (pong.text, pong.ack) == (b"pong", 5)
    assert peer.wait(100 * MS) == []


def test_a_connection_starts_with_quick_acknowledgments() -> None:
    peer = established(quick=4)
    answers = [len(peer.text(b"x" * 100)) for _ in range(6)]
    assert answers == [1, 1, 1, 1, 0, 0]


def test_after_text_that_came_twice_acknowledgments_are_quick_for_a_while() -> None:
    peer = established()
    peer.write(b"a")  # a conversation, in which acknowledgments would ride on text
    assert peer.text(b"x" * 100) == []
    peer.send(ACK, seq=1, data=b"x" * 100)
    assert peer.counters.TcpExtDelayedACKLost == 1
    assert [len(peer.text(b"y" * 100)) for _ in range(20)] == [1] * 15 + [0] * 5


def test_after_a_pause_longer_than_the_timeout_acknowledgments_are_quick_for_a_while() -> None:
    peer = established()
    assert peer.text(b"x" * 100) == []
    peer.wait(5 * SECOND)
    assert [len(peer.text(b"y" * 100)) for _ in range(20)] == [1] * 16 + [0] * 4


def test_fewer_acknowledgments_are_quick_where_the_window_is_small() -> None:
    peer = established(receive_buffer_bytes=10_000, is_receive_buffer_fixed=True)
    peer.text(b"x" * 500)
    peer.read()
    peer.wait(5 * SECOND)
    assert [len(peer.text(b"y" * 10)) for _ in range(6)] == [1] * 4 + [0] * 2


def test_text_out_of_order_is_acknowledged_at_once_each_time() -> None:
    peer = established()
    answers = [peer.send(ACK, seq=1001 + 1000 * n, data=b"x" * 1000) for n in range(3)]
    assert [[s.ack for s in a] for a in answers] == [[1], [1], [1]]


def test_text_that_fills_a_gap_is_acknowledged_at_once() -> None:
    peer = established()
    peer.send(ACK, seq=1001, data=b"x" * 1000)
    peer.send(ACK, seq=3001, data=b"x" * 1000)
    assert [s.ack for s in peer.send(ACK, seq=1, data=b"x" * 1000)] == [2001]  # part of it
    assert [s.ack for s in peer.send(ACK, seq=2001, data=b"x" * 1000)] == [4001]  # all of it


def test_text_while_there_is_a_gap_is_acknowledged_at_once() -> None:
    peer = established()
    peer.send(ACK, seq=5001, data=b"x")
    assert [s.ack for s in peer.send(ACK, seq=1, data=b"x" * 10)] == [11]


def test_a_fin_is_acknowledged_at_once() -> None:
    peer = established()
    assert [s.ack for s in peer.send(ACK | FIN)] == [2]


def test_an_acknowledgment_is_never_acknowledged() -> None:
    peer = established()
    assert peer.send(ACK) == []
    assert peer.send(ACK | PSH) == []
    assert peer.wait(SECOND) == []


def right_edges(seen: list[Seen], scale: int) -> list[int]:
    """Give the right window edge that each segment told."""
    return [s.ack + (s.wnd << scale) for s in seen if s.flags != "S."]


# --- the window


@pytest.mark.parametrize("wscale", [-1, 7])
@pytest.mark.parametrize("chunk", [1, 7, 100, 536, 1460])
def test_the_right_edge_never_moves_left(wscale: int, chunk: int) -> None:
    peer = established(wscale=wscale, receive_buffer_bytes=20_000, is_receive_buffer_fixed=True, quick=10**6)
    c = peer.connection
    for n in range(300):
        if c.rcv_adv - c.rcv_nxt < chunk:
            break
        peer.text(b"x" * chunk)
        if n % 50 == 49:
            peer.read(3000)
    edges = right_edges(peer.seen, int(c.rcv_wscale))
    assert edges == sorted(edges)


def test_the_right_edge_does_not_move_left_when_the_buffer_is_made_smaller() -> None:
    peer = established(quick=1000)
    peer.text(b"x" * 100)
    peer.connection.set_receive_buffer(8192)
    peer.text(b"x" * 100)
    peer.text(b"x" * 100)
    edges = right_edges(peer.seen, 0)
    assert edges == sorted(edges)


def test_a_program_that_does_not_read_shuts_the_window() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    c = peer.connection
    while c.rcv_adv > c.rcv_nxt:
        peer.text(b"x" * min(1000, int(c.rcv_adv - c.rcv_nxt)))
    assert peer.seen[-1].wnd == 0
    assert c.readable_bytes() <= 10_000


@pytest.mark.parametrize("wscale", [-1, 0, 7, 14])
def test_a_peer_that_sends_byte_by_byte_can_not_fill_more_than_the_buffer(wscale: int) -> None:
    peer = established(wscale=wscale, receive_buffer_bytes=4096, is_receive_buffer_fixed=True, quick=10**6)
    c = peer.connection
    c.rcv_wscale = max(wscale, 0)  # as a host with huge buffers would have chosen
    for _ in range(4500):
        peer.text(b"x")
    assert c.readable_bytes() <= max(4096, 1 << max(wscale, 0))


def test_the_window_opens_in_no_silly_pieces() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    c = peer.connection
    while c.rcv_adv > c.rcv_nxt:
        peer.text(b"x" * min(1460, int(c.rcv_adv - c.rcv_nxt)))
    peer.seen.clear()
    freed = 0
    while not peer.seen:
        freed += len(peer.read(100))
        assert freed <= 10_000
    assert freed >= min(1460, 5000)
    assert peer.seen[0].wnd >= 1460


def test_reading_everything_opens_a_shut_window_at_once() -> None:
    peer = established(receive_buffer_bytes=20_000, is_receive_buffer_fixed=True)
    c = peer.connection
    while c.rcv_adv > c.rcv_nxt:
        peer.text(b"x" * min(1460, int(c.rcv_adv - c.rcv_nxt)))
    peer.seen.clear()
    peer.read()
    (update,) = peer.seen
    assert update.wnd > 8000
    assert update.flags == "."


def test_reading_a_little_of_an_open_window_sends_nothing() -> None:
    peer = established()
    peer.text(b"x" * 1000)
    peer.wait(SECOND)
    peer.seen.clear()
    peer.read(500)
    assert peer.seen == []


@pytest.mark.parametrize("size", [2304, 4096])
def test_a_tiny_buffer_still_gets_everything_through(size: int) -> None:
    pair = Pair()
    listener = pair.listen()
    listener.options = listener.options.with_receive_buffer(size)
    client = pair.connect()
    pair.run_for(20 * MS)
    server = listener.accept()
    assert server is not None
    data = bytes(range(256)) * 40
    sent, got = 0, b""
    while len(got) < len(data) and pair.now_ns < 300 * SECOND:
        sent += pair.write(client, data[sent:])
        pair.run_for(50 * MS)
        got += pair.read(server)
    assert got == data


def test_a_lost_window_update_is_made_good_by_the_probe() -> None:
    pair = Pair()
    listener = pair.listen()
    listener.options = listener.options.with_receive_buffer(8192)
    client = pair.connect()
    pair.run_for(20 * MS)
    server = listener.accept()
    assert server is not None
    pair.write(client, b"x" * 16_000)
    pair.run_for(SECOND)
    assert client.snd_wnd == 0

    def lose_once(passed: Passed) -> bool:
        pair.filter = None
        return False

    pair.filter = lose_once
    got = pair.read(server)
    for _ in range(20):
        pair.run_for(SECOND)
        got += pair.read(server)
    assert len(got) == 16_000


def test_the_buffer_grows_for_a_reader_that_keeps_up_and_not_beyond_the_limit() -> None:
    pair = Pair(delay_ns=20 * MS)
    pair.b.config.tcp_rmem = (4096, 16_384, 262_144)
    pair.a.config.tcp_wmem = (4096, 4_000_000, 4_000_000)
    client, server = pair.established()
    before = int(server.receive_buffer_bytes)
    data = b"x" * 1_000_000
    sent = 0
    for _ in range(200):
        sent += pair.write(client, data[sent : sent + 300_000]) if sent < len(data) else 0
        pair.run_for(10 * MS)
        pair.read(server)
    assert before < server.receive_buffer_bytes <= 262_144
    assert server.copied_seq - server.irs - 1 == len(data)


def test_a_fixed_buffer_does_not_grow() -> None:
    pair = Pair()
    pair.a.config.tcp_wmem = (4096, 4_000_000, 4_000_000)
    client, server = pair.established()
    set_options(server, is_receive_buffer_fixed=True)
    before = int(server.receive_buffer_bytes)
    pair.write(client, b"x" * 500_000)
    for _ in range(100):
        pair.run_for(10 * MS)
        pair.read(server)
    assert server.receive_buffer_bytes == before
    assert server.copied_seq - server.irs - 1 == 500_000


# --- shares of a connection in other states


def test_half_closed_by_us_we_still_receive_and_acknowledge() -> None:
    peer = established()
    peer.shutdown()
    peer.send(ACK, ack=2)
    assert peer.connection.state == State.FIN_WAIT_2
    peer.text(b"still talking")
    assert peer.read() == b"still talking"
    assert peer.seen[-1].ack == 14


def test_a_segment_may_have_options_whatever_its_kind() -> None:
    peer = established()
    peer.send(ACK, data=b"a", mss=1000, unknown=[(77, b"xyz"), (78, b"")])
    assert peer.read() == b"a"
    assert peer.connection.peer_mss == 1460


def test_a_syn_may_have_unknown_options() -> None:
    peer = Peer()
    peer.listen()
    (syn_ack,) = peer.send(SYN, seq=0, mss=1000, unknown=[(99, b"\x01\x02\x03")])
    assert syn_ack.flags == "S."
