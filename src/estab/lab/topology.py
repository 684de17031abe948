"""Addresses, routes and names of a virtual network.

- Link number N, from 0, is the networks ``10.<N / 256>.<N % 256>.0/24`` and ``fd00:0:0:N::/64``; the host named first
  has the address that ends in 1, the other the one that ends in 2.
- Every host has a static route to every network, along a shortest way over hosts that forward. Among equally short ways
  the one over the link that was made first is taken.
- A name stands for all addresses of its host: IPv4 before IPv6, and those first that are nearest to who asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from estab.abi import AF_INET, AF_INET6, AF_UNSPEC
from estab.wire.address import format_address, network_of

if TYPE_CHECKING:
    from estab.host.engine import Engine
    from estab.host.ip.interface import Interface
    from estab.lab.links.way import Way

__all__ = ["LINKS_MAX", "Member", "Port", "Topology", "plug"]

LINKS_MAX = 65_536
_V6_MTU_MIN = 1280


class Member(Protocol):
    """A host, as the topology knows it. Its engine is another one after it was without power."""

    engine: Engine

    @property
    def name(self) -> str:
        """The host's name."""


@dataclass(frozen=True, slots=True)
class Port:
    """Where a link ends: an interface of a host, with an address in each of the link's networks."""

    member: Member
    interface: str
    index: int
    link: int
    """The link's number, from 0."""
    v4: bytes
    v6: bytes


@dataclass(frozen=True, slots=True)
class _Hop:
    """The first step of the way to a network: out by ``port``, to its other end."""

    port: Port
    gateway: Port


def plug(host: Engine, name: str, mtu: int, mac: bytes, v4: bytes, v6: bytes) -> Interface:
    """Give a host an interface with its two addresses; IPv6 only where the MTU allows it."""
    interface = host.add_interface(name, mtu=mtu, mac=mac)
    host.add_address(interface, f"{format_address(v4)}/24")
    if mtu >= _V6_MTU_MIN:
        host.add_address(interface, f"{format_address(v6)}/64")
    return interface


class Topology:
    """Hosts by name, links by number, and what follows from them."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.ways: list[tuple[Way, Way]] = []
        """Of each link: from its first host, and from its second."""
        self.ports: list[tuple[Port, Port]] = []
        self._ports_of: dict[str, list[Port]] = {}
        self._routes: dict[tuple[str, int], _Hop] = {}
        self._is_stale = False

    def addresses_for(self, side: int) -> tuple[bytes, bytes]:
        """Give the two addresses of one end (0 or 1) of the next link."""
        number = len(self.ports)
        v4 = bytes((10, number >> 8, number & 0xFF, side + 1))
        v6 = b"\xfd" + bytes(5) + number.to_bytes(2, "big") + bytes(7) + bytes((side + 1,))
        return v4, v6

    def add(self, ways: tuple[Way, Way], first: Port, second: Port) -> None:
        """Take up a link."""
        self.ways.append(ways)
        self.ports.append((first, second))
        self._ports_of.setdefault(first.member.name, []).append(first)
        self._ports_of.setdefault(second.member.name, []).append(second)
        self._is_stale = True

    def ports_of(self, member: Member) -> list[Port]:
        """Give a host's ends of links, in the order in which they were made."""
        return self._ports_of.get(member.name, [])

    def addresses_of(self, member: Member, asker: Member | None = None) -> list[bytes]:
        """Give a host's addresses, IPv4 first, and of each version those first that are nearest to ``asker``."""
        ports = self.ports_of(member)
        if asker is not None and asker is not member and len(ports) > 1:
            near = [port.link for port in self.ports_of(asker)] + list(self._ways_from(asker))
            ports = sorted(ports, key=lambda port: near.index(port.link) if port.link in near else len(near))
        return [port.v4 for port in ports] + [port.v6 for port in ports]

    def resolve(self, name: str, family: int, asker: Member) -> list[bytes]:
        """Look a name up for a program on ``asker``."""
        wanted = name.rstrip(".").lower()
        if wanted in ("localhost", "ip6-localhost"):
            found = [b"\x7f\0\0\x01", bytes(15) + b"\x01"]
        else:
            member = next((member for name, member in self.members.items() if name.lower() == wanted), None)
            found = [] if member is None else self.addresses_of(member, asker)
            if member is asker and not found:
                found = [b"\x7f\0\0\x01"]
        size = {AF_INET: (4,), AF_INET6: (16,), AF_UNSPEC: (4, 16)}[family]
        return [address for address in found if len(address) in size]

    def reverse(self, address: bytes) -> list[str]:
        """Find the name of an address."""
        if address in (b"\x7f\0\0\x01", bytes(15) + b"\x01"):
            return ["localhost"]
        return [port.member.name for pair in self.ports for port in pair if address in (port.v4, port.v6)]

    def set_heard(self, member: Member, is_heard: bool) -> None:
        """Say whether a host takes what arrives: not without power."""
        for port in self.ports_of(member):
            there, back = self.ways[port.link]
            (back if self.ports[port.link][0] is port else there).is_heard = is_heard

    def plug_again(self, member: Member, before: Engine) -> None:
        """Give a host that starts anew the interfaces, addresses and routes that it had."""
        for port in self.ports_of(member):
            interface = before.interfaces[port.index]
            plug(member.engine, port.interface, interface.mtu, interface.mac, port.v4, port.v6)
        for number in range(len(self.ports)):
            self._routes.pop((member.name, number), None)
        self._is_stale = True
        self.route()

    def route(self) -> None:
        """Bring every host's routes up to date, if links were added since."""
        if not self._is_stale:
            return
        self._is_stale = False
        for member in self.members.values():
            ways = self._ways_from(member)
            for number in range(len(self.ports)):
                self._set_route(member, number, ways.get(number))

    def _set_route(self, member: Member, number: int, hop: _Hop | None) -> None:
        before = self._routes.get((member.name, number))
        if before == hop:
            return
        for address, bits in ((self.ports[number][0].v4, 24), (self.ports[number][0].v6, 64)):
            network = f"{format_address(network_of(address, bits))}/{bits}"
            if before is not None:
                member.engine.remove_route(network, member.engine.interfaces[before.port.index])
            if hop is not None:
                gateway = hop.gateway.v4 if bits == 24 else hop.gateway.v6
                member.engine.add_route(network, member.engine.interfaces[hop.port.index], format_address(gateway))
        if hop is None:
            del self._routes[member.name, number]
        else:
            self._routes[member.name, number] = hop

    def _ways_from(self, member: Member) -> dict[int, _Hop]:
        """Find the first hop to every network that is not on a link of the host itself, the nearest first."""
        own = {port.link for port in self.ports_of(member)}
        ways: dict[int, _Hop] = {}
        seen = {member.name}
        queue: deque[tuple[Member, _Hop | None]] = deque([(member, None)])
        while queue:
            at, hop = queue.popleft()
            for port in self.ports_of(at):
                if hop is not None and port.link not in own and port.link not in ways:
                    ways[port.link] = hop
                first, second = self.ports[port.link]
                other = second if port is first else first
                if other.member.name in seen:
                    continue
                seen.add(other.member.name)
                if other.member.engine.is_forwarding or other.member is member:
                    queue.append((other.member, hop or _Hop(port, other)))
        return ways
