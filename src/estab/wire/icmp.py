"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echo and errors, both versions with one face.

Rules:

- ``parse`` gives a ``Message`` of the right subclass, neighbour discovery (``nd``) included, or raises ``WireError``.
  Types that this stack does not know are kept as ``Unknown``;
- an error says what went wrong in ``problem``, the same for both versions: IPv4's "fragmentation needed" is
  ``PACKET_TOO_BIG``;
- an error quotes the packet it is about. The quote may be cut anywhere after its IP header and may have been changed
  on the way, so it is read leniently: what is missing is -1.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire import ip, nd
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.icmp_message import HEADER_BYTES, Message, Unknown, build
from estab.wire.octets import u8, u16, u32

__all__ = [
    "ADDRESS_UNREACHABLE_V6", "ADMINISTRATIVELY_PROHIBITED_V4", "ADMINISTRATIVELY_PROHIBITED_V6",
    "FRAGMENTATION_NEEDED_V4", "HEADER_BYTES", "HOST_UNREACHABLE_V4", "NETWORK_UNREACHABLE_V4", "NO_ROUTE_V6",
    "PACKET_TOO_BIG", "PARAMETER_PROBLEM", "PORT_UNREACHABLE_V4", "PORT_UNREACHABLE_V6", "PROTOCOL_UNREACHABLE_V4",
    "REDIRECT", "TIME_EXCEEDED", "UNREACHABLE", "Echo", "Error", "Message", "Quoted", "Unknown", "emit",
    "is_error", "parse", "parse_quoted",
]

# What an error says went wrong (``Error.problem``).
UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
REDIRECT: Final = 5
"""IPv4's redirect. IPv6's is ``nd.Redirect``."""

# Codes of UNREACHABLE.
NETWORK_UNREACHABLE_V4: Final = 0
HOST_UNREACHABLE_V4: Final = 1
PROTOCOL_UNREACHABLE_V4: Final = 2
PORT_UNREACHABLE_V4: Final = 3
FRAGMENTATION_NEEDED_V4: Final = 4
ADMINISTRATIVELY_PROHIBITED_V4: Final = 13
NO_ROUTE_V6: Final = 0
ADMINISTRATIVELY_PROHIBITED_V6: Final = 1
ADDRESS_UNREACHABLE_V6: Final = 3
PORT_UNREACHABLE_V6: Final = 4

_V4_ECHO_REPLY: Final = 0
_V4_UNREACHABLE: Final = 3
_V4_SOURCE_QUENCH: Final = 4
_V4_REDIRECT: Final = 5
_V4_ECHO: Final = 8
_V4_TIME_EXCEEDED: Final = 11
_V4_PARAMETER_PROBLEM: Final = 12
_V6_PARAMETER_PROBLEM: Final = 4
_V6_ECHO: Final = 128
_V6_ECHO_REPLY: Final = 129
_V6_INFORMATIONAL: Final = 128

_QUOTE_BYTES_MAX_V4: Final = 548
"""An IPv4 error has up to 576 bytes in all (RFC 1812 section 4.3.2.3)."""
_QUOTE_BYTES_MAX_V6: Final = 1232
"""An ICMPv6 error fits into the smallest MTU, 1280 (RFC 4443 section 2.4 (c))."""


@mypyc_attr(acyclic=True)
class Quoted:
    """What an error's quote tells of the packet it is about; ``src`` is the address that sent that packet.

    ``sport`` and ``dport`` are for TCP and UDP, ``seq`` for TCP, ``ident`` and ``sequence`` for an echo; -1 if the
    quote does not reach so far or it is another protocol. ``total_bytes`` is the packet's length by its own header.
    """

    def __init__(self, version: i64, src: bytes, dst: bytes, protocol: i64, total_bytes: i64) -> None:
        self.version: i64 = version
        self.src: bytes = src
        self.dst: bytes = dst
        self.protocol: i64 = protocol
        self.total_bytes: i64 = total_bytes
        self.sport: i64 = -1
        self.dport: i64 = -1
        self.seq: i64 = -1
        self.ident: i64 = -1
        self.sequence: i64 = -1
        self.text_at: i64 = -1
        """Where in the quote a UDP datagram's text begins."""


@mypyc_attr(acyclic=True)
class Echo(Message):
    """An echo request or reply."""

    def __init__(self, version: i64, is_reply: bool, ident: i64, sequence: i64, payload: bytes) -> None:
        if version == 4:
            super().__init__(version, _V4_ECHO_REPLY if is_reply else _V4_ECHO, 0)
        else:
            super().__init__(version, _V6_ECHO_REPLY if is_reply else _V6_ECHO, 0)
        self.is_reply: bool = is_reply
        self.ident: i64 = ident
        self.sequence: i64 = sequence
        self.payload: bytes = payload


