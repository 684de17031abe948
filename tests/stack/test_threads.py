"""A stack used by threads: blocking calls, signals, and waiting for its sockets beside the operating system's."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import estab
from estab.errors import explain


@pytest.fixture(name="pair")
def make_pair() -> Iterator[tuple[estab.Stack, estab.Stack]]:
    """Two stacks whose links carry to each other."""
    left = estab.QueueDevice()
    right = estab.QueueDevice(left.deliver)
    left.on_packet = right.deliver
    with (estab.Stack(left, "10.9.0.1/24", name="left") as here,
          estab.Stack(right, "10.9.0.2/24", name="right") as there):
        yield here, there


def connected(pair: tuple[estab.Stack, estab.Stack]) -> tuple[socket.socket, socket.socket]:
    """Connect a socket of the first to one of the second."""
    here, there = pair
    with there.socket() as listener:
        listener.bind(("", 7))
        listener.listen()
        client = here.socket()
        client.settimeout(20)
        client.connect(("10.9.0.2", 7))
        server, _ = listener.accept()
    server.settimeout(20)
    return client, server


def test_many_threads_ask_and_answer_over_one_stack(pair: tuple[estab.Stack, estab.Stack]) -> None:
    here, there = pair
    got: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    def accept(listener: socket.socket) -> None:
        servers = [threading.Thread(target=serve, args=(listener.accept()[0],)) for _ in range(8)]
        for server in servers:
            server.start()
        for server in servers:
            server.join(60)

    def ask(number: int) -> None:
        with here.socket() as client:
            client.settimeout(30)
            client.connect(("10.9.0.2", 7))
            for turn in range(50):
                client.sendall(b"%d-%d" % (number, turn))
                got.append(client.recv(100))

    with there.socket() as listener:
        listener.bind(("", 7))
        listener.listen()
        threads = [threading.Thread(target=accept, args=(listener,)),
                   *(threading.Thread(target=ask, args=(number,)) for number in range(8))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert sorted(got) == sorted(b"%d-%d" % (number, turn) for number in range(8) for turn in range(50))


def test_a_timeout_ends_a_blocking_call(pair: tuple[estab.Stack, estab.Stack]) -> None:
    client, server = connected(pair)
    with client, server:
        client.settimeout(0.02)
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize("is_following", [False, True], ids=["leading", "following"])
def test_a_signals_exception_ends_a_blocking_call(pair: tuple[estab.Stack, estab.Stack], is_following: bool) -> None:
    client, server = connected(pair)
    client.settimeout(None)
    other = pair[0].socket(type=socket.SOCK_DGRAM)
    other.bind(("", 9))
    leader = threading.Thread(target=lambda: other.recv(1))
    if is_following:
        leader.start()
        while not pair[0].runtime.has_waiters():
            assert leader.is_alive()
            time.sleep(0.001)

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedError("by a signal")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with client, server, pytest.raises(InterruptedError, match="by a signal"):
            client.recv(1)
        if is_following:
            with pair[1].socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", ("10.9.0.1", 9))
            leader.join(20)
            assert not leader.is_alive()
    finally:
        signal.signal(signal.SIGALRM, before)
        other.close()


def test_a_signal_whose_handler_returns_does_not_end_a_blocking_call(pair: tuple[estab.Stack, estab.Stack]) -> None:
    client, server = connected(pair)
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: (seen.append(number), server.sendall(b"later")))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with client, server:
            assert client.recv(10) == b"later"
        assert seen == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("what", ["recv", "accept"])
def test_closing_a_socket_ends_what_waits_on_it(pair: tuple[estab.Stack, estab.Stack], what: str) -> None:
    ours, theirs = connected(pair)
    listener = pair[1].socket()
    listener.bind(("", 81))
    listener.listen()
    ours.settimeout(None)
    closed = ours if what == "recv" else listener
    caught: list[int | None] = []

    def wait() -> None:
        try:
            closed.recv(10) if what == "recv" else closed.accept()
        except OSError as error:
            caught.append(error.errno)

    waiter = threading.Thread(target=wait)
    waiter.start()
    stack = pair[0] if what == "recv" else pair[1]
    while not stack.runtime.has_waiters(1):
        time.sleep(0.001)
    closed.close()
    waiter.join(10)
    assert caught == [errno.EBADF]
    for sock in (ours, theirs, listener):
        sock.close()


def test_closing_a_stack_ends_what_waits_on_it(pair: tuple[estab.Stack, estab.Stack]) -> None:
    client, server = connected(pair)
    client.settimeout(None)
    errors: list[OSError] = []

    def receive() -> None:
        try:
            client.recv(1)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=receive) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not pair[0].runtime.has_waiters(3):
        time.sleep(0.001)
    pair[0].close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert ["closed" in explain(error) for error in errors] == [True] * 3, errors
    client.close()
    server.close()


@pytest.mark.parametrize("kind", ["select", "poll", "epoll", "selectors"])
@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "the system's"])
def test_a_wait_for_both_kinds_of_descriptor_ends_by_either(
    pair: tuple[estab.Stack, estab.Stack], kind: str, is_ours: bool,
) -> None:
    client, server = connected(pair)
    reader, writer = os.pipe()

    def act() -> None:
        if is_ours:
            server.sendall(b"x")
        else:
            os.write(writer, b"x")

    with client, server, pair[0].installed():
        acting = threading.Timer(0.02, act)
        acting.start()
        expected = client.fileno() if is_ours else reader
        assert wait_for_one(kind, client, reader) == [expected]
        acting.join()
    os.close(reader)
    os.close(writer)


def wait_for_one(kind: str, ours: socket.socket, number: int) -> list[int]:
    """Wait for a socket of ours and a descriptor of the system's, and give the numbers of those that are readable."""
    if kind == "select":
        readable = select.select([ours, number], [], [], 20)[0]
        return [one if isinstance(one, int) else one.fileno() for one in readable]
    if kind == "selectors":
        with selectors.DefaultSelector() as selector:
            selector.register(ours, selectors.EVENT_READ)
            selector.register(number, selectors.EVENT_READ)
            return [key.fd for key, _ in selector.select(20)]
    poll = select.poll() if kind == "poll" else select.epoll()
    poll.register(ours, select.POLLIN)
    poll.register(number, select.POLLIN)
    return [fd for fd, _ in poll.poll(20_000 if kind == "poll" else 20)]


