"""Active open: the SYNs, what they agree on, initial numbers, a four-tuple that is used again."""

from __future__ import annotations

import errno
import itertools

import pytest

from estab import abi
from estab.tcp.state import State
from estab.units import MS, NEVER, SECOND
from estab.wire.tcp import ACK, SYN
from tests.kit.pair import Pair
from tests.kit.peer import Peer

BOTH = list(itertools.product((True, False), repeat=3))
"""Timestamps, SACK, window scaling."""


# --- active


def test_an_active_open_sends_a_syn_and_an_ack_establishes_it() -> None:
    peer = Peer()
    (syn,) = peer.connect()
    assert (syn.flags, syn.seq, syn.ack, syn.text) == ("S", 0, -peer.iss, b"")
    assert peer.connection.state == State.SYN_SENT
    (ack,) = peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    assert (ack.flags, ack.seq, ack.ack) == (".", 1, 1)
    assert peer.connection.state == State.ESTABLISHED
    assert peer.connection.is_writable()
    assert peer.connection.deadline_ns() == NEVER  # the SYN's timer ended with the handshake


def test_an_active_open_offers_mss_sack_timestamps_and_window_scale() -> None:
    (syn,) = Peer().connect()
    s = syn.segment
    assert (s.mss, s.sack_permitted, s.has_timestamps, s.wscale) == (1460, True, True, 7)


def test_every_syn_offers_the_mss_of_its_link_and_no_other_segment_does() -> None:
    links = ((False, 1500, 1460), (True, 1500, 1440), (False, 9000, 8960), (False, 576, 536), (True, 1280, 1220))
    for is_v6, mtu, mss in links:
        pair = Pair(mtu=mtu, is_v6=is_v6)
        client, server = pair.established()
        pair.write(client, b"x" * 5000)
        pair.write(server, b"y" * 5000)
        pair.run_for(SECOND)
        pair.close(client)
        pair.run_for(SECOND)
        for passed in pair.passed:
            assert passed.segment.mss == (mss if passed.segment.flags & SYN else 0)


def test_the_window_of_a_syn_is_not_scaled() -> None:
    peer = Peer()
    peer.config.tcp_rmem = (4096, 600_000, 6_000_000)
    (syn,) = peer.connect()
    assert syn.wnd == 0xFFFF
    listening = Peer()
    listening.listen(receive_buffer_bytes=600_000)
    (syn_ack,) = listening.syn(wscale=3)
    assert syn_ack.wnd == 0xFFFF


def test_the_window_of_the_peers_syn_is_not_scaled() -> None:
    peer = Peer()
    peer.connect()
    peer.send(SYN | ACK, seq=0, ack=1, mss=1000, wnd=5000, wscale=8)
    assert peer.connection.snd_wnd == 5000
    peer.send(ACK, wnd=5000)
    assert peer.connection.snd_wnd == 5000 << 8


def test_syns_are_repeated_after_1_3_7_15_31_63_127_seconds_and_given_up_after_247() -> None:
    peer = Peer()
    start = peer.now_ns
    peer.connect()
    repeats = peer.wait(400 * SECOND)
    assert [(s.at_ns - start) / SECOND for s in repeats] == [1, 3, 7, 15, 31, 63, 127]
    assert {(s.flags, s.seq) for s in repeats} == {("S", 0)}
    assert peer.connection.state == State.CLOSED
    assert peer.counters.TcpExtTCPSynRetrans == 7
    with pytest.raises(TimeoutError, match="8 SYNs unanswered in 4min 7s"):
        peer.connection.raise_error()
    assert peer.demux.table == {}


def test_a_syn_is_given_up_no_sooner_than_after_three_minutes() -> None:
    peer = Peer()
    peer.connect()
    peer.wait(180 * SECOND)
    assert peer.connection.state == State.SYN_SENT


def test_the_syn_retry_limit_is_the_sockets_own() -> None:
    peer = Peer()
    peer.connect(syn_retries=2)
    assert len(peer.wait(7 * SECOND - 1)) == 2
    assert peer.connection.state == State.SYN_SENT
    peer.wait(1)
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_the_user_timeout_ends_an_open_too() -> None:
    peer = Peer()
    peer.connect(user_timeout_ns=4 * SECOND)
    peer.wait(4 * SECOND - 1)
    assert peer.connection.state == State.SYN_SENT
    peer.wait(1)
    assert peer.connection.take_error() == errno.ETIMEDOUT


