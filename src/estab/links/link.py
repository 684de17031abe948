"""``Link``: what carries packets. A link knows no host; whoever pumps the stack moves frames between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Link", "LinkFrame"]


@dataclass(frozen=True, slots=True)
class LinkFrame:
    """One frame of a link, and what the link's offload says of it.

    ``segment_bytes`` is the size into which a TCP super-segment is to be cut (0: an ordinary frame).
    ``is_partial_checksum`` says that the transport checksum holds only the pseudo-header's sum.
    """

    data: bytes
    segment_bytes: int = 0
    is_partial_checksum: bool = False


class Link(Protocol):
    """A way for packets in and out, without blocking. ``mtu`` and ``segment_bytes_max`` are in bytes."""

    name: str
    mtu: int
    is_ethernet: bool
    """True: frames begin with an Ethernet header. False: with an IP header."""
    segment_bytes_max: int
    """Largest TCP super-segment the link takes whole; 0 where it has no such offload."""
    has_checksum_offload: bool

    def receive(self) -> LinkFrame | None:
        """Take the next frame that arrived, or ``None``."""

    def send(self, frame: LinkFrame) -> bool:
        """Send a frame. ``False``: the link is full now, try again when ``fileno`` is writable."""

    def fileno(self) -> int:
        """The descriptor to wait on, or -1 where the link has none."""

    def close(self) -> None:
        """Give the link back. Idempotent."""
