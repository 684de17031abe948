"""Arguments that calls refuse, and those that only look odd: what the kernel's sockets of this Python do with each.

The same calls on a socket of the kernel and on one of a host: the same result, or the same exception with the same
errno and words.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest

from estab import Host, Network


class Index:
    """A number that is no int."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"Index({self.number})"


ODD: list[Any] = [
    None, True, 0, 3, -1, 2**31, 2**70, -(2**63), 1.5, -0.5, float("nan"), "x", b"abc", [], (), {}, Index(2), Index(-1),
    len, object(), bytearray(3), memoryview(bytearray(8))[::2],
]
ADDRESSES: list[Any] = [
    "x", 5, [], ("127.0.0.1",), ("127.0.0.1", 9, 0), ("127.0.0.1", "9"), ("127.0.0.1", 9.0), ("127.0.0.1", None),
    ("127.0.0.1", 70000), ("127.0.0.1", -1), (None, 9), (1, 9), ("127.0.0.1\0", 9), (b"127.0.0.1", 9),
    (bytearray(b"127.0.0.1"), 9), ("127.0.0.1", Index(9)), ("127.1", 9), ("0x7f.1", True), ("::1", 9, 2**20, 0),
    ("::1", 9, -1, 0), ("::1", 9, "x", 0), ("::1", 9, 0, -1), ("::1", 9, 0, 0, 0), ("::1", 9, 0, 2**32),
    ("127.0.0.1%lo", 9), ("a" * 70, 9), ("a..b", 9),
]
METHODS = [
    "recv", "recvfrom", "recvmsg", "recv_into", "recvfrom_into", "recvmsg_into", "send", "sendall", "sendmsg", "listen",
    "shutdown", "settimeout", "setblocking", "getsockopt", "setsockopt",
]
HUGE = [(2**31,), (2**70,), (-(2**63),)]
"""Options that the host refuses before it reads them as Python does."""
Socks = Callable[..., socket.socket]


def outcome(call: Callable[[], Any]) -> Any:
    """Give what a call returns, or what it raises, in words."""
    try:
        found = call()
    except Exception as error:
        return type(error).__name__, getattr(error, "errno", None), str(error)
    return type(found).__name__ if isinstance(found, socket.socket) else found


def differences(make: Socks, ours: Socks, calls: list[tuple[str, tuple[Any, ...]]]) -> list[Any]:
    """Make each call on a new socket of the kernel and on one of a host. Gives the calls that differ."""
    found = []
    for name, args in calls:
        with make() as kernel, ours() as sock:
            kernel.setblocking(False)
            sock.setblocking(False)
            expected, got = (outcome(partial(getattr(one, name), *args)) for one in (kernel, sock))
            if isinstance(expected, tuple) and ("takes" in str(expected[2:]) or "argument (" in str(expected[2:])):
                expected, got = expected[0], got[0]  # words about how many arguments there are
            if expected != got:
                found.append((name, args, expected, got))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_calls_are_read_as_the_kernels_sockets_read_them(a: Host, method: str) -> None:
    firsts: list[Any] = [*ODD, [b"ab"], [bytearray(2)]]
    calls = [(method, (first,)) for first in firsts]
    calls += [(method, pair) for pair in product([bytearray(2), 3, "x", [b"ab"]], ODD)]
    if method in {"getsockopt", "setsockopt", "recvmsg", "sendmsg"}:
        first: Any = [] if method == "sendmsg" else 1
        calls += [(method, (first, [] if method == "sendmsg" else 2, third)) for third in ODD]
        calls.append(("setsockopt", (1, 2, 1, 4)))
    if method == "getsockopt":
        calls = [(name, args) for name, args in calls if args[-1] is not None and args[1:] not in HUGE]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert differences(partial(socket.socket, type=kind), partial(a.socket, type=kind), calls) == []


