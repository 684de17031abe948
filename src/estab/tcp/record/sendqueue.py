"""Text that was written and not sent, in pieces.

A piece is what Linux keeps in one buffer of its write queue: writes fill it up to a goal, and it leaves at once if the
windows allow. Its end is where PSH may stand, and where text of the next write may not follow in the same segment
(MSG_EOR). ``plan`` takes text off the pieces into *bursts*: what was decided to leave now, one super-segment each.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.tcp.record.buffers import ByteQueue

__all__ = ["Piece", "SendQueue"]

_PIECE_BYTES: Final = 64
"""What the record of a piece takes."""


@mypyc_attr(acyclic=True, free_list_len=1)
class Piece:
    """So many bytes; ``is_pushed``: PSH at the end; ``is_closed``: nothing may join it (MSG_EOR)."""

    def __init__(self, size: i64, *, is_pushed: bool) -> None:
        self.size = size
        self.is_pushed = is_pushed
        self.is_closed: bool = False
        self.planned: i64 = 0
        """Bytes of it that were planned already: they count no more in ``size``."""


class SendQueue:
    """``size`` bytes, of which the first ``planned`` stand in ``bursts`` and the rest in ``pieces``, in order.

    ``pieces`` from ``head`` on count, and never hold an empty one.
    """

    def __init__(self) -> None:
        self.size: i64 = 0
        self.planned: i64 = 0
        self.pieces: list[Piece] = []
        self.head: i64 = 0
        self.bursts: list[Piece] = []
        self.burst_head: i64 = 0
        self._text = ByteQueue()

    def memory_bytes(self) -> i64:
        """Count the memory that all takes, with the bytes that are still to be stored."""
        pieces: i64 = len(self.pieces) - self.head + len(self.bursts) - self.burst_head
        return max(self._text.memory_bytes(), self.size) + pieces * _PIECE_BYTES

    # --- writing

    def tail(self) -> Piece | None:
        """Return the piece that text may join, or ``None``."""
        if self.head >= len(self.pieces):
            return None
        return self.pieces[-1]

    def begin_piece(self) -> Piece:
        """Begin a piece after all others; ``extend`` fills it."""
        piece = Piece(0, is_pushed=False)
        self.pieces.append(piece)
        return piece

    def extend(self, piece: Piece, count: i64) -> None:
        """Say that ``count`` bytes more belong to the last piece; ``store`` brings them."""
        piece.size += count
        self.size += count

    def store(self, data: bytes, start: i64, end: i64) -> None:
        """Take the bytes that ``extend`` told of: ``data[start:end]``, which is not copied if it is all of ``data``."""
        if end - start == len(data):
            self._text.append(data)
        else:
            self._text.append(data[start:end])

    def share(self, data: bytes, start: i64, end: i64) -> None:
        """Take the same, never copied: the caller keeps ``data`` in any case."""
        self._text.share(data, start, end)

    def append(self, data: bytes) -> None:
        """Add bytes in a piece of their own that leaves at once, as the text of a SYN does (Fast Open)."""
        self.extend(self.begin_piece(), len(data))
        self._text.append(data)
        self.plan(len(data), is_pushed=True)

    # --- sending

    def first(self) -> Piece | None:
        """Return the first piece that is not planned yet, or ``None``."""
        if self.head >= len(self.pieces):
            return None
        return self.pieces[self.head]

    def has_one_piece(self) -> bool:
        """Tell whether the first piece is the last, too."""
        return self.head + 1 >= len(self.pieces)

    def grow_first(self, wanted: i64) -> bool:
        """Fill the first piece to ``wanted`` bytes from those after it, as far as it may be joined.

        Returns whether it has so many now.
        """
        pieces = self.pieces
        first = pieces[self.head]
        while first.size < wanted and not first.is_closed and self.head + 1 < len(pieces):
            second = pieces[self.head + 1]
            count = min(wanted - first.size, second.size)
            second.size -= count
            if second.size > 0:
                first.size += count
                return True
            second.size = first.size + count
            second.is_pushed = second.is_pushed or first.is_pushed
            self._drop_first()
            first = second
        return first.size >= wanted

    def plan(self, count: i64, *, is_pushed: bool) -> None:
        """Take ``count`` bytes of the first piece into a burst. ``is_pushed``: PSH whatever the piece says."""
        first = self.pieces[self.head]
        if count >= first.size:
            self._drop_first()
            is_pushed = is_pushed or first.is_pushed
            count = first.size
        else:
            first.size -= count
            first.planned += count
        self.bursts.append(Piece(count, is_pushed=is_pushed))
        self.planned += count

    def next_burst(self) -> Piece | None:
        """Return the burst that leaves next, or ``None``."""
        if self.planned == 0:
            return None
        return self.bursts[self.burst_head]

    def take(self, count: i64) -> tuple[bytes, i64]:
        """Take ``count`` bytes of the next burst, no more than it has: bytes that hold them, and where they begin."""
        burst = self.bursts[self.burst_head]
        burst.size -= count
        self.planned -= count
        self.size -= count
        if burst.size == 0:
            self.burst_head += 1
            if self.burst_head >= len(self.bursts):
                self.bursts.clear()
                self.burst_head = 0
        return self._text.take_part(count)

    def give_back(self, data: bytes, start: i64, count: i64, *, is_pushed: bool) -> None:
        """Put ``count`` bytes of ``data`` from ``start`` on before all others again, and take back what was planned:
        each burst is a piece once more.
        """
        pieces = [Piece(count, is_pushed=is_pushed)]
        pieces.extend(self.bursts[self.burst_head :])
        pieces.extend(self.pieces[self.head :])
        text = ByteQueue()
        text.share(data, start, start + count)
        text.append(self._text.take(self._text.size))
        self.pieces = pieces
        self.head = 0
        self.bursts = []
        self.burst_head = 0
        self.planned = 0
        self.size += count
        self._text = text

    def _drop_first(self) -> None:
        self.head += 1
        total: i64 = len(self.pieces)
        if self.head >= total:
            self.pieces.clear()
            self.head = 0
        elif self.head > 32 and 2 * self.head > total:
            del self.pieces[: self.head]
            self.head = 0
