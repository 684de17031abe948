"""Half-open connections and worse, against the real kernel: peers that vanish, reset, stop reading, or attack."""

from __future__ import annotations

import errno
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import estab
from estab.devices.namespace import call_in
from estab.serve.plain import Discard
from estab.wire import tcp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.kit.exchanges import Task, digest_of, receive_all, send_all
from tests.kit.namespaces import await_that, needs, requires_kernel
from tests.kit.tun import KERNEL, STACK, TunNamespace

pytestmark = requires_kernel


@contextmanager
def connected(netns: TunNamespace, stack: estab.Stack) -> Iterator[tuple[estab.Socket, socket.socket]]:
    """A connection that our side opened: our socket, and the kernel's."""
    with netns.listener() as listener, stack.socket() as near:
        near.settimeout(30)
        near.connect((KERNEL[0], listener.getsockname()[1]))
        far, _ = listener.accept()
        far.settimeout(30)
        with far:
            yield near, far


def test_a_deleted_namespace_ends_an_idle_connection_by_keepalive(netns: TunNamespace) -> None:
    stack = netns.stack()
    with connected(netns, stack) as (near, far):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        netns.ip("link del tun0")
        start = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            near.recv(1)
        assert caught.value.errno == errno.ETIMEDOUT
        assert 2 < time.monotonic() - start < 6
        del far


def test_a_deleted_device_ends_a_sender_by_its_user_timeout(netns: TunNamespace) -> None:
    stack = netns.stack()
    with connected(netns, stack) as (near, far):
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 800)
        netns.ip("link del tun0")
        near.sendall(b"into the void")
        start = time.monotonic()
        with pytest.raises(OSError, match=r"timed out|unreachable") as caught:
            near.recv(1)
        assert caught.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
        assert 0.5 < time.monotonic() - start < 5
        del far
    assert stack.failure is None


def test_a_link_that_goes_down_and_comes_up_costs_no_byte(netns: TunNamespace) -> None:
    stack = netns.stack()
    data = random.Random(5).randbytes(60_000_000)
    with connected(netns, stack) as (near, far):
        sending, receiving = Task(send_all, near, data), Task(receive_all, far)
        await_that(lambda: stack.counters().get("TcpOutSegs", 0) > 50, "the transfer runs")
        netns.ip("link set tun0 down")
        threading.Event().wait(0.5)
        netns.ip("link set tun0 up")
        assert digest_of(receiving.result()) == digest_of(data)
        sending.result()
    # "down" took the IPv6 address with it; the file's other tests want it
    netns.ip(f"addr replace {KERNEL[1]}/64 dev tun0 nodad")


def test_a_reset_of_the_kernels_is_connection_reset(netns: TunNamespace) -> None:
    stack = netns.stack()
    with connected(netns, stack) as (near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        assert near.recv(1) == b""  # told once, as by the kernel
    with stack.socket() as near, pytest.raises(ConnectionRefusedError):
        near.connect((KERNEL[0], 1))


def test_a_close_with_unread_bytes_resets_the_kernels_side(netns: TunNamespace) -> None:
    stack = netns.stack()
    with connected(netns, stack) as (near, far):
        far.sendall(b"never read")
        assert near.recv(100, socket.MSG_PEEK) == b"never read"
        near.close()
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_a_kernel_that_does_not_read_holds_us_back_and_loses_nothing(netns: TunNamespace) -> None:
    stack = netns.stack()
    data = random.Random(6).randbytes(12_000_000)
    with connected(netns, stack) as (near, far):
        sending = Task(send_all, near, data)
        await_that(lambda: stack.counters().get("TcpExtTCPWinProbe", 0) >= 2, "the shut window is probed", 20)
        assert digest_of(Task(receive_all, far).result()) == digest_of(data)
        sending.result()


def test_a_reader_of_ours_that_stops_holds_the_kernel_back_and_loses_nothing(netns: TunNamespace) -> None:
    stack = netns.stack()
    data = random.Random(7).randbytes(12_000_000)
    with connected(netns, stack) as (near, far):
        sending = Task(send_all, far, data)
        await_that(lambda: "timer:(persist" in netns.run("ss", "-tinoH").stdout, "the kernel probes our shut window")
        assert digest_of(Task(receive_all, near).result()) == digest_of(data)
        sending.result()


class Flood:
    """SYNs from addresses that are not there, by a raw socket in the namespace, as fast as they go."""

    def __init__(self, netns: TunNamespace, port: int) -> None:
        self._raw = call_in(netns.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        self._port = port
        self._chance = random.Random(8)
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        target = parse_address(STACK[0])
        while not self._stop.is_set():
            for _ in range(20):
                source = bytes([198, 18 + self._chance.randrange(2), self._chance.randrange(256),
                                1 + self._chance.randrange(250)])
                segment = tcp.Segment(1024 + self._chance.randrange(60_000), self._port,
                                      Seq(self._chance.randrange(1 << 32)), Seq(0), tcp.SYN, 64_240)
                segment.mss = 1460
                header = IpHeader(source, target, ident=1, dont_fragment=True)
                self._raw.sendto(tcp.emit_packet(segment, header), (STACK[0], 0))
                self.sent += 1
            self._stop.wait(0.001)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._raw.close()


@needs("curl")
def test_a_syn_flood_that_fills_the_queue_does_not_keep_curl_out(netns: TunNamespace, tmp_path: object) -> None:
    from pathlib import Path

    from estab.serve.http import Http
    from estab.stack.folder import Folder

    assert isinstance(tmp_path, Path)
    (tmp_path / "index.html").write_text("<p>still here")
    stack = netns.stack(tcp_max_syn_backlog=256)
    stack.serve(Http(Folder(tmp_path)), 80)
    stack.serve(Discard(), 9)
    flood = Flood(netns, 80)
    try:
        await_that(lambda: stack.counters().get("TcpExtSyncookiesSent", 0) > 100, "the half-open queue is full", 20)
        for _ in range(5):
            assert netns.run("curl", "-sS", "-m10", f"http://{STACK[0]}/").stdout == "<p>still here"
    finally:
        flood.end()
    counters = stack.counters()
    assert flood.sent > 1000
    assert counters["TcpExtSyncookiesRecv"] >= 1
