"""ARP for IPv4 over Ethernet (RFC 826), probes and announcements included (RFC 5227).

Rules: requests and replies only; any other hardware, protocol or operation is a ``WireError``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire.octets import Writer, put16, put32, u16, u32

__all__ = ["MESSAGE_BYTES", "REPLY", "REQUEST", "Arp", "emit", "parse"]

MESSAGE_BYTES: Final = 28
REQUEST: Final = 1
REPLY: Final = 2

_ETHERNET_AND_IPV4: Final = 0x00010800
_LENGTHS: Final = 0x0604


@mypyc_attr(acyclic=True)
class Arp:
    """One ARP message. A probe has the sender 0.0.0.0; an announcement the same address twice."""

    def __init__(self, operation: i64, sender_mac: bytes, sender: bytes, target_mac: bytes, target: bytes) -> None:
        self.operation: i64 = operation
        self.sender_mac: bytes = sender_mac
        self.sender: bytes = sender
        self.target_mac: bytes = target_mac
        self.target: bytes = target


def parse(data: bytes, start: i64 = 0) -> Arp:
    """Read the ARP message that begins at ``start``. Raises ``WireError``: ``PKT_TOO_SMALL``, ``ARP_INVALID``."""
    if start < 0 or len(data) - start < MESSAGE_BYTES:
        raise WireError(DropReason.PKT_TOO_SMALL, "ARP message cut off")
    if u32(data, start) != _ETHERNET_AND_IPV4 or u16(data, start + 4) != _LENGTHS:
        raise WireError(DropReason.ARP_INVALID, "not for IPv4 over Ethernet")
    operation = u16(data, start + 6)
    if operation not in (REQUEST, REPLY):
        raise WireError(DropReason.ARP_INVALID, f"operation {operation}")
    return Arp(
        operation, data[start + 8 : start + 14], data[start + 14 : start + 18],
        data[start + 18 : start + 24], data[start + 24 : start + 28],
    )


def emit(arp: Arp) -> bytes:
    """Build the message that follows an Ethernet header."""
    writer = Writer()
    put32(writer, _ETHERNET_AND_IPV4)
    put16(writer, _LENGTHS)
    put16(writer, arp.operation)
    writer.write(arp.sender_mac)
    writer.write(arp.sender)
    writer.write(arp.target_mac)
    writer.write(arp.target)
    return writer.getvalue()
