"""TCP Fast Open (RFC 7413): what a client puts on its SYN, and what becomes of it."""

from __future__ import annotations

import errno
import random

import pytest

from estab import abi
from estab.events import SegmentSent, StateChanged
from estab.sockets.socket.tcp_info import pack_tcp_info, unpack_tcp_info
from estab.tcp.arriving.fastopen_client import put_text
from estab.tcp.context import Owner
from estab.tcp.fastopen import (
    CLIENT_NO_COOKIE,
    SERVER,
    SERVER_NO_COOKIE,
)
from estab.tcp.record.fast_open import FastOpen
from estab.wire.tcp import ACK, RST, SYN
from tests.kit.fastopen import COOKIE, open_fast, server
from tests.kit.pair import MS, SECOND, Pair
from tests.kit.peer import Peer, Seen


def client(data: bytes, *, cookie: bytes = COOKIE, peer: Peer | None = None) -> tuple[Peer, list[Seen]]:
    """Open with ``data``, a cookie at hand; gives the peer and what the engine sent."""
    peer = peer or Peer()
    if cookie:
        peer.side.context.fast_open.remember(peer.side.address, peer.address, 1200, cookie, False, 0)
    fast_open = FastOpen()
    fast_open.is_deferred = True
    assert peer.connect(fast_open=fast_open) == []
    put_text(peer.connection, fast_open, data)
    return peer, peer.touch()


def test_a_syn_bears_cookie_and_text_and_the_observer_is_told() -> None:
    peer, [syn] = client(b"request")
    assert (syn.flags, syn.seq, syn.text, syn.segment.fast_open) == ("S", 0, b"request", COOKIE)
    fact = next(event for event in peer.side.events if isinstance(event, SegmentSent))
    assert "tfo cookie " + COOKIE.hex() in fact.options
    assert fact.length == 7
    assert "Fast Open" in fact.why


def test_what_the_cookieless_bit_sends_has_no_option() -> None:
    peer = Peer()
    peer.config.tcp_fastopen = 1 | CLIENT_NO_COOKIE
    peer, [syn] = client(b"request", cookie=b"", peer=peer)
    assert (syn.text, syn.segment.fast_open) == (b"request", None)


def test_the_outqueue_counts_the_text_of_the_syn_until_it_is_acknowledged() -> None:
    peer, _ = client(b"request")
    assert peer.connection.outq_bytes() == 7
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1 + 7, mss=1460)
    assert peer.connection.outq_bytes() == 0
    assert peer.connection.state == abi.ESTABLISHED
    assert "syn-data" in peer.connection.info(peer.now_ns).options
    assert peer.counters.TcpExtTCPFastOpenActive == 1


def test_the_text_goes_again_in_segments_of_the_new_mss_and_no_octet_is_lost() -> None:
    text = bytes(range(256)) * 4
    peer, [syn] = client(text)
    assert syn.text == text
    peer.irs = peer.connection.iss
    again = peer.send(SYN | ACK, seq=0, ack=1, mss=300)
    assert b"".join(seen.text for seen in again) == text
    assert max(len(seen.text) for seen in again) == 300
    assert peer.counters.TcpExtTCPFastOpenActiveFail == 1
    assert peer.connection.cwnd_bytes == 10 * 300, "it was not congestion"


def test_a_cookie_that_comes_late_is_kept_all_the_same() -> None:
    peer = Peer()
    peer.connect(fast_open=FastOpen())
    peer.wait(1100 * MS)
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1, mss=1000, fast_open=COOKIE)
    entry = peer.side.context.fast_open.find(peer.side.address, peer.address)
    assert entry is not None
    assert (entry.cookie, entry.mss) == (COOKIE, 1000)


def test_a_syn_ack_for_more_than_was_sent_changes_nothing() -> None:
    peer, _ = client(b"request")
    peer.irs = peer.connection.iss
    [answer] = peer.send(SYN | ACK, seq=0, ack=9, mss=500, fast_open=b"\xff" * 8)
    assert answer.flags == "R"
    entry = peer.side.context.fast_open.find(peer.side.address, peer.address)
    assert entry is not None
    assert (entry.cookie, entry.mss) == (COOKIE, 1200)
    assert peer.connection.state == abi.SYN_SENT


def test_a_refused_connection_says_so_and_holds_nothing() -> None:
    peer, _ = client(b"request")
    peer.irs = peer.connection.iss
    peer.send(RST | ACK, seq=0, ack=8)
    assert (peer.connection.state, peer.connection.error) == (abi.CLOSED, errno.ECONNREFUSED)
    assert peer.endpoint() is None


@pytest.mark.parametrize(("cookie", "waits_ns", "acked", "reason", "number"), [
    (b"", 0, 0, "cookie unavailable", 1), (COOKIE, 0, 0, "data not acknowledged", 2),
    (COOKIE, 1100 * MS, 0, "SYN retransmitted", 3), (COOKIE, 0, 7, "", 0),
])
def test_tcp_info_says_why_text_did_not_ride(
    cookie: bytes, waits_ns: int, acked: int, reason: str, number: int,
) -> None:
    peer = Peer()
    if cookie:
        peer, _ = client(b"request", peer=peer)
    else:
        peer.connect(fast_open=FastOpen())
    peer.wait(waits_ns)
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1 + acked, mss=1460)
    info = peer.connection.info(peer.now_ns)
    assert info.fast_open_fail == reason
    assert unpack_tcp_info(pack_tcp_info(info, peer.connection.state))["flags"] >> 1 & 3 == number


