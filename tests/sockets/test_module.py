"""The standard library stands in for itself: per thread, undone cleanly, and found where it was taken by name."""

from __future__ import annotations

import asyncio
import operator
import os
import random
import select
import selectors
import socket
import sys
import threading
import time
import types
import uuid
from pathlib import Path
from socket import create_connection as early_create_connection
from time import sleep as early_sleep
from typing import Any

import pytest

from estab import Host, Network, Socket
from estab.sockets.standin import module

EPOCH = 1767225600
WATCHED = [
    (socket, name) for name in ("socket", "getaddrinfo", "gethostbyname", "gethostbyaddr", "gethostname", "socketpair")
] + [(select, name) for name in ("select", "poll", "epoll")] + [
    (time, name) for name in ("time", "sleep", "monotonic", "perf_counter", "gmtime", "strftime")
] + [(os, "urandom"), (random, "random"), (random, "_urandom"), (asyncio, "new_event_loop"),
     (selectors.EpollSelector, "_selector_cls"), (selectors.SelectSelector, "_select"), (random.Random, "seed")]


def test_everything_is_as_it_was_afterwards(a: Host) -> None:
    before = [getattr(owner, name) for owner, name in WATCHED]
    new = socket.socket.__new__
    early = early_sleep
    with a.installed():
        assert time.sleep is not before[WATCHED.index((time, "sleep"))]
        assert early_sleep is not early
    assert [getattr(owner, name) for owner, name in WATCHED] == before
    assert socket.socket.__new__ is new
    assert "__new__" not in vars(socket.socket)
    assert early_sleep is early
    with socket.socket() as real:
        assert type(real) is socket.socket


def test_it_nests_and_hosts_do_not_see_each_other(a: Host, b: Host) -> None:
    with a.installed():
        with b.installed():
            assert socket.gethostname() == "b"
        assert socket.gethostname() == "a"
    assert socket.gethostname() not in ("a", "b")


def test_other_threads_keep_the_operating_systems(a: Host) -> None:
    seen: list[object] = []

    def outside() -> None:
        with socket.socket() as sock:
            seen.extend([type(sock), time.time() > EPOCH + 86400 * 300, socket.gethostname() != "a"])

    thread = threading.Thread(target=outside)
    with a.installed():
        thread.start()
        thread.join()
    assert seen == [socket.socket, True, True]


