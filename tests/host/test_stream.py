"""TCP sockets: bytes, readiness and options."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.abi import (
    AF_INET6,
    MSG_OOB,
    MSG_PEEK,
    POLLHUP,
    POLLOUT,
    POLLPRI,
    SHUT_WR,
)
from tests.kit.engines import MS, SECOND, pair
from tests.kit.streams import PEERS, connected, fails, listen, open_socket

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


DELETE_EACH = """
from types import GetSetDescriptorType

from estab.abi import AF_INET, SOCK_DGRAM, SOCK_STREAM
from estab.host.engine import Engine

host = Engine("t", bytes(32))
for one in (host, host.socket(AF_INET, SOCK_STREAM, 0), host.socket(AF_INET, SOCK_DGRAM, 0)):
    for owner in type(one).__mro__:
        for name, found in vars(owner).items():
            if isinstance(found, (property, GetSetDescriptorType)) and not name.startswith("__"):
                try:
                    delattr(one, name)
                except AttributeError:
                    print(name)
"""


def test_no_attribute_of_a_socket_or_a_host_can_be_deleted() -> None:
    """In a process of its own: compiled, each would be a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", DELETE_EACH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"nodelay", "ttl", "observer", "is_forwarding", "v6only", "keeps_errors"} <= set(done.stdout.split())
