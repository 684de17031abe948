"""What a cable is made of: an interface at each host, and a way from each end to the other.

``Cabling`` reads and checks what a user says of it. Compiled with the core: the seeds of a sweep make as many cables as
runs.
"""

from __future__ import annotations

from typing import Final, Protocol

from mypy_extensions import i64

from estab.host.engine import Engine
from estab.lab.links.host_side import Arrival, HostSide
from estab.lab.links.way import Way
from estab.lab.links.weather import Decider
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions
from estab.lab.topology import Port, Topology, plug

__all__ = ["ETHERNET_HEADER_BYTES", "End", "lay", "plug_in"]

ETHERNET_HEADER_BYTES: Final = 14


class End(Protocol):
    """A host at the end of a cable."""

    engine: Engine
    side: HostSide
    """Where its frames come in and go out."""

    @property
    def name(self) -> str:
        """Its name."""


def plug_in(topology: Topology, host: End, number: int, place: int, mtu: i64, is_ethernet: bool) -> Port:
    """Give a host an interface for link ``number``, of which it is the end ``place``, from 0."""
    engine = host.engine
    v4, v6 = topology.addresses_for(number, place)
    mac = b""
    if is_ethernet:
        mac = b"\x02\0" + v4[1:3] + b"\0" + v4[3:]
    index = len(engine.interfaces)
    name = f"eth{index - 1}"
    plug(engine, name, mtu, mac, v4, v6)
    return Port(host, name, index, number, v4, v6)


def lay(
    topology: Topology, name: str, first: End, second: End, there: Conditions, back: Conditions, is_ethernet: bool,
    agenda: Agenda, chance: Chance, decider: Decider | None,
) -> tuple[Way, Way, int]:
    """Lay a cable between two hosts. Returns the way from the first, the way from the second, and the link's number."""
    number = topology.open_network()
    header_bytes: i64 = ETHERNET_HEADER_BYTES if is_ethernet else 0
    near = plug_in(topology, first, number, 0, there.mtu, is_ethernet)
    far = plug_in(topology, second, number, 1, back.mtu, is_ethernet)
    near_side, far_side = first.side, second.side
    near_name, far_name = near_side.engine.name, far_side.engine.name
    to_far = Way(name, near_name, there, header_bytes, agenda, chance, Arrival(far_side, far.index), decider)
    to_near = Way(name, far_name, back, header_bytes, agenda, chance, Arrival(near_side, near.index), decider)
    to_far.interface, to_far.receiver, to_far.opposite = near.interface, far_name, to_near
    to_near.interface, to_near.receiver, to_near.opposite = far.interface, near_name, to_far
    near_side.attach(near.index, to_far)
    far_side.attach(far.index, to_near)
    topology.add(near, to_near)
    topology.add(far, to_far)
    return to_far, to_near, number
