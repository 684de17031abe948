"""TCP sockets: the calls, their errnos, their readiness, and what is left when they are closed."""

from __future__ import annotations

import contextlib
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab import abi
from estab.abi import (
    AF_INET,
    AF_INET6,
    MSG_OOB,
    MSG_PEEK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SOCK_STREAM,
)
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.tcp.config import Config
from tests.kit.engines import MS, SECOND, Net, Wire, pair

PEERS = ["10.0.0.2", "fd00::2"]


def open_socket(net: Net, host: Engine, family: int = AF_INET) -> StreamSocket:
    made = host.socket(family, SOCK_STREAM, net.now_ns)
    assert isinstance(made, StreamSocket)
    return made


def listen(net: Net, host: Engine, port: int = 80, backlog: int = 8, family: int = AF_INET) -> StreamSocket:
    made = open_socket(net, host, family)
    made.bind(("", port), net.now_ns)
    made.listen(backlog, net.now_ns)
    return made


def connect(net: Net, host: Engine, address: str, port: int = 80) -> StreamSocket:
    made = open_socket(net, host, AF_INET if "." in address else AF_INET6)
    with pytest.raises(BlockingIOError) as caught:
        made.connect((address, port), net.now_ns)
    assert caught.value.errno == errno.EINPROGRESS
    return made


def connected(peer: str = "10.0.0.2", config: Config | None = None) -> tuple[Net, StreamSocket, StreamSocket, Wire]:
    """A connection from ``a`` to ``b``: the net, the client's and the server's socket."""
    net, a, b, wire = pair(config=config)
    listener = listen(net, b, family=AF_INET6)
    client = connect(net, a, peer)
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    listener.close(net.now_ns)
    net.run(100 * MS)
    client.connect((peer, 80), net.now_ns)
    return net, client, server, wire


def fails(number: int, call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(OSError, match=r".") as caught:
        call(*arguments)
    assert caught.value.errno == number
    return str(caught.value.strerror)


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


# --- bytes


@pytest.mark.parametrize("peer", PEERS)
def test_bytes_arrive_in_order(peer: str) -> None:
    net, client, server, _ = connected(peer)
    assert client.send(b"hello", 0, net.now_ns) == 5
    assert (client.outq_bytes, client.outq_unsent_bytes) == (5, 5)
    net.run(100 * MS)
    assert (client.outq_bytes, server.readable_bytes) == (0, 5)
    assert server.recv(2, MSG_PEEK, net.now_ns) == b"he"
    assert server.recv(2, 0, net.now_ns) == b"he"
    assert server.recv(0, 0, net.now_ns) == b""
    assert server.recv(99, 0, net.now_ns) == b"llo"
    fails(errno.EAGAIN, server.recv, 99, 0, net.now_ns)


def test_full_send_buffer_is_eagain_until_a_third_is_free() -> None:
    net, client, server, wire = connected()
    client.send_buffer_bytes = 10_000
    wire.filter = lambda _data: False
    sent = client.send(b"x" * 100_000, 0, net.now_ns)
    assert 10_000 <= sent < 10_000 + 65_536, "the piece that begins in time goes over"
    assert "buffer" in fails(errno.EAGAIN, client.send, b"x", 0, net.now_ns)
    assert client.send(b"", 0, net.now_ns) == 0
    assert not client.readiness() & POLLOUT
    wire.filter = lambda _data: True
    net.run(5 * SECOND)
    assert net.woken["a", client.fd] & POLLOUT
    assert server.readable_bytes == sent


def test_calls_before_there_is_a_connection() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a)
    fails(errno.EPIPE, one.send, b"x", 0, net.now_ns)
    fails(errno.ENOTCONN, one.recv, 1, 0, net.now_ns)
    fails(errno.ENOTCONN, one.shutdown, SHUT_WR, net.now_ns)
    fails(errno.ENOTCONN, one.getpeername)
    fails(errno.EINVAL, one.shutdown, 9, net.now_ns)
    fails(errno.EOPNOTSUPP, one.send, b"x", 0x10000000, net.now_ns)
    assert one.readiness() == POLLOUT | POLLHUP
    assert (one.take_error(), one.outq_bytes, one.readable_bytes, one.getsockname()) == (0, 0, 0, ("0.0.0.0", 0))


