"""Two hosts with a cable between them, for tests of sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from estab import Network, Node


@pytest.fixture
def net() -> Iterator[Network]:
    """A network of hosts ``a`` and ``b``, 10 ms apart."""
    with Network(seed=11) as network:
        network.link(network.host("a"), network.host("b"), delay="10ms")
        yield network


@pytest.fixture
def a(net: Network) -> Node:
    return net.hosts["a"]


@pytest.fixture
def b(net: Network) -> Node:
    return net.hosts["b"]
