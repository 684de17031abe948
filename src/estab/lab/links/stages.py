"""What may happen to a frame on its way, a stage each. ``way.py`` makes a chain of them.

- A stage takes a frame and, now or later, passes it to ``next``, or drops it with a reason.
- A stage that holds frames says how many (``len``), and returns them when the cable is cut (``clear``).
- Each stage has a stream of chance of its own. If the way has a ``decider``, that decides instead, frame by frame
  (``weather.py``).
- It is a subject of the agenda: what it planned for a frame falls due with the frame's number. Compiled with the core.
"""

from __future__ import annotations

from typing import ClassVar, Final

from mypy_extensions import i64

from estab.errors import DropReason
from estab.lab.links.direction import Direction
from estab.lab.links.flights import Flights
from estab.lab.links.frame import Frame
from estab.lab.packets.answers import framed_back, refusal
from estab.lab.packets.view import PacketView
from estab.lab.record.chance import Chance
from estab.lab.record.clock import NOBODY, Subject
from estab.lab.record.conditions import Conditions
from estab.lab.record.lateness import draw_late_ns
from estab.lab.rules.rule import RuleEntry
from estab.lab.rules.verdicts import Verdict
from estab.units import MS

__all__ = ["Corrupt", "Delay", "Duplicate", "Loss", "Mark", "Mtu", "OfChance", "Reorder", "Rules", "Stage"]

FLIGHT_FRAMES_MAX: Final = 262_144
"""Frames under way on a link without a rate, before more are dropped."""
_OVERTAKERS_MAX: Final = 4


class Stage(Subject):
    """One step of a frame's way. ``next`` is the one after it; the last passes frames to the receiver."""

    asked_by: ClassVar[str] = "mtu"
    """The condition that asks for this stage by not being 0. Every link has an ``mtu``."""

    def __init__(self, way: Direction) -> None:
        self.way: Direction = way
        self.next: Stage = self
        self._chance: Chance | None = None
        self._counted: i64 = 0
        """As how many frames under way the frames held here are counted."""

    @property
    def chance(self) -> Chance:
        """The stage's stream of chance, made when it is first asked for: few stages draw from theirs."""
        chance = self._chance
        if chance is None:
            chance = self._chance = self.way.stream(type(self).__name__.lower())
        return chance

    def __len__(self) -> int:
        """Count the frames that are held here."""
        return 0

    def count(self) -> None:
        """Count the frames that are held here among those under way."""
        held: i64 = len(self)
        self.way.agenda.frames_under_way += held - self._counted
        self._counted = held

    def is_needed(self) -> bool:
        """Tell whether the way's conditions ask for this stage, or frames are still held in it."""
        return len(self) > 0 or self.asked_by in self.way.conditions.asked

    def take(self, frame: Frame) -> None:
        """Take over a frame."""
        raise NotImplementedError

    def clear(self) -> list[Frame]:
        """Give up all frames held, oldest first."""
        return []

    def release(self, end: Stage) -> None:
        """Forget what it refers to: no frame passes it any more."""
        self.next = end

    def sift(self, entry: RuleEntry) -> None:
        """Ask a new rule about all frames held, oldest first, and do what it says."""

    def is_taken_out(self, entry: RuleEntry, frame: Frame) -> bool:
        """Ask a new rule about a frame held here, and do what it says; ``True``: the frame goes no further."""
        verdict = self.ask(entry, frame)
        if verdict.kind == "duplicate":
            self.way.tell_copied(frame)
            self.way.again(frame.copy(), 0)
        elif verdict.kind == "delay":
            self.way.again(frame.copy(), verdict.delay_ns)
        return verdict.kind not in ("ok", "duplicate")

    def ask(self, entry: RuleEntry, frame: Frame) -> Verdict:
        """Ask a rule about a frame; drop or reject it if it says so."""
        way, octets = self.way, frame.octets()
        verdict = entry.ask(way.link, way.sender, octets, way.header_bytes)
        if verdict.kind == "drop" or verdict.kind == "reject":
            way.drop(verdict.reason, frame)
        if verdict.kind == "reject" and way.opposite is not None:
            packet = PacketView(way.link, way.sender, octets, way.header_bytes).packet
            answer = None if packet is None else refusal(packet, by_icmp=verdict.is_by_icmp)
            if answer is not None:
                way.opposite.answer(framed_back(octets, way.header_bytes, answer))
        return verdict