@pytest.mark.parametrize("method", ["bind", "connect", "sendto"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_addresses_are_read_as_the_kernels_sockets_read_them(a: Host, method: str, family: int) -> None:
    before: tuple[Any, ...] = (b"x",) if method == "sendto" else ()
    calls = [(method, (*before, address)) for address in ADDRESSES
             if method == "bind" or not isinstance(address, tuple) or len(address) < 4 or address[3] in {0, "x"}]
    kind = socket.SOCK_DGRAM
    assert differences(lambda: socket.socket(family, kind), lambda: a.socket(family, kind), calls) == []


def test_names_of_unix_sockets_are_read_as_the_kernels_sockets_read_them() -> None:
    calls = [("connect", (name,)) for name in (5, None, (), ("x", 1), [b"x"], 1.5, "a" * 200, b"a" * 108, "/nowhere/x")]

    def program() -> list[Any]:
        found = []
        for name, args in calls:
            with socket.socket(socket.AF_UNIX) as sock:
                found.append(outcome(partial(getattr(sock, name), *args)))
        return found

    expected, got = of_both(program)
    assert got == expected


def of_both(program: Callable[[], Any]) -> tuple[Any, Any]:
    """Run a program outside of the lab and on a host."""
    expected = program()
    with Network() as net:
        host = net.host("a")
        run = host.run(program)
        net.run()
        return expected, run.result()


NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
SOCKADDRS: list[Any] = [
    *ADDRESSES, ("10.0.0.1", 70000), ("10.0.0.1", 2**40), ("::1", 9, 0, 0), ("::1", 9, 2**32, 0), (), ("::1%", 9),
    ("fe80::1", 1, 0, 2**32), ("1", 2), ("", 1), ("no such", 1), ("127.0.0.1", 0),
]


def test_getnameinfo_reads_and_refuses_what_pythons_own_does() -> None:
    def program() -> list[Any]:
        tuples = [outcome(lambda given=given: socket.getnameinfo(given, NUMERIC)) for given in SOCKADDRS]
        flags = [outcome(lambda given=given: socket.getnameinfo(("127.0.0.1", 9), given)) for given in ODD[7:]
                 if not isinstance(given, Index)]
        return [tuples, flags, outcome(lambda: socket.getnameinfo(("127.0.0.1", 9), NUMERIC | socket.NI_NAMEREQD))[:2]]

    expected, got = of_both(program)
    assert got == expected


def test_getnameinfo_needs_its_flags() -> None:
    expected, got = of_both(lambda: outcome(lambda: socket.getnameinfo(("127.0.0.1", 9)))[0])  # type: ignore[call-arg]
    assert got == expected == "TypeError"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "017700000001", "1.65535", "127.0.0.1 x",
                                  "1.2.3.4.5.", "::1", "127.0.0.1%lo", b"127.0.0.1", 5, b"\xff", "a" * 70, "a..b"])
def test_getaddrinfo_reads_addresses_as_pythons_own_does(host: Any) -> None:
    def program() -> list[Any]:
        flags = socket.AI_NUMERICHOST
        ports: list[Any] = [9, "9", b"9", None, "", -1, 70000, 2**31, 2**40, True, 1.5, [], "nothing", "-1"]
        return [outcome(partial(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM, 0, flags)) for port in ports]

    expected, got = of_both(program)
    if host == "::1" and ("OSError", errno.EADDRNOTAVAIL) in [each[:2] for each in expected]:
        pytest.skip("the machine has no IPv6")
    assert got == expected


def test_connect_ex_of_a_closed_socket_returns_ebadf_and_other_calls_raise_it() -> None:
    def program() -> list[Any]:
        found = []
        places: list[tuple[int, Any]] = [
            (socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_INET6, ("::1", 9)), (socket.AF_UNIX, "/nowhere")]
        for (family, address), kind in product(places, [socket.SOCK_STREAM, socket.SOCK_DGRAM]):
            sock = socket.socket(family, kind)
            sock.close()
            calls: list[tuple[Any, ...]] = [
                ("connect_ex", address), ("connect", address), ("bind", address), ("listen",), ("accept",), ("recv", 1),
                ("send", b"x"), ("sendall", b"x"), ("sendto", b"x", address), ("recvfrom", 1), ("recvmsg", 1),
                ("sendmsg", [b"x"]), ("recv_into", bytearray(1)), ("shutdown", 2), ("getsockname",), ("getpeername",),
                ("getsockopt", 1, 2), ("setsockopt", 1, 2, 1), ("settimeout", 1), ("setblocking", False), ("dup",),
                ("detach",), ("fileno",), ("close",),
            ]
            found.append([outcome(partial(getattr(sock, name), *args)) for name, *args in calls])
        return found

    expected, got = of_both(program)
    assert got == expected
    assert expected[0][0] == errno.EBADF


def test_other_functions_read_their_arguments_as_pythons_own_do() -> None:
    def program() -> list[Any]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        calls: list[Callable[[], Any]] = [
            *(lambda one=one: socket.socketpair(one, 1) and 0 for one in ("x", 1.5, [])),
            *(lambda one=one: socket.socket(one) and 0 for one in ("x", 1.5, [])),
            *(lambda one=one: socket.socket(socket.AF_INET, one) and 0 for one in ("x", 1.5, [], Index(99))),
            *(lambda one=one: select.epoll(one).close() for one in (0, -2, "x", 1.5, 3)),
            lambda: select.epoll(-1, 3), lambda: select.epoll(-1, select.EPOLL_CLOEXEC).close(),
            lambda: socket.if_nametoindex("nothing"), lambda: socket.if_indextoname("x"),
            *(lambda one=one: os.set_blocking(writer, one) for one in ("x", None, 1.5, True)),
            *(lambda one=one: os.read(reader, one) for one in ("x", None, 1.5, Index(3))),
        ]
        found = [outcome(call) for call in calls]
        os.close(reader)
        os.close(writer)
        return found

    expected, got = of_both(program)
    assert got == expected


def test_flags_that_mean_nothing_to_tcp_are_passed_over() -> None:
    def program() -> list[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as one:
            one.connect(listener.getsockname())
            with listener.accept()[0] as other:
                flags = (socket.MSG_DONTROUTE, socket.MSG_PEEK, socket.MSG_WAITALL, 0x4000)
                sent = [one.send(b"ab", flag) for flag in flags]
                taken = [other.recv(2, flag) for flag in (socket.MSG_NOSIGNAL, socket.MSG_MORE, socket.MSG_EOR, 8)]
                return [sent, taken]

    expected, got = of_both(program)
    assert got == expected
