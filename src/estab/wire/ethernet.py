"""Ethernet II frames (RFC 894).

Rules:

- a frame is destination, source, EtherType and payload; no preamble, no check sequence, as packet sockets and TAP
  devices carry it;
- a VLAN tag is an EtherType like any other, and not one that this stack has.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire.octets import Writer, put16, u16

__all__ = ["ARP", "HEADER_BYTES", "IPV4", "IPV6", "Frame", "emit", "ethertype_of", "parse"]

HEADER_BYTES: Final = 14
IPV4: Final = 0x0800
ARP: Final = 0x0806
VLAN: Final = 0x8100
"""An 802.1Q tag: two bytes of priority and number, then the EtherType of what follows."""
VLAN_TAG_BYTES: Final = 4
IPV6: Final = 0x86DD


@mypyc_attr(acyclic=True)
class Frame:
    """One frame: its payload is ``data`` from ``start`` on, padding included."""

    def __init__(self, dst: bytes, src: bytes, ethertype: i64, data: bytes, start: i64) -> None:
        self.dst: bytes = dst
        self.src: bytes = src
        self.ethertype: i64 = ethertype
        self.data: bytes = data
        self.start: i64 = start


def parse(data: bytes) -> Frame:
    """Read a frame's header. Raises ``WireError`` (``PKT_TOO_SMALL``)."""
    if len(data) < HEADER_BYTES:
        raise WireError(DropReason.PKT_TOO_SMALL, f"{len(data)} bytes of an Ethernet header")
    return Frame(data[0:6], data[6:12], u16(data, 12), data, HEADER_BYTES)


def emit(dst: bytes, src: bytes, ethertype: i64, payload: bytes) -> bytes:
    """Build a frame. Short ones are not padded: that is the hardware's work."""
    writer = Writer()
    writer.write(dst)
    writer.write(src)
    put16(writer, ethertype)
    return writer.getvalue() + payload


def ethertype_of(version: i64) -> i64:
    """Return the EtherType of an IP version."""
    return IPV4 if version == 4 else IPV6
