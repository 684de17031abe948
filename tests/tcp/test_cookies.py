"""SYN cookies (RFC 4987 section 3.6): when they go, what they keep and refuse, and who gets in under a flood."""

from __future__ import annotations

import pytest

from estab.events import CookieChecked, SegmentReceived, StateChanged
from estab.tcp.listening import cookies
from estab.tcp.listening.listener import Listener
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer, Seen


def flood(peer: Peer, count: int) -> list[Seen]:
    """Send SYNs from ports that never go on."""
    answers = []
    for n in range(count):
        peer.peer_port = 10_000 + n
        answers += peer.syn()
    peer.peer_port = 5000
    return answers


def always(backlog: int = 16) -> tuple[Peer, Listener]:
    """Make a listener that answers every SYN with a cookie."""
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    return peer, peer.listen(backlog=backlog)


# --- when


def test_never_means_a_full_queue_drops_syns() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "never"
    listener = peer.listen(backlog=4)
    assert len(flood(peer, 10)) == 5
    assert listener.cookies_sent == 0


def test_when_full_means_the_queue_is_used_first_and_then_cookies() -> None:
    peer = Peer()
    listener = peer.listen(backlog=4)
    assert len(flood(peer, 10)) == 10
    assert (len(listener.half_open), listener.cookies_sent) == (5, 5)
    assert peer.counters.TcpExtSyncookiesSent == 5
    assert peer.counters.TcpExtTCPReqQFullDoCookies == 5
    assert len(peer.demux.table) == 5


def test_always_means_nothing_is_remembered_of_any_syn() -> None:
    peer, listener = always()
    assert len(flood(peer, 10)) == 10
    assert (len(listener.half_open), listener.cookies_sent) == (0, 10)
    assert peer.demux.table == {}
    assert peer.demux.next_deadline_ns() > 1 << 61


def test_a_full_accept_queue_sends_no_cookies() -> None:
    peer, listener = always(backlog=0)
    peer.syn()
    peer.send(ACK)
    assert len(listener.ready) == 1
    peer.peer_port = 5001
    assert peer.syn() == []


def test_a_flood_of_thousands_leaves_a_legitimate_client_its_connection() -> None:
    pair = Pair()
    listener = pair.listen(backlog=8)
    peer = Peer()
    pair.filter = lambda p: p.sender == "a" or p.segment.dport > 40_000  # the flood's sources are made up
    for n in range(3000):
        peer.peer_port = 1 + n
        pair.inject(pair.b, peer.packet(SYN, seq=0, destination=pair.b.address, mss=1460))
    assert len(listener.half_open) == 9
    assert listener.cookies_sent == 2991
    clients = []
    for _ in range(5):
        clients.append(pair.connect())
        pair.run_for(20 * MS)
    for client in clients:
        assert client.state == State.ESTABLISHED
        server = listener.accept()
        assert server is not None
        pair.write(client, b"hello")
        pair.run_for(20 * MS)
        assert pair.read(server) == b"hello"
    assert listener.cookies_accepted == 5
    assert pair.b.counters.TcpExtSyncookiesRecv == 5


# --- what a cookie keeps


@pytest.mark.parametrize("wscale", [-1, 0, 7, 14])
@pytest.mark.parametrize("sack", [False, True])
def test_with_timestamps_window_scale_and_sack_survive(wscale: int, sack: bool) -> None:
    peer, listener = always()
    (syn_ack,) = peer.syn(mss=1460, wscale=wscale, sack=sack, timestamps=True)
    assert syn_ack.segment.has_timestamps
    assert (syn_ack.segment.wscale >= 0) == (wscale >= 0)
    assert syn_ack.segment.sack_permitted == sack
    peer.wait(30 * MS)
    peer.send(ACK, wnd=1000)
    connection = listener.accept()
    assert connection is not None
    assert connection.state == State.ESTABLISHED
    assert (connection.has_timestamps, connection.has_sack, connection.has_wscale) == (True, sack, wscale >= 0)
    assert connection.snd_wscale == max(wscale, 0)
    assert connection.snd_wnd == 1000 << max(wscale, 0)
    assert connection.rcv_wscale == (7 if wscale >= 0 else 0)


