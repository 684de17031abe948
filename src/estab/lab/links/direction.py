"""One direction of a link: its conditions, its counters and its observers. The stages build on this.

Compiled with the core.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import i64

from estab.errors import DropReason
from estab.events import (
    LinkConditions,
    LinkCopied,
    LinkDamaged,
    LinkDelayed,
    LinkDropped,
    LinkHeld,
    LinkMarked,
    LinkQueueChanged,
    Observer,
)
from estab.lab.links.aqm import marked
from estab.lab.links.frame import Frame, FunctionReceiver, Receiver
from estab.lab.links.weather import Decider
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions
from estab.lab.record.traces import DelayProfile
from estab.lab.rules.rule import RuleEntry

__all__ = ["Direction"]


class Direction:
    """The direction from ``sender`` over a link. ``deliver`` takes each frame that arrives, at its time."""

    def __init__(
        self, link: str, sender: str, conditions: Conditions, header_bytes: i64, agenda: Agenda,
        deliver: Receiver | Callable[[bytes], object], decider: Decider | None = None,
    ) -> None:
        self.link: str = link
        self.sender: str = sender
        self.conditions: Conditions = conditions
        self.mtu: i64 = 0
        self.delay_ns: i64 = 0
        self.jitter_ns: i64 = 0
        self.rate_bps: i64 = 0
        self.delay_profile: DelayProfile | None = None
        """What ``conditions`` say, for each frame."""
        self.header_bytes: i64 = header_bytes
        """Bytes of a frame in front of its IP packet: 14 with Ethernet."""
        self.agenda: Agenda = agenda
        self.end: Receiver = deliver if isinstance(deliver, Receiver) else FunctionReceiver(deliver)
        """Takes each frame that arrives."""
        self.interface: str = ""
        self.receiver: str = ""
        """The sender's interface and the receiver's name, for the facts."""
        self.observer: Observer | None = None
        self.decider: Decider | None = decider
        """Decides in place of chance; ``None``: chance does, and frames have no names."""
        self.frame_name: str = ""
        """What ``decider`` calls the frame that passes chance's stages now."""
        self.is_refused: bool = False
        """The sender's own queue had no room for the frame that was just carried. The sender clears and reads it."""
        self.is_cut: bool = False
        self.is_heard: bool = True
        """Whether the receiver has power."""
        self.rules: list[RuleEntry] = []
        self.fail: Callable[[BaseException], None] = _raise
        """Told what a rule raised."""
        self.opposite: Direction | None = None
        """The other direction of the link: the answers to rejected packets go there."""
        self.frames_carried: i64 = 0
        self.frames_delivered: i64 = 0
        self.frames_marked: i64 = 0
        """Packets that were marked with CE, by ``ecn_mark=`` or ``aqm=``."""
        self.drops: dict[DropReason, int] = {}

    def note(self, conditions: Conditions) -> None:
        """Keep what the conditions say for each frame."""
        self.conditions = conditions
        self.mtu, self.rate_bps = conditions.mtu, conditions.rate_bps
        self.delay_ns, self.jitter_ns = conditions.delay_ns, conditions.jitter_ns
        self.delay_profile = conditions.delay_profile

    def stream(self, what: str) -> Chance:
        """Return the stream of chance of one of the direction's stages."""
        raise NotImplementedError

    def waiting(self) -> tuple[int, int]:
        """Return how many frames and bytes wait for the rate, without the frame that is being sent."""
        raise NotImplementedError

    def mark(self, frame: Frame, why: str) -> bool:
        """Mark a packet with CE: count it, and report it. ``False`` if it is not ECN-capable."""
        before = frame.data if self.observer is None else frame.octets()
        after = marked(before, self.header_bytes)
        if after is None:
            return False
        frame.data = after
        self.frames_marked += 1
        if self.observer is not None:
            self.observer(LinkMarked(self.agenda.now_ns, self.sender, self.link, why, before, after))
        return True

    def tell_held(self, overtakers: int, frame: Frame) -> None:
        """Report that a frame is held back until so many later ones have passed."""
        if self.observer is not None:
            self.observer(LinkHeld(self.agenda.now_ns, self.sender, self.link, overtakers, frame.octets()))

    def tell_delayed(self, by_ns: int, why: str, frame: Frame) -> None:
        """Tell that a frame comes later than the link's delay lets others come."""
        if self.observer is not None:
            self.observer(LinkDelayed(self.agenda.now_ns, self.sender, self.link, by_ns, why, frame.octets()))

    def answer(self, frame: bytes) -> None:
        """Carry a frame that a box on the way made. No rule is asked about it."""
        raise NotImplementedError

    def again(self, frame: Frame, later_ns: int) -> None:
        """Take a frame once more, past the rules; later by ``later_ns``."""
        raise NotImplementedError

    def tell_copied(self, frame: Frame) -> None:
        """Report that a frame is sent on twice."""
        if self.observer is not None:
            self.observer(LinkCopied(self.agenda.now_ns, self.sender, self.link, frame.octets()))

    def tell_damaged(self, bit: int, frame: Frame, damaged: bytes) -> None:
        """Report that a bit of a frame flipped."""
        if self.observer is not None:
            self.observer(LinkDamaged(self.agenda.now_ns, self.sender, self.link, bit, frame.octets(), damaged))

    def tell_queue(self, what: str, place: int = 0) -> None:
        """Report how much waits for the rate, after it changed."""
        if self.observer is not None:
            frames, octets = self.waiting()
            self.observer(LinkQueueChanged(
                self.agenda.now_ns, self.sender, self.link, frames, octets, what, place,
            ))

    def tell_conditions(self, observer: Observer | None) -> None:
        """Report what the direction does to frames from now on."""
        if observer is not None:
            now = self.conditions
            observer(LinkConditions(
                self.agenda.now_ns, self.sender, self.link, self.interface, self.receiver, now.delay_ns, now.jitter_ns,
                now.rate_bps, now.queue_frames, now.queue_bytes, now.loss, now.reorder, now.duplicate, now.corrupt,
                now.mtu, now.codel_target_ns, now.codel_interval_ns, now.ecn_mark_frames, now.ecn_mark_bytes,
                self.is_cut, now.is_fair,
                now.jitter_shape, "" if now.bursts is None else str(now.bursts),
            ))

    def drop(self, reason: DropReason, frame: Frame) -> None:
        """Drop a frame: count it, and report it."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.observer is not None:
            self.observer(LinkDropped(self.agenda.now_ns, self.sender, self.link, reason, frame.octets()))


def _raise(error: BaseException) -> None:
    raise error
