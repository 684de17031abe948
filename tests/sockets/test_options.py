"""The table of options: read and set as on Linux, and ENOPROTOOPT for the rest."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from typing import Any

import pytest

from estab import Host, Network

IP_MTU = 14


@pytest.mark.parametrize(("level", "name", "value", "shown"), [
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1, 1),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT, 5, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1, 1),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1, 1),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000, 60_000),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000, 60_000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000, 30_000),
    (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2, 2),
    (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 5000, 5000), (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 1, 1152),
    (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 0, 0),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1, 1),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5, 7),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 600, 607),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 2**31 - 1, 29_887),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, -1, 0),
    (socket.IPPROTO_IP, socket.IP_TTL, 9, 9),
    (socket.IPPROTO_IP, socket.IP_TOS, 0x10, 0x10),
])
def test_what_is_set_is_shown_as_by_the_kernel(a: Host, level: int, name: int, value: int, shown: int) -> None:
    with a.socket() as ours, socket.socket() as real:
        for sock in (ours, real):
            sock.setsockopt(level, name, value)
            assert sock.getsockopt(level, name) == shown
            sock.setsockopt(level, name, struct.pack("i", value))
            assert sock.getsockopt(level, name, 4) == struct.pack("i", shown)


@pytest.mark.parametrize(("level", "name"), [
    (socket.SOL_SOCKET, socket.SO_TYPE), (socket.SOL_SOCKET, socket.SO_DOMAIN), (socket.SOL_SOCKET, socket.SO_PROTOCOL),
    (socket.SOL_SOCKET, socket.SO_ACCEPTCONN), (socket.SOL_SOCKET, socket.SO_ERROR),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.SOL_SOCKET, socket.SO_SNDLOWAT),
    (socket.SOL_SOCKET, socket.SO_RCVLOWAT), (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT), (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
    (socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IP, socket.IP_TOS),
])
def test_defaults_are_the_kernels(a: Host, level: int, name: int) -> None:
    with a.socket() as ours, socket.socket() as real:
        assert ours.getsockopt(level, name) == real.getsockopt(level, name)


class Number:
    """Something that is a number where one is needed."""

    def __index__(self) -> int:
        return socket.SOL_SOCKET


@pytest.mark.parametrize(("level", "name"), [
    (1.0, socket.SO_TYPE), ("x", socket.SO_TYPE), (None, socket.SO_TYPE), (socket.SOL_SOCKET, 2.0), (6, b"1"),
])
def test_a_level_or_a_name_that_is_no_number_is_refused_in_the_kernels_words(a: Host, level: Any, name: Any) -> None:
    with a.socket() as ours, socket.socket() as real:
        refused = []
        for sock in (ours, real):
            for call in (lambda sock: sock.getsockopt(level, name), lambda sock: sock.getsockopt(level, name, 4),
                         lambda sock: sock.setsockopt(level, name, 1)):
                with pytest.raises(TypeError) as caught:
                    call(sock)
                refused.append(str(caught.value))
        assert refused[:3] == refused[3:]
        assert ours.getsockopt(Number(), socket.SO_TYPE) == socket.SOCK_STREAM


@pytest.mark.parametrize(("level", "name", "value"), [
    (socket.SOL_SOCKET, 9999, 1), (socket.IPPROTO_TCP, 9999, 1), (4242, 1, 1),
    (socket.SOL_SOCKET, socket.SO_TYPE, 1), (socket.SOL_SOCKET, socket.SO_ERROR, 1),
])
def test_an_unknown_or_fixed_option_is_not_available(a: Host, level: int, name: int, value: int) -> None:
    with a.socket() as ours, pytest.raises(OSError, match="protocol not available") as caught:
        ours.setsockopt(level, name, value)
    assert caught.value.errno == errno.ENOPROTOOPT


@pytest.mark.parametrize(("level", "name", "value"), [
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 0), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 200),
    (socket.IPPROTO_IP, socket.IP_TTL, 0), (socket.IPPROTO_IP, socket.IP_TTL, 256),
    (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 5), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, -1),
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, b"\1"), (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0"),
])
def test_a_value_out_of_range_is_invalid_as_to_the_kernel(a: Host, level: int, name: int, value: int | bytes) -> None:
    with a.socket() as ours, socket.socket() as real:
        for sock in (ours, real):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
                sock.setsockopt(level, name, value)
            assert caught.value.errno == errno.EINVAL


def test_linger_is_a_structure(a: Host) -> None:
    with a.socket() as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 0, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 9))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 9)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))


def test_udp_has_its_own(a: Host) -> None:
    with a.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as real:
        for sock in (ours, real):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
        with pytest.raises(OSError, match="protocol not available"):
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(OSError, match="no options of level 6"):
            ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_v6only_can_change_until_the_socket_is_bound(a: Host) -> None:
    with a.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", 80))
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with pytest.raises(OSError, match="IPV6_V6ONLY"):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def test_tcp_info_has_linuxs_layout(net: Network, a: Host, b: Host) -> None:
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        data = caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        head = struct.unpack_from("=8B24I", data)
        assert head[0] == 1  # ESTABLISHED
        assert head[5] == 7  # timestamps, SACK, window scaling
        assert head[10] == caller.info().snd_mss_bytes == 1448
        assert head[23] == pytest.approx(20_000, rel=0.01)  # rtt in microseconds
        assert caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\1"
        control = caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
        assert control.decode() == caller.info().congestion
        assert caller.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1500
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)
        with pytest.raises(OSError, match="no congestion control 'vegas'"):
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"vegas")
    with socket.create_server(("127.0.0.1", 0)) as real, socket.create_connection(real.getsockname()) as other:
        kernels = other.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        assert struct.unpack_from("=8B24I", kernels)[0] == 1
        assert len(kernels) >= len(data)


@pytest.mark.parametrize("is_set_before", [True, False])
def test_a_window_clamp_bounds_what_is_in_flight(net: Network, a: Host, b: Host, is_set_before: bool) -> None:
    largest = []

    @b.run
    def take() -> int:
        with socket.create_server(("", 80)) as listener:
            if is_set_before:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 5000)
            connection, _ = listener.accept()
            with connection:
                if not is_set_before:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 5000)
                    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 0)
                size = 0
                while data := connection.recv(65536):
                    size += len(data)
                    largest.append(len(data))
                return size

    @a.run
    def send() -> None:
        time.sleep(1)
        with socket.create_connection(("b", 80)) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP) > 30_000
            connection.sendall(bytes(200_000))

    net.run()
    assert take.result() == 200_000
    assert max(largest[30:]) <= 5000
