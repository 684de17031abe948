"""Calls that are done at once do what calls that go all the way do, and leave to those what they can't do."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from estab.errors import explain
from estab.events import CallStarted, Event, FrameReceived
from tests.kit.two_hosts import connected, two

TEXTS = [b"x" * (1 + number * 611 % 9000) for number in range(20)]


def blocking() -> int:
    """Write and read by a socket that blocks; one write is more than there is room for."""
    with socket.create_connection(("b", 80)) as sock:
        for text in TEXTS:
            sock.sendall(text)
            left = len(text)
            while left:
                left -= len(sock.recv(left))
        sent = sock.send(b"y" * 600_000)
        sock.shutdown(socket.SHUT_WR)
        return sent + sum(map(len, iter(lambda: sock.recv(100_000), b"")))


def with_timeout() -> int:
    """Write and read by a socket with a timeout."""
    with socket.create_connection(("b", 80), timeout=60) as sock:
        for text in TEXTS:
            sock.sendall(text)
            left = len(text)
            while left:
                left -= len(sock.recv(left))
        sock.settimeout(0.001)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += sock.send(b"y" * 100_000)
        sock.settimeout(60)
        sock.shutdown(socket.SHUT_WR)
        return sent + sum(map(len, iter(lambda: sock.recv(100_000), b"")))


async def by_streams() -> int:
    """Write and read by asyncio, more than there is room for, too."""
    reader, writer = await asyncio.open_connection("b", 80)
    for text in TEXTS:
        writer.write(text)
        await reader.readexactly(len(text))
    writer.write(b"y" * 600_000)
    writer.write_eof()
    count = len(await reader.read())
    writer.close()
    return count


async def echo() -> None:
    """Send back what comes."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(10_000):
            writer.write(text)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "", 80) as server:
        await server.serve_forever()


@pytest.mark.parametrize("program", [blocking, with_timeout, by_streams])
def test_calls_that_are_done_at_once_send_the_same_frames_at_the_same_times(program: Callable[[], object]) -> None:
    runs: list[tuple[list[tuple[int, bytes]], object, int]] = []
    for is_told in (False, True):  # with an observer no call is done at once
        net, a, b = two()
        frames: list[tuple[int, bytes]] = []

        def note(fact: Event, frames: list[tuple[int, bytes]] = frames) -> None:
            if isinstance(fact, FrameReceived):
                frames.append((fact.at_ns, fact.data))

        b.observe(note)
        if is_told:
            a.observe(lambda fact: None)
        b.run(echo, daemon=True)
        asked = a.run(program, start="1ms")
        net.run()
        runs.append((frames, asked.result(), net.now_ns))
    assert len(runs[0][0]) > 100
    assert runs[0] == runs[1]


def test_a_call_that_is_done_at_once_is_told_as_soon_as_somebody_observes() -> None:
    net, a, b = two()
    told: list[str] = []

    def note(fact: Event) -> None:
        if isinstance(fact, CallStarted):
            told.append(f"{fact.name}({fact.arguments})")

    with connected(a, b) as (caller, accepted):
        caller.send(b"first")
        accepted.recv(100)
        with a.observe(note), b.observe(note):
            caller.send(b"second")
            caller.sendall(b"third")
            net.run("1s")
            accepted.recv(6)
            accepted.recv(100, socket.MSG_PEEK)
    assert told == ["send(b'second')", "sendall(b'third')", "recv(6)", f"recv(100, {socket.MSG_PEEK!r})"]


def test_what_can_t_be_done_at_once_raises_as_ever() -> None:
    net, a, b = two()
    with connected(a, b) as (caller, accepted):
        caller.setblocking(False)
        with pytest.raises(BlockingIOError, match="nothing has come"):
            caller.recv(10)
        with pytest.raises(ValueError, match="negative buffersize in recv"):
            caller.recv(-1)
        while caller.send(bytes(100_000)) == 100_000:
            pass
        with pytest.raises(BlockingIOError, match="send buffer"):
            caller.send(b"x")
        net.run("1s")
        accepted.close()
        net.run("2s")
        caller.setblocking(True)
        with pytest.raises(ConnectionResetError):
            caller.recv(10)
        with pytest.raises(BrokenPipeError):
            caller.send(b"x")
    with pytest.raises(OSError, match="bad file descriptor"):
        caller.send(b"x")
    with pytest.raises(OSError, match="bad file descriptor"):
        caller.recv(1)


