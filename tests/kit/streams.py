"""TCP sockets of two engines on a wire: open, listen, connect, or all of it."""

from __future__ import annotations

import errno

import pytest

from estab.abi import (
    AF_INET,
    AF_INET6,
    SOCK_STREAM,
)
from estab.errors import explain
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.tcp.config import Config
from tests.kit.engines import MS, Net, Wire, pair

PEERS = ["10.0.0.2", "fd00::2"]


def open_socket(net: Net, host: Engine, family: int = AF_INET) -> StreamSocket:
    made = host.socket(family, SOCK_STREAM, net.now_ns)
    assert isinstance(made, StreamSocket)
    return made


def listen(net: Net, host: Engine, port: int = 80, backlog: int = 8, family: int = AF_INET) -> StreamSocket:
    made = open_socket(net, host, family)
    made.bind(("", port), net.now_ns)
    made.listen(backlog, net.now_ns)
    return made


def connect(net: Net, host: Engine, address: str, port: int = 80) -> StreamSocket:
    made = open_socket(net, host, AF_INET if "." in address else AF_INET6)
    with pytest.raises(BlockingIOError) as caught:
        made.connect((address, port), net.now_ns)
    assert caught.value.errno == errno.EINPROGRESS
    return made


def connected(peer: str = "10.0.0.2", config: Config | None = None) -> tuple[Net, StreamSocket, StreamSocket, Wire]:
    """A connection from ``a`` to ``b``: the net, the client's and the server's socket."""
    net, a, b, wire = pair(config=config)
    listener = listen(net, b, family=AF_INET6)
    client = connect(net, a, peer)
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    listener.close(net.now_ns)
    net.run(100 * MS)
    client.connect((peer, 80), net.now_ns)
    return net, client, server, wire


def fails(number: int, call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(OSError, match=r".") as caught:
        call(*arguments)
    assert caught.value.errno == number
    return explain(caught.value)