def test_a_server_that_did_not_take_the_text_is_left_alone_for_a_while() -> None:
    peer, _ = client(b"request")
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    host = peer.side.context.fast_open
    addresses = (peer.side.address, peer.address)
    assert host.is_refused(*addresses, 80, peer.now_ns)
    assert not host.is_refused(*addresses, 81, peer.now_ns)
    again = FastOpen()
    again.is_deferred = True
    (syn,) = peer.connect(local_port=40_001, fast_open=again)
    assert (syn.flags, syn.text, syn.segment.fast_open) == ("S", b"", None)
    peer.now_ns += peer.config.tcp_fastopen_negative_ns
    assert not host.is_refused(*addresses, 80, peer.now_ns)


@pytest.mark.parametrize("tries_both", [True, False])
def test_a_server_without_cookies_is_asked_by_the_other_option_or_as_freebsd_does_no_more(tries_both: bool) -> None:
    peer = Peer()
    peer.config.tcp_fastopen_experimental = tries_both
    peer.connect(fast_open=FastOpen())
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    (syn,) = peer.connect(local_port=40_001, fast_open=FastOpen())
    asked = (syn.segment.fast_open, syn.segment.is_fast_open_experimental)
    assert asked == ((b"", True) if tries_both else (None, False))


def test_a_server_that_never_answers_text_on_the_syn_is_left_alone_for_a_while() -> None:
    peer, _ = client(b"request")
    peer.wait(600 * SECOND)
    assert peer.connection.state == abi.CLOSED
    assert peer.side.context.fast_open.is_refused(peer.side.address, peer.address, 80, peer.now_ns - 500 * SECOND)


def test_a_server_with_a_new_cookie_is_asked_again_at_once() -> None:
    peer, _ = client(b"request")
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460, fast_open=b"newcooky")
    assert not peer.side.context.fast_open.is_refused(peer.side.address, peer.address, 80, peer.now_ns)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_network_does_the_text_arrives_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair()
    for side in (pair.a, pair.b):
        side.config.tcp_fastopen = 1 | SERVER | CLIENT_NO_COOKIE | SERVER_NO_COOKIE
        side.config.tcp_fastopen_negative_ns = 0
        side.config.tcp_synack_retries = 15
    listener = pair.listen()
    listener.fast_open.queue.limit = 100
    pair.filter = lambda passed: chance.random() > 0.25
    for number in range(10):
        text = chance.randbytes(chance.choice([1, 100, 1400, 5000]))
        answer = chance.randbytes(chance.choice([1, 100, 1400, 5000]))
        demux = pair.a.demux
        options = demux.new_options()
        here = demux.new_connection(pair.a.address, 41000 + number, pair.b.address, 80, options, Owner())
        here.fast_open = FastOpen()
        here.fast_open.is_deferred = True
        pair.a.demux.connect(here, pair.now_ns)
        sent = put_text(here, here.fast_open, text)
        pair.a.demux.touch(here)
        there = None
        received = returned = b""
        for _ in range(4000):
            pair.flush()
            pair.run_for(100 * MS)
            if sent < len(text) and here.state == abi.ESTABLISHED:
                sent += here.write(text[sent:], pair.now_ns)
                pair.a.demux.touch(here)
            if there is None:
                there = listener.accept()
                if there is None:
                    continue
                there.owner = Owner()
            received += there.read(1 << 20, False, pair.now_ns)
            if len(received) == len(text) and answer and there.outq_bytes() == 0 and not there.fin_wanted:
                assert there.write(answer, pair.now_ns) == len(answer)
                there.shutdown_write()
                pair.b.demux.touch(there)
            returned += here.read(1 << 20, False, pair.now_ns)
            if here.is_eof():
                break
        assert received == text
        assert returned == answer
        for side, end in ((pair.a, here), (pair.b, there)):
            assert end is not None
            end.close(pair.now_ns)
            side.demux.forget_owner(end)
            side.demux.touch(end)
        pair.flush()
        pair.run_for(SECOND)
    assert pair.a.counters.TcpExtTCPFastOpenActive > 0
    pair.run_for(600 * SECOND)
    assert listener.fast_open.queue.pending == 0


def test_states_take_only_edges_of_the_diagram() -> None:
    peer, listener = server()
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.read(100, False, peer.now_ns)
    child.close(peer.now_ns)
    peer.connection = child
    peer.touch()
    peer.send(ACK, ack=2)
    changes = [(event.old, event.new) for event in peer.side.events if isinstance(event, StateChanged)]
    assert changes == [
        ("LISTEN", "SYN-RECEIVED"), ("SYN-RECEIVED", "FIN-WAIT-1"), ("FIN-WAIT-1", "FIN-WAIT-2"),
    ]
