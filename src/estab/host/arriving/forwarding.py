"""Forwarding: this host as a router (RFC 1812, RFC 8200), when ``is_forwarding`` is set.

- One hop less to live; at the end of it, Time Exceeded.
- What is too big for the next link is cut (IPv4 without DF), or refused with the MTU that would do. A TCP super-segment
  from a link with offload is cut into segments of the next link's size.
- Martians are not forwarded: loopback, unspecified, multicast and reserved addresses, IPv6 link-local ones, and what
  came to a link-layer broadcast. IPv4 source routes are refused (RFC 7126).
- Redirects are not sent: a sender on the same link loses a hop, and no test or user of a lab needs routes to change by
  themselves.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.errors import DropReason
from estab.host.arriving.icmp import Icmp
from estab.host.ip.interface import Interface
from estab.host.ip.output import Output
from estab.host.ip.paths import HostPaths, Path
from estab.tcp.context import Context
from estab.wire import ip
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

    def forward(self, interface: Interface, packet: ip.Packet, is_link_group: bool, is_known_good: bool) -> None:
        """Send a packet on its way, or drop it and tell its sender why."""
        if is_link_group or _is_martian(packet):
            self._drop(DropReason.IP_INVALID_DEST, packet, "is not forwarded")
            return
        if packet.ttl <= 1:
            self.context.counters.of(packet.version).ip_in_hdr_errors += 1
            self._drop(DropReason.IP_TTL_EXPIRED, packet, f"ttl {packet.ttl}")
            self.icmp.time_exceeded(packet, 0)
            return
        path = self.paths.find(packet.dst)
        if path is None:
            self.context.counters.of(packet.version).ip_in_no_routes += 1
            self._drop(DropReason.IP_INNOROUTES, packet, "no route")
            self.icmp.unreachable(packet, 0)
            return
        if path.is_broadcast or path.is_local:
            self._drop(DropReason.IP_INVALID_DEST, packet, "directed broadcasts are not forwarded (RFC 2644)")
            return
        self._send_on(interface, path, packet, is_known_good)

    def _send_on(self, interface: Interface, path: Path, packet: ip.Packet, is_known_good: bool) -> None:
        is_v4 = packet.version == 4
        size = packet.end - packet.header_start
        data = ip.forwarded(packet)
        if is_known_good and size <= path.link_mtu:
            data = finish_checksum(data)
        if size <= path.link_mtu:
            self._count(packet.version, size)
            self.output.transmit(path, data)
        elif is_known_good and packet.protocol == ip.TCP:
            for segment in split(data, path.link_mtu - _tcp_headers_bytes(packet)):
                self._count(packet.version, len(segment))
                self.output.transmit(path, segment)
        elif is_v4 and not packet.dont_fragment:
            self._count(packet.version, size)
            self.output.send_cut(path, ip.parse(data, 0), path.link_mtu)
        else:
            self._refuse_too_big(path, packet, size)

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


def _is_martian(packet: ip.Packet) -> bool:
    """Tell whether a packet has an address that no router may pass on (RFC 1812 section 5.3.7, RFC 4291 section 2)."""
    source, destination = packet.src, packet.dst
    if is_loopback(source) or is_loopback(destination) or is_unspecified(source) or is_multicast(destination):
        return True
    if len(source) == 4:
        return source[0] == 0 or source[0] >= 240 or destination[0] == 0 or destination[0] >= 240
    return is_link_local(source) or is_link_local(destination) or is_unspecified(destination)


def _tcp_headers_bytes(packet: ip.Packet) -> i64:
    """Bytes of IP and TCP headers: what each segment of a super-segment has again."""
    data_offset: i64 = packet.data[packet.start + 12] >> 4
    return packet.start - packet.header_start + data_offset * 4
