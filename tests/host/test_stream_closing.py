"""TCP sockets: shutdown and close, and what is left afterwards."""

from __future__ import annotations

import errno

from estab import abi
from estab.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from estab.tcp.config import Config
from tests.kit.engines import MS, SECOND, pair
from tests.kit.streams import connect, connected, fails, listen, open_socket


def test_half_close_is_seen_and_the_other_direction_goes_on() -> None:
    net, client, server, _ = connected()
    client.send(b"request", 0, net.now_ns)
    client.shutdown(SHUT_WR, net.now_ns)
    net.run(100 * MS)
    assert server.readiness() == POLLIN | POLLRDHUP | POLLOUT
    assert server.recv(99, 0, net.now_ns) + server.recv(99, 0, net.now_ns) == b"request"
    assert server.recv(99, 0, net.now_ns) == b""
    assert (client.state, server.state) == (abi.FIN_WAIT_2, abi.CLOSE_WAIT)
    server.send(b"answer", 0, net.now_ns)
    fails(errno.EPIPE, client.send, b"x", 0, net.now_ns)
    net.run(100 * MS)
    assert client.recv(99, 0, net.now_ns) == b"answer"
    server.shutdown(SHUT_WR, net.now_ns)
    net.run(100 * MS)
    assert client.readiness() & (POLLHUP | POLLIN) == POLLHUP | POLLIN
    assert client.recv(1, 0, net.now_ns) == b""
    assert (client.state, server.state) == (abi.TIME_WAIT, abi.CLOSED)
    fails(errno.ENOTCONN, server.shutdown, SHUT_RDWR, net.now_ns)


def test_ports_of_a_connection_that_was_reset_are_a_new_ones_at_once() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    for text in (b"old", b"new"):
        client = open_socket(net, a)
        client.bind(("10.0.0.1", 5000), net.now_ns)
        fails(errno.EINPROGRESS, client.connect, ("10.0.0.2", 80), net.now_ns)
        net.run(100 * MS)
        server = listener.accept(net.now_ns)
        client.send(text, 0, net.now_ns)
        net.run(100 * MS)
        assert server.recv(99, 0, net.now_ns) == text
        client.linger = 0
        client.close(net.now_ns)
        net.run(100 * MS)
        fails(errno.ECONNRESET, server.recv, 99, 0, net.now_ns)


def test_shutdown_for_reading_is_the_end_of_the_stream_here_only() -> None:
    net, client, server, _ = connected()
    server.shutdown(SHUT_RD, net.now_ns)
    assert server.readiness() & (POLLIN | POLLRDHUP) == POLLIN | POLLRDHUP
    assert server.recv(1, 0, net.now_ns) == b""
    assert client.send(b"x", 0, net.now_ns) == 1


def test_shutdown_ends_listening() -> None:
    net, a, b, _ = pair()
    listener = listen(net, b)
    listener.shutdown(SHUT_RDWR, net.now_ns)
    fails(errno.EINVAL, listener.accept, net.now_ns)
    client = connect(net, a, "10.0.0.2")
    net.run(100 * MS)
    fails(errno.ECONNREFUSED, client.connect, ("10.0.0.2", 80), net.now_ns)


def test_close_sends_the_rest_and_the_connection_ends_without_the_socket() -> None:
    net, client, server, _ = connected()
    a = net.hosts[0]
    client.send(b"x" * 10_000, 0, net.now_ns)
    client.close(net.now_ns)
    assert a.files.open_count == 0
    net.run(100 * MS)
    assert len(server.recv(99_999, 0, net.now_ns)) == 10_000
    assert server.recv(1, 0, net.now_ns) == b""
    server.close(net.now_ns)
    net.run(100 * MS)
    assert [row.state for row in a.sockets(net.now_ns)] == ["TIME-WAIT"]
    assert net.hosts[1].sockets(net.now_ns) == []
    net.run(61 * SECOND)
    assert a.sockets(net.now_ns) == []
    assert a.demux.table == {}


def test_close_with_linger_0_resets() -> None:
    net, client, server, _ = connected()
    client.linger = 0
    client.send(b"x", 0, net.now_ns)
    client.close(net.now_ns)
    net.run(100 * MS)
    assert server.readiness() & (POLLERR | POLLHUP) == POLLERR | POLLHUP
    fails(errno.ECONNRESET, server.recv, 1, 0, net.now_ns)
    assert server.recv(1, 0, net.now_ns) == b""
    fails(errno.EPIPE, server.send, b"x", 0, net.now_ns)
    assert net.hosts[0].sockets(net.now_ns) == []


def test_close_with_unread_bytes_resets() -> None:
    # RFC 9293 SHLD-3, RFC 1122 section 4.2.2.13
    net, client, server, _ = connected()
    client.send(b"x", 0, net.now_ns)
    net.run(100 * MS)
    server.close(net.now_ns)
    net.run(100 * MS)
    fails(errno.ECONNRESET, client.recv, 1, 0, net.now_ns)


def test_ports_of_closed_connections_come_back() -> None:
    config = Config()
    config.ip_local_port_range = (50000, 50003)
    config.tcp_timewait_ns = SECOND
    net, a, b, _ = pair(config=config)
    listener = listen(net, b)
    for _ in range(20):
        client = connect(net, a, "10.0.0.2")
        net.run(10 * MS)
        server = listener.accept(net.now_ns)
        client.close(net.now_ns)
        net.run(10 * MS)
        server.close(net.now_ns)
        net.run(2 * SECOND)
    assert a.demux.table == {}
    assert a.files.open_count == 0
    held = open_socket(net, a)
    held.bind(("", 50000), net.now_ns)


def test_closing_while_connecting_leaves_nothing() -> None:
    net, a, _, wire = pair()
    wire.filter = lambda _data: False
    client = connect(net, a, "10.0.0.2")
    net.flush()
    client.close(net.now_ns)
    net.run(10 * SECOND)
    assert (a.sockets(net.now_ns), a.demux.table, a.files.open_count) == ([], {}, 0)
