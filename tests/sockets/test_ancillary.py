"""Ancillary data, errors that are queued, datagrams in parts, and the options and questions around them.

What can be asked of the kernel's own socket over its loopback is asked of both, by the same function.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
import termios
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from estab import Host, Network, Socket

IP, IPV6, UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_UDP
IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IPV6_RECVERR, UDP_CORK = 8, 11, 12, 13, 25, 1
MSG_ERRQUEUE = 0x2000
Make = Callable[..., socket.socket]
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture(params=["estab", "kernel"])
def make(request: pytest.FixtureRequest, a: Host) -> Make:
    """Make a socket of estab's, or of the kernel's."""
    return a.socket if request.param == "estab" else socket.socket


@contextlib.contextmanager
def datagrams(make: Make, family: int = socket.AF_INET, to: str = "") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender that is connected to a receiver over the loopback."""
    with make(family, socket.SOCK_DGRAM) as receiver, make(family, socket.SOCK_DGRAM) as sender:
        if family == socket.AF_INET6:
            receiver.setsockopt(IPV6, socket.IPV6_V6ONLY, 0)
            sender.setsockopt(IPV6, socket.IPV6_V6ONLY, 0)
        receiver.bind(("", 0))
        sender.connect((to or LOOPBACK[socket.AddressFamily(family)], receiver.getsockname()[1]))
        receiver.settimeout(5)
        yield sender, receiver


def errno_of(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


# --- told beside a datagram


def test_ttl_tos_and_destination_of_ipv4_are_told_in_linuxs_order(make: Make) -> None:
    with datagrams(make) as (sender, receiver):
        for option in (IP_RECVTOS, IP_RECVTTL, IP_PKTINFO):
            receiver.setsockopt(IP, option, 1)
            assert receiver.getsockopt(IP, option) == 1
        sender.setsockopt(IP, socket.IP_TTL, 9)
        sender.setsockopt(IP, socket.IP_TOS, 0x20)
        sender.send(b"hello")
        text, ancillary, flags, address = receiver.recvmsg(100, 1000)
        assert (text, flags, address) == (b"hello", 0, sender.getsockname())
        assert [(level, kind) for level, kind, _ in ancillary] == [(IP, IP_PKTINFO), (IP, 2), (IP, 1)]
        info, ttl, tos = (data for _, _, data in ancillary)
        loopback = socket.inet_aton("127.0.0.1")
        assert struct.unpack("i4s4s", info)[1:] == (loopback, loopback)
        assert (ttl, tos) == (struct.pack("i", 9), b"\x20")
        receiver.setsockopt(IP, IP_RECVTTL, 0)
        sender.send(b"again")
        buffer = bytearray(10)
        count, ancillary, _, _ = receiver.recvmsg_into([buffer], 1000)
        assert (buffer[:count], len(ancillary)) == (b"again", 2)


def test_hop_limit_traffic_class_and_destination_of_ipv6_are_told(make: Make) -> None:
    with datagrams(make, socket.AF_INET6) as (sender, receiver):
        for option in (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVPKTINFO):
            receiver.setsockopt(IPV6, option, 1)
        sender.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, 9)
        sender.setsockopt(IPV6, socket.IPV6_TCLASS, 0x20)
        sender.send(b"hello")
        ancillary = receiver.recvmsg(100, 1000)[1]
        assert [(level, kind) for level, kind, _ in ancillary] == [
            (IPV6, socket.IPV6_PKTINFO), (IPV6, socket.IPV6_HOPLIMIT), (IPV6, socket.IPV6_TCLASS)]
        assert ancillary[0][2][:16] == socket.inet_pton(socket.AF_INET6, "::1")
        assert [data for _, _, data in ancillary[1:]] == [struct.pack("i", 9), struct.pack("i", 0x20)]


def test_ipv4_to_a_dual_stack_socket_is_told_as_ipv4_with_a_mapped_destination(make: Make) -> None:
    with datagrams(make, socket.AF_INET6, "::ffff:127.0.0.1") as (sender, receiver):
        receiver.setsockopt(IPV6, socket.IPV6_RECVPKTINFO, 1)
        receiver.setsockopt(IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        receiver.setsockopt(IP, IP_RECVTTL, 1)
        sender.send(b"hello")
        ancillary = receiver.recvmsg(100, 1000)[1]
        assert [(level, kind) for level, kind, _ in ancillary] == [(IPV6, socket.IPV6_PKTINFO), (IP, 2)]
        assert ancillary[0][2][:16] == socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 19, 20, 24, 39, 40, 41, 48])