@mypyc_attr(acyclic=True)
class Error(Message):
    """An error about the packet that ``quote`` begins with.

    ``mtu`` is for PACKET_TOO_BIG (0 from routers older than RFC 1191), ``pointer`` for PARAMETER_PROBLEM, ``gateway``
    for REDIRECT. Building one from a ``quote`` that has no IP header raises ``WireError``.
    """

    def __init__(
        self, version: i64, problem: i64, code: i64, quote: bytes,
        mtu: i64 = 0, pointer: i64 = 0, gateway: bytes = b"",
    ) -> None:
        if problem == PACKET_TOO_BIG and version == 4:
            code = FRAGMENTATION_NEEDED_V4
        super().__init__(version, _error_type(version, problem), code)
        self.problem: i64 = problem
        self.quote: bytes = quote
        self.quoted: Quoted = parse_quoted(quote)
        self.mtu: i64 = mtu
        self.pointer: i64 = pointer
        self.gateway: bytes = gateway


def _error_type(version: i64, problem: i64) -> i64:
    if version == 6:
        return problem
    if problem == TIME_EXCEEDED:
        return _V4_TIME_EXCEEDED
    if problem == PARAMETER_PROBLEM:
        return _V4_PARAMETER_PROBLEM
    if problem == REDIRECT:
        return _V4_REDIRECT
    return _V4_UNREACHABLE


# --- in


def parse(packet: ip.Packet, is_checksum_known_good: bool = False) -> Message:
    """Read the ICMP or ICMPv6 message that an IP packet carries.

    Raises ``WireError``: ``ICMP_CSUM``, ``ICMP_INVALID``, ``NDISC_INVALID``.
    """
    data = packet.data
    start = packet.start
    end = packet.end
    if end - start < HEADER_BYTES:
        raise WireError(DropReason.ICMP_INVALID, f"{end - start} bytes of an ICMP header")
    if not is_checksum_known_good:
        acc: i64 = 0
        if packet.version == 6:
            acc = pseudo_header(packet.src, packet.dst, ip.ICMPV6, end - start)
        if fold(add(data, start, end, acc)) != 0xFFFF:
            raise WireError(DropReason.ICMP_CSUM)
    kind = u8(data, start)
    if packet.version == 6:
        if nd.FIRST_TYPE <= kind <= nd.LAST_TYPE:
            return nd.parse(packet)
        return _parse_v6(packet, kind, u8(data, start + 1), u32(data, start + 4), data[start + 8 : end])
    return _parse_v4(packet, kind, u8(data, start + 1), u32(data, start + 4), data[start + 8 : end])


def _parse_v4(packet: ip.Packet, kind: i64, code: i64, word: i64, body: bytes) -> Message:
    if kind in (_V4_ECHO, _V4_ECHO_REPLY):
        if code != 0:
            return Unknown(4, kind, code, word, body)
        return Echo(4, kind == _V4_ECHO_REPLY, word >> 16, word & 0xFFFF, body)
    if kind == _V4_UNREACHABLE:
        if code == FRAGMENTATION_NEEDED_V4:
            return Error(4, PACKET_TOO_BIG, code, body, mtu=word & 0xFFFF)  # RFC 1191 section 4
        return Error(4, UNREACHABLE, code, body)
    if kind == _V4_TIME_EXCEEDED:
        return Error(4, TIME_EXCEEDED, code, body)
    if kind == _V4_PARAMETER_PROBLEM:
        return Error(4, PARAMETER_PROBLEM, code, body, pointer=word >> 24)
    if kind == _V4_REDIRECT:
        return Error(4, REDIRECT, code, body, gateway=packet.data[packet.start + 4 : packet.start + 8])
    return Unknown(4, kind, code, word, body)


def _parse_v6(packet: ip.Packet, kind: i64, code: i64, word: i64, body: bytes) -> Message:
    if kind in (_V6_ECHO, _V6_ECHO_REPLY):
        if code != 0:
            return Unknown(6, kind, code, word, body)
        return Echo(6, kind == _V6_ECHO_REPLY, word >> 16, word & 0xFFFF, body)
    if kind == PACKET_TOO_BIG:
        return Error(6, PACKET_TOO_BIG, code, body, mtu=word)
    if kind == PARAMETER_PROBLEM:
        return Error(6, PARAMETER_PROBLEM, code, body, pointer=word)
    if kind in (UNREACHABLE, TIME_EXCEEDED):
        return Error(6, kind, code, body)
    return Unknown(6, kind, code, word, body)


