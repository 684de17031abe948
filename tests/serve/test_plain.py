"""Echo, discard and chargen: every byte, both IP versions, slow readers, limits, and ends that go away."""

from __future__ import annotations

import random

import pytest

from estab import abi
from estab.host.sockets.stream import StreamSocket
from estab.serve.plain import PATTERN, Chargen, Discard, Echo
from estab.serve.services import Service
from estab.tcp.config import Config
from tests.kit.serving import MS, SECOND, Serving


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_echo_gives_back_every_byte_and_closes_with_the_peer(address: str) -> None:
    net = Serving()
    echo = Echo()
    net.add(echo, 7)
    client = net.connect(7, address)
    data = random.Random(1).randbytes(300_000)
    client.send(data)
    client.shut()
    client.read(2 * SECOND)
    assert client.text == data
    assert client.is_eof
    assert echo.open_count == 0


@pytest.mark.parametrize("most", [5_000, 40_000, 64_000, 90_000])
def test_echo_gives_back_every_byte_whatever_part_of_a_write_there_is_room_for(most: int) -> None:
    config = Config()
    config.tcp_wmem = (4096, min(16_384, most), most)
    net = Serving(config)
    net.client.config.tcp_rmem = (4096, 16_384, 16_384)  # a small window makes small pieces, and many of them
    net.add(Echo(), 7)
    client = net.connect(7)
    text = bytes(range(251)) * 2_000
    for start in range(0, len(text), 25_100):
        client.ask(text[start : start + 25_100])
    client.read(5 * SECOND)
    assert client.text == text


class Told(Service):
    """Notes what was there to be read each time that it was told of an end. Closes with the peer."""

    def __init__(self) -> None:
        super().__init__("told")
        self.wants_opening = Echo().wants_opening
        self.unread: list[int] = []

    def on_ready(self, end: StreamSocket, now_ns: int) -> None:
        self.unread.append(end.readable_bytes)
        assert end.connection is not None
        if end.connection.is_eof():
            self.close(end, now_ns)


def test_echo_is_told_of_an_end_when_text_comes_and_not_before() -> None:
    net = Serving()
    told = Told()
    net.add(told, 7)
    client = net.connect(7)
    net.run(SECOND)
    assert (told.open_count, told.unread) == (1, [])
    client.ask(b"abc")
    assert told.unread == [3]
    assert Discard().wants_opening is told.wants_opening is False
    assert Chargen().wants_opening


def test_text_that_came_before_a_place_was_free_is_told_of_when_it_is() -> None:
    net = Serving()
    told = Told()
    told.ends_max = 1
    net.add(told, 7)
    first, second = net.connect(7), net.connect(7)
    net.run(SECOND)
    second.ask(b"abcd")
    assert (told.open_count, told.unread) == (1, [])
    first.shut()
    net.run(SECOND)
    assert (told.open_count, told.unread) == (1, [0, 4])


def test_echo_reads_no_more_than_the_peer_takes_back() -> None:
    net = Serving()
    net.add(Echo(), 7)
    client = net.connect(7)
    sent = 0
    for _ in range(2000):
        try:
            sent += client.socket.send(bytes(65536), 0, net.now_ns)
        except BlockingIOError:
            net.run(20 * MS)
    end = net.host_served.files.open_descriptors()[-1]
    held = end.outq_bytes + end.readable_bytes
    limits = net.host_served.config
    assert 100_000 < held <= limits.tcp_wmem[2] + limits.tcp_rmem[2]
    net.run(5 * SECOND)
    assert end.outq_bytes + end.readable_bytes == held
    client.read(20 * SECOND)
    assert len(client.text) == sent


def test_discard_takes_everything_and_closes_with_the_peer() -> None:
    net = Serving()
    discard = Discard()
    net.add(discard, 9)
    client = net.connect(9)
    client.send(bytes(1_000_000))
    net.run(SECOND)
    assert client.socket.outq_bytes == 0
    client.shut()
    client.read()
    assert client.is_eof
    assert client.text == b""
    assert discard.open_count == 0


