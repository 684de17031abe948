"""Two hosts with a cable between them, for tests of sockets."""

from __future__ import annotations

import pytest

from estab import Network, Node


@pytest.fixture
def net(net: Network) -> Network:
    """A network of hosts ``a`` and ``b``, 10 ms apart."""
    net.link(net.host("a"), net.host("b"), delay="10ms")
    return net


@pytest.fixture
def a(net: Network) -> Node:
    return net.hosts["a"]


@pytest.fixture
def b(net: Network) -> Node:
    return net.hosts["b"]
