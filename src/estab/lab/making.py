"""What a network is made of: the engine and the clock of a host; of a cable an interface at each host, and a way from
each end to the other.

``Network.host`` and ``Network.link`` read and check what a user says of them. Compiled with the core: the seeds of a
sweep make as many hosts and cables as runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mypy_extensions import i64

from estab.host.engine import Engine
from estab.lab.host_time import HostTime
from estab.lab.links.host_side import Arrival
from estab.lab.links.way import Way
from estab.lab.links.weather import Decider
from estab.lab.programs.strands import Scheduler
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions
from estab.lab.record.host_clock import EPOCH_NS, HostClock
from estab.lab.topology import Port, Topology, plug
from estab.settings import read_calendar, read_config, read_drift
from estab.tcp.profile import profile_config
from estab.units import duration_ns

__all__ = ["ETHERNET_HEADER_BYTES", "Maker", "join", "plug_in"]

ETHERNET_HEADER_BYTES: Final = 14


class _Cable:
    """Both directions of a cable. They are released with it: see ``Way.release``."""

    def __init__(self, there: Way, back: Way, number: int) -> None:
        self.there: Way = there
        self.back: Way = back
        self.number: int = number
        """The link's."""

    def __del__(self) -> None:
        self.there.release()
        self.back.release()


class Maker:
    """Makes the hosts and cables of one network."""

    def __init__(self, scheduler: Scheduler, chance: Chance, topology: Topology) -> None:
        self.decider: Decider | None = None
        """What decides instead of chance on cables, or notes what chance decides."""
        self.began_ns: int = EPOCH_NS
        """What calendars say when the network starts."""
        self._agenda: Agenda = scheduler.agenda
        self._chance: Chance = chance
        self._topology: Topology = topology
        self._scheduler: Scheduler = scheduler
        self._fail: Callable[[BaseException], None] = scheduler.fail_or_raise

    def make_host(
        self, make: Callable[..., Any], programs: object, names: object, name: str, is_forwarding: bool, profile: str,
        clock: Any, drift: Any, wake_up: Any, config: Mapping[str, object],
    ) -> Any:
        """Make an engine and a clock, and of these by ``make`` a host's runtime.

        What users may write is ``clock``, ``drift``, ``wake_up`` and ``config``. ``TypeError``, ``ValueError``.
        """
        wake_up_ns = 0 if _is_zero(wake_up) else duration_ns(wake_up, "wake_up")
        secret = self._chance.child("host", name, "secret").octets(32)
        engine = Engine(name, secret, read_config(config, profile) if config else profile_config(profile))
        if is_forwarding:
            engine.is_forwarding = True
        entropy = self._chance.child("host", name, "entropy")
        agenda = self._agenda
        wall_ns = self.began_ns
        if not _is_zero(clock):
            wall_ns = read_calendar(clock, self.began_ns + agenda.now_ns) - agenda.now_ns
        host_clock = HostClock(agenda, wall_ns, 0 if _is_zero(drift) else read_drift(drift))
        return make(engine, self._scheduler, self._topology, programs, entropy, names, host_clock, wake_up_ns)

    def lay(
        self, name: str, first: HostTime, second: HostTime, there: Conditions, back: Conditions, is_ethernet: bool,
    ) -> _Cable:
        """Lay a cable between two hosts."""
        topology, agenda, chance, decider = self._topology, self._agenda, self._chance, self.decider
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
        to_far.fail = to_near.fail = self._fail
        return _Cable(to_far, to_near, number)


def join(there: Way, back: Way, number: int) -> _Cable:
    """Make a cable of two directions."""
    return _Cable(there, back, number)


def _is_zero(given: object) -> bool:
    """Tell whether a user gave nothing, or the number that means it."""
    return type(given) is int and given == 0


def plug_in(topology: Topology, host: HostTime, number: int, place: int, mtu: i64, is_ethernet: bool) -> Port:
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
