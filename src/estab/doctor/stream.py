"""One direction of a conversation, as its sender saw it: what it sent, what was acknowledged, what it waited for.

- From a capture that was not taken at the sender, the sender's view is made by moving times: an acknowledgment reached
  it later than the capture by the way to it and back. That is exact as long as this way's delay is.
- Each pause between two new segments has one reason: the peer's window was full; a loss was being repaired; it went on
  with an acknowledgment (the congestion window or the send buffer held it); it went on by itself (the program or a
  pace); or it answered the other side.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from estab.doctor.conversation import Conversation, Segment
from estab.doctor.vantage import Vantage
from estab.units import MS, US

__all__ = ["Pause", "Repeat", "Stream", "ZeroWindow", "read_stream"]

_OPTIONS_BYTES: Final = 20
_MSS_DEFAULT: Final = 536


@dataclass(slots=True)
class Repeat:
    """A segment that was sent again, or that filled a hole. ``kind``: ``fast``, ``timeout``, ``probe``."""

    segment: Segment
    first_ns: int
    """When it was first seen; for a hole, when the hole was."""
    kind: str
    is_needless: bool = False
    is_overrun: bool = False
    """The receiver had discarded it, because it came beyond the window."""


@dataclass(slots=True)
class Pause:
    """Between two new segments. ``why``: ``window``, ``loss``, ``ack``, ``self``, ``answer``, ``nagle``."""

    from_ns: int
    to_ns: int
    why: str
    flight_bytes: int
    """In flight just before it ended."""
    segment: Segment
    previous: Segment
    is_short: bool = False
    """The segment before the pause was less than full."""

    @property
    def length_ns(self) -> int:
        """How long it was."""
        return self.to_ns - self.from_ns


@dataclass(slots=True)
class ZeroWindow:
    """The receiver's window was closed. ``probes`` were sent meanwhile; ``is_open``: it opened again."""

    from_ns: int
    to_ns: int
    probes: int = 0
    is_open: bool = False
    number: int = 0


@dataclass(slots=True)
class Stream:
    """What one side sent."""

    side: int
    bytes: int = 0
    """Of text, repetitions not counted."""
    segments: int = 0
    mss: int = 0
    full_bytes: int = 0
    """What a full segment would be, as far as it is known."""
    first_ns: int = 0
    last_ns: int = 0
    repeats: list[Repeat] = field(default_factory=list)
    holes: list[Repeat] = field(default_factory=list)
    """Holes in what passed the capture that were filled later by what had been lost before it."""
    reordered: list[Segment] = field(default_factory=list)
    """Segments that came after later ones, without having been sent again."""
    needless_dsack: int = 0
    pauses: list[Pause] = field(default_factory=list)
    zero_windows: list[ZeroWindow] = field(default_factory=list)
    rtts: list[tuple[int, int]] = field(default_factory=list)
    """Time and length of round trips."""
    flights: list[tuple[int, int]] = field(default_factory=list)
    """Bytes in flight after each new segment."""
    window_bytes_max: int = 0
    unseen_bytes: int = 0
    """Acknowledged by the peer, and never in the capture."""
    unseen: list[Segment] = field(default_factory=list)
    unacked: list[Segment] = field(default_factory=list)
    """What was sent last and is not acknowledged at the end of the capture."""
    largest_acked: int = 0
    """Octets of the largest segment that was acknowledged or reported (SACK)."""
    probes: int = 0
    keepalives: list[Segment] = field(default_factory=list)
    full_flight_bytes: int = 0
    overrun: list[Segment] = field(default_factory=list)
    """Text beyond the window that the receiver had offered: it is discarded (seen at the receiver only)."""
    missing_ns: int = 0
    """Since when something is missing that never came, while later text did; 0: nothing is."""

    @property
    def losses(self) -> list[Repeat]:
        """What had to be sent again."""
        return [one for one in self.repeats if not one.is_needless and not one.is_overrun] + self.holes

    @property
    def needless(self) -> list[Repeat]:
        """What was sent again although it had arrived."""
        return [one for one in self.repeats if one.is_needless]


def read_stream(conversation: Conversation, side: int, vantage: Vantage) -> Stream:
    """Follow what ``side`` sent."""
    return _Reader(conversation, side, vantage).read()


