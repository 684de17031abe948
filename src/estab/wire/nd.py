"""Neighbour discovery for IPv6 over Ethernet (RFC 4861).

Rules:

- a message that fails one of the RFC's validity checks is a ``WireError`` (``NDISC_INVALID``): a hop limit below 255
  means that it came over a router, which no such message may;
- options that this stack does not use are skipped, as section 4.6 demands, but one of length 0 spoils the message.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire import ip
from estab.wire.address import is_link_local, is_multicast, is_unspecified
from estab.wire.icmp_message import Message, build
from estab.wire.octets import Writer, put8, put16, put32, u8, u16, u32

__all__ = [
    "FIRST_TYPE", "HOP_LIMIT", "LAST_TYPE", "NEIGHBOR_ADVERTISEMENT", "NEIGHBOR_SOLICITATION", "REDIRECT",
    "ROUTER_ADVERTISEMENT", "ROUTER_SOLICITATION", "NeighborAdvertisement", "NeighborSolicitation", "Prefix",
    "Redirect", "RouterAdvertisement", "RouterSolicitation", "emit", "parse",
]

HOP_LIMIT: Final = 255
"""What every message is sent with."""

ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOR_SOLICITATION: Final = 135
NEIGHBOR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
FIRST_TYPE: Final = ROUTER_SOLICITATION
LAST_TYPE: Final = REDIRECT

_SOURCE_LINK_ADDRESS: Final = 1
_TARGET_LINK_ADDRESS: Final = 2
_PREFIX: Final = 3
_REDIRECTED: Final = 4
_MTU: Final = 5

_REDIRECTED_BYTES_MAX: Final = 1184
"""What the smallest MTU, 1280, leaves after IPv6 header, message, link address and option header."""


@mypyc_attr(acyclic=True)
class RouterSolicitation(Message):
    """Asks for routers. ``link_address`` is the sender's MAC, empty if the option is absent."""

    def __init__(self, link_address: bytes = b"") -> None:
        super().__init__(6, ROUTER_SOLICITATION, 0)
        self.link_address: bytes = link_address


@mypyc_attr(acyclic=True)
class Prefix:
    """A prefix that a router advertises (section 4.6.2). Lifetimes in seconds, 0xFFFFFFFF for ever."""

    def __init__(
        self, prefix: bytes, bits: i64, is_on_link: bool, is_autonomous: bool, valid_s: i64, preferred_s: i64
    ) -> None:
        self.prefix: bytes = prefix
        self.bits: i64 = bits
        self.is_on_link: bool = is_on_link
        self.is_autonomous: bool = is_autonomous
        self.valid_s: i64 = valid_s
        self.preferred_s: i64 = preferred_s


@mypyc_attr(acyclic=True)
class RouterAdvertisement(Message):
    """A router's offer. ``hop_limit``, ``reachable_ms``, ``retransmit_ms`` and ``mtu`` are 0 if it does not say."""

    def __init__(
        self, hop_limit: i64, is_managed: bool, has_other: bool, lifetime_s: i64, reachable_ms: i64, retransmit_ms: i64,
        link_address: bytes, mtu: i64, prefixes: list[Prefix],
    ) -> None:
        super().__init__(6, ROUTER_ADVERTISEMENT, 0)
        self.hop_limit: i64 = hop_limit
        self.is_managed: bool = is_managed
        self.has_other: bool = has_other
        self.lifetime_s: i64 = lifetime_s
        self.reachable_ms: i64 = reachable_ms
        self.retransmit_ms: i64 = retransmit_ms
        self.link_address: bytes = link_address
        self.mtu: i64 = mtu
        self.prefixes: list[Prefix] = prefixes


@mypyc_attr(acyclic=True)
class NeighborSolicitation(Message):
    """Asks for the MAC of ``target``, or whether it still answers, or (from ``::``) whether anyone else has it."""

    def __init__(self, target: bytes, link_address: bytes = b"") -> None:
        super().__init__(6, NEIGHBOR_SOLICITATION, 0)
        self.target: bytes = target
        self.link_address: bytes = link_address


@mypyc_attr(acyclic=True)
class NeighborAdvertisement(Message):
    """Says that ``target`` is at ``link_address`` (empty if the option is absent)."""

    def __init__(
        self, target: bytes, is_router: bool, is_solicited: bool, is_override: bool, link_address: bytes = b""
    ) -> None:
        super().__init__(6, NEIGHBOR_ADVERTISEMENT, 0)
        self.target: bytes = target
        self.is_router: bool = is_router
        self.is_solicited: bool = is_solicited
        self.is_override: bool = is_override
        self.link_address: bytes = link_address


