"""The routing table: the interface and next hop of a destination, by longest prefix.

- Routes of equal prefix are tried in the order in which they were added; one whose interface is down is passed over.
- The table has a limit. Each change raises ``generation``, by which caches of looked-up routes know that they are
  stale.
- A ``RouteSource`` knows routes that the table need not hold: a network of a thousand hosts has a million of them.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import os_error
from estab.host.ip.interface import Interface
from estab.wire.address import format_address, network_of

__all__ = ["ROUTES_MAX", "Route", "RouteSource", "Routes"]

ROUTES_MAX: Final = 65_536


class Route:
    """One route: ``network``/``prefix_bits`` through ``interface``, by ``gateway`` or on the link if it is ``b""``.

    ``mtu`` is a limit of this route's own, 0 for the interface's; ``advmss`` and ``initcwnd`` are for TCP, 0 for none.
    """

    def __init__(
        self, network: bytes, prefix_bits: i64, interface: Interface, gateway: bytes, mtu: i64, advmss: i64 = 0,
        initcwnd: i64 = 0,
    ) -> None:
        self.network: bytes = network
        self.prefix_bits: i64 = prefix_bits
        self.interface: Interface = interface
        self.gateway: bytes = gateway
        self.mtu: i64 = mtu
        self.advmss: i64 = advmss
        self.initcwnd: i64 = initcwnd

    def text(self) -> str:
        """Write the route as ``ip route`` does: ``10.0.0.0/24 via 10.0.0.1 dev eth0``."""
        via = f" via {format_address(self.gateway)}" if self.gateway else ""
        mtu = f" mtu {self.mtu}" if self.mtu else ""
        tcp = f" advmss {self.advmss}" if self.advmss else ""
        tcp += f" initcwnd {self.initcwnd}" if self.initcwnd else ""
        return f"{format_address(self.network)}/{self.prefix_bits}{via} dev {self.interface.name}{mtu}{tcp}"


@mypyc_attr(allow_interpreted_subclasses=True)
class RouteSource:
    """Gives a route when it is asked for one. All its routes have one prefix length for each IP version.

    A route of the table with the same prefix length or a longer one comes first. ``Routes.forget`` says that the source
    would answer otherwise now.
    """

    def __init__(self, bits_v4: i64, bits_v6: i64) -> None:
        self.bits_v4: i64 = bits_v4
        self.bits_v6: i64 = bits_v6

    def find(self, destination: bytes) -> Route | None:
        """Return the route to a destination, ``None`` if there is none."""
        return None

    def all(self) -> list[Route]:
        """Return all routes, to be shown."""
        return []


class _Family:
    """The routes of one IP version: for each prefix length in use, networks to their routes."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        """Prefix lengths in use, longest first."""
        self.tables: dict[int, dict[bytes, list[Route]]] = {}


class Routes:
    """The table. ``count`` is the number of routes, of both versions."""

    def __init__(self) -> None:
        self.generation: i64 = 1
        self.count: i64 = 0
        self.source: RouteSource | None = None
        """A source of more routes, which are not counted."""
        self._v4: _Family = _Family()
        self._v6: _Family = _Family()

    def add(self, route: Route) -> None:
        """Add a route. ENOSPC if the table is full, EEXIST if the very same is there."""
        if self.count >= ROUTES_MAX:
            raise os_error(errno.ENOSPC, f"routing table is full: {ROUTES_MAX} routes")
        family = self._family(route.network)
        table = family.tables.get(route.prefix_bits)
        if table is None:
            table = family.tables[route.prefix_bits] = {}
            family.lengths.append(route.prefix_bits)
            if len(family.lengths) > 1:
                family.lengths.sort(reverse=True)
        same = table.get(route.network)
        if same is None:
            table[route.network] = [route]
        else:
            for other in same:
                if other.interface is route.interface and other.gateway == route.gateway:
                    raise os_error(errno.EEXIST, f"route exists: {other.text()}")
            same.append(route)
        self.count += 1
        self.generation += 1

    def remove(self, network: bytes, prefix_bits: i64, interface: Interface | None) -> None:
        """Remove the first route of that prefix (through that interface, if given). ESRCH if there is none."""
        family = self._family(network)
        table = family.tables.get(prefix_bits, {})
        same = table.get(network, [])
        for route in same:
            if interface is None or route.interface is interface:
                same.remove(route)
                self._forget_empty(family, network, prefix_bits)
                self.count -= 1
                self.generation += 1
                return
        raise os_error(errno.ESRCH, f"no such route: {format_address(network)}/{prefix_bits}")

    def lookup(self, destination: bytes, interface: Interface | None) -> Route | None:
        """Find the route with the longest prefix (through that interface, if given)."""
        family = self._family(destination)
        source = self.source
        source_bits: i64 = -1
        if source is not None:
            source_bits = source.bits_v4 if len(destination) == 4 else source.bits_v6
        for length in family.lengths:
            if source is not None and length < source_bits:
                given = _usable(source.find(destination), interface)
                if given is not None:
                    return given
                source = None
            same = family.tables[length].get(network_of(destination, length))
            if same is not None:
                for route in same:
                    if route.interface.is_up and (interface is None or route.interface is interface):
                        return route
        return None if source is None else _usable(source.find(destination), interface)

    def set_source(self, source: RouteSource | None) -> None:
        """Ask ``source`` for what the table has not, from now on."""
        self.source = source
        self.generation += 1

    def forget(self) -> None:
        """Forget what was looked up: the source would answer otherwise now."""
        self.generation += 1

    def all(self) -> list[Route]:
        """Every route, IPv4 before IPv6, longest prefixes first."""
        result: list[Route] = []
        for family in (self._v4, self._v6):
            for length in family.lengths:
                for same in family.tables[length].values():
                    result.extend(same)
        if self.source is not None:
            result.extend(self.source.all())
        return result

    def _family(self, address: bytes) -> _Family:
        return self._v4 if len(address) == 4 else self._v6

    def _forget_empty(self, family: _Family, network: bytes, prefix_bits: i64) -> None:
        table = family.tables[prefix_bits]
        if not table[network]:
            del table[network]
        if not table:
            del family.tables[prefix_bits]
            family.lengths = sorted(family.tables, reverse=True)


def _usable(route: Route | None, interface: Interface | None) -> Route | None:
    """Return a route if its interface is up, and the requested one."""
    if route is None or not route.interface.is_up or (interface is not None and route.interface is not interface):
        return None
    return route