def test_a_lost_syn_is_repeated_and_the_connection_opens() -> None:
    pair = Pair()
    pair.listen()
    lost = []
    pair.filter = lambda p: bool(lost) or bool(lost.append(p))
    client = pair.connect()
    pair.run_for(SECOND + 20 * MS)
    assert client.state == State.ESTABLISHED


def test_a_lost_syn_ack_is_repeated_and_the_connection_opens() -> None:
    pair = Pair()
    pair.listen()
    lost = []
    pair.filter = lambda p: p.sender == "a" or bool(lost) or bool(lost.append(p))
    client = pair.connect()
    pair.run_for(SECOND + 20 * MS)
    assert client.state == State.ESTABLISHED


def test_a_lost_third_segment_is_made_good_by_the_first_text() -> None:
    pair = Pair()
    listener = pair.listen()
    pair.filter = lambda p: not (p.sender == "a" and p.segment.flags == ACK and p.segment.start == p.segment.end)
    client = pair.connect()
    pair.run_for(20 * MS)
    assert client.state == State.ESTABLISHED
    assert listener.accept() is None
    pair.write(client, b"hello")
    pair.run_for(20 * MS)
    server = listener.accept()
    assert server is not None
    assert pair.read(server) == b"hello"


def test_a_lost_third_segment_is_made_good_by_the_repeated_syn_ack() -> None:
    pair = Pair()
    listener = pair.listen()
    lost = []
    pair.filter = lambda p: p.segment.flags != ACK or bool(lost) or bool(lost.append(p))
    pair.connect()
    pair.run_for(900 * MS)
    assert listener.accept() is None
    pair.run_for(200 * MS)
    assert listener.accept() is not None


def test_after_two_lost_syns_the_first_window_is_one_segment() -> None:
    pair = Pair()
    pair.listen()
    lost = []
    pair.filter = lambda p: len(lost) >= 2 or bool(lost.append(p))
    client = pair.connect()
    pair.run_for(4 * SECOND)
    assert client.state == State.ESTABLISHED
    assert client.cwnd_bytes == client.snd_mss()


def test_without_a_measurement_the_timeout_after_a_repeated_syn_is_three_seconds() -> None:
    peer = Peer()
    peer.config.tcp_timestamps = False
    peer.connect()
    peer.wait(SECOND)
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)  # for which SYN? Karn's rule: no measurement
    assert peer.connection.srtt_ns == 0
    assert peer.connection.rto_ns == 3 * SECOND
    assert peer.connection.backoff == 0


def test_without_a_measurement_the_timeout_after_a_repeated_syn_ack_is_three_seconds() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.syn()
    peer.wait(SECOND)
    peer.send(ACK)
    connection = listener.accept()
    assert connection is not None
    assert (connection.srtt_ns, connection.rto_ns, connection.backoff) == (0, 3 * SECOND, 0)


def test_a_syn_ack_measures_the_round_trip() -> None:
    pair = Pair(delay_ns=30 * MS)
    client, server = pair.established()
    assert client.srtt_ns == 60 * MS
    assert server.srtt_ns == 60 * MS


# --- what the SYNs agree on


@pytest.mark.parametrize("is_v6", [False, True])
@pytest.mark.parametrize(("client_has", "server_has"), [*itertools.product(BOTH, BOTH)])
def test_an_option_is_on_where_both_sides_offered_it(
    client_has: tuple[bool, bool, bool], server_has: tuple[bool, bool, bool], is_v6: bool,
) -> None:
    pair = Pair(is_v6=is_v6)
    for side, has in ((pair.a, client_has), (pair.b, server_has)):
        side.config.tcp_timestamps, side.config.tcp_sack, side.config.tcp_window_scaling = has
    client, server = pair.established()
    agreed = tuple(x and y for x, y in zip(client_has, server_has, strict=True))
    for end in (client, server):
        assert (end.has_timestamps, end.has_sack, end.has_wscale) == agreed
        assert (end.snd_wscale, end.rcv_wscale) == ((7, 7) if agreed[2] else (0, 0))
    pair.write(client, b"c" * 3000)
    pair.write(server, b"s" * 3000)
    pair.run_for(SECOND)
    assert pair.read(server) == b"c" * 3000
    assert pair.read(client) == b"s" * 3000
    for passed in pair.passed:
        if not passed.segment.flags & SYN:
            assert passed.segment.has_timestamps == agreed[0]


