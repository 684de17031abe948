"""Fragments that wait for the rest of their datagram (RFC 791, RFC 815, RFC 8200 section 4.5).

- A datagram is collected until it is whole or its time is up (IPv4 30 s, IPv6 60 s, as Linux).
- Overlapping fragments are an attack: the whole datagram is discarded, and what still comes of it (RFC 5722, and Linux
  for IPv4 too). A fragment that lies wholly inside one that we hold is a duplicate and only it is dropped (RFC 8200).
- Memory is bounded (Linux's ``ipfrag_high_thresh``). When it is full, fragments that do not fit are dropped; what is
  held stays, until its time is up.
- Fragments must agree about ECN (RFC 3168 section 5.3): a mark is kept, a mark on a datagram that can't carry one
  discards it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason, WireError
from estab.tcp.context import Context
from estab.units import NEVER
from estab.wire.address import format_address
from estab.wire.fragment import join
from estab.wire.ip import Packet, parse

__all__ = ["Reassembly"]

_OVERHEAD_BYTES: Final = 256
_DATAGRAM_BYTES_MAX: Final = 65_535
_NOT_ECT: Final = 1
_CE: Final = 8


class _Part:
    """One fragment's text: bytes ``start`` to ``end`` of the datagram."""

    def __init__(self, start: i64, end: i64, text: bytes) -> None:
        self.start: i64 = start
        self.end: i64 = end
        self.text: bytes = text


class _Datagram:
    """What has come of one datagram. ``parts`` are in order and do not overlap."""

    def __init__(self, due_ns: i64) -> None:
        self.due_ns: i64 = due_ns
        self.parts: list[_Part] = []
        self.first: Packet | None = None
        """The fragment with offset 0: its header is the datagram's."""
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
        self._datagrams: dict[bytes, _Datagram] = {}

    def add(self, packet: Packet) -> Packet | None:
        """Take a fragment. Gives the whole packet where this one completed it."""
        self.context.counters.of(packet.version).ip_reasm_reqds += 1
        end = packet.fragment_offset + packet.end - packet.start
        if not self._is_well_formed(packet, end):
            self._count_failed(packet.version)
            return None
        key = _key(packet)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._open(key, packet)
            if datagram is None:
                return None
        if datagram.is_poisoned:
            source = format_address(packet.src)
            self.context.drop(DropReason.DUP_FRAG, "", f"of a datagram from {source} that overlapped")
            return None
        if not self._place(key, datagram, packet, end):
            return None
        if datagram.total_bytes < 0 or datagram.held_bytes < datagram.total_bytes or datagram.first is None:
            return None
        self._forget(key, datagram)
        return self._finish(datagram)

    def on_deadline(self) -> None:
        """Give up on datagrams whose time is up."""
        now_ns = self.context.now_ns
        if now_ns < self.next_due_ns:
            return
        self.next_due_ns = NEVER
        for key, datagram in list(self._datagrams.items()):
            if datagram.due_ns <= now_ns:
                self._expire(key, datagram)
            elif datagram.due_ns < self.next_due_ns:
                self.next_due_ns = datagram.due_ns

    def datagram_count(self) -> i64:
        """How many datagrams are being put together, poisoned ones among them."""
        return len(self._datagrams)

    # --- inside

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

    def _open(self, key: bytes, packet: Packet) -> _Datagram | None:
        if self.bytes_held + _OVERHEAD_BYTES > self.context.config.ipfrag_high_thresh:
            self._refuse(packet)
            return None
        config = self.context.config
        timeout_ns = config.ipfrag_time_ns if packet.version == 4 else config.ip6frag_time_ns
        datagram = _Datagram(self.context.now_ns + timeout_ns)
        self._datagrams[key] = datagram
        self.bytes_held += _OVERHEAD_BYTES
        if datagram.due_ns < self.next_due_ns:
            self.next_due_ns = datagram.due_ns
        return datagram

    def _place(self, key: bytes, datagram: _Datagram, packet: Packet, end: i64) -> bool:
        """Put the fragment where it belongs; ``False`` where it was dropped."""
        start = packet.fragment_offset
        index = len(datagram.parts)
        while index > 0 and datagram.parts[index - 1].start > start:
            index -= 1
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
        if self.bytes_held + charge > self.context.config.ipfrag_high_thresh:
            self._refuse(packet)
            return False
        datagram.parts.insert(index, _Part(start, end, packet.data[packet.start : packet.end]))
        datagram.held_bytes += end - start
        datagram.charged_bytes += charge
        self.bytes_held += charge
        datagram.ecn_seen |= 1 << (packet.tos & 3)
        if start == 0:
            datagram.first = packet
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
        self.bytes_held -= datagram.charged_bytes - _OVERHEAD_BYTES
        datagram.charged_bytes = _OVERHEAD_BYTES
        datagram.parts.clear()
        datagram.first = None
        datagram.is_poisoned = True
        return False

    def _refuse(self, packet: Packet) -> None:
        self._count_failed(packet.version)
        self.context.drop(DropReason.FRAG_QUEUE_FULL, "", f"{self.bytes_held} bytes are held")

    def _finish(self, datagram: _Datagram) -> Packet | None:
        first = datagram.first
        assert first is not None
        if (datagram.ecn_seen & _CE) != 0:
            if (datagram.ecn_seen & _NOT_ECT) != 0:
                self._count_failed(first.version)
                self.context.drop(DropReason.IP_INHDR, "", "fragments disagree about ECN")
                return None
            first.tos |= 3
        try:
            whole = parse(join(first, b"".join([part.text for part in datagram.parts])), 0)
        except WireError as error:
            self._count_failed(first.version)
            self.context.drop(error.reason, "", f"datagram from {format_address(first.src)}: {error.detail}")
            return None
        self.context.counters.of(first.version).ip_reasm_oks += 1
        return whole

    def _expire(self, key: bytes, datagram: _Datagram) -> None:
        self._forget(key, datagram)
        version: i64 = 4 if len(key) < 32 else 6
        self.context.counters.of(version).ip_reasm_timeout += 1
        if datagram.is_poisoned:
            return
        self._count_failed(version)
        self.context.drop(DropReason.FRAG_REASM_TIMEOUT, "", f"{datagram.held_bytes} bytes had come")
        first = datagram.first
        if first is not None:
            self.expired.append(first.data[first.header_start : first.end])

    def _forget(self, key: bytes, datagram: _Datagram) -> None:
        del self._datagrams[key]
        self.bytes_held -= datagram.charged_bytes

    def _count_failed(self, version: i64) -> None:
        self.context.counters.of(version).ip_reasm_fails += 1


def _key(packet: Packet) -> bytes:
    """What fragments of one datagram have in common (RFC 791: with the protocol, RFC 8200: without)."""
    ident: int = packet.ident
    if packet.version == 4:
        return packet.src + packet.dst + bytes([packet.protocol]) + ident.to_bytes(2, "big")
    return packet.src + packet.dst + ident.to_bytes(4, "big")
