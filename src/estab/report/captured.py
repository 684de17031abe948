"""Tables from a capture: what packets tell of a run, and a sentence for each thing that they can't.

- A packet stands at the moment at which it was captured; when it was sent and when it arrived is not in it. So an arrow
  of a capture has no length.
- Numbers are relative to the SYN, or to the first segment seen of that side if the capture begins later.
- A sender's SND.UNA, SND.NXT and window are read off the acknowledgments that passed here; a round trip is the time
  from a segment to its acknowledgment as this place saw them, never of one that was sent twice (RFC 6298, Karn's rule).
- Where both ends have one address, as on the loopback, each end is shown as a host, up to a bound.
- Comments of packets (estab's own captures have them) are kept as why a segment was sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from estab.devices.capture_file import Captured
from estab.devices.decapsulate import ip_packet, link_type_text
from estab.errors import WireError
from estab.observe.dissect import Summary, dissect
from estab.report.columns import AGAIN, head_of
from estab.report.ends import Ends
from estab.report.tables import NUMBER_MAX
from estab.units import format_count
from estab.wire import ip, tcp

__all__ = ["captured"]

_NOT_KNOWN = (
    "Made from a capture. Congestion windows, thresholds, timers, buffers, calls and queues are in no packet: those "
    "views are empty. A frame stands when it was captured; how long it was under way, and whether "
    "what is missing was lost or only not captured, is not known.",
    "Round trips are from a segment to its acknowledgment at the place of the capture: the whole round trip only for "
    "the side that was captured at the sender.",
)
_OWN_ENDS_MAX = 64
_UNSCALED = "The SYN of {count} was not captured: windows there are as on the wire, without their scale."


@dataclass(slots=True)
class _Side:
    """One direction of a connection, as its packets tell."""

    iss: int = -1
    scale: int = -1
    has_syn: bool = False
    has_window: bool = False
    """Whether a segment was captured whose window has a scale: no SYN, and no reset."""
    una: int = 0
    nxt: int = 0
    wnd: int = 0
    waiting: deque[tuple[int, int, int]] = field(default_factory=deque)
    """Segments that were sent once and not acknowledged yet: first and last number, and when."""


def captured(frames: Iterable[Captured], *, has_payload: bool = False) -> Ends:
    """Return the tables of a capture's frames, time counted from the first. Errors are those of ``frames``."""
    return _Reading(has_payload).read(frames)