def test_a_small_buffer_cuts_ancillary_data_where_linux_does(a: Host, size: int) -> None:
    seen = []
    for make in (a.socket, socket.socket):
        with datagrams(make) as (sender, receiver):
            receiver.setsockopt(IP, IP_RECVTTL, 1)
            receiver.setsockopt(IP, IP_RECVTOS, 1)
            sender.send(b"hello")
            seen.append(receiver.recvmsg(3, size)[:3])
    assert seen[0] == seen[1]


def test_a_tcp_socket_takes_the_options_and_has_nothing_to_tell(make: Make) -> None:
    with make() as sock:
        sock.setsockopt(IP, IP_RECVTTL, 1)
        assert sock.getsockopt(IP, IP_RECVTTL) == 1
        assert errno_of(lambda: sock.setsockopt(IPV6, socket.IPV6_RECVHOPLIMIT, 1)) == errno.ENOPROTOOPT


# --- said for one datagram


def test_what_sendmsg_is_told_holds_for_that_datagram_alone(make: Make) -> None:
    with datagrams(make) as (sender, receiver):
        receiver.setsockopt(IP, IP_RECVTTL, 1)
        receiver.setsockopt(IP, IP_RECVTOS, 1)
        sender.sendmsg([b"he", b"llo"], [(IP, socket.IP_TTL, array("i", [7])), (IP, socket.IP_TOS, b"\x10")])
        sender.send(b"plain")
        assert [data for _, _, data in receiver.recvmsg(9, 99)[1]] == [struct.pack("i", 7), b"\x10"]
        assert [data for _, _, data in receiver.recvmsg(9, 99)[1]] == [struct.pack("i", 64), b"\0"]


def test_the_source_can_be_chosen_among_the_hosts_addresses(net: Network, a: Host, b: Host) -> None:
    net.link(a, b)
    with b.socket(type=socket.SOCK_DGRAM) as receiver, a.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("", 9))
        other = a.addresses[1]
        info = struct.pack("i4s4s", 0, socket.inet_aton(other), bytes(4))
        sender.sendmsg([b"x"], [(IP, IP_PKTINFO, info)], 0, (b.address, 9))
        assert receiver.recvfrom(9)[1][0] == other != a.address


PKTINFO = struct.pack("i4s4s", 0, bytes([1, 2, 3, 4]), bytes(4))


@pytest.mark.parametrize("item", [
    (IP, socket.IP_TTL, b"abc"), (IP, socket.IP_TTL, struct.pack("i", 0)), (IP, socket.IP_TTL, struct.pack("i", 256)),
    (IP, socket.IP_TOS, struct.pack("i", 256)), (IP, 77, b""), (IP, IP_PKTINFO, b"short"), (IP, IP_PKTINFO, PKTINFO),
    (IP, IP_PKTINFO, struct.pack("i4s4s", 77, bytes(4), bytes(4))), (IPV6, socket.IPV6_HOPLIMIT, b"passed over"),
    (socket.SOL_SOCKET, 2, b""), (socket.SOL_SOCKET, 99, b""), (4242, 1, b""),
])
def test_ancillary_data_that_makes_no_sense_is_refused_as_by_the_kernel(a: Host, item: tuple[int, int, bytes]) -> None:
    found = []
    for make in (a.socket, socket.socket):
        with make(type=socket.SOCK_DGRAM) as sock:
            found.append(errno_of(partial(sock.sendmsg, [b"x"], [item], 0, ("127.0.0.1", 9))))
    assert found[0] == found[1]