class Rules(Stage):
    """Does what the user's rules say, before chance has a say. The first rule that does not say ``ok`` decides."""

    def __init__(self, way: Direction) -> None:
        super().__init__(way)
        self._delayed: dict[int, Frame] = {}
        self._count: i64 = 0

    def __len__(self) -> int:
        return len(self._delayed)

    def is_needed(self) -> bool:
        """Tell whether there are rules, or frames that one delayed."""
        return bool(self.way.rules or self._delayed)

    def take(self, frame: Frame) -> None:
        """Ask the rules in their order."""
        for entry in tuple(self.way.rules):
            verdict = self.ask(entry, frame)
            if verdict.kind != "ok":
                self._obey(verdict, frame)
                return
        self.next.take(frame)

    def clear(self) -> list[Frame]:
        """Give up all frames held, oldest first."""
        frames = list(self._delayed.values())
        self._delayed.clear()
        self.count()
        return frames

    def sift(self, entry: RuleEntry) -> None:
        """Ask about what a rule delayed. One that is delayed again is late by both."""
        for number, frame in list(self._delayed.items()):
            verdict = self.ask(entry, frame)
            if verdict.kind != "ok":
                del self._delayed[number]
                self.count()
                self._obey(verdict, frame)

    def _obey(self, verdict: Verdict, frame: Frame) -> None:
        if verdict.kind == "duplicate":
            self.way.tell_copied(frame)
            self.next.take(frame.copy())
            self.next.take(frame)
        elif verdict.kind == "delay":
            self.hold(frame, verdict.delay_ns)

    def hold(self, frame: Frame, for_ns: int) -> None:
        """Let a frame go on later."""
        way = self.way
        if len(self._delayed) >= FLIGHT_FRAMES_MAX:
            way.drop(DropReason.LINK_QUEUE_FULL, frame)
            return
        way.tell_delayed(for_ns, "rule", frame)
        self._count += 1
        self._delayed[self._count] = frame
        self.count()
        way.agenda.enter(way.agenda.now_ns + for_ns, self, self._count)

    def fall_due(self, number: i64) -> None:
        """Let a frame go on."""
        frame = self._delayed.pop(number, None)
        if frame is not None:
            self.count()
            self.next.take(frame)


class Mtu(Stage):
    """Drops what is larger than the link's MTU."""

    asked_by: ClassVar[str] = "mtu"

    def take(self, frame: Frame) -> None:
        """Measure the packet."""
        way = self.way
        if len(frame.data) - way.header_bytes > way.mtu:
            way.drop(DropReason.LINK_MTU, frame)
        else:
            self.next.take(frame)


class Mark(Stage):
    """Marks ECN-capable packets that find so much waiting for the rate already, as a switch does for DCTCP (RFC 8257
    section 3.1). Other packets pass.
    """

    asked_by: ClassVar[str] = "ecn_mark_limit"

    def take(self, frame: Frame) -> None:
        """Look at the queue that follows."""
        way = self.way
        conditions = way.conditions
        frames, octets = way.waiting()
        if (frames if conditions.ecn_mark_frames else octets) >= conditions.ecn_mark_limit:
            way.mark(frame, f"{frames} frames wait")
        self.next.take(frame)


class OfChance(Stage):
    """A stage that chance asks for, or a decider."""

    def is_needed(self) -> bool:
        """Tell whether the way's conditions ask for this stage, frames are held in it, or there is a decider."""
        return self.way.decider is not None or super().is_needed()


class Loss(OfChance):
    """Loses frames by chance, each alone. It is the first of chance's stages, so here a decider names the frame."""

    asked_by: ClassVar[str] = "loss"

    def __init__(self, way: Direction) -> None:
        super().__init__(way)
        self._is_bad: bool = False
        """In which state of ``Bursts`` the link is."""

    def take(self, frame: Frame) -> None:
        """Lose it or not."""
        way = self.way
        draw = self._draw if way.conditions.loss else None
        if way.decider is None:
            is_lost = draw is not None and draw()
        else:
            way.frame_name = way.decider.meet(way, frame.octets())
            is_lost = way.decider.loses(way.frame_name, draw)
        if is_lost:
            way.drop(DropReason.LINK_LOSS, frame)
        else:
            self.next.take(frame)

    def _draw(self) -> bool:
        """Draw for one frame: in bursts, from the state that the link is in for this frame."""
        conditions, chance = self.way.conditions, self.chance
        bursts = conditions.bursts
        if bursts is None:
            return chance.happens(conditions.loss)
        if chance.happens(bursts.leave if self._is_bad else bursts.enter):
            self._is_bad = not self._is_bad
        return chance.happens(bursts.bad if self._is_bad else bursts.good)


