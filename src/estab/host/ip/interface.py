"""Interfaces, their addresses, and the queue of frames that wait for a link.

- An interface with a MAC address speaks Ethernet; one without carries bare IP packets (TUN); ``lo`` carries packets
  back.
- The queue of frames has a limit per interface; what comes on top is dropped (FULL_RING). TCP never meets it: its
  segments are made only when the queue is empty. A queue below, the device's own, may refuse them (``on_refused``).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason
from estab.events import FrameSent
from estab.tcp.context import Context
from estab.wire.address import BROADCAST_V4, is_link_local, matches, network_of
from estab.wire.offload import finish_checksum

__all__ = ["Address", "Interface", "Outbound", "Outputs", "address_of"]

LOOP_QUEUE_MAX: Final = 1024
"""Packets that lo holds before it drops."""


class Address:
    """One address of an interface and the length of its network's prefix."""

    def __init__(self, address: bytes, prefix_bits: i64) -> None:
        self.address: bytes = address
        self.prefix_bits: i64 = prefix_bits
        self.network: bytes = network_of(address, prefix_bits)
        self.broadcast: bytes = _directed_broadcast(self.network, prefix_bits)
        """The network's broadcast address; ``b""`` for IPv6 and for /31 and /32 (RFC 3021)."""


_ADDRESSES_MAX: Final = 4096
_addresses: Final[dict[bytes, Address]] = {}
"""Those that were made lately. No address changes, so that hosts share them: those of a sweep have the same ones."""


def address_of(octets: bytes, prefix_bits: i64) -> Address:
    """Return an address with the length of its network's prefix."""
    found = _addresses.get(octets)
    if found is None or found.prefix_bits != prefix_bits:
        if len(_addresses) >= _ADDRESSES_MAX:
            _addresses.clear()
        found = _addresses[octets] = Address(octets, prefix_bits)
    return found


class Interface:
    """One interface. Numbers count what passed since it was added."""

    def __init__(self, index: i64, name: str, mtu: i64, mac: bytes, segment_bytes_max: i64,
                 has_checksum_offload: bool, is_loopback: bool) -> None:
        self.index: i64 = index
        self.name: str = name
        self.mtu: i64 = mtu
        self.mac: bytes = mac
        self.segment_bytes_max: i64 = segment_bytes_max
        self.has_checksum_offload: bool = has_checksum_offload
        self.is_loopback: bool = is_loopback
        self.is_cut_below: bool = False
        """Super-segments are cut before they reach the link, which takes none."""
        self.takes_text_apart: bool = False
        """What drives the interface takes the headers and the text of a super-segment apart (``Outbound.text``)."""
        self.before_v4: bytes = b""
        self.before_v6: bytes = b""
        """What the device wants before a packet of TCP's that is not to be cut, and whose checksum it completes. Such a
        packet is made with it (``Outbound.before_bytes``). ``b""``: nothing, or it is put there later.
        """
        self.is_up: bool = True
        self.is_ethernet: bool = len(mac) == 6
        self.vouches_for_checksums: bool = False
        """What is on its link is never damaged unseen, and who looks at a packet there fills in its transport checksum.
        So none is needed: not of our packets (with ``has_checksum_offload``), and not of those that we forward.
        """
        self.addresses: list[Address] = []
        self.queue_frames_max: i64 = 1000
        self.queued_frames: i64 = 0
        self.rx_frames: i64 = 0
        self.rx_bytes: i64 = 0
        self.tx_frames: i64 = 0
        self.tx_bytes: i64 = 0

    def find(self, address: bytes) -> Address | None:
        """Find an address of this interface."""
        for candidate in self.addresses:
            if candidate.address == address:
                return candidate
        return None

    def on_link_source(self, destination: bytes) -> bytes:
        """Return the address whose network holds ``destination``, or ``b""``."""
        for candidate in self.addresses:
            if matches(destination, candidate.network, candidate.prefix_bits):
                return candidate.address
        return b""

    def link_local(self) -> bytes:
        """Return the interface's IPv6 link-local address, or ``b""``."""
        for candidate in self.addresses:
            if len(candidate.address) == 16 and is_link_local(candidate.address):
                return candidate.address
        return b""

    def is_broadcast_here(self, address: bytes) -> bool:
        """Tell whether an IPv4 address is a broadcast on this interface."""
        if address == b"\xff\xff\xff\xff":
            return True
        return any(candidate.broadcast and candidate.broadcast == address for candidate in self.addresses)


