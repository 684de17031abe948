"""Addresses, routes and names of a virtual network.

- Link number N, from 0, is the networks ``10.<N / 256>.<N % 256>.0/24`` and ``fd00:0:0:N::/64``; the host named first
  has the address that ends in 1, the other the one that ends in 2.
- Every host has a route to every network, along a shortest way over hosts that forward. Among equally short ways the
  one over the link that was made first is taken.
- A route is found when a packet first needs it. A host with one link uses its neighbour's route; any other host
  searches the network once, and keeps the result until a link is added. So memory and time depend on what is used, not
  on the number of pairs of hosts.
- A switch is a link with many ends, up to 254. On its network every host reaches every other without a gateway.
- An address that was added to a host later is found where it was added: on a link's network, by whoever answers for it
  there, or on the host itself (``hold``).
- A name stands for all addresses of its host: IPv4 before IPv6, and those first that are nearest to the asking host.
- Compiled with the core.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final, Protocol

from mypy_extensions import mypyc_attr

from estab.abi import AF_INET, AF_INET6, AF_UNSPEC
from estab.host.engine import Engine
from estab.host.ip.interface import Interface
from estab.host.ip.routes import Route, RouteSource
from estab.lab.links.way import Way
from estab.wire.address import network_of

__all__ = ["LINKS_MAX", "Member", "Port", "Topology", "Whole", "plug"]

LINKS_MAX: Final = 65_536
_V6_MTU_MIN: Final = 1280
_V4_NETWORK: Final = b"\x0a"
_V6_NETWORK: Final = b"\xfd\0\0\0\0\0"
_V6_HOST: Final = b"\0\0\0\0\0\0\0"
_PAIRS_MAX: Final = 4096
_pairs: Final[dict[int, tuple[bytes, bytes]]] = {}
"""The addresses of ends that were made lately: the networks of a sweep have the same ones, again and again."""


class Member(Protocol):
    """A host, as the topology knows it. After it was switched off it has another engine."""

    engine: Engine

    @property
    def name(self) -> str:
        """The host's name."""


class Port:
    """Where a link ends: an interface of a host, with an address in each of the link's networks."""

    def __init__(self, member: Member, interface: str, index: int, link: int, v4: bytes, v6: bytes) -> None:
        self.member: Member = member
        self.interface: str = interface
        self.index: int = index
        self.link: int = link
        """The link's number, from 0."""
        self.v4: bytes = v4
        self.v6: bytes = v6


class _Hop:
    """The first step of the way to a network: out by ``port``, to its other end."""

    def __init__(self, port: Port, gateway: Port) -> None:
        self.port: Port = port
        self.gateway: Port = gateway


def plug(host: Engine, name: str, mtu: int, mac: bytes, v4: bytes, v6: bytes) -> Interface:
    """Give a host an interface with its two addresses; IPv6 only if the MTU allows it."""
    interface = host.add_interface(name, mtu=mtu, mac=mac, has_checksum_offload=not mac)
    interface.vouches_for_checksums = not mac  # lab/links/frame.py fills one in for whoever looks
    host.add_own_address(interface, v4, 24)
    if mtu >= _V6_MTU_MIN:
        host.add_own_address(interface, v6, 64)
    return interface


def _name_of(member: Member) -> str:
    """Return a host's name without asking ``Member.name``, which is a call of an interpreted function."""
    return member.engine.name


