"""Paths: everything about the way to one destination, looked up once and kept.

- A ``Path`` joins route, interface, next hop, source address and path MTU. It is thrown away when routes, addresses or
  links change (``Routes.generation``) and when its learnt MTU expires.
- Path MTUs learnt from ICMP (RFC 1191, RFC 8201) age after ten minutes, so that a path that grew is tried again.
- IPv4 reports below 552 bytes are not believed as such: the path keeps 552 and packets may be fragmented (Linux's
    ``min_pmtu``); IPv6 reports below 1280 are ignored (RFC 8201 section 4). So a forged report can't starve a
  connection.
- Both tables have a limit: the oldest learnt MTU makes room, and the paths, which can all be built again, begin anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64

from estab.abi import IP_PMTUDISC_DO, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT
from estab.events import PathMtuChanged
from estab.host.ip.interface import Address, Interface
from estab.host.ip.neighbors import Neighbor, Neighbors
from estab.host.ip.routes import Route, Routes
from estab.tcp.context import Context, Paths
from estab.units import NEVER
from estab.wire.address import format_address, is_broadcast, is_link_local, is_loopback, is_multicast

__all__ = ["PATHS_MAX", "HostPaths", "Path", "needs_scope"]

PATHS_MAX: Final = 4096
PATH_MTUS_MAX: Final = 4096
V6_MTU_MIN: Final = 1280
_PACKET_BYTES_MAX: Final = 65_535


class Path:
    """The way to ``destination``, as of ``generation``."""

    def __init__(self, destination: bytes, interface: Interface, next_hop: bytes, source: bytes, mtu: i64) -> None:
        self.destination: bytes = destination
        self.interface: Interface = interface
        self.next_hop: bytes = next_hop
        self.source: bytes = source
        self.mtu: i64 = mtu
        """Bytes of the largest packet that goes through whole, as far as we know."""
        self.link_mtu: i64 = mtu
        """The same without what ICMP taught: the limit for forwarded packets, whose senders learn for themselves."""
        self.advmss: i64 = 0
        self.initcwnd: i64 = 0
        """What the route says of TCP's connections, 0 for nothing."""
        self.mtu_expires_ns: i64 = NEVER
        self.may_fragment: bool = False
        """The path's MTU is below our least packet: leave out DF, and let routers fragment."""
        self.is_local: bool = False
        self.is_broadcast: bool = False
        self.neighbor: Neighbor | None = None
        """Known for Ethernet unicast; filled in by output."""
        self.generation: i64 = 0


class _LearntMtu:
    def __init__(self, mtu: i64, expires_ns: i64, may_fragment: bool) -> None:
        self.mtu: i64 = mtu
        self.expires_ns: i64 = expires_ns
        self.may_fragment: bool = may_fragment


