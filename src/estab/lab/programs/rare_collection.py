"""Python's garbage collector looks less often while a network is open.

It looks whenever some hundreds of objects more were made than released, and now and then at all objects that there are
(``gc.get_threshold``). A network makes hundreds of objects for each host and each program, which live as long as it
does. So the collector found nothing, and took a third of the time of a thousand hosts, and half of that of ten
thousand.

- While a network is open the collector looks after 50,000 objects. What programs leave in cycles is still released.
- A threshold that is higher already, or 0 (no collections), stays. So does one that is set meanwhile.
- The threshold is put back when the last network is released. A network that is dropped is released at once: nothing
  in it refers to itself in a circle. If it were put back earlier, at the network's close, the collector would look at
  all its objects just before they are released.
- If one is kept that is closed, as the last, the threshold is put back when the collector looks the next time.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["OBJECTS", "RareCollection"]

OBJECTS: Final = 50_000
"""So many objects more are made than released before the collector looks."""


class RareCollection:
    """Lets the collector look rarely, from its making until it is released. Several may overlap."""

    _open = 0
    """How many are in use; and how many there are."""
    _kept = 0
    _before = 0
    """The threshold to put back; 0: nothing was changed."""

    def __init__(self) -> None:
        self._is_ended = False
        if RareCollection._open == 0 and 0 < gc.get_threshold()[0] < OBJECTS:
            RareCollection._before = _exchange(OBJECTS)
            if _on_collection not in gc.callbacks:
                gc.callbacks.append(_on_collection)
        RareCollection._open += 1
        RareCollection._kept += 1

    def end(self) -> None:
        """Need it no more. Idempotent."""
        if not self._is_ended:
            self._is_ended = True
            RareCollection._open -= 1

    def __del__(self) -> None:
        self.end()
        RareCollection._kept -= 1
        if RareCollection._kept <= 0:
            self.put_back()

    @staticmethod
    def put_back() -> None:
        """Let the collector look as often as before, unless that was changed meanwhile."""
        before, RareCollection._before = RareCollection._before, 0
        if before and gc.get_threshold()[0] == OBJECTS:
            _exchange(before)


def _on_collection(phase: str, info: dict[str, int]) -> None:
    if RareCollection._before and RareCollection._open <= 0:
        RareCollection.put_back()


def _exchange(objects: int) -> int:
    """Set how many objects there may be before the collector looks, and return how many it was."""
    before, *others = gc.get_threshold()
    gc.set_threshold(objects, *others)
    return before
