"""What arrives: from a frame to the protocol that it is for (RFC 1122 section 3.2, RFC 8200).

Each step either passes the packet on or drops it with its reason. The host model is weak, as Linux's: a packet to any
of our addresses is ours, whichever interface it came by.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.counters import VersionCounters
from estab.errors import DropReason, WireError
from estab.events import FrameReceived
from estab.host.arriving.forwarding import Forwarding
from estab.host.arriving.icmp import Icmp
from estab.host.ip.fragments import Reassembly
from estab.host.ip.hook import PacketHook
from estab.host.ip.interface import Interface, Outbound
from estab.host.ip.neighbors import Neighbors
from estab.host.ip.paths import HostPaths
from estab.host.sockets.demux import Demux
from estab.host.sockets.udp import Udp
from estab.tcp.context import Context
from estab.wire import arp as wire_arp
from estab.wire import ethernet, ip
from estab.wire import tcp as wire_tcp
from estab.wire.address import (
    format_address,
    format_mac,
    is_loopback,
    is_multicast,
    is_unspecified,
    is_v4_mapped,
    solicited_node,
)

__all__ = ["Input"]

_LOOSE_SOURCE_ROUTE: Final = 131
_STRICT_SOURCE_ROUTE: Final = 137


class Input:
    """Receives the frames of one host."""

    def __init__(self, context: Context, paths: HostPaths, neighbors: Neighbors, reassembly: Reassembly, icmp: Icmp,
                 udp: Udp, demux: Demux, forwarding: Forwarding) -> None:
        self.context: Context = context
        self.paths: HostPaths = paths
        self.neighbors: Neighbors = neighbors
        self.reassembly: Reassembly = reassembly
        self.icmp: Icmp = icmp
        self.udp: Udp = udp
        self.demux: Demux = demux
        self.forwarding: Forwarding = forwarding
        self.is_forwarding: bool = False
        self.hook: PacketHook | None = None
        """A box on this host, which sees packets first."""
        self._segment_bytes: i64 = 0
        """Of the frame that is being taken: what its sender made the super-segment of."""
        self._ends: ip.Ends = ip.Ends()
        self._last_src: bytes = b""
        self._last_dst: bytes = b""
        self._last_generation: i64 = 0
        """The ends of the last packet for us, and the ``generation`` of routes and addresses that it holds for."""

    # --- frames

    def on_frame(self, interface: Interface, data: bytes, *, is_known_good: bool, start: i64,
                 segment_bytes: i64) -> None:
        """Take a frame from a link. It begins at ``start``; ``segment_bytes`` is as for ``Engine.on_frame``."""
        self._segment_bytes = segment_bytes
        interface.rx_frames += 1
        interface.rx_bytes += len(data) - start
        if self.context.observer is not None:
            self.context.tell(FrameReceived(self.context.now_ns, self.context.name, interface.name, data[start:]))
        if not interface.is_up:
            self.context.drop(DropReason.DEV_DOWN, "", f"{interface.name} is down")
        elif not interface.is_ethernet:
            self._on_packet(interface, data, start, is_link_group=False, is_known_good=is_known_good)
        elif len(data) - start < ethernet.HEADER_BYTES:
            self.context.drop(DropReason.PKT_TOO_SMALL, "", f"{len(data) - start} bytes of an Ethernet header")
        else:
            self._on_ethernet(interface, data, start, is_known_good)

    def on_looped(self, outbound: Outbound) -> None:
        """Take a packet that this host sent to itself. Nothing could damage it, so its checksums are not looked at."""
        lo = self.paths.interfaces[0]
        lo.rx_frames += 1
        lo.rx_bytes += len(outbound.data)
        counters = self.context.counters.of(outbound.data[0] >> 4)
        counters.ip_in_receives += 1
        counters.ip_in_octets += len(outbound.data)
        packet = ip.parse(outbound.data, 0)
        _count_mark(counters, packet.tos)
        self._receive(lo, counters, packet, is_group=False, is_known_good=True)

    def _on_ethernet(self, interface: Interface, data: bytes, start: i64, is_known_good: bool) -> None:
        is_link_group = (data[start] & 1) != 0
        to_mac = data[start : start + 6]
        if not is_link_group and to_mac != interface.mac:
            self.context.drop(DropReason.OTHERHOST, "", f"to {format_mac(to_mac)}")
            return
        ethertype: i64 = data[start + 12] << 8 | data[start + 13]
        start += ethernet.HEADER_BYTES
        if ethertype == ethernet.VLAN and len(data) - start >= ethernet.VLAN_TAG_BYTES:
            # IEEE 802.1Q clause 6.9: number 0 is no VLAN, only a priority.
            vlan: i64 = (data[start] & 0x0F) << 8 | data[start + 1]
            if vlan != 0:
                self.context.drop(DropReason.OTHERHOST, "", f"VLAN {vlan}")
                return
            ethertype = data[start + 2] << 8 | data[start + 3]
            start += ethernet.VLAN_TAG_BYTES
        if ethertype == ethernet.IPV4 or ethertype == ethernet.IPV6:
            version: i64 = 4 if ethertype == ethernet.IPV4 else 6
            if len(data) > start and (data[start] >> 4) != version:
                self._count_header_error(version, DropReason.IP_INHDR)
                self.context.drop(DropReason.IP_INHDR, "",
                                  f"IP version {data[start] >> 4} in a frame of EtherType {int(ethertype):#06x}")
                return
            self._on_packet(interface, data, start, is_link_group=is_link_group, is_known_good=is_known_good)
        elif ethertype == ethernet.ARP:
            try:
                message = wire_arp.parse(data, start)
            except WireError as error:
                self.context.drop(error.reason, "", error.detail)
                return
            self.neighbors.on_arp(interface, message)
        else:
            self.context.drop(DropReason.UNHANDLED_PROTO, "", f"EtherType {int(ethertype):#06x}")

    # --- packets

    def _on_packet(self, interface: Interface, data: bytes, start: i64, is_link_group: bool,
                   is_known_good: bool) -> None:
        version: i64 = 4 if len(data) > start and (data[start] >> 4) == 4 else 6
        counters = self.context.counters.of(version)
        counters.ip_in_receives += 1
        counters.ip_in_octets += len(data) - start
        try:
            packet = ip.parse(data, start, self._ends)
        except WireError as error:
            self._count_header_error(version, error.reason)
            self.context.drop(error.reason, "", error.detail)
            return
        _count_mark(counters, packet.tos)
        generation = self.paths.routes.generation
        src = packet.src
        dst = packet.dst
        is_known = (generation == self._last_generation and (src is self._last_src or src == self._last_src)
                    and (dst is self._last_dst or dst == self._last_dst))
        if not is_known and not self._has_possible_ends(packet):
            return
        if self.hook is not None:
            taken = self.hook.arriving(interface.index, packet)
            if taken is None:
                return
            if taken is not packet:
                packet = taken
                is_known = False
        if is_known or packet.dst in self.paths.local:
            if not is_known:
                self._last_generation = generation
            self._last_src = packet.src
            self._last_dst = packet.dst
            self._receive(interface, counters, packet, is_group=is_link_group, is_known_good=is_known_good)
        elif self._is_for_group_of_ours(interface, packet):
            self._receive(interface, counters, packet, is_group=True, is_known_good=is_known_good)
        elif self.is_forwarding and not is_multicast(packet.dst):
            if len(packet.options) > 0 and self._has_source_route(packet):
                return
            self.forwarding.forward(packet, is_link_group=is_link_group, is_known_good=is_known_good,
                                    segment_bytes=self._segment_bytes)
        else:
            counters.ip_in_addr_errors += 1
            self.context.drop(DropReason.IP_INADDRERRORS, "",
                              f"{format_address(packet.src)} > {format_address(packet.dst)}")

    def _has_possible_ends(self, packet: ip.Packet) -> bool:
        """Refuse addresses that no packet from a link may have (RFC 1122 section 3.2.1.3, RFC 4291 section 2)."""
        source = packet.src
        destination = packet.dst
        if len(source) == 4 and 0 < source[0] < 224 and source[0] != 127 and 0 < destination[0] != 127:
            if source not in self.paths.local and source not in self.paths.broadcasts:
                return True
        if is_unspecified(source):
            is_source = packet.protocol == ip.ICMPV6 or packet.protocol == ip.UDP
        elif len(source) == 4:  # RFC 1122 section 3.2.1.3: neither 0/8 nor 240/4 names a single host
            is_source = 0 < source[0] < 224 and not self.paths.is_broadcast(source)
        else:
            is_source = not is_multicast(source) and not is_v4_mapped(source)
        if not is_source:
            reason = DropReason.IP_INVALID_SOURCE
        elif is_loopback(source) or source in self.paths.local:
            reason = DropReason.IP_LOCAL_SOURCE
        elif is_loopback(destination) or is_unspecified(destination):
            reason = DropReason.IP_INVALID_DEST
        else:
            return True
        self.context.drop(reason, "", f"{format_address(source)} > {format_address(destination)}")
        return False

    def _is_for_group_of_ours(self, interface: Interface, packet: ip.Packet) -> bool:
        destination = packet.dst
        if packet.version == 4:
            if interface.is_broadcast_here(destination):
                self.context.counters.v4.ip_in_bcast_pkts += 1
                return True
            return is_multicast(destination) and self.udp.groups.has(destination, interface.index, packet.src)
        if destination[0] != 0xFF:
            return False
        if self.udp.groups.has(destination, interface.index, packet.src):
            return True
        for candidate in interface.addresses:
            if len(candidate.address) == 16 and solicited_node(candidate.address) == destination:
                return True
        return False

    def _has_source_route(self, packet: ip.Packet) -> bool:
        """Drop IPv4 packets that prescribe their route: they serve attacks only (RFC 7126 section 4.3)."""
        options = packet.options
        at: i64 = 0
        while at < len(options) and options[at] != 0:
            kind: i64 = options[at]
            if kind in (_LOOSE_SOURCE_ROUTE, _STRICT_SOURCE_ROUTE):
                self._count_header_error(4, DropReason.IP_INHDR)
                self.context.drop(DropReason.IP_INHDR, "", f"source route from {format_address(packet.src)}")
                return True
            if kind == 1:
                at += 1
            elif at + 1 < len(options) and options[at + 1] >= 2:
                at += options[at + 1]
            else:
                break
        return False

    # --- packets for us

    def _receive(self, interface: Interface, counters: VersionCounters, packet: ip.Packet, is_group: bool,
                 is_known_good: bool) -> None:
        """Take a packet whose destination is this host."""
        if len(packet.options) > 0 and self._has_source_route(packet):
            return
        if packet.problem_code != ip.NO_PROBLEM and self._has_problem(packet):
            return
        if packet.more_fragments or packet.fragment_offset != 0:
            whole = self.reassembly.add(packet)
            if whole is None:
                return
            packet = whole
            is_known_good = False
            if packet.problem_code != ip.NO_PROBLEM and self._has_problem(packet):
                return
        counters.ip_in_delivers += 1
        if packet.protocol != ip.TCP or is_group:
            self._dispatch(interface, packet, is_group, is_known_good)
            return
        try:
            segment = wire_tcp.parse(packet, is_known_good)
        except WireError as error:
            self._refuse_segment(error)
            return
        self.demux.on_segment(packet, segment, self.context.now_ns)

    def _refuse_segment(self, error: WireError) -> None:
        counters = self.context.counters
        counters.TcpInSegs += 1
        counters.TcpInErrs += 1
        if error.reason is DropReason.TCP_CSUM:
            counters.TcpInCsumErrors += 1
        self.context.drop(error.reason, "", error.detail)

    def _dispatch(self, interface: Interface, packet: ip.Packet, is_group: bool, is_known_good: bool) -> None:
        """Pass on what is no segment for one host."""
        protocol = packet.protocol
        is_v4 = packet.version == 4
        if protocol == ip.TCP:  # RFC 9293 MUST-57
            self.context.counters.TcpInSegs += 1
            self.context.drop(DropReason.TCP_INVALID_SYN, "", f"segment to {format_address(packet.dst)}")
        elif protocol == ip.UDP:
            if not self.udp.on_packet(packet, interface.index, is_known_good) and not is_group:
                self.icmp.unreachable(packet, 3 if is_v4 else 4)
        elif (protocol == ip.ICMP and is_v4) or (protocol == ip.ICMPV6 and not is_v4):
            self.icmp.on_packet(interface, packet, is_group, is_known_good)
        elif protocol != ip.NO_NEXT_HEADER or is_v4:
            self._on_unknown_protocol(packet, is_group)
        else:  # RFC 8200 section 4.7
            self.context.drop(DropReason.IP_NOPROTO, "", f"no next header, from {format_address(packet.src)}")

    def _on_unknown_protocol(self, packet: ip.Packet, is_group: bool) -> None:
        self.context.counters.of(packet.version).ip_in_unknown_protos += 1
        self.context.drop(DropReason.IP_NOPROTO, "", f"protocol {packet.protocol} from {format_address(packet.src)}")
        if is_group:
            return
        if packet.version == 4:
            self.icmp.unreachable(packet, 2)
        else:
            self.icmp.parameter_problem(packet, 1, packet.next_header_at)

    def _has_problem(self, packet: ip.Packet) -> bool:
        """Drop an IPv6 packet with an extension header that we can't obey (RFC 8200 section 4.2)."""
        self.context.counters.v6.ip_in_hdr_errors += 1
        self.context.drop(DropReason.IPV6_BAD_EXTHDR, "",
                          f"from {format_address(packet.src)}, at byte {packet.problem_pointer}")
        if packet.problem_code != ip.DISCARD_SILENTLY:
            self.icmp.parameter_problem(packet, packet.problem_code, packet.problem_pointer)
        return True

    def _count_header_error(self, version: i64, reason: DropReason) -> None:
        counters = self.context.counters.of(version)
        if version == 4 and reason is DropReason.PKT_TOO_SMALL:
            counters.ip_in_truncated_pkts += 1
            return
        counters.ip_in_hdr_errors += 1
        if reason is DropReason.IP_CSUM:
            counters.ip_in_csum_errors += 1


def _count_mark(counters: VersionCounters, tos: i64) -> None:
    """Count a packet by its ECN codepoint (RFC 3168 section 5), one that is to be forwarded, too."""
    codepoint = tos & 3
    if codepoint == 0:
        counters.ip_in_no_ect_pkts += 1
    elif codepoint == 1:
        counters.ip_in_ect1_pkts += 1
    elif codepoint == 2:
        counters.ip_in_ect0_pkts += 1
    else:
        counters.ip_in_ce_pkts += 1
