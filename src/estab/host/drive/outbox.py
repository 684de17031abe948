"""Frames that leave together: the small frames of one step, by one call of the system."""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab.host.drive.slots import SLOTS, Slots

__all__ = ["FEW", "Outbox"]

FEW: Final = 8
"""Fewer frames are written one by one: a queue has its price, too."""


class Outbox:
    """Up to ``SLOTS`` frames of up to ``SLOT_BYTES`` bytes that wait for the end of a step."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots = slots
        self._frames: list[bytes] = []
        self._is_off: bool = False
        """The system can't do this with the descriptor."""

    def is_empty(self) -> bool:
        """Tell whether no frame waits."""
        return len(self._frames) == 0

    def add(self, frame: bytes) -> bool:
        """Let a frame wait. Returns whether there is room for another one."""
        self._frames.append(frame)
        return len(self._frames) < SLOTS

    def send(self) -> list[bytes]:
        """Send all frames. Returns those that have to be written one by one, in their order.

        They are few, or the device refused them, and will say why when they are written.
        """
        frames = self._frames
        self._frames = []
        count: i64 = len(frames)
        if count < FEW or self._is_off:
            return frames
        slots = self._slots
        first = slots.next_slot()
        slot = first
        for frame in frames:
            slots.put(slot, frame)
            slot = (slot + 1) % SLOTS
        began = slots.submit(count)
        if began == count and slots.left == 0:
            return []
        refused: list[bytes] = []
        while slots.left > 0:
            if slots.next_result() == -errno.EOPNOTSUPP:
                self._is_off = True
            refused.append(frames[(slots.slot - first) % SLOTS])
        return refused + frames[began:]