def test_the_pattern_is_that_of_rfc_864() -> None:
    lines = PATTERN.split(b"\r\n")
    assert lines[0] == bytes(range(32, 104))
    assert lines[1] == bytes(range(33, 105))
    assert lines[24] == bytes(range(56, 127)) + b" "
    assert len(lines) == 96
    assert {len(line) for line in lines[:-1]} == {72}


def test_chargen_repeats_its_pattern_without_a_seam_whatever_the_reader_does() -> None:
    net = Serving()
    net.add(Chargen(), 19)
    client = net.connect(19)
    chance = random.Random(2)
    text = b""
    for _ in range(300):
        net.run(2 * MS)
        try:
            text += client.socket.recv(chance.randint(1, 60_000), 0, net.now_ns)
        except BlockingIOError:
            continue
    assert len(text) > 1_000_000
    assert text == (PATTERN * (len(text) // len(PATTERN) + 1))[: len(text)]


def test_chargen_stops_when_the_peer_does_not_read_and_ends_with_it() -> None:
    net = Serving()
    chargen = Chargen()
    net.add(chargen, 19)
    client = net.connect(19)
    net.run(10 * SECOND)
    came = client.socket.readable_bytes
    net.run(60 * SECOND)
    assert client.socket.readable_bytes == came
    client.close()  # with text unread: a reset
    net.run(SECOND)
    assert chargen.open_count == 0


@pytest.mark.parametrize("service", [Echo, Discard, Chargen])
def test_a_reset_ends_the_servers_side_too(service: type[Echo | Discard | Chargen]) -> None:
    net = Serving()
    served = service()
    net.add(served, 7)
    client = net.connect(7)
    assert served.open_count == 1
    client.socket.linger = 0
    client.close()
    assert served.open_count == 0
    assert net.host_served.files.open_count == 1  # the listener


def test_connections_beyond_the_limit_wait_for_their_turn() -> None:
    net = Serving()
    echo = Echo(2)
    net.add(echo, 7)
    clients = [net.connect(7) for _ in range(4)]
    assert [client.ask(b"a") for client in clients] == [b"a", b"a", b"", b""]
    assert (echo.open_count, echo.full_count > 0) == (2, True)
    clients[0].close()
    assert clients[2].read() == b"a"
    assert clients[3].read() == b""
    clients[1].close()
    assert clients[3].read() == b"a"


def test_connections_wait_while_the_host_has_no_descriptor_left() -> None:
    net = Serving()
    net.add(Echo(), 7)
    net.host_served.files.limit = 3 + 3
    clients = [net.connect(7) for _ in range(3)]
    assert [client.ask(b"a") for client in clients] == [b"a", b"a", b""]
    clients[1].close()
    assert clients[2].read() == b"a"


def test_events_of_other_sockets_are_handed_on() -> None:
    net = Serving()
    net.add(Echo(), 7)
    other = net.host_served.socket(abi.AF_INET, abi.SOCK_STREAM, net.now_ns)
    other.bind(("", 8), net.now_ns)
    other.listen(5, net.now_ns)
    net.others.clear()
    net.connect(8)
    assert (other.fd, abi.POLLIN) in net.others
    assert net.connect(7).ask(b"a") == b"a"


def test_closing_the_server_ends_every_connection_and_frees_the_ports() -> None:
    net = Serving()
    net.add(Echo(), 7)
    client = net.connect(7)
    net.services.close(net.now_ns)
    client.read()
    assert client.is_eof
    assert net.host_served.files.open_count == 0
    net.add(Echo(), 7)
    assert net.connect(7).ask(b"b") == b"b"


def test_a_port_that_is_taken_raises_and_leaves_nothing_behind() -> None:
    net = Serving()
    net.add(Echo(), 7)
    with pytest.raises(OSError, match="already in use"):
        net.add(Discard(), 7)
    assert net.host_served.files.open_count == 1


def test_text_that_is_there_with_the_handshake_is_answered() -> None:
    config = Config()
    config.tcp_syncookies = "always"
    net = Serving(config)
    net.add(Echo(), 7)
    assert net.connect(7).ask(b"hello") == b"hello"