@pytest.mark.parametrize(("value", "number"), [(-2, errno.EINVAL), (-1, 0), (255, 0), (256, errno.EINVAL)])
def test_a_hop_limit_is_minus_one_to_255(make: Make, value: int, number: int) -> None:
    with datagrams(make, socket.AF_INET6) as (sender, _):
        item = (IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", value))
        assert errno_of(lambda: sender.sendmsg([b"x"], [item])) == number


# --- errors that are queued


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_unconnected_socket_hears_of_errors_if_it_asks(make: Make, family: int) -> None:
    level, option = (IP, IP_RECVERR) if family == socket.AF_INET else (IPV6, IPV6_RECVERR)
    loopback = LOOPBACK[socket.AddressFamily(family)]
    with make(family, socket.SOCK_DGRAM) as gone, make(family, socket.SOCK_DGRAM) as sender:
        gone.bind((loopback, 0))
        target = gone.getsockname()
        gone.close()
        sender.setsockopt(level, option, 1)
        sender.setblocking(False)
        sender.sendto(b"hello", target)
        assert errno_of(lambda: sender.recv(1)) == errno.ECONNREFUSED
        text, ancillary, flags, address = sender.recvmsg(100, 1000, MSG_ERRQUEUE)
        assert (text, flags, address) == (b"hello", MSG_ERRQUEUE, target)
        found_level, kind, data = ancillary[0]
        assert (found_level, kind) == (level, option)
        number, origin, what, code = struct.unpack_from("IBBB", data)
        assert number == errno.ECONNREFUSED
        assert (origin, what, code) == ((2, 3, 3) if family == socket.AF_INET else (3, 1, 4))
        offender = data[20:24] if family == socket.AF_INET else data[24:40]
        assert offender == socket.inet_pton(family, loopback)
        assert errno_of(lambda: sender.recvmsg(100, 1000, MSG_ERRQUEUE)) == errno.EAGAIN


def test_queued_errors_are_bounded(a: Host) -> None:
    with a.socket(type=socket.SOCK_DGRAM) as sender:
        sender.setsockopt(IP, IP_RECVERR, 1)
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError):
                sender.sendto(b"x", ("127.0.0.1", 9))
        host: Any = sender.descriptor
        assert (len(host.errors), host.errors_dropped_count > 0) == (64, True)
        sender.setsockopt(IP, IP_RECVERR, 0)
        assert len(host.errors) == 0


def test_an_error_that_was_kept_does_not_end_the_wait_for_a_datagram(net: Network, a: Host) -> None:
    with a.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.setsockopt(IP, IP_RECVERR, 1)
        one.sendto(b"x", ("127.0.0.1", 9))
        one.settimeout(0.5)
        with pytest.raises(ConnectionRefusedError):
            one.recv(1)
        started = net.now
        with pytest.raises(TimeoutError):
            one.recv(1)
        assert net.now - started == pytest.approx(0.5)
        assert one.recvmsg(10, 100, MSG_ERRQUEUE)[0] == b"x"
        with pytest.raises(TimeoutError):
            one.recvmsg(10, 100, MSG_ERRQUEUE)


def test_a_datagram_socket_that_reads_no_more_waits_for_its_timeout_and_without_one_ends_at_once(make: Make) -> None:
    with make(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", 9))
        one.shutdown(socket.SHUT_RD)
        assert one.recv(1) == b""
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.recv(1)


def test_msg_dontwait_waits_for_the_timeout_of_a_socket_that_has_one(make: Make) -> None:
    with make(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        with pytest.raises(BlockingIOError):
            one.recv(1, socket.MSG_DONTWAIT)
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.recv(1, socket.MSG_DONTWAIT)
        one.settimeout(0)
        with pytest.raises(BlockingIOError):
            one.recv(1, socket.MSG_DONTWAIT)


# --- datagrams in parts


def test_a_datagram_grows_until_no_more_is_promised(make: Make) -> None:
    with datagrams(make) as (sender, receiver):
        assert sender.send(b"one ", socket.MSG_MORE) == 4
        assert sender.send(b"two ", socket.MSG_MORE) == 4
        assert sender.send(b"three") == 5
        assert receiver.recv(100) == b"one two three"
        sender.setsockopt(UDP, UDP_CORK, 1)
        sender.send(b"four ")
        sender.send(b"five")
        sender.setsockopt(UDP, UDP_CORK, 0)
        assert receiver.recv(100) == b"four five"
        sender.send(bytes(60_000), socket.MSG_MORE)
        assert errno_of(lambda: sender.send(bytes(60_000))) == errno.EMSGSIZE
        sender.send(b"six")
        assert receiver.recv(100) == b"six"


def test_the_length_of_a_datagram_that_did_not_fit_can_be_asked(make: Make) -> None:
    with datagrams(make) as (sender, receiver):
        sender.send(b"hello world")
        buffer = bytearray(5)
        assert receiver.recv_into(buffer, 0, socket.MSG_TRUNC | socket.MSG_PEEK) == 11
        assert buffer == b"hello"
        assert receiver.recvmsg(5)[2] == socket.MSG_TRUNC


def test_after_shutdown_a_datagram_socket_gives_nothing_from_nobody(make: Make) -> None:
    with datagrams(make) as (sender, receiver):
        receiver.connect(sender.getsockname())
        receiver.settimeout(None)
        receiver.shutdown(socket.SHUT_RD)
        assert receiver.recvfrom(9) == (b"", None)
        assert receiver.recvmsg(9, 99) == (b"", [], 0, None)
        assert errno_of(lambda: receiver.recv(9, socket.MSG_DONTWAIT)) == errno.EAGAIN


# --- timeouts by option


@pytest.mark.parametrize("option", [socket.SO_RCVTIMEO, socket.SO_SNDTIMEO])
def test_a_timeout_is_a_timeval(make: Make, option: int) -> None:
    with make() as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, option, 16) == bytes(16)
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 3, 500_000))
        assert sock.getsockopt(socket.SOL_SOCKET, option, 16) == struct.pack("ll", 3, 500_000)
        for value, number in (
            (5, errno.EINVAL), (bytes(8), errno.EINVAL), (struct.pack("ll", 1, 1_000_000), errno.EDOM),
            (struct.pack("ll", 0, -1), errno.EDOM), (struct.pack("ll", -1, 0), 0),
        ):
            assert errno_of(partial(sock.setsockopt, socket.SOL_SOCKET, option, value)) == number