def test_a_class_derived_from_socket_becomes_one_of_the_host(a: Host, b: Host) -> None:
    class Counting(socket.socket):
        sent = 0

        def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
            self.sent += len(data)
            super().sendall(data, flags)

    with a.installed(), Counting(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert isinstance(sock, Socket)
        assert isinstance(sock, Counting)
        sock.connect((b.address, 9))
        sock.sendall(b"abc")
        assert sock.sent == 3
    with Counting(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert not isinstance(sock, Socket)


def test_early_bindings_are_found_in_modules(net: Network, a: Host, b: Host) -> None:
    made = types.ModuleType("made_up")
    exec("from time import sleep, monotonic as clock\nfrom socket import gethostname as name", vars(made))
    sys.modules["made_up"] = made
    try:
        @a.run
        def program() -> tuple[float, str]:
            made.sleep(100)
            early_sleep(10)
            with pytest.raises(ConnectionRefusedError):
                early_create_connection(("b", 9))
            return made.clock(), made.name()

        net.run()
        when, name = program.result()
        assert when == pytest.approx(110.04)  # refused by IPv4, then by IPv6
        assert name == "a"
        assert made.sleep is time.sleep
    finally:
        del sys.modules["made_up"]


def test_what_is_imported_meanwhile_is_given_the_originals_back(
    a: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "imported_late.py").write_text("from time import sleep\n")
    with a.installed():
        import imported_late  # type: ignore[import-not-found]
        assert imported_late.sleep is time.sleep
    assert imported_late.sleep is time.sleep
    with a.installed():
        assert imported_late.sleep is time.sleep


def test_a_loop_of_runs_may_keep_them_replaced_and_each_run_is_as_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = time.sleep, threading.excepthook, socket.socket.__init__, vars(socket.socket).get("__new__")

    def look() -> tuple[float, str, bool]:
        time.sleep(1)
        made = socket.socket()
        made.close()
        return time.monotonic(), socket.gethostname(), isinstance(made, Socket)

    def run() -> tuple[float, str, bool]:
        with Network() as net:
            program = net.host("a").run(look)
            net.run()
            return program.result()

    with module.kept():
        replaced = time.sleep, threading.excepthook, socket.socket.__init__
        assert not any(map(operator.is_, replaced, originals))
        for _ in range(2):
            assert run() == (1.0, "a", True)
            assert time.sleep is replaced[0]
        monkeypatch.setattr(time, "sleep", early_sleep)
        monkeypatch.setattr(time, "monotonic", lambda: 7.0)
        monkeypatch.setattr(socket.socket, "__init__", originals[2])
        monkeypatch.setattr(threading, "excepthook", print)
        assert run() == (1.0, "a", True)
        assert threading.excepthook is print
        monkeypatch.undo()
    assert (time.sleep, threading.excepthook, socket.socket.__init__, vars(socket.socket).get("__new__")) == originals
    assert run() == (1.0, "a", True)


def test_clocks_are_the_hosts(net: Network, a: Host) -> None:
    @a.run
    def program() -> None:
        time.sleep(1.5)
        assert time.monotonic() == time.perf_counter() == time.clock_gettime(time.CLOCK_MONOTONIC) == 1.5
        assert time.monotonic_ns() == time.perf_counter_ns() == 1_500_000_000
        assert time.time() == time.clock_gettime(time.CLOCK_REALTIME) == EPOCH + 1.5
        assert time.gmtime()[:6] == (2026, 1, 1, 0, 0, 1)
        assert time.strftime("%Y", time.gmtime()) == "2026"
        assert time.ctime(0) == time.asctime(time.localtime(0))
        with pytest.raises(ValueError, match="non-negative"):
            time.sleep(-1)

    net.run()
    program.result()


def test_chance_is_the_hosts_and_the_same_each_time() -> None:
    def draw() -> list[object]:
        return [random.random(), random.choice("abc"), os.urandom(4), uuid.uuid4(), random.Random().random(),
                random.SystemRandom().random()]

    def run(seed: int) -> list[list[object]]:
        with Network(seed) as net:
            programs = [net.host(name).run(draw) for name in "ab"]
            net.run()
            return [program.result() for program in programs]

    state = random.getstate()
    first, second = run(1)
    assert [first, second] == run(1)
    assert not any(one == other for one, other in zip(first[2:], second[2:], strict=True))
    assert run(2) != [first, second]
    assert random.getstate() == state


def test_names_of_the_network_are_looked_up_in_every_way(net: Network, b: Host) -> None:
    @b.run
    def program() -> None:
        assert socket.gethostname() == socket.getfqdn() == "b"
        assert socket.gethostbyname("a") == "10.0.0.1"
        assert socket.gethostbyname_ex("a") == ("a", [], ["10.0.0.1"])
        assert socket.gethostbyaddr("fd00::1") == ("a", [], ["fd00::1"])
        assert socket.gethostbyname("localhost") == "127.0.0.1"
        found = socket.getaddrinfo("a", "http", type=socket.SOCK_STREAM)
        assert found == [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 80, 0, 0)),
        ]
        for service, kinds in (("ntp", [socket.SOCK_DGRAM]), ("domain", [socket.SOCK_STREAM, socket.SOCK_DGRAM])):
            assert [kind for _, kind, *_ in socket.getaddrinfo("10.0.0.1", service)] == kinds
        assert socket.getaddrinfo(None, 0, flags=socket.AI_PASSIVE, type=socket.SOCK_DGRAM)[0][4] == ("0.0.0.0", 0)
        assert socket.getaddrinfo("a", 1, socket.AF_INET6)[0][4][0] == "fd00::1"
        assert socket.getaddrinfo("a", 1, flags=socket.AI_CANONNAME)[0][3] == "a"
        assert socket.getnameinfo(("10.0.0.1", 80), 0) == ("a", "http")
        assert socket.getnameinfo(("10.9.9.9", 80), socket.NI_NUMERICSERV) == ("10.9.9.9", "80")
        for arguments, number in (
            (("nowhere", 80), socket.EAI_NONAME), (("a", "no such service"), socket.EAI_SERVICE),
            (("a", 80, socket.AF_UNIX), socket.EAI_FAMILY), (("10.0.0.1", 80, socket.AF_INET6), socket.EAI_ADDRFAMILY),
        ):
            with pytest.raises(socket.gaierror) as caught:
                socket.getaddrinfo(*arguments)
            assert caught.value.errno == number
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("a", 80, flags=socket.AI_NUMERICHOST)
        with pytest.raises(socket.herror):
            socket.gethostbyaddr("10.9.9.9")
        assert socket.if_nameindex() == [(1, "eth0")]
        assert (socket.if_nametoindex("eth0"), socket.if_indextoname(1)) == (1, "eth0")

    net.run()
    program.result()


