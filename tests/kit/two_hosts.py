"""Two hosts of the lab, 10 ms apart, and a connection between two hosts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from estab.lab.host import Host
from estab.lab.network import Network
from estab.sockets.socket.socket import Socket


def two() -> tuple[Network, Host, Host]:
    """Give the network and its hosts ``a`` and ``b``."""
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b


@contextlib.contextmanager
def connected(a: Host, b: Host, family: int = socket.AF_INET) -> Iterator[tuple[Socket, Socket]]:
    """A connection: the caller's end on ``a``, the other on ``b``."""
    with b.socket(family) as listener, a.socket(family) as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        accepted, _ = listener.accept()
        assert isinstance(accepted, Socket)
        with accepted:
            yield caller, accepted
