"""What all connections together may hold (``tcp_mem``), and that what is charged is what is held."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from estab.abi import AF_INET, SOCK_STREAM
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.tcp.config import Config
from estab.tcp.memory import PAGE_BYTES, HostMemory
from estab.tcp.record.buffers import ByteQueue
from estab.wire import ip, tcp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import ACK, SYN, Segment
from tests.kit.engines import MS, SECOND, drops, pair

SERVER, PEER = parse_address("10.0.0.1"), parse_address("10.0.0.2")
LIMIT_PAGES = (300, 400, 500)
KIB = 1024


class Peers:
    """A host with a listener on a bare IP link, and peers by hand, one for each port."""

    def __init__(self, limit_pages: tuple[int, int, int] = LIMIT_PAGES) -> None:
        config = Config()
        config.tcp_mem = limit_pages
        config.tcp_syncookies = "never"
        config.tcp_max_syn_backlog = 4096
        self.now_ns = 1000 * SECOND
        self.engine = Engine("server", bytes(32), config)
        self.engine.add_address(self.engine.add_interface("tun0", mtu=9000), "10.0.0.1/24")
        listener = self.engine.socket(AF_INET, SOCK_STREAM, self.now_ns)
        assert isinstance(listener, StreamSocket)
        listener.bind(("10.0.0.1", 7), self.now_ns)
        listener.listen(4096, self.now_ns)
        self.listener = listener
        self.out: list[Segment] = []

    def put(
        self, port: int, seq: int, ack: int, flags: int, wnd: int, text: bytes = b"", mss: int = 0,
    ) -> list[Segment]:
        """Let a peer send a segment; gives what the host sends."""
        segment = Segment(port, 7, Seq(seq & 0xFFFFFFFF), Seq(ack & 0xFFFFFFFF), flags, wnd)
        segment.data, segment.end, segment.mss = text, len(text), mss
        self.engine.on_frame(1, tcp.emit_packet(segment, IpHeader(PEER, SERVER)), self.now_ns)
        return self.drain()

    def drain(self) -> list[Segment]:
        frames = iter(lambda: self.engine.poll_frame(self.now_ns), None)
        sent = [tcp.parse(ip.parse(frame.data), True) for frame in frames]
        while self.engine.poll_event() is not None:
            pass
        return sent

    def open(self, port: int, wnd: int = 65535, mss: int = 8960) -> tuple[StreamSocket, int]:
        """Open a connection; gives its socket and the number of its first byte."""
        first = int(self.put(port, 1000, 0, SYN, 65535, mss=mss)[0].seq) + 1
        self.put(port, 1001, first, ACK, wnd)
        accepted = self.listener.accept(self.now_ns)
        assert isinstance(accepted, StreamSocket)
        return accepted, first

    def held(self) -> int:
        return self.engine.context.memory.held_bytes


def fill(one: StreamSocket, now_ns: int) -> None:
    """Write until there is no room."""
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(bytes(64 * KIB), 0, now_ns)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_text_that_nobody_reads_is_bounded_over_all_connections() -> None:
    peers = Peers()
    opened = [peers.open(1024 + number) for number in range(100)]
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for number, (_, first) in enumerate(opened):
        for piece in range(7):
            peers.put(1024 + number, 1001 + 8000 * piece, first, ACK, 65535, bytes(8000))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    limit = LIMIT_PAGES[2] * PAGE_BYTES + 100 * Config().tcp_rmem[0]
    assert limit // 2 < peers.held() <= limit + 9000, "what is charged"
    assert taken <= 1.3 * limit, "what is held"
    assert peers.engine.context.counters.TcpExtTCPRcvQDrop == drops(peers.engine, DropReason.PROTO_MEM) > 0
    assert peers.engine.context.counters.TcpExtTCPMemoryPressures == 1
    for one, _ in opened:
        one.recv(1_000_000, 0, peers.now_ns)
    assert peers.held() == 0
    one, first = opened[0]
    assert not peers.engine.context.memory.is_pressed
    one, first = opened[99]
    for piece in range(7):
        peers.put(1123, 1001 + 8000 * piece, first, ACK, 65535, bytes(8000))
    assert len(one.recv(100_000, 0, peers.now_ns)) > 40_000, "what was dropped may come again"


@pytest.mark.usefixtures("traced")
def test_text_that_is_not_acknowledged_is_bounded_over_all_connections() -> None:
    peers = Peers()
    opened = [peers.open(1024 + number) for number in range(100)]
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for one, _ in opened:
        one.send_buffer_bytes = 1_000_000
        fill(one, peers.now_ns)
        peers.drain()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    limit = LIMIT_PAGES[2] * PAGE_BYTES + 100 * (Config().tcp_wmem[0] + 9000)
    assert LIMIT_PAGES[1] * PAGE_BYTES < peers.held() <= limit
    assert taken <= 1.3 * limit


def test_under_pressure_buffers_do_not_grow_and_windows_are_small() -> None:
    net, a, b, _ = pair()
    for host in (a, b):
        host.sysctl["tcp_mem"] = (1, 2, 100_000)
    listener = b.socket(AF_INET, SOCK_STREAM, net.now_ns)
    assert isinstance(listener, StreamSocket)
    listener.bind(("10.0.0.2", 7), net.now_ns)
    listener.listen(1, net.now_ns)
    client = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    assert isinstance(client, StreamSocket)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.2", 7), net.now_ns)
    net.run(10 * MS)
    server = listener.accept(net.now_ns)
    sizes = set()
    for _ in range(200):
        fill(client, net.now_ns)
        net.run(5 * MS)
        with contextlib.suppress(BlockingIOError):
            while server.recv(100_000, 0, net.now_ns):
                pass
        sizes.add((client.connection.send_buffer_bytes, server.connection.receive_buffer_bytes))
    assert len(sizes) == 1
    assert a.counters()["TcpExtTCPMemoryPressures"] > 0


def test_over_the_limit_a_close_with_text_left_is_a_reset() -> None:
    peers = Peers((1, 2, 10))
    one, _ = peers.open(1024, wnd=0)
    other, _ = peers.open(1025, wnd=0)
    for opened in (one, other):
        fill(opened, peers.now_ns)
    assert peers.engine.context.memory.is_full()
    one.close(peers.now_ns)
    assert [tcp.flags_text(segment.flags) for segment in peers.drain()] == ["R."]
    assert peers.engine.context.counters.TcpExtTCPAbortOnMemory == 1
    assert not peers.engine.context.memory.is_full()
    other.close(peers.now_ns)
    assert peers.drain() == [], "there is memory again: the rest may be sent"


def test_a_connection_gets_its_least_whatever_others_hold() -> None:
    peers = Peers((1, 2, 10))
    greedy, _ = peers.open(1024, wnd=0)
    fill(greedy, peers.now_ns)
    small, first = peers.open(1025)
    peers.put(1025, 1001, first, ACK, 65535, b"a question")
    assert small.recv(100, 0, peers.now_ns) == b"a question"
    assert small.send(b"an answer", 0, peers.now_ns) == 9
    assert [segment.data[segment.start : segment.end] for segment in peers.drain()] == [b"an answer"]


def test_one_byte_segments_are_joined_and_do_not_take_more_than_the_buffer() -> None:
    peers = Peers()
    one, first = peers.open(1024)
    one.receive_buffer_bytes = 4608
    for number in range(2000):
        peers.put(1024, 1001 + number, first, ACK, 65535, b"x")
    buffer_bytes = one.connection.receive_buffer_bytes
    assert peers.held() <= buffer_bytes + 200
    assert one.recv(10_000, 0, peers.now_ns) == b"x" * 2000


@pytest.mark.usefixtures("traced")
def test_what_a_queue_of_bytes_says_it_takes_is_what_it_takes() -> None:
    for size in (1, 40, 1460):
        queue = ByteQueue()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            queue.append(bytes(size))
        taken = tracemalloc.get_traced_memory()[0] - before
        assert 0.7 * taken <= queue.memory_bytes() <= 1.6 * taken, size
        queue.collapse()
        assert queue.memory_bytes() < 100 * size + 64 * (100 * size // 8192 + 2)
        queue.drop(100 * size)
        assert queue.memory_bytes() == 0


def test_pressure_lasts_until_less_than_the_first_limit_is_held() -> None:
    config = Config()
    config.tcp_mem = (1, 2, 3)
    engine = Engine("a", bytes(32), config)
    memory = HostMemory(config, engine.context.counters)
    for change, is_pressed, is_full in [(2 * PAGE_BYTES, False, False), (1, True, False), (PAGE_BYTES, True, True),
                                        (-PAGE_BYTES, True, False), (-PAGE_BYTES - 1, False, False)]:
        memory.add(change, 5 * SECOND if change > 0 else 7 * SECOND)
        assert (memory.is_pressed, memory.is_full()) == (is_pressed, is_full), change
    assert engine.context.counters.TcpExtTCPMemoryPressuresChrono == 2000


def test_a_connection_that_is_over_is_charged_for_nothing() -> None:
    peers = Peers()
    one, first = peers.open(1024)
    peers.put(1024, 1001, first, ACK, 65535, bytes(5000))
    one.send(bytes(5000), 0, peers.now_ns)
    assert peers.held() > 10_000
    peers.put(1024, 6001, first, ACK | tcp.RST, 0)
    assert 5000 < peers.held() < 10_000, "the text can still be read"
    one.close(peers.now_ns)
    assert peers.held() == 0
