"""What a rule says of a packet: ``ok``, ``drop``, ``delay("20ms")``, ``duplicate`` or ``reject()``; and ``nth``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from estab.errors import DropReason
from estab.lab.packets.view import PacketView
from estab.settings import Duration
from estab.units import duration_ns, format_duration

__all__ = ["PacketRule", "Said", "Verdict", "delay", "drop", "duplicate", "nth", "ok", "reject"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a packet: ``ok``, ``drop``, ``duplicate``, or what ``delay()`` and ``reject()`` make."""

    kind: Literal["ok", "drop", "delay", "duplicate", "reject"]
    delay_ns: int = 0
    """How much later it goes on."""
    is_by_icmp: bool = False
    """What is rejected is answered by ICMP, TCP too."""
    reason: DropReason = DropReason.LINK_RULE
    """Under which reason it is counted, if it is dropped or rejected."""

    def __str__(self) -> str:
        return f"{self.kind} {format_duration(self.delay_ns)}" if self.kind == "delay" else self.kind


ok: Final = Verdict("ok")
"""The packet goes on; the next rule is asked."""
drop: Final = Verdict("drop")
"""The packet is taken out, and nobody is told."""
duplicate: Final = Verdict("duplicate")
"""The packet goes on twice."""

Said: TypeAlias = Verdict | DropReason | bool | None
"""What a rule may return: a verdict; ``None`` or ``False`` are ``ok``, ``True`` or a reason ``drop``."""
PacketRule: TypeAlias = Callable[[PacketView], Said]
"""Looks at a packet and says what becomes of it."""


def delay(by: Duration) -> Verdict:
    """Return a verdict: the packet goes on later, by ``"20ms"`` or seconds. Packets that come after it overtake it."""
    return Verdict("delay", duration_ns(by, "delay"))


def reject(by: Literal["auto", "icmp"] = "auto") -> Verdict:
    """Return a verdict: the packet is taken out and answered, TCP by a reset, else by ICMP ("prohibited").

    ``reject("icmp")`` answers TCP by ICMP too. A reset and an ICMP error are not answered.
    """
    if by not in ("auto", "icmp"):
        raise ValueError(f"reject: {by!r} is neither \"auto\" nor \"icmp\"")
    return Verdict("reject", is_by_icmp=by == "icmp")


def nth(which: int | Iterable[int] | Callable[[int], object], where: Callable[[PacketView], object],
        verdict: Verdict = drop) -> PacketRule:
    """Make a rule for the n-th packet, counted from 1, of those for which ``where(packet)`` is true.

    ``which`` is a number, several (``(1, 3)``, ``range(1, 4)``), or a function of the number (``lambda n: n % 10 ==
    0``). All other packets are ``ok``. Each packet counts once for each link that it comes to.
    """
    if callable(which):
        is_meant = which
    else:
        numbers = frozenset((which,)) if isinstance(which, int) else frozenset(which)
        wrong = [number for number in numbers if type(number) is not int or number < 1]
        if wrong:
            raise ValueError(f"which: {sorted(map(repr, wrong))[0]} counts no packet: the first is number 1")
        is_meant = numbers.__contains__
    count = 0

    def rule(packet: PacketView) -> Verdict:
        nonlocal count
        if not where(packet):
            return ok
        count += 1
        return verdict if is_meant(count) else ok

    return rule
