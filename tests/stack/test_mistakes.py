"""What somebody new gets wrong with a stack: each mistake is named, with what was given and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import estab
from estab.devices.capture_file import CaptureError
from estab.errors import explain
from estab.serve.plain import Echo
from tests.kit.namespaces import Namespace, requires_kernel

ADDRESS = "10.7.0.2/24"


def stack(device: Any = None, address: Any = ADDRESS, **more: Any) -> estab.Stack:
    return estab.Stack(estab.QueueDevice() if device is None else device, address, **more)


def closed() -> estab.Stack:
    made = stack()
    made.close()
    return made


def two_on_one_device() -> None:
    device = estab.QueueDevice()
    with stack(device):
        stack(device, "10.7.0.3/24")


def on_a_stack(mistake: Callable[[estab.Stack], object]) -> None:
    with stack() as made:
        mistake(made)


@pytest.mark.parametrize(("mistake", "kind", "words"), [
    (lambda: stack("tun0"), TypeError, "device: 'tun0' is a name, not a device; give estab.Tun('tun0')"),
    (lambda: stack(estab.Tun), TypeError, "is not a device; give one that was made"),
    (lambda: estab.Faulty("tun0"), TypeError, "device: 'tun0' is a name"),  # type: ignore[arg-type]
    (two_on_one_device, RuntimeError, "device queue0 is another stack's already"),
    (lambda: stack(closed().device), RuntimeError, "device queue0 is closed; make a new one"),
    (lambda: stack(address=5), TypeError, "address: expected a text like '10.7.0.2/24', or several, not 5"),
    (lambda: stack(address=[]), ValueError, "address: a stack has one at least"),
    (lambda: stack(nameservers="home"), ValueError, "'home' is not an IP address"),
    (lambda: stack(busy_poll_us="50us"), ValueError, "busy_poll_us: '50us' is not a number from 0 to 1000000"),
    (lambda: stack(tcp_retries2=-1), ValueError, "tcp_retries2: -1 is negative"),
    (lambda: on_a_stack(lambda made: made.observe(5)),  # type: ignore[arg-type]
     TypeError, "observer: 5 is not a function"),
    (lambda: on_a_stack(lambda made: made.serve(5, 7)),  # type: ignore[arg-type]
     TypeError, "service: 5 is no estab.serve.services.Service"),
    (lambda: closed().serve(Echo(), 7), RuntimeError, "stack estab is closed"),
    (lambda: closed().socket(), RuntimeError, "stack estab is closed"),
    (lambda: estab.QueueDevice(mtu=-1), ValueError, "mtu: -1 is not a number of bytes from 68 up"),
    (lambda: estab.QueueDevice(mac="02:00:00:00:00:01"), TypeError,  # type: ignore[arg-type]
     "mac: expected six bytes like"),
    (lambda: estab.QueueDevice(mac=b"12345"), ValueError, "has 5 bytes, not six"),
    (lambda: estab.QueueDevice(on_packet=5), TypeError, "on_packet: 5 is not a function"),  # type: ignore[arg-type]
    (lambda: estab.QueueDevice().deliver("x"), TypeError, "packet: expected bytes, not str"),  # type: ignore[arg-type]
    (lambda: estab.UdpTunnel("home"), TypeError, "local: expected (\"host\", port)"),  # type: ignore[arg-type]
    (lambda: estab.PcapDevice(__file__), CaptureError, "test_mistakes.py: neither pcap nor pcapng"),
    (lambda: estab.run_queues(print, estab.QueueDevice, ADDRESS, queues="4"),  # type: ignore[arg-type]
     ValueError, "queues: '4' is not a number from 1 to 64"),
    (lambda: estab.run_queues(print, estab.QueueDevice(), ADDRESS, queues=2),  # type: ignore[arg-type]
     TypeError, "open_device: <QueueDevice queue0 mtu 1500> is not a function"),
    (lambda: estab.Tun("a/b"), ValueError, "'a/b' can't be an interface's name"),
    (lambda: estab.Tun("tun%d"), ValueError, "'tun%d' can't be an interface's name"),
    (lambda: estab.Tun("tun0", mtu=10), ValueError, "mtu: 10 is not a number of bytes from 68"),
    (lambda: estab.Tun("tun0", peer="10.7.0.1"), ValueError, "peer: '10.7.0.1' says no size of its network"),
    (lambda: estab.Tun("tun0", peer="home/24"), ValueError, "peer: 'home/24' does not appear to be"),
])
def test_a_mistake_is_named_at_once(mistake: Callable[[], object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        mistake()
    assert words in explain(caught.value)


class TestOnTheKernel:
    """With devices of the kernel's."""

    pytestmark = requires_kernel

    def test_a_stack_that_could_not_be_made_leaves_no_device_behind(self, bare: Namespace) -> None:
        for address, peer in (("10.7.0.256/24", ()), ("224.0.0.1/24", ()), (ADDRESS, ADDRESS)):
            with pytest.raises(ValueError, match=r"address"):
                estab.Stack(estab.Tun("tun7", netns=bare.name, peer=peer), address)
            assert "tun7" not in bare.ip("link")

    def test_a_device_of_another_kind_is_named(self, bare: Namespace) -> None:
        bare.ip("tuntap add tun7 mode tap")
        with pytest.raises(OSError, match="tun7 exists and is something else than a device of mode tun"):
            estab.Tun("tun7", netns=bare.name)

    def test_a_namespace_that_is_not_there_is_named(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"there is no network namespace .*/nowhere"):
            estab.Tun("tun7", netns="nowhere")

    def test_a_device_that_is_open_already_is_named(self, bare: Namespace) -> None:
        first = estab.Tun("tun7", netns=bare.name)
        with pytest.raises(OSError, match="tun7 is open already"):
            estab.Tun("tun7", netns=bare.name)
        first.close()
