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


@mypyc_attr(acyclic=True, free_list_len=1)
class SendQueue:
    """``size`` bytes: the first ``planned`` stand in bursts, the rest in pieces, in order. None of both is empty.

    Mostly there is one piece or one burst. Others have a list, from ``_head`` on, which is ``None`` if there are none.
    """

    def __init__(self) -> None:
        self.size: i64 = 0
        self.planned: i64 = 0
        self._first: Piece | None = None
        self._others: list[Piece] | None = None
        self._head: i64 = 0
        self._burst: Piece | None = None
        self._bursts: list[Piece] | None = None
        """The bursts after the first."""
        self._burst_head: i64 = 0
        self._text = ByteQueue()

    def memory_bytes(self) -> i64:
        """Count the memory that all takes, with the bytes that are still to be stored."""
        count = self.piece_count()
        if self._burst is not None:
            count += 1
        bursts = self._bursts
        if bursts is not None:
            count += len(bursts) - self._burst_head
        return max(self._text.memory_bytes(), self.size) + count * _PIECE_BYTES

    def piece_count(self) -> i64:
        """Count the pieces."""
        count: i64 = 0
        if self._first is not None:
            count = 1
        others = self._others
        if others is not None:
            count += len(others) - self._head
        return count

    # --- writing

    def tail(self) -> Piece | None:
        """Return the piece that text may join, or ``None``."""
        others = self._others
        return self._first if others is None else others[-1]

    def begin_piece(self) -> Piece:
        """Begin a piece after all others; ``extend`` fills it."""
        piece = Piece(0, is_pushed=False)
        others = self._others
        if self._first is None:
            self._first = piece
        elif others is None:
            self._others = [piece]
        else:
            others.append(piece)
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
        return self._first

    def has_one_piece(self) -> bool:
        """Tell whether the first piece is the last, too."""
        return self._others is None

    def grow_first(self, wanted: i64) -> bool:
        """Fill the first piece to ``wanted`` bytes from those after it, as far as it may be joined.

        Returns whether it has so many now.
        """
        first = self._first
        assert first is not None
        while first.size < wanted and not first.is_closed and (others := self._others) is not None:
            second = others[self._head]
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
        first = self._first
        assert first is not None
        if count >= first.size:  # all of it: the piece becomes the burst
            self._drop_first()
            count = first.size
            first.planned = 0
            first.is_closed = False
            if is_pushed:
                first.is_pushed = True
        else:
            first.size -= count
            first.planned += count
            first = Piece(count, is_pushed=is_pushed)
        bursts = self._bursts
        if self._burst is None:
            self._burst = first
        elif bursts is None:
            self._bursts = [first]
        else:
            bursts.append(first)
        self.planned += count

    def push_last_burst(self) -> None:
        """Let PSH stand at the end of the last burst; there is one."""
        bursts = self._bursts
        burst = self._burst if bursts is None else bursts[-1]
        assert burst is not None
        burst.is_pushed = True

    def next_burst(self) -> Piece | None:
        """Return the burst that leaves next, or ``None``."""
        return self._burst

    def take(self, count: i64) -> tuple[bytes, i64]:
        """Take ``count`` bytes of the next burst, no more than it has: bytes that hold them, and where they begin."""
        burst = self._burst
        assert burst is not None
        burst.size -= count
        self.planned -= count
        self.size -= count
        if burst.size == 0:
            self._drop_burst()
        return self._text.take_part(count)

    def give_back(self, data: bytes, start: i64, count: i64, *, is_pushed: bool) -> None:
        """Put ``count`` bytes of ``data`` from ``start`` on before all others again, and take back what was planned:
        each burst is a piece once more.
        """
        others: list[Piece] = []
        if self._burst is not None:
            others.append(self._burst)
        if self._bursts is not None:
            others.extend(self._bursts[self._burst_head :])
        if self._first is not None:
            others.append(self._first)
        if self._others is not None:
            others.extend(self._others[self._head :])
        text = ByteQueue()
        text.share(data, start, start + count)
        text.append(self._text.take(self._text.size))
        self._first = Piece(count, is_pushed=is_pushed)
        self._others = others if others else None
        self._head = 0
        self._burst = None
        self._bursts = None
        self._burst_head = 0
        self.planned = 0
        self.size += count
        self._text = text

    def _drop_first(self) -> None:
        others = self._others
        if others is None:
            self._first = None
            return
        self._first = others[self._head]
        self._head += 1
        total: i64 = len(others)
        if self._head == total:
            self._others = None
            self._head = 0
        elif self._head > 32 and 2 * self._head > total:
            del others[: self._head]
            self._head = 0

    def _drop_burst(self) -> None:
        bursts = self._bursts
        if bursts is None:
            self._burst = None
            return
        self._burst = bursts[self._burst_head]
        self._burst_head += 1
        if self._burst_head == len(bursts):
            self._bursts = None
            self._burst_head = 0