@mypyc_attr(acyclic=True)
class Redirect(Message):
    """A router knows a better first hop, ``target``, for ``destination``; ``quote`` is the packet that showed it."""

    def __init__(self, target: bytes, destination: bytes, link_address: bytes = b"", quote: bytes = b"") -> None:
        super().__init__(6, REDIRECT, 0)
        self.target: bytes = target
        self.destination: bytes = destination
        self.link_address: bytes = link_address
        self.quote: bytes = quote


# --- in


class _Options:
    """The options of one message."""

    def __init__(self) -> None:
        self.source: bytes = b""
        self.target: bytes = b""
        self.mtu: i64 = 0
        self.prefixes: list[Prefix] = []
        self.quote: bytes = b""


def parse(packet: ip.Packet) -> Message:
    """Read a message of one of these types, its length and checksum seen by ``icmp.parse``.

    Raises ``WireError`` (``NDISC_INVALID``).
    """
    data = packet.data
    start = packet.start
    kind = u8(data, start)
    if packet.ttl != HOP_LIMIT:
        raise WireError(DropReason.NDISC_INVALID, f"hop limit {packet.ttl}")
    if u8(data, start + 1) != 0:
        raise WireError(DropReason.NDISC_INVALID, f"code {u8(data, start + 1)}")
    fixed_bytes = _fixed_bytes(kind)
    if packet.end - start < fixed_bytes:
        raise WireError(DropReason.NDISC_INVALID, f"{packet.end - start} bytes where {fixed_bytes} are the least")
    options = _parse_options(data, start + fixed_bytes, packet.end)
    if kind == NEIGHBOR_SOLICITATION:
        return _parse_neighbor_solicitation(packet, options)
    if kind == NEIGHBOR_ADVERTISEMENT:
        return _parse_neighbor_advertisement(packet, options)
    if kind == ROUTER_ADVERTISEMENT:
        return _parse_router_advertisement(packet, options)
    if kind == ROUTER_SOLICITATION:
        if options.source and is_unspecified(packet.src):
            raise WireError(DropReason.NDISC_INVALID, "a link address for the unspecified address")
        return RouterSolicitation(options.source)
    return _parse_redirect(packet, options)


def _fixed_bytes(kind: i64) -> i64:
    if kind == ROUTER_SOLICITATION:
        return 8
    if kind == ROUTER_ADVERTISEMENT:
        return 16
    if kind == REDIRECT:
        return 40
    return 24


def _parse_options(data: bytes, index: i64, end: i64) -> _Options:
    options = _Options()
    while index < end:
        if index + 2 > end:
            raise WireError(DropReason.NDISC_INVALID, "option cut off")
        kind = u8(data, index)
        size = u8(data, index + 1) * 8
        if size == 0 or index + size > end:
            raise WireError(DropReason.NDISC_INVALID, f"option {kind} of {size} bytes, {end - index} left")
        if kind in (_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS):
            if size != 8:
                raise WireError(DropReason.NDISC_INVALID, f"link address of {size - 2} bytes")
            if kind == _SOURCE_LINK_ADDRESS:
                options.source = data[index + 2 : index + 8]
            else:
                options.target = data[index + 2 : index + 8]
        elif kind == _MTU and size == 8:
            options.mtu = u32(data, index + 4)
        elif kind == _PREFIX and size == 32 and u8(data, index + 2) <= 128:
            options.prefixes.append(_parse_prefix(data, index))
        elif kind == _REDIRECTED:
            options.quote = data[index + 8 : index + size]
        index += size
    return options


def _parse_prefix(data: bytes, index: i64) -> Prefix:
    flags = u8(data, index + 3)
    return Prefix(
        data[index + 16 : index + 32], u8(data, index + 2), (flags & 0x80) != 0, (flags & 0x40) != 0,
        u32(data, index + 4), u32(data, index + 8),
    )


def _parse_neighbor_solicitation(packet: ip.Packet, options: _Options) -> Message:
    target = packet.data[packet.start + 8 : packet.start + 24]
    if is_multicast(target):
        raise WireError(DropReason.NDISC_INVALID, "the target is a group")
    if is_unspecified(packet.src):
        if not _is_solicited_node(packet.dst):
            raise WireError(DropReason.NDISC_INVALID, "duplicate address detection sent elsewhere than to the group")
        if options.source:
            raise WireError(DropReason.NDISC_INVALID, "a link address for the unspecified address")
    return NeighborSolicitation(target, options.source)


def _is_solicited_node(address: bytes) -> bool:
    return u32(address, 0) == 0xFF020000 and u32(address, 4) == 0 and u32(address, 8) == 1 and u8(address, 12) == 0xFF