class Corrupt(OfChance):
    """Changes one bit by chance. The receiver's checksums see it; with Ethernet, already its frame check."""

    asked_by: ClassVar[str] = "corrupt"

    def take(self, frame: Frame) -> None:
        """Damage it or not."""
        bit = self._bit(len(frame.data) * 8)
        if bit < 0:
            self.next.take(frame)
        elif self.way.header_bytes:
            self.way.drop(DropReason.LINK_CORRUPTED, frame)
        else:
            changed = bytearray(frame.octets())
            changed[bit // 8] ^= 1 << bit % 8
            damaged = bytes(changed)
            self.way.tell_damaged(bit, frame, damaged)
            self.next.take(Frame(damaged))

    def _bit(self, bits: int) -> int:
        way = self.way
        if way.decider is not None:
            choices = 0 if way.header_bytes else bits
            return way.decider.damages(way.frame_name, way.conditions.corrupt, choices, self.chance)
        if not self.chance.happens(way.conditions.corrupt):
            return -1
        return 0 if way.header_bytes else self.chance.between(0, bits - 1)


class Duplicate(OfChance):
    """Sends frames twice by chance."""

    asked_by: ClassVar[str] = "duplicate"

    def take(self, frame: Frame) -> None:
        """Send it once or twice."""
        way = self.way
        decider, name = way.decider, way.frame_name
        share = way.conditions.duplicate
        if self.chance.happens(share) if decider is None else decider.copies(name, share, self.chance):
            way.tell_copied(frame)
            self.next.take(frame.copy())
            way.frame_name = f"{name}, its copy"
        self.next.take(frame)


class Reorder(OfChance):
    """Holds frames back by chance until one to four later ones have passed, or for the link's delay (1 ms or more)."""

    asked_by: ClassVar[str] = "reorder"

    def __init__(self, way: Direction) -> None:
        super().__init__(way)
        self._held: dict[int, tuple[str, Frame]] = {}
        """The name that a decider gave it, and the frame."""
        self._to_pass: dict[int, int] = {}
        self._count: i64 = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, frame: Frame) -> None:
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

    def clear(self) -> list[Frame]:
        """Give up all frames held, oldest first."""
        frames = [frame for _name, frame in self._held.values()]
        self._held.clear()
        self._to_pass.clear()
        self.count()
        return frames

    def sift(self, entry: RuleEntry) -> None:
        """Ask a new rule about all frames held."""
        for number, (_name, frame) in list(self._held.items()):
            if self.is_taken_out(entry, frame):
                del self._held[number], self._to_pass[number]
        self.count()

    def _overtakers(self) -> int:
        way, chance = self.way, self.chance
        if way.decider is not None:
            return way.decider.holds(way.frame_name, way.conditions.reorder, _OVERTAKERS_MAX, chance)
        return chance.between(1, _OVERTAKERS_MAX) if chance.happens(way.conditions.reorder) else 0

    def _hold(self, frame: Frame, overtakers: int) -> None:
        self.way.tell_held(overtakers, frame)
        self._count += 1
        self._held[self._count] = (self.way.frame_name, frame)
        self._to_pass[self._count] = overtakers
        self.count()
        agenda = self.way.agenda
        agenda.enter(agenda.now_ns + max(self.way.delay_ns, MS), self, self._count)

    def fall_due(self, number: i64) -> None:
        """Let a frame go on that too few have overtaken in time."""
        self._release(number)

    def _release(self, number: i64) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            del self._to_pass[number]
            self.count()
            self.way.frame_name, frame = held
            self.next.take(frame)


