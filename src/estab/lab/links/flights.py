"""Frames that fly over a link and arrive in the order in which they were sent.

However many they are, they have one place in the agenda, that of the first of them. Compiled with the core.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.lab.links.frame import Frame
from estab.lab.record.clock import Agenda, Entry, Subject

__all__ = ["Flights"]

_NONE: Final = Frame(b"")
_TAKEN_MAX: Final = 64
"""So many places of frames that have arrived are kept, before the list is made shorter."""


class Flights(Entry):
    """The frames, the one that arrives next first. ``subject.fall_due`` is called for each, and ``take`` gives it."""

    def __init__(self, agenda: Agenda, subject: Subject) -> None:
        super().__init__(0, 0, subject, 0)
        self._agenda: Agenda = agenda
        self._frames: list[Frame] = []
        """Those from ``_head`` to ``_tail`` fly; in all other places is ``_NONE``."""
        self._head: i64 = 0
        self._tail: i64 = 0
        self._last_due_ns: i64 = 0
        self._arrived: Frame = _NONE

    def would_keep_order(self, due_ns: i64) -> bool:
        """Tell whether a frame that arrives at ``due_ns`` would be the last to arrive."""
        return due_ns >= self._last_due_ns or self._head == self._tail

    def add(self, frame: Frame) -> None:
        """Let a frame fly that arrives at ``due_ns``, after all others."""
        frames, tail = self._frames, self._tail
        frame.order = self._agenda.next_order()
        self._last_due_ns = frame.due_ns
        if tail < len(frames):
            frames[tail] = frame
        else:
            frames.append(frame)
        self._tail = tail + 1
        if self._head == tail:
            self.due_ns, self.order = frame.due_ns, frame.order
            self._agenda.put(self)

    def advance(self) -> bool:
        """Go on to the next frame."""
        frames, head = self._frames, self._head
        self._arrived = frames[head]
        frames[head] = _NONE
        head += 1
        if head == self._tail:
            self._head = self._tail = 0
            if head > _TAKEN_MAX:
                frames.clear()
            return False
        if head >= _TAKEN_MAX and 2 * head > self._tail:
            del frames[:head]
            self._tail -= head
            head = 0
        self._head = head
        following = frames[head]
        self.due_ns, self.order = following.due_ns, following.order
        return True

    def take(self) -> Frame:
        """Give the frame that has just fallen due."""
        frame = self._arrived
        self._arrived = _NONE
        return frame

    def all(self) -> list[Frame]:
        """List the frames that fly, oldest first, without those that are gone."""
        return [frame for frame in self._frames[self._head : self._tail] if not frame.is_gone]
