"""Which ports are taken: explicit binds, wildcard binds, port 0, and the ephemeral ports of RFC 6056.

- A ``Binding`` holds one port of one protocol on an address, or on every address of a family, or on every address of
  both (an AF_INET6 wildcard without IPV6_V6ONLY). TCP and UDP have a table each.
- Two bindings of a port conflict if their addresses overlap, unless both said SO_REUSEPORT, or both said
  SO_REUSEADDR and (TCP) the other is not listening. These are Linux's rules (``inet_csk_bind_conflict``).
- ``connect`` without ``bind`` takes a port by RFC 6056 algorithm 4 (double hash), and may share it with other
  connections that were bound so, as long as the four-tuple is free (Linux's ``__inet_hash_connect``). If half of all
  ports are taken towards a destination, that is remembered: else each further ``connect`` would look at all of them.
- TCP, as on Linux: ``connect`` looks at ports of the parity of the range's first one before the others, ``bind`` to
  port 0 at the others first, so that programs that bind leave ports for those that connect.
- A closed socket's binding stays while a connection or TIME-WAIT record of it exists. Its end is not reported: such
  bindings are checked when their port is requested, and all together when they have doubled in number.
- The table is bounded by what holds it: descriptors, connections and TIME-WAIT records, each with a limit of its own.
"""

from __future__ import annotations

import errno
from hashlib import blake2s
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import os_error
from estab.tcp.config import Config
from estab.tcp.context import Context, endpoint_text

__all__ = ["Binding", "FlowTable", "Ports"]

_PERTURB_SLOTS: Final = 1024
"""Size of RFC 6056's ``table[]``; a power of two."""
_SWEEP_MIN: Final = 256
DESTINATIONS: Final = 256
"""Of so many it is known at a time that ports towards them are taken."""


@mypyc_attr(acyclic=True)
class Binding:
    """One hold on a port. Frozen but for its flags; ``references`` counts what needs it (socket, connections)."""

    def __init__(self, address: bytes, port: i64, has_v4: bool, has_v6: bool, is_reuse_address: bool,
                 is_reuse_port: bool, is_implicit: bool) -> None:
        self.address: bytes = address
        """4 or 16 bytes, or ``b""``: every address of the families that it has."""
        self.port: i64 = port
        self.has_v4: bool = has_v4
        self.has_v6: bool = has_v6
        self.is_reuse_address: bool = is_reuse_address
        self.is_reuse_port: bool = is_reuse_port
        self.is_implicit: bool = is_implicit
        """Taken by ``connect``, which asks only for a free four-tuple."""
        self.is_listening: bool = False
        self.references: i64 = 1
        self.flow_key: bytes = b""
        """The one connection that it serves, as TCP's table knows it; ``b""`` for a listener's, which serves many."""


