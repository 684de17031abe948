"""The two ends of a packet, and packets with other ends: what a translator of addresses changes, checksums included.

- ``Ends`` of TCP and UDP are addresses and ports; of an ICMP echo both ports are its identifier.
- A checksum is adjusted by what changed (RFC 1624), so one that was wrong stays wrong. UDP's "no checksum" stays.
- In an ICMP error both the packet and the one that it quotes are changed, and its own checksum is made anew.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from estab.errors import WireError
from estab.wire import icmp, ip
from estab.wire.address import format_address
from estab.wire.checksum import add, checksum, fold, pseudo_header

__all__ = ["Ends", "ends_of", "quoted_ends", "with_ends", "with_quoted_ends"]

_TCP_CHECKSUM_AT: Final = 16
_UDP_CHECKSUM_AT: Final = 6
_ICMP_CHECKSUM_AT: Final = 2
_ICMP_IDENT_AT: Final = 4
_QUOTE_AT: Final = 8
_ECHO: Final = {4: (8, 0), 6: (128, 129)}


class Ends(NamedTuple):
    """The protocol and the two ends of a packet."""

    protocol: int
    src: bytes
    sport: int
    dst: bytes
    dport: int

    @property
    def inverse(self) -> Ends:
        """The ends of an answer."""
        return Ends(self.protocol, self.dst, self.dport, self.src, self.sport)

    def __str__(self) -> str:
        name = {ip.TCP: "tcp", ip.UDP: "udp"}.get(self.protocol, "icmp")
        return f"{name} {_text(self.src, self.sport)}>{_text(self.dst, self.dport)}"


def _text(address: bytes, port: int) -> str:
    text = format_address(address)
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"


def ends_of(packet: ip.Packet) -> Ends | None:
    """Read the ends of a packet of TCP or UDP or of an ICMP echo; ``None`` for all else and for later fragments."""
    if packet.fragment_offset or packet.end - packet.start < 8:
        return None
    data, at = packet.data, packet.start
    if packet.protocol in (ip.TCP, ip.UDP):
        sport, dport = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        return Ends(packet.protocol, packet.src, sport, packet.dst, dport)
    if packet.protocol in (ip.ICMP, ip.ICMPV6) and data[at] in _ECHO[packet.version]:
        ident = int.from_bytes(data[at + 4 : at + 6], "big")
        return Ends(packet.protocol, packet.src, ident, packet.dst, ident)
    return None


def quoted_ends(packet: ip.Packet) -> Ends | None:
    """Read the ends of the packet that an ICMP error is about; ``None`` if it is none, or quotes too little."""
    if not icmp.is_error(packet) or packet.end - packet.start < _QUOTE_AT:
        return None
    try:
        quoted = icmp.parse_quoted(packet.data[packet.start + _QUOTE_AT : packet.end])
    except WireError:
        return None
    if quoted.sport >= 0:
        return Ends(quoted.protocol, quoted.src, quoted.sport, quoted.dst, quoted.dport)
    if quoted.ident >= 0:
        return Ends(quoted.protocol, quoted.src, quoted.ident, quoted.dst, quoted.ident)
    return None


def with_ends(packet: ip.Packet, ends: Ends) -> ip.Packet:
    """Give the packet with other ends. Its first fragment keeps its offset; a later one changes its addresses only."""
    data = bytearray(packet.data[packet.header_start : packet.end])
    _change(data, packet.version, packet.start - packet.header_start, packet.protocol, ends,
            has_ports=packet.fragment_offset == 0)
    return ip.parse(bytes(data), 0)


def with_quoted_ends(packet: ip.Packet, src: bytes, dst: bytes, quoted: Ends) -> ip.Packet:
    """Give an ICMP error from ``src`` to ``dst`` about a packet with the ends ``quoted``."""
    data = bytearray(packet.data[packet.header_start : packet.end])
    at = packet.start - packet.header_start
    quote = data[at + _QUOTE_AT :]
    version = quote[0] >> 4
    inner_at = (quote[0] & 15) * 4 if version == 4 else ip.V6_HEADER_BYTES
    _change(quote, version, inner_at, quoted.protocol, quoted, has_ports=True)
    data[at + _QUOTE_AT :] = quote
    _put_addresses(data, packet.version, src, dst)
    data[at + _ICMP_CHECKSUM_AT : at + _ICMP_CHECKSUM_AT + 2] = b"\0\0"
    acc = 0 if packet.version == 4 else pseudo_header(src, dst, ip.ICMPV6, len(data) - at)
    made = int(checksum(bytes(data), at, len(data), acc))
    data[at + _ICMP_CHECKSUM_AT : at + _ICMP_CHECKSUM_AT + 2] = made.to_bytes(2, "big")
    return ip.parse(bytes(data), 0)


def _change(data: bytearray, version: int, at: int, protocol: int, ends: Ends, *, has_ports: bool) -> None:
    """Change the ends of a packet that begins ``data``, as far as it is there; its payload begins at ``at``."""
    before = _put_addresses(data, version, ends.src, ends.dst)
    after = ends.src + ends.dst
    if not has_ports or len(data) < at + 4:
        return
    if protocol in (ip.TCP, ip.UDP):
        before += bytes(data[at : at + 4])
        data[at : at + 4] = ports = ends.sport.to_bytes(2, "big") + ends.dport.to_bytes(2, "big")
        after += ports
        checksum_at = at + (_TCP_CHECKSUM_AT if protocol == ip.TCP else _UDP_CHECKSUM_AT)
    else:
        ident_at, checksum_at = at + _ICMP_IDENT_AT, at + _ICMP_CHECKSUM_AT
        if protocol == ip.ICMP:
            before, after = b"", b""  # no pseudo-header
        if len(data) >= ident_at + 2:
            before += bytes(data[ident_at : ident_at + 2])
            data[ident_at : ident_at + 2] = ident = ends.sport.to_bytes(2, "big")
            after += ident
    if len(data) < checksum_at + 2:
        return
    old = int.from_bytes(data[checksum_at : checksum_at + 2], "big")
    if protocol == ip.UDP and old == 0:
        return
    new = _adjusted(old, before, after)
    if protocol == ip.UDP and new == 0:
        new = 0xFFFF
    data[checksum_at : checksum_at + 2] = new.to_bytes(2, "big")


def _put_addresses(data: bytearray, version: int, src: bytes, dst: bytes) -> bytes:
    """Change the addresses in a header, and IPv4's checksum. Returns the old ones."""
    at = 12 if version == 4 else 8
    end = at + 2 * len(src)
    before = bytes(data[at:end])
    data[at:end] = src + dst
    if version == 4:
        old = int.from_bytes(data[10:12], "big")
        data[10:12] = _adjusted(old, before, src + dst).to_bytes(2, "big")
    return before


def _adjusted(old: int, before: bytes, after: bytes) -> int:
    """Adjust a checksum to bytes that changed (RFC 1624 equation 3). Both have even length."""
    gone = sum(0xFFFF - int.from_bytes(before[at : at + 2], "big") for at in range(0, len(before), 2))
    return int(0xFFFF - fold(add(after, 0, len(after), (0xFFFF - old) + gone)))
