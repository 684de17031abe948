"""``Socket``: the calls of ``socket.socket``, with its arguments, results and errors, over hosts of the lab.

Most tests use sockets from outside of programs: a blocking call then runs the network.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import struct

import pytest

from estab import Host, Network
from tests.kit.two_hosts import connected


def test_it_is_a_socket_of_the_standard_library_without_one_of_the_system(a: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with a.socket() as sock:
        assert isinstance(sock, socket.socket)
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
        assert len(os.listdir("/proc/self/fd")) == before
        assert sock.fd == 3


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_bytes_go_both_ways_and_the_end_of_the_stream_is_empty(a: Host, b: Host, family: int) -> None:
    with connected(a, b, family) as (caller, accepted):
        assert caller.send(b"hello") == 5
        assert accepted.recv(100) == b"hello"
        accepted.sendall(bytearray(b"back"))
        assert caller.recv(2) == b"ba"
        assert caller.recv(100) == b"ck"
        caller.shutdown(socket.SHUT_WR)
        assert accepted.recv(100) == b""
        accepted.sendall(memoryview(b"still here"))
        assert caller.recv(100) == b"still here"


def test_names_are_looked_up_and_addresses_are_the_ends(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        assert caller.getpeername() == accepted.getsockname() == ("10.0.0.2", 80)
        assert accepted.getpeername() == caller.getsockname()
    with a.socket() as sock, pytest.raises(socket.gaierror, match="'nowhere' is no name"):
        sock.connect(("nowhere", 80))


def test_a_dual_stack_listener_takes_ipv4_as_mapped_addresses(a: Host, b: Host) -> None:
    with b.socket(socket.AF_INET6) as listener, a.socket() as caller:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 80))
        listener.listen()
        caller.connect((b.address, 80))
        accepted, address = listener.accept()
        with accepted:
            assert address[0] == "::ffff:10.0.0.1"


@pytest.mark.parametrize(("address", "error"), [
    ("10.0.0.2:80", TypeError), (("10.0.0.2",), TypeError), (("10.0.0.2", "80"), TypeError),
    (("10.0.0.2", 70000), OverflowError), (("10.0.0.2", -1), OverflowError), ((80, "10.0.0.2"), TypeError),
    (("fd00::2", 80), socket.gaierror),
])
def test_an_address_that_is_none_is_refused_as_by_python(a: Host, address: object, error: type[Exception]) -> None:
    with a.socket() as sock, socket.socket() as real:
        for candidate in (sock, real):
            with pytest.raises(error):
                candidate.connect(address)  # type: ignore[arg-type]


def test_addresses_of_ipv6_have_four_parts(a: Host, b: Host) -> None:
    with connected(a, b, socket.AF_INET6) as (caller, accepted):
        assert caller.getpeername() == accepted.getsockname() == ("fd00::2", 80, 0, 0)


# --- errors and timeouts


def test_a_port_without_a_listener_refuses(a: Host) -> None:
    with a.socket() as caller, pytest.raises(ConnectionRefusedError, match="refused"):
        caller.connect(("b", 81))
    with a.socket() as caller:
        assert caller.connect_ex(("b", 81)) == errno.ECONNREFUSED


def test_a_silent_peer_times_out_after_all_syns(net: Network, a: Host) -> None:
    net.links[0].cut()
    with a.socket() as caller, pytest.raises(TimeoutError, match="SYNs unanswered") as caught:
        caller.connect(("b", 80))
    assert caught.value.errno == errno.ETIMEDOUT
    assert net.now > 60


def test_timeouts_raise_without_an_errno_and_connect_ex_says_eagain(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted), b.socket() as listener:
        caller.settimeout(0.5)
        started = net.now
        with pytest.raises(TimeoutError, match=r"^timed out$") as caught:
            caller.recv(1)
        assert net.now - started == pytest.approx(0.5)
        assert caught.value.errno is None
        accepted.settimeout(0.5)
        with pytest.raises(TimeoutError):
            accepted.sendall(bytes(20_000_000))
        listener.bind(("", 81))
        listener.listen()
        listener.settimeout(0.25)
        with pytest.raises(TimeoutError):
            listener.accept()
    net.links[0].cut()
    with a.socket() as caller:
        caller.settimeout(1)
        assert caller.connect_ex(("b", 80)) == errno.EAGAIN


def test_a_socket_that_does_not_block_says_so_and_becomes_ready(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        caller.setblocking(False)
        assert caller.connect_ex(("b", 80)) == errno.EINPROGRESS
        assert caller.connect_ex(("b", 80)) == errno.EALREADY
        net.run(until=1)
        assert caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert caller.connect_ex(("b", 80)) == 0
        assert caller.connect_ex(("b", 80)) == errno.EISCONN
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getblocking() is True
            with pytest.raises(BlockingIOError):
                caller.recv(1)
            with pytest.raises(BlockingIOError):
                accepted.recv(1, socket.MSG_DONTWAIT)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += caller.send(bytes(100_000))
            assert 10_000 < sent < 1_000_000


def test_a_failed_connect_tells_by_so_error(net: Network, a: Host) -> None:
    with a.socket() as caller:
        caller.setblocking(False)
        assert caller.connect_ex(("b", 81)) == errno.EINPROGRESS
        net.run(until=1)
        assert caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        assert caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_a_reset_reaches_the_reader_and_then_the_writer(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        with pytest.raises(ConnectionResetError):
            caller.recv(1)
        with pytest.raises(BrokenPipeError):
            caller.send(b"x")


@pytest.mark.parametrize("value", [-1, -0.5, float("nan")])
def test_a_timeout_that_is_none_is_refused(a: Host, value: float) -> None:
    with a.socket() as sock, pytest.raises(ValueError, match="alue"):
        sock.settimeout(value)


def test_the_default_timeout_is_pythons(a: Host) -> None:
    socket.setdefaulttimeout(7)
    try:
        with a.socket() as sock:
            assert sock.gettimeout() == sock.timeout == 7
    finally:
        socket.setdefaulttimeout(None)


# --- receiving and sending


def test_peek_leaves_what_it_shows(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        caller.send(b"hello")
        assert accepted.recv(3, socket.MSG_PEEK) == b"hel"
        assert accepted.recv(100) == b"hello"


def test_waitall_waits_for_all_and_gives_less_at_the_end(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        net.at(net.now + 1, lambda: caller.send(b"world"))
        caller.send(b"hello")
        assert accepted.recv(10, socket.MSG_WAITALL) == b"helloworld"
        caller.send(b"bye")
        caller.shutdown(socket.SHUT_WR)
        assert accepted.recv(10, socket.MSG_WAITALL) == b"bye"
        assert accepted.recv(10, socket.MSG_WAITALL) == b""


def test_waitall_and_peek_together_wait_and_take_nothing(net: Network, a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        net.at(net.now + 1, lambda: caller.send(b"world"))
        caller.send(b"hello")
        assert accepted.recv(10, socket.MSG_WAITALL | socket.MSG_PEEK) == b"helloworld"
        assert accepted.recv(10) == b"helloworld"


def test_receiving_into_buffers(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        caller.send(b"0123456789abcdef")
        buffer = bytearray(8)
        assert accepted.recv_into(buffer, 4) == 4
        assert buffer == b"0123\0\0\0\0"
        assert accepted.recvfrom_into(buffer) == (8, None)
        assert buffer == b"456789ab"
        parts = [bytearray(1), bytearray(5)]
        assert accepted.recvmsg_into(parts) == (4, [], 0, None)
        assert parts == [b"c", b"def\0\0"]
        with pytest.raises(ValueError, match="buffer too small"):
            accepted.recv_into(bytearray(2), 4)
        with pytest.raises(ValueError, match="negative"):
            accepted.recv(-1)


def test_messages_of_tcp_have_no_address(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        assert caller.sendmsg([b"one", bytearray(b"two"), memoryview(b"three")]) == 11
        assert accepted.recvmsg(100) == (b"onetwothree", [], 0, None)
        caller.sendto(b"x", ("10.9.9.9", 9))
        assert accepted.recvfrom(100) == (b"x", None)
        with pytest.raises(OSError, match="ancillary") as caught:
            caller.sendmsg([b"x"], [(socket.SOL_SOCKET, 99, b"")])
        assert caught.value.errno == errno.EINVAL


def test_a_long_sendall_arrives_whole(a: Host, b: Host) -> None:
    text = bytes(range(256)) * 4000

    @b.run
    def sink() -> bytes:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as taken, taken.makefile("rb") as file:
            return file.read()

    with a.socket() as caller:
        caller.connect(("b", 80))
        caller.sendall(text)
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(1) == b""
    assert sink.result() == text


def test_a_file_can_be_sent(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        assert caller.sendfile(io.BytesIO(b"0123456789"), offset=2, count=5) == 5
        assert accepted.recv(100) == b"23456"


def test_makefile_reads_lines_and_keeps_the_socket_open(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, accepted):
        file = accepted.makefile("rwb")
        accepted.close()
        caller.sendall(b"first\nsecond\n")
        assert [file.readline(), file.readline()] == [b"first\n", b"second\n"]
        file.write(b"answer")
        file.flush()
        assert caller.recv(100) == b"answer"
        file.close()
        assert caller.recv(100) == b""


def test_text_is_no_bytes(a: Host, b: Host) -> None:
    with connected(a, b) as (caller, _), pytest.raises(TypeError, match="bytes-like"):
        caller.send("text")


def test_datagrams_have_senders_and_bounds(a: Host, b: Host) -> None:
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller, b.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("", 53))
        assert caller.sendto(b"question", ("b", 53)) == 8
        text, address = server.recvfrom(100)
        assert (text, address) == (b"question", ("10.0.0.1", caller.getsockname()[1]))
        server.sendto(b"long answer", 0, address)
        assert caller.recvmsg(4)[::2] == (b"long", socket.MSG_TRUNC)
        caller.connect(("b", 53))
        assert caller.send(b"x" * 1000) == 1000
        assert len(server.recv(2000)) == 1000
        with pytest.raises(OSError, match="message too long"):
            caller.send(bytes(70_000))
        server.close()
        caller.send(b"nobody")
        with pytest.raises(ConnectionRefusedError):
            caller.recv(100)
