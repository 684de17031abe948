"""Partitions: two groups of hosts whose packets don't reach each other; and rules that hold on all links."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from estab.errors import DropReason
from estab.lab.packets.view import PacketView
from estab.lab.rules.rule import RuleEntry
from estab.lab.rules.verdicts import Verdict, ok
from estab.observers import Observation

__all__ = ["Partition", "StandingRule"]

_LOST: Final = Verdict("drop", reason=DropReason.LINK_PARTITION)


class _Cable(Protocol):
    """A link, as far as rules are put on it."""

    @property
    def senders(self) -> tuple[str, str]:
        """The names of its two senders."""

    def apply(self, entry: RuleEntry, sender: str | None = None) -> Observation:
        """Ask a rule about what passes."""


class StandingRule:
    """A rule of the whole network; with ``sender``, for what one host sends."""

    def __init__(self, entry: RuleEntry, sender: str) -> None:
        self._entry = entry
        self._sender = sender
        self._ends: list[Observation] = []

    def put_on(self, link: _Cable) -> None:
        """Ask it on a link too."""
        if not self._sender or self._sender in link.senders:
            self._ends.append(link.apply(self._entry, self._sender or None))

    def end(self) -> None:
        """Ask it nowhere any more."""
        for end in self._ends:
            end()
        self._ends.clear()


class Partition(AbstractContextManager["Partition"]):
    """Two groups of hosts between which no packet passes. ``Network.partition`` makes it."""

    def __init__(self, a: frozenset[str], b: frozenset[str], is_one_way: bool,
                 name_of: Callable[[bytes], str]) -> None:
        self.a = a
        self.b = b
        self.is_one_way = is_one_way
        self.ends: Observation | None = None
        self.tell: Callable[[str], None] = _nobody
        """Told what becomes of it."""
        self._name_of = name_of

    def heal(self) -> None:
        """Let packets pass again. What was lost stays lost. Idempotent."""
        if self.ends is not None:
            self.ends()
            self.ends = None
            self.tell("healed")

    def __exit__(self, *error: object) -> None:
        self.heal()

    def says(self, packet: PacketView) -> Verdict:
        """Judge a packet by the hosts that its addresses belong to."""
        if packet.packet is not None:
            src, dst = self._name_of(packet.packet.src), self._name_of(packet.packet.dst)
        elif packet.arp is not None:
            src, dst = self._name_of(packet.arp.sender), self._name_of(packet.arp.target)
        else:
            return ok
        is_lost = src in self.a and dst in self.b
        if not self.is_one_way and not is_lost:
            is_lost = src in self.b and dst in self.a
        return _LOST if is_lost else ok

    def __str__(self) -> str:
        sign = ">" if self.is_one_way else "|"
        return f"{', '.join(sorted(self.a))} {sign} {', '.join(sorted(self.b))}"

    def __repr__(self) -> str:
        return f"<Partition {self}>"


def _nobody(what: str) -> None: ...