def parse_quoted(quote: bytes) -> Quoted:
    """Read what there is of a quoted packet. Raises ``WireError`` (``ICMP_INVALID``) without a whole IP header."""
    size: i64 = len(quote)
    if size >= ip.V4_HEADER_BYTES and u8(quote, 0) >> 4 == 4:
        return _parse_quoted_v4(quote, size)
    if size >= ip.V6_HEADER_BYTES and u8(quote, 0) >> 4 == 6:
        return _parse_quoted_v6(quote, size)
    raise WireError(DropReason.ICMP_INVALID, "the quote holds no IP header")


def _parse_quoted_v4(quote: bytes, size: i64) -> Quoted:
    header_bytes = (u8(quote, 0) & 15) * 4
    if header_bytes < ip.V4_HEADER_BYTES or header_bytes > size:
        raise WireError(DropReason.ICMP_INVALID, "the quoted IPv4 header is cut off")
    quoted = Quoted(4, quote[12:16], quote[16:20], u8(quote, 9), u16(quote, 2))
    if (u16(quote, 6) & 0x1FFF) == 0:
        _read_transport(quoted, quote, header_bytes, size)
    return quoted


def _parse_quoted_v6(quote: bytes, size: i64) -> Quoted:
    quoted = Quoted(6, quote[8:24], quote[24:40], u8(quote, 6), ip.V6_HEADER_BYTES + u16(quote, 4))
    index: i64 = ip.V6_HEADER_BYTES
    while ip.is_extension(quoted.protocol):
        header = quoted.protocol
        if index + 8 > size:
            return quoted
        if header == ip.FRAGMENT and (u16(quote, index + 2) & 0xFFF8) != 0:
            quoted.protocol = u8(quote, index)
            return quoted
        quoted.protocol = u8(quote, index)
        index += ip.extension_bytes(header, u8(quote, index + 1))
    _read_transport(quoted, quote, index, size)
    return quoted


def _read_transport(quoted: Quoted, quote: bytes, index: i64, size: i64) -> None:
    protocol = quoted.protocol
    if protocol in (ip.TCP, ip.UDP):
        if index + 4 <= size:
            quoted.sport = u16(quote, index)
            quoted.dport = u16(quote, index + 2)
        if protocol == ip.TCP and index + 8 <= size:
            quoted.seq = u32(quote, index + 4)
        elif protocol == ip.UDP and index + 8 <= size:
            quoted.text_at = index + 8
    elif index + 8 <= size:
        kind = u8(quote, index)
        is_echo_v4 = protocol == ip.ICMP and kind in (_V4_ECHO, _V4_ECHO_REPLY)
        if is_echo_v4 or (protocol == ip.ICMPV6 and kind in (_V6_ECHO, _V6_ECHO_REPLY)):
            quoted.ident = u16(quote, index + 4)
            quoted.sequence = u16(quote, index + 6)


def is_error(packet: ip.Packet) -> bool:
    """Whether a packet carries an ICMP error, which must not be answered with another (RFC 1122 section 3.2.2).

    One too short to tell counts as an error.
    """
    if packet.version == 4:
        if packet.protocol != ip.ICMP or packet.fragment_offset != 0:
            return False
        if packet.end == packet.start:
            return True
        return u8(packet.data, packet.start) in (
            _V4_UNREACHABLE, _V4_SOURCE_QUENCH, _V4_REDIRECT, _V4_TIME_EXCEEDED, _V4_PARAMETER_PROBLEM
        )
    if packet.protocol != ip.ICMPV6 or packet.fragment_offset != 0:
        return False
    return packet.end == packet.start or u8(packet.data, packet.start) < _V6_INFORMATIONAL


# --- out


def emit(message: Message, src: bytes, dst: bytes) -> bytes:
    """Build a message with its checksum, to go into an IP packet from ``src`` to ``dst``. Long quotes are cut."""
    if isinstance(message, Echo):
        word = (message.ident & 0xFFFF) << 16 | (message.sequence & 0xFFFF)
        return build(src, dst, message.type, message.code, word, message.payload)
    if isinstance(message, Error):
        limit = _QUOTE_BYTES_MAX_V4 if message.version == 4 else _QUOTE_BYTES_MAX_V6
        return build(src, dst, message.type, message.code, _error_word(message), message.quote[:limit])
    if isinstance(message, Unknown):
        return build(src, dst, message.type, message.code, message.word, message.body)
    return nd.emit(message, src, dst)


def _error_word(error: Error) -> i64:
    if error.problem == PACKET_TOO_BIG:
        return error.mtu
    if error.problem == PARAMETER_PROBLEM:
        return error.pointer << 24 if error.version == 4 else error.pointer
    if error.problem == REDIRECT:
        return u32(error.gateway, 0)
    return 0