def test_asyncio_in_a_stack_waits_for_pipes_processes_signals_and_unix_sockets_too(
    pair: tuple[estab.Stack, estab.Stack],
) -> None:
    client, server = connected(pair)
    client.setblocking(False)

    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        signalled = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, signalled.set)
        ours = asyncio.ensure_future(loop.sock_recv(client, 100))
        process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        out, _ = await process.communicate(b"through a process")
        one, two = socket.socketpair()
        assert one.family == socket.AF_UNIX
        with one, two:
            one.setblocking(False)
            two.send(b"through a Unix socket")
            unix = await loop.sock_recv(one, 100)
        os.kill(os.getpid(), signal.SIGUSR1)
        await signalled.wait()
        server.sendall(b"through the stack")
        return [out, unix, await ours]

    with client, server, pair[0].installed():
        assert asyncio.run(asyncio.wait_for(main(), 30)) == [
            b"through a process", b"through a Unix socket", b"through the stack"]


def test_threads_started_inside_speak_through_the_stack(pair: tuple[estab.Stack, estab.Stack]) -> None:
    is_of_stack: list[bool] = []

    def look() -> None:
        with socket.socket() as made:
            is_of_stack.append(isinstance(made, estab.Socket))

    with pair[0].installed():
        inside = threading.Thread(target=look)
        inside.start()
        inside.join()
    outside = threading.Thread(target=look)
    outside.start()
    outside.join()
    assert is_of_stack == [True, False]


def test_how_long_a_wait_may_be_busy_can_be_said_and_has_bounds() -> None:
    with estab.Stack(estab.QueueDevice(), "10.9.0.2/24", busy_poll_us=0) as stack:
        assert stack.runtime.loop.busy_poll_ns == 0
    with pytest.raises(ValueError, match="busy_poll_us: -1 is not a number from 0 to 1000000"):
        estab.Stack(estab.QueueDevice(), "10.9.0.2/24", busy_poll_us=-1)


def drop(things: list[Any]) -> None:
    things.clear()
    gc.collect()


def test_a_stack_that_is_dropped_without_close_warns_and_frees_its_thread_and_its_device() -> None:
    class Noted(estab.QueueDevice):
        closed = threading.Event()

        def close(self) -> None:
            super().close()
            self.closed.set()

    device = Noted()
    stacks = [estab.Stack(device, "10.9.0.1/24", name="dropped")]
    stacks[0].run_in_thread()
    with pytest.warns(ResourceWarning, match="unclosed <Stack dropped"):
        drop(stacks)
    assert device.closed.wait(20)
    while any(thread.name == "estab-dropped" for thread in threading.enumerate()):
        pass


def test_a_socket_keeps_its_stack() -> None:
    device = estab.QueueDevice()
    socks = [estab.Stack(device, "10.9.0.1/24", name="kept").socket()]
    gc.collect()
    socks[0].bind(("", 7))
    socks[0].listen()
    assert socks[0].getsockname()[1] == 7
    socks[0].close()
    with pytest.warns(ResourceWarning, match="unclosed <Stack kept"):
        drop(socks)
