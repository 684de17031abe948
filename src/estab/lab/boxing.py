"""Puts boxes on hosts: reads what their users say, finds interfaces and addresses, and runs checks of health."""

from __future__ import annotations

import socket as os_socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from estab.lab.boxes.balancer import Backend, Balancer, Policy, WhenDown
from estab.lab.boxes.box import Box, Boxes
from estab.lab.boxes.nat import Nat
from estab.lab.boxes.properties import BoxProperties, port_of, read_conduct
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.record.conditions import count_of, one_of
from estab.lab.topology import Topology
from estab.settings import Duration
from estab.sockets.socket.socket import Socket
from estab.units import SECOND, duration_ns
from estab.wire import ip
from estab.wire.address import parse_address

__all__ = ["Health", "make_balancer", "make_nat"]

_PROTOCOLS: Final = {"tcp": ip.TCP, "udp": ip.UDP}
_LOOPBACK: Final = 0


class Health:
    """How a balancer checks its backends: how often, how long it waits, and how many results in a row count."""

    def __init__(self, every: Duration | None, timeout: Duration, limit: int) -> None:
        self.every_ns = None if every is None else duration_ns(every, "health")
        self.timeout_ns = duration_ns(timeout, "health_timeout")
        self.limit = count_of("health_limit", limit)
        if self.every_ns == 0 or self.timeout_ns == 0:
            raise ValueError("health, health_timeout: 0 is not more than nothing")


def make_nat(
    inside: Link | Iterable[Link], outside: Link, name: str, *, preserve_ports: bool, hairpin: bool, ipv6: bool,
    properties: BoxProperties,
) -> Nat:
    """Put a NAT on the host at which the links meet."""
    links = [inside] if isinstance(inside, Link) else list(inside)
    for word, link in (*(("inside", one) for one in links), ("outside", outside)):
        if not isinstance(link, Link):
            raise TypeError(f"{word}: {link!r} is not a link; give what Network.link() returned")
    common = [host for host in outside.hosts if all(host in link.hosts for link in links)]
    if not links or len(common) != 1 or outside in links:
        raise ValueError("nat: the links inside and outside don't meet at one host, which would be the gateway")
    gateway = common[0]
    conduct = read_conduct(properties)
    made = Nat(gateway.runtime, name, conduct, frozenset(link.interface_of(gateway) for link in links),
               outside.interface_of(gateway), is_preserving=preserve_ports, is_hairpin=hairpin, has_v6=ipv6)
    _put(gateway, made)
    return made


def make_balancer(
    topology: Topology, on: Host, service: int | str, backends: Iterable[Host | tuple[Host, int]], name: str, *,
    policy: Policy, masquerade: bool, protocol: str, when_down: WhenDown, health: Health, properties: BoxProperties,
) -> Balancer:
    """Put a load balancer on a host."""
    if not isinstance(on, Host):
        raise TypeError(f"on: {on!r} is not a host")
    one_of("policy", policy, ("round robin", "least connections", "source hash"))
    one_of("when_down", when_down, ("keep", "reset"))
    one_of("protocol", protocol, ("tcp", "udp"))
    address, port = _read_service(service)
    conduct = read_conduct(properties)
    own = frozenset(topology.addresses_of(on.runtime)) if address is None else frozenset((address,))
    found = [_backend(topology, on, given, port) for given in backends]
    if not found:
        raise ValueError("backends: a balancer needs at least one, a host or (host, port)")
    twice = [one.host for place, one in enumerate(found) if one.host in [other.host for other in found[:place]]]
    if twice:
        raise ValueError(f"backends: {twice[0]} is there twice")
    made = Balancer(on.runtime, name, conduct, own, port, _PROTOCOLS[protocol], found, policy=policy,
                    is_masquerading=masquerade, when_down=when_down)
    boxes = _put(on, made)
    if address is not None and address not in on.engine.paths.local:
        held = address

        def hold() -> None:
            on.engine.add_own_address(on.engine.interfaces[_LOOPBACK], held, len(held) * 8)

        hold()
        boxes.at_boot.append(hold)
        topology.hold(held, on.runtime)
    if health.every_ns is not None:
        on.run(_check_for_ever, on, made, health, daemon=True, name=f"{name}'s checks", at_boot=True)
    return made


def _put(host: Host, box: Box) -> Boxes:
    runtime = host.runtime
    if runtime.boxes is None:
        runtime.boxes = Boxes()
    if box.name in [other.name for other in runtime.boxes.all]:
        raise ValueError(f"name: {host.name} has a box {box.name!r} already")
    runtime.boxes.all.append(box)
    host.engine.set_hook(runtime.boxes)
    host.engine.is_forwarding = True
    return runtime.boxes


def _read_service(service: int | str) -> tuple[bytes | None, int]:
    """Read ``80`` or ``"10.96.0.1:80"`` or ``"[fd00::5]:80"``."""
    if not isinstance(service, str):
        return None, port_of("service", service)
    text, colon, port = service.rpartition(":")
    try:
        if not colon:
            raise ValueError(service)
        return parse_address(text.removeprefix("[").removesuffix("]")), port_of("service", int(port))
    except ValueError:
        raise ValueError(f"service: {service!r} is neither a port nor an address with one, like \"10.96.0.1:80\""
                         ) from None


def _backend(topology: Topology, on: Host, given: Host | tuple[Host, int], port: int) -> Backend:
    pair: object = (given, port) if isinstance(given, Host) else given
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], Host):
        raise TypeError(f"backends: {given!r} is neither a host nor (host, port)")
    host, its_port = pair
    addresses = topology.addresses_of(host.runtime, on.runtime)
    if not addresses:
        raise ValueError(f"backends: {host.name} has no address yet: Network.link gives it one")
    v4, v6 = ([one for one in addresses if len(one) == size] for size in (4, 16))
    return Backend(host.name, port_of("backends", its_port), v4[0] if v4 else b"", v6[0] if v6 else b"")


def _check_for_ever(on: Host, balancer: Balancer, health: Health) -> None:
    """Check every backend at each interval. It is a program of the balancer's host."""
    assert health.every_ns is not None
    while True:
        for backend in balancer.backends:
            balancer.note_check(backend, _is_alive(on, backend, health.timeout_ns), health.limit)
        on.runtime.sleep(health.every_ns)


def _is_alive(on: Host, backend: Backend, timeout_ns: int) -> bool:
    is_v4 = bool(backend.v4)
    family = os_socket.AF_INET if is_v4 else os_socket.AF_INET6
    address = os_socket.inet_ntop(family, backend.address(4 if is_v4 else 16))
    with Socket(family, os_socket.SOCK_STREAM, runtime=on.runtime) as sock:
        sock.settimeout(timeout_ns / SECOND)
        with suppress(OSError):
            sock.connect((address, backend.port))
            return True
    return False
