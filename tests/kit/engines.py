"""Hosts on wires with a virtual clock: what every test of ``host`` stands on.

A wire joins interfaces: what one sends reaches all others after ``delay_ns``. A test may lose, hold or forge frames:
``Wire.filter`` sees each and says whether it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from estab.errors import DropReason
from estab.events import Event
from estab.host.engine import Engine
from estab.host.ip.interface import Interface, Outbound
from estab.tcp.config import Config
from estab.units import MS, NEVER, SECOND
from estab.wire import arp, ethernet, icmp, ip
from tests.kit.agenda import Flight

__all__ = ["MS", "SECOND", "Net", "Wire", "arps", "drops", "mac", "packets", "pair"]


@dataclass(eq=False)
class Wire:
    """A link. ``passed`` keeps every frame that went onto it: when, from whom, and the bytes."""

    delay_ns: int = MS
    filter: Callable[[bytes], bool] = lambda _data: True
    ends: list[tuple[Engine, Interface]] = field(default_factory=list)
    passed: list[tuple[int, str, bytes]] = field(default_factory=list)


class Net:
    """A clock, hosts, wires, and the frames under way."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND
        self.hosts: list[Engine] = []
        self.events: list[Event] = []
        self.woken: dict[tuple[str, int], int] = {}
        self._wires: dict[tuple[str, int], Wire] = {}
        self._flying: Flight[tuple[Engine, int, Outbound]] = Flight()

    def host(self, name: str, config: Config | None = None, is_observed: bool = False) -> Engine:
        observer = self.events.append if is_observed else None
        made = Engine(name, b"secret of " + name.encode() + bytes(16), config, observer)
        self.hosts.append(made)
        return made

    def join(self, wire: Wire, host: Engine, *addresses: str, mtu: int = 1500, is_ethernet: bool = True,
             segment_bytes_max: int = 0, has_checksum_offload: bool = False) -> Interface:
        """Put a host on a wire by a new interface with those addresses."""
        number = len(self._wires) + 1
        interface = host.add_interface(
            f"eth{len(host.interfaces) - 1}", mtu=mtu, mac=mac(number) if is_ethernet else b"",
            segment_bytes_max=segment_bytes_max, has_checksum_offload=has_checksum_offload,
        )
        for address in addresses:
            host.add_address(interface, address)
        wire.ends.append((host, interface))
        self._wires[host.name, interface.index] = wire
        return interface

    def flush(self) -> None:
        """Drain every host, until nothing leaves any more."""
        for host in self.hosts:
            while (outbound := host.poll_frame(self.now_ns)) is not None:
                self._carry(host, outbound)
            while (event := host.poll_event()) is not None:
                fd, bits = event
                self.woken[host.name, fd] = bits

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        end_ns = self.now_ns + duration_ns
        self.flush()
        for _ in range(1_000_000):
            due_ns = min([host.next_deadline_ns() for host in self.hosts], default=NEVER)
            due_ns = min(due_ns, self._flying.next_due_ns())
            if due_ns > end_ns:
                self.now_ns = end_ns
                return
            self.now_ns = max(self.now_ns, due_ns)
            while self._flying.next_due_ns() <= self.now_ns:
                host, index, outbound = self._flying.pop()
                host.on_frame(index, outbound.data, self.now_ns, outbound.is_partial_checksum,
                              segment_bytes=outbound.segment_bytes)
            for host in self.hosts:
                if host.next_deadline_ns() <= self.now_ns:
                    host.on_deadline(self.now_ns)
            self.flush()
        raise AssertionError("the hosts never come to rest")

    def _carry(self, host: Engine, outbound: Outbound) -> None:
        wire = self._wires[host.name, outbound.interface_index]
        wire.passed.append((self.now_ns, host.name, outbound.data))
        if not wire.filter(outbound.data):
            return
        for other, interface in wire.ends:
            if other is not host or interface.index != outbound.interface_index:
                self._flying.push(self.now_ns + wire.delay_ns, (other, interface.index, outbound))


def mac(number: int) -> bytes:
    """A locally administered MAC address."""
    return b"\x02\0\0\0\0" + bytes([number])


def pair(is_ethernet: bool = True, is_observed: bool = False, config: Config | None = None,
         mtu: int = 1500) -> tuple[Net, Engine, Engine, Wire]:
    """Two hosts on a wire: ``a`` is 10.0.0.1 and fd00::1, ``b`` 10.0.0.2 and fd00::2."""
    net = Net()
    wire = Wire()
    a, b = net.host("a", config, is_observed), net.host("b", config, is_observed)
    net.join(wire, a, "10.0.0.1/24", "fd00::1/64", is_ethernet=is_ethernet, mtu=mtu)
    net.join(wire, b, "10.0.0.2/24", "fd00::2/64", is_ethernet=is_ethernet, mtu=mtu)
    return net, a, b, wire


def drops(host: Engine, reason: DropReason) -> int:
    """How many packets a host dropped for a reason."""
    return host.counters().get(f"drop:{reason.name}", 0)


def packets(frames: Iterable[tuple[int, str, bytes]], sender: str | None = None) -> list[ip.Packet]:
    """The IP packets among frames."""
    result = []
    for _, name, data in frames:
        start = ethernet.HEADER_BYTES if data[0] >> 4 not in (4, 6) or data[12:14] in (b"\x08\0", b"\x86\xdd") else 0
        if data[12:14] == b"\x08\x06" and start:
            continue
        if sender is None or name == sender:
            result.append(ip.parse(data, start))
    return result


def arps(frames: Iterable[tuple[int, str, bytes]], operation: int) -> list[arp.Arp]:
    """The ARP messages of one operation among frames."""
    found = [arp.parse(data, 14) for _, _, data in frames if data[12:14] == b"\x08\x06"]
    return [message for message in found if message.operation == operation]


def errors(frames: Iterable[tuple[int, str, bytes]], problem: int) -> list[icmp.Error]:
    """The ICMP errors that report a problem among frames."""
    result = []
    for packet in packets(frames):
        if packet.protocol in (ip.ICMP, ip.ICMPV6) and icmp.is_error(packet):
            message = icmp.parse(packet)
            if isinstance(message, icmp.Error) and message.problem == problem:
                result.append(message)
    return result
