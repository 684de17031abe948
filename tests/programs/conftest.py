"""A server and a client with a router between them, for programs that know nothing of estab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

from estab import Link, Network, Node


@pytest.fixture
def net() -> Iterator[Network]:
    """Hosts ``client`` and ``server``, 20 ms apart, with ``router`` between them."""
    with Network(seed=5) as network:
        client, router, server = network.host("client"), network.host("router", forwarding=True), network.host("server")
        network.link(client, router, delay="5ms")
        network.link(router, server, delay="15ms")
        yield network


@pytest.fixture
def client(net: Network) -> Node:
    return net.hosts["client"]


@pytest.fixture
def server(net: Network) -> Node:
    return net.hosts["server"]


@pytest.fixture
def cable(net: Network) -> Link:
    """The cable between router and server."""
    return net.links[1]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
