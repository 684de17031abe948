"""The clock of a virtual network and the agenda of what is to happen. It is compiled with the core.

- Time is an integer of nanoseconds. It moves when the next entry of the agenda is taken, and never otherwise.
- Entries of the same instant are taken in the order in which they were made.
- An entry belongs to a ``Subject``, whose ``fall_due`` is called with the number that the entry was made with. So a
  frame that flies needs no closure, and nothing interpreted runs for it. ``at`` has any function called.
- What falls due in the order in which it was planned (frames on a link) has one ``Entry`` for all: it stands for the
  first of them, and ``advance`` moves it on to the next.
- What is set anew again and again (a host's next deadline, a program's timeout) is an ``Alarm``: it leaves at most one
  entry behind, and an entry that it no longer means does not move the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from estab.units import NEVER

__all__ = ["NOBODY", "Agenda", "Alarm", "Entry", "Subject"]


class Subject:
    """What an entry of the agenda belongs to."""

    def is_meant(self, due_ns: i64) -> bool:
        """Tell whether an entry for that time still counts. One that does not is thrown away, and moves no clock."""
        return True

    def entry_gone(self, due_ns: i64) -> None:
        """Take note that an entry that did not count was thrown away."""

    def fall_due(self, number: i64) -> None:
        """Do what is due."""
        raise NotImplementedError


NOBODY: Final = Subject()
"""Whose the entries are that nothing will carry out."""


class Entry:
    """A place in the agenda: when, its place in that instant, whose it is, and the number for ``fall_due``."""

    def __init__(self, due_ns: i64, order: i64, subject: Subject, number: i64) -> None:
        self.due_ns: i64 = due_ns
        self.order: i64 = order
        self.subject: Subject = subject
        self.number: i64 = number

    def advance(self) -> bool:
        """Once it was taken: stand for what comes next, and keep a place. ``False``: nothing does."""
        return False


class _Call(Subject):
    """A call of any function, with one argument."""

    def __init__(self, action: Callable[[Any], object], argument: Any) -> None:
        self.action: Callable[[Any], object] = action
        self.argument: Any = argument

    def fall_due(self, number: i64) -> None:
        """Call it."""
        self.action(self.argument)


class Agenda:
    """What is to happen, by time, and what time it is: ``now_ns``."""

    def __init__(self) -> None:
        self.now_ns: i64 = 0
        self.steps: i64 = 0
        """How many entries were carried out."""
        self.turns: i64 = 0
        """How often a program's thread was made, began to wait or ended: what is said of programs holds until then."""
        self.frames_under_way: i64 = 0
        """Frames that links hold: they were sent, and have neither arrived nor been lost."""
        self._entries: list[Entry] = []
        """A heap: no entry comes before the one at half of its place."""
        self._order: i64 = 0

    def at(self, due_ns: int, action: Callable[[Any], object], argument: Any) -> None:
        """Have ``action(argument)`` called at ``due_ns``, or as soon as possible if that is past."""
        self.enter(NEVER if due_ns > NEVER else due_ns, _Call(action, argument), 0)

    def enter(self, due_ns: i64, subject: Subject, number: i64) -> None:
        """Have ``subject.fall_due(number)`` called at ``due_ns``, or as soon as possible if that is past."""
        if due_ns < self.now_ns:
            due_ns = self.now_ns
        self.put(Entry(due_ns, self.next_order(), subject, number))

    def next_order(self) -> i64:
        """Return the place, among all of its instant, of what is planned now."""
        self._order += 1
        return self._order

    def put(self, entry: Entry) -> None:
        """Take an entry in. Of all entries of its instant it has the last place."""
        due_ns = entry.due_ns
        heap = self._entries
        place: i64 = len(heap)
        heap.append(entry)
        while place > 0:
            above: i64 = (place - 1) >> 1
            other = heap[above]
            if other.due_ns <= due_ns:  # of the same instant it was made earlier
                break
            heap[place] = other
            place = above
        heap[place] = entry

    def clear(self) -> None:
        """Forget all entries: nothing will be carried out any more."""
        self._entries.clear()

    def next_due_ns(self) -> i64:
        """Return the time of the next entry; ``NEVER`` if there is none."""
        heap = self._entries
        while len(heap) > 0:
            entry = heap[0]
            if entry.subject.is_meant(entry.due_ns):
                return entry.due_ns
            self._pop()
            entry.subject.entry_gone(entry.due_ns)
        return NEVER

    def take(self) -> None:
        """Move the clock to the next entry and carry it out. ``next_due_ns`` has just said that there is one."""
        entry = self._entries[0]
        if entry.due_ns > self.now_ns:  # in real time it may be past
            self.now_ns = entry.due_ns
        self.steps += 1
        subject, number = entry.subject, entry.number
        if entry.advance():
            self._sink(entry)
        else:
            self._pop()
        subject.fall_due(number)

    def run(self, until_ns: int, entries_max: i64, ready: deque[Any], ends_at_rest: bool) -> None:
        """Carry out what is due until ``until_ns``, and ``entries_max`` at most.

        It ends earlier at the end of an instant in which a program became ready to run (one is in ``ready``), as soon
        as a turn was taken and, with ``ends_at_rest``, as soon as no frame is under way.
        """
        turns = self.turns
        end_ns: i64 = NEVER - 1 if until_ns >= NEVER else until_ns
        while entries_max > 0 and self.turns == turns:
            due_ns = self.next_due_ns()
            if due_ns > end_ns or (due_ns > self.now_ns and len(ready) > 0):
                return
            entries_max -= 1
            self.take()
            if ends_at_rest and self.frames_under_way == 0:
                return

    def _pop(self) -> None:
        """Take the first entry out."""
        heap = self._entries
        last = heap.pop()
        if len(heap) > 0:
            self._sink(last)

    def _sink(self, entry: Entry) -> None:
        """Put an entry into the first place, or below those that are due before it."""
        heap = self._entries
        size: i64 = len(heap)
        due_ns, order = entry.due_ns, entry.order
        place: i64 = 0
        while True:
            below: i64 = 2 * place + 1
            if below >= size:
                break
            other = heap[below]
            if below + 1 < size:
                beside = heap[below + 1]
                if beside.due_ns < other.due_ns or (beside.due_ns == other.due_ns and beside.order < other.order):
                    below += 1
                    other = beside
            if due_ns < other.due_ns or (due_ns == other.due_ns and order < other.order):
                break
            heap[place] = other
            place = below
        heap[place] = entry


