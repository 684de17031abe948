"""``Columns``: an observer that fills tables as facts come, and keeps no fact.

- Frames are paired by their bytes, as in ``observe.flights``: what one host sent is what another received, or what a
  link took out. One that a link marked, damaged or copied is known by its new bytes from then on.
- A TCP frame has the numbers and the rule of the ``SegmentSent`` that was told before it; a router's has those of the
  frame that it passed on (``frame.from``).
- A switch sends and receives nothing itself: a frame's way ends at the first host that it arrives at. The copies that
  the switch made for others are rows of their own, from the switch.
- An end's rows are written when something in them changed; several changes at one time are one row.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from estab.errors import DropReason
from estab.events import (
    Event,
    FrameReceived,
    FrameSent,
    LinkCopied,
    LinkDamaged,
    LinkDelayed,
    LinkDropped,
    LinkHeld,
    LinkMarked,
    LinkQueueChanged,
    PacketDropped,
    RttMeasured,
    SegmentReceived,
    SegmentSent,
)
from estab.observe.dissect import Summary, dissect, is_ethernet
from estab.report.held import End
from estab.report.rest import Rest
from estab.report.tables import Way

__all__ = ["AGAIN", "Columns", "head_of"]

AGAIN, COPY, MARKED, CHANGED, HELD_BACK = 1, 2, 4, 8, 16
_RECENT_MAX: Final = 65_536
_BLOCK: Final = re.compile(r"\{(\d+):(\d+)\}")
_COPY_TEXT: Final = "a copy of a frame that was sent before"
_COPIED_TEXT: Final = "a duplicate that the link made"


class Columns(Rest):
    """The tables of a run, filled from facts: pass it to ``Network.observe`` or call it with each fact.

    ``has_payload``: keep whole frames for the page, not only headers.
    """

    def __init__(self, *, has_payload: bool = False) -> None:
        super().__init__(has_payload=has_payload)
        self.is_recording = True
        """If it is ``False``, facts are ignored."""
        self._under_way: dict[bytes, deque[int]] = {}
        self._untold: dict[tuple[str, str], deque[tuple[SegmentSent, int]]] = {}
        self._told = _Recent()
        self._passing = _Recent()
        self._ways_on: dict[tuple[int, int], int] = {}
        self._flooded = _Recent()
        self._last_in: dict[int, int] = {}
        self._last_out: dict[int, int] = {}
        self._waiting: dict[int, deque[int]] = {}
        self._on: dict[type[Event], Callable[[Any], None]] = {
            SegmentSent: self._segment_sent, SegmentReceived: self._segment_received, FrameSent: self._frame_sent,
            FrameReceived: self._frame_received, LinkDropped: self._frame_lost, LinkMarked: self._frame_marked,
            LinkCopied: self._frame_copied, LinkDamaged: self._frame_damaged, LinkHeld: self._frame_held,
            LinkDelayed: self._frame_held,
            LinkQueueChanged: self._queue_changed, PacketDropped: self._packet_dropped, RttMeasured: self._rtt,
            **self.on_rest,
        }
        frame = self.columns["frame"]
        self._wait, self._fly, self._fate, self._bits = frame["wait"], frame["fly"], frame["fate"], frame["bits"]
        self._sent_at, self._way_of, self._conn_of = frame["t"], frame["way"], frame["conn"]
        self._arrived = self.word("fate", "arrived")

    def __call__(self, event: Event) -> None:
        """Take a fact."""
        if not self.is_recording:
            return
        self.seen(event.at_ns)
        handler = self._on.get(type(event))
        if handler is not None:
            handler(event)

    # --- segments

    def _segment_sent(self, fact: SegmentSent) -> None:
        if "S" in fact.flags and "." not in fact.flags:
            self.opened(fact.host, fact.connection, fact.at_ns)
        end = self.end(fact.host, fact.connection, fact.at_ns)
        assert end is not None
        self._untold.setdefault((fact.host, fact.connection), deque()).append((fact, self.running(fact.host)))
        self._last_in.pop(self.host(fact.host), None)
        if fact.tcb is not None:
            self.follow(end, fact.tcb, fact.at_ns)

    def _segment_received(self, fact: SegmentReceived) -> None:
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is None:
            return
        end.is_unheard = False
        if "sack " in fact.options and end.iss >= 0:
            self._sacks(end, fact)
        if fact.tcb is not None:
            self.follow(end, fact.tcb, fact.at_ns)

    def _sacks(self, end: End, fact: SegmentReceived) -> None:
        """Note what the peer says it has out of order. The option's numbers are those on the wire."""
        for left, right in _BLOCK.findall(fact.options.partition("sack ")[2]):
            self.add("sack", fact.at_ns, end.number, (int(left) - end.iss) % 2**32, (int(right) - end.iss) % 2**32)

    def _rtt(self, fact: RttMeasured) -> None:
        end = self.end(fact.host, fact.connection, fact.at_ns)
        if end is not None:
            self.add("rtt", fact.at_ns, end.number, fact.rtt_ns)

    # --- frames

    def _frame_sent(self, fact: FrameSent) -> None:
        host, data = self.host(fact.host), fact.data
        said = dissect(data)
        key = (host, _digest(data))
        told = self._untold.get((fact.host, said.connection))
        way = self.way(fact.host, fact.interface)
        if told and told[0][0].flags == said.flags:
            segment, call = told.popleft()
            row = self._told_frame(segment, said, way, data, call)
            self._told.keep(key, row)
        elif key in self._told:
            row = self._copied(self._told[key], fact.at_ns, way, data, _COPY_TEXT)
        else:
            row = self._other_frame(fact.at_ns, host, way, data, said)
        if row < 0:
            return
        self._last_out[way] = row
        self._under_way.setdefault(data, deque()).append(row)

    def _told_frame(self, segment: SegmentSent, said: Summary, way: int, data: bytes, call: int) -> int:
        end = self.end(segment.host, segment.connection, segment.at_ns)
        assert end is not None
        conn = self.conns[end.conn]
        conn.frames += 1
        conn.ways.add(way)
        end.iss = (said.seq - segment.seq) % 2**32
        last = segment.seq + segment.length + ("S" in segment.flags) + ("F" in segment.flags)
        is_again = segment.seq < last <= end.sent_to
        if last > segment.seq:
            end.sent_to = max(end.sent_to, last)
        conn.count(end.side, segment.seq, segment.length)
        row = self.add(
            "frame", segment.at_ns, way, end.conn, end.side, 0, -1, segment.seq, segment.ack, segment.length,
            segment.wnd, self.word("flags", segment.flags), self.word("why", segment.why), 0, AGAIN if is_again else 0,
            len(data), -1, 0, call, self.keep_head(data if self.has_payload else head_of(data)),
        )
        self._passing.keep((end.conn, _digest(_core(data))), row)
        return row

    def _copied(self, row: int, at_ns: int, way: int, data: bytes, why: str) -> int:
        """Add a row for bytes that are on a link once more."""
        cells = self.columns["frame"]
        first = {name: cell[row] for name, cell in cells.items()}
        head = self.keep_head(data if self.has_payload else head_of(data)) if data else 0
        return self.add("frame", *({**first, "t": at_ns, "way": way, "wait": 0, "fly": -1, "fate": 0,
                                    "bits": AGAIN | COPY, "why": self.word("why", why), "from": -1 if data else row,
                                    "call": -1, "head": head}).values())

    def _other_frame(self, at_ns: int, host: int, way: int, data: bytes, said: Summary) -> int:
        """Add a frame that no host's TCP reported: another protocol, a router's, a forged one."""
        conn, side, origin, bits = -1, 0, -1, 0
        seq, ack = said.seq, said.ack
        if said.protocol == "tcp":
            found = self.find(said.source, said.destination)
            if found is None:
                found = self.open(said.source, said.destination, -1, at_ns)
            conn, side = found[0].number, found[1]
            found[0].ways.add(way)
            key = (conn, _digest(_core(data)))
            origin = self._passing.get(key, -1)
            if origin >= 0 and self.ways[self._way_of[origin]].source == host:
                origin = -1  # the sender itself, once more
            if origin >= 0:
                cells = self.columns["frame"]
                seq, ack = cells["seq"][origin], cells["ack"][origin]
            else:
                seq, ack = self._relative(conn, side, said)
                bits = self._untold_frame(conn, side, seq, said)
                self._passing.keep(key, self.count("frame"))
        return self.add(
            "frame", at_ns, way, conn, side, 0, -1, seq, ack, said.length, said.wnd, self.word("flags", said.flags),
            self.word("why", "" if origin < 0 else "passed on"), 0, bits, len(data), origin,
            0 if conn >= 0 else self.word("text", said.text), -1,
            self.keep_head(data if self.has_payload else head_of(data)),
        )

    def _untold_frame(self, conn: int, side: int, seq: int, said: Summary) -> int:
        """Count a segment that no TCP reported, a kernel's. Returns ``AGAIN`` if all of it was sent before."""
        last = seq + said.length + ("S" in said.flags) + ("F" in said.flags)
        if not seq < last < 2**31:
            return 0
        end, known = self.ends[2 * conn + side], self.conns[conn]
        is_again = last <= end.sent_to
        end.sent_to = max(end.sent_to, last)
        known.frames += 1
        known.count(side, seq, said.length)
        return AGAIN if is_again else 0

    def _relative(self, conn: int, side: int, said: Summary) -> tuple[int, int]:
        """Make the numbers of a segment relative that no TCP reported."""
        own, peer = self.ends[2 * conn + side], self.ends[2 * conn + 1 - side]
        if own.iss < 0:
            own.iss = said.seq
        ack = (said.ack - peer.iss) % 2**32 if peer.iss >= 0 and "." in said.flags else 0
        return (said.seq - own.iss) % 2**32, ack

    def _take(self, data: bytes, host: int, is_sender: bool) -> int:
        """Take the oldest frame under way with these bytes: sent by the host, or by any other. -1 for none."""
        waiting = self._under_way.get(data)
        for row in waiting or ():
            if (self.ways[self._way_of[row]].source == host) is is_sender:
                assert waiting is not None
                waiting.remove(row)
                if not waiting:
                    del self._under_way[data]
                return row
        return -1

    def _land(self, row: int, at_ns: int, fate: int) -> None:
        self._fly[row] = at_ns - self._sent_at[row] - self._wait[row]
        self._fate[row] = fate

    def _frame_received(self, fact: FrameReceived) -> None:
        host = self.host(fact.host)
        row = self._take(fact.data, host, False)
        if row < 0:
            number = self._flooded.get((0, _digest(fact.data)), -1) if self.switches else -1
            number = self.way("", fact.host) if number < 0 else self._way_on(number, host)
            row = self._other_frame(fact.at_ns, -1, number, fact.data, dissect(fact.data))
        if row >= 0:
            way = self.ways[self._way_of[row]]
            if way.target < 0:
                way.target = host
            elif way.target in self.switches:
                self._flooded.keep((0, _digest(fact.data)), self._way_of[row])
                self._way_of[row] = self._way_past(self._way_of[row], host)
            self._land(row, fact.at_ns, self._arrived)
            self._last_in[host] = row

    def _way_past(self, number: int, host: int) -> int:
        """Return the way to a host over a switch, at which the way of that number ends."""
        found = self._ways_on.get((number, host))
        if found is None:
            way = self.ways[number]
            found = self._ways_on[number, host] = len(self.ways)
            self.ways.append(Way(way.link, way.source, host, way.interface))
        return found

    def _way_on(self, number: int, host: int) -> int:
        """Return the way to a host from the switch at which the way of that number ends."""
        found = self._ways_on.get((~number, host))
        if found is None:
            ends = (self.ways[number].target, host)
            found = next((other for other, way in enumerate(self.ways) if (way.source, way.target) == ends), number)
            self._ways_on[~number, host] = found
        return found

    def _frame_copied(self, fact: LinkCopied) -> None:
        """Add a row for a frame that the link delivers twice."""
        waiting = self._under_way.get(fact.data)
        if waiting:
            self._changed(self._copied(waiting[0], fact.at_ns, self._way_of[waiting[0]], b"", _COPIED_TEXT), fact.data)

    def _frame_damaged(self, fact: LinkDamaged) -> None:
        row = self._take(fact.before, self.host(fact.host), True)
        self._changed(row, fact.data, CHANGED)

    def _changed(self, row: int, data: bytes, bit: int = 0) -> None:
        """Look for a frame under other bytes from now on."""
        if row >= 0:
            self._bits[row] |= bit
            self._under_way.setdefault(data, deque()).append(row)

    def _frame_lost(self, fact: LinkDropped) -> None:
        host = self.host(fact.host)
        row = self._take(fact.data, host, host not in self.switches)
        if row >= 0 and host in self.switches:
            self._flooded.keep((0, _digest(fact.data)), self._way_of[row])
        if row >= 0:
            self._land(row, fact.at_ns, self.word("fate", f"lost: {fact.reason.value}"))
            if fact.reason is DropReason.LINK_QUEUE_FULL:
                self._fly[row] = 0

    def _frame_marked(self, fact: LinkMarked) -> None:
        self._changed(self._take(fact.before, self.host(fact.host), True), fact.data, MARKED)

    def _frame_held(self, fact: LinkHeld | LinkDelayed) -> None:
        waiting = self._under_way.get(fact.data)
        if waiting:
            self._bits[waiting[0]] |= HELD_BACK

    def _packet_dropped(self, fact: PacketDropped) -> None:
        row = self._last_in.get(self.host(fact.host), -1)
        if row >= 0 and self._fate[row] == self._arrived and (
                self._sent_at[row] + self._wait[row] + self._fly[row] == fact.at_ns):
            detail = f" ({fact.detail})" if fact.detail else ""
            self._fate[row] = self.word("fate", f"dropped: {fact.reason.value}{detail}")

    def _queue_changed(self, fact: LinkQueueChanged) -> None:
        way = self.way_of_link(fact.link, fact.host)
        self.put("queue", fact.at_ns, way, fact.waiting_frames, fact.waiting_bytes)
        line = self._waiting.setdefault(way, deque())
        if fact.what == "added":
            line.append(self._last_out.get(way, -1))
        elif fact.what == "left" and line:
            row = line[fact.place]
            del line[fact.place]
            if row >= 0:
                self._wait[row] = fact.at_ns - self._sent_at[row]
        elif fact.what == "emptied":
            for row in line:
                if row >= 0:
                    self._wait[row] = fact.at_ns - self._sent_at[row]
            line.clear()

    def forget_causes(self, host: str) -> None:
        """A call or a timer comes: what is dropped from here on is not the frame that came before."""
        self._last_in.pop(self.host(host), None)