@mypyc_attr(acyclic=True, free_list_len=1)
class Outbound:
    """One frame for a link. ``segment_bytes`` is the size to cut a TCP super-segment into (0: an ordinary frame).

    ``data`` is all of the frame, or only its headers, if ``text`` is not empty: then ``text[text_start:text_end]``
    follows them. Whoever takes such a frame has asked for it (``Interface.takes_text_apart``). The first
    ``before_bytes`` of ``data`` are the device's (``Interface.before_v4``), and no part of the frame.
    """

    def __init__(self, interface_index: i64, data: bytes, segment_bytes: i64, is_partial_checksum: bool) -> None:
        self.interface_index: i64 = interface_index
        self.data: bytes = data
        self.segment_bytes: i64 = segment_bytes
        self.is_partial_checksum: bool = is_partial_checksum
        self.text: bytes = b""
        self.text_start: i64 = 0
        self.text_end: i64 = 0
        self.before_bytes: i64 = 0

    def size(self) -> i64:
        """Count the bytes of the frame."""
        return len(self.data) - self.before_bytes + self.text_end - self.text_start

    def frame(self) -> bytes:
        """Return the frame in one piece."""
        if self.before_bytes > 0:
            return self.data[self.before_bytes :]
        if not self.text:
            return self.data
        return self.data + self.text[self.text_start : self.text_end]


class Outputs:
    """All interfaces of a host, the frames that wait for their links, and the packets on lo."""

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.interfaces: list[Interface] = []
        self.frames: deque[Outbound] = deque()
        self.looped: deque[Outbound] | None = None
        """Packets on lo; ``None`` before the first: few hosts have any, and an empty deque takes 600 bytes."""
        self.waiting: i64 = 0
        """How many there are of both."""

    def push(
        self, interface: Interface, data: bytes, segment_bytes: i64 = 0, is_partial_checksum: bool = False,
    ) -> None:
        """Queue a frame, or drop it if the interface is down or its queue full."""
        if not interface.is_up:
            self.context.drop(DropReason.DEV_DOWN, "", f"{interface.name} is down")
        elif interface.queued_frames >= interface.queue_frames_max:
            self.context.drop(DropReason.FULL_RING, "", f"{interface.queued_frames} frames wait on {interface.name}")
        else:
            interface.queued_frames += 1
            self.waiting += 1
            self.frames.append(Outbound(interface.index, data, segment_bytes, is_partial_checksum))

    def loop(self, packet: bytes, is_partial_checksum: bool) -> None:
        """Queue a packet for this host itself."""
        looped = self.looped
        if looped is None:
            looped = self.looped = deque()
        if len(looped) >= LOOP_QUEUE_MAX:
            self.context.drop(DropReason.FULL_RING, "", f"{LOOP_QUEUE_MAX} packets wait on lo")
            return
        self.waiting += 1
        looped.append(Outbound(0, packet, 0, is_partial_checksum))

    def pop_looped(self) -> Outbound:
        """Take the oldest packet on lo."""
        looped = self.looped
        assert looped is not None
        self.waiting -= 1
        return looped.popleft()

    def pop(self) -> Outbound | None:
        """Take the oldest frame whose interface is still up."""
        while self.frames:
            outbound = self.frames.popleft()
            self.waiting -= 1
            interface = self.interfaces[outbound.interface_index]
            interface.queued_frames -= 1
            if interface.is_up:
                return outbound
            self.context.drop(DropReason.DEV_DOWN, "", f"{interface.name} went down")
        return None

    def sent(self, outbound: Outbound) -> None:
        """Count a frame that leaves, and tell of it."""
        interface = self.interfaces[outbound.interface_index]
        interface.tx_frames += 1
        interface.tx_bytes += outbound.size()
        if self.context.observer is not None:
            self._tell_sent(interface, outbound)

    def _tell_sent(self, interface: Interface, outbound: Outbound) -> None:
        """Report the frame as a capture needs it: with its checksum, which the link would have filled in."""
        data = outbound.frame()
        if outbound.is_partial_checksum:
            start: i64 = 14 if interface.is_ethernet else 0
            data = finish_checksum(data, start)
        self.context.tell(FrameSent(self.context.now_ns, self.context.name, interface.name, data))


def _directed_broadcast(network: bytes, prefix_bits: i64) -> bytes:
    if len(network) != 4 or prefix_bits >= 31:
        return b""
    if prefix_bits & 7 == 0:
        kept = prefix_bits >> 3
        return network[:kept] + BROADCAST_V4[: 4 - kept]
    host_bits: int = (1 << (32 - prefix_bits)) - 1
    return (int.from_bytes(network, "big") | host_bits).to_bytes(4, "big")