class Alarm(Subject):
    """One deadline that is set anew often. ``due_ns`` is when it rings, ``NEVER`` for not at all."""

    def __init__(self, agenda: Agenda, action: Callable[[], object]) -> None:
        self.due_ns: i64 = NEVER
        self._agenda: Agenda = agenda
        self._action: Callable[[], object] = action
        self._entry_ns: i64 = NEVER

    def set(self, due_ns: int) -> None:
        """Ring at ``due_ns`` and not before. ``NEVER`` stops it."""
        self.put(NEVER if due_ns > NEVER else due_ns)

    def put(self, due_ns: i64) -> None:
        """Do as ``set`` does, for a time that is at most ``NEVER``."""
        agenda = self._agenda
        if due_ns < agenda.now_ns:
            due_ns = agenda.now_ns
        self.due_ns = due_ns
        if due_ns < self._entry_ns:
            self._entry_ns = due_ns
            agenda.enter(due_ns, self, due_ns)

    def release(self) -> None:
        """Forget what it calls: it will not ring any more."""
        self._action = _nothing

    def is_meant(self, due_ns: i64) -> bool:
        """Tell whether it is to ring at that time."""
        return self.due_ns == due_ns

    def entry_gone(self, due_ns: i64) -> None:
        """Make an entry for a later time if that is meant now."""
        if due_ns == self._entry_ns:
            self._entry_ns = NEVER
            if self.due_ns < NEVER:
                self.put(self.due_ns)

    def fall_due(self, number: i64) -> None:
        """Carry out the action."""
        self.due_ns = NEVER
        self.entry_gone(number)
        self._action()


def _nothing() -> None: ...
