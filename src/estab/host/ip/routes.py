"""The routing table: where a destination is reached, by longest prefix.

- Routes of equal prefix are tried in the order in which they were added; one whose interface is down is passed over.
- The table has a limit. Each change raises ``generation``, by which caches of looked-up routes know that they are
  stale.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab.errors import os_error
from estab.host.ip.interface import Interface
from estab.wire.address import format_address, network_of

__all__ = ["ROUTES_MAX", "Route", "Routes"]

ROUTES_MAX: Final = 65_536


class Route:
    """One route: ``network``/``prefix_bits`` through ``interface``, by ``gateway`` or on the link where it is ``b""``.

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
        self._v4: _Family = _Family()
        self._v6: _Family = _Family()

    def add(self, route: Route) -> None:
        """Add a route. ENOSPC where the table is full, EEXIST where the very same is there."""
        if self.count >= ROUTES_MAX:
            raise os_error(errno.ENOSPC, f"routing table is full: {ROUTES_MAX} routes")
        family = self._family(route.network)
        table = family.tables.get(route.prefix_bits)
        if table is None:
            table = family.tables[route.prefix_bits] = {}
            family.lengths = sorted(family.tables, reverse=True)
        same = table.setdefault(route.network, [])
        for other in same:
            if other.interface is route.interface and other.gateway == route.gateway:
                raise os_error(errno.EEXIST, f"route exists: {other.text()}")
        same.append(route)
        self.count += 1
        self.generation += 1

    def remove(self, network: bytes, prefix_bits: i64, interface: Interface | None) -> None:
        """Remove the first route of that prefix (through that interface, if given). ESRCH where there is none."""
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
        for length in family.lengths:
            same = family.tables[length].get(network_of(destination, length))
            if same is not None:
                for route in same:
                    if route.interface.is_up and (interface is None or route.interface is interface):
                        return route
        return None

    def all(self) -> list[Route]:
        """Every route, IPv4 before IPv6, longest prefixes first."""
        result: list[Route] = []
        for family in (self._v4, self._v6):
            for length in family.lengths:
                for same in family.tables[length].values():
                    result.extend(same)
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
