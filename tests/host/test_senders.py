"""In which order the connections of a host send."""

from __future__ import annotations

from estab.host.engine import Engine
from estab.host.sockets.senders import SHARE_BYTES, Senders
from estab.host.sockets.stream import StreamSocket
from estab.wire import ip, tcp
from tests.kit.engines import MS, Net, Wire, pair
from tests.kit.streams import connect, listen

BULK = 10 * SHARE_BYTES
SEGMENT = 1460


def sending(count: int) -> tuple[Net, Engine, list[StreamSocket], Wire]:
    """Connections from one host to another, each of which may send ``BULK`` bytes at once."""
    net, a, b, wire = pair(is_ethernet=False)
    listen(net, b)
    clients = [connect(net, a, "10.0.0.2") for _ in range(count)]
    net.run(100 * MS)
    for client in clients:
        connection = client.connection
        assert connection is not None
        client.connect(("10.0.0.2", 80), net.now_ns)
        client.nodelay = True
        connection.send_buffer_bytes = connection.cwnd_bytes = connection.max_snd_wnd = connection.snd_wnd = 2 * BULK
    wire.passed.clear()
    return net, a, clients, wire


def runs(clients: list[StreamSocket], wire: Wire) -> list[tuple[int, int]]:
    """Say whose text left, in order: the place of a connection, and how many bytes in a row."""
    ports = [client.getsockname()[1] for client in clients]
    found: list[tuple[int, int]] = []
    for _, name, frame in wire.passed:
        if name != "a":
            continue
        segment = tcp.parse(ip.parse(frame), is_checksum_known_good=True)
        place, text_bytes = ports.index(segment.sport), segment.end - segment.start
        if found and found[-1][0] == place:
            text_bytes += found.pop()[1]
        found.append((place, text_bytes))
    return found


def test_a_few_bytes_do_not_wait_for_all_that_another_connection_may_send() -> None:
    net, _, clients, wire = sending(2)
    clients[0].send(bytes(BULK), 0, net.now_ns)
    clients[1].send(b"answer", 0, net.now_ns)
    net.flush()
    (first, share), second, (last, rest) = runs(clients, wire)
    assert (first, second, last) == (0, (1, 6), 0)
    assert SHARE_BYTES <= share < SHARE_BYTES + SEGMENT
    assert share + rest == BULK


def test_bytes_written_while_another_connection_sends_come_next() -> None:
    net, a, clients, wire = sending(2)
    clients[0].send(bytes(BULK), 0, net.now_ns)
    for _ in range(3):
        outbound = a.poll_frame(net.now_ns)
        assert outbound is not None
    clients[1].send(b"answer", 0, net.now_ns)
    net.flush()
    assert [place for place, _ in runs(clients, wire)] == [0, 1, 0]


def test_connections_that_all_have_much_to_send_take_turns() -> None:
    net, _, clients, wire = sending(3)
    for client in clients:
        client.send(bytes(BULK), 0, net.now_ns)
    net.flush()
    order = runs(clients, wire)
    assert [place for place, _ in order] == [0, 1, 2] * (len(order) // 3)
    assert all(text_bytes < SHARE_BYTES + SEGMENT for _, text_bytes in order)
    assert [sum(text_bytes for place, text_bytes in order if place == number) for number in range(3)] == [BULK] * 3


def test_one_connection_alone_sends_all_at_once() -> None:
    net, _, clients, wire = sending(1)
    clients[0].send(bytes(BULK), 0, net.now_ns)
    net.flush()
    assert runs(clients, wire) == [(0, BULK)]


def test_two_that_always_have_something_to_send_come_by_turns() -> None:
    _, _, clients, _ = sending(2)
    one, other = (client.connection for client in clients)
    assert one is not None
    assert other is not None
    senders = Senders()
    senders.pass_on()
    assert senders.first is None
    senders.add(one)
    senders.add(other)
    for number in range(1000):
        assert senders.first is (other if number % 2 else one)
        senders.pass_on()
        assert len(senders._ring._others) < 100
    senders.drop_first()
    assert senders.first is other
    senders.drop_first()
    assert senders.first is None


def test_any_number_come_in_the_order_in_which_they_were_added() -> None:
    _, _, clients, _ = sending(40)
    senders = Senders()
    expected = []
    for _ in range(3):
        for client in clients:
            assert client.connection is not None
            senders.add(client.connection)
            expected.append(client.connection)
            if len(expected) % 3 == 0:
                assert senders.first is expected.pop(0)
                senders.drop_first()
    while expected:
        assert senders.first is expected.pop(0)
        senders.drop_first()
    assert senders.first is None
