"""A stack on an existing interface by AF_PACKET, over a veth pair to the kernel in another namespace."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import estab
from tests.kit.exchanges import BULK, echoed
from tests.kit.namespaces import Namespace, requires_kernel

pytestmark = requires_kernel


@pytest.fixture(name="nets")
def make_nets() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a cable between them; only the first's kernel has an address."""
    with Namespace() as kernels, Namespace() as ours:
        kernels.ip(f"link add v0 type veth peer name v1 netns {ours.name}")
        kernels.ip("addr add 10.8.0.1/24 dev v0")
        kernels.ip("link set v0 up")
        ours.ip("link set v1 up")
        yield kernels, ours


@pytest.mark.parametrize("mac", [b"", b"\x02\0\0\0\0\x42"], ids=["its mac", "own mac"])
def test_with_offload_bytes_pass_both_ways_between_packet_socket_and_kernel(
    nets: tuple[Namespace, Namespace], mac: bytes,
) -> None:
    kernels, ours = nets
    with estab.Stack(estab.AfPacket("v1", netns=ours.name, mac=mac), "10.8.0.2/24") as stack:
        assert isinstance(stack.device, estab.AfPacket)
        assert stack.device.has_checksum_offload
        with stack.socket() as listener, kernels.socket() as client:
            assert echoed(client, listener, "10.8.0.2", BULK) == BULK
        interface = stack.engine.interfaces[1]
        assert interface.rx_bytes / interface.rx_frames > 3000
        assert interface.tx_bytes / interface.tx_frames > 3000


def test_without_offload_on_either_side_bytes_pass_too(nets: tuple[Namespace, Namespace]) -> None:
    kernels, ours = nets
    for net, name in ((kernels, "v0"), (ours, "v1")):
        net.run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
    with (estab.Stack(estab.AfPacket("v1", netns=ours.name, offload=False), "10.8.0.2/24") as stack,
          stack.socket() as client, kernels.socket() as listener):
        assert echoed(client, listener, "10.8.0.1", BULK[:1_000_000]) == BULK[:1_000_000]


def test_an_address_that_the_kernel_has_too_is_told_of(nets: tuple[Namespace, Namespace]) -> None:
    kernels, _ = nets
    link = estab.AfPacket("v0", netns=kernels.name)
    assert "ip addr del 10.8.0.1" in link.conflict("10.8.0.1")
    assert link.conflict("10.8.0.9") == ""
    with pytest.raises(ValueError, match=r"the kernel has 10\.8\.0\.1 too"):
        estab.Stack(link, "10.8.0.1/24")
    link.close()


def test_no_such_interface_says_so() -> None:
    with pytest.raises(OSError, match="no such device: nowhere0"):
        estab.AfPacket("nowhere0")


def test_the_kernel_stays_silent_about_the_stacks_connections(nets: tuple[Namespace, Namespace]) -> None:
    kernels, ours = nets
    with estab.Stack(estab.AfPacket("v1", netns=ours.name), "10.8.0.2/24") as stack:
        stack.run_in_thread()
        with kernels.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("10.8.0.2", 9))  # the stack's own reset, once
    with kernels.socket(socket.AF_INET) as client:
        client.settimeout(0.3)
        with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
            client.connect(("10.8.0.2", 9))


def test_what_the_interface_s_queue_refuses_is_sent_again_and_nothing_is_missed(
    nets: tuple[Namespace, Namespace],
) -> None:
    kernels, ours = nets
    for net, name in ((kernels, "v0"), (ours, "v1")):
        net.run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
    ours.run("tc", "qdisc", "add", "dev", "v1", "root", "tbf", "rate", "80mbit", "burst", "4k", "limit", "12k")
    with (estab.Stack(estab.AfPacket("v1", netns=ours.name, offload=False), "10.8.0.2/24") as stack,
          stack.socket() as client, kernels.socket() as listener):
        assert echoed(client, listener, "10.8.0.1", BULK[:400_000]) == BULK[:400_000]
        counters = stack.counters()
    assert counters["drop:QDISC_DROP"] >= 1
    assert counters.get("TcpExtTCPTimeouts", 0) <= 1
