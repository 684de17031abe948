"""One direction of a link: the stages that a frame passes from one host's interface to the other's.

The order is that of the real thing: too large for the link, the queue before the sender's rate, what noise does on the
cable, the flight. Stages that the conditions don't ask for are left out of the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.errors import DropReason
from estab.events import (
    LinkConditions,
    LinkCopied,
    LinkDamaged,
    LinkDropped,
    LinkHeld,
    LinkMarked,
    LinkQueueChanged,
    Observer,
)
from estab.lab.aqm import marked
from estab.lab.chance import Chance
from estab.lab.clock import Agenda
from estab.lab.conditions import Conditions
from estab.lab.stages import Corrupt, Delay, Duplicate, Loss, Mark, Mtu, Rate, Reorder, Rules, Stage
from estab.lab.weather import Decider

__all__ = ["Rule", "Way"]

Rule = Callable[[str, bytes], DropReason | bool | None]
"""Looks at a frame, given its sender's name and its bytes. ``True`` or a reason: take it out."""

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


class Way:
    """The way from ``sender`` over a link. ``deliver`` takes each frame that comes through, at its time."""

    def __init__(
        self, link: str, sender: str, conditions: Conditions, header_bytes: int, agenda: Agenda, chance: Chance,
        deliver: Callable[[bytes], None], decider: Decider | None = None,
    ) -> None:
        self.link = link
        self.sender = sender
        self.conditions = conditions
        self.header_bytes = header_bytes
        """Bytes of a frame in front of its IP packet: 14 with Ethernet."""
        self.agenda = agenda
        self.deliver = deliver
        self.interface = ""
        self.receiver = ""
        """The sender's interface and the receiver's name, for the facts."""
        self.observer: Observer | None = None
        self.decider = decider
        """Decides in place of chance; ``None``: chance does, and frames have no names."""
        self.frame_name = ""
        """What ``decider`` calls the frame that passes chance's stages now."""
        self.is_cut = False
        self.is_heard = True
        """Whether the receiver has power."""
        self.rules: list[Rule] = []
        self.frames_carried = 0
        self.frames_delivered = 0
        self.frames_marked = 0
        """Packets that were made to say CE, by ``ecn_mark=`` or ``aqm=``."""
        self.drops: dict[DropReason, int] = {}
        self._stages: list[Stage] = [
            stage(self, chance.child("link", link, sender, stage.__name__.lower())) for stage in (*_STAGES, _Arrival)
        ]
        self._first = self._stages[0]
        self.queue: Rate = next(stage for stage in self._stages if isinstance(stage, Rate))
        """What waits for the link's rate."""
        self.set(conditions)

    def set(self, conditions: Conditions) -> None:
        """Change the conditions for what is sent or leaves the queue from now on."""
        self.conditions = conditions
        chain = [stage for stage in self._stages if stage.is_needed()]
        for stage, following in zip(chain, chain[1:], strict=False):
            stage.next = following
        self._first = chain[0]

    def carry(self, frame: bytes) -> None:
        """Take a frame that the sender puts on the link."""
        self.frames_carried += 1
        if self.is_cut:
            self.drop(DropReason.LINK_DOWN, frame)
        else:
            self._first.take(frame)

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

    def mark(self, frame: bytes, why: str) -> bytes | None:
        """Make a packet say that it met congestion: count it, and tell. ``None`` where it is not ECN-capable."""
        result = marked(frame, self.header_bytes)
        if result is not None:
            self.frames_marked += 1
            if self.observer is not None:
                self.observer(LinkMarked(self.agenda.now_ns, self.sender, self.link, why, frame, result))
        return result

    def tell_held(self, overtakers: int, frame: bytes) -> None:
        """Tell that a frame is held back until so many later ones have passed."""
        if self.observer is not None:
            self.observer(LinkHeld(self.agenda.now_ns, self.sender, self.link, overtakers, frame))

    def tell_copied(self, frame: bytes) -> None:
        """Tell that a frame goes on twice."""
        if self.observer is not None:
            self.observer(LinkCopied(self.agenda.now_ns, self.sender, self.link, frame))

    def tell_damaged(self, bit: int, frame: bytes, damaged: bytes) -> None:
        """Tell that a bit of a frame flipped."""
        if self.observer is not None:
            self.observer(LinkDamaged(self.agenda.now_ns, self.sender, self.link, bit, frame, damaged))

    def tell_queue(self, what: str) -> None:
        """Tell how much waits for the rate, after it changed."""
        if self.observer is not None:
            queue = self.queue
            self.observer(LinkQueueChanged(
                self.agenda.now_ns, self.sender, self.link, queue.waiting_frames, queue.waiting_bytes, what,
            ))

    def tell_conditions(self, observer: Observer | None) -> None:
        """Tell what the way does to frames from now on."""
        if observer is not None:
            now = self.conditions
            observer(LinkConditions(
                self.agenda.now_ns, self.sender, self.link, self.interface, self.receiver, now.delay_ns, now.jitter_ns,
                now.rate_bps, now.queue_frames, now.queue_bytes, now.loss, now.reorder, now.duplicate, now.corrupt,
                now.mtu, now.codel_target_ns, now.codel_interval_ns, now.ecn_mark_frames, now.ecn_mark_bytes,
                self.is_cut,
            ))

    def drop(self, reason: DropReason, frame: bytes) -> None:
        """Take a frame out: count it, and tell."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.observer is not None:
            self.observer(LinkDropped(self.agenda.now_ns, self.sender, self.link, reason, frame))
