"""Switches, NATs, load balancers and firewalls of a scenario file: ``[[switches]]``, ``[[nats]]`` and so on.

    [[switches]]
    name = "lan"
    hosts = ["a", "b", "gateway"]
    delay = "1ms"

    [[nats]]
    inside = "lan-gateway"
    outside = "gateway-server"
    idle = "5min"
    forwards = [{ port = 8080, to = "a", to_port = 80 }]

    [[balancers]]
    on = "gateway"
    service = "10.96.0.1:80"
    backends = ["a:8080", "b:8080"]

    [[firewalls]]
    on = "gateway-server"
    idle = "1h"

They are made after the links, in this order. Their other words are those of ``Network.switch``, ``nat`` and
``balancer``, and of ``Link.firewall``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Final, Protocol

from estab.lab.boxes.balancer import Balancer
from estab.lab.boxes.nat import Nat
from estab.lab.boxes.properties import BoxProperties
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.links.firewall import Firewall
from estab.lab.network import Network
from estab.lab.record.conditions import LinkProperties
from estab.lab.switch import Switch

__all__ = ["KINDS", "PartPlan", "Reading", "build", "read"]

KINDS: Final = ("switches", "nats", "balancers", "firewalls")
"""The tables, in the order in which what they say is made."""
_CLASSES: Final[Mapping[str, type]] = {"switches": Switch, "nats": Nat, "balancers": Balancer, "firewalls": Firewall}
_DOES: Final[Mapping[str, tuple[str, ...]]] = {
    "switches": ("forget",), "nats": ("forget",), "balancers": ("drain", "restore", "forget"), "firewalls": ("forget",),
}


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One of them: its table's name, and its words."""

    kind: str
    words: Mapping[str, Any]

    @property
    def called(self) -> str:
        """Its name: ``nat``, ``balancer``, ``firewall``, if it was given none."""
        return str(self.words.get("name", self.kind.removesuffix("es" if self.kind == "switches" else "s")))

    @property
    def type(self) -> type:
        """What it is."""
        return _CLASSES[self.kind]

    @property
    def does(self) -> tuple[str, ...]:
        """What an action may ask of it."""
        return _DOES[self.kind]

    @property
    def cables(self) -> list[str]:
        """The links that it brings: a switch has a cable to each host."""
        return [f"{self.called}-{host}" for host in self.words["hosts"]] if self.kind == "switches" else []


class Reading(Protocol):
    """What reads the file, and tells mistakes with their line."""

    def known(self, table: Mapping[str, Any], names: Iterable[str], what: str) -> None:
        """See that a table has no other words."""

    def one_of(self, given: str, names: Iterable[str], what: str, key: str) -> None:
        """See that a name is one of those that there are."""

    def wrong(self, key: str, text: str) -> Exception:
        """Make the error for a mistake."""


def read(kind: str, table: Mapping[str, Any], hosts: Iterable[str], links: Iterable[str], reading: Reading) -> PartPlan:
    """Read a table. The errors are those of ``reading``."""
    needed, also = _words(kind)
    reading.known(table, [*needed, *also], kind)
    for word in needed:
        if word not in table:
            raise reading.wrong(kind, f"{kind}: {word} is missing; one needs {', '.join(needed)}")
    for word, names, what in (("hosts", hosts, "host"), ("inside", hosts if kind == "firewalls" else links, "link"),
                              ("outside", links, "link"), ("backends", hosts, "host"),
                              ("on", hosts if kind == "balancers" else links, "link")):
        given = table.get(word, [])
        for one in [given] if isinstance(given, str) else given:
            if not isinstance(one, str):
                raise reading.wrong(word, f"{kind}: {word}: {one!r} is not a name")
            name = one.partition(":")[0] if word == "backends" else one
            is_host = word == "hosts" or names is hosts
            reading.one_of(name, names, "host" if is_host else what, word)
    return PartPlan(kind, {word: tuple(value) if isinstance(value, list) else value for word, value in table.items()})


def _words(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the words that a table must have, and those that it may have."""
    if kind == "switches":
        return ("name", "hosts"), tuple(LinkProperties.__annotations__)
    functions: dict[str, Callable[..., object]] = {
        "nats": Network.nat, "balancers": Network.balancer, "firewalls": Link.firewall}
    function = functions[kind]
    parameters = signature(function).parameters.values()
    named = [one.name for one in parameters if one.name != "self" and one.kind is not Parameter.VAR_KEYWORD]
    if kind == "firewalls":
        return ("on", "idle"), (*named, "name")
    needed = ("inside", "outside") if kind == "nats" else ("on", "service", "backends")
    return needed, (*named, "forwards", *BoxProperties.__annotations__)


def build(net: Network, plans: Iterable[PartPlan], hosts: Mapping[str, Host], links: dict[str, Link],
          tried: Callable[..., Any]) -> dict[str, Any]:
    """Make them on a network. A switch's cables are added to ``links``. Returns them by name."""
    made: dict[str, Any] = {}
    for kind in KINDS:
        for plan in plans:
            if plan.kind == kind:
                made[plan.called] = _make(net, plan, hosts, links, tried)
    return made


def _make(net: Network, plan: PartPlan, hosts: Mapping[str, Host], links: dict[str, Link],
          tried: Callable[..., Any]) -> Any:
    words, where = dict(plan.words), f"{plan.kind}: {plan.called}"
    if plan.kind == "switches":
        ends = [hosts[name] for name in words.pop("hosts")]
        switch: Switch = tried(where, net.switch, words.pop("name"), *ends, **words)
        links.update({switch.cable(host).name: switch.cable(host) for host in switch.hosts})
        return switch
    if plan.kind == "firewalls":
        words.pop("name", None)
        inside = words.pop("inside", None)
        return tried(where, links[words.pop("on")].firewall, words.pop("idle"),
                     None if inside is None else hosts[inside], **words)
    words["name"] = plan.called
    if plan.kind == "nats":
        inside = words.pop("inside")
        names = [inside] if isinstance(inside, str) else inside
        forwards = words.pop("forwards", ())
        nat: Nat = tried(where, net.nat, [links[name] for name in names], links[words.pop("outside")], **words)
        for forward in forwards:
            tried(where, _forward, nat, hosts, **forward)
        return nat
    backends = [_backend(text, hosts) for text in words.pop("backends")]
    return tried(where, net.balancer, hosts[words.pop("on")], words.pop("service"), backends, **words)


def _forward(nat: Nat, hosts: Mapping[str, Host], port: int, to: str, to_port: int | None = None,
             protocol: Any = "tcp") -> None:
    nat.forward(port, hosts.get(to, to), to_port, protocol)


def _backend(text: str, hosts: Mapping[str, Host]) -> Host | tuple[Host, int]:
    name, colon, port = text.partition(":")
    return (hosts[name], int(port)) if colon else hosts[name]
