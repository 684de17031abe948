"""``Handler``: takes a host's events before its programs do. Services are one."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.units import NEVER

__all__ = ["Handler"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Handler:
    """Is told of descriptors with news, and of time. This base class takes nothing."""

    def on_event(self, fd: i64, now_ns: i64) -> bool:
        """Take the news of a descriptor, or say ``False``: it belongs to a program."""
        return False

    def on_deadline(self, now_ns: i64) -> None:
        """Do what is due by now. Calling it early does nothing."""

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` is to be called next; ``NEVER`` if nothing waits."""
        return NEVER