@mypyc_attr(native_class=False)
class Whole:
    """A topology that lives as long as its network, or a host that is kept. It can be referred to weakly."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology


class Topology:
    """Hosts by name, links by number, and what follows from them."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.ports: list[list[Port]] = []
        """Of each link: its ends; two, or those at a switch."""
        self._inbound: dict[Port, Way] = {}
        """The way on which frames come to each end."""
        self._held: dict[bytes, Member] = {}
        """Addresses that a host has on no link."""
        self._placed: dict[bytes, int] = {}
        """Addresses that were added to a link's network, and its number."""
        self._added: dict[str, list[bytes]] = {}
        """The addresses that were added to each host, by its name."""
        self._ports_of: dict[str, list[Port]] = {}
        self._by_lower: dict[str, Member] = {}
        self._searched: dict[str, dict[int, _Hop]] = {}
        """What a search from a host found: the first hop to each network that is not its own, the nearest first."""
        self._ranks: dict[str, dict[int, int]] = {}
        """How near each network is to a host that has searched: its own first."""
        self._is_stale: bool = False
        self._whole: weakref.ref[Whole] | None = None

    def whole(self) -> Whole:
        """Return what the network and its hosts keep, so that all else can refer to the topology weakly."""
        kept = self._whole
        found = None if kept is None else kept()
        if found is None:
            found = Whole(self)
            self._whole = weakref.ref(found)
        return found

    def addresses_for(self, number: int, side: int) -> tuple[bytes, bytes]:
        """Return the two addresses of one end (from 0) of a link."""
        key = number << 8 | side
        pair = _pairs.get(key)
        if pair is None:
            of_link, of_end = number.to_bytes(2, "big"), (side + 1).to_bytes(1, "big")
            pair = (_V4_NETWORK + of_link + of_end, _V6_NETWORK + of_link + _V6_HOST + of_end)
            if len(_pairs) >= _PAIRS_MAX:
                _pairs.clear()
            _pairs[key] = pair
        return pair

    def open_network(self) -> int:
        """Begin another link, and return its number."""
        self.ports.append([])
        return len(self.ports) - 1

    def add(self, port: Port, inbound: Way) -> None:
        """Add an end to a link. Frames come to it on ``inbound``."""
        self.ports[port.link].append(port)
        self._inbound[port] = inbound
        name = _name_of(port.member)
        ports = self._ports_of.get(name)
        if ports is None:
            self._ports_of[name] = [port]
        else:
            ports.append(port)
        self._is_stale = True

    def hold(self, address: bytes, member: Member) -> None:
        """Let an address be reached at a host that has it on no link."""
        self._held[address] = member
        self._is_stale = True

    def place(self, address: bytes, number: int, member: Member) -> None:
        """Note that a host has an address on a link's network. There it is reached, at whatever host answers for it."""
        self._placed[address] = number
        self._added.setdefault(_name_of(member), []).append(address)
        self._is_stale = True

    def unplace(self, address: bytes, member: Member) -> bool:
        """Note that a host has an added address no more; ``False``: it had none."""
        added = self._added.get(_name_of(member), [])
        if address not in added:
            return False
        added.remove(address)
        return True

    def added_to(self, member: Member) -> list[bytes]:
        """Return the addresses that were added to a host."""
        return list(self._added.get(_name_of(member), []))

    def number_of(self, address: bytes) -> int:
        """Return the number of the link that an address belongs to; -1 if it belongs to none."""
        placed = self._placed.get(address)
        if placed is not None:
            return placed
        if len(address) == 4:
            number = address[1] << 8 | address[2] if address[0] == 10 else -1
        else:
            number = address[6] << 8 | address[7] if address[:6] == _V6_NETWORK else -1
        return number if number < len(self.ports) else -1

    def ports_of(self, member: Member) -> list[Port]:
        """Return a host's ends of links, in the order in which they were made."""
        return self._ports_of.get(_name_of(member), [])

    def addresses_of(self, member: Member, asker: Member | None = None) -> list[bytes]:
        """Return a host's addresses, IPv4 first, and of each version those first that are nearest to ``asker``."""
        ports = self.ports_of(member)
        if asker is not None and asker is not member and len(ports) > 1:
            ports = sorted(ports, key=lambda port: self._rank(asker, port.link))
        return [port.v4 for port in ports] + [port.v6 for port in ports]

    def resolve(self, name: str, family: int, asker: Member) -> list[bytes]:
        """Look a name up for a program on ``asker``."""
        wanted = name.rstrip(".").lower()
        if wanted in ("localhost", "ip6-localhost"):
            found = [b"\x7f\0\0\x01", bytes(15) + b"\x01"]
        else:
            member = self._member_called(wanted)
            found = [] if member is None else self.addresses_of(member, asker)
            if member is asker and not found:
                found = [b"\x7f\0\0\x01"]
        if family == AF_UNSPEC:
            return found
        size = {AF_INET: 4, AF_INET6: 16}[family]
        return [address for address in found if len(address) == size]

    def reverse(self, address: bytes) -> list[str]:
        """Find the name of an address."""
        if address in (b"\x7f\0\0\x01", bytes(15) + b"\x01"):
            return ["localhost"]
        if address in self._placed or address in self._held:
            return [name for name, added in self._added.items() if address in added] + (
                [_name_of(self._held[address])] if address in self._held else [])
        number = self.number_of(address)
        if number < 0:
            return []
        return [_name_of(port.member) for port in self.ports[number] if address in (port.v4, port.v6)]

    def set_heard(self, member: Member, is_heard: bool) -> None:
        """Tell whether a host takes what arrives: not while it is switched off."""
        for port in self.ports_of(member):
            self._inbound[port].is_heard = is_heard

    def plug_again(self, member: Member, before: Engine) -> None:
        """Give a host that starts again the interfaces, addresses and routes that it had."""
        for port in self.ports_of(member):
            interface = before.interfaces[port.index]
            plug(member.engine, port.interface, interface.mtu, interface.mac, port.v4, port.v6)
        self._added.pop(_name_of(member), None)
        member.engine.routes.set_source(_Routes(self, member))

    def route(self) -> None:
        """Let all hosts forget the routes that they looked up, if links were added since."""
        if not self._is_stale:
            return
        self._is_stale = False
        self._searched.clear()
        self._ranks.clear()
        for member in self.members.values():
            routes = member.engine.routes
            if routes.source is None:
                routes.set_source(_Routes(self, member))
            else:
                routes.forget()

    def hop(self, member: Member, number: int) -> _Hop | None:
        """Find the first hop from a host to a network, ``None`` if it is the host's own or can't be reached."""
        ports = self.ports_of(member)
        if self._is_at(member, number):
            return None
        if len(ports) != 1 or len(self.ports[ports[0].link]) != 2:
            return self._search(member).get(number)
        neighbor = self._other_end(ports[0])
        if not neighbor.member.engine.is_forwarding:
            return None
        is_reached = self._is_at(neighbor.member, number) or (
            len(self.ports_of(neighbor.member)) > 1 and number in self._search(neighbor.member))
        return _Hop(ports[0], neighbor) if is_reached else None

    def _is_at(self, member: Member, number: int) -> bool:
        """Tell whether a host has an end of a link. The link's few ends are asked, not the host's many."""
        for port in self.ports[number]:
            if port.member is member:
                return True
        return False

    def _other_end(self, port: Port) -> Port:
        first, second = self.ports[port.link]
        return second if port is first else first

    def _member_called(self, wanted: str) -> Member | None:
        """Find a host by its name in small letters, the first of several."""
        if len(self._by_lower) != len(self.members):
            self._by_lower = {}
            for name, member in self.members.items():
                self._by_lower.setdefault(name.lower(), member)
        return self._by_lower.get(wanted)

    def _rank(self, asker: Member, number: int) -> int:
        """Return a sort key for how near a network is to a host: its own first, those that can't be reached last."""
        ports = self.ports_of(asker)
        if len(ports) != 1 or len(self.ports[ports[0].link]) != 2:
            return self._rank_of(asker).get(number, LINKS_MAX)
        if number == ports[0].link:
            return -1
        neighbor = self._other_end(ports[0]).member
        return self._rank_of(neighbor).get(number, LINKS_MAX) if neighbor.engine.is_forwarding else LINKS_MAX

    def _rank_of(self, member: Member) -> dict[int, int]:
        ranks = self._ranks.get(_name_of(member))
        if ranks is None:
            near = [port.link for port in self.ports_of(member)] + list(self._search(member))
            ranks = self._ranks[_name_of(member)] = {number: place for place, number in enumerate(near)}
        return ranks

    def _search(self, member: Member) -> dict[int, _Hop]:
        """Find the first hop to every network that is not on a link of the host itself, the nearest first."""
        found = self._searched.get(_name_of(member))
        if found is None:
            found = self._searched[_name_of(member)] = self._hops_from(member)
        return found

    def _hops_from(self, member: Member) -> dict[int, _Hop]:
        own = {port.link for port in self.ports_of(member)}
        ways: dict[int, _Hop] = {}
        seen = {_name_of(member)}
        queue: deque[tuple[Member, _Hop | None]] = deque([(member, None)])
        while queue:
            at, hop = queue.popleft()
            for port in self.ports_of(at):
                if hop is not None and port.link not in own and port.link not in ways:
                    ways[port.link] = hop
                for other in self.ports[port.link]:
                    if _name_of(other.member) in seen:
                        continue
                    seen.add(_name_of(other.member))
                    if len(self.ports_of(other.member)) == 1:
                        continue  # nothing lies beyond it
                    if other.member.engine.is_forwarding or other.member is member:
                        queue.append((other.member, hop or _Hop(port, other)))
        return ways

    def way_to(self, member: Member, address: bytes) -> tuple[Port, Port | None] | None:
        """Find the way from a host to an address: out by which end, and to which gateway (``None``: it is on the link).

        ``None`` for one that is the host's own, is on a network of its links, or can't be reached.
        """
        holder = self._held.get(address)
        if holder is not None:
            return None if holder is member else self._way_to_member(member, holder)
        number = self.number_of(address)
        if number < 0:
            return None
        if address in self._placed:
            for port in self.ports_of(member):
                if port.link == number:
                    return port, None
        hop = self.hop(member, number)
        return None if hop is None else (hop.port, hop.gateway)

    def _way_to_member(self, member: Member, target: Member) -> tuple[Port, Port | None] | None:
        """Find the way to a host: straight, or to the first of its links that is reached."""
        for port in self.ports_of(member):
            for other in self.ports[port.link]:
                if other.member is target:
                    return port, other
        for port in self.ports_of(target):
            hop = self.hop(member, port.link)
            if hop is not None:
                return hop.port, hop.gateway
        return None


