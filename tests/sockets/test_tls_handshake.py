"""TLS handshakes that fail, and certificates that are asked for: the same over a host's socket and the kernel's."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import trustme

from tests.kit.both_worlds import HOST, Story, both


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
