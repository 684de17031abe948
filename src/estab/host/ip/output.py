"""The last steps of every packet that leaves: fragment it if needed, find the next hop's MAC address, queue the frame.

- Packets for this host go back over lo, without any link.
- A packet larger than the path carries is cut (IPv4 without DF, and what we send ourselves); with DF, or from another
  host in IPv6, it is the caller's to refuse.
- What can't leave is dropped with its reason; nothing here raises.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason
from estab.host.ip.interface import Interface, Outbound, Outputs
from estab.host.ip.neighbors import Neighbor, Neighbors
from estab.host.ip.paths import Path
from estab.tcp.context import Context
from estab.wire.address import BROADCAST_MAC, format_address, is_multicast, multicast_mac
from estab.wire.fragment import split
from estab.wire.ip import Packet, parse
from estab.wire.tcp import Segment

__all__ = ["Output"]

_IDENT_BUCKETS: Final = 2048


class Output:
    """Sends the packets of one host."""

    def __init__(self, context: Context, outputs: Outputs, neighbors: Neighbors) -> None:
        self.context: Context = context
        self.outputs: Outputs = outputs
        self.neighbors: Neighbors = neighbors
        self._idents: list[int] = []
        self._ident_count: i64 = 0

    # --- our own packets

    def send(self, path: Path, packet: bytes) -> None:
        """Send a packet that this host made, cut to the path's MTU."""
        self.count_request(path.destination, len(packet))
        if path.is_local:
            self.outputs.loop(packet, is_partial_checksum=False)
        elif len(packet) <= path.mtu:
            self.transmit(path, packet)
        else:
            self.send_cut(path, parse(packet, 0), path.mtu)

    def send_cut(self, path: Path, packet: Packet, mtu: i64) -> None:
        """Send a packet as fragments."""
        ident: i64 = 0
        if packet.version == 6:
            ident = self.ident_for(packet.src, packet.dst, 0xFFFFFFFF)
        fragments = split(packet, mtu, ident)
        counters = self.context.counters.of(packet.version)
        counters.ip_frag_oks += 1
        counters.ip_frag_creates += len(fragments)
        for fragment in fragments:
            self.transmit(path, fragment)

    def count_request(self, destination: bytes, size: i64) -> None:
        """Count a packet that this host made."""
        counters = self.context.counters.of_address(destination)
        counters.ip_out_requests += 1
        counters.ip_out_octets += size

    def ident_for(self, source: bytes, destination: bytes, mask: i64) -> i64:
        """Return the next IP identification for a pair of addresses, unguessable outside (RFC 7739).

        Counters in hashed places, so that two packets of a pair have different ones for long; each goes up by a keyed
        1 to 8, so that a stranger who shares a place can't count what others are sent. Only packets that may be cut
        need one (RFC 6864).
        """
        if not self._idents:
            stream = b"".join([
                blake2s(block.to_bytes(2, "big"), key=self.context.secret, person=b"ipident").digest()
                for block in range(_IDENT_BUCKETS // 8)
            ])
            self._idents = [int.from_bytes(stream[at : at + 4], "big") for at in range(0, len(stream), 4)]
        place = blake2s(source + destination, key=self.context.secret, digest_size=2).digest()
        index: i64 = int.from_bytes(place, "big") & (_IDENT_BUCKETS - 1)
        self._ident_count += 1
        step = 1 + (self.context.hash32(b"ident", self._ident_count) & 7)
        ident: i64 = (self._idents[index] + step) & 0xFFFFFFFF
        self._idents[index] = ident
        return ident & mask

    # --- any packet, of the right size

    def transmit(self, path: Path, packet: bytes, is_partial_checksum: bool = False) -> None:
        """Queue a packet for the path's link, or let it wait for the next hop's MAC address."""
        frame = self.frame_for(path, packet, 0, is_partial_checksum)
        if frame is not None:
            self.outputs.push(path.interface, frame, 0, is_partial_checksum)

    def segment(self, path: Path, packet: bytes, segment_bytes: i64, is_partial_checksum: bool,
                before_bytes: i64 = 0) -> Outbound | None:
        """Make the frame of a TCP packet that leaves at once. So many bytes before it are the device's.

        ``None`` if it waits, goes back over lo, or was dropped.
        """
        self.count_request(path.destination, len(packet) - before_bytes)
        interface = path.interface
        if path.is_local:
            self.outputs.loop(packet, is_partial_checksum=is_partial_checksum)
            return None
        if not interface.is_up:
            self.context.drop(DropReason.DEV_DOWN, "", f"{interface.name} is down")
            return None
        frame = self.frame_for(path, packet, segment_bytes, is_partial_checksum=is_partial_checksum)
        if frame is None:
            return None
        outbound = Outbound(interface.index, frame, segment_bytes, is_partial_checksum)
        outbound.before_bytes = before_bytes
        return outbound

    def segment_apart(self, path: Path, headers: bytes, segment: Segment, segment_bytes: i64) -> Outbound | None:
        """Make the frame of a TCP super-segment, its text apart. ``None`` as ``segment``."""
        interface = path.interface
        if interface.is_ethernet:
            neighbor = path.neighbor
            if neighbor is None or neighbor.is_gone or not self.neighbors.is_known(neighbor):
                packet = headers + segment.data[segment.start : segment.end]
                return self.segment(path, packet, segment_bytes, is_partial_checksum=True)
        outbound = self.segment(path, headers, segment_bytes, is_partial_checksum=True)
        if outbound is not None:
            outbound.text = segment.data
            outbound.text_start = segment.start
            outbound.text_end = segment.end
            self.context.counters.of_address(path.destination).ip_out_octets += segment.end - segment.start
        return outbound

    def frame_for(self, path: Path, packet: bytes, segment_bytes: i64, is_partial_checksum: bool) -> bytes | None:
        """Put the Ethernet header on, if the link has one. ``None``: the packet waits for it, or was dropped."""
        interface = path.interface
        if not interface.is_ethernet:
            return packet
        neighbor = path.neighbor
        if neighbor is None or neighbor.is_gone:
            if path.is_broadcast or is_multicast(path.next_hop):
                return _group_header(interface, path) + packet
            neighbor = self._find_neighbor(path)
            if neighbor is None:
                return None
        header = self.neighbors.header_for(neighbor)
        if not header:
            self.neighbors.wait(neighbor, Outbound(interface.index, packet, segment_bytes, is_partial_checksum))
            return None
        return header + packet

    def _find_neighbor(self, path: Path) -> Neighbor | None:
        neighbor = self.neighbors.find(path.interface, path.next_hop)
        if neighbor is None:
            self.context.counters.EstabNeighborTableFull += 1
            self.context.drop(DropReason.NEIGH_TABLE_FULL, "", f"no room for {format_address(path.next_hop)}")
            return None
        path.neighbor = neighbor
        return neighbor


def _group_header(interface: Interface, path: Path) -> bytes:
    """Broadcast and multicast need no neighbour: their MAC addresses are known."""
    if len(path.next_hop) == 4:
        mac = BROADCAST_MAC if path.is_broadcast else multicast_mac(path.next_hop)
        return mac + interface.mac + b"\x08\x00"
    return multicast_mac(path.next_hop) + interface.mac + b"\x86\xdd"
