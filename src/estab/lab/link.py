"""``Link``: a cable between two hosts, and what a user does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Unpack

from estab.events import LinkChanged, Observer
from estab.lab.links.firewall import Firewall
from estab.lab.links.way import Rule, Way
from estab.lab.record.conditions import Conditions, LinkProperties, read_conditions
from estab.observers import Observation, Observers
from estab.settings import Duration
from estab.units import duration_ns, format_duration

if TYPE_CHECKING:
    from estab.lab.host import Host

__all__ = ["Link"]


class Link:
    """A cable between two hosts. ``Network.link`` makes it.

    ``there`` and ``back`` are its two directions; each can be read (``conditions``, ``drops``, ``in_flight_frames``).
    """

    def __init__(self, name: str, ends: tuple[Host, Host], ways: tuple[Way, Way]) -> None:
        self.name = name
        self.ends = ends
        self.there, self.back = ways
        self._observers = Observers(self._tell_all_facts)
        self._observer: Observer | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the cable is cut."""
        return self.there.is_cut

    def cut(self) -> None:
        """Cut the cable.

        Frames in flight and in its queues are lost too. The hosts are not told: they see only silence.
        """
        if not self.is_cut:
            self._tell("cut")
            self.there.cut()
            self.back.cut()
            self.tell_conditions(self._observer)

    def heal(self) -> None:
        """Plug the cable in again. What was lost stays lost."""
        if self.is_cut:
            self.there.heal()
            self.back.heal()
            self._tell("healed")
            self.tell_conditions(self._observer)

    def set(self, **properties: Unpack[LinkProperties]) -> None:
        """Change properties from now on: ``delay= jitter= loss= rate= queue= ecn_mark= aqm= mtu= reorder= duplicate=
        corrupt=``.

        A pair or a dict gives them for each direction. The hosts are not told: an ``mtu`` below that of their
        interfaces makes the link a black hole for larger packets.
        """
        there = read_conditions(self.there.conditions, self.there.sender, True, properties)
        back = read_conditions(self.back.conditions, self.back.sender, False, properties)
        self.there.set(there)
        self.back.set(back)
        self._tell("set " + ", ".join(f"{name}={value!r}" for name, value in properties.items()))
        self.tell_conditions(self._observer)

    def rule(self, rule: Rule) -> Callable[[], None]:
        """Ask ``rule(sender, frame)`` about every frame put on the link, in either direction.

        ``True`` or a reason drops it. Rules come before chance, in the order in which they were made. Returns a
        function that removes the rule.
        """
        for way in (self.there, self.back):
            way.rules.append(rule)
            way.set(way.conditions)

        def remove() -> None:
            for way in (self.there, self.back):
                if rule in way.rules:
                    way.rules.remove(rule)
                    way.set(way.conditions)

        return remove

    def firewall(self, idle: Duration, inside: Host | None = None) -> Firewall:
        """Put a firewall on the link that forgets a flow of TCP or UDP once it has been idle for ``idle``.

        Packets of a forgotten flow, or of one that did not begin with a SYN, are dropped silently. With ``inside``,
        only packets from that host's side begin flows.
        """
        if inside is not None and inside not in self.ends:
            raise ValueError(f"inside: {inside.name} is at no end of {self.name}")
        agenda = self.there.agenda
        made = Firewall(duration_ns(idle, "idle"), inside.name if inside is not None else "", self.there.header_bytes,
                        lambda: agenda.now_ns, self._tell)
        self.rule(made)
        return made

    def inject(self, host: Host, frame: bytes) -> None:
        """Put a frame on the link as if ``host`` had sent it: a forged one, or the copy of an old one."""
        if host not in self.ends:
            raise ValueError(f"host: {host.name} is at no end of {self.name}")
        host.runtime.forge(self.there if host is self.ends[0] else self.back, frame)

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` of lost frames, marks and changes from now on, and what the link is at once.

        Other observers stay. Returns what ends that: call it, or use it in a ``with`` statement.
        """
        observation = self._observers.add(observer)
        self.tell_conditions(observer)
        return observation

    def tell_conditions(self, observer: Observer | None) -> None:
        """Tell ``observer`` what the cable does to frames from now on, in both directions."""
        self.there.tell_conditions(observer)
        self.back.tell_conditions(observer)

    @property
    def in_flight_frames(self) -> int:
        """Frames under way in both directions, those that wait for the rate among them."""
        return self.there.in_flight_frames + self.back.in_flight_frames

    def __repr__(self) -> str:
        state = "cut" if self.is_cut else _describe(self.there.conditions)
        return f"<Link {self.name} {self.ends[0].name}-{self.ends[1].name} {state}>"

    def _tell_all_facts(self, observer: Observer | None) -> None:
        self._observer = self.there.observer = self.back.observer = observer

    def _tell(self, what: str) -> None:
        if self._observer is not None:
            self._observer(LinkChanged(self.there.agenda.now_ns, "", self.name, what))


def _describe(conditions: Conditions) -> str:
    words = [f"delay={format_duration(conditions.delay_ns)}"]
    if conditions.jitter_ns:
        words.append(f"jitter={format_duration(conditions.jitter_ns)}")
    words.extend(f"{name}={getattr(conditions, name):.3g}" for name in ("loss", "reorder", "duplicate", "corrupt")
                 if getattr(conditions, name))
    if conditions.rate_bps:
        words.append(f"rate={conditions.rate_bps / 1e6:g}Mbit")
    if conditions.ecn_mark_limit:
        words.append(f"ecn_mark={conditions.ecn_mark_frames or f'{conditions.ecn_mark_bytes}B'}")
    if conditions.codel_target_ns:
        words.append("aqm=codel")
    return " ".join(words)
