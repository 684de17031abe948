"""What may happen to a frame on its way, a stage each. ``way.py`` makes a chain of them.

- A stage takes a frame and, now or later, passes it to ``next``, or drops it with a reason.
- A stage that holds frames says how many (``len``), and returns them when the cable is cut (``clear``).
- Each stage has a stream of chance of its own. If the way has a ``decider``, that decides instead, frame by frame
  (``weather.py``).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from estab.errors import DropReason
from estab.lab.links.aqm import CodelState
from estab.lab.links.direction import Direction
from estab.lab.record.chance import Chance
from estab.units import MS, SECOND

__all__ = ["Corrupt", "Delay", "Duplicate", "Loss", "Mark", "Mtu", "Rate", "Reorder", "Rules", "Stage"]

FLIGHT_FRAMES_MAX: Final = 262_144
"""Frames under way on a link without a rate, before more are dropped."""
_OVERTAKERS_MAX: Final = 4


class Stage:
    """One step of a frame's way. ``next`` is the one after it; the last passes frames to the receiver."""

    asked_by: str
    """The condition that asks for this stage by not being 0. Every link has an ``mtu``."""

    def __init__(self, way: Direction, chance: Chance) -> None:
        self.way = way
        self.chance = chance
        self.next: Stage = self

    def __len__(self) -> int:
        """Count the frames that are held here."""
        return 0

    def is_needed(self) -> bool:
        """Tell whether the way's conditions ask for this stage, or frames are still held in it."""
        return len(self) > 0 or bool(getattr(self.way.conditions, self.asked_by))

    def take(self, frame: bytes) -> None:
        """Take over a frame."""
        raise NotImplementedError

    def clear(self) -> list[bytes]:
        """Give up all frames held, oldest first."""
        return []


class Rules(Stage):
    """Drops what one of the user's rules says, before chance decides."""

    def is_needed(self) -> bool:
        """Tell whether there are rules."""
        return bool(self.way.rules)

    def take(self, frame: bytes) -> None:
        """Call the rules in their order."""
        way = self.way
        for rule in tuple(way.rules):
            verdict = rule(way.sender, frame)
            if verdict:
                way.drop(verdict if isinstance(verdict, DropReason) else DropReason.LINK_RULE, frame)
                return
        self.next.take(frame)


class Mtu(Stage):
    """Drops what is larger than the link's MTU."""

    asked_by = "mtu"

    def take(self, frame: bytes) -> None:
        """Measure the packet."""
        way = self.way
        if len(frame) - way.header_bytes > way.conditions.mtu:
            way.drop(DropReason.LINK_MTU, frame)
        else:
            self.next.take(frame)


class Mark(Stage):
    """Marks ECN-capable packets that find so much waiting for the rate already, as a switch does for DCTCP (RFC 8257
    section 3.1). Other packets pass.
    """

    asked_by = "ecn_mark_limit"

    def take(self, frame: bytes) -> None:
        """Look at the queue that follows."""
        way = self.way
        queue, conditions = way.queue, way.conditions
        waiting = queue.waiting_frames if conditions.ecn_mark_frames else queue.waiting_bytes
        if waiting >= conditions.ecn_mark_limit:
            frame = way.mark(frame, f"{queue.waiting_frames} frames wait") or frame
        self.next.take(frame)


