"""One direction of a link: the stages that a frame passes from one host's interface to the other's.

The order is that of a real link: the MTU, the queue before the sender's rate, what noise does on the cable, the delay.
Stages that the conditions don't ask for are left out of the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.errors import DropReason
from estab.lab.links.direction import Direction
from estab.lab.links.rate import Rate
from estab.lab.links.stages import Corrupt, Delay, Duplicate, Loss, Mark, Mtu, Reorder, Rules, Stage
from estab.lab.links.weather import Decider
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions
from estab.lab.rules.rule import RuleEntry

__all__ = ["Way"]

_STAGES: Final[tuple[type[Stage], ...]] = (Rules, Mtu, Mark, Rate, Loss, Corrupt, Duplicate, Reorder, Delay)


class _Arrival(Stage):
    """The end of the way."""

    asked_by = "mtu"

    def take(self, frame: bytes) -> None:
        if not self.way.is_heard:
            self.way.drop(DropReason.DEV_DOWN, frame)
            return
        self.way.frames_delivered += 1
        self.way.deliver(frame)


class Way(Direction):
    """The way from ``sender`` over a link. ``deliver`` takes each frame that arrives, at its time."""

    def __init__(
        self, link: str, sender: str, conditions: Conditions, header_bytes: int, agenda: Agenda, chance: Chance,
        deliver: Callable[[bytes], None], decider: Decider | None = None,
    ) -> None:
        super().__init__(link, sender, conditions, header_bytes, agenda, deliver, decider)
        self._stages: list[Stage] = [
            stage(self, chance.child("link", link, sender, stage.__name__.lower())) for stage in (*_STAGES, _Arrival)
        ]
        self._rules = next(stage for stage in self._stages if isinstance(stage, Rules))
        self._first: Stage = self._rules
        self.queue = next(stage for stage in self._stages if isinstance(stage, Rate))
        self.set(conditions)

    def set(self, conditions: Conditions) -> None:
        """Change the conditions for what is sent or leaves the queue from now on."""
        self.conditions = conditions
        chain = [stage for stage in self._stages if stage.is_needed()]
        for stage, following in zip(chain, chain[1:], strict=False):
            stage.next = following
        self._first = chain[0]
        self._after_rules = next(stage for stage in chain if stage is not self._rules)

    def carry(self, frame: bytes) -> None:
        """Take a frame that the sender puts on the link."""
        self.frames_carried += 1
        if self.is_cut:
            self.drop(DropReason.LINK_DOWN, frame)
        else:
            self._first.take(frame)

    def answer(self, frame: bytes) -> None:
        """Carry a frame that a box on the way made. No rule is asked about it."""
        self.frames_carried += 1
        if self.is_cut:
            self.drop(DropReason.LINK_DOWN, frame)
        else:
            self._after_rules.take(frame)

    def again(self, frame: bytes, later_ns: int) -> None:
        """Take a frame once more, past the rules; later by ``later_ns``."""
        if later_ns:
            self._rules.hold(frame, later_ns)
            self.set(self.conditions)
        else:
            self._after_rules.take(frame)

    def add_rule(self, entry: RuleEntry) -> None:
        """Ask a rule about all frames from now on, those first that are under way."""
        self.rules.append(entry)
        self.set(self.conditions)
        for stage in reversed(self._stages):
            stage.sift(entry)

    def remove_rule(self, entry: RuleEntry) -> None:
        """Ask a rule no more. What it delayed is still late."""
        if entry in self.rules:
            self.rules.remove(entry)
            self.set(self.conditions)

    def cut(self) -> None:
        """Lose all that is queued or in flight, and all that is sent until ``heal``."""
        self.is_cut = True
        for stage in reversed(self._stages):
            for frame in stage.clear():
                self.drop(DropReason.LINK_DOWN, frame)

    def heal(self) -> None:
        """Carry frames again."""
        self.is_cut = False

    @property
    def in_flight_frames(self) -> int:
        """Frames that were sent and have neither arrived nor been lost."""
        return sum(len(stage) for stage in self._stages)
