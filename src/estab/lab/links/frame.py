"""A frame on a link, what its stages note of it, and what takes it at the end of its way.

- Where nothing can damage a segment its checksum has no use: its sender leaves it out (``lacks_checksum``), and its
  receiver does not verify it. Two passes over all text are saved. As on Linux between two namespaces.
- Nobody sees that. What looks at a frame, or changes it, takes its ``octets``: those that a cable would carry.

Compiled with the core.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import i64, mypyc_attr

from estab.wire.offload import finish_checksum

__all__ = ["Frame", "FunctionReceiver", "Receiver"]


@mypyc_attr(acyclic=True)
class Frame:
    """A frame. ``data`` is as long as its ``octets``; its TCP checksum is not in it if ``lacks_checksum``."""

    def __init__(self, data: bytes, lacks_checksum: bool = False) -> None:
        self.data: bytes = data
        self.lacks_checksum: bool = lacks_checksum
        self.since_ns: i64 = 0
        """Since when it waits for the link's rate."""
        self.due_ns: i64 = 0
        """When it arrives."""
        self.late_ns: i64 = 0
        """How much later that is than without jitter."""
        self.order: i64 = 0
        """Its place in the agenda, among all of the instant at which it arrives."""
        self.number: i64 = 0
        """Which one it is of those that flew over its link."""
        self.is_told: bool = False
        """It was told that another overtakes it."""
        self.is_gone: bool = False
        """A rule took it out, or the cable was cut: it keeps its place, and goes no further."""

    def octets(self) -> bytes:
        """Return it as a cable carries it. It has its checksum from now on."""
        if self.lacks_checksum:
            self.data = finish_checksum(self.data)
            self.lacks_checksum = False
        return self.data

    def copy(self) -> Frame:
        """Make another one of the same bytes."""
        return Frame(self.data, self.lacks_checksum)


@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver:
    """What is at the end of a link."""

    def arrive(self, frame: Frame) -> None:
        """Take a frame."""
        raise NotImplementedError


class FunctionReceiver(Receiver):
    """A function that takes the octets of each frame."""

    def __init__(self, function: Callable[[bytes], object]) -> None:
        self._function: Callable[[bytes], object] = function

    def arrive(self, frame: Frame) -> None:
        """Pass the frame on."""
        self._function(frame.octets())
