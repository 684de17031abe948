"""Two hosts with a cable between them, for tests of sockets."""

from __future__ import annotations

import ssl

import pytest
import trustme

from estab import Host, Network
from tests.kit.both_worlds import HOST


@pytest.fixture
def net(net: Network) -> Network:
    """A network of hosts ``a`` and ``b``, 10 ms apart."""
    net.link(net.host("a"), net.host("b"), delay="10ms")
    return net


@pytest.fixture
def a(net: Network) -> Host:
    return net.hosts["a"]


@pytest.fixture
def b(net: Network) -> Host:
    return net.hosts["b"]


@pytest.fixture(scope="module")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context for a server and one for a client that trusts it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert(HOST).configure_cert(server)
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["h2", "http/1.1"])
    return server, client