def test_without_the_mss_option_a_peer_takes_536_octets_or_1220_over_ipv6() -> None:
    for is_v6, mss in ((False, 536), (True, 1220)):
        peer = Peer(is_v6=is_v6)
        connection = peer.accept(mss=0)
        assert connection.peer_mss == mss
        assert [len(s.text) for s in peer.write(b"x" * 2 * mss)] == [mss, mss]


def test_the_peers_mss_limits_our_segments_with_options_taken_off() -> None:
    for timestamps, size in ((False, 1000), (True, 988)):
        peer = Peer()
        peer.accept(mss=1000, timestamps=timestamps)
        assert [len(s.text) for s in peer.write(b"x" * 2500)][:2] == [size, size]


def test_our_links_mtu_limits_our_segments_whatever_the_peer_takes() -> None:
    peer = Peer(mtu=1000)
    peer.accept(mss=1460)
    assert max(len(s.data) for s in peer.write(b"x" * 2500)) == 1000


def test_a_tiny_mss_is_not_obeyed_below_the_floor() -> None:
    peer = Peer()
    connection = peer.accept(mss=1)
    assert connection.mss_base == 48


def test_an_offered_scale_over_14_is_taken_as_14() -> None:
    peer = Peer()
    assert peer.accept(wscale=200).snd_wscale == 14


def test_a_peer_without_window_scaling_is_never_told_more_than_65535() -> None:
    peer = Peer()
    connection = peer.accept(wscale=-1, receive_buffer_bytes=1_000_000)
    assert connection.rcv_wscale == 0
    (ack,) = peer.text(b"x")
    assert ack.wnd <= 0xFFFF
    assert connection.rcv_adv - connection.rcv_nxt <= 0xFFFF


def test_the_maxseg_option_limits_both_what_we_offer_and_what_we_send() -> None:
    peer = Peer()
    (syn,) = peer.connect(user_mss=700)
    assert syn.segment.mss == 700
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    assert [len(s.text) for s in peer.write(b"x" * 1400)] == [700, 700]


# --- initial sequence numbers and timestamps


def test_initial_sequence_numbers_tick_every_four_microseconds() -> None:
    peer = Peer()
    key = b"k" * 12
    first = peer.side.context.initial_sequence(key)
    peer.side.context.now_ns += 4000 * 1000
    assert (peer.side.context.initial_sequence(key) - first) & 0xFFFFFFFF == 1000


def test_initial_sequence_numbers_depend_on_the_four_tuple_and_on_the_secret() -> None:
    one, other = Pair().a.context, Pair().b.context
    key = b"\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x50\x9c\x41"
    assert one.initial_sequence(key) != one.initial_sequence(key[:-1] + b"\x42")
    assert one.initial_sequence(key) != other.initial_sequence(key)
    assert one.initial_sequence(key) == Pair().a.context.initial_sequence(key)


def test_timestamps_start_where_a_keyed_hash_says_and_tick_every_millisecond() -> None:
    peer = Peer()
    (syn,) = peer.connect()
    (again,) = peer.wait(SECOND)
    assert again.segment.ts_val - syn.segment.ts_val == 1000
    assert syn.segment.ts_val != peer.now_ns // MS


# --- reusing a four-tuple


def test_connecting_twice_from_the_same_port_to_the_same_place_is_refused() -> None:
    pair = Pair()
    pair.established()
    with pytest.raises(OSError, match="in use") as caught:
        pair.connect(local_port=40001)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_states_change_with_counters_of_opens() -> None:
    pair = Pair()
    pair.established()
    assert (pair.a.counters.TcpActiveOpens, pair.a.counters.TcpPassiveOpens, pair.a.counters.TcpCurrEstab) == (1, 0, 1)
    assert (pair.b.counters.TcpActiveOpens, pair.b.counters.TcpPassiveOpens, pair.b.counters.TcpCurrEstab) == (0, 1, 1)


def test_an_icmp_error_ends_an_open_at_once() -> None:
    peer = Peer()
    (syn,) = peer.connect()
    c = peer.connection
    assert peer.demux.on_unreachable(c.key, syn.segment.seq, errno.EHOSTUNREACH, "no route to host")
    assert c.state == abi.CLOSED
    with pytest.raises(OSError, match="no route to host") as caught:
        c.raise_error()
    assert caught.value.errno == errno.EHOSTUNREACH