def what_happens(call: Callable[[], object]) -> str:
    """Do a call, and say what it returns or raises, with its notes. A connection that it takes is closed."""
    try:
        result = call()
        if isinstance(result, tuple) and isinstance(result[0], socket.socket):
            result[0].close()
        return repr(result)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        return f"{error!r}, {getattr(error, '__notes__', [])}, {explain(error)}"


def serve_by_calls() -> list[str]:
    """Accept by all sorts of calls, one connection that waits before, one that does not, and one too many."""
    listener = socket.socket()
    options = [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, True),
               (socket.SOL_SOCKET, socket.SO_RCVBUF, 5000), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, -1),
               (socket.IPPROTO_TCP, 999, 1), (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1),
               (socket.SOL_SOCKET, socket.SO_LINGER, 1), (socket.SOL_SOCKET, socket.SO_ERROR, 1), (1, 2, None)]
    seen = [what_happens(lambda option=option: listener.setsockopt(*option)) for option in options]  # type: ignore[misc]
    seen += [what_happens(lambda option=option: listener.getsockopt(*option[:2]))  # type: ignore[misc]
             for option in options]
    seen.append(what_happens(listener.accept))
    seen += [what_happens(lambda: listener.bind(("", 80))), what_happens(listener.listen)]
    listener.setblocking(False)
    seen.append(what_happens(listener.accept))
    listener.setblocking(True)
    first, peer = listener.accept()
    seen += [repr(peer), repr(first.getpeername()), repr(first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))]
    time.sleep(1)
    second, _ = listener.accept()
    resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))
    seen += [what_happens(listener.accept), what_happens(socket.socket)]
    second.close()
    seen += [what_happens(lambda: second.send(b"x")), what_happens(second.getsockname),
             what_happens(lambda: second.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
             what_happens(lambda: second.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))]
    third = listener.accept()[0]
    seen.append(repr(third.fileno() > 0))
    file = first.makefile("rb")
    first.close()
    seen.append(repr(file.read()))
    file.close()
    listener.settimeout(5)
    seen.append(what_happens(listener.accept))
    threading.Timer(1, listener.close).start()
    listener.settimeout(None)
    seen.append(what_happens(listener.accept))
    third.close()
    return seen


def call_by_calls() -> list[str]:
    """Connect by all sorts of calls."""
    seen = []
    socks = [socket.socket() for _ in range(4)]
    for sock in socks[:3]:
        seen.append(what_happens(lambda sock=sock: sock.connect(("b", 80))))  # type: ignore[misc]
        seen.append(what_happens(lambda sock=sock: sock.connect(("b", 80))))  # type: ignore[misc]
    seen += [what_happens(lambda: socks[3].connect(("b", 81))), what_happens(lambda: socks[3].connect_ex(("b", 81))),
             what_happens(lambda: socks[3].connect(("b", -1))), what_happens(lambda: socks[3].connect(("10.9.9.9", 1)))]
    socks[0].sendall(b"text")
    with socket.socket(proto=socket.IPPROTO_TCP) as sock:
        sock.setblocking(False)
        seen += [what_happens(lambda: sock.connect(("b", 80))), what_happens(lambda: sock.connect(("b", 80)))]
        time.sleep(1)
        seen += [what_happens(lambda: sock.connect(("b", 80))), what_happens(lambda: sock.connect(("b", 80)))]
    other = socks[1].dup()
    socks[1].close()
    seen += [what_happens(other.getpeername), what_happens(other.close), what_happens(other.close)]
    socks[2].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
    for sock in socks:
        sock.close()
    return seen


def test_calls_on_all_sides_do_at_once_what_they_do_when_they_are_told() -> None:
    runs = []
    for is_told in (False, True):
        net, a, b = two()
        if is_told:
            a.observe(lambda fact: None)
            b.observe(lambda fact: None)
        served, called = b.run(serve_by_calls), a.run(call_by_calls, start="1ms")
        net.run()
        runs.append((served.result(), called.result(), net.now_ns, a.runtime.engine.counters(),
                     b.runtime.engine.counters()))
    assert runs[0] == runs[1]
    assert "Too many open files" in str(runs[0])
    assert runs[0][1][-3:] == ["('10.0.0.2', 80)", "None", "None"]


