"""``Switch``: one Ethernet segment with several hosts, and what a user does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from estab.lab.boxes.bridge import Bridge
from estab.lab.link import Link
from estab.lab.record.conditions import LinkProperties

if TYPE_CHECKING:
    from estab.lab.host import Host

__all__ = ["Switch"]


class Switch:
    """A switch between hosts. ``Network.switch`` makes it.

    Its hosts are on one network: they find each other by ARP and neighbour discovery, and get each other's broadcasts.
    Each has a cable of its own, a ``Link`` named ``"lan-a"``.
    """

    def __init__(self, name: str, number: int, bridge: Bridge,
                 lay: Callable[[Switch, Host, LinkProperties], Link]) -> None:
        self.name = name
        self.number = number
        """From 0: its network is ``10.<number / 256>.<number % 256>.0/24``."""
        self.bridge = bridge
        self._lay = lay
        self._cables: dict[Host, Link] = {}

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts at it, in the order in which they were plugged."""
        return tuple(self._cables)

    def plug(self, host: Host, **properties: Unpack[LinkProperties]) -> Link:
        """Plug another host in, by a cable with these properties; of a pair the first is from the host. Up to 254."""
        if host in self._cables:
            raise ValueError(f"plug: {host.name} is at {self.name} already")
        made = self._cables[host] = self._lay(self, host, properties)
        return made

    def cable(self, host: Host) -> Link:
        """Return the cable of a host, to be cut, healed, set or ruled."""
        found = self._cables.get(host)
        if found is None:
            raise ValueError(f"host: {host.name} is not at {self.name}")
        return found

    def interface_of(self, host: Host) -> int:
        """Return the index of the interface that a host has on it."""
        return self.cable(host).interface_of(host)

    @property
    def table(self) -> dict[str, str]:
        """On which host's cable each MAC address was seen last, as far as the switch remembers."""
        names = [host.name for host in self._cables]
        return {mac: names[port] for mac, port in self.bridge.table().items()}

    @property
    def flooded_count(self) -> int:
        """Frames to one host that went to all, because the switch did not know where it is."""
        return self.bridge.flooded_count

    def forget(self) -> None:
        """Forget where hosts are, as a switch that was switched off and on."""
        self.bridge.forget()

    def __repr__(self) -> str:
        return f"<Switch {self.name}: {', '.join(host.name for host in self._cables)}>"
