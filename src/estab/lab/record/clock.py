"""The clock of a virtual network and the agenda of what is to happen.

- Time is an integer of nanoseconds. It moves when the next entry of the agenda is taken, and never otherwise.
- Entries of the same instant are taken in the order in which they were made.
- What is set again and again (a host's next deadline, a program's timeout) is an ``Alarm``: it has at most one entry in
  the agenda, and an entry that is no longer valid does not move the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from estab.units import NEVER

__all__ = ["Agenda", "Alarm"]

_Entry = tuple[int, int, "Callable[[Any], None] | None", Any]


class Agenda:
    """What is to happen, by time, and the time now: ``now_ns``."""

    __slots__ = ("_entries", "_order", "now_ns")

    def __init__(self) -> None:
        self.now_ns = 0
        self._entries: list[_Entry] = []
        self._order = 0

    def at(self, due_ns: int, action: Callable[[Any], None] | None, subject: Any) -> None:
        """Call ``action(subject)`` at ``due_ns``, or as soon as possible if that is past.

        Without an action the subject is an ``Alarm``, whose action is carried out.
        """
        self._order += 1
        heappush(self._entries, (max(due_ns, self.now_ns), self._order, action, subject))

    def next_due_ns(self) -> int:
        """Return the time of the next entry; ``NEVER`` if there is none."""
        entries = self._entries
        while entries:
            due_ns, _, action, subject = entries[0]
            if action is not None or subject.due_ns == due_ns:
                return due_ns
            heappop(entries)
            subject.entry_gone(due_ns)
        return NEVER

    def take(self) -> None:
        """Move the clock to the next entry and carry it out. ``next_due_ns`` has just said that there is one."""
        due_ns, _, action, subject = heappop(self._entries)
        self.now_ns = due_ns
        if action is not None:
            action(subject)
        else:
            subject.ring(due_ns)


class Alarm:
    """One deadline that is set often. ``due_ns`` is the time of its action, ``NEVER`` for none."""

    __slots__ = ("_action", "_agenda", "_entry_ns", "due_ns")

    def __init__(self, agenda: Agenda, action: Callable[[], None]) -> None:
        self.due_ns = NEVER
        self._agenda = agenda
        self._action = action
        self._entry_ns = NEVER

    def set(self, due_ns: int) -> None:
        """Ring at ``due_ns`` and not before. ``NEVER`` stops it."""
        self.due_ns = due_ns = max(due_ns, self._agenda.now_ns)
        if due_ns < self._entry_ns:
            self._entry_ns = due_ns
            self._agenda.at(due_ns, None, self)

    def ring(self, entry_ns: int) -> None:
        """Carry out the action (the agenda calls this)."""
        self.due_ns = NEVER
        self.entry_gone(entry_ns)
        self._action()

    def entry_gone(self, entry_ns: int) -> None:
        """Note that an entry left the agenda, and make one for a later time if the alarm was set to one."""
        if entry_ns == self._entry_ns:
            self._entry_ns = NEVER
            if self.due_ns < NEVER:
                self.set(self.due_ns)