def test_without_timestamps_window_scale_and_sack_are_not_offered() -> None:
    peer, listener = always()
    (syn_ack,) = peer.syn(mss=1460, wscale=7, sack=True, timestamps=False)
    assert (syn_ack.segment.wscale, syn_ack.segment.sack_permitted) == (-1, False)
    peer.send(ACK, wnd=1000)
    connection = listener.accept()
    assert connection is not None
    assert (connection.has_timestamps, connection.has_sack, connection.has_wscale) == (False, False, False)
    assert (connection.snd_wnd, connection.rcv_wscale) == (1000, 0)


@pytest.mark.parametrize(
    ("offered", "kept"),
    [(0, 536), (100, 216), (536, 536), (1000, 536), (1220, 1220), (1459, 1452), (1460, 1460), (9000, 8960)],
)
def test_the_mss_is_kept_rounded_down_to_the_table(offered: int, kept: int) -> None:
    peer, listener = always()
    peer.syn(mss=offered)
    peer.send(ACK)
    connection = listener.accept()
    assert connection is not None
    assert connection.peer_mss == kept


def test_text_on_the_acknowledgment_of_a_cookie_is_taken() -> None:
    peer, listener = always()
    peer.syn(timestamps=True)
    (ack,) = peer.send(ACK | PSH, data=b"request")
    assert ack.ack == 8
    connection = listener.accept()
    assert connection is not None
    assert connection.read(100, False, peer.now_ns) == b"request"


def test_when_the_third_segment_is_lost_the_first_text_brings_the_cookie_back() -> None:
    peer, listener = always()
    peer.syn()
    peer.wait(200 * MS)
    peer.send(ACK | PSH | FIN, data=b"request")
    connection = listener.accept()
    assert connection is not None
    assert connection.state == State.CLOSE_WAIT


def test_the_timestamp_of_a_cookie_is_never_ahead_of_the_next_one() -> None:
    for ms in range(0, 200, 7):
        peer, listener = always()
        peer.wait(ms * MS)
        (syn_ack,) = peer.syn(wscale=14, sack=True, timestamps=True)
        peer.send(ACK)
        peer.connection = listener.accept()  # type: ignore[assignment]
        (text,) = peer.write(b"x")
        ahead = (text.segment.ts_val - syn_ack.segment.ts_val) & 0xFFFFFFFF
        assert 0 <= ahead <= 64


def test_a_connection_from_a_cookie_carries_text_both_ways_and_closes() -> None:
    pair = Pair()
    pair.b.config.tcp_syncookies = "always"
    client, server = pair.established()
    pair.write(client, b"c" * 10_000)
    pair.write(server, b"s" * 10_000)
    pair.run_for(SECOND)
    assert pair.read(server) == b"c" * 10_000
    assert pair.read(client) == b"s" * 10_000
    pair.close(client)
    pair.run_for(SECOND)
    assert server.state == State.CLOSE_WAIT
    pair.close(server)
    pair.run_for(120 * SECOND)
    assert (pair.a.demux.table, pair.b.demux.table) == ({}, {})


# --- what a cookie refuses


def test_a_forged_cookie_is_reset_and_counted() -> None:
    peer, listener = always()
    peer.syn()
    for ack in (0, 2, 77, 1 << 24, -1):
        (reset,) = peer.send(ACK, ack=ack)
        assert (reset.flags, reset.seq) == ("R", ack)
    assert listener.accept() is None
    assert listener.cookies_failed == 5
    assert peer.counters.TcpExtSyncookiesFailed == 5
    assert peer.drops()["TCP_BAD_COOKIE"] == 5


