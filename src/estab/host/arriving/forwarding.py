"""Forwarding: this host as a router (RFC 1812, RFC 8200), when ``is_forwarding`` is set.

- The hop limit (TTL) goes down by one; at 0 the sender gets Time Exceeded.
- What is too big for the next link is cut (IPv4 without DF), or refused with the MTU that would do. A TCP super-segment
  from a link with offload is cut into the segments that its sender made it of, and those are what may be too big.
- Martians are not forwarded: loopback, unspecified, multicast and reserved addresses, IPv6 link-local ones, and what
  came to a link-layer broadcast. IPv4 source routes are refused (RFC 7126).
- Redirects are not sent: a sender on the same link loses a hop, and no test or user of a lab needs routes to change by
  themselves.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.errors import DropReason
from estab.host.arriving.icmp import Icmp
from estab.host.ip.output import Output
from estab.host.ip.paths import HostPaths, Path
from estab.tcp.context import Context
from estab.wire import ip, tcp
from estab.wire.address import format_address, is_link_local, is_loopback, is_multicast, is_unspecified
from estab.wire.offload import finish_checksum, split

__all__ = ["Forwarding"]


class Forwarding:
    """What a host does with packets for others."""

    def __init__(self, context: Context, paths: HostPaths, output: Output, icmp: Icmp) -> None:
        self.context: Context = context
        self.paths: HostPaths = paths
        self.output: Output = output
        self.icmp: Icmp = icmp

    def forward(self, packet: ip.Packet, *, is_link_group: bool, is_known_good: bool, segment_bytes: i64) -> None:
        """Send a packet on its way, or drop it and tell its sender why.

        ``is_known_good``: its transport checksum may be left for us to fill in. ``segment_bytes``: it is a
        super-segment of segments with so much text (0: it is none).
        """
        if is_link_group or _is_martian(packet):
            self._drop(DropReason.IP_INVALID_DEST, packet, "is not forwarded")
            return
        if packet.ttl <= 1:
            packet = _complete(packet, is_known_good)
            self.context.counters.of(packet.version).ip_in_hdr_errors += 1
            self._drop(DropReason.IP_TTL_EXPIRED, packet, f"ttl {packet.ttl}")
            self.icmp.time_exceeded(packet, 0)
            return
        path = self.paths.find(packet.dst)
        if path is None:
            packet = _complete(packet, is_known_good)
            self.context.counters.of(packet.version).ip_in_no_routes += 1
            self._drop(DropReason.IP_INNOROUTES, packet, "no route")
            self.icmp.unreachable(packet, 0)
            return
        if path.is_broadcast or path.is_local:
            self._drop(DropReason.IP_INVALID_DEST, packet, "directed broadcasts are not forwarded (RFC 2644)")
            return
        self._send_on(path, packet, is_known_good=is_known_good, segment_bytes=segment_bytes)

    def _send_on(self, path: Path, packet: ip.Packet, *, is_known_good: bool, segment_bytes: i64) -> None:
        size = packet.end - packet.header_start
        headers_bytes: i64 = 0
        if segment_bytes > 0 and packet.protocol == ip.TCP and not ip.is_fragment(packet):
            headers_bytes = _headers_bytes(packet)
            if headers_bytes == 0:
                self._drop(DropReason.TCP_INVALID_HEADER, packet, "data offset outside of the segment")
                return
            size = min(size, headers_bytes + segment_bytes)
        if size > path.link_mtu and (packet.version == 6 or packet.dont_fragment):
            self._refuse_too_big(path, _complete(packet, is_known_good), size)
            return
        data = ip.forwarded(packet)
        if headers_bytes > 0:
            for segment in split(data, segment_bytes):
                self._send_piece(path, segment, is_partial_checksum=False)
            return
        may_stay_partial = path.interface.vouches_for_checksums and size <= path.link_mtu
        if is_known_good and not may_stay_partial:
            data = finish_checksum(data)
            is_known_good = False
        self._send_piece(path, data, is_partial_checksum=is_known_good)

    def _send_piece(self, path: Path, data: bytes, *, is_partial_checksum: bool) -> None:
        version: i64 = data[0] >> 4
        self._count(version, len(data))
        if len(data) <= path.link_mtu:
            self.output.transmit(path, data, is_partial_checksum)
        else:
            self.output.send_cut(path, ip.parse(data, 0), path.link_mtu)

    def _refuse_too_big(self, path: Path, packet: ip.Packet, size: i64) -> None:
        counters = self.context.counters.of(packet.version)
        counters.ip_in_too_big_errors += 1
        counters.ip_frag_fails += 1
        self._drop(DropReason.PKT_TOO_BIG, packet, f"{size} bytes, and {path.interface.name} carries {path.link_mtu}")
        self.icmp.too_big(packet, path.link_mtu)

    def _count(self, version: i64, size: i64) -> None:
        counters = self.context.counters.of(version)
        counters.ip_out_forw_datagrams += 1
        counters.ip_out_octets += size

    def _drop(self, reason: DropReason, packet: ip.Packet, detail: str) -> None:
        self.context.drop(reason, "", f"{format_address(packet.src)} > {format_address(packet.dst)}: {detail}")


def _complete(packet: ip.Packet, is_known_good: bool) -> ip.Packet:
    """Fill in the transport checksum of a packet that an ICMP error will quote, if that was left for us."""
    if not is_known_good:
        return packet
    return ip.parse(finish_checksum(packet.data, packet.header_start), packet.header_start)


def _is_martian(packet: ip.Packet) -> bool:
    """Tell whether a packet has an address that no router may pass on (RFC 1812 section 5.3.7, RFC 4291 section 2)."""
    source, destination = packet.src, packet.dst
    if is_loopback(source) or is_loopback(destination) or is_unspecified(source) or is_multicast(destination):
        return True
    if len(source) == 4:
        return source[0] == 0 or source[0] >= 240 or destination[0] == 0 or destination[0] >= 240
    return is_link_local(source) or is_link_local(destination) or is_unspecified(destination)


def _headers_bytes(packet: ip.Packet) -> i64:
    """Bytes of IP and TCP headers, which each segment of a super-segment has again; 0 if they make no sense."""
    if packet.end - packet.start < tcp.HEADER_BYTES:
        return 0
    tcp_bytes: i64 = (packet.data[packet.start + 12] >> 4) * 4
    if tcp_bytes < tcp.HEADER_BYTES or tcp_bytes > packet.end - packet.start:
        return 0
    return packet.start - packet.header_start + tcp_bytes
