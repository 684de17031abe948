"""EMFILE: a program of a host has as many descriptors as ``nofile`` says, and then meets what it would on Linux."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import Host, Network
from estab.errors import explain


def fails(make: Callable[..., Any], *args: Any) -> str:
    """Give the name of what a call raised, ``""`` for nothing."""
    try:
        made = make(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    for one in made if isinstance(made, tuple) else (made,):
        if isinstance(one, int):
            os.close(one)
        else:
            one.close()
    return ""


@pytest.fixture
def a(net: Network) -> Host:
    return net.host("a", nofile=8)


def test_beyond_the_limit_every_call_that_makes_a_descriptor_gives_emfile(net: Network, a: Host) -> None:
    @a.run
    def use_up() -> dict[str, list[str]]:
        seen: dict[str, list[str]] = {}
        kept = [socket.socket() for _ in range(3)]
        for left in (2, 1, 0):
            calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
                "socket": (socket.socket, ()), "socketpair": (socket.socketpair, ()), "pipe": (os.pipe, ()),
                "dup": (kept[0].dup, ()), "os.dup": (os.dup, (kept[0].fileno(),)), "epoll": (select.epoll, ()),
                "loop": (asyncio.new_event_loop, ()),
            }
            for name, (make, args) in calls.items():
                seen.setdefault(name, []).append(fails(make, *args))
            if left:
                kept.append(socket.socket())
        for one in kept:
            one.close()
        for name, (make, args) in calls.items():
            if "dup" not in name:
                seen[name].append(fails(make, *args))
        return seen

    net.run()
    one, two, three = ["", "", "EMFILE", ""], ["", "EMFILE", "EMFILE", ""], ["EMFILE", "EMFILE", "EMFILE", ""]
    assert use_up.result() == {
        "socket": one, "socketpair": two, "pipe": two, "dup": one[:3], "os.dup": one[:3], "epoll": one, "loop": three}


def test_accept_fails_before_it_looks_and_the_connection_stays_in_the_queue(net: Network) -> None:
    server, client = net.host("server", nofile=5), net.host("client")
    net.link(client, server, delay="1ms")

    @server.run
    def serve() -> list[str]:
        with socket.create_server(("", 80)) as listener, socket.socket():
            listener.setblocking(False)
            seen = [fails(listener.accept)]
            time.sleep(1)
            seen.append(fails(listener.accept))
            assert [row.recv_q for row in server.sockets() if row.state == "LISTEN"] == [1]
        with socket.create_server(("", 81)):
            pass
        return seen

    @client.run
    def connect() -> str:
        with socket.create_connection(("server", 80)) as sock:
            try:
                return repr(sock.recv(1))
            except OSError as error:
                return type(error).__name__

    net.run()
    assert serve.result() == ["EMFILE", "EMFILE"]
    assert connect.result() == "ConnectionResetError"  # the listener went with it in its queue


def test_the_limit_is_each_programs_own(net: Network, a: Host) -> None:
    def hold(count: int) -> int:
        socks = [socket.socket() for _ in range(count)]
        time.sleep(5)
        for sock in socks:
            sock.close()
        return len(socks)

    programs = [a.run(hold, 5) for _ in range(4)]
    net.run()
    assert [program.result() for program in programs] == [5, 5, 5, 5]


def test_what_a_program_had_open_is_free_for_the_next(net: Network, a: Host) -> None:
    def leak() -> None:
        kept.extend(socket.socket() for _ in range(5))

    kept: list[socket.socket] = []
    for start in (0, 1, 2):
        a.run(leak, start=start)
    net.run()
    assert len(kept) == 15


def test_the_error_says_who_is_out_of_descriptors(net: Network, a: Host) -> None:
    @a.run
    def use_up() -> str:
        kept = [socket.socket() for _ in range(5)]
        with pytest.raises(OSError, match="Too many open files") as error:
            socket.socket()
        for sock in kept:
            sock.close()
        return explain(error.value)

    net.run()
    assert use_up.result() == "too many open files: use_up on a has 8, and its limit is 8 (nofile=)"


def test_rlimit_nofile_is_the_programs(net: Network, a: Host) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    @a.run
    def change() -> list[Any]:
        limit = resource.RLIMIT_NOFILE
        seen: list[Any] = [resource.getrlimit(limit)]
        resource.setrlimit(limit, (4, 100))
        seen += [resource.getrlimit(limit), resource.prlimit(0, limit)]
        with socket.socket():
            seen.append(fails(socket.socket))
        with pytest.raises(ValueError, match="not allowed to raise maximum limit"):
            resource.setrlimit(limit, (5, 101))
        with pytest.raises(ValueError, match="current limit exceeds maximum limit"):
            resource.setrlimit(limit, (101, 100))
        resource.setrlimit(limit, (resource.RLIM_INFINITY, 100))
        seen.append(resource.getrlimit(limit))
        return seen

    net.run()
    assert change.result() == [(8, 65536), (4, 100), (4, 100), "EMFILE", (100, 100)]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_an_asyncio_server_out_of_descriptors_stops_and_tries_again_each_second(net: Network) -> None:
    """CPython's server (cpython#151615): about a hundred complaints at once, again each second, until clients leave."""
    server, client = net.host("server", nofile=64), net.host("client")
    net.link(client, server, delay="1ms")
    complaints: list[tuple[float, str]] = []
    met: list[float] = []

    @server.run(daemon=True)
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append((loop.time(), context["message"])))

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.append(loop.time())
            await reader.read()
            writer.close()

        async with await asyncio.start_server(handle, "", 80) as made:
            await made.serve_forever()

    @client.run
    async def connect() -> None:
        await asyncio.sleep(1)
        streams = [await asyncio.open_connection("server", 80) for _ in range(100)]
        await asyncio.sleep(5)
        for _, writer in streams:
            writer.close()

    net.run(until="5s")
    assert len(met) == 64 - 3 - 3 - 2  # the standard streams, the event loop's, two listeners
    assert {message for _, message in complaints} == {"socket.accept() out of system resource"}
    assert len({round(at_s) for at_s, _ in complaints}) == 4
    net.run(until="20s")
    assert len(met) == 100


