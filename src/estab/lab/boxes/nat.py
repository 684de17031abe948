"""A translator of addresses and ports (NAPT, RFC 3022): what comes from inside goes out under the gateway's address.

- A flow keeps its port if that is free for its peer (Linux; RFC 4787 calls it port preservation with address and
  port-dependent mapping), else it gets the next free one.
- What comes from outside in no flow is for the gateway's own sockets or for a port that ``forward`` opened; all else is
  dropped, or rejected.
- IPv6 passes unchanged unless asked otherwise, as at nearly all gateways of the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from estab.lab.boxes.box import Box, Conduct, Seat
from estab.lab.packets.rewrite import Ends
from estab.lab.packets.tracking import Flow
from estab.wire import ip
from estab.wire.address import is_link_local, parse_address

__all__ = ["Nat"]


@dataclass(frozen=True, slots=True)
class _Forward:
    address: bytes
    port: int


class Addressed(Protocol):
    """A host, as far as something is sent there."""

    @property
    def addresses(self) -> list[str]:
        """Its addresses."""


class Nat(Box):
    """A NAT on a host (``Network.nat`` makes it)."""

    def __init__(self, seat: Seat, name: str, conduct: Conduct, inside: frozenset[int], outside: int, *,
                 is_preserving: bool, is_hairpin: bool, has_v6: bool) -> None:
        super().__init__(seat, name, conduct)
        self._inside = inside
        self._outside = outside
        self._is_preserving = is_preserving
        self._is_hairpin = is_hairpin
        self._has_v6 = has_v6
        self._forwards: dict[tuple[int, int, int], _Forward] = {}
        """By protocol, length of the address and port."""

    def forward(self, port: int, to: Addressed | str, to_port: int | None = None,
                protocol: Literal["tcp", "udp"] = "tcp") -> None:
        """Send what comes to a port of the outside address to a host inside, or to an address; to the same port, if no
        other is given.
        """
        if protocol not in ("tcp", "udp"):
            raise ValueError(f"protocol: {protocol!r} is neither \"tcp\" nor \"udp\"")
        texts = [to] if isinstance(to, str) else to.addresses
        if not texts:
            raise ValueError("to: the host has no address yet")
        forwards = [_Forward(parse_address(text), port if to_port is None else to_port) for text in texts]
        for forward in reversed(forwards):
            key = (ip.TCP if protocol == "tcp" else ip.UDP, len(forward.address), port)
            self._forwards[key] = forward
        self.tell(f"forwards port {port} to {texts[0]}")

    def outside_address(self, size: int) -> bytes:
        """Give the outside address with so many bytes, ``b""`` if there is none."""
        for candidate in self.seat.engine.interfaces[self._outside].addresses:
            if len(candidate.address) == size and not is_link_local(candidate.address):
                return candidate.address
        return b""

    def judge(self, interface_index: int, packet: ip.Packet, ends: Ends) -> Flow | ip.Packet | None:
        """Judge a packet of no flow."""
        if packet.version == 6 and not self._has_v6:
            return packet
        outside = self.outside_address(len(packet.dst))
        if not outside:
            return packet
        if interface_index in self._inside:
            return self._from_inside(packet, ends, outside)
        if interface_index == self._outside and packet.dst == outside:
            return self._from_outside(packet, ends)
        return packet

    def concerns(self, packet: ip.Packet) -> bool:
        """Tell whether a fragment is to the outside address."""
        return packet.dst == self.outside_address(len(packet.dst))

    def _from_inside(self, packet: ip.Packet, ends: Ends, outside: bytes) -> Flow | ip.Packet | None:
        there = ends
        if packet.dst == outside:
            forward = self._forwards.get((packet.protocol, len(outside), ends.dport))
            if forward is None or not self._is_hairpin:
                return packet
            peer, port = forward.address, forward.port
        else:
            path = self.seat.engine.paths.find(packet.dst)
            if path is None or path.interface.index != self._outside or path.is_local:
                return packet
            peer, port = ends.dst, ends.dport
        back = Ends(ends.protocol, peer, port, outside, 0)
        return self.begin(packet, there, self.free_port(back, ends.sport, is_preserving=self._is_preserving))

    def _from_outside(self, packet: ip.Packet, ends: Ends) -> Flow | ip.Packet | None:
        forward = self._forwards.get((packet.protocol, len(packet.dst), ends.dport))
        if forward is not None:
            return self.begin(packet, ends, Ends(ends.protocol, forward.address, forward.port, ends.src, ends.sport))
        is_echo_request = packet.protocol in (ip.ICMP, ip.ICMPV6) and packet.data[packet.start] in (8, 128)
        if is_echo_request or self.is_own(ends):
            return packet
        self.unknown(packet)
        return None
