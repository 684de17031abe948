"""Connections that are found by their ports and addresses, without the table's key."""

from __future__ import annotations

import pytest

from estab.host.engine import Engine
from estab.host.sockets.recent import Recent
from estab.tcp.connection import Connection
from estab.wire import tcp
from estab.wire.ip import Packet
from estab.wire.tcp import Segment
from tests.kit.engines import MS, pair
from tests.kit.streams import connect, listen

HERE, THERE, ELSEWHERE = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02", b"\x0a\x00\x00\x03"


def connection(port: int, remote: bytes = THERE) -> Connection:
    """Make a connection from a remote port to port 80."""
    demux = Engine("a", bytes(32)).demux
    return demux.new_connection(HERE, 80, remote, port, demux.new_options(), None)


def arriving(port: int, remote: bytes = THERE, to_port: int = 80, local: bytes = HERE) -> tuple[Packet, Segment]:
    """Make what comes from a remote port, with addresses of its own objects."""
    packet = Packet(4, bytes(bytearray(remote)), bytes(bytearray(local)), 6, 64, 0, b"", 0, 0, 0)
    return packet, Segment(port, to_port, tcp.Seq(0), tcp.Seq(0), tcp.ACK, 0)


@pytest.mark.parametrize("others", [0, 1, 5])
def test_what_was_remembered_is_found_by_all_four_ends_and_by_no_others(others: int) -> None:
    recent, one = Recent(), connection(1000)
    for number in range(others):
        recent.remember(connection(2000 + number), arriving(2000 + number)[0])
    packet, segment = arriving(1000)
    assert recent.find(packet, segment) is None
    recent.remember(one, packet)
    assert recent.find(packet, segment) is one
    if others:
        assert recent.find(*arriving(1000)) is one
    assert recent.find(*arriving(1001)) is None
    assert recent.find(*arriving(1000, remote=ELSEWHERE)) is None
    assert recent.find(*arriving(1000, local=ELSEWHERE)) is None
    assert recent.find(*arriving(1000, to_port=81)) is None


def test_of_two_in_one_place_the_later_is_found_and_the_earlier_never_taken_for_it() -> None:
    recent, one, other = Recent(), connection(1000), connection(1000 + 256)
    recent.remember(one, arriving(1000)[0])
    recent.remember(other, arriving(1256)[0])
    assert recent.find(*arriving(1000)) is None
    assert recent.find(*arriving(1256)) is other
    recent.forget(one)
    assert recent.find(*arriving(1256)) is other


def test_what_was_forgotten_is_not_found() -> None:
    recent, one, other = Recent(), connection(1000), connection(1001)
    for made, port in ((one, 1000), (other, 1001), (one, 1000)):
        recent.remember(made, arriving(port)[0])
    packet, segment = arriving(1000)
    recent.remember(one, packet)
    recent.forget(one)
    assert recent.find(packet, segment) is None
    assert recent.find(*arriving(1001)) is other


def test_a_connection_that_ended_gets_no_more_segments_of_its_ports() -> None:
    net, a, b, wire = pair(is_ethernet=False)
    listener = listen(net, b)
    clients = [connect(net, a, "10.0.0.2") for _ in range(3)]
    net.run(100 * MS)
    ends = [listener.accept(net.now_ns) for _ in clients]
    for client in clients:
        client.connect(("10.0.0.2", 80), net.now_ns)
        client.send(b"x", 0, net.now_ns)
        net.flush()
    late = wire.passed[-2][2]
    for end in ends:
        connection = end.connection
        assert connection is not None
        connection.abort()
        b.demux.touch(connection)
    net.flush()
    assert not b.demux.table
    before = b.counters().get("TcpOutRsts", 0)
    b.on_frame(1, late, net.now_ns)
    net.flush()
    assert b.counters()["TcpOutRsts"] == before + 1
