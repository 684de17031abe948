"""Fragments that wait for the rest of their datagram (RFC 791, RFC 815, RFC 8200 section 4.5).

- A datagram is collected until it is whole or its time is up (IPv4 30 s, IPv6 60 s, as Linux).
- Overlapping fragments are an attack: the whole datagram is discarded, and what still comes of it (RFC 5722, and Linux
  for IPv4 too). A fragment that lies wholly inside one that we hold is a duplicate and only it is dropped (RFC 8200).
- Memory is bounded (Linux's ``ipfrag_high_thresh``), and what is charged is what is held: header, text, and the records
  beside them. When it is full, fragments that do not fit are dropped; what is held stays, until its time is up. One
  source (IPv6: one /64) can't fill it: while more than half is in use, a source gets an eighth at most.
- A fragment costs the same, however many are held: its place is found by bisection, and datagrams wait in the order in
  which they are due. (To find the first entry of a plain ``dict`` takes time for each deleted entry before it; of an
  ``OrderedDict`` it does not.)
- Fragments must agree about ECN (RFC 3168 section 5.3): a mark is kept, a mark on a datagram that can't carry one
  discards it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason, WireError
from estab.tcp.context import Context
from estab.units import NEVER
from estab.wire.address import format_address
from estab.wire.fragment import join, named_at
from estab.wire.ip import HOP_BY_HOP, Packet, header_of, is_fragment, parse

__all__ = ["Reassembly"]

_OVERHEAD_BYTES: Final = 256
_DATAGRAM_BYTES_MAX: Final = 65_535
_NOT_ECT: Final = 1
_CE: Final = 8
_SHARES: Final = 8
"""A source gets one of so many shares of the memory while more than half is in use."""


class _Part:
    """One fragment's text: bytes ``start`` to ``end`` of the datagram."""

    def __init__(self, start: i64, end: i64, text: bytes) -> None:
        self.start: i64 = start
        self.end: i64 = end
        self.text: bytes = text


class _Datagram:
    """What has come of one datagram. ``parts`` are in order and do not overlap."""

    def __init__(self, due_ns: i64, source: bytes) -> None:
        self.due_ns: i64 = due_ns
        self.source: bytes = source
        self.parts: list[_Part] = []
        self.header: Packet | None = None
        """The headers of the fragment with offset 0, without its text: they are the datagram's."""
        self.total_bytes: i64 = -1
        self.held_bytes: i64 = 0
        self.charged_bytes: i64 = _OVERHEAD_BYTES
        self.ecn_seen: i64 = 0
        self.is_poisoned: bool = False
        """Fragments overlapped: nothing is held, and what still comes is dropped until the time is up."""


