"""What a network in real time asks of the machine."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Pace"]


class Pace(Protocol):
    """The machine's clock, if a network's time is real, and what comes from outside of the network."""

    @property
    def now_ns(self) -> int:
        """The network's time."""

    @property
    def has_descriptors(self) -> bool:
        """Whether something may come from outside."""

    def begin(self) -> None:
        """Note that a run begins."""

    def look(self) -> bool:
        """Take what came from outside, without waiting."""

    def sleep(self, until_ns: int) -> None:
        """Sleep until a time or until something came, but not for long."""

    def carried_out(self, due_ns: int) -> None:
        """Note that what was due is carried out now."""