def _parse_neighbor_advertisement(packet: ip.Packet, options: _Options) -> Message:
    target = packet.data[packet.start + 8 : packet.start + 24]
    flags = u8(packet.data, packet.start + 4)
    if is_multicast(target):
        raise WireError(DropReason.NDISC_INVALID, "the target is a group")
    if (flags & 0x40) != 0 and is_multicast(packet.dst):
        raise WireError(DropReason.NDISC_INVALID, "solicited, but sent to a group")
    return NeighborAdvertisement(target, (flags & 0x80) != 0, (flags & 0x40) != 0, (flags & 0x20) != 0, options.target)


def _parse_router_advertisement(packet: ip.Packet, options: _Options) -> Message:
    data = packet.data
    start = packet.start
    if not is_link_local(packet.src):
        raise WireError(DropReason.NDISC_INVALID, "a router must send from its link-local address")
    flags = u8(data, start + 5)
    return RouterAdvertisement(
        u8(data, start + 4), (flags & 0x80) != 0, (flags & 0x40) != 0, u16(data, start + 6),
        u32(data, start + 8), u32(data, start + 12), options.source, options.mtu, options.prefixes,
    )


def _parse_redirect(packet: ip.Packet, options: _Options) -> Message:
    target = packet.data[packet.start + 8 : packet.start + 24]
    destination = packet.data[packet.start + 24 : packet.start + 40]
    if not is_link_local(packet.src):
        raise WireError(DropReason.NDISC_INVALID, "a router must send from its link-local address")
    if is_multicast(destination):
        raise WireError(DropReason.NDISC_INVALID, "the destination is a group")
    if target != destination and not is_link_local(target):
        raise WireError(DropReason.NDISC_INVALID, "the target is no router's address and not the destination")
    return Redirect(target, destination, options.target, options.quote)


# --- out


def emit(message: Message, src: bytes, dst: bytes) -> bytes:
    """Build a message with its checksum, to be sent with ``HOP_LIMIT``. ``TypeError`` for any other message."""
    writer = Writer()
    word: i64 = 0
    if isinstance(message, NeighborSolicitation):
        writer.write(message.target)
        _put_link_address(writer, _SOURCE_LINK_ADDRESS, message.link_address)
    elif isinstance(message, NeighborAdvertisement):
        if message.is_router:
            word |= 0x80000000
        if message.is_solicited:
            word |= 0x40000000
        if message.is_override:
            word |= 0x20000000
        writer.write(message.target)
        _put_link_address(writer, _TARGET_LINK_ADDRESS, message.link_address)
    elif isinstance(message, RouterSolicitation):
        _put_link_address(writer, _SOURCE_LINK_ADDRESS, message.link_address)
    elif isinstance(message, RouterAdvertisement):
        word = _put_router_advertisement(writer, message)
    elif isinstance(message, Redirect):
        _put_redirect(writer, message)
    else:
        raise TypeError(f"message: {message!r} is not one of neighbour discovery's")
    return build(src, dst, message.type, message.code, word, writer.getvalue())


def _put_link_address(writer: Writer, kind: i64, link_address: bytes) -> None:
    if link_address:
        put8(writer, kind)
        put8(writer, 1)
        writer.write(link_address)


def _put_router_advertisement(writer: Writer, message: RouterAdvertisement) -> i64:
    flags: i64 = (0x80 if message.is_managed else 0) | (0x40 if message.has_other else 0)
    put32(writer, message.reachable_ms)
    put32(writer, message.retransmit_ms)
    _put_link_address(writer, _SOURCE_LINK_ADDRESS, message.link_address)
    if message.mtu != 0:
        put32(writer, _MTU << 24 | 1 << 16)
        put32(writer, message.mtu)
    for prefix in message.prefixes:
        prefix_flags: i64 = (0x80 if prefix.is_on_link else 0) | (0x40 if prefix.is_autonomous else 0)
        put16(writer, _PREFIX << 8 | 4)
        put16(writer, prefix.bits << 8 | prefix_flags)
        put32(writer, prefix.valid_s)
        put32(writer, prefix.preferred_s)
        put32(writer, 0)
        writer.write(prefix.prefix)
    return (message.hop_limit & 0xFF) << 24 | flags << 16 | (message.lifetime_s & 0xFFFF)


def _put_redirect(writer: Writer, message: Redirect) -> None:
    writer.write(message.target)
    writer.write(message.destination)
    _put_link_address(writer, _TARGET_LINK_ADDRESS, message.link_address)
    if message.quote:
        quote = message.quote[:_REDIRECTED_BYTES_MAX]
        quote += bytes(-len(quote) & 7)
        put8(writer, _REDIRECTED)
        put8(writer, 1 + len(quote) // 8)
        put16(writer, 0)
        put32(writer, 0)
        writer.write(quote)