def test_socketpair_and_fromfd_work_on_one_host(net: Network, a: Host) -> None:
    @a.run
    def program() -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            first, second = socket.socketpair(type=kind)
            with first, second:
                first.send(b"ping")
                assert second.recv(10) == b"ping"
                with socket.fromfd(second.fileno(), socket.AF_INET, kind) as twin:
                    twin.send(b"pong")
                assert first.recv(10) == b"pong"
        number = socket.socket().detach()
        socket.close(number)
        with pytest.raises(OSError, match="not open"):
            socket.socket(fileno=number)

    net.run()
    program.result()


def test_the_selectors_of_the_standard_library_work_as_they_are(net: Network, a: Host) -> None:
    def program(kind: type[selectors.BaseSelector]) -> None:
        first, second = socket.socketpair()
        with first, second, kind() as selector:
            selector.register(second, selectors.EVENT_READ)
            started = time.monotonic()
            assert selector.select(0.5) == []
            assert time.monotonic() - started == pytest.approx(0.5, abs=0.002)
            first.send(b"x")
            assert [key.fileobj for key, _ in selector.select()] == [second]

    kinds = (selectors.DefaultSelector, selectors.EpollSelector, selectors.PollSelector, selectors.SelectSelector)
    programs = [a.run(program, kind) for kind in kinds]
    net.run()
    for finished in programs:
        finished.result()


def test_what_a_host_of_the_wire_would_not_change_stays(a: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(a.runtime), "is_virtual", False)
    with a.installed():
        assert time.time() > EPOCH + 86400 * 300
        assert socket.gethostname() == "a"


def test_two_threads_may_install_two_hosts_at_once(a: Host, b: Host) -> None:
    seen: dict[str, str] = {}
    both = threading.Barrier(2)

    def install(host: Host) -> None:
        with module.installed(host.runtime):
            both.wait(5)
            seen[host.name] = socket.gethostname()
            both.wait(5)

    threads = [threading.Thread(target=install, args=(host,)) for host in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": "a", "b": "b"}


def test_what_a_class_keeps_is_replaced_too_and_binds_to_nothing(
    net: Network, a: Host, monkeypatch: pytest.MonkeyPatch,
) -> None:
    early, late = types.ModuleType("early_keeper"), types.ModuleType("late_keeper")
    source = "import time\nclass Keeper:\n    clock = time.monotonic\n    pause = time.sleep\n"
    monkeypatch.setitem(sys.modules, early.__name__, early)
    exec(source, vars(early))

    @a.run
    def use() -> list[float]:
        monkeypatch.setitem(sys.modules, late.__name__, late)
        exec(source, vars(late))
        times = []
        for keeping in (early, late):
            keeping.Keeper().pause(100)
            times.append(keeping.Keeper().clock())
        return times

    net.run()
    assert use.result() == [100, 200]
    assert early.Keeper.pause is time.sleep
    with a.installed():
        pass
    assert late.Keeper.pause is time.sleep


class NamesItsBase(socket.socket):
    """As PySocks' class does."""

    def __init__(self, *args: int) -> None:
        socket.socket.__init__(self, *args)


def test_a_subclass_that_calls_its_base_by_name_is_a_socket_of_the_host(net: Network, a: Host, b: Host) -> None:
    before = socket.socket.__init__

    @b.run
    def serve() -> None:
        with NamesItsBase() as listener:
            listener.bind(("", 80))
            listener.listen()
            with listener.accept()[0] as connection:
                connection.sendall(b"hello")

    @a.run
    def ask() -> bytes:
        with NamesItsBase(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.connect(("b", 80))
            return sock.recv(10)

    net.run()
    assert ask.result() == b"hello"
    assert socket.socket.__init__ is before
    with NamesItsBase() as real:
        assert real.family == socket.AF_INET


class HasSlots(socket.socket):
    """Has one attribute, and no others."""

    __slots__ = ("mark",)


def test_a_socket_has_no_attributes_but_its_own_and_a_subclass_has_those_that_it_names(net: Network, a: Host) -> None:
    def mark(sock: Any) -> object:
        sock.mark = 7
        return sock.mark

    @a.run
    def program() -> list[object]:
        with socket.socket() as plain, HasSlots() as marked:
            with pytest.raises(AttributeError, match="mark"):
                mark(plain)
            return [mark(marked), marked.family, type(plain).__name__, isinstance(plain, Socket)]

    net.run()
    assert program.result() == [7, socket.AF_INET, "Socket", True]
