"""Descriptors that are passed by Unix sockets (SCM_RIGHTS) do what the machine's do, and stay open on their way."""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estab import Network
from tests.kit.two_hosts import two
from tests.sockets.test_unix import DGRAM, KINDS, both, on_a_host, pytestmark, tried

__all__ = ["pytestmark"]

SPACE = socket.CMSG_SPACE(4)


def rights(*numbers: int) -> list[tuple[int, int, bytes]]:
    """Make the ancillary data that passes descriptors."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers).tobytes())]


def shape(received: tuple[bytes, list[Any], int, Any]) -> tuple[bytes, int, int]:
    """Say what ``recvmsg`` returned, and how many descriptors, which are closed."""
    data, items, flags, _ = received
    count = 0
    for _, _, numbers in items:
        for number in array.array("i", numbers[: len(numbers) - len(numbers) % 4]):
            os.close(number)
            count += 1
    return data, count, flags & ~getattr(socket, "MSG_CMSG_CLOEXEC", 0x40000000) & ~socket.MSG_EOR


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_is_passed_and_works(kind: int) -> None:
    def pass_one() -> list[object]:
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        reader, writer = os.pipe()
        with left, right:
            socket.send_fds(left, [b"here"], [reader, writer])
            os.close(reader)
            os.close(writer)
            data, numbers, _, _ = socket.recv_fds(right, 100, 5)
            os.write(numbers[1], b"through")
            os.close(numbers[1])
            found = [data, len(numbers), os.read(numbers[0], 100), os.read(numbers[0], 100)]
            os.close(numbers[0])
            return found

    assert both(pass_one) == [b"here", 2, b"through", b""]


def test_a_listener_is_passed_to_another_program_which_accepts_by_it() -> None:
    net, a, b = two()

    @b.run
    def parent() -> None:
        with socket.create_server(("", 80)) as listener, socket.socket(socket.AF_UNIX) as door:
            door.bind("/run/door")
            door.listen()
            worker, _ = door.accept()
            with worker:
                socket.send_fds(worker, [b"x"], [listener.fileno()])

    @b.run
    def worker() -> bytes:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect("/run/door")
            _, numbers, _, _ = socket.recv_fds(door, 1, 1)
        with socket.socket(fileno=numbers[0]) as listener:
            assert listener.getsockname() == ("0.0.0.0", 80)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"by the worker")
                return connection.recv(100)

    @a.run
    def call() -> bytes:
        time.sleep(1)
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(b"call")
            return connection.recv(100)

    net.run()
    assert parent.done()
    assert (worker.result(), call.result()) == (b"call", b"by the worker")


def test_what_is_on_its_way_stays_open_and_is_closed_with_its_message() -> None:
    def pass_and_close() -> list[object]:
        left, right = socket.socketpair()
        kept, passed = socket.socketpair()
        kept.setblocking(False)
        socket.send_fds(left, [b"x"], [passed.fileno()])
        passed.close()
        found = [tried(kept.recv, 1)]
        right.close()
        time.sleep(0.01)
        found.append(tried(kept.recv, 1))
        left.close()
        kept.close()
        return found

    assert both(pass_and_close) == ["EAGAIN", b""]


def test_a_program_that_ends_does_not_close_what_it_has_passed() -> None:
    net, a, b = two()

    @a.run
    def call() -> list[bytes]:
        with socket.create_connection(("b", 80)) as connection:
            return [connection.recv(100), connection.recv(100)]

    @b.run
    def give() -> None:
        with socket.create_server(("", 80)) as listener, socket.socket(socket.AF_UNIX, DGRAM) as door:
            connection, _ = listener.accept()
            with connection:
                door.sendmsg([b"x"], rights(connection.fileno()), 0, "/run/door")

    @b.run
    def take() -> None:
        with socket.socket(socket.AF_UNIX, DGRAM) as door:
            door.bind("/run/door")
            time.sleep(30)
            assert give.done()
            _, numbers, _, _ = socket.recv_fds(door, 1, 1)
            with socket.socket(fileno=numbers[0]) as connection:
                connection.sendall(b"still here")

    net.run()
    assert take.done()
    assert call.result() == [b"still here", b""]
    assert net.now >= 30


def test_the_end_of_the_program_that_received_it_closes_it() -> None:
    net, _, b = two()
    ends: list[bytes] = []

    @b.run
    def give() -> None:
        left, right = socket.socketpair()
        time.sleep(1)
        with socket.socket(socket.AF_UNIX, DGRAM) as door, left:
            door.sendmsg([b"x"], rights(right.fileno()), 0, "/run/door")
            right.close()
            ends.append(left.recv(1))

    @b.run
    def take() -> None:
        door = socket.socket(socket.AF_UNIX, DGRAM)
        door.bind("/run/door")
        socket.recv_fds(door, 1, 1)
        time.sleep(4)
        door.close()

    net.run()
    assert give.done()
    assert ends == [b""]
    assert net.now >= 5


STEPS: dict[str, Callable[[socket.socket, socket.socket, int], list[object]]] = {
    "the first read of a message has its descriptors": lambda left, right, fd: [
        left.sendmsg([b"abcdef"], rights(fd)), shape(right.recvmsg(2, SPACE)),
        tried(lambda: shape(right.recvmsg(9, SPACE, socket.MSG_DONTWAIT)))],
    "a read of two messages ends with the one that has descriptors": lambda left, right, fd: [
        left.send(b"one"), left.sendmsg([b"two"], rights(fd)), left.send(b"three"),
        shape(right.recvmsg(100, SPACE)), shape(right.recvmsg(100, SPACE)), ],
    "two messages with descriptors are not read at once": lambda left, right, fd: [
        left.sendmsg([b"one"], rights(fd)), left.sendmsg([b"two"], rights(fd, fd)),
        shape(right.recvmsg(100, SPACE)), shape(right.recvmsg(100, socket.CMSG_SPACE(8)))],
    "a read without room for them closes them": lambda left, right, fd: [
        left.sendmsg([b"one"], rights(fd)), right.recv(100),
        left.sendmsg([b"two"], rights(fd)), shape(right.recvmsg(100)),
        left.sendmsg([b"six"], rights(fd)), shape(right.recvmsg(100, 16)),
        left.sendmsg([b"ten"], rights(fd)), shape(right.recvmsg(100, 19))],
    "what does not fit is cut": lambda left, right, fd: [
        left.sendmsg([b"one"], rights(fd, fd, fd)), shape(right.recvmsg(100, socket.CMSG_LEN(8)))],
    "peeking gives them, and leaves them": lambda left, right, fd: [
        left.sendmsg([b"one"], rights(fd)), shape(right.recvmsg(100, SPACE, socket.MSG_PEEK)),
        shape(right.recvmsg(100, SPACE))],
    "several items are one": lambda left, right, fd: [
        left.sendmsg([b"one"], rights(fd) + rights(fd)), shape(right.recvmsg(100, socket.CMSG_SPACE(8)))],
    "none are none": lambda left, right, fd: [
        left.sendmsg([b"one"], rights()), shape(right.recvmsg(100, SPACE))],
    "what is no descriptor is EBADF": lambda left, right, fd: [
        tried(left.sendmsg, [b"one"], rights(fd, 900)), tried(left.sendmsg, [b"one"], rights(-1))],
    "253 are the most": lambda left, right, fd: [
        tried(left.sendmsg, [b"one"], rights(*[fd] * 254)), tried(left.sendmsg, [b"one"], rights(*[fd] * 253)),
        shape(right.recvmsg(100, socket.CMSG_SPACE(1012)))],
    "another type is EINVAL": lambda left, right, fd: [
        tried(left.sendmsg, [b"one"], [(socket.SOL_SOCKET, 77, b"")])],
    "items of other levels are passed over": lambda left, right, fd: [
        tried(left.sendmsg, [b"one"], [(socket.IPPROTO_IP, 77, b"1234")]), shape(right.recvmsg(100, SPACE))],
    "a message without bytes": lambda left, right, fd: [
        tried(left.sendmsg, [b""], rights(fd)), left.send(b"more"), shape(right.recvmsg(100, SPACE))],
    "all that is read at once": lambda left, right, fd: [
        left.send(b"one"), left.sendmsg([b"two"], rights(fd)), left.send(b"three"), left.send(b"four"),
        shape(right.recvmsg(8, SPACE, socket.MSG_WAITALL))],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_what_comes_with_which_bytes_is_what_the_machine_does(step: str, kind: int) -> None:
    def do() -> list[object]:
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        reader, writer = os.pipe()
        with left, right:
            found = STEPS[step](left, right, reader)
        # All copies are closed: the pipe has no reader any more.
        os.close(reader)
        time.sleep(0.01)
        found.append(tried(os.write, writer, b"x"))
        os.close(writer)
        return found

    assert both(do)[-1] == "EPIPE"


def test_what_a_program_may_not_open_is_cut() -> None:
    def take() -> tuple[bytes, int, int]:
        left, right = socket.socketpair()
        with left, right:
            left.sendmsg([b"x"], rights(*[left.fileno()] * 10))
            return shape(right.recvmsg(100, socket.CMSG_SPACE(40)))

    with Network() as net:
        program = net.host("a", nofile=3 + 2 + 4).run(take)
        net.run()
    assert program.result() == (b"x", 4, socket.MSG_CTRUNC)


def test_a_file_of_the_machine_is_passed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    def pass_file() -> bytes:
        left, right = socket.socketpair()
        with left, right:
            with open(tmp_path / "file", "rb") as file:
                socket.send_fds(left, [b"x"], [file.fileno()])
            _, numbers, _, _ = socket.recv_fds(right, 1, 1)
            with os.fdopen(numbers[0], "rb") as file:
                return file.read()

    assert both(pass_file) == b"content"


def test_credentials_are_refused_in_a_sentence() -> None:
    def send() -> None:
        left, right = socket.socketpair()
        with left, right:
            left.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, struct.pack("3i", os.getpid(), 0, 0))])

    with pytest.raises(OSError, match=r"(?s)Operation not supported.*SCM_RIGHTS"):
        on_a_host(send)


def test_what_other_threads_of_the_program_have_is_passed_too() -> None:
    def pass_by_thread() -> bytes:
        left, right = socket.socketpair()
        kept, passed = socket.socketpair()

        def send() -> None:
            with passed:
                socket.send_fds(left, [b"x"], [passed.fileno()])

        thread = threading.Thread(target=send)
        thread.start()
        _, numbers, _, _ = socket.recv_fds(right, 1, 1)
        thread.join()
        with socket.socket(fileno=numbers[0]) as taken, kept, left, right:
            taken.sendall(b"hello")
            return kept.recv(10)

    assert both(pass_by_thread) == b"hello"


def test_what_was_held_is_closed_if_the_process_is_out_of_descriptors_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("one", "other")]
    held: list[int] = []
    closed: list[int] = []

    def dup(number: int) -> int:
        if held:
            raise OSError(errno.EMFILE, "Too many open files")
        held.append(os.dup(number))
        return held[0]

    def close(number: int) -> None:
        closed.append(number)
        os.close(number)

    monkeypatch.setattr("estab.sockets.socket.rights.os", SimpleNamespace(dup=dup, close=close))

    def send() -> object:
        left, right = socket.socketpair()
        with left, right:
            return tried(left.sendmsg, [b"x"], rights(*files))

    assert on_a_host(send) == "EMFILE"
    assert held
    assert closed == held
    for number in files:
        os.close(number)