@pytest.mark.parametrize(("nofile", "error"), [(2, ValueError), (-1, ValueError), ("64", TypeError), (True, TypeError)])
def test_a_limit_that_is_none_is_refused(net: Network, nofile: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="nofile: "):
        net.host("b", nofile=nofile)


def test_a_host_may_have_more_sockets_than_the_process_has_descriptors() -> None:
    code = """
import fcntl, os, resource, select, socket, estab

net = estab.Network()

@net.host("a").run
def use_many():
    server = socket.create_server(("", 80))
    pairs = []
    for _ in range(100):
        client = socket.create_connection(("a", 80))
        pairs.append((client, server.accept()[0]))
    numbers = [end.fileno() for pair in pairs for end in pair]
    assert len(set(numbers)) == 200
    for client, served in (pairs[0], pairs[-1]):
        assert select.select([served], [], [], 0) == ([], [], [])
        client.send(b"x")
        assert select.select([served.fileno()], [], [], 1) == ([served.fileno()], [], [])
        assert os.read(served.fileno(), 1) == b"x"
        copy = socket.socket(fileno=os.dup(served.fileno()))
        client.send(b"y")
        assert copy.recv(1) == b"y"
        copy.close()
    open(os.devnull).close()
    last = pairs[-1][1]
    os.dup2(last.fileno(), most + 35)
    assert os.fstat(most + 35)
    for pair in pairs:
        for end in pair:
            end.close()
    assert socket.socket().fileno() < most + 40

most = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (most + 40, most + 40))
net.run()
print("done")
"""
    assert _outcome(code) == "done\n"


def test_the_limit_of_the_process_itself_is_told_in_a_sentence() -> None:
    code = """
import os, resource, socket, estab

net = estab.Network()

@net.host("a").run
def use_up():
    socket.socket().fileno()

most = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (most + 20, most + 20))
try:
    while True:
        os.dup(0)
except OSError:
    pass
try:
    net.run()
except RuntimeError as error:
    print(type(error).__name__, error)
"""
    assert _outcome(code).startswith(
        "RuntimeError fileno(): this Python process, not the host of the socket, is out of")


def _outcome(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}).stdout
