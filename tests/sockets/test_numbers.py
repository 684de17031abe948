"""What is done to a descriptor by its number: pipes, dup, O_NONBLOCK, and Unix sockets between programs of one host."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import Network

fcntl = pytest.importorskip("fcntl")


def run(*functions: Callable[[], Any]) -> list[Any]:
    """Run programs on one host, a virtual second apart."""
    with Network() as net:
        a = net.host("a")
        programs = [a.run(function, start=at) for at, function in enumerate(functions)]
        net.run()
        return [program.result() for program in programs]


def both(function: Callable[[], Any]) -> None:
    """Compare what a function gives on a host with what it gives on the machine."""
    assert run(function) == [function()]


def test_a_pipe_wakes_who_selects_beside_a_listener() -> None:
    def serve() -> list[object]:
        reader, writer = os.pipe()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            os.write(writer, b"x")
            ready, _, _ = select.select([listener, reader], [], [], 5)
            found: list[object] = [ready == [reader], os.read(reader, 10)]
        os.close(writer)
        found.append(os.read(reader, 10))
        os.close(reader)
        return found

    both(serve)


def test_a_pipe_that_does_not_wait_says_so() -> None:
    def look() -> list[int]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            os.read(reader, 1)
        except BlockingIOError as error:
            return [error.errno, int(os.get_blocking(reader)), int(os.get_blocking(writer))]
        finally:
            os.close(reader)
            os.close(writer)
        return []

    both(look)


def test_threads_wake_each_other_by_a_pipe() -> None:
    import threading

    def wait() -> tuple[bytes, float]:
        reader, writer = os.pipe()
        threading.Timer(30, os.write, (writer, b"now")).start()
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        poller.poll()
        found = os.read(reader, 10)
        os.close(reader)
        os.close(writer)
        return found, time.monotonic()

    assert run(wait) == [(b"now", 30.0)]


def test_a_pipes_ends_may_be_files() -> None:
    def talk() -> str:
        reader, writer = os.pipe()
        with os.fdopen(writer, "w") as out:
            out.write("hello\n")
        with os.fdopen(reader) as file:
            return file.read()

    both(talk)


@pytest.mark.parametrize("how", ["fcntl", "set_blocking"])
def test_o_nonblock_by_number_holds(how: str) -> None:
    def look() -> list[object]:
        first, second = socket.socketpair()
        with first, second:
            if how == "fcntl":
                fcntl.fcntl(first.fileno(), fcntl.F_SETFL, fcntl.fcntl(first, fcntl.F_GETFL) | os.O_NONBLOCK)
            else:
                os.set_blocking(first.fileno(), False)
            try:
                first.recv(1)
            except BlockingIOError as error:
                return [error.errno, bool(fcntl.fcntl(first, fcntl.F_GETFL) & os.O_NONBLOCK)]
        return []

    both(look)


def test_dup_by_number_shares_the_socket() -> None:
    def look() -> list[object]:
        first, second = socket.socketpair()
        with second:
            with socket.socket(fileno=os.dup(first.fileno())) as double:
                first.close()
                second.sendall(b"hello")
                found: list[object] = [double.recv(10)]
            found.append(second.recv(1))
        return found

    both(look)


def test_dup2_onto_a_file_of_the_process_is_refused_in_a_sentence() -> None:
    def look() -> str:
        with socket.socket() as sock, pytest.raises(NotImplementedError) as caught:
            os.dup2(sock.fileno(), 1)
        return str(caught.value)

    assert "os.dup2 on host a" in run(look)[0]


def test_numbers_of_the_system_stay_the_systems(tmp_path: Any) -> None:
    path = tmp_path / "file"

    def write() -> bytes:
        number = os.open(path, os.O_CREAT | os.O_RDWR)
        double = os.dup(number)
        os.write(double, b"hello")
        os.close(double)
        os.lseek(number, 0, os.SEEK_SET)
        found = os.read(number, 10)
        fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK)
        os.close(number)
        return found

    both(write)


# --- Unix sockets


def test_programs_of_one_host_speak_by_a_unix_socket() -> None:
    def serve() -> tuple[bytes, object]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/app.sock")
            listener.listen()
            taken, peer = listener.accept()
            with taken:
                return taken.recv(10), (peer, taken.getsockname(), taken.family)

    def call() -> tuple[str, str]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect("/run/app.sock")
            sock.sendall(b"hello")
            return sock.getpeername(), sock.getsockname()

    served, called = run(serve, call)
    assert served == (b"hello", ("", "/run/app.sock", socket.AF_UNIX))
    assert called == ("/run/app.sock", "")


def test_asyncio_serves_and_connects_by_a_path() -> None:
    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        async with await asyncio.start_unix_server(answer, "/run/app.sock") as server:
            await server.serve_forever()

    async def call() -> bytes:
        reader, writer = await asyncio.open_unix_connection("/run/app.sock")
        writer.write(b"hello\n")
        found = await reader.read()
        writer.close()
        return found

    with Network() as net:
        a = net.host("a")
        a.run(serve)
        called = a.run(call, start=1)
        net.run()
        assert called.result() == b"HELLO\n"


def test_datagrams_of_unix_sockets_say_from_whom() -> None:
    def listen() -> tuple[bytes, object]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("/dev/log")
            found = sock.recvfrom(100)
            sock.sendto(b"thanks", found[1])
            return found

    def log() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("/run/me")
            sock.sendto(b"<14>hello", "/dev/log")
            return sock.recv(100)

    assert run(listen, log) == [(b"<14>hello", "/run/me"), b"thanks"]


def test_a_path_nobody_has_and_one_that_is_taken_are_errors() -> None:
    def look() -> list[object]:
        found: list[object] = []
        with socket.socket(socket.AF_UNIX) as sock:
            found.append(sock.connect_ex("/run/nobody") if sys.platform == "linux" else errno.ENOENT)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.bind("/run/app.sock")
            with pytest.raises(OSError, match="in use") as caught:
                second.bind("/run/app.sock")
            found.append(caught.value.errno)
        with socket.socket(socket.AF_UNIX) as sock:
            found.append(sock.connect_ex("/run/app.sock"))  # as a file that stayed
            os.unlink("/run/app.sock")
            found.append(sock.connect_ex("/run/app.sock"))
        return found

    assert run(look) == [[errno.ENOENT, errno.EADDRINUSE, errno.ECONNREFUSED, errno.ENOENT]]


def test_two_hosts_may_use_the_same_path() -> None:
    def bind() -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("/run/app.sock")
            return str(sock.getsockname())

    with Network() as net:
        programs = [net.host(name).run(bind) for name in ("a", "b")]
        net.run()
        assert [program.result() for program in programs] == ["/run/app.sock"] * 2
