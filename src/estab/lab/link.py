"""``Link``: a cable between two hosts, and what a user does to it."""

from __future__ import annotations

from typing import Protocol, Unpack, overload

from estab.events import LinkChanged, Observer
from estab.lab.host import Host
from estab.lab.links.firewall import Firewall
from estab.lab.links.way import Way
from estab.lab.packets.tracking import FLOWS_MAX, Answer, Invalid, Times, WhenIdle
from estab.lab.record.conditions import Conditions, LinkProperties, by_sender, count_of, one_of, read_conditions
from estab.lab.rules.rule import FrameRule, Rule, RuleEntry
from estab.lab.rules.verdicts import PacketRule
from estab.observers import Observation, Observers
from estab.settings import Duration
from estab.units import duration_ns, format_duration

__all__ = ["Link"]


class _End(Protocol):
    """What is at an end of a cable: a host or a switch."""

    @property
    def name(self) -> str:
        """Its name."""


class _Cable(Protocol):
    """Both directions, which are released with it, and the link's number."""

    there: Way
    back: Way
    number: int


class Link:
    """A cable between two hosts, or from a host to a switch. ``Network.link`` and ``Network.switch`` make it.

    ``there`` is the direction from its first host, ``back`` the other one; each can be read (``conditions``, ``drops``,
    ``in_flight_frames``).
    """

    _observers: Observers | None = None
    _observer: Observer | None = None
    _has_carrier = True

    def __init__(self, name: str, ends: tuple[Host, _End], cable: _Cable) -> None:
        self.name = name
        self.number = cable.number
        """From 0: its network is ``10.<number / 256>.<number % 256>.0/24``."""
        self.ends = ends
        self.there, self.back = cable.there, cable.back
        self._cable = cable
        """Its end releases both directions."""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts at its ends."""
        return tuple(end for end in self.ends if isinstance(end, Host))

    def interface_of(self, host: Host) -> int:
        """Return the index of the interface that a host has on it."""
        return host.runtime.index_of(self.there if host is self.ends[0] else self.back)

    @property
    def senders(self) -> tuple[str, str]:
        """The names of what is at its ends."""
        return self.there.sender, self.back.sender

    @property
    def is_cut(self) -> bool:
        """Whether the cable is cut, in one direction at least."""
        return self.there.is_cut or self.back.is_cut

    def cut(self, sender: Host | str | None = None, *, carrier: bool = False) -> None:
        """Cut the cable; with ``sender``, a host at one of its ends, only for what that host sends.

        Frames in flight and in its queues are lost too. The hosts are not told: they see only silence. With
        ``carrier=True`` their interfaces see that there is no carrier, as if the cable is pulled out of the host:
        then their routes by them are not used, and programs get ENETUNREACH.
        """
        ways = [way for way in self._ways_of(sender) if not way.is_cut]
        if ways:
            if carrier:
                self._set_carrier(False)
            self._tell("cut" if len(ways) == 2 else f"cut for what {ways[0].sender} sends")
            for way in ways:
                way.cut()
            self.tell_conditions(self._observer)

    def heal(self, sender: Host | str | None = None) -> None:
        """Plug the cable in again; with ``sender`` only for what that host sends. What was lost stays lost."""
        ways = [way for way in self._ways_of(sender) if way.is_cut]
        if ways:
            self._set_carrier(True)
            for way in ways:
                way.heal()
            self._tell("healed" if not self.is_cut else f"healed for what {ways[0].sender} sends")
            self.tell_conditions(self._observer)

    def _set_carrier(self, is_up: bool) -> None:
        if is_up != self._has_carrier:
            self._has_carrier = is_up
            for end, way in zip(self.ends, (self.there, self.back), strict=True):
                if isinstance(end, Host):
                    end.runtime.set_carrier(way, is_up=is_up)

    def set(self, **properties: Unpack[LinkProperties]) -> None:
        """Change properties from now on: ``delay= jitter= loss= rate= queue= queue_of= ecn_mark= aqm= mtu= reorder=
        duplicate= corrupt=``.

        A pair or a dict, by the sending host, gives them for each direction. The hosts are not told: an ``mtu`` below
        that of their interfaces makes the link a black hole for larger packets.
        """
        words = by_sender(properties, (self.there.sender, self.back.sender), self.name)
        there = read_conditions(self.there.conditions, self.there.sender, True, words)
        back = read_conditions(self.back.conditions, self.back.sender, False, words)
        self.there.set(there)
        self.back.set(back)
        self._tell("set " + ", ".join(f"{name}={value!r}" for name, value in words.items()))
        self.tell_conditions(self._observer)

    @overload
    def rule(self, rule: PacketRule, sender: Host | str | None = None) -> Observation: ...
    @overload
    def rule(self, rule: FrameRule, sender: Host | str | None = None) -> Observation: ...
    def rule(self, rule: Rule, sender: Host | str | None = None) -> Observation:
        """Ask ``rule(packet)`` about every packet on the link, or only about what ``sender`` sends.

        It returns ``ok``, ``drop``, ``duplicate``, ``delay("20ms")`` or ``reject()`` (``from estab import drop, …``).
        The rule is asked at once about packets that are under way, and about each later one when it is put on the
        link, before chance. Rules are asked in the order in which they were made; the first that does not return
        ``ok`` decides. A function with two arguments is called as ``rule(sender, frame)``: the sending host's name and
        the frame's bytes.

        Returns what takes the rule away: call it, or use it in a ``with`` statement. A rule that raises ends the run
        with a ``RuleError``.
        """
        return self.apply(RuleEntry(rule, self.there.fail), sender)

    def apply(self, entry: RuleEntry, sender: Host | str | None = None) -> Observation:
        """Ask a rule, as ``rule`` does."""
        ways = self._ways_of(sender)
        for way in ways:
            way.add_rule(entry)

        def remove() -> None:
            for way in ways:
                way.remove_rule(entry)

        return Observation(remove)

    def firewall(
        self, idle: Duration, inside: Host | None = None, *, half_open: Duration | None = None,
        closed: Duration | None = None, flows_max: int = FLOWS_MAX, unknown: Answer = "drop",
        when_idle: WhenIdle = "forget", invalid: Invalid = "pass", loose: bool = False,
    ) -> Firewall:
        """Put a firewall on the link that forgets a flow once it has been idle for ``idle``.

        With ``inside``, only packets from that host's side begin flows. ``half_open`` and ``closed`` are the times of
        connections that are not open yet or closed by both sides (Linux: 60 s and 120 s); without them ``idle`` holds.
        At most ``flows_max`` flows are known. What is sent in an unknown flow, or while the table is full, is dropped
        without an error; ``unknown="reject"`` answers it with a reset or an ICMP error. ``when_idle="reset"`` sends a
        reset to both ends of a connection that is forgotten. ``invalid="drop"`` drops segments that are out of their
        connection's window. With ``loose`` a segment in the middle of a connection begins a flow (Linux's
        ``nf_conntrack_tcp_loose``).
        """
        if inside is not None:
            self._check_end("inside", inside)
        one_of("unknown", unknown, ("drop", "reject"))
        one_of("when_idle", when_idle, ("forget", "reset"))
        one_of("invalid", invalid, ("pass", "drop"))
        idle_ns = duration_ns(idle, "idle")
        times = Times(idle_ns, idle_ns if half_open is None else duration_ns(half_open, "half_open"),
                      idle_ns if closed is None else duration_ns(closed, "closed"), idle_ns)
        made = Firewall(times, count_of("flows_max", flows_max), inside.name if inside is not None else "",
                        (self.there, self.back), self._tell, unknown, when_idle, invalid, loose)
        self.apply(RuleEntry(made, self.there.fail))
        return made

    def inject(self, host: Host, frame: bytes) -> None:
        """Put a frame on the link as if ``host`` had sent it: a forged one, or the copy of an old one."""
        self._check_end("host", host)
        host.runtime.forge(self.there if host is self.ends[0] else self.back, frame)

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` of lost frames, marks and changes from now on, and what the link is at once.

        Other observers stay. Returns what ends that: call it, or use it in a ``with`` statement.
        """
        if self._observers is None:
            self._observers = Observers()
        observation = self._observers.add(observer, self._tell_all_facts)
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

    def _ways_of(self, sender: Host | str | None) -> list[Way]:
        """Give both directions, or the one from a host."""
        ways = [self.there, self.back]
        if sender is None:
            return ways
        if not isinstance(sender, str):
            self._check_end("sender", sender)
        name = sender if isinstance(sender, str) else sender.name
        found = [way for way in ways if way.sender == name]
        if not found:
            raise ValueError(f"sender: {name} is at no end of {self.name}")
        return found

    def _check_end(self, word: str, host: Host) -> None:
        if not isinstance(host, (Host, type(self.ends[1]))):
            raise TypeError(f"{word}: {host!r} is not a host; give what Network.host() returned")
        if host not in self.ends:
            raise ValueError(f"{word}: {host.name} is at no end of {self.name}")

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
        shape = "" if conditions.jitter_shape == "uniform" else f" {conditions.jitter_shape}"
        words.append(f"jitter={format_duration(conditions.jitter_ns)}{shape}")
    words.extend(f"{name}={getattr(conditions, name):.3g}" for name in ("loss", "reorder", "duplicate", "corrupt")
                 if getattr(conditions, name))
    if conditions.delay_profile is not None or conditions.opportunities is not None:
        words.append("trace")
    if conditions.rate_bps:
        words.append(f"rate={conditions.rate_bps / 1e6:g}Mbit")
    if conditions.is_queue_of_host:
        words.append("queue_of=host")
    if conditions.ecn_mark_limit:
        words.append(f"ecn_mark={conditions.ecn_mark_frames or f'{conditions.ecn_mark_bytes}B'}")
    if conditions.codel_target_ns:
        words.append("aqm=fq_codel" if conditions.is_fair else "aqm=codel")
    elif conditions.is_fair:
        words.append("aqm=fq")
    return " ".join(words)