class Reassembly:
    """All datagrams of one host that are being put together."""

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self.bytes_held: i64 = 0
        self.next_due_ns: i64 = NEVER
        """Nothing is due before then."""
        self.expired: list[bytes] = []
        """First fragments of datagrams whose time was up: the host sends Time Exceeded for them (RFC 792, RFC 4443)."""
        self._by_source: dict[bytes, int] = {}
        """Of ``bytes_held`` what each source has."""
        self._tables: dict[int, OrderedDict[bytes, _Datagram]] = {}
        """The datagrams by IP version; a version that was not asked for has no entry."""

    def add(self, packet: Packet) -> Packet | None:
        """Take a fragment. Gives the whole packet if this one completed it."""
        self.context.counters.of(packet.version).ip_reasm_reqds += 1
        end = packet.fragment_offset + packet.end - packet.start
        if not self._is_well_formed(packet, end):
            self._count_failed(packet.version)
            return None
        key = _key(packet)
        table = self._table(packet.version)
        datagram = table.get(key)
        if datagram is None:
            datagram = self._open(table, key, packet)
            if datagram is None:
                return None
        if datagram.is_poisoned:
            source = format_address(packet.src)
            self.context.drop(DropReason.DUP_FRAG, "", f"of a datagram from {source} that overlapped")
            return None
        if not self._place(datagram, packet, end):
            return None
        if datagram.total_bytes < 0 or datagram.held_bytes < datagram.total_bytes or datagram.header is None:
            return None
        del table[key]
        self._charge(datagram.source, -datagram.charged_bytes)
        return self._finish(datagram)

    def on_deadline(self) -> None:
        """Give up on datagrams whose time is up."""
        now_ns = self.context.now_ns
        if now_ns < self.next_due_ns:
            return
        self.next_due_ns = min(self._expire_due(4, now_ns), self._expire_due(6, now_ns))

    def datagram_count(self) -> i64:
        """How many datagrams are being put together, poisoned ones among them."""
        return sum([len(table) for table in self._tables.values()])

    # --- inside

    def _table(self, version: i64) -> OrderedDict[bytes, _Datagram]:
        """Return the datagrams of a version: all of them wait equally long, so the oldest one is due first."""
        table = self._tables.get(version)
        if table is None:
            table = self._tables[version] = OrderedDict()
        return table

    def _expire_due(self, version: i64, now_ns: i64) -> i64:
        """Give up on the datagrams of a version that are due; gives when the next one is."""
        table = self._table(version)
        while table:
            key = next(iter(table))
            datagram = table[key]
            if datagram.due_ns > now_ns:
                return datagram.due_ns
            del table[key]
            self._charge(datagram.source, -datagram.charged_bytes)
            self._expire(version, datagram)
        return NEVER

    def _is_well_formed(self, packet: Packet, end: i64) -> bool:
        source = format_address(packet.src)
        if end > _DATAGRAM_BYTES_MAX:
            self.context.drop(DropReason.FRAG_TOO_FAR, "", f"from {source}, up to byte {end}")
            return False
        if packet.more_fragments and (end & 7) != 0:
            size = end - packet.fragment_offset
            self.context.drop(DropReason.IP_INHDR, "", f"fragment of {size} bytes from {source}")
            return False
        if end == packet.fragment_offset:
            self.context.drop(DropReason.IP_INHDR, "", f"empty fragment from {source}")
            return False
        return True

    def _open(self, table: OrderedDict[bytes, _Datagram], key: bytes, packet: Packet) -> _Datagram | None:
        source = packet.src if packet.version == 4 else packet.src[:8]
        if not self._has_room(source, _OVERHEAD_BYTES):
            self._refuse(packet)
            return None
        config = self.context.config
        timeout_ns = config.ipfrag_time_ns if packet.version == 4 else config.ip6frag_time_ns
        datagram = _Datagram(self.context.now_ns + timeout_ns, source)
        table[key] = datagram
        self._charge(source, _OVERHEAD_BYTES)
        if datagram.due_ns < self.next_due_ns:
            self.next_due_ns = datagram.due_ns
        return datagram

    def _place(self, datagram: _Datagram, packet: Packet, end: i64) -> bool:
        """Put the fragment where it belongs; ``False`` if it was dropped."""
        start = packet.fragment_offset
        index = _place_of(datagram.parts, start)
        if index > 0:
            before = datagram.parts[index - 1]
            if end <= before.end:
                self.context.drop(DropReason.DUP_FRAG, "", f"from {format_address(packet.src)}, bytes {start} to {end}")
                return False
            if start < before.end:
                return self._poison(datagram, packet)
        if index < len(datagram.parts) and end > datagram.parts[index].start:
            return self._poison(datagram, packet)
        if not self._agrees_on_length(datagram, packet, end):
            return self._poison(datagram, packet)
        charge: i64 = end - start + _OVERHEAD_BYTES
        if start == 0:
            charge += packet.start - packet.header_start
        if not self._has_room(datagram.source, charge):
            self._refuse(packet)
            return False
        # Copies, which is what is charged: the frame may be longer than the packet in it.
        datagram.parts.insert(index, _Part(start, end, packet.data[packet.start : packet.end]))
        datagram.held_bytes += end - start
        datagram.charged_bytes += charge
        self._charge(datagram.source, charge)
        datagram.ecn_seen |= 1 << (packet.tos & 3)
        if start == 0:
            datagram.header = header_of(packet)
        return True

    def _agrees_on_length(self, datagram: _Datagram, packet: Packet, end: i64) -> bool:
        """The last fragment says how long the datagram is; nothing may lie beyond, and it can't be said twice."""
        if datagram.total_bytes >= 0:
            return packet.more_fragments and end <= datagram.total_bytes
        if not packet.more_fragments:
            if datagram.parts and datagram.parts[-1].end > end:
                return False
            datagram.total_bytes = end
        return True

    def _poison(self, datagram: _Datagram, packet: Packet) -> bool:
        """RFC 5722: discard the datagram, and what still comes of it."""
        self.context.counters.IpExtReasmOverlaps += 1
        self._count_failed(packet.version)
        self.context.drop(DropReason.DUP_FRAG, "", f"from {format_address(packet.src)}: the datagram is discarded")
        self._charge(datagram.source, _OVERHEAD_BYTES - datagram.charged_bytes)
        datagram.charged_bytes = _OVERHEAD_BYTES
        datagram.parts.clear()
        datagram.header = None
        datagram.is_poisoned = True
        return False

    def _has_room(self, source: bytes, charge: i64) -> bool:
        """Tell whether a source may have so much more: of all memory, and of its share."""
        limit = self.context.config.ipfrag_high_thresh
        held = self.bytes_held + charge
        if held > limit // 2 and self._by_source.get(source, 0) + charge > limit // _SHARES:
            if held <= limit:
                self.context.counters.EstabFragSourceLimited += 1
            return False
        return held <= limit

    def _charge(self, source: bytes, change: i64) -> None:
        """Charge a source for so many bytes more, or less."""
        self.bytes_held += change
        left: i64 = self._by_source.get(source, 0) + change
        if left > 0:
            self._by_source[source] = left
        else:
            del self._by_source[source]

    def _refuse(self, packet: Packet) -> None:
        self._count_failed(packet.version)
        self.context.drop(DropReason.FRAG_QUEUE_FULL, "", f"{self.bytes_held} bytes are held")

    def _finish(self, datagram: _Datagram) -> Packet | None:
        header = datagram.header
        assert header is not None
        if (datagram.ecn_seen & _CE) != 0:
            if (datagram.ecn_seen & _NOT_ECT) != 0:
                self._count_failed(header.version)
                self.context.drop(DropReason.IP_INHDR, "", "fragments disagree about ECN")
                return None
            header.tos |= 3
        try:
            whole = parse(join(header, b"".join([part.text for part in datagram.parts])), 0)
        except WireError as error:
            self._count_failed(header.version)
            self.context.drop(error.reason, "", f"datagram from {format_address(header.src)}: {error.detail}")
            return None
        if header.version == 6:
            _note_problems(header, whole)
        self.context.counters.of(header.version).ip_reasm_oks += 1
        return whole

    def _expire(self, version: i64, datagram: _Datagram) -> None:
        self.context.counters.of(version).ip_reasm_timeout += 1
        if datagram.is_poisoned:
            return
        self._count_failed(version)
        self.context.drop(DropReason.FRAG_REASM_TIMEOUT, "", f"{datagram.held_bytes} bytes had come")
        if datagram.header is not None:
            self.expired.append(datagram.header.data + datagram.parts[0].text)

    def _count_failed(self, version: i64) -> None:
        self.context.counters.of(version).ip_reasm_fails += 1


def _key(packet: Packet) -> bytes:
    """What fragments of one datagram have in common (RFC 791: with the protocol, RFC 8200: without)."""
    ident: int = packet.ident
    if packet.version == 4:
        return packet.src + packet.dst + bytes([packet.protocol]) + ident.to_bytes(2, "big")
    return packet.src + packet.dst + ident.to_bytes(4, "big")


def _place_of(parts: list[_Part], start: i64) -> i64:
    """Find where a part that begins at ``start`` belongs: after all that begin there or before."""
    low: i64 = 0
    high: i64 = len(parts)
    while low < high:
        middle = (low + high) // 2
        if parts[middle].start <= start:
            low = middle + 1
        else:
            high = middle
    return low


def _note_problems(header: Packet, whole: Packet) -> None:
    """Note what an IPv6 packet must not have inside its fragments, and what could not be seen in the whole packet."""
    if header.protocol == HOP_BY_HOP:  # RFC 8200 section 4.1: it only comes directly after the IPv6 header
        whole.problem_code = 1
        whole.problem_pointer = named_at(header)
    elif is_fragment(whole):  # a fragment of a fragment: filters would have seen neither
        whole.problem_code = 0
        whole.problem_pointer = whole.unfragmentable_end