class Rate(Stage):
    """Sends one frame after the other at the link's rate.

    What has to wait does so in a bounded queue, the rest is dropped. With ``aqm="codel"`` a queue that lasts too long
    is signalled to its senders: by a mark if they are ECN-capable, else by a drop (RFC 8289).
    """

    asked_by = "rate_bps"

    def __init__(self, way: Direction, chance: Chance) -> None:
        super().__init__(way, chance)
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Since when a frame waits, and the frame."""
        self.waiting_bytes = 0
        self._codel = CodelState()
        self._sending: bytes | None = None
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._waiting) + (self._sending is not None)

    def take(self, frame: bytes) -> None:
        """Send it now, queue it or drop it."""
        if self._sending is None:
            self._send(frame)
        elif self._is_full(len(frame)):
            self.way.drop(DropReason.LINK_QUEUE_FULL, frame)
        else:
            self._waiting.append((self.way.agenda.now_ns, frame))
            self.waiting_bytes += len(frame)
            self.way.tell_queue("added")

    def clear(self) -> list[bytes]:
        """Give up all frames held, oldest first."""
        frames = [] if self._sending is None else [self._sending]
        frames.extend(frame for _since_ns, frame in self._waiting)
        had_waiting = bool(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        if had_waiting:
            self.way.tell_queue("emptied")
        self._codel = CodelState()
        self._sending = None
        self._epoch += 1
        return frames

    def _is_full(self, size_bytes: int) -> bool:
        conditions = self.way.conditions
        if conditions.queue_frames:
            return len(self._waiting) >= conditions.queue_frames
        return self.waiting_bytes + size_bytes > conditions.queue_bytes

    def _send(self, frame: bytes) -> None:
        rate_bps = self.way.conditions.rate_bps
        lasts_ns = -(-len(frame) * 8 * SECOND // rate_bps) if rate_bps else 0
        self._sending = frame
        agenda = self.way.agenda
        agenda.at(agenda.now_ns + lasts_ns, self._sent, self._epoch)

    def _sent(self, epoch: int) -> None:
        frame = self._sending
        if epoch != self._epoch or frame is None:
            return
        self._sending = None
        following = self._managed() if self.way.conditions.codel_target_ns else self._pop()[1]
        if following is not None:
            self._send(following)
        self.next.take(frame)

    @property
    def waiting_frames(self) -> int:
        """Frames that wait, without the one that is being sent."""
        return len(self._waiting)

    def _pop(self) -> tuple[int, bytes | None]:
        if not self._waiting:
            return 0, None
        since_ns, frame = self._waiting.popleft()
        self.waiting_bytes -= len(frame)
        self.way.tell_queue("left")
        return since_ns, frame

    def _managed(self) -> bytes | None:
        """Take the next frame as CoDel would (RFC 8289 section 5.5)."""
        codel, interval_ns, now_ns = self._codel, self.way.conditions.codel_interval_ns, self.way.agenda.now_ns
        frame, is_late = self._next_of_codel()
        if codel.is_dropping:
            if not is_late:
                codel.is_dropping = False
            while codel.is_dropping and now_ns >= codel.next_ns and frame is not None:
                codel.again(interval_ns)
                told = self._tell_of(frame)
                if told is not None:
                    return told
                frame, is_late = self._next_of_codel()
                codel.is_dropping = is_late
        elif is_late and frame is not None:
            codel.begin(interval_ns, now_ns)
            told = self._tell_of(frame)
            if told is not None:
                return told
            frame, _ = self._next_of_codel()
        return frame

    def _next_of_codel(self) -> tuple[bytes | None, bool]:
        """Take the frame at the head, and tell whether packets have waited for too long."""
        conditions, now_ns = self.way.conditions, self.way.agenda.now_ns
        since_ns, frame = self._pop()
        if frame is None:
            self._codel.first_above_ns = 0
            return None, False
        is_last = self.waiting_bytes <= conditions.mtu
        return frame, self._codel.is_too_long(
            now_ns - since_ns, conditions.codel_target_ns, conditions.codel_interval_ns, is_last, now_ns,
        )

    def _tell_of(self, frame: bytes) -> bytes | None:
        """Mark a frame and return it, or drop it."""
        told = self.way.mark(frame, "the queue stands (CoDel)")
        if told is None:
            self.way.drop(DropReason.LINK_AQM, frame)
        return told


class _Chance(Stage):
    """A stage that chance asks for, or a decider."""

    def is_needed(self) -> bool:
        """Tell whether the way's conditions ask for this stage, frames are held in it, or there is a decider."""
        return self.way.decider is not None or super().is_needed()


class Loss(_Chance):
    """Loses frames by chance, each alone. It is the first of chance's stages, so here a decider names the frame."""

    asked_by = "loss"

    def take(self, frame: bytes) -> None:
        """Lose it or not."""
        way = self.way
        if way.decider is None:
            is_lost = self.chance.happens(way.conditions.loss)
        else:
            way.frame_name = way.decider.meet(way, frame)
            is_lost = way.decider.loses(way.frame_name, way.conditions.loss, self.chance)
        if is_lost:
            way.drop(DropReason.LINK_LOSS, frame)
        else:
            self.next.take(frame)


