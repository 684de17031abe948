"""Neighbours: from an address on the link to its MAC address, by ARP (RFC 826) and Neighbor Discovery (RFC 4861).

- One state machine serves both, RFC 4861's, as Linux has it: INCOMPLETE → REACHABLE → STALE → DELAY → PROBE, and FAILED
  if no answer comes. PERMANENT entries were set by hand.
- A packet for an INCOMPLETE neighbour waits. Each neighbour's queue has a limit, in packets; on overflow the oldest
  is dropped.
- When a neighbour fails, the packets that waited go to ``failed``, from which the host makes an ICMP host unreachable
  for each, to other hosts and to itself alike (RFC 1122 section 2.3.2.2).
- The table has a limit. An attacker can make entries by sending from addresses that do not exist, so an entry that
  never answered makes room first, the oldest one (RFC 6583 section 7.1). Only if all entries are resolved, one of
  those makes room: the oldest that was not used for some seconds.
- The cost of a new entry does not grow with the table: entries are in the order of their last change of state, timers
  in the order in which they are due.
- Duplicate address detection (RFC 4862 section 5.4, RFC 5227) is left out: the builder of a host chooses its addresses,
  and a second of tentative time would delay each virtual host's first packet. Two hosts with one address show as drops,
  ARP_INVALID or NDISC_INVALID, with the other's MAC address.
- Connections that make progress do not confirm their neighbour (RFC 4861 section 7.3.1): one in steady use is probed by
  a single unicast request about every 35 seconds.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from hashlib import blake2s
from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason, os_error
from estab.events import NeighborChanged
from estab.host.ip.discovery import advertisement_frame, arp_frame, solicitation_frame
from estab.host.ip.interface import Interface, Outbound, Outputs
from estab.tcp.context import Context
from estab.units import NEVER, SECOND
from estab.wire.address import BROADCAST_MAC, format_address, format_mac, is_multicast, multicast_mac
from estab.wire.arp import REPLY, REQUEST, Arp

__all__ = ["NEIGHBORS_MAX", "WAITING_MAX", "Neighbor", "Neighbors", "state_name"]

NEIGHBORS_MAX: Final = 1024
"""Entries of the table (Linux's ``gc_thresh3``)."""
WAITING_MAX: Final = 101
"""Packets that wait for one neighbour (Linux's ``unres_qlen`` of 212,992 bytes, which is 101 of them)."""
FAILED_MAX: Final = 1024
"""Packets of failed neighbours that wait to be reported."""

INCOMPLETE: Final = 0
REACHABLE: Final = 1
STALE: Final = 2
DELAY: Final = 3
PROBE: Final = 4
FAILED: Final = 5
PERMANENT: Final = 6

_NAMES: Final = ["INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"]
_SOLICITATIONS_MAX: Final = 3
"""MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT of RFC 4861 section 10."""
_RETRANS_NS: Final = SECOND
_REACHABLE_NS: Final = 30 * SECOND
_DELAY_NS: Final = 5 * SECOND
_IN_USE_NS: Final = 5 * SECOND
"""An entry used since then makes no room if another can (as Linux, which keeps what was confirmed lately)."""
_LOOKS_MAX: Final = 8
"""Entries that are checked for one that makes room; the last of them makes room, used or not."""


def state_name(state: i64) -> str:
    """Write a state as ``ip neigh`` does: ``REACHABLE``."""
    return _NAMES[state]


class Neighbor:
    """One address on one interface's link. ``header`` is the Ethernet header that goes before packets to it."""

    def __init__(self, interface: Interface, address: bytes, key: bytes) -> None:
        self.interface: Interface = interface
        self.address: bytes = address
        self.key: bytes = key
        """In the table and its lists."""
        self.mac: bytes = b""
        self.header: bytes = b""
        self.state: i64 = FAILED
        self.due_ns: i64 = NEVER
        """REACHABLE: until when. INCOMPLETE, DELAY, PROBE: when to go on."""
        self.asked_count: i64 = 0
        self.used_ns: i64 = 0
        self.waiting: deque[Outbound] = deque()
        """Packets without their Ethernet header."""
        self.is_timed: bool = False
        """Among those whose time is awaited."""
        self.is_gone: bool = False
        """No longer in the table: a path that kept it looks it up again."""


_NOBODY: Final[OrderedDict[bytes, Neighbor]] = OrderedDict()
"""What the lists of a host are before its first entry. Hosts without Ethernet have none, so nothing is put in here."""


class Neighbors:
    """The table of one host, its timers, and the answers to requests for its addresses."""

    def __init__(self, context: Context, outputs: Outputs) -> None:
        self.context: Context = context
        self.outputs: Outputs = outputs
        self.failed: list[bytes] = []
        """IP packets whose neighbour did not answer, to be reported."""
        self.is_router: bool = False
        """What our advertisements say of us (RFC 4861 section 4.4)."""
        self.next_due_ns: i64 = NEVER
        """Nothing is due before then."""
        self._table: dict[bytes, Neighbor] = {}
        self._unresolved: OrderedDict[bytes, Neighbor] = _NOBODY
        """Entries without a MAC address: INCOMPLETE, FAILED. The oldest is first."""
        self._resolved: OrderedDict[bytes, Neighbor] = _NOBODY
        """Entries with one, but those set by hand. The first one is the next to make room."""
        self._asking: OrderedDict[bytes, Neighbor] = _NOBODY
        """INCOMPLETE and PROBE: all wait a RETRANS_TIMER, so the first one is due first."""
        self._delayed: OrderedDict[bytes, Neighbor] = _NOBODY
        """DELAY: all wait equally long, too."""

    # --- for output

    def find(self, interface: Interface, address: bytes) -> Neighbor | None:
        """Find the entry of an address, or make one; ``None`` if the table is full of entries in use."""
        key = _key(interface, address)
        found = self._table.get(key)
        if found is None:
            if len(self._table) >= NEIGHBORS_MAX and not self._make_room():
                return None
            if self._unresolved is _NOBODY:
                self._unresolved, self._resolved = OrderedDict(), OrderedDict()
                self._asking, self._delayed = OrderedDict(), OrderedDict()
            found = Neighbor(interface, address, key)
            self._table[key] = found
            self._unresolved[key] = found
        return found

    def header_for(self, neighbor: Neighbor) -> bytes:
        """Return the Ethernet header for a packet that goes now, or ``b""`` if the packet must wait."""
        now_ns = self.context.now_ns
        neighbor.used_ns = now_ns
        state = neighbor.state
        if state == REACHABLE:
            if now_ns >= neighbor.due_ns:
                self._set_state(neighbor, STALE, NEVER)
                self._set_state(neighbor, DELAY, now_ns + _DELAY_NS)
        elif state == STALE:
            self._set_state(neighbor, DELAY, now_ns + _DELAY_NS)
        elif state == FAILED:
            self._start_asking(neighbor)
            return b""
        return neighbor.header

    def is_known(self, neighbor: Neighbor) -> bool:
        """Tell whether a packet for it would leave now."""
        return neighbor.state != FAILED and len(neighbor.header) > 0

    def wait(self, neighbor: Neighbor, packet: Outbound) -> None:
        """Keep a packet until the neighbour answers. When the queue is full the oldest packet is dropped."""
        if len(neighbor.waiting) >= WAITING_MAX:
            neighbor.waiting.popleft()
            self.context.counters.EstabNeighborQueueDrops += 1
            self.context.drop(DropReason.NEIGH_QUEUEFULL, "",
                              f"{WAITING_MAX} packets wait for {format_address(neighbor.address)}")
        neighbor.waiting.append(packet)

    def suspect(self, neighbor: Neighbor) -> None:
        """Doubt a reachable neighbour: TCP has no answers (RFC 1122 section 2.3.2.1, RFC 9293 MUST-20)."""
        if neighbor.state == REACHABLE:
            self._set_state(neighbor, STALE, NEVER)

    def set_permanent(self, interface: Interface, address: bytes, mac: bytes) -> None:
        """Set an entry by hand. It never changes by what comes off the wire. ENOBUFS if the table is full."""
        neighbor = self.find(interface, address)
        if neighbor is None:
            raise os_error(errno.ENOBUFS, f"no buffer space available: {NEIGHBORS_MAX} neighbours are in use")
        self._learn(neighbor, mac, PERMANENT, NEVER)

    def forget_interface(self, interface: Interface) -> None:
        """Drop all that was learnt on an interface that went down, and the packets that waited."""
        for neighbor in list(self._table.values()):
            if neighbor.interface is interface and neighbor.state != PERMANENT:
                for _ in range(len(neighbor.waiting)):
                    neighbor.waiting.popleft()
                    self.context.drop(DropReason.DEV_DOWN, "", f"{interface.name} went down")
                self._remove(neighbor)

    def all(self) -> list[Neighbor]:
        """Every entry, oldest first."""
        return list(self._table.values())

    def announce(self, interface: Interface, address: bytes) -> None:
        """Tell all neighbours that an address is ours: those that know it by another MAC address change it."""
        if len(address) == 4:
            self.outputs.push(interface, arp_frame(interface, REQUEST, BROADCAST_MAC, address, address, b"\0" * 6))
        else:
            self._advertise(interface, address, b"", b"")

    # --- from the wire

    def on_arp(self, interface: Interface, arp: Arp) -> None:
        """Take an ARP message: learn from it (RFC 826) and answer if it asks for one of our addresses."""
        if not self._is_sane_sender(interface, arp.sender_mac, arp.sender):
            self.context.drop(DropReason.ARP_INVALID, "",
                              f"sender {format_address(arp.sender)} at {format_mac(arp.sender_mac)}")
            return
        is_for_us = interface.find(arp.target) is not None
        has_sender = arp.sender != b"\0\0\0\0"  # A probe of RFC 5227 has none, and teaches nothing.
        if has_sender:
            self._hear(interface, arp.sender, arp.sender_mac, is_for_us=is_for_us,
                       is_reply=arp.operation == REPLY and is_for_us)
        if arp.operation == REQUEST and is_for_us:
            self.outputs.push(interface, arp_frame(interface, REPLY, arp.sender_mac, arp.target, arp.sender,
                                                   arp.sender_mac))

    def on_solicitation(self, interface: Interface, source: bytes, target: bytes, mac: bytes) -> None:
        """Take a Neighbor Solicitation, already validated (RFC 4861 section 7.2.3).

        ``mac`` is ``b""`` without the option.
        """
        if not interface.is_ethernet:
            self.context.drop(DropReason.NDISC_INVALID, "", f"solicitation on {interface.name}, which has no Ethernet")
            return
        if interface.find(target) is None:
            self.context.drop(DropReason.NDISC_OTHERHOST, "", f"solicitation for {format_address(target)}")
            return
        if source == b"\0" * 16:
            self._advertise(interface, target, BROADCAST_MAC, b"")
            return
        if not self._is_sane_sender(interface, mac, source):
            self.context.drop(DropReason.NDISC_INVALID, "", f"sender {format_address(source)}")
            return
        if mac:
            self._hear(interface, source, mac, is_for_us=True, is_reply=False)
        neighbor = self.find(interface, source)
        if neighbor is not None:
            self._advertise(interface, target, mac if mac else neighbor.mac, source)

    def on_advertisement(self, interface: Interface, target: bytes, mac: bytes, is_solicited: bool,
                         is_override: bool) -> None:
        """Take a Neighbor Advertisement, already validated (RFC 4861 section 7.2.5)."""
        if not interface.is_ethernet:
            self.context.drop(DropReason.NDISC_INVALID, "", f"advertisement on {interface.name}, which has no Ethernet")
            return
        neighbor = self._table.get(_key(interface, target))
        if interface.find(target) is not None:
            self.context.drop(DropReason.NDISC_INVALID, "",
                              f"{format_mac(mac)} claims our {format_address(target)}")
            return
        if neighbor is None:  # RFC 4861 section 7.2.5: an advertisement makes no entry
            self.context.drop(DropReason.NDISC_OTHERHOST, "",
                              f"advertisement of {format_address(target)}, for which nothing was asked")
            return
        if neighbor.state == PERMANENT:
            return
        is_waiting = neighbor.state == INCOMPLETE or neighbor.state == FAILED
        if not mac:
            mac = neighbor.mac
        if not mac:
            return
        if not is_waiting and mac != neighbor.mac and not is_override:
            if neighbor.state == REACHABLE:
                self._set_state(neighbor, STALE, NEVER)
            return
        if is_solicited:
            self._learn(neighbor, mac, REACHABLE, self.context.now_ns + self._reachable_ns(neighbor))
        elif is_waiting or mac != neighbor.mac:
            self._learn(neighbor, mac, STALE, NEVER)

    # --- timers

    def on_deadline(self) -> None:
        """Ask again or give up, for each entry that is due."""
        now_ns = self.context.now_ns
        if now_ns < self.next_due_ns:
            return
        for queue in (self._delayed, self._asking):
            while queue:
                neighbor = queue[next(iter(queue))]
                if neighbor.due_ns > now_ns:
                    break
                self._on_due(neighbor, now_ns)
        self.next_due_ns = min(_first_due_ns(self._delayed), _first_due_ns(self._asking))

    def _on_due(self, neighbor: Neighbor, now_ns: i64) -> None:
        if neighbor.state == DELAY:
            neighbor.asked_count = 0
            self._set_state(neighbor, PROBE, now_ns + _RETRANS_NS)
        if neighbor.asked_count < _SOLICITATIONS_MAX:
            neighbor.asked_count += 1
            self._arm(neighbor, now_ns + _RETRANS_NS)
            self._ask(neighbor)
        else:
            self._fail(neighbor)

    def _fail(self, neighbor: Neighbor) -> None:
        neighbor.mac = b""
        neighbor.header = b""
        self._set_state(neighbor, FAILED, NEVER)
        while neighbor.waiting:
            waited = neighbor.waiting.popleft()
            self.context.drop(
                DropReason.NEIGH_FAILED, "",
                f"{format_address(neighbor.address)} did not answer {_SOLICITATIONS_MAX} requests on "
                f"{neighbor.interface.name}",
            )
            if len(self.failed) < FAILED_MAX:
                self.failed.append(waited.data)

    # --- inside

    def _start_asking(self, neighbor: Neighbor) -> None:
        now_ns = self.context.now_ns
        neighbor.asked_count = 1
        self._set_state(neighbor, INCOMPLETE, now_ns + _RETRANS_NS)
        self._ask(neighbor)

    def _ask(self, neighbor: Neighbor) -> None:
        """Send an ARP request or a Neighbor Solicitation: to all while INCOMPLETE, to the neighbour itself in PROBE."""
        interface = neighbor.interface
        if len(neighbor.address) == 4:
            source = interface.on_link_source(neighbor.address)
            if not source and interface.addresses:
                source = _first_v4(interface)
            if source:
                to = neighbor.mac if neighbor.mac else BROADCAST_MAC
                self.outputs.push(interface, arp_frame(interface, REQUEST, to, source, neighbor.address, b"\0" * 6))
            return
        source = interface.link_local() or interface.on_link_source(neighbor.address)
        if source:
            counters = self.context.counters.v6
            counters.icmp_out_msgs += 1
            counters.icmp_out_neighbor_solicits += 1
            self.outputs.push(interface, solicitation_frame(interface, source, neighbor.address, neighbor.mac))

    def _advertise(self, interface: Interface, target: bytes, mac: bytes, destination: bytes) -> None:
        """Answer for one of our addresses; to all nodes if the asking node has no address yet."""
        counters = self.context.counters.v6
        counters.icmp_out_msgs += 1
        counters.icmp_out_neighbor_advertisements += 1
        if not destination:
            destination = b"\xff\x02" + b"\0" * 13 + b"\x01"
            mac = multicast_mac(destination)
            frame = advertisement_frame(interface, mac, target, destination, is_solicited=False,
                                        is_router=self.is_router)
            self.outputs.push(interface, frame)
        elif mac:
            frame = advertisement_frame(interface, mac, target, destination, is_solicited=True,
                                        is_router=self.is_router)
            self.outputs.push(interface, frame)

    def _hear(self, interface: Interface, address: bytes, mac: bytes, is_for_us: bool, is_reply: bool) -> None:
        """Learn a sender's address: a new entry only if the message was for us."""
        neighbor = self._table.get(_key(interface, address))
        if neighbor is None:
            if not is_for_us:
                return
            neighbor = self.find(interface, address)
            if neighbor is None:
                self.context.counters.EstabNeighborTableFull += 1
                self.context.drop(DropReason.NEIGH_TABLE_FULL, "", f"no room for {format_address(address)}")
                return
        if neighbor.state == PERMANENT:
            return
        if is_reply:
            self._learn(neighbor, mac, REACHABLE, self.context.now_ns + self._reachable_ns(neighbor))
        elif mac != neighbor.mac or neighbor.state == INCOMPLETE or neighbor.state == FAILED:
            self._learn(neighbor, mac, STALE, NEVER)

    def _learn(self, neighbor: Neighbor, mac: bytes, state: i64, due_ns: i64) -> None:
        neighbor.mac = mac
        ethertype = b"\x08\x00" if len(neighbor.address) == 4 else b"\x86\xdd"
        neighbor.header = mac + neighbor.interface.mac + ethertype
        self._set_state(neighbor, state, due_ns)
        while neighbor.waiting:
            waited = neighbor.waiting.popleft()
            self.outputs.push(neighbor.interface, self.header_for(neighbor) + waited.data, waited.segment_bytes,
                              waited.is_partial_checksum)

    def _set_state(self, neighbor: Neighbor, state: i64, due_ns: i64) -> None:
        is_news = state != neighbor.state
        neighbor.state = state
        if is_news:
            self._sort_in(neighbor)
        if state in (INCOMPLETE, DELAY, PROBE):
            self._arm(neighbor, due_ns)
        else:
            neighbor.due_ns = due_ns
        if is_news and self.context.observer is not None:
            self.context.tell(NeighborChanged(
                self.context.now_ns, self.context.name, neighbor.interface.name, format_address(neighbor.address),
                state_name(state), format_mac(neighbor.mac) if neighbor.mac else "",
            ))

    def _sort_in(self, neighbor: Neighbor) -> None:
        """Move an entry to the list of its new state. One that stays resolved, or unresolved, keeps its place."""
        key = neighbor.key
        state = neighbor.state
        self._disarm(neighbor)
        if state == PERMANENT:
            self._unresolved.pop(key, None)
            self._resolved.pop(key, None)
        elif state == INCOMPLETE or state == FAILED:
            self._resolved.pop(key, None)
            self._unresolved.setdefault(key, neighbor)
        else:
            self._unresolved.pop(key, None)
            self._resolved.setdefault(key, neighbor)

    def _arm(self, neighbor: Neighbor, due_ns: i64) -> None:
        """Set an entry's timer, and put it last among those that wait as long."""
        self._disarm(neighbor)
        queue = self._delayed if neighbor.state == DELAY else self._asking
        queue[neighbor.key] = neighbor
        neighbor.is_timed = True
        neighbor.due_ns = due_ns
        if due_ns < self.next_due_ns:
            self.next_due_ns = due_ns

    def _disarm(self, neighbor: Neighbor) -> None:
        if neighbor.is_timed:
            neighbor.is_timed = False
            if self._asking.pop(neighbor.key, None) is None:
                self._delayed.pop(neighbor.key, None)

    def _reachable_ns(self, neighbor: Neighbor) -> i64:
        """Draw ReachableTime: 0.5 to 1.5 of 30 s (RFC 4861 section 6.3.2), so that hosts don't ask in step."""
        now_ns: int = self.context.now_ns
        key = neighbor.key + now_ns.to_bytes(8, "big", signed=True)
        share: i64 = int.from_bytes(blake2s(key, key=self.context.secret, digest_size=2).digest(), "big")
        return _REACHABLE_NS // 2 + _REACHABLE_NS * share // 65535

    def _is_sane_sender(self, interface: Interface, mac: bytes, address: bytes) -> bool:
        """Refuse group addresses as senders, and senders that claim an address of ours."""
        if mac and ((mac[0] & 1) != 0 or mac == b"\0" * 6):
            return False
        return not is_multicast(address) and address != b"\xff\xff\xff\xff" and interface.find(address) is None

    def _make_room(self) -> bool:
        """Forget an entry; ``False`` if all were set by hand."""
        for key in self._unresolved:
            self._evict(self._unresolved[key])
            return True
        idle_ns = self.context.now_ns - _IN_USE_NS
        for look in range(_LOOKS_MAX):
            if not self._resolved:
                return False
            key = next(iter(self._resolved))
            neighbor = self._resolved[key]
            if neighbor.used_ns <= idle_ns or look == _LOOKS_MAX - 1:
                self._evict(neighbor)
                return True
            self._resolved.move_to_end(key)
        return False

    def _evict(self, neighbor: Neighbor) -> None:
        """Forget an entry, and what waited for it."""
        self.context.counters.EstabNeighborEvicted += 1
        text = ""
        if self.context.observer is not None:  # to write an address takes longer than all the rest
            text = f"{format_address(neighbor.address)} did not answer yet, and another takes its place"
        for _ in range(len(neighbor.waiting)):
            neighbor.waiting.popleft()
            self.context.drop(DropReason.NEIGH_TABLE_FULL, "", text)
        self._remove(neighbor)

    def _remove(self, neighbor: Neighbor) -> None:
        self._set_state(neighbor, FAILED, NEVER)
        neighbor.is_gone = True
        del self._unresolved[neighbor.key]
        del self._table[neighbor.key]


def _first_due_ns(queue: OrderedDict[bytes, Neighbor]) -> i64:
    for key in queue:
        return queue[key].due_ns
    return NEVER


def _key(interface: Interface, address: bytes) -> bytes:
    index: int = interface.index
    return index.to_bytes(2, "big") + address


def _first_v4(interface: Interface) -> bytes:
    for candidate in interface.addresses:
        if len(candidate.address) == 4:
            return candidate.address
    return b""
