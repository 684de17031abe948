"""LISTEN: which listener a SYN is for, what its connections inherit, how it closes, and when an accept is deferred."""

from __future__ import annotations

import pytest

from estab import abi
from estab.tcp.context import Owner
from estab.tcp.listening.listener import Listener
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire.address import map_v4, parse_address
from estab.wire.tcp import ACK, FIN, RST
from tests.kit.listening import depths, open_from, syn_from
from tests.kit.pair import Pair
from tests.kit.peer import Peer

# --- which listener


def test_a_listener_on_the_address_goes_before_one_on_any() -> None:
    peer = Peer()
    anywhere = peer.listen()
    here = Listener(
        peer.side.context, peer.side.address, 80, 5, peer.demux.new_options(), False, False,
    )
    peer.demux.listen(here)
    open_from(peer, 5000)
    assert (len(here.ready), len(anywhere.ready)) == (1, 0)
    elsewhere = Listener(
        peer.side.context, parse_address("10.9.9.9"), 81, 5, peer.demux.new_options(), False,
        False,
    )
    peer.demux.listen(elsewhere)
    peer.port = 81
    assert [s.flags for s in syn_from(peer, 5001)] == ["R."]


def test_listeners_that_share_a_port_share_its_connections_by_a_hash_of_the_four_tuple() -> None:
    peer = Peer()
    listeners = [peer.listen(backlog=1000) for _ in range(4)]
    for n in range(200):
        open_from(peer, 5000 + n)
    counts = [len(listener.ready) for listener in listeners]
    assert sum(counts) == 200
    assert min(counts) > 20
    for n in range(20):
        peer.peer_port = 5000 + n
        key = next(c.key for one in listeners for c in one.ready if c.remote_port == 5000 + n)
        chosen = peer.demux.find_listener(peer.side.address, 80, key)
        assert chosen is not None
        assert any(c.remote_port == 5000 + n for c in chosen.ready)


def test_a_dual_stack_listener_takes_ipv4_too_and_an_ipv6_only_one_does_not() -> None:
    for is_only, answer in ((False, "S."), (True, "R.")):
        peer = Peer()
        both = Listener(
            peer.side.context, b"", 80, 5, peer.demux.new_options(), is_only, True,
        )
        peer.demux.listen(both)
        assert [s.flags for s in peer.syn()] == [answer]


def test_a_listener_on_a_mapped_address_takes_ipv4_to_it() -> None:
    peer = Peer()
    mapped = Listener(
        peer.side.context, map_v4(peer.side.address), 80, 5, peer.demux.new_options(), False,
        True,
    )
    peer.demux.listen(mapped)
    open_from(peer, 5000)
    assert len(mapped.ready) == 1


def test_an_ipv4_listener_takes_no_ipv6() -> None:
    peer = Peer(is_v6=True)
    peer.demux.listen(Listener(
        peer.side.context, b"", 80, 5, peer.demux.new_options(), False, False,
    ))
    assert [s.flags for s in peer.syn()] == ["R."]


def test_one_may_listen_on_the_port_of_a_connection_that_is_opening() -> None:
    pair = Pair()
    pair.filter = lambda p: False
    opening = pair.connect(local_port=7000)
    assert opening.state == State.SYN_SENT
    listener = pair.listen(side=pair.a, port=7000)
    pair.filter = None
    client = pair.connect(side=pair.b, port=7000, local_port=1234)
    pair.run_for(20 * MS)
    assert client.state == State.ESTABLISHED
    assert len(listener.ready) == 1
    assert opening.state == State.SYN_SENT


def test_a_passive_open_does_not_disturb_connections_on_its_port() -> None:
    pair = Pair()
    client, server = pair.established()
    pair.listen()  # again, on the same port
    pair.write(client, b"still here")
    pair.run_for(20 * MS)
    assert pair.read(server) == b"still here"


def test_clients_that_reset_after_the_syn_ack_leave_no_entry_and_the_next_one_is_served() -> None:
    peer = Peer()
    listener = peer.listen(backlog=5)
    for n in range(2000):
        answer = syn_from(peer, 5000 + n)[0]
        assert answer.flags == "S."
        assert peer.send(RST) == []
    assert depths(listener) == (0, 0)
    open_from(peer, 4999)
    assert depths(listener) == (0, 1)


# --- closing a listener


def test_closing_a_listener_forgets_half_open_entries_and_resets_what_nobody_accepted() -> None:
    pair = Pair()
    listener = pair.listen()
    waiting = pair.connect()
    pair.run_for(20 * MS)
    pair.filter = lambda p: p.segment.flags != ACK
    pair.connect()
    pair.run_for(20 * MS)
    assert depths(listener) == (1, 1)
    pair.filter = None
    pair.b.demux.close_listener(listener)
    pair.flush()
    assert pair.b.demux.table == {}
    assert pair.b.demux.listeners == {}
    assert pair.b.demux.port_users.as_dict() == {}
    pair.run_for(20 * MS)
    with pytest.raises(ConnectionResetError):
        waiting.raise_error()
    assert [s.flags for s in pair.sent_by(pair.b)][-1] & RST


