"""TCP sockets: connecting, listening and accepting, with their errnos."""

from __future__ import annotations

import errno

import pytest

from estab import abi
from estab.abi import (
    AF_INET6,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
)
from estab.tcp.config import Config
from tests.kit.engines import MS, SECOND, pair
from tests.kit.streams import PEERS, connect, connected, fails, listen, open_socket

# --- opening


@pytest.mark.parametrize("peer", PEERS)
def test_connect_tells_how_it_goes(peer: str) -> None:
    net, a, b, _ = pair()
    listen(net, b, family=AF_INET6)
    client = connect(net, a, peer)
    assert client.state == abi.SYN_SENT
    assert client.readiness() == 0
    fails(errno.EALREADY, client.connect, (peer, 80), net.now_ns)
    fails(errno.ENOTCONN, client.getpeername)
    fails(errno.EAGAIN, client.send, b"x", 0, net.now_ns)
    fails(errno.EAGAIN, client.recv, 1, 0, net.now_ns)
    net.run(100 * MS)
    assert net.woken["a", client.fd] == POLLOUT
    assert (client.state, client.take_error()) == (abi.ESTABLISHED, 0)
    client.connect((peer, 80), net.now_ns)
    fails(errno.EISCONN, client.connect, (peer, 80), net.now_ns)
    assert client.getpeername()[:2] == (peer, 80)


@pytest.mark.parametrize("peer", PEERS)
def test_refused_connect_is_econnrefused_and_may_be_tried_again(peer: str) -> None:
    net, a, b, _ = pair()
    client = connect(net, a, peer)
    client.nodelay = True
    net.run(100 * MS)
    assert client.readiness() == POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP
    assert "refused" in fails(errno.ECONNREFUSED, client.connect, (peer, 80), net.now_ns)
    assert client.readiness() == POLLOUT | POLLHUP
    assert client.nodelay
    listen(net, b, family=AF_INET6)
    fails(errno.EINPROGRESS, client.connect, (peer, 80), net.now_ns)
    net.run(100 * MS)
    client.connect((peer, 80), net.now_ns)


def test_so_error_takes_the_reason_and_connect_then_aborts() -> None:
    net, a, _, _ = pair()
    client = connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    assert client.take_error() == errno.ECONNREFUSED
    assert client.take_error() == 0
    assert "refused" in client.error_text()
    fails(errno.ECONNABORTED, client.connect, ("10.0.0.2", 80), net.now_ns)


def test_connect_without_answer_is_etimedout() -> None:
    config = Config()
    config.tcp_syn_retries = 2
    net, a, b, wire = pair(config=config)
    a.add_neighbor(a.interfaces[1], "10.0.0.2", b.interfaces[1].mac)
    wire.filter = lambda _data: False
    client = connect(net, a, "10.0.0.2")
    net.run(60 * SECOND)
    assert "3 SYNs unanswered" in fails(errno.ETIMEDOUT, client.connect, ("10.0.0.2", 80), net.now_ns)


@pytest.mark.parametrize(("address", "number"), [
    (("192.0.2.1", 80), errno.ENETUNREACH), (("10.0.0.255", 80), errno.ENETUNREACH),
    (("224.0.0.1", 80), errno.ENETUNREACH),
    (("255.255.255.255", 80), errno.ENETUNREACH), (("fd00::2", 80), errno.EAFNOSUPPORT), (("x", 80), errno.EINVAL),
])
def test_connect_refuses_and_keeps_nothing(address: tuple[str, int], number: int) -> None:
    net, a, _, _ = pair()
    client = open_socket(net, a)
    fails(number, client.connect, address, net.now_ns)
    assert (client.state, client.getsockname()) == (abi.CLOSED, ("0.0.0.0", 0))
    assert a.streams.ports.used_count() == 0


