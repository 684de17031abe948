"""A stack on a TUN device, and the kernel's own TCP on the other side."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

import estab
from tests.wire_kernel.exchanges import BULK, echo_all, exchange, kernel_socket
from tests.wire_kernel.namespaces import Namespace, namespace, requires_kernel

pytestmark = requires_kernel

@pytest.fixture(name="net")
def make_net() -> Iterator[Namespace]:
    """A namespace with a persistent TUN device in it, which has the kernel's address."""
    with namespace("tun") as made:
        made.ip("tuntap add dev tun0 mode tun")
        made.ip("addr add 10.7.0.1/24 dev tun0")
        made.ip("addr add fd00:7::1/64 dev tun0 nodad")
        made.ip("link set tun0 up")
        yield made


@pytest.fixture(name="stack", params=[True, False], ids=["offload", "plain"])
def make_stack(net: Namespace, request: pytest.FixtureRequest) -> Iterator[estab.Stack]:
    """A stack on that device."""
    with estab.Stack(estab.Tun("tun0", netns=net.name, offload=request.param),
                     ["10.7.0.2/24", "fd00:7::2/64"]) as stack:
        yield stack


@pytest.mark.parametrize(("family", "here"), [(socket.AF_INET, "10.7.0.2"), (socket.AF_INET6, "fd00:7::2")])
def test_the_kernel_connects_and_has_ten_megabytes_back_byte_for_byte(
    net: Namespace, stack: estab.Stack, family: int, here: str,
) -> None:
    listener = stack.socket(family)
    listener.bind(("", 7))
    listener.listen()
    server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
    server.start()
    with kernel_socket(net, family) as client:
        client.connect((here, 7))
        back = exchange(client, BULK)
    server.join(20)
    listener.close()
    assert hashlib.sha256(back).digest() == hashlib.sha256(BULK).digest()


@pytest.mark.parametrize(("family", "there"), [(socket.AF_INET, "10.7.0.1"), (socket.AF_INET6, "fd00:7::1")])
def test_a_socket_of_the_stack_connects_to_the_kernel_and_has_ten_megabytes_back(
    net: Namespace, stack: estab.Stack, family: int, there: str,
) -> None:
    with kernel_socket(net, family) as listener:
        listener.bind(("", 7))
        listener.listen()
        server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
        server.start()
        with stack.socket(family) as client:
            client.settimeout(20)
            client.connect((there, 7))
            back = exchange(client, BULK)
        server.join(20)
    assert hashlib.sha256(back).digest() == hashlib.sha256(BULK).digest()


def test_with_offload_segments_cross_that_are_larger_than_the_mtu(net: Namespace) -> None:
    with estab.Stack(estab.Tun("tun0", netns=net.name), "10.7.0.2/24") as stack, kernel_socket(net) as client:
        with stack.socket() as listener:
            listener.bind(("", 7))
            listener.listen()
            server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
            server.start()
            client.connect(("10.7.0.2", 7))
            exchange(client, BULK)
            server.join(20)
        interface = stack.host.interfaces[1]
        assert interface.rx_bytes / interface.rx_frames > 4000
        assert interface.tx_bytes / interface.tx_frames > 4000
