"""ECN with the kernel's TCP at the other end: classic and accurate, asked for by either, with marks on the way."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import estab
from estab.devices.device import Device
from estab.devices.namespace import call_in
from estab.lab.links.aqm import marked
from estab.sockets.socket.tcp_info import unpack_tcp_info
from tests.kit.exchanges import Task, digest_of
from tests.kit.namespaces import requires_kernel
from tests.kit.tun import KERNEL, STACK, TunNamespace

pytestmark = requires_kernel

FAMILIES = pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])


class Marking(Device):
    """A link that marks every fortieth ECN-capable packet in each direction."""

    def __init__(self, link: estab.Tun) -> None:
        self.link = link
        self.name, self.mtu = link.name, link.mtu
        self.marks = {"out": 0, "in": 0}
        self._seen = {"out": 0, "in": 0}

    def prepare(self, prefixes: Sequence[str]) -> None:
        self.link.prepare(prefixes)

    def open(self, wake: Callable[[], None]) -> None:
        self.link.open(wake)

    def fileno(self) -> int:
        return self.link.fileno()

    def receive(self) -> bytes | None:
        frame = self.link.receive()
        return None if frame is None else self._mark(frame, "in")

    def send(self, frame: bytes) -> bool:
        return self.link.send(self._mark(frame, "out"))

    def close(self) -> None:
        self.link.close()

    def _mark(self, frame: bytes, way: str) -> bytes:
        changed = marked(frame, 0)
        if changed is None:
            return frame
        self._seen[way] += 1
        if self._seen[way] % 40:
            return frame
        self.marks[way] += 1
        return changed


def set_kernels(netns: TunNamespace, value: int) -> int:
    """Set ``tcp_ecn`` of the namespace. Returns it, or 1 where this kernel does not know AccECN yet."""

    def write(number: int) -> None:
        with open("/proc/sys/net/ipv4/tcp_ecn", "w") as file:
            file.write(str(number))

    try:
        call_in(netns.name, lambda: write(value))
    except OSError:
        assert value > 2
        call_in(netns.name, lambda: write(1))
        return 1
    return value


def info(end: socket.socket) -> dict[str, int]:
    return unpack_tcp_info(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1024))


def receive(end: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        parts += end.recv(1 << 18)
    return bytes(parts)


def meet(netns: TunNamespace, stack: estab.Stack, version: int, ours_connects: bool) -> tuple[Any, socket.socket]:
    """Give our end and the kernel's of a new connection."""
    family = socket.AF_INET6 if version else socket.AF_INET
    if ours_connects:
        with netns.listener(KERNEL[version]) as listener:
            near = stack.socket(family)
            near.settimeout(30)
            near.connect(listener.getsockname()[:2])
            far, _ = listener.accept()
    else:
        listener = stack.socket(family)
        listener.bind(("", 9))
        listener.listen()
        far = netns.socket(family)
        far.connect((STACK[version], 9))
        near, _ = listener.accept()
        listener.close()
    near.settimeout(60)
    far.settimeout(60)
    return near, far


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (3, 1), (3, 3), (1, 3)])
@pytest.mark.parametrize("ours_connects", [True, False], ids=["we connect", "it connects"])
@FAMILIES
def test_both_ends_agree_and_marks_come_back(
    netns: TunNamespace, version: int, ours_connects: bool, ours: int, theirs: int,
) -> None:
    accurate = set_kernels(netns, theirs) == 3 and ours == 3
    link = Marking(estab.Tun("tun0", netns=netns.name, offload=False))
    stack = netns.enter(estab.Stack(link, [f"{STACK[0]}/24", f"{STACK[1]}/64"], tcp_ecn=ours))
    stack.run_in_thread()
    near, far = meet(netns, stack, version, ours_connects)
    with near, far:
        size = 1_500_000
        mine, its = random.Random(1).randbytes(size), random.Random(2).randbytes(size)
        tasks = [Task(near.sendall, mine), Task(far.sendall, its)]
        at_far, at_near = Task(receive, far, size), Task(receive, near, size)
        assert digest_of(at_near.result()) == digest_of(its)
        assert digest_of(at_far.result()) == digest_of(mine)
        for task in tasks:
            task.result()
        our_info, its_info = info(near), info(far)
    assert our_info["options"] & 8
    assert its_info["options"] & 8
    assert link.marks["out"] > 3
    assert link.marks["in"] > 3
    assert our_info["delivered_ce"] > 3
    assert its_info["delivered_ce"] > 3
    assert near_is_accurate(our_info) is accurate
    if accurate:
        assert our_info["accecn_fail_mode"] == 0
        assert our_info["received_ce"] == link.marks["in"]
        assert abs(our_info["delivered_ce"] - link.marks["out"]) <= 1  # the last acknowledgment may say more


def near_is_accurate(fields: dict[str, int]) -> bool:
    return fields["received_ce"] > 0 or fields["received_e0_bytes"] > 0


@FAMILIES
def test_a_kernel_that_does_not_want_ecn_gets_none(netns: TunNamespace, version: int) -> None:
    set_kernels(netns, 0)
    stack = netns.stack(offload=False, tcp_ecn=3)
    near, far = meet(netns, stack, version, True)
    with near, far:
        near.sendall(b"hello")
        assert far.recv(10) == b"hello"
        assert not info(near)["options"] & 8
        assert not info(far)["options"] & 8


def test_a_syn_cookie_of_ours_keeps_ecn(netns: TunNamespace) -> None:
    set_kernels(netns, 1)
    stack = netns.stack(offload=False, tcp_syncookies="always")
    near, far = meet(netns, stack, 0, False)
    with near, far:
        far.sendall(b"hello")
        assert near.recv(10) == b"hello"
        assert info(near)["options"] & 8
        assert info(far)["options"] & 8