class Corrupt(_Chance):
    """Changes one bit by chance. The receiver's checksums see it; with Ethernet, already its frame check."""

    asked_by = "corrupt"

    def take(self, frame: bytes) -> None:
        """Damage it or not."""
        bit = self._bit(len(frame) * 8)
        if bit < 0:
            self.next.take(frame)
        elif self.way.header_bytes:
            self.way.drop(DropReason.LINK_CORRUPTED, frame)
        else:
            changed = bytearray(frame)
            changed[bit // 8] ^= 1 << bit % 8
            damaged = bytes(changed)
            self.way.tell_damaged(bit, frame, damaged)
            self.next.take(damaged)

    def _bit(self, bits: int) -> int:
        way = self.way
        if way.decider is not None:
            choices = 0 if way.header_bytes else bits
            return way.decider.damages(way.frame_name, way.conditions.corrupt, choices, self.chance)
        if not self.chance.happens(way.conditions.corrupt):
            return -1
        return 0 if way.header_bytes else self.chance.between(0, bits - 1)


class Duplicate(_Chance):
    """Sends frames twice by chance."""

    asked_by = "duplicate"

    def take(self, frame: bytes) -> None:
        """Send it once or twice."""
        way = self.way
        decider, name = way.decider, way.frame_name
        share = way.conditions.duplicate
        if self.chance.happens(share) if decider is None else decider.copies(name, share, self.chance):
            way.tell_copied(frame)
            self.next.take(frame)
            way.frame_name = f"{name}, its copy"
        self.next.take(frame)


class Reorder(_Chance):
    """Holds frames back by chance until one to four later ones have passed, or for the link's delay (1 ms or more)."""

    asked_by = "reorder"

    def __init__(self, way: Direction, chance: Chance) -> None:
        super().__init__(way, chance)
        self._held: dict[int, tuple[str, bytes]] = {}
        """The name that a decider gave it, and the frame."""
        self._to_pass: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, frame: bytes) -> None:
        """Hold it or let it pass those that are held."""
        overtakers = self._overtakers()
        if overtakers:
            self._hold(frame, overtakers)
            return
        self.next.take(frame)
        for number in list(self._held):
            self._to_pass[number] -= 1
            if self._to_pass[number] == 0:
                self._release(number)

    def clear(self) -> list[bytes]:
        """Give up all frames held, oldest first."""
        frames = [frame for _name, frame in self._held.values()]
        self._held.clear()
        self._to_pass.clear()
        return frames

    def _overtakers(self) -> int:
        way, chance = self.way, self.chance
        if way.decider is not None:
            return way.decider.holds(way.frame_name, way.conditions.reorder, _OVERTAKERS_MAX, chance)
        return chance.between(1, _OVERTAKERS_MAX) if chance.happens(way.conditions.reorder) else 0

    def _hold(self, frame: bytes, overtakers: int) -> None:
        self.way.tell_held(overtakers, frame)
        self._count += 1
        self._held[self._count] = (self.way.frame_name, frame)
        self._to_pass[self._count] = overtakers
        agenda = self.way.agenda
        agenda.at(agenda.now_ns + max(self.way.conditions.delay_ns, MS), self._release, self._count)

    def _release(self, number: int) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            del self._to_pass[number]
            self.way.frame_name, frame = held
            self.next.take(frame)


class Delay(Stage):
    """The time that a frame takes. A frame never arrives before one that was sent earlier, whatever the jitter."""

    asked_by = "mtu"

    def __init__(self, way: Direction, chance: Chance) -> None:
        super().__init__(way, chance)
        self._flying: dict[int, bytes] = {}
        self._count = 0
        self._last_due_ns = 0

    def __len__(self) -> int:
        return len(self._flying)

    def take(self, frame: bytes) -> None:
        """Deliver it after that time."""
        if len(self._flying) >= FLIGHT_FRAMES_MAX:
            self.way.drop(DropReason.LINK_QUEUE_FULL, frame)
            return
        conditions, agenda = self.way.conditions, self.way.agenda
        lasts_ns = conditions.delay_ns
        jitter_ns, way = conditions.jitter_ns, self.way
        if way.decider is not None:
            lasts_ns = max(0, lasts_ns + way.decider.late_ns(way.frame_name, jitter_ns, self.chance))
        elif jitter_ns:
            lasts_ns = max(0, lasts_ns + self.chance.between(-jitter_ns, jitter_ns))
        self._last_due_ns = due_ns = max(agenda.now_ns + lasts_ns, self._last_due_ns)
        self._count += 1
        self._flying[self._count] = frame
        agenda.at(due_ns, self._arrive, self._count)

    def clear(self) -> list[bytes]:
        """Give up all frames held, oldest first."""
        frames = list(self._flying.values())
        self._flying.clear()
        self._last_due_ns = 0
        return frames

    def _arrive(self, number: int) -> None:
        frame = self._flying.pop(number, None)
        if frame is not None:
            self.next.take(frame)
