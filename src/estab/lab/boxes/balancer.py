"""A load balancer at level 4: connections to one address go to one of several backends, each packet rewritten.

- A new connection goes to a backend that is up and not drained: the next one in their order, the one with fewest
  connections, or the one that a hash of the client's address says. A connection stays where it began.
- A backend is up until checks of its health fail: a ``connect`` at each interval. One that is drained gets no new
  connections and keeps those it has.
- Backends see the client's address, and their answers must come back over the balancer; with ``masquerade`` they see
  the balancer's.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Literal, Protocol, TypeAlias

from estab.lab.boxes.box import Box, Conduct, Seat
from estab.lab.packets.rewrite import Ends
from estab.lab.packets.tracking import Flow
from estab.wire import ip
from estab.wire.address import format_address

__all__ = ["Backend", "Balancer", "Policy", "WhenDown"]

Policy: TypeAlias = Literal["round robin", "least connections", "source hash"]
WhenDown: TypeAlias = Literal["keep", "reset"]
"""What happens to the connections of a backend whose checks fail: nothing, or both ends get a reset."""


class Named(Protocol):
    """A host, as far as its name is asked for."""

    @property
    def name(self) -> str:
        """Its name."""


class Backend:
    """One backend: its host's name, and what is known of it."""

    def __init__(self, host: str, port: int, v4: bytes, v6: bytes) -> None:
        self.host = host
        self.port = port
        self.v4 = v4
        self.v6 = v6
        self.is_up = True
        """What the checks of its health say; without checks always so."""
        self.is_drained = False
        self.failures = 0
        """Checks that failed, or succeeded, in a row, against what ``is_up`` says."""
        self.connection_count = 0
        """How many connections it was given."""

    def address(self, size: int) -> bytes:
        """Give its address with so many bytes, ``b""`` if it has none."""
        return self.v4 if size == 4 else self.v6

    def __repr__(self) -> str:
        state = "drained" if self.is_drained else "up" if self.is_up else "down"
        return f"<Backend {self.host}:{self.port} {state}>"


class Balancer(Box):
    """A load balancer on a host (``Network.balancer`` makes it). ``backends`` are in the order given."""

    def __init__(self, seat: Seat, name: str, conduct: Conduct, addresses: frozenset[bytes], port: int, protocol: int,
                 backends: list[Backend], *, policy: Policy, is_masquerading: bool, when_down: WhenDown) -> None:
        super().__init__(seat, name, conduct)
        self.backends = backends
        self._addresses = addresses
        self._port = port
        self._protocol = protocol
        self._policy = policy
        self._is_masquerading = is_masquerading
        self._when_down = when_down
        self._last = -1

    def drain(self, host: Named | str) -> None:
        """Give a backend no new connections; it keeps those it has."""
        backend = self._find(host)
        backend.is_drained = True
        self.tell(f"drains {backend.host}")

    def restore(self, host: Named | str) -> None:
        """Give a drained backend connections again."""
        backend = self._find(host)
        backend.is_drained = False
        self.tell(f"uses {backend.host} again")

    def connections_of(self, host: Named | str) -> int:
        """Count the connections that a backend has now, closed ones that are still known among them."""
        self._tracker.forget_idle()
        return self._tracker.count(self._find(host).host)

    def judge(self, interface_index: int, packet: ip.Packet, ends: Ends) -> Flow | ip.Packet | None:
        """Judge a packet of no flow: one to the service begins one."""
        if ends.protocol != self._protocol or ends.dport != self._port or ends.dst not in self._addresses:
            return packet
        backend = self._choose(ends)
        if backend is None:
            self.unknown(packet)
            return None
        back = Ends(ends.protocol, backend.address(len(ends.dst)), backend.port, ends.src, ends.sport)
        made: Ends | None = back
        if self._is_masquerading:
            path = self.seat.engine.paths.find(back.src)
            made = None if path is None else self.free_port(back._replace(dst=path.source), ends.sport)
        flow = self.begin(packet, ends, made, backend.host)
        if flow is not None:
            backend.connection_count += 1
        return flow

    def note_check(self, backend: Backend, is_alive: bool, limit: int) -> None:
        """Take the result of a check; ``limit`` of another kind in a row change what the backend is."""
        if is_alive is backend.is_up:
            backend.failures = 0
            return
        backend.failures += 1
        if backend.failures < limit:
            return
        backend.failures = 0
        backend.is_up = is_alive
        self.tell(f"{backend.host} is {'up' if is_alive else 'down'}")
        if not is_alive and self._when_down == "reset":
            for flow in self._tracker.flows:
                if flow.tag == backend.host:
                    self._tracker.remove(flow)
                    self.reset(flow)
            self.seat.flush()

    def _choose(self, ends: Ends) -> Backend | None:
        usable = [one for one in self.backends if one.is_up and not one.is_drained and one.address(len(ends.dst))]
        if not usable:
            return None
        if self._policy == "source hash":
            return usable[int.from_bytes(blake2s(ends.src, digest_size=4).digest(), "big") % len(usable)]
        if self._policy == "least connections":
            return min(usable, key=lambda one: self.connections_of(one.host))
        count = len(self.backends)
        order = [self.backends[(self._last + step) % count] for step in range(1, count + 1)]
        chosen = next(one for one in order if one in usable)
        self._last = self.backends.index(chosen)
        return chosen

    def _find(self, host: Named | str) -> Backend:
        name = host if isinstance(host, str) else host.name
        for backend in self.backends:
            if backend.host == name:
                return backend
        raise ValueError(f"host: {name} is no backend of {self.name}; it has "
                         f"{', '.join(one.host for one in self.backends)}")

    def __repr__(self) -> str:
        where = ", ".join(format_address(address) for address in sorted(self._addresses))
        return f"<Balancer {self.name} {where} port {self._port}: {self.backends}>"
