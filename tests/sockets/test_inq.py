"""TCP_INQ: ``recvmsg`` says how many bytes more there are, as on the kernel's own socket over its loopback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from estab import Host

TCP_INQ = TCP_CM_INQ = 36
Make = Callable[..., socket.socket]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["estab", "kernel"])
def pair(request: pytest.FixtureRequest, a: Host) -> Iterator[Pair]:
    """A client and the server's end, which inherits TCP_INQ from its listener."""
    make: Make = a.socket if request.param == "estab" else socket.socket
    with ExitStack() as stack:
        listener = stack.enter_context(make())
        listener.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = stack.enter_context(make())
        client.connect(listener.getsockname())
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(5)
        yield client, server


def told(server: socket.socket, size: int) -> tuple[int, list[int]]:
    """Receive, and give how much came and what was said of the rest."""
    data, items, _, _ = server.recvmsg(size, 64)
    assert all(item[:2] == (socket.IPPROTO_TCP, TCP_CM_INQ) for item in items)
    return len(data), [struct.unpack("i", item[2])[0] for item in items]


def test_recvmsg_tells_how_many_bytes_are_left(pair: Pair) -> None:
    client, server = pair
    assert server.getsockopt(socket.IPPROTO_TCP, TCP_INQ) == 1
    client.sendall(b"0123456789")
    assert server.recv(10, socket.MSG_PEEK | socket.MSG_WAITALL) == b"0123456789"
    assert told(server, 4) == (4, [6])
    assert told(server, 6) == (6, [0])


def test_a_fin_that_came_is_one_more(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"0123456789")
    client.close()
    assert server.recv(11, socket.MSG_PEEK | socket.MSG_WAITALL) == b"0123456789"
    assert told(server, 4) == (4, [7])
    assert told(server, 6) == (6, [1])
    assert told(server, 1) == (0, [1])


def test_switched_off_nothing_is_told(pair: Pair) -> None:
    client, server = pair
    server.setsockopt(socket.IPPROTO_TCP, TCP_INQ, 0)
    client.sendall(b"0123456789")
    assert told(server, 4) == (4, [])
