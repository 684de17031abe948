"""TCP Fast Open (RFC 7413): a listener, and its connections whose handshake is not done."""

from __future__ import annotations

import errno
import random

import pytest

from estab import abi
from estab.tcp.fastopen import (
    SERVER,
    SERVER_NO_COOKIE,
)
from estab.wire.tcp import ACK, RST, SYN
from tests.kit.fastopen import open_fast, server
from tests.kit.pair import MS, SECOND
from tests.kit.peer import Peer


def test_the_text_of_a_syn_is_there_at_once_and_the_syn_ack_acknowledges_it() -> None:
    peer, listener = server()
    [answer] = open_fast(peer)
    assert (answer.flags, int(answer.segment.ack) - peer.iss) == ("S.", 6)
    child = listener.accept()
    assert child is not None
    assert child.state == abi.SYN_RECEIVED
    assert child.read(100, False, peer.now_ns) == b"hello"
    assert peer.counters.TcpExtTCPFastOpenPassive == 1


def test_a_listener_of_its_own_accord_takes_no_text() -> None:
    peer, listener = server(limit=0)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.accept() is None
    assert peer.counters.TcpExtTCPFastOpenPassive == 0


@pytest.mark.parametrize("flags", [0, 1, SERVER_NO_COOKIE])
def test_without_the_servers_bit_no_listener_takes_text(flags: int) -> None:
    peer, listener = server(flags=flags)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.accept() is None


def test_a_good_cookie_opens_and_a_bad_one_is_answered_with_a_good_one() -> None:
    peer, listener = server(flags=SERVER)
    [answer] = open_fast(peer, fast_open=b"")
    cookie = answer.segment.fast_open
    assert cookie is not None
    assert len(cookie) == 8
    assert listener.accept() is None
    peer.send(RST, seq=1)
    peer.peer_port += 1
    [answer] = open_fast(peer, fast_open=bytes([cookie[0] ^ 1]) + cookie[1:])
    assert answer.segment.fast_open == cookie
    assert int(answer.segment.ack) - peer.iss == 1
    assert peer.counters.TcpExtTCPFastOpenPassiveFail == 1
    peer.peer_port += 1
    [answer] = open_fast(peer, fast_open=cookie)
    assert answer.segment.fast_open is None
    assert int(answer.segment.ack) - peer.iss == 6
    assert (peer.counters.TcpExtTCPFastOpenCookieReqd, peer.counters.TcpExtTCPFastOpenPassive) == (1, 1)


def test_a_cookie_alone_opens_too_and_the_server_may_speak_first() -> None:
    peer, listener = server()
    [answer] = open_fast(peer, text=b"", fast_open=b"\0" * 8)
    assert answer.flags == "S."
    child = listener.accept()
    assert child is not None
    peer.connection = child
    [text] = peer.write(b"welcome")
    assert (text.seq, text.text) == (1, b"welcome")


def test_no_more_are_pending_than_the_limit_and_what_is_over_is_counted_and_seen() -> None:
    peer, listener = server(limit=2)
    for number in range(4):
        peer.peer_port = 5000 + number
        [answer] = open_fast(peer)
        assert int(answer.segment.ack) - peer.iss == (6 if number < 2 else 1)
    queues = listener.queues(peer.now_ns)
    assert (queues.fast_open_pending, queues.fast_open_limit, queues.fast_open_drops) == (2, 2, 2)
    assert [row.is_half_open for row in queues.accept] == [True, True]
    assert [row.unread_bytes for row in queues.accept] == [5, 5]
    assert len(queues.half_open) == 2
    assert peer.counters.TcpExtTCPFastOpenListenOverflow == 2


def test_the_third_segment_makes_room_for_another() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    peer.send(ACK)
    assert listener.queues(peer.now_ns).fast_open_pending == 0
    assert [row.is_half_open for row in listener.queues(peer.now_ns).accept] == [False]
    peer.peer_port += 1
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 6


def test_one_that_was_accepted_and_reset_counts_for_a_minute() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.owner = listener.owner
    peer.send(RST)
    assert child.state == abi.CLOSED
    assert child.error == errno.ECONNRESET
    peer.peer_port += 1
    peer.wait(59 * SECOND)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1, "the reset one still counts"
    peer.peer_port += 1
    peer.wait(1 * SECOND)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 6
    assert listener.fast_open.queue.pending == 1


def test_one_that_was_reset_before_accept_makes_room_at_once() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    peer.send(RST)
    assert listener.queues(peer.now_ns).fast_open_pending == 0
    assert listener.accept() is not None, "the program still hears of it"


def test_a_listener_that_closes_resets_what_is_pending() -> None:
    peer, listener = server()
    open_fast(peer)
    peer.demux.close_listener(listener)
    assert [seen.flags for seen in peer.flush()] == ["R."]
    assert listener.fast_open.queue.pending == 0
    assert peer.endpoint() is None


