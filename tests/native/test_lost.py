"""What is lost between a kernel and the lab is told: a counter, a fact, and a warning with the host's name."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

import pytest

import estab
from estab.events import Event, FramesLost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

WAIT = "60s"
SENT = 30_000


def flood(address: str, count: int) -> None:
    """Send datagrams as fast as can be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"x" * 1000, (address, 9))


@pytest.fixture(params=[True, False], ids=["TUN", "veth"])
def flooded(request: pytest.FixtureRequest) -> Iterator[tuple[estab.Network, estab.Host, list[Event]]]:
    """Let a host send a great many datagrams while the network, and with it the lab's side, stands still."""
    with estab.Network(clock="real", late_max="60s") as net:
        if not request.param:
            net.avoid_tun()
        sender, other = net.host("sender"), net.host("other")
        net.link(sender, other)
        facts: list[Event] = []
        net.observe(facts.append)
        sender.spawn(["true"], quiet=True).wait(WAIT)
        sender.spawn_python(flood, other.address, SENT, quiet=True)
        deadline = time.monotonic() + 60
        while sender.counters()["UdpOutDatagrams"] < SENT:
            assert time.monotonic() < deadline
        yield net, sender, facts


def test_frames_that_a_device_dropped_before_the_lab_had_them_are_told(
        flooded: tuple[estab.Network, estab.Host, list[Event]]) -> None:
    net, sender, facts = flooded
    lost = sender.counters()["FramesLost"]
    assert 0 < lost < SENT
    said = (rf"frames were lost before the lab had them, on no link of it: {lost:,} frames of host sender on eth0: "
            "(its TUN queue|the packet socket) was full; the network ran too seldom")
    with pytest.warns(estab.LostFramesWarning, match=said):
        net.run(until=net.now + 0.01)
    told = [fact for fact in facts if isinstance(fact, FramesLost)]
    assert sum(fact.frames for fact in told) == lost
    assert {(fact.host, fact.interface) for fact in told} == {("sender", "eth0")}
    net.run(until=net.now + 0.01)  # it is said once


def test_a_recording_says_what_was_lost_before_the_lab_had_it() -> None:
    with estab.Network(clock="real", late_max="60s") as net:
        net.avoid_tun()
        sender, other = net.host("sender"), net.host("other")
        net.link(sender, other)
        sender.spawn(["true"], quiet=True).wait(WAIT)
        with net.record() as seen:
            sender.spawn_python(flood, other.address, SENT, quiet=True)
            deadline = time.monotonic() + 60
            while sender.counters()["UdpOutDatagrams"] < SENT:
                assert time.monotonic() < deadline
            with pytest.warns(estab.LostFramesWarning):
                net.run(until=net.now + 0.01)
            assert "frames of eth0 lost: packet socket full" in seen.ladder()
            assert "frames of eth0 lost: the packet socket was full" in seen.story()


def test_a_network_that_takes_all_frames_says_nothing() -> None:
    with estab.Network(clock="real", late_max="60s") as net:
        sender, other = net.host("sender"), net.host("other")
        net.link(sender, other)
        sender.spawn_python(flood, other.address, 20, quiet=True).result(WAIT)
        net.run(until=net.now + 0.05)
        assert sender.counters()["FramesLost"] == 0
