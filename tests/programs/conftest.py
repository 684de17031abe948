"""A server and a client with a router between them, for programs that know nothing of estab."""

from __future__ import annotations

import pytest

from estab import Host, Link, Network


@pytest.fixture
def net(net: Network) -> Network:
    """Hosts ``client`` and ``server``, 20 ms apart, with ``router`` between them."""
    client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
    net.link(client, router, delay="5ms")
    net.link(router, server, delay="15ms")
    return net


@pytest.fixture
def client(net: Network) -> Host:
    return net.hosts["client"]


@pytest.fixture
def server(net: Network) -> Host:
    return net.hosts["server"]


@pytest.fixture
def cable(net: Network) -> Link:
    """The cable between router and server."""
    return net.links[1]
