"""Blocking TLS: ``ssl.SSLSocket`` over a host's socket does what it does over the kernel's."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
import time

import pytest

from estab import Host, Network, Socket
from estab.events import CallStarted, Event
from estab.sockets.socket.tls import Tls
from tests.kit.both_worlds import HOST, Story, both

# --- talking


def test_a_conversation_and_all_that_can_be_asked_about_it(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    def about(tls: ssl.SSLSocket) -> Story:
        return [tls.cipher(), tls.version(), tls.selected_alpn_protocol(), tls.compression(), tls.session_reused,
                tls.server_side, tls.server_hostname, isinstance(tls, ssl.SSLSocket), isinstance(tls, socket.socket),
                tls.family, tls.type, tls.proto, bool(tls.getpeercert()), len(tls.shared_ciphers() or ()) > 0]

    def serve(connection: socket.socket, story: Story) -> None:
        with contexts[0].wrap_socket(connection, server_side=True) as tls:
            story.extend([*about(tls), tls.recv(100), tls.send(b"answer")])
            buffer = bytearray(10)
            story.extend([tls.recv_into(buffer), bytes(buffer), tls.read(100)])
            tls.sendall(bytes(300_000))
            story.append(tls.recv(1))

    def call(connection: socket.socket, story: Story) -> None:
        with contexts[1].wrap_socket(connection, server_hostname=HOST) as tls:
            story.extend([*about(tls), connection.fileno(), tls.write(b"question"), tls.recv(3), tls.pending(),
                          tls.recv(100)])
            with contextlib.suppress(StopIteration):
                certificate = tls.getpeercert()
                assert certificate is not None
                story.append([value for _, value in certificate["subjectAltName"]])
            tls.sendall(b"into")
            tls.sendall(memoryview(b"more"))
            with tls.makefile("rb") as file:
                story.append(len(file.read(300_000)))

    stories = both(serve, call)
    assert stories[1][-3:] == [b"wer", [HOST], 300_000]
    assert stories[0][-1] == b""


def test_socket_and_certificate_are_those_of_the_host(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run
    def serve() -> None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            assert isinstance(listener, Socket)
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(connection.recv(100).upper())

    @a.run
    def call() -> bytes:
        with contexts[1].wrap_socket(socket.socket(), server_hostname=HOST) as tls:
            assert isinstance(tls, Socket)
            assert isinstance(tls, ssl.SSLSocket)
            assert tls._sslobj is None
            tls.connect(("b", 443))
            assert isinstance(tls._sslobj, Tls)
            tls.sendall(b"wrapped before it connected")
            return tls.recv(100)

    net.run()
    assert call.result() == b"WRAPPED BEFORE IT CONNECTED"
    assert b.counters()["TcpPassiveOpens"] == 1


def test_outside_of_programs_it_works_where_the_host_is_installed(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run
    def serve() -> None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"hello")
                connection.unwrap()

    plain = a.socket()
    plain.connect(("b", 443))
    with a.installed(), contexts[1].wrap_socket(plain, server_hostname=HOST) as tls:
        assert tls.recv(100) == b"hello"
        assert tls.recv(100) == b""


def test_afterwards_ssl_is_as_it_was(a: Host) -> None:
    create = ssl.SSLSocket.__dict__["_create"]
    with a.installed():
        assert ssl.SSLSocket.__dict__["_create"] is not create
    assert ssl.SSLSocket.__dict__["_create"] is create
    assert "_wrap_socket" not in vars(ssl.SSLContext)


def test_a_socket_of_the_operating_system_is_wrapped_as_ever_meanwhile(
    a: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    left, right = socket.socketpair()
    with a.installed(), left, right:
        left.setblocking(False)
        with contexts[1].wrap_socket(left, server_hostname=HOST, do_handshake_on_connect=False) as tls:
            assert type(tls) is ssl.SSLSocket
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()


# --- ends


def test_a_session_can_be_resumed(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run
    def serve() -> None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"x")
                    connection.recv(1)

    @a.run
    def call() -> list[bool | None]:
        reused = []
        session = None
        for _ in range(2):
            with contexts[1].wrap_socket(socket.create_connection(("b", 443)), server_hostname=HOST,
                                         session=session) as tls:
                tls.recv(1)
                session = tls.session
                reused.append(tls.session_reused)
                tls.sendall(b"y")
        return reused

    net.run()
    assert call.result() == [False, True]


def test_reading_and_writing_in_two_threads(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    size = 500_000

    @b.run
    def echo() -> None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(10_000):
                    connection.sendall(data)

    @a.run
    def call() -> int:
        with contexts[1].wrap_socket(socket.create_connection(("b", 443)), server_hostname=HOST) as tls:
            writer = threading.Thread(target=tls.sendall, args=(bytes(size),))
            writer.start()
            count = 0
            while count < size:
                count += len(tls.recv(20_000))
            writer.join()
            return count

    net.run()
    assert call.result() == size


def test_who_reads_does_not_wait_for_what_another_thread_could_not_send_yet(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """The peer reads nothing before we have read all of its text: to send first would be to wait for ever."""
    size = 1_000_000

    def shrink(sock: socket.socket) -> socket.socket:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 50_000)
        return sock

    @b.run
    def say_all_then_listen() -> int:
        with contexts[0].wrap_socket(shrink(socket.create_server(("", 443))), server_side=True) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(bytes(size))
                count = 0
                while count < size:
                    count += len(connection.recv(100_000))
                return count

    @a.run
    def call() -> int:
        with contexts[1].wrap_socket(shrink(socket.create_connection(("b", 443))), server_hostname=HOST) as tls:
            tls.settimeout(60)
            writer = threading.Thread(target=tls.sendall, args=(bytes(size),))
            writer.start()
            time.sleep(5)  # it is stuck by now
            count = 0
            while count < size:
                count += len(tls.recv(100_000))
            writer.join()
            return count

    net.run()
    assert (call.result(), say_all_then_listen.result()) == (size, size)


def test_files_are_sent_through_tls(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run
    def serve() -> int | None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            connection, _ = listener.accept()
            with connection:
                return connection.sendfile(io.BytesIO(bytes(50_000)))  # type: ignore[arg-type]

    @a.run
    def call() -> int:
        with contexts[1].wrap_socket(socket.create_connection(("b", 443)), server_hostname=HOST) as tls, \
                tls.makefile("rb") as file:
            return len(file.read())

    net.run()
    assert (serve.result(), call.result()) == (50_000, 50_000)


def test_a_dropped_socket_is_warned_about_and_closed(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    @b.run
    def serve() -> bytes:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            connection, _ = listener.accept()
            with connection:
                return connection.recv(1)

    @a.run
    def call() -> None:
        tls = contexts[1].wrap_socket(socket.create_connection(("b", 443)), server_hostname=HOST)
        with pytest.warns(ResourceWarning, match=r"unclosed <ssl\.SSLSocket"):
            del tls

    net.run()
    assert serve.result() == b""
    assert a.runtime.detached == {}


def test_the_calls_below_tls_are_told(
    net: Network, a: Host, b: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    seen: list[str] = []

    def note(fact: Event) -> None:
        if isinstance(fact, CallStarted) and fact.host == "a":
            seen.append(f"{fact.name}({fact.arguments})")

    net.observe(note)

    @b.run
    def serve() -> None:
        with socket.create_server(("", 443)) as plain, contexts[0].wrap_socket(plain, server_side=True) as listener:
            connection, _ = listener.accept()
            connection.close()

    @a.run
    def call() -> None:
        contexts[1].wrap_socket(socket.create_connection(("b", 443)), server_hostname=HOST).close()

    net.run()
    assert "recv(5 bytes of TLS)" in seen
    assert any(line.startswith("send(") for line in seen)