class _Reader:
    def __init__(self, conversation: Conversation, side: int, vantage: Vantage) -> None:
        self.conversation = conversation
        self.side = side
        # A little less than the delay: what an acknowledgment caused must not seem to come before it.
        self.shift_ns = vantage.to(side) * 17 // 20
        self.rtt_ns = vantage.rtt_ns
        self.is_at_sender = vantage.side == side
        self.is_at_receiver = vantage.side == 1 - side
        self.stream = Stream(side)
        self.top = 1 if conversation.sides[side].has_syn else 0
        self.has_syn = conversation.sides[side].has_syn
        self.una = 0
        self.edge = 0
        self.last_wnd = 0
        self.sent: dict[int, tuple[int, int, int]] = {}
        """By sequence number: end, when it was first sent, how often."""
        self.order: list[int] = []
        self.holes: list[tuple[int, int, int, int]] = []
        """What is missing: from, to, since when, timestamp of what showed it."""
        self.sacked: list[tuple[int, int]] = []
        self.sack_holes: dict[int, int] = {}
        self.recovery_end = -1
        self.last_new: Segment | None = None
        self.last_new_ns = 0
        self.last_ack_ns = -(10**18)
        self.last_peer_text_ns = -(10**18)
        self.was_full = False
        self.flight_before_ack = 0
        self.zero: ZeroWindow | None = None
        self.full_bytes = 0
        self.overrun = (0, 0)
        """From where to where text came beyond the window."""

    def read(self) -> Stream:
        stream = self.stream
        stream.mss = max((one.length for one in self.conversation.sides[self.side].segments), default=0)
        known = [side.mss for side in self.conversation.sides if side.mss]
        agreed = min(known) - _OPTIONS_BYTES if len(known) == 2 else _MSS_DEFAULT
        self.full_bytes = stream.full_bytes = max(stream.mss, agreed)
        if self.is_at_receiver:
            self._find_overrun()
        at_ns = 0
        for segment in sorted(self.conversation.segments, key=self._seen_by_sender_ns):
            at_ns = self._seen_by_sender_ns(segment)
            if segment.side == self.side:
                self._sent(at_ns, segment)
            else:
                self._heard(at_ns, segment)
        self._end(at_ns)
        return stream

    def _seen_by_sender_ns(self, segment: Segment) -> int:
        return segment.at_ns if segment.side == self.side else segment.at_ns + self.shift_ns

    def _find_overrun(self) -> None:
        """Find text that came when the window was smaller, in the order of the capture."""
        if not self.conversation.has_handshake:
            return
        edge = 0
        for segment in self.conversation.segments:
            if segment.side != self.side:
                if segment.ack >= 0 and not segment.is_syn and not segment.is_rst:
                    edge = segment.ack + segment.wnd
            elif segment.length > 1 and edge and segment.end > edge:
                self.stream.overrun.append(segment)
        if self.stream.overrun:
            self.overrun = (min(one.seq for one in self.stream.overrun), max(one.end for one in self.stream.overrun))

    # --- what the side sends

    def _sent(self, at_ns: int, segment: Segment) -> None:
        stream = self.stream
        if segment.is_syn or segment.is_rst:
            return
        if segment.length <= 1 and segment.seq == self.una - 1 and self.una > 1 and not segment.is_fin:
            self._probe(segment)
            return
        if segment.length == 0 and not segment.is_fin:
            return
        if self.zero is not None and segment.length <= 1 and segment.seq <= self.top:
            self._probe(segment)
        if segment.seq >= self.top or segment.end > self.top:
            self._sent_new(at_ns, segment)
        else:
            self._sent_old(at_ns, segment)
        if segment.length:
            stream.last_ns = at_ns

    def _probe(self, segment: Segment) -> None:
        if self.zero is not None:
            self.zero.probes += 1
            self.stream.probes += 1
        else:
            self.stream.keepalives.append(segment)

    def _sent_new(self, at_ns: int, segment: Segment) -> None:
        stream = self.stream
        if segment.length:
            if not stream.segments:
                stream.first_ns = at_ns
            stream.segments += 1
            stream.bytes += segment.end - max(segment.seq, self.top)
        if segment.seq > self.top and self.top > 0 and (stream.segments > 1 or self.has_syn):
            self.holes.append((self.top, segment.seq, at_ns, segment.packet.ts_val))
        if self.last_new is not None and segment.length:
            self._pause(at_ns, segment)
        self.sent[segment.seq] = (segment.end, at_ns, 1)
        self.order.append(segment.seq)
        self.top = max(self.top, segment.end)
        if segment.length:
            self.last_new, self.last_new_ns = segment, at_ns
            flight = self.top - self.una
            stream.flights.append((at_ns, flight))
            stream.full_flight_bytes = max(stream.full_flight_bytes, flight)
        room = self.edge - self.top
        self.was_full = self.edge > 0 and room < max(1, min(stream.mss, 1460))
        self.flight_before_ack = self.top - self.una

    def _pause(self, at_ns: int, segment: Segment) -> None:
        """Say why the side sent nothing new for a while."""
        last = self.last_new
        assert last is not None
        gap_ns = at_ns - self.last_new_ns
        rtt_ns = self.rtt_ns or 0
        near_ns = max(300 * US, rtt_ns // 8) if self.is_at_sender else max(2 * MS, rtt_ns // 4)
        flight = self.top - self.una
        since_ack_ns = at_ns - self.last_ack_ns
        is_short = last.length < self.full_bytes
        if gap_ns < max(100 * US, rtt_ns // 50):
            why = "burst"
        elif self.recovery_end > self.una:
            why = "loss"
        elif self.was_full and self.last_ack_ns > self.last_new_ns:
            why = "window"
        elif self.last_peer_text_ns > self.last_new_ns and flight == 0:
            why = "answer"
        elif since_ack_ns <= near_ns and self.last_ack_ns > self.last_new_ns:
            is_nagle = is_short and flight == 0 and self.flight_before_ack <= last.length
            why = "nagle" if is_nagle else "ack"
        else:
            why = "self"
        self.stream.pauses.append(Pause(self.last_new_ns, at_ns, why, flight, segment, last, is_short))

    def _sent_old(self, at_ns: int, segment: Segment) -> None:
        """Take a segment all of whose numbers are below the highest: sent again, or late."""
        stream = self.stream
        filled = [hole for hole in self.holes if hole[0] < segment.end and segment.seq < hole[1]]
        if filled:
            self._fill(at_ns, segment, filled)
            return
        known = self.sent.get(segment.seq)
        if known is None:
            at = bisect_right(self.order, segment.seq) - 1 if self.order == sorted(self.order) else -1
            known = self.sent.get(self.order[at]) if at >= 0 else None
        first_ns = known[1] if known is not None else at_ns
        if known is not None:
            self.sent[segment.seq] = (max(known[0], segment.end), known[1], known[2] + 1)
        is_above = any(right > segment.end for _, right in self.sacked) or self.dups >= 3
        waited_ns = at_ns - first_ns
        kind = "fast" if is_above else "timeout"
        repeat = Repeat(segment, first_ns, kind)
        if self.is_at_receiver or segment.end <= self.una:
            # It had passed here before: the receiver had it already, if the capture stands next to it.
            first, last = self.overrun
            repeat.is_overrun = segment.end > self.una and first < segment.end and segment.seq < last
            repeat.is_needless = (self.is_at_receiver and not repeat.is_overrun) or segment.end <= self.una
        del waited_ns
        stream.repeats.append(repeat)
        self.recovery_end = max(self.recovery_end, self.top)

    def _fill(self, at_ns: int, segment: Segment, filled: list[tuple[int, int, int, int]]) -> None:
        stream = self.stream
        left, right, since_ns, shown_ts = filled[0]
        is_late = self._is_reordered(at_ns, segment, since_ns, shown_ts)
        if is_late:
            stream.reordered.append(segment)
        else:
            stream.holes.append(Repeat(segment, since_ns, "fast" if at_ns - since_ns < 200 * MS else "timeout"))
            self.recovery_end = max(self.recovery_end, self.top)
        stream.bytes += min(segment.end, right) - max(segment.seq, left)
        self.sent[segment.seq] = (segment.end, at_ns, 2)
        self.holes = [piece for hole in self.holes for piece in _cut(hole, segment.seq, segment.end)]

    def _is_reordered(self, at_ns: int, segment: Segment, since_ns: int, shown_ts: int) -> bool:
        """Tell a segment that came late from one that was sent again: by its timestamp, or by how soon it came."""
        if segment.packet.ts_val >= 0 and shown_ts >= 0 and (segment.packet.ts_val - shown_ts) % 2**32 < 2**31:
            if segment.packet.ts_val != shown_ts:
                return False
            return self.rtt_ns is None or at_ns - since_ns < max(self.rtt_ns, MS)
        if segment.packet.ts_val >= 0 and shown_ts >= 0:
            return True
        return at_ns - since_ns < (self.rtt_ns or 10 * MS) * 3 // 4

    # --- what the side hears

    dups = 0

    def _heard(self, at_ns: int, segment: Segment) -> None:
        stream = self.stream
        if segment.is_rst or segment.ack < 0:
            return
        if segment.length:
            self.last_peer_text_ns = at_ns
        stream.window_bytes_max = max(stream.window_bytes_max, segment.wnd)
        self._sacks(segment)
        if segment.ack > self.top and segment.ack > 1:
            if self.top > 0:
                stream.unseen_bytes += segment.ack - self.top
                stream.unseen.append(segment)
            self.top = segment.ack
        if segment.ack > self.una:
            self._acked(at_ns, segment)
        elif segment.ack == self.una and segment.is_pure_ack and self.top > self.una:
            self.dups += segment.wnd == self.last_wnd or bool(segment.sack)
        is_larger = segment.ack + segment.wnd > self.edge
        if is_larger and segment.ack <= self.una:
            self.last_ack_ns = at_ns
        self.edge = max(self.edge, segment.ack + segment.wnd)
        self._window(at_ns, segment)
        self.last_wnd = segment.wnd

    def _acked(self, at_ns: int, segment: Segment) -> None:
        stream = self.stream
        newest = -1
        done = [seq for seq in self.order if self.sent[seq][0] <= segment.ack]
        for seq in done:
            end, first_ns, count = self.sent[seq]
            stream.largest_acked = max(stream.largest_acked, end - seq)
            if count == 1:
                newest = max(newest, first_ns)
        if newest >= 0:
            stream.rtts.append((at_ns, at_ns - newest))
        for left, right, *_ in self.holes:
            if right <= segment.ack:
                stream.unseen_bytes += right - left
                stream.unseen.append(segment)
        self.holes = [hole for hole in self.holes if hole[1] > segment.ack]
        for left in [left for left in self.sack_holes if left < segment.ack]:
            if self.sack_holes.pop(left) and not self._was_repeated(left):
                known = self.sent.get(left)
                if known is not None:
                    stream.reordered.append(segment)
        if done:
            keep = self.order[len(done):] if self.order[:len(done)] == done else [
                seq for seq in self.order if seq not in set(done)]
            self.order = keep
        self.una = segment.ack
        self.dups = 0
        self.sacked = [block for block in self.sacked if block[1] > segment.ack]
        self.last_ack_ns = at_ns

    def _was_repeated(self, left: int) -> bool:
        known = self.sent.get(left)
        return known is not None and known[2] > 1

    def _sacks(self, segment: Segment) -> None:
        """Take SACK blocks: what is above a hole, and, below the acknowledgment, what came twice (RFC 2883)."""
        if not segment.sack:
            return
        left, right = segment.sack[0]
        is_twice = right <= segment.ack or (
            len(segment.sack) > 1 and segment.sack[1][0] <= left and right <= segment.sack[1][1])
        if is_twice:
            self.stream.needless_dsack += 1
            for repeat in reversed(self.stream.repeats):
                if repeat.segment.seq < right and left < repeat.segment.end:
                    repeat.is_needless = True
                    break
        blocks = segment.sack[1:] if is_twice else segment.sack
        for block in blocks:
            if block[0] > segment.ack and block not in self.sacked:
                self.sacked.append(block)
                for seq in self.order:
                    if block[0] <= seq and self.sent[seq][0] <= block[1]:
                        self.stream.largest_acked = max(self.stream.largest_acked, self.sent[seq][0] - seq)
        if blocks and segment.ack in self.sent:
            self.sack_holes[segment.ack] = 1
            self.recovery_end = max(self.recovery_end, segment.ack + 1)

    def _window(self, at_ns: int, segment: Segment) -> None:
        if segment.wnd == 0 and not segment.is_syn and not segment.is_fin:
            if self.zero is None and segment.ack >= self.una:
                self.zero = ZeroWindow(at_ns, at_ns, number=segment.number)
                self.stream.zero_windows.append(self.zero)
            if self.zero is not None:
                self.zero.to_ns = at_ns
        elif self.zero is not None:
            self.zero.to_ns = at_ns
            self.zero.is_open = True
            self.zero = None

    def _end(self, at_ns: int) -> None:
        stream = self.stream
        if self.zero is not None:
            self.zero.to_ns = max(self.zero.to_ns, at_ns)
        if self.holes and self.holes[0][1] > self.una:
            stream.missing_ns = self.holes[0][2]
        stream.unacked = [one for one in self.conversation.sides[self.side].segments
                          if one.end > self.una and (one.length or one.is_fin) and one.end > one.seq
                          and not one.is_rst]


def _cut(hole: tuple[int, int, int, int], left: int, right: int) -> list[tuple[int, int, int, int]]:
    """Take what was filled out of a hole."""
    if right <= hole[0] or hole[1] <= left:
        return [hole]
    pieces = []
    if hole[0] < left:
        pieces.append((hole[0], left, hole[2], hole[3]))
    if right < hole[1]:
        pieces.append((right, hole[1], hole[2], hole[3]))
    return pieces
