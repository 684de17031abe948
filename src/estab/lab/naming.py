"""Names of a network beside its hosts' own, and what it is like to look one up.

- A name stands for hosts, addresses and other names, in an order. It may be given others at any time.
- A host has a resolver: how long an answer takes, how often none comes, what fails, and what is a lie. Without one, a
  name is known at once, as from a hosts file.
- ``localhost`` and a host's own name are always known at once.
"""

from __future__ import annotations

import socket as os_socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from estab.abi import AF_UNSPEC
from estab.errors import tell
from estab.lab.record.chance import Chance
from estab.units import SECOND, duration_ns, format_duration, share
from estab.wire.address import parse_address

if TYPE_CHECKING:
    from estab.lab.topology import Member, Topology
    from estab.settings import Duration

__all__ = ["AT_ONCE", "Failure", "Names", "Order", "Resolver", "Target", "read_resolver", "read_targets"]

Target: TypeAlias = "bytes | str | Member"
"""What a name stands for: an address, another name, or a host."""
Order: TypeAlias = Literal["given", "rotate", "ipv4", "ipv6"]
"""How a name's addresses are ordered: as they were given, each time from the next one on, IPv4 first, IPv6 first."""
Failure: TypeAlias = Literal["", "silent", "SERVFAIL", "REFUSED", "NXDOMAIN"]
"""What a name server answers to everything; ``"silent"``: nothing."""

_ORDERS: Final = ("given", "rotate", "ipv4", "ipv6")
_FAILURES: Final = ("", "silent", "SERVFAIL", "REFUSED", "NXDOMAIN")
_ALIASES_MAX: Final = 8
_LOCAL: Final = ("localhost", "ip6-localhost")


@dataclass(slots=True)
class _Entry:
    targets: tuple[Target, ...]
    order: Order
    lookups: int = 0
    """How often it was looked up, for ``rotate``."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """What it is like to look a name up on a host: Linux's, with one name server."""

    failure: Failure = ""
    delay_ns: int = 0
    loss: float = 0.0
    """The share of questions that are not answered."""
    timeout_ns: int = 5 * SECOND
    attempts: int = 2
    answers: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    """What this resolver says of some names, whatever is true."""

    @property
    def is_at_once(self) -> bool:
        """Whether an answer takes no time."""
        return not self.delay_ns and not self.loss and self.failure != "silent"

    def ask(self, name: str, sleep: Callable[[int], None], chance: Chance) -> None:
        """Take the time that a lookup of ``name`` takes, which is in quotes. ``gaierror`` if it fails."""
        for _ in range(self.attempts):
            if self.failure == "silent" or (self.loss and chance.happens(self.loss)):
                sleep(self.timeout_ns)
                continue
            if self.delay_ns:
                sleep(self.delay_ns)
            if self.failure == "NXDOMAIN":
                raise tell(os_socket.gaierror(os_socket.EAI_NONAME, "Name or service not known"),
                           f"the name server says that there is no {name} (set_resolver)")
            if not self.failure:
                return
        what = (f"answered {self.failure}" if self.failure not in ("", "silent")
                else f"did not answer in {format_duration(self.timeout_ns)}")
        raise tell(os_socket.gaierror(os_socket.EAI_AGAIN, "Temporary failure in name resolution"),
                   f"the name server was asked for {name} {self.attempts} times and {what} (set_resolver)")


AT_ONCE: Final = Resolver()
"""That of a network that is told nothing of one."""


class Names:
    """All names of a network that are not only its hosts'."""

    def __init__(self, topology: Topology) -> None:
        self.resolver = AT_ONCE
        """That of hosts that have none of their own."""
        self._topology = topology
        self._entries: dict[str, _Entry] = {}
        self.changes = 0
        """How often a name was set."""

    def set(self, name: str, targets: tuple[Target, ...], order: Order) -> None:
        """Have a name stand for that from now on, also if it is a host's."""
        if not isinstance(name, str) or not name or any(letter.isspace() for letter in name):
            raise ValueError(f"name: {name!r} is no name: a text without spaces")
        if order not in _ORDERS:
            raise ValueError(f"order: {order!r} is not one of {', '.join(_ORDERS)}")
        self._entries[_key(name)] = _Entry(targets, order)
        self.changes += 1

    def is_local(self, name: str, asker: Member) -> bool:
        """Tell whether a host knows a name by itself."""
        return _key(name) in (*_LOCAL, asker.name.lower())

    def listed(self, asker: Member) -> dict[str, list[bytes]]:
        """Return all of these names with their addresses, as a file of names on a host has them."""
        return {name: self._addresses(entry.targets, asker, 0) for name, entry in self._entries.items()}

    def find(self, name: str, asker: Member, resolver: Resolver) -> list[bytes]:
        """Give a name's addresses, as a resolver says them to a host."""
        told = resolver.answers.get(_key(name))
        if told is not None:
            return self._addresses(told, asker, 0)
        return self._find(name, asker, 0)

    def _find(self, name: str, asker: Member, depth: int) -> list[bytes]:
        entry = self._entries.get(_key(name))
        if entry is None or depth > _ALIASES_MAX:
            return self._topology.resolve(name, AF_UNSPEC, asker) if entry is None else []
        targets = entry.targets
        if entry.order == "rotate" and targets:
            first = entry.lookups % len(targets)
            targets = targets[first:] + targets[:first]
            entry.lookups += 1
        found = self._addresses(targets, asker, depth)
        if entry.order in ("ipv4", "ipv6"):
            found.sort(key=len, reverse=entry.order == "ipv6")
        return found

    def _addresses(self, targets: tuple[Target, ...], asker: Member, depth: int) -> list[bytes]:
        found: list[bytes] = []
        for target in targets:
            if isinstance(target, bytes):
                more = [target]
            elif isinstance(target, str):
                more = self._find(target, asker, depth + 1)
            else:
                more = self._topology.addresses_of(target, asker)
            found.extend(address for address in more if address not in found)
        return found


def read_targets(given: object) -> tuple[Target, ...]:
    """Read what a name is to stand for: a host, an address or a name, or several of them. ``TypeError``."""
    each = given if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    targets: list[Target] = []
    for one in each:
        member = getattr(one, "runtime", None)
        if member is not None:
            targets.append(member)
            continue
        if not isinstance(one, str) or not one:
            raise TypeError(f"addresses: {one!r} is neither a host nor an address nor a name")
        try:
            targets.append(parse_address(one))
        except ValueError:
            targets.append(one)
    return tuple(targets)


def read_resolver(failure: Failure, delay: Duration, loss: float | str, timeout: Duration, attempts: int,
                  answers: Mapping[str, object]) -> Resolver:
    """Read what ``set_resolver`` is told. ``TypeError``, ``ValueError``."""
    if failure not in _FAILURES:
        raise ValueError(f"failure: {failure!r} is not one of {', '.join(map(repr, _FAILURES))}")
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise ValueError(f"attempts: {attempts!r} is not a number of attempts, from 1 on")
    if not isinstance(answers, Mapping):
        raise TypeError(f'answers: {answers!r} is not a table of names and addresses, like {{"db": "10.0.0.9"}}')
    said = {_key(name): read_targets(targets) for name, targets in answers.items()}
    delay_ns, timeout_ns = duration_ns(delay, "delay"), duration_ns(timeout, "timeout")
    return Resolver(failure, delay_ns, share(loss, "loss"), timeout_ns, attempts, said)


def _key(name: str) -> str:
    return name.rstrip(".").lower()
