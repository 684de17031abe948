"""Two hosts of the lab, 10 ms apart."""

from __future__ import annotations

from estab.lab.host import Host
from estab.lab.network import Network


def two() -> tuple[Network, Host, Host]:
    """Give the network and its hosts ``a`` and ``b``."""
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b
