"""Memory that many frames are sent from, or received into, by one call of the system: a queue of Linux's io_uring.

To write one small packet to a TUN device, or to read one, costs the call (arguments, the interpreter's lock, the way
into the kernel and back) as much as making the packet. And a program on the same processor that waits for the packet
runs as soon as that call ends, and then for this packet alone.

Nothing here calls the system. ``Slots`` is memory, as ``man 7 io_uring`` describes it, and a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

__all__ = ["SLOTS", "SLOT_BYTES", "Slots"]

SLOTS: Final = 64
"""Frames of one call at most."""
SLOT_BYTES: Final = 2048
"""Room for each."""
_ENTRY_WORDS: Final = 16
_LENGTH_AT: Final = 6
"""``len`` of a ``struct io_uring_sqe``, counted in words of 4 bytes."""
_ANSWER_WORDS: Final = 4
_RESULT_AT: Final = 2
"""``res`` of a ``struct io_uring_cqe``; ``user_data``, the slot's number, is at 0."""
_WORD: Final = 0xFFFFFFFF


class Slots:
    """``SLOTS`` operations on one descriptor that were prepared: operation ``i`` reads or writes the slot at
    ``i * SLOT_BYTES`` of ``room``.

    ``entries``, ``words`` and ``results`` are views of the queue's memory in words of 4 bytes, the last one signed. Of
    ``words``, ``tail_at`` is where the number of all operations so far is, ``head_at`` that of the answers that were
    looked at, ``answered_at`` that of all answers; the answers themselves begin at ``answers_at``, and there is room
    for ``answers``, a power of two. ``enter`` lets the system carry out so many operations, and returns how many it
    began. All that it began are over then.
    """

    def __init__(self, room: Any, entries: Any, words: Any, results: Any, tail_at: int, head_at: int, answered_at: int,
                 answers_at: i64, answers: i64, enter: Callable[[int], int]) -> None:
        self.slot: i64 = 0
        """The slot whose result was given last."""
        self.left: i64 = 0
        """Answers that were not looked at."""
        self._room: Any = room
        self._entries: Any = entries
        self._words: Any = words
        self._results: Any = results
        self._tail_at: int = tail_at
        self._head_at: int = head_at
        self._answered_at: int = answered_at
        self._answers_at: i64 = answers_at
        self._answers_mask: i64 = answers - 1
        self._enter: Callable[[int], int] = enter
        self._tail: i64 = words[tail_at]
        self._answered: i64 = words[head_at]
        self._lengths: list[i64] = [0] * SLOTS

    def next_slot(self) -> i64:
        """Return the slot of the next operation. The slots of those after it follow, and after the last the first."""
        return self._tail % SLOTS

    def put(self, slot: i64, frame: bytes) -> None:
        """Put a frame into a slot."""
        size: i64 = len(frame)
        start = slot * SLOT_BYTES
        self._room[start : start + size] = frame
        if self._lengths[slot] != size:
            self._lengths[slot] = size
            self._entries[slot * _ENTRY_WORDS + _LENGTH_AT] = size

    def take(self, slot: i64, size: i64) -> bytes:
        """Return what is in a slot."""
        start = slot * SLOT_BYTES
        frame: bytes = self._room[start : start + size]
        return frame

    def submit(self, count: i64) -> i64:
        """Carry out the next ``count`` operations. Returns how many the system began; ``left`` of them are answered."""
        words = self._words
        words[self._head_at] = self._answered
        tail = (self._tail + count) & _WORD
        words[self._tail_at] = tail
        began: i64 = self._enter(count)
        if began < count:  # the rest is as if it had never been asked for
            tail = (tail - count + began) & _WORD
            words[self._tail_at] = tail
        self._tail = tail
        answered: i64 = words[self._answered_at]
        self.left = (answered - self._answered) & _WORD
        return began

    def next_result(self) -> i64:
        """Look at the next answer: the bytes of the frame in ``slot``, or an error's number, negative."""
        at = self._answers_at + (self._answered & self._answers_mask) * _ANSWER_WORDS
        self._answered = (self._answered + 1) & _WORD
        self.left -= 1
        self.slot = self._results[at]
        result: i64 = self._results[at + _RESULT_AT]
        return result