class _Recent(OrderedDict[tuple[int, bytes], int]):
    """Rows by what they were seen with: those of the last frames only."""

    def keep(self, key: tuple[int, bytes], row: int) -> None:
        """Keep a row, and forget the oldest if there are too many."""
        self[key] = row
        if len(self) > _RECENT_MAX:
            self.popitem(last=False)


def _digest(data: bytes) -> bytes:
    """Return a few bytes that stand for many."""
    return blake2b(data, digest_size=12).digest()


def _start(data: bytes) -> int:
    return 14 if is_ethernet(data) else 0


def _core(data: bytes) -> bytes:
    """Return what a router leaves of a packet: all after the IP header."""
    start = _start(data)
    if len(data) < start + 20:
        return data
    header = (data[start] & 15) * 4 if data[start] >> 4 == 4 else 40
    return data[start + header:]


def head_of(data: bytes) -> bytes:
    """Return a frame's headers, without any payload."""
    start = _start(data)
    if start and data[12:14] == b"\x08\x06":
        return data[:42]
    if len(data) < start + 20 or data[start] >> 4 not in (4, 6):
        return data[:start]
    is_v4 = data[start] >> 4 == 4
    at = start + ((data[start] & 15) * 4 if is_v4 else 40)
    protocol = data[start + 9] if is_v4 else data[start + 6]
    if protocol == 6 and len(data) > at + 12:
        return data[:at + (data[at + 12] >> 4) * 4]
    return data[:at + 8]
