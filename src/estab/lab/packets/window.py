"""Is a segment within what its connection may send? What connection tracking asks of each segment.

- The bounds are those of Linux's ``tcp_in_window`` (after van Rooij, Real Stateful TCP Packet Filtering): a box sees
  both directions, and knows from each side's acknowledgments and windows what the other may send.
- A segment that is not within them is INVALID: a late duplicate, or a forged one.
"""

from __future__ import annotations

from typing import Final

from estab.wire import tcp

__all__ = ["Window"]

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
_ACK_WINDOW_BYTES: Final = 66_000
"""How old an acknowledgment may be at least, in bytes (Linux's MAXACKWINCONST)."""


def _before(a: int, b: int) -> bool:
    return (a - b) & _MASK >= _HALF


class _Side:
    """What is known of one side: how far it has sent, how far it may send, and the largest window that it offered."""

    __slots__ = ("end", "has_scale", "max_end", "max_window", "next_wanted", "scale")

    def __init__(self) -> None:
        self.end = 0
        self.max_end = 0
        self.max_window = 0
        """0: it has sent nothing yet."""
        self.scale = 0
        self.has_scale = False
        self.next_wanted = -1
        """The last acknowledgment that it sent: the number that a reset to it must have; -1 for none."""


class Window:
    """Both sides of one connection."""

    __slots__ = ("_sides",)

    def __init__(self) -> None:
        self._sides = (_Side(), _Side())

    def next_wanted(self, direction: int) -> int:
        """Give the number that the sender of a direction expects next; -1 if that is not known."""
        return self._sides[direction].next_wanted

    def end(self, direction: int) -> int:
        """Give the number after the last that the sender of a direction sent."""
        return self._sides[direction].end

    def admits(self, direction: int, segment: tcp.Segment) -> bool:
        """Tell whether a segment of a direction is within bounds, and learn from one that is."""
        sender, receiver = self._sides[direction], self._sides[1 - direction]
        flags, seq, window = segment.flags, int(segment.seq), segment.wnd
        end = (seq + tcp.segment_length(segment)) & _MASK
        if sender.max_window == 0 or (flags & tcp.SYN and _before(sender.end, end)):
            self._begin(sender, receiver, segment, end)
            if flags & tcp.SYN and not flags & tcp.ACK:
                return True
        has_ack = bool(flags & tcp.ACK) and not (flags & tcp.RST and segment.ack == 0)
        ack = int(segment.ack) if has_ack else receiver.end
        sack = _furthest(ack, segment) if has_ack else ack
        if flags & tcp.RST and seq == 0 and not has_ack:
            seq = end = sender.end
        if not self._is_within(sender, receiver, seq, end, sack):
            return False
        if has_ack:
            sender.next_wanted = ack
        self._learn(sender, receiver, flags, end, ack, sack, window)
        return True

    @staticmethod
    def _begin(sender: _Side, receiver: _Side, segment: tcp.Segment, end: int) -> None:
        """Take the first segment of a side as it is, or a SYN that begins anew."""
        sender.end = sender.max_end = end
        if segment.flags & tcp.SYN:
            sender.has_scale, sender.scale = segment.wscale >= 0, max(0, segment.wscale)
            if segment.flags & tcp.ACK and not (sender.has_scale and receiver.has_scale):
                sender.scale = receiver.scale = 0
            sender.max_window = max(segment.wnd, 1)
        else:  # in the middle of a connection
            sender.max_window = max(segment.wnd << sender.scale, 1)
            sender.max_end = (end + sender.max_window) & _MASK
            if receiver.max_window == 0:
                receiver.end = receiver.max_end = int(segment.ack)

    @staticmethod
    def _is_within(sender: _Side, receiver: _Side, seq: int, end: int, sack: int) -> bool:
        if not _before(seq, (sender.max_end + 1) & _MASK):
            return False  # beyond what the receiver offered
        lowest = (sender.end - receiver.max_window - 1) & _MASK
        if receiver.max_window and not _before(lowest, end):
            return False  # all of it is old
        if not _before(sack, (receiver.end + 1) & _MASK):
            return False  # acknowledges what was never sent
        oldest = (receiver.end - max(sender.max_window, _ACK_WINDOW_BYTES) - 1) & _MASK
        return _before(oldest, sack)

    @staticmethod
    def _learn(sender: _Side, receiver: _Side, flags: int, end: int, ack: int, sack: int, window: int) -> None:
        if not flags & tcp.SYN:
            window <<= sender.scale
        sender.max_window = max(sender.max_window, window + ((sack - ack) & _MASK))
        if _before(sender.end, end):
            sender.end = end
        if receiver.max_window and _before(sender.max_end, end):
            receiver.max_window += (end - sender.max_end) & _MASK
        offered = (sack + max(window, 1)) & _MASK
        if not _before(offered, receiver.max_end):
            receiver.max_end = offered


def _furthest(ack: int, segment: tcp.Segment) -> int:
    """Give the highest number that a segment acknowledges, by SACK too."""
    for edge in (segment.sack or [])[1::2]:
        if _before(ack, edge):
            ack = edge
    return ack