def test_connect_from_a_bound_address_and_port() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    client = open_socket(net, a)
    client.bind(("10.0.0.1", 5555), net.now_ns)
    fails(errno.EINPROGRESS, client.connect, ("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    assert listener.accept(net.now_ns).getpeername() == ("10.0.0.1", 5555)
    other = open_socket(net, a)
    other.bind(("10.0.0.1", 0), net.now_ns)
    assert other.getsockname()[1] != 5555
    fails(errno.EINVAL, other.bind, ("", 0), net.now_ns)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
def test_socket_that_connects_to_itself_opens_from_both_sides_at_once(address: str) -> None:
    # RFC 9293 MUST-10, with one end for both
    net, a, _, _ = pair()
    one = open_socket(net, a)
    one.bind((address, 7777), net.now_ns)
    fails(errno.EINPROGRESS, one.connect, (address, 7777), net.now_ns)
    net.run(SECOND)
    one.connect((address, 7777), net.now_ns)
    one.send(b"echo", 0, net.now_ns)
    net.run(SECOND)
    assert one.recv(9, 0, net.now_ns) == b"echo"
    one.close(net.now_ns)
    net.run(200 * SECOND)
    assert a.demux.table == {}


def test_listening_socket_does_not_connect_and_a_connected_one_does_not_listen() -> None:
    net, client, _, _ = connected()
    fails(errno.EINVAL, client.listen, 5, net.now_ns)
    listener = listen(net, net.hosts[0], port=81)
    fails(errno.EISCONN, listener.connect, ("10.0.0.2", 80), net.now_ns)
    fails(errno.EINVAL, client.accept, net.now_ns)


def test_listen_without_bind_takes_a_port() -> None:
    net, a, b, _ = pair()
    listener = open_socket(net, b)
    listener.listen(1, net.now_ns)
    host, port = listener.getsockname()[:2]
    assert (host, 32768 <= port <= 60999) == ("0.0.0.0", True)
    client = connect(net, a, "10.0.0.2", port)
    net.run(100 * MS)
    assert listener.accept(net.now_ns).getpeername() == client.getsockname()


def test_second_listen_changes_the_limit_of_the_queues() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b, backlog=1)
    assert listener.queues(net.now_ns).accept_limit == 2
    listener.listen(7, net.now_ns)
    assert listener.queues(net.now_ns).accept_limit == 8
    fails(errno.EINVAL, open_socket(net, a).queues, net.now_ns)


def test_two_listeners_share_a_port_by_reuse_port() -> None:
    net, a, b, _ = pair()
    listeners = []
    for _ in range(2):
        one = open_socket(net, b)
        one.reuse_port = True
        one.bind(("", 80), net.now_ns)
        one.listen(64, net.now_ns)
        listeners.append(one)
    for _ in range(20):
        connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    depths = [len(one.queues(net.now_ns).accept) for one in listeners]
    assert sum(depths) == 20
    assert min(depths) > 0


# --- accepting


def test_accept_gives_connections_in_order_with_descriptors_of_their_own() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    fails(errno.EAGAIN, listener.accept, net.now_ns)
    assert listener.readiness() == 0
    clients = []
    for _ in range(3):
        clients.append(connect(net, a, "10.0.0.2"))
        net.run(10 * MS)
    assert net.woken["b", listener.fd] == POLLIN
    accepted = [listener.accept(net.now_ns) for _ in range(3)]
    assert [one.getpeername() for one in accepted] == [one.getsockname() for one in clients]
    assert [one.fd for one in accepted] == [4, 5, 6]
    assert listener.readiness() == 0


def test_accept_without_a_free_descriptor_leaves_the_connection_in_the_queue() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    b.files.limit = 4
    fails(errno.EMFILE, listener.accept, net.now_ns)
    assert len(listener.queues(net.now_ns).accept) == 1
    b.files.limit = 5
    listener.accept(net.now_ns)


def test_options_of_the_listener_are_inherited() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    listener.nodelay = True
    listener.set_keepalive(True, net.now_ns)
    listener.keep_idle_ns = 5 * SECOND
    listener.ttl = 9
    listener.linger = 3
    listener.receive_buffer_bytes = 50_000
    connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    child = listener.accept(net.now_ns)
    assert (child.nodelay, child.keepalive, child.keep_idle_ns) == (True, True, 5 * SECOND)
    assert (child.ttl, child.linger, child.receive_buffer_bytes) == (9, 3, 50_000)


def test_closing_a_listener_resets_who_waits_in_its_queue() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    client = connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    listener.close(net.now_ns)
    net.run(100 * MS)
    fails(errno.ECONNRESET, client.recv, 1, 0, net.now_ns)
    assert client.recv(1, 0, net.now_ns) == b""
    refused = connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    fails(errno.ECONNREFUSED, refused.connect, ("10.0.0.2", 80), net.now_ns)


def test_options_outlive_a_connect_that_failed() -> None:
    net, a, b, wire = pair()
    a.add_neighbor(a.interfaces[1], "10.0.0.2", b.interfaces[1].mac)
    wire.filter = lambda _data: False
    client = open_socket(net, a)
    client.congestion = "bbr"
    client.nodelay = True
    client.syn_retries = 2
    client.receive_buffer_bytes = 50_000
    fails(errno.EINPROGRESS, client.connect, ("10.0.0.2", 80), net.now_ns)
    net.run(120 * SECOND)
    fails(errno.ETIMEDOUT, client.connect, ("10.0.0.2", 80), net.now_ns)
    assert client.connection is None
    assert (client.congestion, client.nodelay, client.syn_retries) == ("bbr", True, 2)
    assert client.receive_buffer_bytes == 50_000
