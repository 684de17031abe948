"""Bulk transfers between the kernel's TCP and ours through bad weather: every byte arrives, whoever sends."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

import estab
from tests.kit.exchanges import Task, digest_of, receive_all, send_all
from tests.kit.namespaces import requires_kernel
from tests.kit.tun import STACK, TunNamespace

pytestmark = requires_kernel

WEATHER: dict[str, dict[str, Any]] = {
    "loss": {"loss": "2%"},
    "reordering": {"reorder": "5%"},
    "duplication": {"duplicate": "5%"},
    "all": {"loss": "1%", "reorder": "2%", "duplicate": "2%", "corrupt": "0.1%", "delay": "2ms", "jitter": "1ms"},
}
FAMILIES = pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])


def exchange(netns: TunNamespace, stack: estab.Stack, version: int, size: int, congestion: str = "") -> None:
    """Both ends send ``size`` random bytes at once; both have to get the other's."""
    family = socket.AF_INET6 if version else socket.AF_INET
    ours, theirs = random.Random(1).randbytes(size), random.Random(2).randbytes(size)
    listener = stack.socket(family)
    listener.bind(("", 9))
    listener.listen()
    with netns.socket(family) as far:
        if congestion:
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        far.connect((STACK[version], 9))
        near, _ = listener.accept()
        near.settimeout(60)
        far.settimeout(60)
        with near:
            tasks = [Task(send_all, near, ours), Task(send_all, far, theirs)]
            at_far, at_near = Task(receive_all, far), Task(receive_all, near)
            assert digest_of(at_near.result()) == digest_of(theirs)
            assert digest_of(at_far.result()) == digest_of(ours)
            for task in tasks:
                task.result()
    listener.close()


@pytest.mark.parametrize("weather", WEATHER)
@FAMILIES
def test_both_directions_arrive_byte_for_byte(netns: TunNamespace, version: int, weather: str) -> None:
    stack = netns.stack(offload=False, weather={**WEATHER[weather], "seed": version + 1})
    exchange(netns, stack, version, 1_500_000)
    link = stack.device
    assert isinstance(link, estab.Faulty)
    for way in (link.outward, link.inward):
        assert way.passed > 100
        if weather == "loss":
            assert way.lost > 0
        if weather == "reordering":
            assert way.held > 0
        if weather == "duplication":
            assert way.doubled > 0


def test_super_segments_that_are_lost_are_sent_again(netns: TunNamespace) -> None:
    stack = netns.stack(offload=True, weather={"loss": "1%", "duplicate": "1%", "reorder": "1%", "seed": 3})
    exchange(netns, stack, 0, 20_000_000)
    counters = stack.counters()
    assert counters["TcpRetransSegs"] > 0


@pytest.mark.parametrize("ours", ["cubic", "reno", "bbr"])
@pytest.mark.parametrize("theirs", ["cubic", "bbr"])
def test_every_congestion_control_of_ours_gets_through_to_each_of_the_kernels(
    netns: TunNamespace, ours: str, theirs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        if theirs not in file.read().split():
            with capsys.disabled():
                print(f"\nthis kernel has no congestion control {theirs}: reno is tried against our {ours} instead")
            theirs = "reno"
    stack = netns.stack(offload=False, weather={"loss": "0.5%", "delay": "3ms", "seed": 4}, tcp_congestion_control=ours)
    exchange(netns, stack, 0, 1_000_000, theirs)
    with stack.socket() as near:
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode() == ours
