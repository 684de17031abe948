"""Two hosts of the lab, 10 ms apart."""

from __future__ import annotations

from estab.lab.network import Network
from estab.lab.node import Node


def two() -> tuple[Network, Node, Node]:
    """Give the network and its hosts ``a`` and ``b``."""
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b
