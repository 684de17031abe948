"""One direction of a link: the stages that a frame passes from one host's interface to the other's.

The order is that of a real link: the MTU, the queue before the sender's rate, what noise does on the cable, the delay.
Stages that the conditions don't ask for are left out of the chain, and made when they are first asked for.
Compiled with the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason
from estab.lab.links.direction import Direction
from estab.lab.links.frame import Frame, Receiver
from estab.lab.links.rate import Rate
from estab.lab.links.stages import Corrupt, Delay, Duplicate, Loss, Mark, Mtu, OfChance, Reorder, Rules, Stage
from estab.lab.links.weather import Decider
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import NO_CONDITIONS, Conditions
from estab.lab.rules.rule import RuleEntry

__all__ = ["Way"]

_RULES: Final = 0
_MTU: Final = 1
_RATE: Final = 3
_DELAY: Final = 8
_ARRIVAL: Final = 9
_STAGES: Final[tuple[type[Stage], ...]] = (Rules, Mtu, Mark, Rate, Loss, Corrupt, Duplicate, Reorder, Delay)


def _places_by_property() -> dict[str, int]:
    """Say for each property of a link which places it asks for, as bits."""
    found = {"opportunities": 1 << _RATE}
    for place, kind in enumerate(_STAGES):
        if place != _RULES:
            found[kind.asked_by] = found.get(kind.asked_by, 0) | 1 << place
    return found


_ASKED_BY: Final = _places_by_property()
_PLACES_OF_CHANCE: Final = sum([1 << place for place, kind in enumerate(_STAGES) if issubclass(kind, OfChance)])
"""The stages that a decider asks for, as bits."""


class _Arrival(Stage):
    """The end of the way."""

    def take(self, frame: Frame) -> None:
        """Pass the frame to the receiver."""
        way = self.way
        if not way.is_heard:
            way.drop(DropReason.DEV_DOWN, frame)
            return
        way.frames_delivered += 1
        way.end.arrive(frame)


class _End(Stage):
    """Where frames end that are sent on a way which is released."""

    def take(self, frame: Frame) -> None:
        """Drop it."""


_RELEASED: Final = Direction("", "", NO_CONDITIONS, 0, Agenda(), Receiver())
_END: Final = _End(_RELEASED)


class Way(Direction):
    """The way from ``sender`` over a link. ``deliver`` takes each frame that arrives, at its time."""

    def __init__(
        self, link: str, sender: str, conditions: Conditions, header_bytes: i64, agenda: Agenda, chance: Chance,
        deliver: Receiver | Callable[[bytes], object], decider: Decider | None = None,
    ) -> None:
        super().__init__(link, sender, conditions, header_bytes, agenda, deliver, decider)
        self._chance: Chance = chance
        self._stages: list[Stage | None] = [None] * (_ARRIVAL + 1)
        """Those that the conditions have asked for so far, by their place."""
        self._first: Stage = self._stage(_ARRIVAL)
        self._after_rules: Stage = self._first
        self.set(conditions)

    @property
    def queue(self) -> Rate:
        """What waits for the link's rate."""
        found = self._stage(_RATE)
        assert isinstance(found, Rate)
        return found

    def waiting(self) -> tuple[int, int]:
        """Return how many frames and bytes wait for the rate, without the frame that is being sent."""
        queue = self.queue
        return queue.waiting_frames, queue.waiting_bytes

    def set(self, conditions: Conditions) -> None:
        """Change the conditions for what is sent or leaves the queue from now on."""
        self.note(conditions)
        following = self._stage(_ARRIVAL)
        self._after_rules = following
        asked: i64 = _places_asked_for(conditions)
        if self.decider is not None:
            asked |= _PLACES_OF_CHANCE
        if len(self.rules) > 0:
            asked |= 1 << _RULES
        place: i64 = _ARRIVAL - 1
        while place >= 0:
            stage = self._stages[place]
            if stage is None and asked >> place & 1 == 1:
                stage = self._stage(place)
            if stage is not None and stage.is_needed():
                stage.next = following
                following = stage
                if place != _RULES:
                    self._after_rules = stage
            place -= 1
        self._first = following

    def _stage(self, place: i64) -> Stage:
        """Return a stage, made now if there was none."""
        stage = self._stages[place]
        if stage is None:
            if place == _ARRIVAL:
                stage = _Arrival(self)
            elif place == _DELAY:
                stage = Delay(self)
            elif place == _MTU:
                stage = Mtu(self)
            else:
                stage = _STAGES[place](self)
            self._stages[place] = stage
        return stage

    def stream(self, what: str) -> Chance:
        """Return the stream of chance of one of the stages."""
        return self._chance.child("link", self.link, self.sender, what)

    def _last_first(self) -> list[Stage]:
        """List the stages that were made, the last one on the way first."""
        return [stage for stage in reversed(self._stages) if stage is not None]

    def carry(self, octets: bytes) -> None:
        """Take a frame that the sender puts on the link."""
        self.send(Frame(octets))

    def send(self, frame: Frame) -> None:
        """Take a frame that the sender puts on the link, with or without its checksum."""
        self.frames_carried += 1
        if self.is_cut:
            self.drop(DropReason.LINK_DOWN, frame)
        else:
            self._first.take(frame)

    def answer(self, octets: bytes) -> None:
        """Carry a frame that a box on the way made. No rule is asked about it."""
        frame = Frame(octets)
        self.frames_carried += 1
        if self.is_cut:
            self.drop(DropReason.LINK_DOWN, frame)
        else:
            self._after_rules.take(frame)

    def again(self, frame: Frame, later_ns: int) -> None:
        """Take a frame once more, past the rules; later by ``later_ns``."""
        if later_ns:
            rules = self._stage(_RULES)
            assert isinstance(rules, Rules)
            rules.hold(frame, later_ns)
            self.set(self.conditions)
        else:
            self._after_rules.take(frame)

    def add_rule(self, entry: RuleEntry) -> None:
        """Ask a rule about all frames from now on, those first that are under way."""
        self.rules.append(entry)
        self.set(self.conditions)
        for stage in self._last_first():
            stage.sift(entry)

    def remove_rule(self, entry: RuleEntry) -> None:
        """Ask a rule no more. What it delayed is still late."""
        if entry in self.rules:
            self.rules.remove(entry)
            self.set(self.conditions)

    def cut(self) -> None:
        """Lose all that is queued or in flight, and all that is sent until ``heal``."""
        self.is_cut = True
        for stage in self._last_first():
            for frame in stage.clear():
                self.drop(DropReason.LINK_DOWN, frame)

    def heal(self) -> None:
        """Carry frames again."""
        self.is_cut = False

    def release(self) -> None:
        """Forget the receiver, the other direction and all stages: its link is gone.

        They refer to each other in circles, and would wait for the garbage collector.
        """
        self.end, self.opposite, self.fail = _RELEASED.end, None, _RELEASED.fail
        self._first = self._after_rules = _END
        for place, stage in enumerate(self._stages):
            if stage is not None:
                stage.release(_END)
                self._stages[place] = None

    @property
    def in_flight_frames(self) -> int:
        """Frames that were sent and have neither arrived nor been lost."""
        return sum([len(stage) for stage in self._stages if stage is not None])


def _places_asked_for(conditions: Conditions) -> i64:
    """Return the places of the stages that conditions ask for, as bits."""
    places: i64 = 0
    for name in conditions.asked:
        places |= _ASKED_BY[name]
    return places
