"""Routes are found when they are needed, and are those that a search over the whole network finds."""

from __future__ import annotations

from collections import deque

import pytest

import estab
from estab.lab.record.chance import Chance
from estab.lab.topology import Member, Port, Topology
from estab.wire.address import format_address


def build(seed: int) -> estab.Network:
    """Make a network at random: up to 12 hosts, some of which forward, and up to 18 links between them."""
    chance = Chance("topology", seed)
    net = estab.Network(seed)
    count = chance.between(2, 12)
    hosts = [net.host(f"h{number}", forwarding=chance.happens(0.6)) for number in range(count)]
    for _ in range(chance.between(1, 18)):
        one, other = chance.between(0, count - 1), chance.between(0, count - 1)
        if one != other:
            net.link(hosts[one], hosts[other])
    return net


def first_hops(topology: Topology, member: Member) -> dict[int, tuple[Port, Port]]:
    """Search breadth first over all hosts that forward: the first hop to each network, in the order of finding."""
    own = {port.link for port in topology.ports_of(member)}
    found: dict[int, tuple[Port, Port]] = {}
    seen = {member.name}
    queue: deque[tuple[Member, tuple[Port, Port] | None]] = deque([(member, None)])
    while queue:
        at, hop = queue.popleft()
        for port in topology.ports_of(at):
            if hop is not None and port.link not in own:
                found.setdefault(port.link, hop)
            first, second = topology.ports[port.link]
            other = second if port is first else first
            if other.member.name not in seen:
                seen.add(other.member.name)
                if other.member.engine.is_forwarding:
                    queue.append((other.member, hop or (port, other)))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_routes_that_are_found_when_needed_are_those_of_a_search(seed: int) -> None:
    with build(seed) as net:
        topology = net._topology
        topology.route()
        for member in topology.members.values():
            expected = first_hops(topology, member)
            near = [port.link for port in topology.ports_of(member)] + list(expected)
            for number, ends in enumerate(topology.ports):
                for address in (ends[0].v4, ends[1].v6):
                    route = member.engine.routes.lookup(address, None)
                    own = next((port for port in topology.ports_of(member) if port.link == number), None)
                    if own is not None:
                        assert route is not None
                        assert (route.interface.index, route.gateway) == (own.index, b"")
                    elif number in expected:
                        port, gateway = expected[number]
                        assert route is not None
                        assert route.interface.index == port.index
                        assert route.gateway == (gateway.v4 if len(address) == 4 else gateway.v6)
                    else:
                        assert route is None
            for other in topology.members.values():
                if other is not member:
                    order = [port.link for port in sorted(
                        topology.ports_of(other), key=lambda port: near.index(port.link) if port.link in near else 99)]
                    listed = topology.addresses_of(other, member)[:len(order)]
                    assert [topology.number_of(address) for address in listed] == order


def test_every_route_can_be_listed_and_a_later_link_changes_them() -> None:
    with estab.Network() as net:
        a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
        net.link(a, router)
        net.run(until="1s")
        assert a.engine.routes.lookup(b"\x0a\0\1\2", None) is None
        net.link(router, b)
        net.run(until="2s")
        found = a.engine.routes.lookup(b"\x0a\0\1\2", None)
        assert found is not None
        assert format_address(found.gateway) == "10.0.0.2"
        texts = [route.text() for route in a.engine.routes.all()]
        assert "10.0.1.0/24 via 10.0.0.2 dev eth0" in texts
        assert "fd00:0:0:1::/64 via fd00::2 dev eth0" in texts


def test_a_host_that_was_without_power_finds_its_routes_again() -> None:
    with estab.Network() as net:
        a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
        net.link(a, router)
        net.link(router, b)
        a.power_off()
        a.power_on()
        assert a.engine.routes.lookup(b"\x0a\0\1\2", None) is not None


def test_a_name_is_found_in_any_case_and_an_address_by_its_number() -> None:
    with estab.Network() as net:
        a, b = net.host("Alpha"), net.host("beta")
        net.link(a, b)
        topology = net._topology
        assert topology.resolve("ALPHA.", 2, b.runtime) == [b"\x0a\0\0\1"]
        assert topology.reverse(b"\x0a\0\0\2") == ["beta"]
        assert topology.reverse(b"\x0a\0\0\3") == []
        assert topology.reverse(b"\x0a\0\7\2") == []
        assert topology.reverse(b"\x08\x08\x08\x08") == []
