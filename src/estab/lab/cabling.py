"""``Cabling``: what lies between the hosts of a network, and what is done to it. ``Network`` is made on it.

A cable gets its number, its addresses and its chance from the order in which cables are laid.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, Literal, Unpack

from estab.events import Event, LinkChanged, Observer
from estab.lab.boxes.balancer import Balancer, Policy, WhenDown
from estab.lab.boxes.bridge import Bridge
from estab.lab.boxes.nat import Nat
from estab.lab.boxes.properties import BoxProperties
from estab.lab.boxing import Health, make_balancer, make_nat
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.links.host_side import Arrival
from estab.lab.links.way import Way
from estab.lab.links.weather import ChanceLog, FixedWeather, MixedWeather, Namer, Weather
from estab.lab.making import ETHERNET_HEADER_BYTES, Maker, join, plug_in
from estab.lab.programs.strands import Scheduler
from estab.lab.record.chance import Chance
from estab.lab.record.conditions import NO_CONDITIONS, LinkProperties, by_sender, read_both, read_conditions
from estab.lab.rules.partition import Partition, StandingRule
from estab.lab.rules.rule import RuleEntry
from estab.lab.rules.verdicts import PacketRule
from estab.lab.switch import Switch
from estab.lab.topology import LINKS_MAX, Topology
from estab.observers import Observation
from estab.settings import Duration

__all__ = ["NOT_IN_NAMES", "Cabling"]

NOT_IN_NAMES: Final = frozenset(" :/,=")
"""What the name of a host or a switch must not have in it."""

_SWITCH_PORTS_MAX: Final = 254


class Cabling:
    """The hosts and links of a network."""

    def __init__(self, scheduler: Scheduler, chance: Chance, weather: Weather | None) -> None:
        self._scheduler = scheduler
        self._agenda = scheduler.agenda
        self._chance = chance
        self._topology = Topology()
        self._whole = self._topology.whole()
        self._maker = Maker(scheduler, chance, self._topology)
        self._links: list[Link] = []
        self.fixed_weather: FixedWeather | None = None
        """What decides instead of chance, or besides, if the network was given its weather."""
        if weather is not None:
            self.fixed_weather = (MixedWeather if weather.has_chance else FixedWeather)(weather, self._make_namer())
            self._maker.decider = self.fixed_weather
        self.chance_log: ChanceLog | None = None
        self._hosts: dict[str, Host] = {}
        self._link_names: set[str] = set()
        self._observed: list[tuple[Observer, list[Observation]]] = []
        """The observers of everything, with the functions that remove them from each host and link."""
        self._switches: list[Switch] = []
        self._partitions: list[Partition] = []
        self._standing: list[StandingRule] = []
        """The rules of the network, which hold on links that are made later too."""

    def link(self, a: Host, b: Host, *, ethernet: bool = False, name: str | None = None,
             **properties: Unpack[LinkProperties]) -> Link:
        """Lay a cable between two hosts, with addresses at both ends and routes to everywhere.

        Properties (``LinkProperties``): ``delay= jitter=`` (``"40ms"``), ``loss= reorder= duplicate= corrupt=``
        (``"2%"``), ``rate=`` (``"20Mbit"``), ``queue=`` (frames, or bytes like ``"64KiB"``), ``queue_of=`` (``"link"``,
        or ``"host"``: the sender's own, whose TCP is told if it is full), ``ecn_mark=`` (as ``queue``: if so much waits
        for the rate, ECN-capable packets are marked CE), ``aqm=`` (``"codel"``, or with target and interval ``"codel
        5ms 100ms"``, RFC 8289: marks, or drops what is not ECN-capable; ``"fq"``, ``"fq_codel"``), ``trace=`` (a file),
        ``mtu=``. A value holds for both directions; a pair is (from a, from b); a dict has values
        by the sending host. ``ethernet=True``: frames with MAC addresses, ARP and neighbour discovery. ``name`` is by
        default both hosts' names with a hyphen. ``TypeError`` and ``ValueError`` name the property and what is right.
        """
        near, far = self._end_name(a), self._end_name(b)
        if a is b:
            raise ValueError(f"link: both ends are {near}")
        self._ensure_open()
        if len(self._topology.ports) >= LINKS_MAX:
            raise ValueError(f"link: a network has at most {LINKS_MAX}")
        if name is None:
            name = f"{near}-{far}"
            if name in self._link_names:
                name = self._next_name(name)
        elif not isinstance(name, str):
            raise TypeError(f"name: {name!r} is not a text")
        elif name in self._link_names:
            raise ValueError(f"name: there is a link {name!r} already")
        there, back = read_both(properties, near, far, name)
        link = Link(name, (a, b), self._maker.lay(name, a.runtime, b.runtime, there, back, bool(ethernet)))
        self._take_up(link)
        if self._scheduler.is_running:
            self._topology.route()
        return link

    def switch(self, name: str, *hosts: Host, **properties: Unpack[LinkProperties]) -> Switch:
        """Put hosts on one Ethernet segment: a switch, and a cable from each host to it.

            lan = net.switch("lan", a, b, client, delay="1ms")
            a.add_address("10.9.0.100/24", lan)
            net.at("3s", b.add_address, "10.9.0.100/24", lan)         # it announces itself (gratuitous ARP)

        The properties are those of ``link``, for each of the cables; of a pair the first is from the host to the
        switch. ``lan.cable(a)`` is the cable of one host, ``lan.plug(host)`` adds another.
        """
        if not isinstance(name, str) or not name or not NOT_IN_NAMES.isdisjoint(name):
            raise ValueError(f"name: {name!r} is not a name for a switch: no spaces and none of : / , =")
        if name in self._hosts or any(switch.name == name for switch in self._switches):
            raise ValueError(f"name: there is a host or switch {name!r} already")
        self._ensure_open()
        if len(self._topology.ports) >= LINKS_MAX:
            raise ValueError(f"switch: a network has at most {LINKS_MAX} links")
        for host in hosts:
            if isinstance(host, (list, tuple)):
                raise TypeError(f"switch: a {type(host).__name__} is not a host; give the hosts one after the other: "
                                f'net.switch("{name}", a, b)')
            if not isinstance(host, Host):
                raise TypeError(f"switch: {host!r} is not a host; give what Network.host() returned")
        words = by_sender(properties, [host.name for host in hosts] + [name], name)
        for sender in ("", *(host.name for host in hosts), name):  # before anything is made
            read_conditions(NO_CONDITIONS, sender, sender != name, words)
        agenda = self._agenda
        made = Switch(name, self._topology.open_network(), Bridge(lambda: agenda.now_ns), self._lay_to_switch)
        self._switches.append(made)
        for host in hosts:
            made.plug(host, **properties)
        return made

    def _lay_to_switch(self, switch: Switch, host: Host, properties: LinkProperties) -> Link:
        """Lay the cable from a host to a switch."""
        if not isinstance(host, Host):
            raise TypeError(f"switch: {host!r} is not a host; give what Network.host() returned")
        if self._hosts.get(host.name) is not host:
            raise ValueError(f"switch: {host.name} is a host of another network")
        self._ensure_open()
        bridge, side = switch.bridge, len(switch.hosts)
        if side >= _SWITCH_PORTS_MAX:
            raise ValueError(f"switch: {switch.name} has {_SWITCH_PORTS_MAX} hosts already, and that is its most")
        name = f"{switch.name}-{host.name}"
        words = by_sender(properties, [*(other.name for other in switch.hosts), host.name, switch.name], switch.name)
        there, back = (read_conditions(NO_CONDITIONS, sender, is_first, words)
                       for sender, is_first in ((host.name, True), (switch.name, False)))
        port = plug_in(self._topology, host.runtime, switch.number, side, there.mtu, True)
        decider = self._maker.decider
        to_switch = Way(name, host.name, there, ETHERNET_HEADER_BYTES, self._agenda, self._chance,
                        lambda frame: bridge.take(side, frame), decider)
        to_host = Way(name, switch.name, back, ETHERNET_HEADER_BYTES, self._agenda, self._chance,
                      Arrival(host.runtime.side, port.index), decider)
        bridge.outputs.append(to_host.carry)
        to_switch.interface, to_switch.receiver, to_host.receiver = port.interface, switch.name, host.name
        host.runtime.attach(port.index, to_switch)
        to_switch.opposite, to_host.opposite = to_host, to_switch
        to_switch.fail = to_host.fail = self._scheduler.fail_or_raise
        link = Link(name, (host, switch), join(to_switch, to_host, switch.number))
        self._take_up(link)
        self._topology.add(port, to_host)
        if self._scheduler.is_running:
            self._topology.route()
        return link

    def _take_up(self, link: Link) -> None:
        """Add a link that was made to the network: its rules and observers, and what it tells."""
        self._links.append(link)
        self._link_names.add(link.name)
        for faults in self._standing:
            faults.put_on(link)
        self._tell_of(link)

    # --- faults

    def rule(self, rule: PacketRule, on: Link | Switch | Host | None = None) -> Observation:
        """Ask ``rule(packet)`` about every packet: on all links, on one, on a switch's, or all that one host sends.

            with net.rule(lambda p: drop if p.tcp and p.tcp.syn else ok):
                net.run(until="5s")

        It returns ``ok``, ``drop``, ``duplicate``, ``delay("20ms")`` or ``reject()``. ``nth`` makes rules for the n-th
        packet of a kind. The rule is asked at once about packets that are under way. On a way over several links it is
        asked about a packet on each; ``p.link`` and ``p.sender`` say on which. ``Link.rule`` has one direction of a
        link, too.

        Returns what takes the rule away: call it, or use it in a ``with`` statement. A rule that raises ends the run
        with a ``RuleError`` that names its line.
        """
        if isinstance(on, Link):
            return on.rule(rule)
        if isinstance(on, Switch):
            ends = [on.cable(host).rule(rule) for host in on.hosts]

            def end_all() -> None:
                for end in ends:
                    end()

            return Observation(end_all)
        if on is not None and not isinstance(on, Host):
            raise TypeError(f"on: {on!r} is neither a link, a switch nor a host")
        return self._stand(RuleEntry(rule, self._scheduler.fail_or_raise), on.name if on is not None else "")

    def partition(self, a: Host | Iterable[Host], b: Host | Iterable[Host], *, one_way: bool = False) -> Partition:
        """Let no packet pass between two hosts or groups of hosts, wherever it is: those under way are lost.

        ``one_way``: only what ``a`` sends to ``b`` is lost. Both still reach all other hosts; no error is sent. Returns
        the ``Partition``, which ends by its ``heal()``, at the end of its ``with`` block, or by ``net.heal()``.
        """
        sides = [_names_of(side, word) for side, word in ((a, "a"), (b, "b"))]
        both = sorted(sides[0] & sides[1])
        if both:
            raise ValueError(f"partition: {both[0]} is on both sides")
        made = Partition(sides[0], sides[1], one_way, partial(_name_of, self._topology))
        made.ends = self._stand(RuleEntry(made.says, self._scheduler.fail_or_raise), "")
        made.tell = lambda what: self._tell_all(LinkChanged(self._agenda.now_ns, "", str(made), what))
        made.tell("cut")
        self._partitions.append(made)
        return made

    def heal(self) -> None:
        """End all partitions, and plug in again every cable that is cut."""
        for partition in self._partitions:
            partition.heal()
        self._partitions.clear()
        for link in self._links:
            link.heal()

    # --- boxes

    def nat(self, inside: Link | Iterable[Link], outside: Link, *, name: str = "nat", preserve_ports: bool = True,
            hairpin: bool = False, ipv6: bool = False, **properties: Unpack[BoxProperties]) -> Nat:
        """Translate addresses (NAPT) on the host at which the links meet: its address outside stands for all inside.

            home, uplink = net.link(phone, gateway), net.link(gateway, server)
            nat = net.nat(home, uplink, idle="5min")

        The host becomes a router. TCP, UDP and ICMP are translated, and the errors about them; IPv6 only with
        ``ipv6=True``, else it passes. A flow keeps its port if that is free, unless ``preserve_ports=False``.
        ``nat.forward(8080, phone, 80)`` opens a port; with ``hairpin`` it can be used from inside too. Packets of
        forgotten flows are dropped without an error, unless ``unknown="reject"`` or ``when_idle="reset"``. Times,
        the size of the table and the ports are properties (``BoxProperties``); the defaults are Linux's.
        """
        return make_nat(inside, outside, name, preserve_ports=preserve_ports, hairpin=hairpin, ipv6=ipv6,
                        properties=properties)

    def balancer(
        self, on: Host, service: int | str, backends: Iterable[Host | tuple[Host, int]], *, name: str = "balancer",
        policy: Policy = "round robin", masquerade: bool = False, protocol: Literal["tcp", "udp"] = "tcp",
        health: Duration | None = None, health_timeout: Duration = "1s", health_limit: int = 2,
        when_down: WhenDown = "keep", **properties: Unpack[BoxProperties],
    ) -> Balancer:
        """Balance load at level 4 on a host, which becomes a router.

            lb = net.balancer(node, "10.96.0.1:80", [(web1, 8080), (web2, 8080)], idle="350s", health="5s")

        ``service`` is a port of the host's own addresses, or an address with a port, which the host is given. A new
        connection goes to the next backend (``policy="round robin"``), to the one with ``"least connections"``, or by
        ``"source hash"``. Backends see the client's address and have to answer over the host; with ``masquerade`` they
        see the host's.

        ``health`` is how often each backend is checked by a ``connect``, which may take ``health_timeout``; after
        ``health_limit`` results in a row it is down, or up again. ``when_down="reset"`` resets the connections of one
        that went down. ``lb.drain(web1)`` gives a backend no new connections.

        The other properties are those of ``nat``: a connection without packets is forgotten after ``idle``.
        """
        return make_balancer(
            self._topology, on, service, backends, name, policy=policy, masquerade=masquerade, protocol=protocol,
            when_down=when_down, health=Health(health, health_timeout, health_limit), properties=properties)

    def _stand(self, entry: RuleEntry, sender: str) -> Observation:
        """Put a rule on all links, those that are made later too."""
        made = StandingRule(entry, sender)
        self._standing.append(made)
        for link in self._links:
            made.put_on(link)

        def end() -> None:
            self._standing.remove(made)
            made.end()

        return Observation(end)

    @property
    def links(self) -> list[Link]:
        """The links, in the order in which they were made."""
        return list(self._links)

    def calm(self) -> None:
        """End all faults from now on: what is cut or partitioned is healed, and no chance is left on links.

        Hosts and programs that are suspended or paused go on. For the end of a scenario in which everything has to
        recover; power that is off stays off.
        """
        for host in self._hosts.values():
            host.resume()
            for program in host.programs:
                program.resume()
        self.heal()
        for link in self._links:
            link.set(loss=0, corrupt=0, duplicate=0, reorder=0, jitter=0)

    # --- inside

    def _make_namer(self) -> Namer:
        """Make what names the frames on links."""
        return Namer(partial(_name_of, self._topology), self._links.__len__)

    def _ensure_open(self) -> None:
        if self._scheduler.is_closing:
            raise RuntimeError("the network is closed")

    def _tell_all(self, fact: Event) -> None:
        """Tell the observers of everything."""
        for observer, _ends in self._observed:
            observer(fact)

    def _tell_of(self, made: Host | Link) -> None:
        """Let the observers of everything observe a host or link that was just made."""
        for observer, ends in self._observed:
            ends.append(made.observe(observer))

    def _end_name(self, end: object) -> str:
        """Return the name of what is to be an end of a link, if it can be one."""
        if isinstance(end, Host):
            name = end.runtime.engine.name
            if self._hosts.get(name) is end:
                return name
            raise ValueError(f"link: {name} is a host of another network")
        if isinstance(end, Switch):
            raise TypeError(f"link: {end.name} is a switch, which has a cable to each host; {end.name}.plug(host)")
        raise TypeError(f"link: {end!r} is not a host; give what Network.host() returned")

    def _next_name(self, base: str) -> str:
        """Return the name of one more link between two hosts."""
        number = 2
        while f"{base}-{number}" in self._link_names:
            number += 1
        return f"{base}-{number}"


def _name_of(topology: Topology, address: bytes) -> str:
    names = topology.reverse(address)
    return names[0] if names else ""


def _names_of(side: Host | Iterable[Host], word: str) -> frozenset[str]:
    hosts = [side] if isinstance(side, Host) else list(side)
    for host in hosts:
        if not isinstance(host, Host):
            raise TypeError(f"{word}: {host!r} is not a host; give a host, or a list of hosts")
    if not hosts:
        raise ValueError(f"{word}: no hosts are on this side")
    return frozenset(host.name for host in hosts)