def test_calls_of_a_blocking_socket_end_when_the_options_time_is_over(net: Network, a: Host, b: Host) -> None:
    time = struct.pack("ll", 2, 500_000)
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time)
        started = net.now
        with pytest.raises(BlockingIOError, match="SO_RCVTIMEO is over for accept"):
            listener.accept()
        assert net.now - started == pytest.approx(2.5)
        caller.connect(("b", 80))
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, time)
        started = net.now
        with pytest.raises(BlockingIOError, match="SO_RCVTIMEO is over for recv"):
            caller.recv(1)
        assert net.now - started == pytest.approx(2.5)
        sent = caller.send(bytes(20_000_000))
        assert 0 < sent < 20_000_000
        with pytest.raises(BlockingIOError, match="SO_SNDTIMEO is over for send"):
            deque(map(caller.send, repeat(bytes(20_000), 1000)))
        caller.settimeout(0.25)  # Python waits by poll then, and the option has no say
        with pytest.raises(TimeoutError, match="timed out"):
            caller.recv(1)
    net.links[0].cut()
    with a.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, time)
        started = net.now
        assert caller.connect_ex(("b", 80)) == errno.EINPROGRESS
        assert net.now - started == pytest.approx(2.5)


# --- ioctl


def test_ioctl_counts_what_waits_and_finds_the_mark(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        accepted, _ = listener.accept()
        assert isinstance(accepted, Socket)
        with accepted:
            caller.sendall(b"abc")
            assert (caller.ioctl(0x5411), caller.ioctl(0x894B)) == (3, 0)
            net.run(until=net.now + 1)
            assert (caller.ioctl(0x5411), accepted.ioctl(0x541B)) == (0, 3)
            caller.send(b"!", socket.MSG_OOB)
            net.run(until=net.now + 1)
            assert accepted.ioctl(0x8905) == 0
            assert accepted.recv(100) == b"abc"
            assert accepted.ioctl(0x8905) == 1
            assert errno_of(lambda: listener.ioctl(0x541B)) == errno.EINVAL
            assert errno_of(lambda: caller.ioctl(0x5401)) == errno.ENOTTY


def test_fcntl_asks_sockets_inside_and_the_system_about_its_own(a: Host) -> None:
    real, other = socket.socketpair()
    with real, other, a.installed():
        first, second = socket.socketpair()
        with first, second:
            first.send(b"hello")
            buffer = array("i", [0])
            assert fcntl.ioctl(second, termios.FIONREAD, buffer) == 0
            assert buffer[0] == 5
            assert fcntl.ioctl(second.fileno(), termios.FIONREAD, struct.pack("i", 0)) == struct.pack("i", 5)
            assert fcntl.ioctl(real, termios.FIONREAD, struct.pack("i", 9)) == struct.pack("i", 0)
            with pytest.raises(OSError, match="bad address"):
                fcntl.ioctl(second, termios.FIONREAD)


def test_a_cipher_socket_is_refused(make: Make) -> None:
    with make() as sock, pytest.raises(OSError, match="algset is only supported for AF_ALG"):
        sock.sendmsg_afalg([b"x"], op=1)
