"""Path MTU over a router with a narrow link behind it: told by ICMP, and found out where nobody tells."""

from __future__ import annotations

import socket
import time

import pytest

from estab.lab.host import Host
from estab.lab.network import Network

BYTES = 1_000_000


def narrow(mtu: int, is_told: bool, **settings: object) -> tuple[Network, Host, Host]:
    """Two hosts and a router whose far link carries ``mtu`` bytes. Unless ``is_told`` it is silent about that.

    The far host does not know of it either: what it says of its own segments is what an Ethernet carries.
    """
    net = Network(seed=3)
    router = net.host("router", forwarding=True)
    sender, receiver = net.host("sender", **settings), net.host("receiver")
    net.link(sender, router, delay="5ms", rate="20Mbit")
    far = net.link(router, receiver, delay="20ms", rate="20Mbit", mtu=(mtu, 1500) if is_told else 1500)
    if not is_told:
        far.rule(lambda _sender, frame: len(frame) > mtu)  # a hole: what is too big just vanishes
    return net, sender, receiver


def transfer(net: Network, sender: Host, receiver: Host, address: str, size: int = BYTES) -> tuple[int, float, int]:
    """Send; gives what arrived, how long it took, and the largest text of a segment at the end."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    got = 0

    @receiver.run
    def serve() -> None:
        nonlocal got
        with socket.create_server(("", 80), family=family) as listener:
            connection, _ = listener.accept()
            with connection:
                while text := connection.recv(65536):
                    got += len(text)

    @sender.run
    def send() -> tuple[float, int]:
        start = time.monotonic()
        with socket.socket(family) as connection:
            connection.settimeout(120)
            connection.connect((address, 80))
            connection.sendall(bytes(size))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            return time.monotonic() - start, connection.info().snd_mss_bytes  # type: ignore[attr-defined]

    net.run()
    took, mss = send.result()
    return got, took, mss


def v6(node: Host) -> str:
    return next(address for address in node.addresses if ":" in address and not address.startswith("fe80"))


@pytest.mark.parametrize("version", [4, 6])
def test_a_router_that_tells_is_believed_at_once(version: int) -> None:
    net, sender, receiver = narrow(1300, True)
    address = receiver.address if version == 4 else v6(receiver)
    got, took, mss = transfer(net, sender, receiver, address)
    assert got == BYTES
    assert mss == 1300 - (40 if version == 4 else 60) - 12
    assert took < 2
    counters = sender.engine.counters()
    assert counters.get("TcpExtTCPTimeouts", 0) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_black_hole_ends_a_connection_that_does_not_probe(version: int) -> None:
    net, sender, receiver = narrow(1300, False, tcp_retries2=6)
    address = receiver.address if version == 4 else v6(receiver)
    with pytest.raises(OSError, match="timed out"):
        transfer(net, sender, receiver, address)


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_that_probes_survives_a_black_hole_and_finds_what_gets_through(version: int) -> None:
    net, sender, receiver = narrow(1300, False, tcp_mtu_probing=1)
    address = receiver.address if version == 4 else v6(receiver)
    got, took, mss = transfer(net, sender, receiver, address, 4 * BYTES)
    assert got == 4 * BYTES
    largest = 1300 - (40 if version == 4 else 60) - 12
    assert largest - 8 <= mss <= largest  # as close as tcp_probe_threshold
    assert took < 30
    counters = sender.engine.counters()
    assert counters["TcpExtTCPMTUPSuccess"] >= 1
    assert counters["TcpExtTCPMTUPFail"] >= 1


def test_a_narrow_hole_below_tcp_base_mss_is_found_by_halves() -> None:
    net, sender, receiver = narrow(600, False, tcp_mtu_probing=1)
    got, _, mss = transfer(net, sender, receiver, receiver.address, BYTES // 4)
    assert got == BYTES // 4
    assert 512 - 12 <= mss <= 600 - 52


def test_with_2_every_connection_begins_small_and_grows() -> None:
    net, sender, receiver = narrow(1500, False, tcp_mtu_probing=2)
    got, took, mss = transfer(net, sender, receiver, receiver.address, 4 * BYTES)
    assert got == 4 * BYTES
    assert 1448 - 8 <= mss <= 1448
    assert sender.engine.counters()["TcpExtTCPMTUPSuccess"] >= 3
    assert sender.engine.counters().get("TcpExtTCPMTUPFail", 0) == 0
    assert took < 4