def test_a_cookie_does_not_hold_for_another_port_address_or_sequence_number() -> None:
    peer, listener = always()
    peer.syn()
    peer.peer_port = 5001
    assert [s.flags for s in peer.send(ACK)] == ["R"]
    peer.peer_port = 5000
    assert [s.flags for s in peer.send(ACK, seq=2)] == ["R"]
    other = b"\x0a\x00\x00\x07"
    assert [s.flags for s in peer.inject(peer.packet(ACK, source=other))] == ["R"]
    assert listener.accept() is None
    assert peer.send(ACK, seq=1) == []
    assert listener.accept() is not None


def test_a_cookie_of_another_host_is_refused() -> None:
    one, other = Pair().a.context, Pair().b.context
    one.now_ns = other.now_ns = 1000 * SECOND
    key = b"k" * 12
    cookie = cookies.make(one, key, 5, 1460)
    assert cookies.check(one, key, 5, cookie, 0, has_timestamp=False) is not None
    assert cookies.check(other, key, 5, cookie, 0, has_timestamp=False) is None


def test_a_cookie_is_good_for_one_to_two_minutes() -> None:
    context = Pair().a.context
    key = b"k" * 12
    for start in range(0, 120, 7):
        context.now_ns = start * SECOND
        cookie = cookies.make(context, key, 99, 1460)
        for age, verdict in ((0, True), (59, True), (60, True), (120, False), (121, False), (5000, False)):
            context.now_ns = (start + age) * SECOND
            found = cookies.check(context, key, 99, cookie, 0, has_timestamp=False)
            assert (found is not None) == verdict, (start, age)


def test_a_listener_that_sent_no_cookie_for_two_minutes_looks_at_none() -> None:
    peer, listener = always()
    peer.syn()
    peer.wait(121 * SECOND)
    assert [s.flags for s in peer.send(ACK)] == ["R"]
    assert listener.cookies_failed == 0
    assert [e for e in peer.side.events if isinstance(e, CookieChecked)] == []


@pytest.mark.parametrize("flags", [ACK | SYN, ACK | RST])
def test_only_a_plain_acknowledgment_brings_a_cookie_back(flags: int) -> None:
    peer, listener = always()
    peer.syn()
    peer.send(flags)
    assert listener.accept() is None


def test_a_good_cookie_that_finds_the_accept_queue_full_is_ignored_and_may_come_again() -> None:
    peer, listener = always(backlog=0)
    peer.syn()
    first = peer.irs
    peer.peer_port = 5001
    peer.syn()
    assert peer.send(ACK) == []
    peer.peer_port, peer.irs = 5000, first
    assert peer.send(ACK, seq=1, ack=1) == []
    assert len(listener.ready) == 1
    assert peer.drops() == {"TCP_LISTEN_OVERFLOW": 1}
    listener.accept()
    peer.send(ACK, seq=1, ack=1, data=b"again")
    (late,) = listener.ready
    assert late.readable_bytes() == 5


def test_an_old_acknowledgment_to_a_full_listener_that_sends_cookies_is_reset_when_its_cookie_is_bad() -> None:
    peer, listener = always(backlog=0)
    peer.syn()
    peer.send(ACK)
    assert listener.is_accept_queue_full()
    peer.peer_port = 5001
    assert [s.flags for s in peer.send(ACK, ack=12345)] == ["R"]


def test_the_check_of_a_cookie_is_told() -> None:
    peer, _ = always()
    peer.syn(wscale=5, sack=True, timestamps=True)
    peer.send(ACK, ack=5)
    peer.send(ACK)
    told = [(e.is_valid, e.mss, e.detail) for e in peer.side.events if isinstance(e, CookieChecked)]
    assert told == [(False, 0, ""), (True, 1460, "wscale 5, sack yes")]
    states = [(e.old, e.new) for e in peer.side.events if isinstance(e, StateChanged)]
    assert states == [("LISTEN", "SYN-RECEIVED"), ("SYN-RECEIVED", "ESTABLISHED")]
    third = [(e.flags, e.seq, e.ack) for e in peer.side.events if isinstance(e, SegmentReceived)][-1]
    assert third == (".", 1, 1)