class HostPaths(Paths):
    """The paths of one host, and what TCP asks about them."""

    def __init__(self, context: Context, routes: Routes, neighbors: Neighbors, interfaces: list[Interface]) -> None:
        super().__init__()
        self.context: Context = context
        self.routes: Routes = routes
        self.neighbors: Neighbors = neighbors
        self.interfaces: list[Interface] = interfaces
        self.local: dict[bytes, Interface] = {}
        """Every address of this host and the interface that has it."""
        self.broadcasts: dict[bytes, int] = {}
        """Broadcast addresses of our networks, and how many of our addresses each belongs to."""
        self._paths: dict[bytes, Path] = {}
        self._last: Path | None = None
        """The path that was asked for last, if it stands in ``_paths`` by its destination alone."""
        self._learnt: OrderedDict[bytes, _LearntMtu] | None = None
        """What ICMP taught of path MTUs; ``None`` before the first report."""

    # --- the way to a destination

    def find(self, destination: bytes) -> Path | None:
        """Return the path to a destination, ``None`` if there is no route, or no peer (``b""``)."""
        path = self._last
        if path is None or (path.destination is not destination and path.destination != destination):
            path = self._paths.get(destination)
            self._last = path
        if (path is not None and path.generation == self.routes.generation
                and self.context.now_ns < path.mtu_expires_ns):
            return path
        self._last = None
        return self._look_up(destination)

    def find_from(self, destination: bytes, source: bytes, scope: i64) -> Path | None:
        """Return the path to a destination that may need a hint: link-local and multicast ones exist on every link.

        The hint is the interface's index if the program gave one (``scope``), or the interface that has ``source``.
        """
        if not needs_scope(destination) and not is_multicast(destination):
            return self.find(destination)
        interface: Interface | None = None
        if 0 < scope < len(self.interfaces):
            interface = self.interfaces[scope]
        elif source:
            interface = self.local.get(source)
        if interface is None or (interface.is_loopback and not is_multicast(destination)):
            return self.find(destination)
        if interface.is_loopback and len(destination) == 16:
            return None  # as on Linux, where lo has no route to groups of IPv6
        index: int = interface.index
        key = destination + index.to_bytes(2, "big")
        path = self._paths.get(key)
        if (path is not None and path.generation == self.routes.generation
                and self.context.now_ns < path.mtu_expires_ns):
            return path
        route = self.routes.lookup(destination, interface)
        if route is None:
            route = Route(destination, len(destination) * 8, interface, b"", 0)
        if not interface.is_up:
            return None
        path = self._build(destination, route)
        path.is_local = interface.is_loopback
        self._keep(key, path)
        return path

    def own_address(self, destination: bytes, source: bytes) -> bytes:
        """Return the address of this host that a packet came to: of a group or a broadcast that which answers it."""
        if not is_multicast(destination) and not self.is_broadcast(destination):
            return destination
        path = self.find(source)
        return destination if path is None or not path.source else path.source

    def forbids_cutting(self, path: Path, pmtu_discover: i64) -> bool:
        """Tell whether packets on the path bear DF, so that routers report what does not fit (RFC 1191).

        ``pmtu_discover`` is what the socket says (IP_MTU_DISCOVER): with ``WANT`` it is as the path is.
        """
        if pmtu_discover == IP_PMTUDISC_WANT:
            return not path.may_fragment and not self.context.config.ip_no_pmtu_disc
        return pmtu_discover == IP_PMTUDISC_DO or pmtu_discover == IP_PMTUDISC_PROBE

    def is_local(self, address: bytes) -> bool:
        """Tell whether packets to ``address`` are for this host."""
        return address in self.local or (len(address) == 4 and address[0] == 127)

    def note_broadcast(self, address: bytes) -> None:
        """Learn the broadcast address of a network that we are on now; ``b""`` is none."""
        if address:
            self.broadcasts[address] = self.broadcasts.get(address, 0) + 1

    def forget_broadcast(self, address: bytes) -> None:
        """Undo ``note_broadcast`` once."""
        if address:
            count = self.broadcasts[address] - 1
            if count > 0:
                self.broadcasts[address] = count
            else:
                del self.broadcasts[address]

    def is_broadcast(self, address: bytes) -> bool:
        """Tell whether an address is an IPv4 broadcast on any of our networks."""
        if len(address) != 4:
            return False
        return address in self.broadcasts or is_broadcast(address)

    # --- path MTU

    def learn_mtu(self, destination: bytes, mtu: i64, why: str) -> bool:
        """Take a router's report that packets to ``destination`` may have ``mtu`` bytes. ``False``: not believed.

        The caller has checked that the report quotes something we sent (RFC 5927, RFC 8201 section 4).
        """
        path = self.find(destination)
        if path is None or path.is_local:
            return False
        may_fragment = False
        if len(destination) == 16:
            if mtu < V6_MTU_MIN:
                return False
        elif mtu < self.context.config.route_min_pmtu:
            mtu = self.context.config.route_min_pmtu
            may_fragment = True
        # A report never raises the estimate (RFC 8201 section 4).
        if mtu > path.mtu or (mtu == path.mtu and may_fragment == path.may_fragment):
            return False
        expires_ns = self.context.now_ns + self.context.config.route_mtu_expires_ns
        self._remember_mtu(destination, _LearntMtu(mtu, expires_ns, may_fragment))
        if self.context.observer is not None:
            self.context.tell(PathMtuChanged(self.context.now_ns, self.context.name, format_address(destination),
                                             mtu, why))
        return True

    def learnt_mtus(self) -> list[tuple[bytes, int, int]]:
        """Every learnt path MTU: destination, bytes, when it expires."""
        known = self._learnt
        return [] if known is None else [(key, learnt.mtu, learnt.expires_ns) for key, learnt in known.items()]

    # --- what TCP asks (tcp.context.Paths)

    def source_for(self, destination: bytes) -> bytes:
        """Return the local address that packets to ``destination`` leave from, ``b""`` if there is no route."""
        path = self.find(destination)
        return path.source if path is not None else b""

    def mtu_of(self, destination: bytes) -> i64:
        """Return the path's MTU in bytes, as far as it is known."""
        path = self.find(destination)
        if path is None:  # here and below: a ternary would make a Python number of it
            return 1500
        return path.mtu

    def link_mtu_of(self, destination: bytes) -> i64:
        """Return the MTU of the first link and the route alone, whatever was learnt of the path."""
        path = self.find(destination)
        if path is None:
            return 1500
        return path.link_mtu

    def initial_cwnd(self, destination: bytes) -> i64:
        """Return the segments of the first congestion window on the way there, 0 if no route says so."""
        path = self.find(destination)
        if path is None:
            return 0
        return path.initcwnd

    def advertised_mss(self, destination: bytes) -> i64:
        """Return the most that a route lets us tell a peer as our MSS, 0 if none says so."""
        path = self.find(destination)
        if path is None:
            return 0
        return path.advmss

    def segment_bytes_max(self, destination: bytes) -> i64:
        """Return the largest super-segment that the link takes whole, 0 if it has no such offload."""
        path = self.find(destination)
        if path is None:
            return 0
        return path.interface.segment_bytes_max

    def suspect(self, destination: bytes) -> None:
        """Note that segments are not answered: the next hop is asked again (RFC 9293 MUST-20)."""
        path = self._paths.get(destination)
        if path is not None and path.neighbor is not None:
            self.neighbors.suspect(path.neighbor)

    # --- inside

    def _look_up(self, destination: bytes) -> Path | None:
        if not destination:
            return None
        if self.is_local(destination):
            path = self._build(destination, Route(destination, len(destination) * 8, self.interfaces[0], b"", 0))
            path.is_local = True
            path.source = destination
        else:
            route = self.routes.lookup(destination, None)
            if route is None and (is_broadcast(destination) or is_multicast(destination)):
                route = self._first_link_route(destination)
            if route is None:
                self._paths.pop(destination, None)
                return None
            path = self._build(destination, route)
        self._keep(destination, path)
        return path

    def _build(self, destination: bytes, route: Route) -> Path:
        interface = route.interface
        mtu = interface.mtu
        if route.mtu != 0 and route.mtu < mtu:
            mtu = route.mtu
        if mtu > _PACKET_BYTES_MAX:
            mtu = _PACKET_BYTES_MAX
        gateway = route.gateway if not is_multicast(destination) else b""  # a group is on the link
        path = Path(destination, interface, gateway or destination, b"", mtu)
        path.generation = self.routes.generation
        path.advmss = route.advmss
        path.initcwnd = route.initcwnd
        path.source = self._choose_source(path.next_hop, destination, interface)
        path.is_broadcast = len(destination) == 4 and interface.is_broadcast_here(destination)
        known = self._learnt
        learnt = None if known is None else known.get(destination)
        if known is not None and learnt is not None:
            if self.context.now_ns >= learnt.expires_ns:
                del known[destination]
            elif learnt.mtu <= mtu:
                path.mtu = learnt.mtu
                path.may_fragment = learnt.may_fragment
                path.mtu_expires_ns = learnt.expires_ns
        return path

    def _first_link_route(self, destination: bytes) -> Route | None:
        """255.255.255.255 and groups without a route go out of the first interface with an address of the version.

        We differ: Linux wants a route for IPv4 groups, which most machines have by their default route.
        """
        for interface in self.interfaces:
            if interface.is_up and not interface.is_loopback:
                for candidate in interface.addresses:
                    if len(candidate.address) == len(destination):
                        return Route(destination, len(destination) * 8, interface, b"", 0)
        return None

    def _choose_source(self, next_hop: bytes, destination: bytes, interface: Interface) -> bytes:
        """Choose the address to send from: for IPv4 the one on the next hop's network, else the interface's first.

        For IPv6 the rules of RFC 6724 section 5 that apply without mobility, labels and temporary addresses: right
        scope (rule 2), outgoing interface (rule 5), longest matching prefix (rule 8).
        """
        if len(destination) == 4:
            best = interface.on_link_source(next_hop)
            if best and not is_loopback(best):
                return best
            return self._first_of_version(4, interface)
        best_rank: i64 = -1
        best = b""
        for other in self.interfaces:
            for candidate in other.addresses:
                rank = _source_rank(candidate, destination, other is interface)
                if rank > best_rank:
                    best, best_rank = candidate.address, rank
        return best

    def _first_of_version(self, size: i64, interface: Interface) -> bytes:
        for candidate in interface.addresses:
            if len(candidate.address) == size:
                return candidate.address
        for other in self.interfaces:
            if not other.is_loopback:
                for candidate in other.addresses:
                    if len(candidate.address) == size:
                        return candidate.address
        return b""

    def _keep(self, key: bytes, path: Path) -> None:
        if len(self._paths) >= PATHS_MAX and key not in self._paths:
            self._paths.clear()  # a cache: the first key of a dict costs the more, the more went before it
        self._paths[key] = path
        self._last = None

    def _remember_mtu(self, destination: bytes, learnt: _LearntMtu) -> None:
        known = self._learnt
        if known is None:
            known = self._learnt = OrderedDict()
        if destination not in known and len(known) >= PATH_MTUS_MAX:
            oldest = next(iter(known))
            del known[oldest]
            self._paths.pop(oldest, None)
            self.context.counters.EstabPathMtuTableFull += 1
        known.pop(destination, None)
        known[destination] = learnt
        self._paths.pop(destination, None)
        self._last = None


def needs_scope(address: bytes) -> bool:
    """Tell whether an address means something only together with an interface."""
    return len(address) == 16 and (is_link_local(address) or is_multicast(address))


def _source_rank(candidate: Address, destination: bytes, is_outgoing: bool) -> i64:
    """Rank an address as source; -1 if it can't be one."""
    address = candidate.address
    if len(address) != 16 or is_loopback(address) != is_loopback(destination):
        return -1
    is_destination_local = is_link_local(destination) or (is_multicast(destination) and destination[1] & 0xF <= 2)
    if is_link_local(address):
        if not is_outgoing:
            return -1
        return 2000 if is_destination_local else 0
    rank: i64 = 1000 + (200 if is_outgoing else 0) + _common_bits(address, destination)
    return rank


def _common_bits(a: bytes, b: bytes) -> i64:
    count: i64 = 0
    for index in range(len(a)):
        different: i64 = a[index] ^ b[index]
        if different == 0:
            count += 8
            continue
        while (different & 0x80) == 0:
            different <<= 1
            count += 1
        break
    return count
