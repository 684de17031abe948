"""The rate of a link: one frame after the other, and what waits until it is sent.

With ``aqm="codel"`` a queue that stands is told to its senders: by a mark where they are ECN-capable, else by a drop
(RFC 8289). With ``"fq"`` each flow waits in a line of its own, and with ``"fq_codel"`` CoDel looks at each of them.
Compiled with the core.
"""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import i64

from estab.errors import DropReason
from estab.lab.links.direction import Direction
from estab.lab.links.frame import Frame
from estab.lab.links.pace import Pace
from estab.lab.links.queues import FairQueue, Fifo, Line
from estab.lab.links.stages import Stage
from estab.lab.rules.rule import RuleEntry
from estab.units import SECOND

__all__ = ["Rate"]


class Rate(Stage):
    """Sends one frame after the other at the link's rate. What has to wait does so in a bounded queue."""

    asked_by: ClassVar[str] = "rate_bps"

    def __init__(self, way: Direction) -> None:
        super().__init__(way)
        self._queue: Fifo = Fifo()
        self._sending: Frame | None = None
        self._pace: Pace = Pace()
        self._epoch: i64 = 0

    def __len__(self) -> int:
        return len(self._queue) + (self._sending is not None)

    def is_needed(self) -> bool:
        """Tell whether the way has a rate, measured or not, or frames are still held here."""
        return self.way.conditions.opportunities is not None or super().is_needed()

    def take(self, frame: Frame) -> None:
        """Send it now, queue it or drop it."""
        self._take(frame)
        self.count()

    def _take(self, frame: Frame) -> None:
        frame.since_ns = self.way.agenda.now_ns
        if self._sending is None:
            self._send(frame)
            return
        if self.way.conditions.is_fair is not isinstance(self._queue, FairQueue):
            self._change_queue()
        if not self._is_full(len(frame.data)):
            self._enqueue(frame)
            return
        fattest = self._queue.fattest()
        if fattest is None:
            self.way.drop(DropReason.LINK_QUEUE_FULL, frame)
            self.way.is_refused = self.way.conditions.is_queue_of_host
            return
        self._enqueue(frame)
        while self._is_over():
            fattest = self._queue.fattest()
            if fattest is None:
                break
            victim = self._pop(fattest)
            if not victim.is_gone:
                self.way.drop(DropReason.LINK_QUEUE_FULL, victim)

    def clear(self) -> list[Frame]:
        """Give up all frames held, oldest first."""
        held = [] if self._sending is None else [self._sending]
        held.extend(self._queue.frames())
        had_waiting = len(self._queue) > 0
        self._queue = FairQueue() if self.way.conditions.is_fair else Fifo()
        if had_waiting:
            self.way.tell_queue("emptied")
        self._sending = None
        self._epoch += 1
        self.count()
        return [frame for frame in held if not frame.is_gone]

    def sift(self, entry: RuleEntry) -> None:
        """Ask a new rule about what is being sent and what waits. What it takes out keeps its place in the queue."""
        held = [] if self._sending is None else [self._sending]
        for waiting in [*held, *self._queue.frames()]:
            if not waiting.is_gone:
                waiting.is_gone = self.is_taken_out(entry, waiting)

    @property
    def waiting_frames(self) -> int:
        """Frames that wait, without the one that is being sent."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""
        return self._queue.waiting_bytes

    # --- the queue

    def _change_queue(self) -> None:
        """Let what waits wait in the other kind of queue."""
        waiting = self._queue.frames()
        self._queue = FairQueue() if self.way.conditions.is_fair else Fifo()
        for frame in waiting:
            self._queue.push(frame, self.way.header_bytes)

    def _enqueue(self, frame: Frame) -> None:
        self._queue.push(frame, self.way.header_bytes)
        self.way.tell_queue("added")

    def _is_full(self, size_bytes: int) -> bool:
        conditions = self.way.conditions
        if conditions.queue_frames:
            return len(self._queue) >= conditions.queue_frames
        return self.waiting_bytes + size_bytes > conditions.queue_bytes

    def _is_over(self) -> bool:
        """Tell whether more waits than may."""
        conditions = self.way.conditions
        if conditions.queue_frames:
            return len(self._queue) > conditions.queue_frames
        return self.waiting_bytes > conditions.queue_bytes

    def _pop(self, line: Line) -> Frame:
        frame, place = self._queue.pop(line)
        self.way.tell_queue("left", place)
        return frame

    # --- sending

    def _send(self, frame: Frame) -> None:
        self._sending = frame
        agenda = self.way.agenda
        agenda.enter(self._done_ns(len(frame.data), agenda.now_ns), self, self._epoch)

    def _done_ns(self, size_bytes: i64, now_ns: i64) -> i64:
        """Say when a frame that is begun now will have been sent."""
        way = self.way
        conditions = way.conditions
        if conditions.opportunities is not None:
            return self._pace.done_ns(conditions.opportunities, size_bytes - way.header_bytes, now_ns)
        rate_bps = way.rate_bps
        return now_ns + ((size_bytes * 8 * SECOND + rate_bps - 1) // rate_bps if rate_bps > 0 else 0)

    def fall_due(self, number: i64) -> None:
        """Go on with the next frame: the one that was being sent is on its way."""
        frame = self._sending
        if number != self._epoch or frame is None:
            return
        self._sending = None
        following = self._following()
        if following is not None:
            self._send(following)
        self.count()
        if not frame.is_gone:
            self.next.take(frame)

    def _following(self) -> Frame | None:
        """Take the next frame that is to be sent."""
        while True:
            line = self._queue.choose()
            if line is None:
                return None
            frame = self._managed(line) if self.way.conditions.codel_target_ns else self._pop(line)
            if frame is not None and not frame.is_gone:
                self._queue.charge(line, len(frame.data))
                return frame

    def _managed(self, line: Line) -> Frame | None:
        """Take the next frame of a line as CoDel would (RFC 8289 section 5.5)."""
        codel, interval_ns, now_ns = line.codel, self.way.conditions.codel_interval_ns, self.way.agenda.now_ns
        frame, is_late = self._next_of_codel(line)
        if codel.is_dropping:
            if not is_late:
                codel.is_dropping = False
            while codel.is_dropping and now_ns >= codel.next_ns and frame is not None:
                codel.again(interval_ns)
                told = self._tell_of(frame)
                if told is not None:
                    return told
                frame, is_late = self._next_of_codel(line)
                codel.is_dropping = is_late
        elif is_late and frame is not None:
            codel.begin(interval_ns, now_ns)
            told = self._tell_of(frame)
            if told is not None:
                return told
            frame, _ = self._next_of_codel(line)
        return frame

    def _next_of_codel(self, line: Line) -> tuple[Frame | None, bool]:
        """Take the frame at the head, and say whether the line has stood for too long."""
        conditions, now_ns = self.way.conditions, self.way.agenda.now_ns
        while line.frames:
            frame = self._pop(line)
            if not frame.is_gone:
                is_last = line.waiting_bytes <= conditions.mtu
                return frame, line.codel.is_too_long(
                    now_ns - frame.since_ns, conditions.codel_target_ns, conditions.codel_interval_ns, is_last, now_ns,
                )
        line.codel.first_above_ns = 0
        return None, False

    def _tell_of(self, frame: Frame) -> Frame | None:
        """Mark a frame and give it, or drop it."""
        if self.way.mark(frame, "the queue stands (CoDel)"):
            return frame
        self.way.drop(DropReason.LINK_AQM, frame)
        return None
