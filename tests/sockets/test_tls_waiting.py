"""TLS with timeouts, and on sockets that don't wait: the same over a host's socket and the kernel's."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

import pytest

from estab import Host, Network
from tests.kit.both_worlds import HOST, Story, both, words


def test_timeouts_name_the_operation(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        connection.settimeout(0.05)
        try:
            contexts[0].wrap_socket(connection, server_side=True)
        except TimeoutError as error:
            story.append("handshake operation timed out" in str(error))

    def call(connection: socket.socket, story: Story) -> None:
        connection.recv(1)

    def serve_slowly(connection: socket.socket, story: Story) -> None:
        with contexts[0].wrap_socket(connection, server_side=True) as tls:
            tls.settimeout(0.05)
            for attempt in (lambda: tls.recv(1), lambda: tls.sendall(bytes(30_000_000))):
                try:
                    attempt()
                except TimeoutError as error:
                    story.append(str(error))
            tls.close()

    def part_slowly(connection: socket.socket, story: Story) -> None:
        with contexts[0].wrap_socket(connection, server_side=True) as tls:
            tls.settimeout(0.05)
            with pytest.raises(TimeoutError) as caught:
                tls.unwrap()
            story.append(str(caught.value))

    def call_and_wait(connection: socket.socket, story: Story) -> None:
        with contexts[1].wrap_socket(connection, server_hostname=HOST):
            time.sleep(0.3)

    assert both(serve, call)[0] == [True]
    assert both(serve_slowly, call_and_wait)[0] == [
        "The read operation timed out", "The write operation timed out"]
    assert both(part_slowly, call_and_wait)[0] == ["The read operation timed out"]


def test_the_timeout_is_for_the_whole_handshake(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run(daemon=True)
    def dribble() -> None:
        with socket.create_server(("", 443)) as listener:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"\x16\x03\x03\x40\x00")
                while True:
                    time.sleep(1)
                    connection.sendall(b"x")

    @a.run
    def call() -> float:
        with socket.create_connection(("b", 443), timeout=600) as connection:
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                contexts[1].wrap_socket(connection, server_hostname=HOST)
            return time.monotonic() - started

    net.run()
    assert call.result() == 600


def test_a_socket_that_does_not_wait_says_what_it_wants(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def shake(tls: ssl.SSLSocket) -> set[str]:
        wanted = set()
        while True:
            try:
                tls.do_handshake()
                return wanted
            except ssl.SSLWantReadError:
                wanted.add("read")
                select.select([tls], [], [])
            except ssl.SSLWantWriteError:
                select.select([], [tls], [])

    def serve(connection: socket.socket, story: Story) -> None:
        connection.setblocking(False)
        with contexts[0].wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            story.append(shake(tls) <= {"read"})
            got = bytearray()
            while len(got) < 1_000_000:
                try:
                    got += tls.recv(65536)
                except ssl.SSLWantReadError:
                    select.select([tls], [], [])
            story.append(got == bytes(range(256)) * 3906 + bytes(64))
            tls.setblocking(True)
            tls.sendall(b"thanks")

    def call(connection: socket.socket, story: Story) -> None:
        connection.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking"):
            contexts[1].wrap_socket(connection.dup(), server_hostname=HOST)
        with contexts[1].wrap_socket(connection, server_hostname=HOST, do_handshake_on_connect=False) as tls:
            story.append(shake(tls) <= {"read"})
            try:
                tls.recv(1)
            except ssl.SSLError as error:
                story.append(words(error))
            rest = memoryview(bytes(range(256)) * 3906 + bytes(64))
            while rest:
                try:
                    rest = rest[tls.send(rest) :]
                except ssl.SSLWantWriteError:
                    select.select([], [tls], [])
            tls.setblocking(True)
            story.append(tls.recv(100))

    server, client = both(serve, call)
    assert server == [True, True]
    assert client == [True, ("SSLWantReadError", 2, "The operation did not complete (read)"), b"thanks"]


def test_a_full_buffer_wants_a_write(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    full: list[bool] = []

    def serve(connection: socket.socket, story: Story) -> None:
        with contexts[0].wrap_socket(connection, server_side=True) as tls:
            tls.setblocking(False)
            try:
                while True:
                    tls.send(bytes(8192))
            except ssl.SSLWantWriteError:
                story.append("full")
            full.append(True)
            tls.settimeout(20)
            tls.send(bytes(8192))
            tls.sendall(b"end")

    def call(connection: socket.socket, story: Story) -> None:
        with contexts[1].wrap_socket(connection, server_hostname=HOST) as tls:
            while not full:
                time.sleep(0.01)
            full.clear()
            got = b""
            while part := tls.recv(100_000):
                got += part
            story.extend([len(got) % 8192, got[-3:]])

    assert both(serve, call) == (["full"], [3, b"end"])