class Delay(Stage):
    """The time that a frame flies. Whatever the jitter, a frame never arrives before one that was sent earlier, unless
    the jitter is one that reorders.
    """

    asked_by: ClassVar[str] = "mtu"

    def __init__(self, way: Direction) -> None:
        super().__init__(way)
        self._flights: Flights = Flights(way.agenda, self)
        """What flies and arrives in its turn."""
        self._overtaking: dict[int, Frame] = {}
        """What arrives before something that was sent earlier: it falls due by its number."""
        self._count: i64 = 0
        self._last_due_ns: i64 = 0
        self._drawn_by: Conditions | None = None
        """The conditions that the jitter was drawn by last: ``_shape`` and ``_table`` are theirs."""
        self._shape: str = ""
        self._table: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self._counted

    def take(self, frame: Frame) -> None:
        """Let it fly."""
        way = self.way
        if self._counted >= FLIGHT_FRAMES_MAX:
            way.drop(DropReason.LINK_QUEUE_FULL, frame)
            return
        now_ns = way.agenda.now_ns
        lasts_ns = way.delay_ns
        late_ns: i64 = 0
        if way.delay_profile is not None:
            lasts_ns += way.delay_profile.at(now_ns)
        if way.decider is not None:
            late_ns = way.decider.late_ns(way.frame_name, self._draw if way.jitter_ns > 0 else None)
        elif way.jitter_ns > 0:
            late_ns = self._draw()
        due_ns = now_ns + max(0, lasts_ns + late_ns)
        if due_ns < self._last_due_ns:
            if way.conditions.jitter_reorders:
                self._tell_overtaken(due_ns)
            else:
                due_ns = self._last_due_ns
        if due_ns > self._last_due_ns:
            self._last_due_ns = due_ns
        self._fly(frame, due_ns, late_ns)

    def clear(self) -> list[Frame]:
        """Return all frames held, oldest first, and forget them."""
        frames = self._flying()
        for frame in frames:
            self._take_out(frame)
        self._last_due_ns = 0
        return frames

    def release(self, end: Stage) -> None:
        """Forget what it refers to."""
        self.next = end
        self._flights.subject = NOBODY

    def sift(self, entry: RuleEntry) -> None:
        """Ask a new rule about all that flies. What it delays arrives so much later, after what overtakes it."""
        for frame in self._flying():
            verdict = self.ask(entry, frame)
            if verdict.kind == "ok":
                continue
            if verdict.kind == "duplicate":
                self.way.tell_copied(frame)
                self._fly(frame.copy(), frame.due_ns, frame.late_ns)
                continue
            self._take_out(frame)
            if verdict.kind == "delay":
                self.way.tell_delayed(verdict.delay_ns, "rule", frame)
                self._fly(frame.copy(), frame.due_ns + verdict.delay_ns, frame.late_ns)

    def _draw(self) -> int:
        conditions = self.way.conditions
        if conditions is not self._drawn_by:
            self._drawn_by, self._shape, self._table = conditions, conditions.jitter_shape, conditions.jitter_table
        return draw_late_ns(self.chance, self.way.jitter_ns, self._shape, self._table)

    def _tell_overtaken(self, due_ns: i64) -> None:
        """Tell, once each, of the frames that one that is due then overtakes."""
        if self.way.observer is None:
            return
        for frame in self._flying():
            if frame.due_ns > due_ns and not frame.is_told:
                frame.is_told = True
                self.way.tell_delayed(frame.late_ns, "jitter", frame)

    def _flying(self) -> list[Frame]:
        """List all frames held, oldest first."""
        if not self._overtaking:
            return self._flights.all()
        return sorted([*self._flights.all(), *self._overtaking.values()], key=_number)

    def _take_out(self, frame: Frame) -> None:
        """Let a frame go no further. What was planned for it falls due, and finds that."""
        frame.is_gone = True
        self._overtaking.pop(frame.number, None)
        self._count_flying(-1)

    def _fly(self, frame: Frame, due_ns: i64, late_ns: i64) -> None:
        agenda = self.way.agenda
        self._count += 1
        frame.number, frame.due_ns, frame.late_ns = self._count, max(due_ns, agenda.now_ns), late_ns
        self._count_flying(1)
        if self._flights.would_keep_order(frame.due_ns):
            self._flights.add(frame)
        else:
            self._overtaking[self._count] = frame
            agenda.enter(frame.due_ns, self, self._count)

    def _count_flying(self, change: i64) -> None:
        self._counted += change
        self.way.agenda.frames_under_way += change

    def fall_due(self, number: i64) -> None:
        """Let a frame arrive."""
        frame = self._flights.take() if number == 0 else self._overtaking.pop(number, None)
        if frame is not None and not frame.is_gone:
            self._count_flying(-1)
            self.next.take(frame)


def _number(frame: Frame) -> int:
    return frame.number
