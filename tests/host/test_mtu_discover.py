"""IP_MTU_DISCOVER: whether packets bear DF, what becomes of datagrams that the path does not carry, and IP_MTU."""

from __future__ import annotations

import errno
import socket

import pytest

from estab.abi import (
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_INTERFACE,
    IP_PMTUDISC_OMIT,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
)
from estab.lab.host import Host
from estab.lab.network import Network

IP_MTU_DISCOVER, IP_MTU = 10, 14
DF = 0x40


def pair(**settings: object) -> tuple[Network, Host, Host, list[bytes]]:
    """Two hosts; what ``a`` sends to ``b`` is kept."""
    net = Network(seed=1)
    a, b = net.host("a", **settings), net.host("b")
    link = net.link(a, b, delay="1ms")
    frames: list[bytes] = []

    def keep(sender: str, frame: bytes) -> bool:
        if sender == "a":
            frames.append(frame)
        return False

    link.rule(keep)
    return net, a, b, frames


@pytest.mark.parametrize(("mode", "has_df"), [
    (IP_PMTUDISC_DONT, False), (IP_PMTUDISC_WANT, True), (IP_PMTUDISC_DO, True), (IP_PMTUDISC_PROBE, True),
    (IP_PMTUDISC_INTERFACE, False), (IP_PMTUDISC_OMIT, False),
])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_packets_bear_df_as_the_socket_says(mode: int, has_df: bool, kind: int) -> None:
    net, a, b, frames = pair()

    @a.run
    def send() -> None:
        with socket.socket(socket.AF_INET, kind) as one:
            one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)
            assert one.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == mode
            one.settimeout(1)
            if kind == socket.SOCK_DGRAM:
                one.sendto(b"hello", (b.address, 9))
            else:
                with pytest.raises(ConnectionRefusedError):
                    one.connect((b.address, 9))

    net.run()
    send.result()
    packets = [frame for frame in frames if frame[0] >> 4 == 4 and frame[9] in (6, 17)]
    assert packets
    assert all(bool(packet[6] & DF) == has_df for packet in packets)


def test_a_stack_that_does_not_discover_can_be_overruled_by_a_socket() -> None:
    net, a, b, frames = pair(ip_no_pmtu_disc=True)

    @a.run
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"hello", (b.address, 9))
            one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            one.sendto(b"hello", (b.address, 9))

    net.run()
    send.result()
    assert [bool(frame[6] & DF) for frame in frames if frame[9] == 17] == [False, True]


def test_a_datagram_that_must_not_be_cut_and_does_not_fit_is_refused() -> None:
    net, a, b, frames = pair()

    @a.run
    def send() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect((b.address, 9))
            one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            with pytest.raises(OSError, match="IP_MTU_DISCOVER") as caught:
                one.send(bytes(1473))
            assert caught.value.errno == errno.EMSGSIZE
            assert one.send(bytes(1472)) == 1472
            one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT)
            assert one.send(bytes(2000)) == 2000  # in fragments
            return one.getsockopt(socket.IPPROTO_IP, IP_MTU)

    net.run()
    assert send.result() == 1500
    assert len([frame for frame in frames if frame[9] == 17]) == 3


def test_values_that_linux_does_not_know_are_refused() -> None:
    net = Network(seed=1)
    with net.host("a").socket() as one, pytest.raises(OSError, match="6 is not from 0 to 5"):
        one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 6)