class _Routes(RouteSource):
    """The routes of one host. One ``Route`` serves all networks that are reached by the same first hop.

    It refers to the host and the topology weakly: both refer to it. Without them there is no route any more.
    """

    def __init__(self, topology: Topology, member: Member) -> None:
        super().__init__(24, 64)
        self._whole: weakref.ref[Whole] = weakref.ref(topology.whole())
        self._member: weakref.ref[Member] = weakref.ref(member)
        self._made: dict[tuple[int, bytes], Route] = {}

    def find(self, destination: bytes) -> Route | None:
        whole, member = self._whole(), self._member()
        if whole is None or member is None:
            return None
        way = whole.topology.way_to(member, destination)
        return None if way is None else self._route(member, way[0], way[1], destination)

    def all(self) -> list[Route]:
        result: list[Route] = []
        whole, member = self._whole(), self._member()
        if whole is None or member is None:
            return result
        topology = whole.topology
        for side in ("v4", "v6"):
            for number, ports in enumerate(topology.ports):
                hop = topology.hop(member, number) if ports else None
                if hop is not None:
                    address = ports[0].v4 if side == "v4" else ports[0].v6
                    made = self._route(member, hop.port, hop.gateway, address)
                    network = network_of(address, made.prefix_bits)
                    result.append(Route(network, made.prefix_bits, made.interface, made.gateway, 0))
        return result

    def _route(self, member: Member, port: Port, gateway_port: Port | None, destination: bytes) -> Route:
        is_v4 = len(destination) == 4
        gateway = b"" if gateway_port is None else gateway_port.v4 if is_v4 else gateway_port.v6
        key = (port.index, gateway or bytes([len(destination)]))
        made = self._made.get(key)
        if made is None:
            bits = 24 if is_v4 else 64
            interface = member.engine.interfaces[port.index]
            made = self._made[key] = Route(network_of(destination, bits), bits, interface, gateway, 0)
        return made