class _Reading:
    def __init__(self, has_payload: bool) -> None:
        self.tables = Ends(has_payload=has_payload)
        self.sides: dict[int, _Side] = {}
        self.own_ends: set[str] = set()
        """Ends of connections from an address to itself that are shown as hosts of their own."""
        self.strange: Counter[int] = Counter()
        """Frames whose link type or network protocol is not ours, by link type."""

    def read(self, frames: Iterable[Captured]) -> Ends:
        tables = self.tables
        tables.is_capture = True
        packets = sorted(frames, key=lambda frame: frame.time_ns)
        first_ns = packets[0].time_ns if packets else 0
        tables.epoch_ns = max(0, first_ns)
        for frame in packets:
            self._packet(frame, min(frame.time_ns - first_ns, NUMBER_MAX))
        late = sum(frame.time_ns - first_ns > NUMBER_MAX for frame in packets)
        if late:
            tables.missing.append(f"By the times in the file {format_count(late, 'frame')} came more than 146 years "
                                  "after the first; that is where this page has them.")
        tables.missing += _NOT_KNOWN
        unscaled = sum(self._is_unscaled(self._side(2 * conn.number), self._side(2 * conn.number + 1))
                       for conn in tables.conns)
        if unscaled:
            count = "one connection" if unscaled == 1 else f"{unscaled:,} connections"
            tables.missing.append(_UNSCALED.format(count=count))
        cut = sum(len(frame.data) < frame.length for frame in packets)
        if cut:
            tables.missing.append(f"{cut:,} of {len(packets):,} frames were cut short by the capture.")
        for link_type, strange in sorted(self.strange.items()):
            kind = link_type_text(link_type)
            tables.missing.append(f"{strange:,} frames of {kind} carry no IP packet that is read here.")
        return tables

    def _packet(self, frame: Captured, at_ns: int) -> None:
        tables = self.tables
        tables.seen(at_ns)
        packet = _whole(frame)
        said = dissect(packet or frame.data)
        if not packet and said.protocol != "arp":
            self.strange[frame.link_type] += 1
            return
        source, target = self._hosts(said)
        way = tables.way(source or "?", target or "?")
        tables.ways[way].target = tables.host(target or "?")
        segment = _segment(packet) if said.protocol == "tcp" else None
        if segment is None:
            self._add(frame, packet, at_ns, way, said, text=said.text)
            return
        found = tables.find(said.source, said.destination)
        if "S" in said.flags and (found is None or (found[0].is_over and "." not in said.flags)):
            near, far = (said.destination, said.source) if "." in said.flags else (said.source, said.destination)
            tables.open(near, far, tables.host(source if near == said.source else target), at_ns)
            found = tables.find(said.source, said.destination)
        conn, side = found or tables.open(said.source, said.destination, tables.host(source), at_ns)
        conn.hosts[side], conn.hosts[1 - side] = tables.host(source), tables.host(target)
        conn.until_ns, conn.frames = at_ns, conn.frames + 1
        conn.ways.add(way)
        if "R" in said.flags or "F" in said.flags:
            conn.is_over = True
        self._follow(frame, packet, at_ns, way, said, segment, 2 * conn.number + side)

    def _hosts(self, said: Summary) -> tuple[str, str]:
        """Name both ends by their addresses; of the loopback, where both have one, with their ports."""
        source, target = _host(said.source), _host(said.destination)
        if source != target or not source:
            return source, target
        ends = (said.source, said.destination)
        if self.own_ends.issuperset(ends) or len(self.own_ends) < _OWN_ENDS_MAX:
            self.own_ends.update(ends)
            return ends
        return source, target

    @staticmethod
    def _is_unscaled(one: _Side, other: _Side) -> bool:
        """Whether there are windows of a connection whose scale is not known."""
        return (one.has_window or other.has_window) and not (one.has_syn and other.has_syn)

    def _side(self, end: int) -> _Side:
        return self.sides.setdefault(end, _Side())

    def _follow(
        self, frame: Captured, packet: bytes, at_ns: int, way: int, said: Summary, segment: tcp.Segment, end: int,
    ) -> None:
        """Take a segment into what is known of both sides, and add its row."""
        own, peer = self._side(end), self._side(end ^ 1)
        is_syn = "S" in said.flags
        if is_syn:
            own.iss, own.has_syn, own.scale = said.seq, True, int(segment.wscale)
        elif own.iss < 0:
            own.iss = (said.seq - 1) % 2**32
        own.has_window = own.has_window or not (is_syn or "R" in said.flags)
        seq = _near(said.seq - own.iss, own.nxt)
        ack = 0
        if "." in said.flags:
            if peer.iss < 0:
                peer.iss = (said.ack - 1) % 2**32
            ack = _near(said.ack - peer.iss, peer.una)
        has_scale = own.scale > 0 and peer.scale >= 0 and not is_syn
        wnd = said.wnd << own.scale if has_scale else said.wnd
        last = seq + said.length + is_syn + ("F" in said.flags)
        is_again = seq < last <= own.nxt
        self._add(frame, packet, at_ns, way, said, end=end, seq=seq, ack=ack, wnd=wnd, is_again=is_again)
        if last > seq:
            if is_again:
                own.waiting = deque(row for row in own.waiting if row[1] <= seq or row[0] >= last)
            else:
                own.waiting.append((seq, last, at_ns))
            own.nxt = max(own.nxt, last)
        self._row(end, at_ns)
        self.tables.conns[end // 2].count(end % 2, seq, said.length)
        if "." in said.flags:
            self._acknowledged(end ^ 1, ack, wnd, at_ns, segment)

    def _acknowledged(self, end: int, ack: int, wnd: int, at_ns: int, segment: tcp.Segment) -> None:
        """Note at a sender's side what its peer acknowledges and offers."""
        side = self._side(end)
        sent_ns = -1
        while side.waiting and side.waiting[0][1] <= ack:
            sent_ns = side.waiting.popleft()[2]
        edges = [_near(edge - side.iss, ack) for edge in segment.sack or []]
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            self.tables.add("sack", at_ns, end, left, right)
            sent_ns = max(sent_ns, self._sacked(side, left, right))
        if sent_ns >= 0:
            self.tables.add("rtt", at_ns, end, at_ns - sent_ns)
        side.una, side.nxt, side.wnd = max(side.una, ack), max(side.nxt, ack), wnd
        self._row(end, at_ns)

    def _sacked(self, side: _Side, left: int, right: int) -> int:
        """Take out what a SACK says has arrived. Returns when the last of it was sent, -1 for nothing new."""
        inside = [row for row in side.waiting if left <= row[0] and row[1] <= right]
        if inside:
            side.waiting = deque(row for row in side.waiting if not (left <= row[0] and row[1] <= right))
        return max((row[2] for row in inside), default=-1)

    def _row(self, end: int, at_ns: int) -> None:
        side = self._side(end)
        self.tables.put("flow", at_ns, end, side.una, max(side.nxt, side.una), side.wnd, -1)

    def _add(
        self, frame: Captured, packet: bytes, at_ns: int, way: int, said: Summary, *, end: int = -2, seq: int = 0,
        ack: int = 0, wnd: int = 0, is_again: bool = False, text: str = "",
    ) -> None:
        tables = self.tables
        why = frame.comment or ("retransmission" if is_again else "")
        data = packet or frame.data
        kept = data[:max(0, len(data) - frame.length + len(frame.data))] if tables.has_payload else head_of(data)
        tables.add(
            "frame", at_ns, way, end // 2, end % 2, 0, 0, seq, ack, said.length, wnd, tables.word("flags", said.flags),
            tables.word("why", why), tables.word("fate", "captured"), AGAIN if is_again else 0, len(data), -1,
            tables.word("text", text), -1, tables.keep_head(kept),
        )


def _near(number: int, near: int) -> int:
    """Place a difference of two numbers of 32 bits where it is nearest to ``near``."""
    return near + (number - near + 2**31) % 2**32 - 2**31


def _whole(frame: Captured) -> bytes:
    """Return the IP packet in a frame: without the link's padding, with zeros for what the capture cut off."""
    packet = ip_packet(frame)
    if packet is None or len(packet) < 20:
        return b""
    length = int.from_bytes(packet[2:4], "big") if packet[0] >> 4 == 4 else 40 + int.from_bytes(packet[4:6], "big")
    return packet[:length] + bytes(max(0, length - len(packet)))


def _segment(packet: bytes) -> tcp.Segment | None:
    try:
        return tcp.parse(ip.parse(packet, 0), True)
    except WireError:
        return None


def _host(end: str) -> str:
    """Return the address of an end: without its port, without brackets."""
    if end.startswith("["):
        return end[1:end.index("]")]
    return end.rpartition(":")[0] if end.count(":") == 1 else end
