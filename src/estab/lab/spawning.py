"""``Spawning``: hosts whose TCP is this machine's kernel, on the links of a network in real time.

- A host becomes one when its first process is spawned. Its interfaces, routes and names are made then, and again before
  each run if links or hosts were added.
- Nothing of ``estab.native`` is imported before.
- While the network runs, a tick asks every so often what was lost between a kernel and the lab, and samples the TCP
  sockets of those hosts that are observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from estab.abi import AF_INET, AF_INET6
from estab.events import FrameReceived, FrameSent, FramesLost
from estab.lab.record.conditions import Conditions
from estab.units import format_count
from estab.wire.address import format_address

if TYPE_CHECKING:
    from estab.events import Observer
    from estab.host.snapshot import SocketRow
    from estab.lab.host import Host
    from estab.lab.link import Link
    from estab.lab.links.way import Way
    from estab.lab.naming import Names
    from estab.lab.runtime import VirtualTime
    from estab.lab.topology import Port, Topology
    from estab.native.clock import RealClock
    from estab.native.host import HostDriver, Loss, NativeHost
    from estab.native.sampling import Sampler
    from estab.native.spaces import Spaces

__all__ = ["SpawnedHost", "Spawning"]

_V6_MTU_MIN: Final = 1280


class SpawnedHost:
    """What a host's runtime has instead of a stack of its own."""

    def __init__(self, spawning: Spawning, runtime: VirtualTime, native: NativeHost, driver: HostDriver,
                 sampler: Sampler) -> None:
        self._spawning = spawning
        self._runtime = runtime
        self.native = native
        self.driver = driver
        self.at_boot: list[Callable[[], object]] = []
        """Starts the processes that start whenever the host does."""
        self._sampler = sampler
        self._sampled_for: Observer | None = None

    def receive(self, interface_index: int, frame: bytes) -> None:
        """Give the kernel a frame from a link."""
        engine = self._runtime.engine
        name = engine.interfaces[interface_index].name
        if engine.observer is not None:
            engine.observer(FrameReceived(self._runtime.now_ns, engine.name, name, frame))
        self.native.send(name, frame)

    def send(self, interface_index: int, way: Way, frame: bytes) -> None:
        """Put a frame of the kernel's on a link."""
        engine = self._runtime.engine
        if engine.observer is not None:
            name = engine.interfaces[interface_index].name
            engine.observer(FrameSent(self._runtime.now_ns, engine.name, name, frame))
        way.carry(frame)

    def sample(self, every_ns: int) -> None:
        """Tell an observer what the kernel says of its TCP sockets."""
        observer = self._runtime.engine.observer
        if observer is not self._sampled_for:
            self._sampled_for = observer
            self._sampler.forget()
        if observer is None or not self.native.is_powered:
            return
        rows = self.native.tcp_rows()
        for fact in self._sampler.facts(rows, self._runtime.now_ns, every_ns):
            observer(fact)

    def losses(self) -> list[Loss]:
        """Tell what was lost between the kernel and the lab since this was asked last, an observer too."""
        losses = self.native.losses()
        observer = self._runtime.engine.observer
        if observer is not None:
            for loss in losses:
                observer(FramesLost(self._runtime.now_ns, self.native.name, loss.interface, loss.frames, loss.where))
        return losses

    def rows(self) -> list[SocketRow]:
        """List the kernel's sockets."""
        return self.native.rows()

    def counters(self) -> dict[str, int]:
        """Give the kernel's counters."""
        self._spawning.count_losses()
        return self.native.counters()

    def lose_power(self) -> None:
        """End the kernel's side: processes, sockets, interfaces."""
        self.native.lose_power()

    def regain_power(self) -> None:
        """Begin with an empty kernel's side, and start the processes that start with the host."""
        self.native.regain_power()
        self._spawning.plug(self, self._runtime)
        self._spawning.sync()
        for start in self.at_boot:
            start()

    def set_carrier(self, name: str, *, is_up: bool) -> None:
        """Have the kernel's interface see whether its cable is plugged in."""
        self.native.set_carrier(name, is_up)

    def set_awake(self, *, is_awake: bool) -> None:
        """Stop all processes, or let them go on."""
        for process in self.native.processes:
            if is_awake:
                process.resume()
            else:
                process.pause()

    def sync(self) -> None:
        """Give it the links, routes and names that were added since."""
        self._spawning.sync()

    def kill(self) -> None:
        """End all processes; the kernel goes on."""
        self.native.kill_all()


