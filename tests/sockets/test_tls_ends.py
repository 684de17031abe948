"""How a TLS conversation ends: the same over a host's socket and the kernel's."""

from __future__ import annotations

import errno
import socket
import ssl
import sys

import pytest

from tests.kit.both_worlds import HOST, Story, both, in_the_lab, words


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
