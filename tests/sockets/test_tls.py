"""Blocking TLS: ``ssl.SSLSocket`` over a host's socket does what it does over the kernel's.

``both`` runs one pair of programs on hosts and on the kernel, over loopback, and wants the same story from both.
"""

from __future__ import annotations

import contextlib
import errno
import io
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from estab import Network, Node, Socket
from estab.events import CallStarted, Event
from estab.sockets.socket.tls import Tls

Story = list[Any]
HOST = "server.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context for a server and one for a client that trusts it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert(HOST).configure_cert(server)
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["h2", "http/1.1"])
    return server, client


Serve = Callable[[socket.socket, Story], None]


def in_the_lab(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Run the two programs on two hosts, 10 ms apart."""
    with Network(seed=3) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="10ms")
        return run_pair(lambda work, story: b.run(work, story), lambda work, story: a.run(work, story), "b",
                        lambda: net.run(check=False), serve, call)


def on_the_kernel(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Run the two programs in threads, over loopback."""
    threads: list[threading.Thread] = []

    def start(work: Any, story: Story) -> None:
        threads.append(threading.Thread(target=work, args=(story,), daemon=True))
        threads[-1].start()

    def join() -> None:
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    return run_pair(start, start, "127.0.0.1", join, serve, call)


def run_pair(start_server: Any, start_client: Any, host: str, finish: Callable[[], None], serve: Serve,
             call: Serve) -> tuple[Story, Story]:
    stories: tuple[Story, Story] = ([], [])
    port: list[int] = []
    is_ready = threading.Event()

    def server(story: Story) -> None:
        with socket.create_server(("", 0)) as listener:
            port.append(listener.getsockname()[1])
            is_ready.set()
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                tell(serve, connection, story)

    def client(story: Story) -> None:
        while not port:
            time.sleep(0.01)
        with socket.create_connection((host, port[0])) as connection:
            connection.settimeout(20)
            tell(call, connection, story)

    start_server(server, stories[0])
    start_client(client, stories[1])
    finish()
    return stories


def tell(work: Serve, connection: socket.socket, story: Story) -> None:
    """Do it, and end the story with the exception, where there is one."""
    try:
        work(connection, story)
    except Exception as error:
        story.append(words(error))


def words(error: Exception) -> tuple[str, Any, str]:
    """Write an exception without the place in CPython's C files."""
    text = re.sub(r" ?\(?_ssl\.c:\d+:?\)? ?", "", str(error.args[-1] if error.args else error))
    if isinstance(error, ssl.SSLError):
        return type(error).__name__, error.errno, text
    return type(error).__name__, getattr(error, "errno", None), ""


def both(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Give what both worlds tell, which is the same."""
    virtual, real = in_the_lab(serve, call), on_the_kernel(serve, call)
    assert virtual == real
    return virtual


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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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


def test_afterwards_ssl_is_as_it_was(a: Node) -> None:
    create = ssl.SSLSocket.__dict__["_create"]
    with a.installed():
        assert ssl.SSLSocket.__dict__["_create"] is not create
    assert ssl.SSLSocket.__dict__["_create"] is create
    assert "_wrap_socket" not in vars(ssl.SSLContext)


def test_a_socket_of_the_operating_system_is_wrapped_as_ever_meanwhile(
    a: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    left, right = socket.socketpair()
    with a.installed(), left, right:
        left.setblocking(False)
        with contexts[1].wrap_socket(left, server_hostname=HOST, do_handshake_on_connect=False) as tls:
            assert type(tls) is ssl.SSLSocket
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()


# --- handshakes that fail


def test_an_unknown_authority_is_refused_on_both_sides(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        contexts[0].wrap_socket(connection, server_side=True).close()

    def call(connection: socket.socket, story: Story) -> None:
        ssl.create_default_context().wrap_socket(connection, server_hostname=HOST)

    server, client = both(serve, call)
    assert client[-1][0] == "SSLCertVerificationError"
    assert "TLSV1_ALERT_UNKNOWN_CA" in server[-1][2]


def test_another_name_in_the_certificate_is_refused(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        contexts[0].wrap_socket(connection, server_side=True).close()

    def call(connection: socket.socket, story: Story) -> None:
        contexts[1].wrap_socket(connection, server_hostname="other.example")

    assert "Hostname mismatch" in both(serve, call)[1][-1][2]


def test_a_peer_that_speaks_no_tls_is_an_error_at_once(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        contexts[0].wrap_socket(connection, server_side=True)

    def call(connection: socket.socket, story: Story) -> None:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        connection.recv(100)

    assert "HTTP_REQUEST" in both(serve, call)[0][-1][2]


def test_a_peer_that_hangs_up_in_the_handshake(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        contexts[0].wrap_socket(connection, server_side=True)

    def call(connection: socket.socket, story: Story) -> None:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)

    assert both(serve, call)[0][-1][0] == "SSLEOFError"


def test_no_common_protocol(contexts: tuple[ssl.SSLContext, ssl.SSLContext], authority: trustme.CA) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST).configure_cert(old)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.wrap_socket(connection, server_side=True)

    def call(connection: socket.socket, story: Story) -> None:
        new = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(new)
        new.minimum_version = ssl.TLSVersion.TLSv1_3
        new.wrap_socket(connection, server_hostname=HOST)

    assert "ALERT_PROTOCOL_VERSION" in both(serve, call)[1][-1][2]


def test_a_client_without_the_certificate_that_is_wanted(authority: trustme.CA) -> None:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert(HOST).configure_cert(server)
    authority.configure_trust(client)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED

    def serve(connection: socket.socket, story: Story) -> None:
        server.wrap_socket(connection, server_side=True)

    def call(connection: socket.socket, story: Story) -> None:
        tls = client.wrap_socket(connection, server_hostname=HOST)
        with tls:
            tls.recv(100)

    assert "PEER_DID_NOT_RETURN" in both(serve, call)[0][-1][2]


def test_a_client_shows_its_certificate(authority: trustme.CA) -> None:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert(HOST).configure_cert(server)
    authority.configure_trust(client)
    authority.configure_trust(server)
    authority.issue_cert("phone.example").configure_cert(client)
    server.verify_mode = ssl.CERT_REQUIRED

    def serve(connection: socket.socket, story: Story) -> None:
        with server.wrap_socket(connection, server_side=True) as tls:
            certificate = tls.getpeercert()
            assert certificate is not None
            story.append(certificate["subjectAltName"])
            tls.sendall(b"x")

    def call(connection: socket.socket, story: Story) -> None:
        with client.wrap_socket(connection, server_hostname=HOST) as tls:
            tls.recv(1)

    assert both(serve, call)[0] == [(("DNS", "phone.example"),)]


def test_a_server_chooses_its_context_by_the_name_that_is_asked_for(authority: trustme.CA) -> None:
    first, second = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(first)
    authority.issue_cert("second.example").configure_cert(second)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)

    def serve(connection: socket.socket, story: Story) -> None:
        def choose(tls: Any, name: str, context: ssl.SSLContext) -> None:
            story.append((name, isinstance(tls, ssl.SSLSocket), context is first))
            tls.context = second

        first.sni_callback = choose  # type: ignore[assignment]
        with first.wrap_socket(connection, server_side=True) as tls:
            story.append(tls.context is second)
            tls.sendall(b"x")

    def call(connection: socket.socket, story: Story) -> None:
        with client.wrap_socket(connection, server_hostname="second.example") as tls:
            story.append(tls.recv(1))

    assert both(serve, call) == ([("second.example", True, True), True], [b"x"])


# --- timeouts, and sockets that don't wait


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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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


# --- ends


def test_unwrap_leaves_what_follows_in_the_clear(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        tls = contexts[0].wrap_socket(connection, server_side=True)
        tls.sendall(b"secret")
        plain = tls.unwrap()
        story.extend([plain is tls, tls.version()])
        plain.sendall(b"clear")
        story.append(plain.recv(100))
        with pytest.raises(ValueError, match="No SSL wrapper"):
            tls.unwrap()
        plain.close()

    def call(connection: socket.socket, story: Story) -> None:
        tls = contexts[1].wrap_socket(connection, server_hostname=HOST)
        story.extend([tls.recv(6), tls.recv(6)])
        plain = tls.unwrap()
        plain.sendall(b"too")
        story.append(plain.recv(100))
        plain.close()

    assert both(serve, call) == ([True, None, b"too"], [b"secret", b"", b"clear"])


@pytest.mark.parametrize("suppress", [True, False])
def test_an_end_without_a_goodbye(contexts: tuple[ssl.SSLContext, ssl.SSLContext], suppress: bool) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        tls = contexts[0].wrap_socket(connection, server_side=True)
        tls.sendall(b"x")
        tls.close()

    def call(connection: socket.socket, story: Story) -> None:
        with contexts[1].wrap_socket(connection, server_hostname=HOST, suppress_ragged_eofs=suppress) as tls:
            story.extend([tls.recv(10), tls.recv(10)])

    stories = both(serve, call)
    assert stories[1] == [b"x", b""] if suppress else stories[1][-1][0] == "SSLEOFError"


HONEST_PYTHON = sys.version_info >= (3, 12, 3) or (3, 11, 9) <= sys.version_info < (3, 12)
"""Before, an error of TCP was an end of the stream to ``SSLSocket.recv`` (gh-115627); ours says what it is."""


def test_a_reset_is_one_with_tls_too(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        tls = contexts[0].wrap_socket(connection, server_side=True)
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        tls.recv(1)
        tls.close()

    def call(connection: socket.socket, story: Story) -> None:
        with contexts[1].wrap_socket(connection, server_hostname=HOST) as tls:
            tls.sendall(b"x")
            tls.recv(10)

    stories = both(serve, call) if HONEST_PYTHON else in_the_lab(serve, call)
    assert stories[1] == [("ConnectionResetError", errno.ECONNRESET, "")]


def test_what_a_closed_or_shut_socket_says(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def serve(connection: socket.socket, story: Story) -> None:
        with contexts[0].wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    def call(connection: socket.socket, story: Story) -> None:
        tls = contexts[1].wrap_socket(connection, server_hostname=HOST)
        for attempt in (
            lambda: tls.send(b"x", 1), lambda: tls.recv(1, 1), lambda: tls.sendto(b"x", ("", 1)), lambda: tls.dup(),
            lambda: tls.recvfrom(1), lambda: tls.sendmsg([b"x"]), lambda: tls.recvmsg(1), lambda: tls.recv(-1),
        ):
            try:
                story.append(attempt())
            except Exception as error:
                story.append(words(error)[:2])
        tls.shutdown(socket.SHUT_WR)
        for attempt in (tls.version, tls.cipher, lambda: tls.read(1), lambda: tls.write(b"x"), tls.pending):
            try:
                story.append(attempt())
            except Exception as error:
                story.append(words(error)[:2])
        tls.close()
        story.append(tls.fileno())
        for attempt in (lambda: tls.read(1), lambda: tls.recv(1), lambda: tls.getpeername(), tls.unwrap):
            try:
                story.append(attempt())
            except Exception as error:
                story.append(words(error)[:2])

    both(serve, call)


def test_a_session_can_be_resumed(
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
    assert a.detached == {}


def test_the_calls_below_tls_are_told(
    net: Network, a: Node, b: Node, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
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
