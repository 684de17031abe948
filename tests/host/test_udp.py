"""UDP sockets: who gets a datagram, what the calls refuse, what is bounded."""

from __future__ import annotations

import errno

import pytest

from estab.abi import (
    AF_INET,
    AF_INET6,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SOCK_DGRAM,
)
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.host.sockets.udp import DatagramSocket
from estab.wire import ip, udp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from tests.kit.engines import MS, Net, Wire, drops, packets, pair

PEERS = ["10.0.0.2", "fd00::2"]


def open_socket(
        net: Net, host: Engine, family: int = AF_INET, address: str | None = None, port: int = 9) -> DatagramSocket:
    made = host.socket(family, SOCK_DGRAM, net.now_ns)
    assert isinstance(made, DatagramSocket)
    if address is not None:
        made.bind((address, port), net.now_ns)
    return made


def texts(one: DatagramSocket) -> list[bytes]:
    return [received.text for received in one.queue]


@pytest.mark.parametrize("peer", PEERS)
def test_datagram_and_its_answer(peer: str) -> None:
    net, a, b, _ = pair()
    family = AF_INET if "." in peer else AF_INET6
    server, client = open_socket(net, b, family, "", 9), open_socket(net, a, family)
    assert client.sendto(b"ping", (peer, 9), 0, net.now_ns) == 4
    net.run(100 * MS)
    text, sender, flags = server.recvfrom(100, 0)
    assert (text, flags) == (b"ping", 0)
    assert sender[:2] == (peer[:-1] + "1", client.getsockname()[1])
    server.sendto(b"pong", sender, 0, net.now_ns)
    net.run(100 * MS)
    assert client.recvfrom(100, 0)[:2] == (b"pong", (peer, 9) if family == AF_INET else (peer, 9, 0, 0))


def test_dual_stack_socket_speaks_ipv4_by_mapped_addresses() -> None:
    net, a, b, _ = pair()
    server, client = open_socket(net, b, AF_INET6, "::", 9), open_socket(net, a)
    client.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    _, sender, _ = server.recvfrom(9, 0)
    assert sender[0] == "::ffff:10.0.0.1"
    server.sendto(b"y", sender, 0, net.now_ns)
    net.run(100 * MS)
    assert texts(client) == [b"y"]


def test_v6only_socket_hears_and_sends_no_ipv4() -> None:
    net, a, b, _ = pair()
    server = open_socket(net, b, AF_INET6)
    server.v6only = True
    server.bind(("::", 9), net.now_ns)
    open_socket(net, a).sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert drops(b, DropReason.NO_SOCKET) == 1
    with pytest.raises(OSError, match="IPV6_V6ONLY") as caught:
        server.sendto(b"x", ("::ffff:10.0.0.1", 9), 0, net.now_ns)
    assert caught.value.errno == errno.ENETUNREACH


