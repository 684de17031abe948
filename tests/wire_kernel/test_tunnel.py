"""Two machines joined by a UDP tunnel: a stack without root at one end, a kernel at the other."""

from __future__ import annotations

import threading

import pytest

import estab
from estab.devices.bridge import Bridge
from tests.kit.exchanges import BULK, echoed
from tests.kit.namespaces import Namespace, requires_kernel

pytestmark = requires_kernel


def test_a_stack_without_root_reaches_a_kernel_through_datagrams() -> None:
    with Namespace() as far:
        far.ip("tuntap add dev tun0 mode tun")
        far.ip("addr add 10.7.0.1/24 dev tun0")
        far.ip("link set tun0 mtu 1400 up")
        hub = estab.UdpTunnel(("127.0.0.1", 0))
        bridge = Bridge(estab.Tun("tun0", netns=far.name, offload=False), hub)
        carrying = threading.Thread(target=bridge.run)
        carrying.start()
        try:
            with (estab.Stack(estab.UdpTunnel(("127.0.0.1", 0), hub.address), "10.7.0.2/24") as stack,
                  far.socket() as listener, stack.socket() as client):
                assert echoed(client, listener, "10.7.0.1", BULK[:1_000_000]) == BULK[:1_000_000]
        finally:
            bridge.stop()
            carrying.join(20)
            bridge.close()
        assert bridge.carried_frames > 1000


def test_links_that_do_not_fit_are_refused() -> None:
    with Namespace() as net:
        tunnel = estab.UdpTunnel(("127.0.0.1", 0))
        offloaded = estab.Tun("tun7", netns=net.name)
        tap = estab.Tap("tap7", netns=net.name, offload=False)
        try:
            with pytest.raises(ValueError, match="no descriptor"):
                Bridge(tunnel, estab.QueueDevice())
            with pytest.raises(ValueError, match="offload=False"):
                Bridge(offloaded, tunnel)
            with pytest.raises(ValueError, match="Ethernet"):
                Bridge(tap, tunnel)
        finally:
            for link in (tunnel, offloaded, tap):
                link.close()
