"""Python's garbage collector looks less often while a network is open.

It looks whenever some hundreds of objects more were made than released, and now and then at all objects that there are
(``gc.get_threshold``). A network makes hundreds of objects for each host and each program, which live as long as it
does. So the collector found nothing, and took a third of the time of a thousand hosts, and half of that of ten
thousand.

- While a network is open the collector looks after 50,000 objects. What programs leave in cycles is still released.
- A threshold that is higher already, or 0 (no collections), stays. So does one that is set meanwhile.
- The threshold is put back when the last network is closed, or released without that.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["OBJECTS", "RareCollection"]

OBJECTS: Final = 50_000
"""So many objects more are made than released before the collector looks."""


class RareCollection:
    """Lets the collector look rarely, from its making until ``end``. Several may overlap."""

    _open = 0
    _before = 0
    """The threshold to put back; 0: nothing was changed."""

    def __init__(self) -> None:
        self._is_ended = False
        if RareCollection._open == 0 and 0 < gc.get_threshold()[0] < OBJECTS:
            RareCollection._before = _exchange(OBJECTS)
        RareCollection._open += 1

    def end(self) -> None:
        """Need it no more. Idempotent."""
        if self._is_ended:
            return
        self._is_ended = True
        RareCollection._open -= 1
        if RareCollection._open == 0 and RareCollection._before:
            if gc.get_threshold()[0] == OBJECTS:
                _exchange(RareCollection._before)
            RareCollection._before = 0

    def __del__(self) -> None:
        self.end()


def _exchange(objects: int) -> int:
    """Set how many objects there may be before the collector looks, and return how many it was."""
    before, *others = gc.get_threshold()
    gc.set_threshold(objects, *others)
    return before
