"""Flow labels of IPv6 (RFC 6437): one for all packets of a flow, the peer's where ``flowlabel_reflect`` says so."""

from __future__ import annotations

import pytest

from estab.abi import AF_INET6, SOCK_STREAM
from estab.host.sockets.stream import StreamSocket
from estab.wire import ip, tcp
from estab.wire.tcp import FIN
from tests.kit.engines import MS, SECOND, pair


def labels(passed: list[tuple[int, str, bytes]], sender: str) -> list[tuple[int, int]]:
    found = []
    for _, name, data in passed:
        packet = ip.parse(data, 0)
        if name == sender and packet.protocol == ip.TCP:
            found.append((tcp.parse(packet, True).flags, packet.flow_label))
    return found


@pytest.mark.parametrize("reflect", [0, 1])
def test_all_segments_of_a_connection_have_one_flow_label(reflect: int) -> None:
    net, a, b, wire = pair(is_ethernet=False)
    b.sysctl["net.ipv6.flowlabel_reflect"] = reflect
    listener = b.socket(AF_INET6, SOCK_STREAM, net.now_ns)
    assert isinstance(listener, StreamSocket)
    listener.bind(("fd00::2", 7), net.now_ns)
    listener.listen(1, net.now_ns)
    clients = []
    for _ in range(2):
        client = a.socket(AF_INET6, SOCK_STREAM, net.now_ns)
        assert isinstance(client, StreamSocket)
        with pytest.raises(BlockingIOError):
            client.connect(("fd00::2", 7), net.now_ns)
        net.run(10 * MS)
        server = listener.accept(net.now_ns)
        client.send(b"text", 0, net.now_ns)
        net.run(1 * SECOND)
        server.recv(100, 0, net.now_ns)
        client.close(net.now_ns)
        net.run(1 * SECOND)
        server.close(net.now_ns)
        net.run(1 * SECOND)
        clients.append((labels(wire.passed, "a"), labels(wire.passed, "b")))
        # TIME-WAIT answers a FIN that comes again, with the same label.
        from_b = [data for _, name, data in wire.passed if name == "b"]
        fin = next(data for data in from_b if tcp.parse(ip.parse(data), True).flags & FIN)
        a.on_frame(1, fin, net.now_ns)
        net.run(10 * MS)
        assert len({label for _, label in labels(wire.passed, "a")}) == 1
        wire.passed.clear()
    for sent, answered in clients:
        assert len({label for _, label in sent}) == len({label for _, label in answered}) == 1
        assert sent[0][1] != 0 != answered[0][1]
        assert (sent[0][1] == answered[0][1]) == (reflect == 1)
    assert clients[0][0][0][1] != clients[1][0][0][1], "another flow, another label"


@pytest.mark.parametrize("reflect", [0, 2])
def test_a_reset_of_a_closed_port_takes_the_label_only_if_it_is_told_to(reflect: int) -> None:
    net, a, b, wire = pair(is_ethernet=False)
    b.sysctl["net.ipv6.flowlabel_reflect"] = reflect
    client = a.socket(AF_INET6, SOCK_STREAM, net.now_ns)
    assert isinstance(client, StreamSocket)
    with pytest.raises(BlockingIOError):
        client.connect(("fd00::2", 7), net.now_ns)
    net.run(10 * MS)
    (_, asked), = labels(wire.passed, "a")
    (_, answered), = labels(wire.passed, "b")
    assert (asked == answered) == (reflect == 2)


@pytest.mark.parametrize("reflect", [0, 4])
def test_an_echo_reply_takes_the_label_only_if_it_is_told_to(reflect: int) -> None:
    net, a, b, wire = pair(is_ethernet=False)
    b.sysctl["net.ipv6.flowlabel_reflect"] = reflect
    a.ping("fd00::2", b"x", net.now_ns)
    net.run(10 * MS)
    request, reply = (ip.parse(data).flow_label for _, _, data in wire.passed)
    assert request != 0 != reply
    assert (request == reply) == (reflect == 4)


def test_no_packet_has_a_flow_label_if_they_are_switched_off() -> None:
    net, a, _, wire = pair(is_ethernet=False)
    a.sysctl["net.ipv6.auto_flowlabels"] = 0
    a.ping("fd00::2", b"x", net.now_ns)
    client = a.socket(AF_INET6, SOCK_STREAM, net.now_ns)
    assert isinstance(client, StreamSocket)
    with pytest.raises(BlockingIOError):
        client.connect(("fd00::2", 7), net.now_ns)
    net.run(10 * MS)
    assert {ip.parse(data).flow_label for _, name, data in wire.passed if name == "a"} == {0}