def test_the_syn_ack_is_given_up_after_one_retry_more_than_a_plain_one() -> None:
    peer, listener = server(tcp_synack_retries=2)
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.owner = listener.owner
    repeats = peer.wait(200 * SECOND)
    assert [seen.flags for seen in repeats] == ["S."] * 3
    assert [(seen.at_ns - 1000 * SECOND) // SECOND for seen in repeats] == [1, 3, 7]
    assert (child.state, child.error) == (abi.CLOSED, errno.ETIMEDOUT)
    assert listener.fast_open.queue.pending == 0


def test_an_acknowledgment_of_what_was_not_sent_is_reset_and_the_connection_stays() -> None:
    peer, listener = server()
    open_fast(peer)
    [answer] = peer.send(ACK, ack=2)
    assert answer.flags == "R"
    assert listener.ready[0].state == abi.SYN_RECEIVED


def test_syn_cookies_and_fast_open_do_not_mix() -> None:
    peer, listener = server(tcp_syncookies="always")
    [answer] = open_fast(peer, fast_open=b"")
    assert answer.segment.fast_open is None
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.fast_open.queue.pending == 0


def test_a_full_accept_queue_drops_a_fast_syn_as_any() -> None:
    peer, listener = server(limit=100)
    listener.set_backlog(1)
    for number in range(3):
        peer.peer_port = 5000 + number
        answers = open_fast(peer)
    assert answers == []
    assert peer.counters.TcpExtListenOverflows == 1


def test_text_beyond_the_window_that_we_offer_is_not_taken() -> None:
    peer = Peer(mtu=9000)
    peer.config.tcp_fastopen = SERVER | SERVER_NO_COOKIE
    listener = peer.listen(receive_buffer_bytes=4608, is_receive_buffer_fixed=True)
    listener.fast_open.queue.limit = 1
    [answer] = open_fast(peer, bytes(8000))
    assert int(answer.segment.ack) - peer.iss == 1 + 2304
    assert listener.ready[0].unread_bytes() == 2304


def test_the_answer_keeps_to_the_window_of_the_syn_which_no_scale_applies_to() -> None:
    peer, listener = server()
    open_fast(peer, wnd=1000, mss=500, wscale=7)
    child = listener.accept()
    assert child is not None
    peer.connection = child
    assert sum(len(seen.text) for seen in peer.write(bytes(5000))) == 1000
    assert sum(len(seen.text) for seen in peer.send(ACK, ack=1001, wnd=40)) == 4000


def test_a_connection_in_use_goes_on_with_its_window_when_the_handshake_is_done() -> None:
    peer, listener = server()
    open_fast(peer, mss=1000)
    child = listener.accept()
    assert child is not None
    peer.connection = child
    peer.write(bytes(3000))
    before = child.cwnd_bytes
    peer.send(ACK, ack=1)
    assert child.state == abi.ESTABLISHED
    assert child.cwnd_bytes == before
    assert child.srtt_ns >= 0
    assert peer.counters.TcpCurrEstab == 1
    assert peer.counters.TcpPassiveOpens == 1
    peer.send(ACK, ack=3001)
    assert child.in_flight_count() == 0


@pytest.mark.parametrize("seed", range(20))
def test_hostile_segments_into_a_pending_connection_break_nothing(seed: int) -> None:
    random_bytes = random.Random(seed)
    peer, listener = server(limit=100)
    for number in range(30):
        peer.peer_port = 5000 + number % 5
        flags = random_bytes.choice([SYN, SYN | ACK, ACK, RST, RST | ACK, SYN | 1, ACK | 1, 0, 0x3F])
        text = random_bytes.randbytes(random_bytes.choice([0, 1, 100, 1400]))
        cookie = random_bytes.choice([None, b"", b"\0" * 4, b"\1" * 8, b"\2" * 16])
        peer.seq = random_bytes.choice([0, 1, 1 + len(text), 1 << 31])
        peer.send(flags, ack=random_bytes.choice([0, 1, 2, 1 << 31]), data=text, fast_open=cookie)
        if random_bytes.random() < 0.3:
            child = listener.accept()
            if child is not None:
                child.owner = listener.owner
                child.read(1000, False, peer.now_ns)
                child.close(peer.now_ns)
                peer.demux.forget_owner(child)
                peer.demux.touch(child)
        peer.wait(random_bytes.choice([0, MS, SECOND]))
    peer.demux.close_listener(listener)
    peer.flush()
    peer.wait(3600 * SECOND)
    queue = listener.fast_open.queue
    assert queue.pending == len(queue.resets_ns)
    assert not peer.demux.table
