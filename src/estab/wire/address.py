"""IP and MAC addresses: text to bytes, bytes to text, and what kind of address it is.

Rules:

- an address is ``bytes``: 4 for IPv4, 16 for IPv6, 6 for a MAC. Nothing here resolves names or knows scopes;
- text that is no address is a ``ValueError`` which names it;
- IPv6 is written as RFC 5952 says, an IPv4-mapped address with the dotted quad.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from mypy_extensions import i64

from estab.wire.octets import s64, u8, u16, u32

__all__ = [
    "ANY_V4", "ANY_V6", "BROADCAST_MAC", "BROADCAST_V4", "format_address", "format_mac", "is_broadcast",
    "is_link_local", "is_loopback", "is_multicast", "is_multicast_mac", "is_unspecified", "is_v4_mapped", "map_v4",
    "matches", "multicast_mac", "network_of", "parse_address", "parse_mac", "parse_prefix", "solicited_node",
    "unmap_v4",
]

ANY_V4: Final = b"\0\0\0\0"
ANY_V6: Final = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
BROADCAST_V4: Final = b"\xff\xff\xff\xff"
BROADCAST_MAC: Final = b"\xff\xff\xff\xff\xff\xff"
_V4_MAPPED: Final = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"
_TEXTS_MAX: Final = 4096
_texts: Final[dict[bytes, str]] = {}
"""Addresses that were written lately: the same few are written again and again."""
_SOLICITED_NODE: Final = b"\xff\x02\0\0\0\0\0\0\0\0\0\x01\xff"


@lru_cache(4096)
def parse_address(text: str) -> bytes:
    """Read ``"10.0.0.1"`` or ``"fd00::1"`` into 4 or 16 bytes. A zone (``%eth0``) is not part of an address."""
    if "%" in text:
        raise ValueError(f"address: {text!r} names a zone; give the address alone, like 'fe80::1'")
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise ValueError(f"address: {text!r} is not an IP address; write it like '10.0.0.1' or 'fd00::1'") from None


def format_address(address: bytes) -> str:
    """Write an address of 4 or 16 bytes as text."""
    text = _texts.get(address)
    if text is None:
        text = _write(address)
        if len(_texts) >= _TEXTS_MAX:
            _texts.clear()
        _texts[address] = text
    return text


def _write(address: bytes) -> str:
    if len(address) == 4:
        return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"
    if len(address) != 16:
        raise ValueError(f"address: {address!r} has {len(address)} bytes; an address has 4 or 16")
    if is_v4_mapped(address):
        return "::ffff:" + _write(address[12:])
    return str(ipaddress.IPv6Address(address))


def parse_prefix(text: str) -> tuple[bytes, int]:
    """Read ``"10.0.0.1/24"`` into an address (host bits kept) and its prefix length. Without ``/`` it is all bits."""
    address_text, slash, bits_text = text.partition("/")
    address = parse_address(address_text)
    bits_max = len(address) * 8
    if not slash:
        return address, bits_max
    if not (bits_text.isascii() and bits_text.isdigit() and len(bits_text) <= 3 and int(bits_text) <= bits_max):
        raise ValueError(f"prefix: {text!r} needs a length from 0 to {bits_max} after the '/'")
    return address, int(bits_text)


def network_of(address: bytes, bits: i64) -> bytes:
    """Clear all but the first ``bits`` bits of an address."""
    size: i64 = len(address)
    if bits == size * 8:
        return address
    if bits & 7 == 0:
        kept = bits >> 3
        return address[:kept] + ANY_V6[: size - kept]
    host_bits = int(size * 8 - bits)
    return (int.from_bytes(address, "big") >> host_bits << host_bits).to_bytes(size, "big")


def matches(address: bytes, network: bytes, bits: i64) -> bool:
    """Tell whether the first ``bits`` bits of both agree. Addresses of different families never match."""
    size: i64 = len(address)
    if size != len(network):
        return False
    if bits <= 0:
        return True
    if size == 4:
        return (u32(address, 0) ^ u32(network, 0)) >> (32 - bits) == 0
    if bits <= 64:
        return (s64(address, 0) ^ s64(network, 0)) >> (64 - bits) == 0
    return s64(address, 0) == s64(network, 0) and (s64(address, 8) ^ s64(network, 8)) >> (128 - bits) == 0


def is_unspecified(address: bytes) -> bool:
    """0.0.0.0 or ``::``: "any" or "none yet"."""
    return address in (ANY_V4, ANY_V6)


def is_loopback(address: bytes) -> bool:
    """127.0.0.0/8 or ``::1``."""
    if len(address) == 4:
        return u8(address, 0) == 127
    return s64(address, 0) == 0 and s64(address, 8) == 1


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    if len(address) == 4:
        return u8(address, 0) & 0xF0 == 0xE0
    return u8(address, 0) == 0xFF


def is_broadcast(address: bytes) -> bool:
    """255.255.255.255, the limited broadcast. That of a subnet is for the interface to know."""
    return address == BROADCAST_V4


def is_link_local(address: bytes) -> bool:
    """169.254.0.0/16 or fe80::/10."""
    if len(address) == 4:
        return u16(address, 0) == 0xA9FE
    return u16(address, 0) & 0xFFC0 == 0xFE80


def map_v4(address: bytes) -> bytes:
    """Put an IPv4 address into IPv6 (RFC 4291 section 2.5.5.2): what an IPv6 socket shows for an IPv4 peer."""
    return _V4_MAPPED + address


def is_v4_mapped(address: bytes) -> bool:
    """Whether this is an IPv6 address that stands for an IPv4 one."""
    return len(address) == 16 and address.startswith(_V4_MAPPED)


def unmap_v4(address: bytes) -> bytes:
    """Take the IPv4 address out of an IPv4-mapped one."""
    return address[12:]


def solicited_node(address: bytes) -> bytes:
    """Return the solicited-node multicast group of an IPv6 address (RFC 4291 section 2.7.1)."""
    return _SOLICITED_NODE + address[13:]


def multicast_mac(address: bytes) -> bytes:
    """Return the MAC address of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7)."""
    if len(address) == 4:
        return b"\x01\x00\x5e" + bytes([address[1] & 0x7F]) + address[2:]
    return b"\x33\x33" + address[12:]


def is_multicast_mac(mac: bytes) -> bool:
    """Whether the group bit is set; broadcast is a group too."""
    return u8(mac, 0) & 1 == 1


def parse_mac(text: str) -> bytes:
    """Read ``"02:00:00:00:00:01"`` (or with ``-``) into 6 bytes."""
    parts = text.replace("-", ":").split(":")
    digits = "".join(parts)
    if len(parts) == 6 and all(len(part) == 2 for part in parts) and all(c in "0123456789abcdefABCDEF" for c in digits):
        return bytes.fromhex(digits)
    raise ValueError(f"mac: {text!r} is not a MAC address; write it like '02:00:00:00:00:01'")


def format_mac(mac: bytes) -> str:
    """Write a MAC address as text."""
    return mac.hex(":")
