"""What a box does with the packets that arrive at its host, before the host itself looks at them.

A translator of addresses, a load balancer: each is a ``PacketHook`` of a host that forwards. Without one nothing is
asked.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.wire.ip import Packet

__all__ = ["PacketHook"]


@mypyc_attr(allow_interpreted_subclasses=True)
class PacketHook:
    """Sees each packet that arrives, and says what the host is to take in its place."""

    def arriving(self, interface_index: i64, packet: Packet) -> Packet | None:
        """Give the packet that the host is to take: this one or another; ``None``: none, the box has dealt with it."""
        return packet

    def as_sent(self, packet: Packet) -> Packet:
        """Give the packet as its sender sent it: an ICMP error is about that one."""
        return packet
