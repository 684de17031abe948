"""Frames that are taken together: as many as a step takes, by one call of the system."""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab.host.drive.slots import SLOTS, Slots

__all__ = ["FEW", "Inbox"]

FEW: Final = 4
"""Fewer frames are read one by one."""


class Inbox:
    """Up to ``SLOTS`` frames that were read and not looked at yet."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots = slots
        self._is_off: bool = False
        """The system can't do this with the descriptor."""

    def fill(self, count: i64) -> bool:
        """Read up to ``count`` frames. ``False``: they are to be read one by one."""
        if self._slots.left > 0:
            return True
        if count < FEW or self._is_off:
            return False
        return self._slots.submit(min(count, SLOTS)) > 0

    def next(self) -> bytes | None:
        """Take the next frame; ``None``: there is no more. An error is left for the next single read to tell."""
        slots = self._slots
        while slots.left > 0:
            size = slots.next_result()
            if size > 0:
                return slots.take(slots.slot, size)
            if size == -errno.EOPNOTSUPP:
                self._is_off = True
        return None