def test_closing_a_listener_twice_is_closing_it_once() -> None:
    peer = Peer()
    listener = peer.listen()
    peer.demux.close_listener(listener)
    peer.demux.close_listener(listener)
    assert [s.flags for s in peer.syn()] == ["R."]


def test_connections_accepted_before_outlive_their_listener() -> None:
    pair = Pair()
    client, server = pair.established()
    (listener,) = pair.b.demux.listeners[80]
    pair.b.demux.close_listener(listener)
    pair.write(client, b"x")
    pair.run_for(20 * MS)
    assert pair.read(server) == b"x"


# --- what a connection inherits


def test_a_connection_shares_the_options_of_its_listener() -> None:
    peer = Peer()
    listener = peer.listen(
        nodelay=True, keepalive=True, keep_idle_ns=5 * SECOND, tos=0x28, ttl=9, send_buffer_bytes=9999,
        is_send_buffer_fixed=True, receive_buffer_bytes=8888, is_receive_buffer_fixed=True,
    )
    connection = peer.accept(listener=listener)
    assert connection.options is listener.options
    assert (connection.send_buffer_bytes, connection.receive_buffer_bytes) == (9999, 8888)
    assert connection.keepalive_ns == peer.now_ns + 5 * SECOND
    (sent,) = peer.write(b"x")
    assert (sent.segment.tos, sent.ttl) == (0x28, 9)


def test_the_syn_ack_bears_the_listeners_traffic_class_and_hop_limit() -> None:
    peer = Peer()
    peer.listen(tos=0x28, ttl=9)
    (syn_ack,) = peer.syn()
    assert (syn_ack.segment.tos, syn_ack.ttl) == (0x28, 9)


def test_the_state_of_a_queued_connection_is_established() -> None:
    peer = Peer()
    listener = peer.listen()
    open_from(peer, 5000)
    child = listener.accept()
    assert child is not None
    child.owner = Owner()
    assert child.state == abi.ESTABLISHED
    assert child.is_passive


def deferring(timeouts: int) -> tuple[Peer, Listener]:
    """Listen for connections with text only, and have a peer open one without."""
    peer = Peer()
    listener = peer.listen()
    listener.defer_accept = timeouts
    open_from(peer, 5001)
    return peer, listener


# --- TCP_DEFER_ACCEPT


def test_a_deferred_connection_is_none_until_text_comes() -> None:
    peer, listener = deferring(3)
    assert depths(listener) == (1, 0)
    assert peer.counters.TcpExtTCPDeferAcceptDrop == 1
    assert peer.drops()["TCP_DEFER_ACCEPT"] == 1
    assert [s.flags for s in peer.text(b"request")] == ["."]
    assert depths(listener) == (0, 1)
    assert listener.ready[0].readable_bytes() == 7


def test_a_fin_is_enough_for_a_deferred_connection() -> None:
    peer, listener = deferring(3)
    peer.send(FIN | ACK)
    assert depths(listener) == (0, 1)
    assert listener.ready[0].is_fin_received


def test_a_peer_that_answered_is_left_alone_until_the_last_timeout_and_may_then_answer_without_text() -> None:
    peer, listener = deferring(3)
    assert peer.wait(1 * SECOND) == []
    assert peer.wait(2 * SECOND - MS) == []
    (syn_ack,) = peer.wait(5 * SECOND)
    assert syn_ack.flags == "S."
    peer.send(ACK)
    assert depths(listener) == (0, 1)
    assert peer.counters.TcpExtTCPDeferAcceptDrop == 1


def test_one_timeout_is_the_least_that_can_be_deferred() -> None:
    peer, listener = deferring(1)
    (syn_ack,) = peer.wait(SECOND)
    assert syn_ack.flags == "S."
    peer.send(ACK)
    assert depths(listener) == (0, 1)


def test_a_peer_that_never_answers_is_given_up_as_ever() -> None:
    peer = Peer()
    listener = peer.listen()
    listener.defer_accept = 20
    syn_from(peer, 5001)
    times = [s.at_ns for s in peer.wait(200 * SECOND)]
    assert [(at - times[0]) // SECOND for at in times] == [0, 2, 6, 14, 30]
    assert depths(listener) == (0, 0)
    assert peer.counters.TcpAttemptFails == 1


def test_one_that_answered_is_kept_for_as_long_as_was_asked_for_and_given_up_if_it_stays_silent() -> None:
    peer, listener = deferring(8)
    assert peer.wait(247 * SECOND - MS) == []  # 1 + 2 + 4 + 8 + 16 + 32 + 64 + 120
    assert [s.flags for s in peer.wait(MS)] == ["S."]
    assert depths(listener) == (1, 0)
    peer.wait(130 * SECOND)
    assert depths(listener) == (0, 0)
    assert peer.counters.TcpAttemptFails == 1


def test_a_connection_from_a_cookie_is_not_deferred() -> None:
    peer = Peer()
    peer.config.tcp_syncookies = "always"
    listener = peer.listen()
    listener.defer_accept = 3
    open_from(peer, 5001)
    assert depths(listener) == (0, 1)