@mypyc_attr(allow_interpreted_subclasses=True)
class FlowTable:
    """What the port table needs to know from TCP or UDP."""

    def is_flow_taken(self, local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> bool:
        """Tell whether a new connection can't have this four-tuple."""
        raise NotImplementedError

    def is_in_use(self, binding: Binding) -> bool:
        """Tell whether a connection or TIME-WAIT record lives on a binding whose socket is closed."""
        raise NotImplementedError

    def freed_count(self) -> i64:
        """How many four-tuples have been freed so far; -1 if one may become free without being counted."""
        return -1


def _overlaps(a: Binding, b: Binding) -> bool:
    """Whether one packet could be meant for both."""
    if a.address and b.address:
        return a.address == b.address
    if a.address:
        return b.has_v4 if len(a.address) == 4 else b.has_v6
    if b.address:
        return a.has_v4 if len(b.address) == 4 else a.has_v6
    return (a.has_v4 and b.has_v4) or (a.has_v6 and b.has_v6)


def _may_share(binding: Binding, other: Binding) -> bool:
    """Whether both asked for sharing, so that an overlap is no conflict. Only the other's listening counts."""
    if binding.is_reuse_port and other.is_reuse_port:
        return True
    return binding.is_reuse_address and other.is_reuse_address and not other.is_listening


class TakenPorts:
    """Ports that a ``connect`` found taken, so that the next one to the same destination need not look at them again.

    It holds until any port or four-tuple of the host is free again, for up to ``DESTINATIONS`` at a time.
    """

    def __init__(self) -> None:
        self._steps: dict[bytes, int] = {}
        self._freed: i64 = -1

    def note(self, destination: bytes, steps: i64, freed: i64) -> None:
        """So many steps of a walk to ``destination`` led to no free port. ``freed``: what has been freed so far."""
        if freed < 0:
            return
        if freed != self._freed or len(self._steps) >= DESTINATIONS:
            self._steps.clear()
        self._freed = freed
        self._steps[destination] = steps

    def steps(self, destination: bytes, freed: i64) -> i64:
        """How many steps of the next walk lead to no free port."""
        if freed < 0 or freed != self._freed:
            return 0
        return self._steps.get(destination, 0)


class Ports:
    """The ports of one protocol on one host. ``name`` is for the errors' texts."""

    def __init__(self, name: str, context: Context, *, has_parity: bool = False) -> None:
        self.name: str = name
        self._has_parity: bool = has_parity
        self._config: Config = context.config
        """Asked for each port: ``ip_local_port_range`` may be set at any time."""
        self._context: Context = context
        self._secret: bytes = b""
        """The key of its choices, made at the first one."""
        self._draws: i64 = 0
        self._connect_count: i64 = 0
        self._perturb: dict[int, int] = {}
        """Of the slots of RFC 6056's table those that are not 0: most hosts use few of them."""
        self._taken: TakenPorts = TakenPorts()
        self._removed_count: i64 = 0
        self._by_port: dict[int, list[Binding]] = {}
        self._lingering: list[Binding] = []
        self._sweep_at: i64 = _SWEEP_MIN

    # --- taking and giving back

    def bind(self, binding: Binding, flows: FlowTable) -> None:
        """Take ``binding.port`` (0: any free ephemeral port, which is then filled in), or raise EADDRINUSE."""
        if binding.port == 0:
            binding.port = self._any_port(binding, flows)
        else:
            other = self.conflict(binding, flows)
            if other is not None:
                raise os_error(errno.EADDRINUSE, self._in_use_text(binding, other))
        self._add(binding)

    def connect(self, binding: Binding, remote: bytes, remote_port: i64, flows: FlowTable) -> None:
        """Take an ephemeral port for one destination (RFC 6056 section 3.3.4, algorithm 4).

        The counter goes up by a keyed 1 to 8 besides, so that the next port does not follow from the last one, and a
        stranger whose destination shares the counter can't count connections to others. EADDRNOTAVAIL if none is left.
        """
        port_min: i64 = self._config.ip_local_port_range[0]
        port_max: i64 = self._config.ip_local_port_range[1]
        count = port_max - port_min + 1
        destination = binding.address + b"|" + remote + _two_bytes(remote_port)
        digest = blake2s(destination, key=self._key(), digest_size=16).digest()
        offset: i64 = int.from_bytes(digest[:7], "big")
        index: i64 = int.from_bytes(digest[8:10], "big") & (_PERTURB_SLOTS - 1)
        self._connect_count += 1
        draw: int = self._connect_count
        hop = blake2s(draw.to_bytes(8, "big"), key=self._key(), digest_size=1, person=b"port-hop").digest()
        first: i64 = self._perturb.get(index, 0)
        half = (count + 1) // 2 if self._has_parity else count
        destination += _two_bytes(port_min) + _two_bytes(port_max)
        freed = self._freed_count(flows)
        for tried in range(self._taken.steps(destination, freed), count):
            if tried == half:
                self._taken.note(destination, half, freed)
            port = self._place(offset + first, tried, port_min, count, is_first_even=True)
            is_taken = flows.is_flow_taken(binding.address, port, remote, remote_port)
            if not is_taken and self._may_connect_from(port, flows):
                self._perturb[index] = (first + tried + 1 + (hop[0] & 7)) & 0xFFFFFFFF
                binding.port = port
                binding.is_implicit = True
                self._add(binding)
                return
        self._taken.note(destination, count, freed)
        raise os_error(
            errno.EADDRNOTAVAIL,
            f"cannot assign requested address: all {count} ephemeral {self.name} ports towards "
            f"{endpoint_text(remote, remote_port)} are taken",
        )

    def hold(self, binding: Binding) -> None:
        """Keep the binding for one more user of it."""
        binding.references += 1

    def release(self, binding: Binding, flows: FlowTable) -> None:
        """Release one reference; the last one frees the port, or keeps it while connections need it."""
        binding.references -= 1
        if binding.references > 0:
            return
        binding.is_listening = False
        if flows.is_in_use(binding):
            self._lingering.append(binding)
            if len(self._lingering) >= self._sweep_at:
                self._sweep(flows)
        else:
            self._remove(binding)

    # --- asking

    def conflict(self, binding: Binding, flows: FlowTable) -> Binding | None:
        """Find a binding of the same port that excludes this one."""
        for other in self._live_bucket(binding.port, flows):
            if other is not binding and _overlaps(binding, other) and not _may_share(binding, other):
                return other
        return None

    def set_listening(self, binding: Binding, flows: FlowTable) -> None:
        """Mark the binding as a listener's, or raise EADDRINUSE.

        Two sockets that share a port by SO_REUSEADDR can't both listen.
        """
        other = self.conflict(binding, flows)
        if other is not None:
            raise os_error(errno.EADDRINUSE, self._in_use_text(binding, other))
        binding.is_listening = True

    def bindings(self, port: i64) -> list[Binding]:
        """All that holds a port, oldest first."""
        return list(self._by_port.get(port, []))

    def used_count(self) -> i64:
        """How many ports are in use."""
        return len(self._by_port)

    # --- inside

    def _freed_count(self, flows: FlowTable) -> i64:
        """How many ports and four-tuples have been freed so far; -1 if one may become free without that."""
        freed = flows.freed_count()
        return freed if freed < 0 else freed + self._removed_count

    def _key(self) -> bytes:
        if not self._secret:
            self._secret = blake2s(self.name.lower().encode(), key=self._context.secret).digest()
        return self._secret

    def _add(self, binding: Binding) -> None:
        bucket = self._by_port.get(binding.port)
        if bucket is None:
            self._by_port[binding.port] = [binding]
        else:
            bucket.append(binding)

    def _remove(self, binding: Binding) -> None:
        bucket = self._by_port[binding.port]
        bucket.remove(binding)
        self._removed_count += 1
        if not bucket:
            del self._by_port[binding.port]

    def _live_bucket(self, port: i64, flows: FlowTable) -> list[Binding]:
        """Return the bindings of a port, without those of closed sockets whose connections have ended."""
        bucket = self._by_port.get(port)
        if bucket is None:
            return []
        is_dead = False
        for binding in bucket:
            if binding.references <= 0 and not flows.is_in_use(binding):
                is_dead = True
        if is_dead:
            self._sweep(flows)
            return self._by_port.get(port, [])
        return bucket

    def _sweep(self, flows: FlowTable) -> None:
        """Free the bindings of closed sockets whose connections have ended."""
        kept: list[Binding] = []
        for binding in self._lingering:
            if flows.is_in_use(binding):
                kept.append(binding)
            else:
                self._remove(binding)
        self._lingering = kept
        self._sweep_at = max(_SWEEP_MIN, 2 * len(kept))

    def _may_connect_from(self, port: i64, flows: FlowTable) -> bool:
        """Ports that were bound explicitly are not used; those of other connects may be shared."""
        return all_implicit(self._live_bucket(port, flows))

    def _any_port(self, binding: Binding, flows: FlowTable) -> i64:
        """Walk the ephemeral range from a keyed pseudo-random place (RFC 6056 algorithm 1) to a free port."""
        port_min: i64 = self._config.ip_local_port_range[0]
        port_max: i64 = self._config.ip_local_port_range[1]
        count = port_max - port_min + 1
        self._draws += 1
        draw: int = self._draws
        digest = blake2s(draw.to_bytes(8, "big"), key=self._key(), digest_size=8, person=b"port-any").digest()
        start: i64 = int.from_bytes(digest[:7], "big")
        for step in range(count):
            port = self._place(start, step, port_min, count, is_first_even=False)
            if self._is_free_for(binding, port, flows):
                return port
        raise os_error(errno.EADDRINUSE, f"address already in use: all {count} ephemeral {self.name} ports are taken")

    def _place(self, start: i64, step: i64, port_min: i64, count: i64, *, is_first_even: bool) -> i64:
        """Give the port at ``step`` of a walk from ``start`` through the range: one parity whole, then the other.

        ``is_first_even``: that of the range's first port comes first.
        """
        if not self._has_parity or count < 2:
            return port_min + (start + step) % count
        evens = (count + 1) // 2
        firsts = evens if is_first_even else count - evens
        if step < firsts:
            return port_min + 2 * ((start + step) % firsts) + (0 if is_first_even else 1)
        return port_min + 2 * ((start + step) % (count - firsts)) + (1 if is_first_even else 0)

    def _is_free_for(self, binding: Binding, port: i64, flows: FlowTable) -> bool:
        return not any(_overlaps(binding, other) for other in self._live_bucket(port, flows))

    def _in_use_text(self, binding: Binding, other: Binding) -> str:
        state = "listening" if other.is_listening else "bound"
        return (f"address already in use: {self.name} {endpoint_text(binding.address, binding.port)} overlaps "
                f"{endpoint_text(other.address, other.port)}, which is {state}")


def _two_bytes(port: i64) -> bytes:
    number: int = port
    return number.to_bytes(2, "big")


def all_implicit(bucket: list[Binding]) -> bool:
    """Whether every holder of a port is a connect that chose it (Linux's bucket with ``fastreuse`` -1)."""
    return all(binding.is_implicit for binding in bucket)