def test_a_call_that_waits_since_before_anybody_observes_is_not_told_as_if_it_began_at_its_end() -> None:
    net, a, b = two()
    told: list[tuple[int, str]] = []

    @b.run
    def serve() -> tuple[bytes, bytes]:
        listener = socket.create_server(("", 80))
        taken, _ = listener.accept()
        listener.close()
        with taken:
            return taken.recv(10), taken.recv(10)

    @a.run
    def call() -> None:
        time.sleep(2)
        with socket.create_connection(("b", 80)) as sock:
            time.sleep(2)
            sock.send(b"text")
            time.sleep(2)

    def observe() -> None:
        def note(fact: Event) -> None:
            if isinstance(fact, CallStarted):
                told.append((round(fact.at_ns / 1e9), fact.name))

        ends.append(b.observe(note))

    ends: list[Callable[[], object]] = []
    for at_s in (1, 3, 5):  # in accept, in the first recv, in the second, which finds the end
        net.at(at_s, observe)
        net.at(at_s + 1.5, lambda: ends.pop()())
    net.run()
    assert serve.result() == (b"text", b"")
    assert told == [(2, "close"), (2, "recv"), (4, "recv"), (6, "close")]


def test_connect_on_a_socket_that_was_made_non_blocking_and_closed_meanwhile_says_that_it_is_closed() -> None:
    net, a, _ = two()

    @a.run
    def call() -> str:
        sock = socket.socket()

        def close() -> None:
            sock.setblocking(False)
            sock.close()

        threading.Timer(0.0001, close).start()
        return what_happens(lambda: sock.connect(("b", 80)))

    net.run()
    assert "bad file descriptor: the socket is closed" in call.result()


def close_but_a_duplicate(sock: socket.socket) -> socket.socket:
    """Close a socket, but not its descriptor."""
    other = sock.dup()
    sock.close()
    return other


WAYS: dict[str, Callable[[socket.socket], socket.socket | None]] = {
    "close": socket.socket.close, "detach": lambda sock: socket.socket(fileno=sock.detach()),
    "duplicate": close_but_a_duplicate}


def let_go_meanwhile(what: str) -> list[str]:
    """Wait in calls while another thread lets the socket go, and say what each gives."""
    def during(call: Callable[[], object], sock: socket.socket) -> str:
        kept: list[socket.socket | None] = []
        thread = threading.Timer(0.0001, lambda: kept.append(WAYS[what](sock)))
        thread.start()
        said = what_happens(call)
        thread.join()
        if kept[0] is not None:
            kept[0].close()
        return said

    listener = socket.create_server(("", 81))
    socks = [socket.socket(), socket.socket(), socket.create_connection(("b", 80)), listener]
    calls = [lambda: socks[0].connect_ex(("b", 80)), lambda: socks[1].connect(("b", 82)), lambda: socks[2].recv(10),
             lambda: listener.accept()[0].close()]
    return [during(call, sock) for call, sock in zip(calls, socks, strict=True)]


@pytest.mark.parametrize("what", WAYS)
def test_a_call_whose_socket_another_thread_lets_go_gives_the_same_whether_it_is_told_or_not(what: str) -> None:
    runs = []
    for is_told in (False, True):
        net, a, b = two()
        if is_told:
            a.observe(lambda fact: None)

        @b.run
        def serve() -> None:
            with contextlib.ExitStack() as kept, contextlib.suppress(OSError):
                listener = kept.enter_context(socket.create_server(("", 80)))
                listener.settimeout(1)
                for _ in range(2):
                    kept.enter_context(listener.accept()[0]).send(b"text")
                time.sleep(1)
            with contextlib.suppress(OSError):
                socket.create_connection(("a", 81)).close()

        called = a.run(let_go_meanwhile, what, start="1ms")
        net.run()
        runs.append(called.result())
    assert runs[0] == runs[1]
    if what == "close":
        assert all("bad file descriptor" in said or said == "9" for said in runs[0])
    else:
        assert "ConnectionRefusedError" in runs[0].pop(1)
        assert runs[0] == ["0", "b'text'", "None"]


@pytest.mark.parametrize("is_told", [False, True])
def test_accept_says_that_its_listener_was_shut_down_while_it_waited(is_told: bool) -> None:
    net, a, _ = two()
    if is_told:
        a.observe(lambda fact: None)

    @a.run
    def serve() -> str:
        with socket.create_server(("", 80)) as listener:
            threading.Timer(1, listener.shutdown, [socket.SHUT_RD]).start()
            return what_happens(listener.accept)

    net.run()
    assert "Invalid argument" in serve.result()
    assert "which does not listen" in serve.result()