def test_best_fitting_socket_gets_the_datagram() -> None:
    net, a, b, _ = pair()
    loose, exact, connected = (open_socket(net, b) for _ in range(3))
    for one in (loose, exact, connected):
        one.reuse_address = True
    loose.bind(("", 9), net.now_ns)
    exact.bind(("10.0.0.2", 9), net.now_ns)
    connected.bind(("10.0.0.2", 9), net.now_ns)
    connected.connect(("10.0.0.1", 5), net.now_ns)
    friend, stranger = open_socket(net, a, address="", port=5), open_socket(net, a, address="", port=6)
    friend.sendto(b"friend", ("10.0.0.2", 9), 0, net.now_ns)
    stranger.sendto(b"stranger", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert (texts(connected), texts(exact), texts(loose)) == ([b"friend"], [b"stranger"], [])


def test_connected_socket_hears_only_its_peer() -> None:
    net, a, b, _ = pair()
    server = open_socket(net, b, address="", port=9)
    server.connect(("10.0.0.1", 5), net.now_ns)
    for port in (5, 6):
        open_socket(net, a, address="", port=port).sendto(b"%d" % port, ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert texts(server) == [b"5"]
    assert drops(b, DropReason.NO_SOCKET) == 1
    server.disconnect()
    with pytest.raises(OSError, match="not connected"):
        server.getpeername()
    with pytest.raises(OSError, match="destination address required"):
        server.send(b"x", 0, net.now_ns)


def test_reuse_port_spreads_flows_and_keeps_each_with_one_socket() -> None:
    net, a, b, _ = pair()
    servers = []
    for _ in range(4):
        one = open_socket(net, b)
        one.reuse_port = True
        one.bind(("", 9), net.now_ns)
        servers.append(one)
    for port in range(100, 140):
        client = open_socket(net, a, address="", port=port)
        for _ in range(3):
            client.sendto(b"%d" % port, ("10.0.0.2", 9), 0, net.now_ns)
        net.run(10 * MS)
    heard = [texts(one) for one in servers]
    assert sum(len(one) for one in heard) == 120
    assert all(one and all(one.count(text) == 3 for text in one) for one in heard)


def test_full_queue_drops_the_newest_and_counts() -> None:
    net, a, b, _ = pair()
    server, client = open_socket(net, b, address=""), open_socket(net, a)
    server.receive_buffer_bytes = 5 * (512 + 100)
    for number in range(8):
        client.sendto(b"%d" % number * 100, ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert [text[:1] for text in texts(server)] == [b"0", b"1", b"2", b"3", b"4"]
    assert (drops(b, DropReason.SOCKET_RCVBUFF), b.counters()["UdpRcvbufErrors"], server.dropped_count) == (3, 3, 3)
    server.recvfrom(100, 0)
    client.sendto(b"8" * 100, ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert len(server.queue) == 5


def test_peek_leaves_and_short_reads_cut_the_datagram() -> None:
    net, a, b, _ = pair()
    server, client = open_socket(net, b, address=""), open_socket(net, a)
    for _ in range(3):
        client.sendto(b"0123456789", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert server.readable_bytes == 10
    assert server.recvfrom(4, MSG_PEEK)[0::2] == (b"0123", MSG_TRUNC)
    assert server.recvfrom(4, 0)[0::2] == (b"0123", MSG_TRUNC)
    assert server.recvfrom(4, MSG_TRUNC)[0::2] == (b"0123456789", MSG_TRUNC)
    assert server.recvfrom(0, 0)[0::2] == (b"", MSG_TRUNC)
    with pytest.raises(BlockingIOError):
        server.recvfrom(4, 0)


def test_empty_datagram_is_a_datagram() -> None:
    net, a, b, _ = pair()
    server = open_socket(net, b, address="")
    open_socket(net, a).sendto(b"", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert server.readiness() & POLLIN
    assert server.recvfrom(9, 0)[0] == b""


@pytest.mark.parametrize(("peer", "most"), [("10.0.0.2", 65507), ("fd00::2", 65527)])
def test_largest_datagram_goes_and_one_more_byte_is_emsgsize(peer: str, most: int) -> None:
    net, a, b, _ = pair()
    family = AF_INET if "." in peer else AF_INET6
    server, client = open_socket(net, b, family, ""), open_socket(net, a, family)
    client.sendto(b"x" * most, (peer, 9), 0, net.now_ns)
    net.run(100 * MS)
    assert server.readable_bytes == most
    with pytest.raises(OSError, match=f"{most + 1} bytes, and a datagram carries {most}") as caught:
        client.sendto(b"x" * (most + 1), (peer, 9), 0, net.now_ns)
    assert caught.value.errno == errno.EMSGSIZE


@pytest.mark.parametrize(("address", "number"), [
    (("192.0.2.1", 9), errno.ENETUNREACH), (("10.0.0.2", 0), errno.EINVAL), (("10.0.0.255", 9), errno.EACCES),
    (("255.255.255.255", 9), errno.EACCES), (("fd00::2", 9), errno.EAFNOSUPPORT), (("nonsense", 9), errno.EINVAL),
])
def test_sendto_refuses(address: tuple[str, int], number: int) -> None:
    net, a, _, _ = pair()
    with pytest.raises(OSError, match=r".") as caught:
        open_socket(net, a).sendto(b"x", address, 0, net.now_ns)
    assert caught.value.errno == number


@pytest.mark.parametrize(("address", "error"), [
    ("10.0.0.2", TypeError), (("10.0.0.2",), TypeError), (("10.0.0.2", 9, 0, 0), TypeError), ((1, 2), TypeError),
    (("10.0.0.2", "9"), TypeError), (("10.0.0.2", 65536), OverflowError), (("10.0.0.2", -1), OverflowError),
])
def test_addresses_of_the_wrong_shape_are_refused_as_python_does(address: object, error: type[Exception]) -> None:
    net, a, _, _ = pair()
    with pytest.raises(error):
        open_socket(net, a).sendto(b"x", address, 0, net.now_ns)


def test_broadcast_goes_to_all_sockets_with_leave() -> None:
    net, a, b, wire = pair()
    c = net.host("c")
    net.join(wire, c, "10.0.0.3/24")
    sender = open_socket(net, a)
    sender.broadcast = True
    hearers = []
    for host in (b, c):
        for _ in range(2):
            one = open_socket(net, host)
            one.reuse_address = True
            one.bind(("", 9), net.now_ns)
            hearers.append(one)
    sender.sendto(b"one", ("10.0.0.255", 9), 0, net.now_ns)
    sender.sendto(b"two", ("<broadcast>", 9), 0, net.now_ns)
    net.run(100 * MS)
    assert [texts(one) for one in hearers] == [[b"one", b"two"]] * 4


def test_udp_has_no_urgent_data() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a, address="")
    with pytest.raises(OSError, match="no urgent data") as caught:
        one.sendto(b"x", ("10.0.0.2", 9), MSG_OOB, net.now_ns)
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(BlockingIOError):  # receiving ignores the flag, as Linux does
        one.recvfrom(9, MSG_OOB)


def test_shutdown_ends_either_direction_of_a_connected_socket() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a)
    with pytest.raises(OSError, match="how must be") as caught:
        one.shutdown(7, net.now_ns)
    assert caught.value.errno == errno.EINVAL
    one.connect(("10.0.0.2", 9), net.now_ns)
    assert one.readiness() == POLLOUT
    one.shutdown(SHUT_RD, net.now_ns)
    assert one.readiness() == POLLOUT | POLLIN | POLLRDHUP
    one.shutdown(SHUT_WR, net.now_ns)
    assert one.readiness() & POLLHUP
    with pytest.raises(BrokenPipeError):
        one.send(b"x", 0, net.now_ns)
    one.shutdown(SHUT_RDWR, net.now_ns)


def test_shutdown_without_a_remote_end_fails_and_holds() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a)
    with pytest.raises(OSError, match="not connected: shutdown") as caught:
        one.shutdown(SHUT_RD, net.now_ns)
    assert caught.value.errno == errno.ENOTCONN
    assert one.readiness() == POLLOUT | POLLIN | POLLRDHUP


def test_pending_error_comes_first_and_once() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a)
    one.connect(("10.0.0.2", 9), net.now_ns)
    one.send(b"x", 0, net.now_ns)
    net.run(100 * MS)
    assert one.readiness() & POLLERR
    with pytest.raises(ConnectionRefusedError):
        one.send(b"x", 0, net.now_ns)
    assert one.send(b"x", 0, net.now_ns) == 1


def test_close_gives_the_port_back_and_loses_the_queue() -> None:
    net, a, b, _ = pair()
    one = open_socket(net, b, address="")
    open_socket(net, a).sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    one.close(net.now_ns)
    assert b.files.open_count == 0
    again = open_socket(net, b, address="")
    assert not again.queue


def test_time_to_live_and_class_are_as_set_and_told_to_the_receiver() -> None:
    net, a, b, wire = pair(is_ethernet=False)
    server, client = open_socket(net, b, address=""), open_socket(net, a)
    client.ttl, client.tos = 7, 0x28
    client.sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.run(100 * MS)
    received = server.receive(False)
    assert (received.ttl, received.tos, received.scope) == (7, 0x28, 1)
    assert packets(wire.passed)[0].dont_fragment


@pytest.mark.parametrize(("mangle", "reason"), [
    (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DropReason.UDP_CSUM),
    (lambda data: data[:24] + b"\0\x07" + data[26:], DropReason.UDP_INVALID),
    (lambda data: data[:24] + b"\xff\xff" + data[26:], DropReason.UDP_INVALID),
])
def test_damaged_datagrams_are_counted_and_dropped(mangle: object, reason: DropReason) -> None:
    assert callable(mangle)
    net = Net()
    a = net.host("a")
    net.join(Wire(), a, "10.0.0.1/24", is_ethernet=False)
    one = open_socket(net, a, address="")
    whole = udp.emit_packet(5, 9, b"text", IpHeader(parse_address("10.0.0.2"), parse_address("10.0.0.1")))
    packet = ip.parse(whole)
    assert packet.start == 20
    a.on_frame(1, mangle(whole), net.now_ns)
    assert not one.queue
    assert (drops(a, reason), a.counters()["UdpInErrors"]) == (1, 1)


def test_link_local_peers_are_told_apart_by_scope() -> None:
    net = Net()
    a, wires = net.host("a"), (Wire(), Wire())
    servers = []
    for number, wire in enumerate(wires):
        net.join(wire, a)
        other = net.host(f"b{number}")
        net.join(wire, other)
        other.add_address(other.interfaces[1], "fe80::b/64")
        servers.append(open_socket(net, other, AF_INET6, "::"))
    client = open_socket(net, a, AF_INET6)
    for scope in (1, 2):
        client.sendto(b"%d" % scope, ("fe80::b", 9, 0, scope), 0, net.now_ns)
    net.run(100 * MS)
    assert [texts(one) for one in servers] == [[b"1"], [b"2"]]
    _, sender, _ = servers[1].recvfrom(9, 0)
    assert len(sender) == 4
    assert sender[3] == 1
    servers[1].sendto(b"back", sender, 0, net.now_ns)
    net.run(100 * MS)
    text, sender, _ = client.recvfrom(9, 0)
    assert (text, sender[1:]) == (b"back", (9, 0, 2))


def test_options_that_the_port_depends_on_hold_after_bind_too() -> None:
    net, a, _, _ = pair()
    first, second = open_socket(net, a, address=""), open_socket(net, a)
    second.reuse_address = True
    with pytest.raises(OSError, match="in use"):
        second.bind(("", 9), net.now_ns)
    first.reuse_address = True
    second.bind(("", 9), net.now_ns)
    with pytest.raises(OSError, match="IPV6_V6ONLY can't change"):
        first.v6only = True


def test_receive_buffer_is_clamped() -> None:
    net, a, _, _ = pair()
    one = open_socket(net, a)
    one.receive_buffer_bytes = 1
    assert one.receive_buffer_bytes == 2304
    one.receive_buffer_bytes = 10**9
    assert one.receive_buffer_bytes == 2 * a.config.rmem_max


def test_without_path_mtu_discovery_nothing_bears_df() -> None:
    net, a, _, wire = pair(is_ethernet=False)
    a.config.ip_no_pmtu_disc = True
    open_socket(net, a).sendto(b"x", ("10.0.0.2", 9), 0, net.now_ns)
    net.flush()
    assert not packets(wire.passed)[0].dont_fragment