class Spawning:
    """The hosts of a network that are the kernel's."""

    def __init__(self, clock: RealClock, topology: Topology, hosts: Mapping[str, Host], links: list[Link],
                 names: Names) -> None:
        self.clock = clock
        clock.on_begin = self.sync
        clock.on_tick = self._tick
        self._topology = topology
        self._hosts = hosts
        self._links = links
        self._names = names
        self._spaces: Spaces | None = None
        self._spawned: dict[str, SpawnedHost] = {}
        self._synced = (0, 0, 0, 0)
        self.may_use_tun = True
        self._losses: dict[tuple[str, str, str], int] = {}
        """Frames that were lost on their way into the lab and were not warned of yet, by host, interface and place."""

    def make(self, host: Host, netns: str = "") -> SpawnedHost:
        """Make the kernel's side of a host, or join a namespace that is there, at the path ``netns``.

        ``OSError`` says why the system does not let us.
        """
        from estab.native.host import HostDriver, NativeHost
        from estab.native.sampling import Sampler
        from estab.native.spaces import Spaces

        if self._spaces is None:
            self._spaces = Spaces()
        native = NativeHost(host.name, self._spaces, self.clock, self._files(host), may_use_tun=self.may_use_tun,
                            netns=netns)
        runtime = host.runtime
        driver = HostDriver(native, lambda: runtime.now_ns, self._pausing(host))
        made = SpawnedHost(self, runtime, native, driver, Sampler(host.name))
        self._spawned[host.name] = made
        runtime.outside = made
        runtime.side.outside = made.receive
        self.plug(made, runtime)
        self.sync()
        return made

    def _pausing(self, host: Host) -> Callable[[int], None]:
        return lambda duration_ns: host.runtime.sleep(duration_ns)

    def _tick(self) -> None:
        self.count_losses()
        for spawned in self._spawned.values():
            spawned.sample(self.clock.tick_ns)

    def count_losses(self) -> None:
        """Ask what was lost between the kernels and the lab."""
        for name, spawned in self._spawned.items():
            for loss in spawned.losses():
                if loss.is_inward:
                    key = (name, loss.interface, loss.where)
                    self._losses[key] = self._losses.get(key, 0) + loss.frames

    def take_losses(self) -> list[str]:
        """Say what was lost on its way into the lab, and not said yet."""
        said = [f"{format_count(frames, 'frame')} of host {host} on {interface}: {where}"
                for (host, interface, where), frames in self._losses.items()]
        self._losses.clear()
        return said

    def plug(self, spawned: SpawnedHost, runtime: VirtualTime) -> None:
        """Make all interfaces that a host's ends of links ask for and that are not there."""
        for port in self._topology.ports_of(runtime):
            if port.interface not in spawned.native.ports:
                self._plug_one(spawned, runtime, port)
        self._synced = (0, 0, 0, 0)

    def _plug_one(self, spawned: SpawnedHost, runtime: VirtualTime, port: Port) -> None:
        from estab.native.host import Interface

        interface = runtime.engine.interfaces[port.index]
        way = runtime.way_of(port.index)
        addresses = [f"{format_address(port.v4)}/24"]
        if interface.mtu >= _V6_MTU_MIN:
            addresses.append(f"{format_address(port.v6)}/64")
        wanted = Interface(port.interface, interface.mtu, interface.mac, tuple(addresses))
        index = port.index
        spawned.native.plug(wanted, lambda frame: spawned.send(index, way, frame))

    def sync(self) -> None:
        """Give the kernel's hosts what was added since: interfaces, routes, names."""
        state = (len(self._links), len(self._hosts), len(self._spawned), self._names.changes)
        if state == self._synced or not self._spawned:
            return
        for name, spawned in self._spawned.items():
            if spawned.native.is_powered:
                host = self._hosts[name]
                self.plug(spawned, host.runtime)
                spawned.native.set_routes(self._routes(host), host.is_forwarding)
                spawned.native.set_files(self._files(host))
        self._join()
        self._synced = state

    def _join(self) -> None:
        """Tell ports of kernels that face each other of the short way."""
        for ends in self._topology.ports:
            if len(ends) != 2:
                continue
            first, second = ends
            one, other = self._spawned.get(first.member.name), self._spawned.get(second.member.name)
            if one is None or other is None:
                continue
            a, b = one.native.ports.get(first.interface), other.native.ports.get(second.interface)
            if a is not None and b is not None:
                a.join(b, _plainness(self._hosts[one.native.name].runtime.way_of(first.index)))
                b.join(a, _plainness(self._hosts[other.native.name].runtime.way_of(second.index)))

    def _routes(self, host: Host) -> list[tuple[str, str, str]]:
        """Give the routes of a host to all networks beyond its own; one default where all go the same way."""
        member = host.runtime
        ports = self._topology.ports_of(member)
        routes: list[tuple[str, str, str]] = []
        for number, ends in enumerate(self._topology.ports):
            hop = self._topology.hop(member, number)
            if hop is not None and ends:
                port = ends[0]
                out, gateway = hop.port.interface, hop.gateway
                routes.append((f"{format_address(port.v4[:3] + bytes(1))}/24", format_address(gateway.v4), out))
                routes.append((f"{format_address(port.v6[:8] + bytes(8))}/64", format_address(gateway.v6), out))
        if len(ports) == 1 and routes and not self._is_attached(host):
            routes = [("default", routes[0][1], routes[0][2]), ("default", routes[1][1], routes[1][2])]
        mtu = min((member.engine.interfaces[port.index].mtu for port in ports), default=0)
        return routes if mtu >= _V6_MTU_MIN else [route for route in routes if ":" not in route[1]]

    def _is_attached(self, host: Host) -> bool:
        spawned = self._spawned.get(host.name)
        return spawned is not None and bool(spawned.native.netns)

    def _files(self, host: Host) -> dict[str, str]:
        """Write what names mean on a host."""
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
        listed = self._names.listed(host.runtime)
        lines.extend(f"{format_address(address)} {name}" for name, found in listed.items() for address in found)
        for name, other in self._hosts.items():
            if name.lower() in listed:
                continue
            lines.extend(f"{format_address(address)} {name}" for family in (AF_INET, AF_INET6)
                         for address in self._topology.resolve(name, family, host.runtime))
            if other is host and not self._topology.ports_of(other.runtime):
                lines.append(f"127.0.0.1 {name}")
        return {"/etc/hosts": "\n".join(dict.fromkeys(lines)) + "\n",
                "/etc/resolv.conf": "# Names are in /etc/hosts; no server is asked.\nnameserver 127.0.0.1\n",
                "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n"
                                      "protocols: files\n"}

    def close(self) -> None:
        """End all of them, and wait until nothing is left."""
        for spawned in self._spawned.values():
            spawned.native.close()
        if self._spaces is not None:
            self._spaces.close()
            self._spaces = None
        self.clock.close()


def _plainness(way: Way) -> Callable[[], bool]:
    """Give a function that tells whether frames may pass a way's link by: it does nothing, and nobody watches."""

    def is_plain() -> bool:
        now = way.conditions
        return (way.observer is None and not way.is_cut and way.is_heard and not way.rules and way.decider is None
                and now == Conditions(mtu=now.mtu))

    return is_plain