def test_urgent_byte_out_of_line_and_inline() -> None:
    net, client, server, _ = connected()
    client.send(b"ab!", MSG_OOB, net.now_ns)
    net.run(100 * MS)
    assert server.readiness() & POLLPRI
    assert server.recv(9, MSG_OOB, net.now_ns) == b"!"
    fails(errno.EINVAL, server.recv, 9, MSG_OOB, net.now_ns)
    client.send(b"cd", 0, net.now_ns)
    net.run(100 * MS)
    assert server.recv(9, 0, net.now_ns) == b"ab"
    assert server.recv(9, 0, net.now_ns) == b"cd"
    server.oob_inline = True
    client.send(b"ef?", MSG_OOB, net.now_ns)
    net.run(100 * MS)
    assert server.recv(9, 0, net.now_ns) + server.recv(9, 0, net.now_ns) == b"ef?"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40_000), st.integers(1, 40_000)), min_size=1, max_size=12))
def test_any_calls_keep_both_streams_whole(steps: list[tuple[bool, int, int]]) -> None:
    net, client, server, _ = connected()
    sent = {True: b"", False: b""}
    read = {True: b"", False: b""}
    sockets = {True: client, False: server}
    for side, write_bytes, read_bytes in steps:
        text = bytes((len(sent[side]) + index) % 251 for index in range(write_bytes))
        count = 0
        with contextlib.suppress(BlockingIOError):
            count = sockets[side].send(text, 0, net.now_ns)
        sent[side] += text[:count]
        net.run(3 * MS)
        with contextlib.suppress(BlockingIOError):
            read[not side] += sockets[not side].recv(read_bytes, 0, net.now_ns)
    for side in (True, False):
        sockets[side].shutdown(SHUT_WR, net.now_ns)
    for _ in range(100):
        net.run(SECOND)
        for side in (True, False):
            with contextlib.suppress(BlockingIOError):
                read[side] += sockets[side].recv(10**6, 0, net.now_ns)
    for side in (True, False):
        assert read[side] == sent[not side]
        assert sockets[side].recv(1, 0, net.now_ns) == b""


# --- closing


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


# --- options


def test_options_set_before_connecting_hold_for_the_connection() -> None:
    net, a, b, _ = pair()
    listen(net, b)
    client = open_socket(net, a)
    client.nodelay = True
    client.keep_idle_ns, client.keep_interval_ns, client.keep_count = 7 * SECOND, 8 * SECOND, 3
    client.user_timeout_ns = 9 * SECOND
    client.syn_retries, client.ttl, client.tos = 4, 33, 0x2B
    client.maxseg = 500
    client.congestion = "reno"
    client.set_keepalive(True, net.now_ns)
    fails(errno.EINPROGRESS, client.connect, ("10.0.0.2", 80), net.now_ns)
    net.run(100 * MS)
    assert (client.nodelay, client.keepalive, client.user_timeout_ns, client.syn_retries) == (True, True, 9 * SECOND, 4)
    assert (client.keep_idle_ns, client.keep_interval_ns, client.keep_count) == (7 * SECOND, 8 * SECOND, 3)
    assert (client.ttl, client.tos) == (33, 0x28)
    assert client.maxseg <= 500
    assert client.info(net.now_ns).state == "ESTABLISHED"
    assert client.congestion == "reno"


@pytest.mark.parametrize(("name", "value"), [
    ("ttl", 0), ("ttl", 256), ("maxseg", 87), ("maxseg", 40000), ("syn_retries", 0), ("syn_retries", 128),
])
def test_options_out_of_range_are_einval(name: str, value: int) -> None:
    net, a, _, _ = pair()
    fails(errno.EINVAL, setattr, open_socket(net, a), name, value)


def test_v6only_can_not_change_once_bound() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a, AF_INET6)
    one.bind(("::", 80), net.now_ns)
    fails(errno.EINVAL, setattr, one, "v6only", True)


def test_buffers_are_clamped_and_then_fixed() -> None:
    _net, client, _, _ = connected()
    client.receive_buffer_bytes = 1
    client.send_buffer_bytes = 10**9
    assert (client.receive_buffer_bytes, client.send_buffer_bytes) == (2304, 2 * 4194304)
