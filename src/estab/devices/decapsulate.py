"""Finds the IP packet in a captured frame, whatever it was captured on.

- A link type is a number of the file (tcpdump's LINKTYPE_ list). Those of ``LINK_TYPES`` are unwrapped; of any other,
  ``link_type_text`` says its number, so that an unknown format is not mistaken for an empty capture.
- What is unwrapped on the way: VLAN tags (802.1Q, 802.1ad, also stacked), priority tags, PPPoE, MPLS, 802.2 SNAP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from estab.devices.capture_file import INBOUND, OUTBOUND, Captured

__all__ = ["LINK_TYPES", "Inside", "inside", "ip_packet", "link_type_text"]

_NULL: Final = 0
_ETHERNET: Final = 1
_PPP: Final = frozenset({9, 50, 51, 166, 204})
_PPPOE_FRAME: Final = 51
_PPP_PPPD: Final = 166
_PPP_WITH_DIRECTION: Final = 204
_CHDLC: Final = 104
_LOOP: Final = 108
_SLL: Final = 113
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_NFLOG: Final = 239
_SLL2: Final = 276

LINK_TYPES: Final = {
    0: "BSD loopback", 1: "Ethernet", 9: "PPP", 12: "raw IP", 14: "raw IP", 50: "PPP in HDLC", 51: "PPPoE",
    101: "raw IP", 104: "Cisco HDLC", 108: "OpenBSD loopback", 113: "Linux cooked", 166: "PPP of pppd",
    204: "PPP with direction",    228: "raw IPv4", 229: "raw IPv6", 239: "Linux NFLOG", 276: "Linux cooked v2",
}
"""The link types that are unwrapped, with a name of each."""

_NOT_READ: Final = {
    105: "Wi-Fi, taken in monitor mode", 119: "Wi-Fi, taken in monitor mode", 127: "Wi-Fi, taken in monitor mode",
    163: "Wi-Fi, taken in monitor mode", 187: "Bluetooth", 201: "Bluetooth", 189: "USB", 220: "USB", 249: "USB",
    195: "IEEE 802.15.4", 215: "IEEE 802.15.4", 230: "IEEE 802.15.4", 227: "CAN",
}
"""Names of link types that people try and that are not unwrapped: monitor mode has frames that are mostly encrypted."""
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_IP: Final = frozenset({0x0800, 0x86DD})
_PPPOE: Final = 0x8864
_MPLS: Final = frozenset({0x8847, 0x8848})
_PPP_IP: Final = frozenset({0x0021, 0x0057})
_LLC_SNAP: Final = b"\xaa\xaa\x03"
_LENGTH_MAX: Final = 1500
_NFULA_PAYLOAD: Final = 9
_SLL_OUTGOING: Final = 4


@dataclass(frozen=True, slots=True)
class Inside:
    """What a frame carries: the packet, the VLANs that it is in, outermost first, and its direction if that is told."""

    packet: bytes
    vlans: tuple[int, ...] = ()
    direction: int = 0
    """``INBOUND``, ``OUTBOUND``, or 0 for unknown, as seen from where the capture was taken."""


def link_type_text(link_type: int) -> str:
    """Name a link type for people: ``Ethernet (link type 1)``."""
    name = LINK_TYPES.get(link_type) or _NOT_READ.get(link_type)
    return f"{name} (link type {link_type})" if name else f"link type {link_type}"


def ip_packet(frame: Captured) -> bytes | None:
    """Return the IP packet in a frame, ``None`` if it carries something else."""
    found = inside(frame)
    return None if found is None else found.packet


def inside(frame: Captured) -> Inside | None:
    """Take everything off that is not IP; ``None`` if the frame carries something else."""
    data, kind = frame.data, frame.link_type
    vlans: list[int] = []
    direction = frame.direction
    if kind in _RAW:
        packet = data
    elif kind in (_NULL, _LOOP):
        packet = data[4:]
    elif kind == _ETHERNET:
        packet = _after_ethertype(data, 12, 14, vlans)
    elif kind == _SLL:
        direction = direction or _cooked_direction(data[0:2])
        packet = _after_ethertype(data, 14, 16, vlans)
    elif kind == _SLL2:
        direction = direction or _cooked_direction(data[10:11])
        packet = _after_ethertype(data, 0, 20, vlans)
    elif kind in _PPP:
        packet = _after_ppp(data, kind)
    elif kind == _CHDLC:
        packet = _after_ethertype(data, 2, 4, vlans)
    elif kind == _NFLOG:
        packet = _nflog_payload(data)
    else:
        return None
    if not packet or packet[0] >> 4 not in (4, 6):
        return None
    return Inside(packet, tuple(vlans), direction)


def _cooked_direction(kind: bytes) -> int:
    """Read the packet type of a cooked header: 4 is outgoing, 0 to 3 came in; an empty one tells nothing."""
    if not kind:
        return 0
    return OUTBOUND if int.from_bytes(kind, "big") == _SLL_OUTGOING else INBOUND


def _after_ethertype(data: bytes, at: int, start: int, vlans: list[int]) -> bytes:
    """Follow EtherTypes, the first at ``at``, its payload at ``start``, down to an IP packet; else ``b""``."""
    kind = int.from_bytes(data[at:at + 2], "big")
    while kind in _VLANS and len(data) >= start + 4:
        vlan = int.from_bytes(data[start:start + 2], "big") & 0xFFF
        if vlan:  # 0 is a priority tag, not a VLAN
            vlans.append(vlan)
        kind = int.from_bytes(data[start + 2:start + 4], "big")
        start += 4
    if kind in _IP:
        return data[start:]
    if kind == _PPPOE:
        return _after_protocol(data, start + 6)
    if kind in _MPLS:
        while len(data) >= start + 4:
            start += 4
            if data[start - 2] & 1:
                return data[start:]
    if kind <= _LENGTH_MAX and data[start:start + 3] == _LLC_SNAP:
        if int.from_bytes(data[start + 6:start + 8], "big") in _IP:
            return data[start + 8:]
    return b""


def _after_ppp(data: bytes, kind: int) -> bytes:
    if kind == _PPPOE_FRAME:
        return _after_protocol(data, 6)
    at = 1 if kind == _PPP_WITH_DIRECTION else 0
    has_address = kind == _PPP_PPPD or data[at:at + 2] == b"\xff\x03"  # pppd puts the direction in its place
    return _after_protocol(data, at + 2 if has_address else at)


def _after_protocol(data: bytes, at: int) -> bytes:
    """Skip PPP's protocol field, which may be one octet if its lowest bit is set (RFC 1661 section 6.5)."""
    if data[at:at + 1] in (b"\x21", b"\x57"):
        return data[at + 1:]
    return data[at + 2:] if int.from_bytes(data[at:at + 2], "big") in _PPP_IP else b""


def _nflog_payload(data: bytes) -> bytes:
    """Find the packet among NFLOG's attributes, whose numbers are in the byte order of the machine: little, mostly."""
    for order in ("little", "big"):
        at = 4
        while at + 4 <= len(data):
            size = int.from_bytes(data[at:at + 2], order)
            kind = int.from_bytes(data[at + 2:at + 4], order)
            if size < 4:
                break
            if kind == _NFULA_PAYLOAD:
                return data[at + 4:at + size]
            at += size + 3 & ~3
    return b""
