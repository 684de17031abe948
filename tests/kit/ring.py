"""Rings of io_uring for tests: a list that ``Slots`` takes for one, and whether the kernel has them."""

from __future__ import annotations

import errno
import mmap
from collections import deque
from typing import Any

import pytest

from estab.devices import uring
from estab.host.drive.slots import SLOT_BYTES, SLOTS, Slots

__all__ = ["FakeRing", "requires_rings"]

_ANSWERS = 2 * SLOTS


def _has_rings() -> bool:
    ring = uring.open_ring(0, SLOTS, SLOT_BYTES, is_writing=True)
    if ring is not None:
        ring.close()
    return ring is not None


requires_rings = pytest.mark.skipif(not _has_rings(), reason="this kernel has no io_uring, or forbids it")


class FakeRing:
    """Carries out writes into ``written``, or reads from ``frames``.

    ``errors`` are the numbers that the next operations fail with, 0 for one that does not. No more than ``begins`` are
    begun by one call.
    """

    def __init__(self, *, is_writing: bool, before: int = 0) -> None:
        self.is_writing = is_writing
        self.written: list[bytes] = []
        self.frames: deque[bytes] = deque()
        self.errors: deque[int] = deque()
        self.begins = SLOTS
        self.calls: list[int] = []
        self.room = mmap.mmap(-1, SLOTS * SLOT_BYTES)
        self._entries = memoryview(bytearray(SLOTS * 64)).cast("I")
        memory = bytearray(16 + _ANSWERS * 16)
        self._words, self._results = memoryview(memory).cast("I"), memoryview(memory).cast("i")
        self._head = before
        for at in range(3):  # as many operations and answers as a ring has had for a long time
            self._words[at] = before
        self.slots = Slots(self.room, self._entries, self._words, self._results, 0, 1, 2, 4, _ANSWERS, self._enter)

    def _enter(self, count: int) -> int:
        began = min(count, self.begins)
        self.calls.append(count)
        assert (self._words[0] - self._head) & 0xFFFFFFFF == count
        for number in range(self._head, self._head + began):
            self._carry_out(number % SLOTS)
        self._head = (self._head + began) & 0xFFFFFFFF
        return began

    def _carry_out(self, slot: int) -> None:
        start = slot * SLOT_BYTES
        error = self.errors.popleft() if self.errors else 0
        if error:
            self._answer(slot, -error)
        elif self.is_writing:
            self.written.append(bytes(self.room[start : start + self._entries[slot * 16 + 6]]))
        elif self.frames:
            frame = self.frames.popleft()
            self.room[start : start + len(frame)] = frame
            self._answer(slot, len(frame))
        else:
            self._answer(slot, -errno.EAGAIN)

    def _answer(self, slot: int, result: int) -> None:
        number: Any = self._words[2]
        assert (number - self._words[1]) & 0xFFFFFFFF < _ANSWERS
        at = 4 + number % _ANSWERS * 4
        self._words[at], self._results[at + 2] = slot, result
        self._words[2] = (number + 1) & 0xFFFFFFFF
