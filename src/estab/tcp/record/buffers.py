"""A queue of bytes: what went in comes out in order, copied as little as possible.

Pieces are kept as they came. When there are many they are joined with their neighbours, so that a peer that sends one
byte at a time can't make us spend a hundred bytes of memory on each; every byte is copied a bounded number of times.
What is taken may be given as a part of a piece (``take_part``), which is then not copied at all.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

__all__ = ["ByteQueue"]

_PIECES_MAX: Final = 128
_JOINED_BYTES: Final = 16384
"""Neighbours are joined up to this size."""
_PIECE_BYTES: Final = 64
"""What a piece takes beside its bytes: the head of a ``bytes``, and two places in lists."""
_TAIL_SHIFT: Final = 32
_SKIP_MASK: Final = 0xFFFFFFFF


@mypyc_attr(acyclic=True)
class _Later:
    """The pieces after the first, from ``head`` on, and the skips of each."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.skips: list[int] = []
        self.head: i64 = 0


@mypyc_attr(acyclic=True, free_list_len=1)
class ByteQueue:
    """Bytes in order. ``size`` is how many. Most queues never hold more than one piece, ``_first``.

    Of the skips of a piece, the low 32 bits say how many bytes do not count at its beginning, the others how many at
    its end.
    """

    def __init__(self) -> None:
        self._first: bytes = b""
        self._first_skips: i64 = 0
        self._later: _Later | None = None
        self._pieces_max: i64 = _PIECES_MAX
        self.size: i64 = 0
        self._held: i64 = 0

    def memory_bytes(self) -> i64:
        """Count the memory that all takes: pieces count whole, also those of which some was taken or never counted."""
        if self.size == 0:
            return 0
        count: i64 = 1
        later = self._later
        if later is not None:
            count += len(later.pieces) - later.head
        return self._held + count * _PIECE_BYTES

    def collapse(self) -> None:
        """Join all small pieces now: what is kept beside the bytes themselves becomes small."""
        if self.size > 0:
            self._join_small()

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        length: i64 = len(data)
        if length > 0:
            self._push(data, 0, length)

    def append_part(self, data: bytes, start: i64, end: i64) -> None:
        """Add ``data[start:end]`` at the end, if it is most of ``data`` without copying it."""
        length = end - start
        if length <= 0:
            return
        if start > length or end != len(data):
            self._push(data[start:end], 0, length)
        else:
            self._push(data, start, length)

    def share(self, data: bytes, start: i64, end: i64) -> None:
        """Add ``data[start:end]`` at the end without copying it: the caller keeps ``data`` in any case."""
        if end > start:
            self._push(data, start | (len(data) - end) << _TAIL_SHIFT, end - start)

    def _push(self, data: bytes, skips: i64, length: i64) -> None:
        held: i64 = len(data) - (skips >> _TAIL_SHIFT)
        if self.size == 0:
            self._first = data
            self._first_skips = skips
            self.size = length
            self._held = held
            return
        self.size += length
        self._held += held
        later = self._later
        if later is None:
            later = self._later = _Later()
        later.pieces.append(data)
        later.skips.append(skips)
        if len(later.pieces) >= self._pieces_max:
            self._join_small()

    def peek(self, offset: i64, count: i64) -> bytes:
        """Copy up to ``count`` bytes from ``offset`` on, and leave them."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        piece = self._first
        begin = self._first_skips & _SKIP_MASK
        end: i64 = len(piece) - (self._first_skips >> _TAIL_SHIFT)
        later = self._later
        index: i64 = -1
        if later is not None:
            index += later.head
        while offset >= end - begin:
            assert later is not None
            offset -= end - begin
            index += 1
            piece = later.pieces[index]
            skips: i64 = later.skips[index]
            begin = skips & _SKIP_MASK
            end = len(piece) - (skips >> _TAIL_SHIFT)
        begin += offset
        if end - begin < count:
            assert later is not None
            return _joined(piece[begin:end], later, index + 1, count - (end - begin))
        if begin == 0 and len(piece) == count:
            return piece
        return piece[begin : begin + count]

    def take(self, count: i64) -> bytes:
        """Take up to ``count`` bytes from the front."""
        data = self.peek(0, count)
        self.drop(count)
        return data

    def take_part(self, count: i64) -> tuple[bytes, i64]:
        """Take ``count`` bytes from the front, no more than there are: bytes that hold them, and where they begin."""
        if self.size > 0:
            piece = self._first
            begin = self._first_skips & _SKIP_MASK
            if len(piece) - (self._first_skips >> _TAIL_SHIFT) - begin >= count:
                self.drop(count)
                return piece, begin
        return self.take(count), 0

    def drop(self, count: i64) -> None:
        """Forget ``count`` bytes from the front."""
        if count >= self.size:
            self.size = 0
            self._held = 0
            self._first = b""
            self._first_skips = 0
            self._later = None
            return
        self.size -= count
        while True:
            held: i64 = len(self._first) - (self._first_skips >> _TAIL_SHIFT)
            left = held - (self._first_skips & _SKIP_MASK)
            if count < left:
                break
            count -= left
            self._held -= held
            self._take_next()
        self._first_skips += count

    def _take_next(self) -> None:
        """Let the next piece be the first."""
        later = self._later
        assert later is not None
        head = later.head
        self._first = later.pieces[head]
        self._first_skips = later.skips[head]
        later.pieces[head] = b""  # release the memory later on, the place after that
        head += 1
        if head == len(later.pieces):
            self._later = None
        elif head > 32 and 2 * head > len(later.pieces):
            del later.pieces[:head]
            del later.skips[:head]
            head = 0
        later.head = head

    def _join_small(self) -> None:
        """Join neighbouring pieces, and allow twice as many as are left before the next time."""
        joined: list[bytes] = []
        run: list[bytes] = []
        run_bytes: i64 = 0
        later = self._later
        piece = self._first
        skips = self._first_skips
        index: i64 = 0
        if later is not None:
            index = later.head
        while True:
            if skips > 0:
                piece = piece[skips & _SKIP_MASK : len(piece) - (skips >> _TAIL_SHIFT)]
            length: i64 = len(piece)
            if run_bytes + length > _JOINED_BYTES and run_bytes > 0:
                joined.append(b"".join(run))
                run.clear()
                run_bytes = 0
            run.append(piece)
            run_bytes += length
            if later is None or index >= len(later.pieces):
                break
            piece = later.pieces[index]
            skips = later.skips[index]
            index += 1
        joined.append(b"".join(run))
        self._first = joined.pop(0)
        self._first_skips = 0
        self._later = None
        self._held = self.size
        self._pieces_max = max(_PIECES_MAX, 2 * (len(joined) + 1))
        if joined:
            later = self._later = _Later()
            later.pieces = joined
            later.skips = [0] * len(joined)


def _joined(first: bytes, later: _Later, index: i64, count: i64) -> bytes:
    """Join ``first`` and the next ``count`` bytes, which begin with piece ``index``."""
    parts = [first]
    while True:
        piece = later.pieces[index]
        skips: i64 = later.skips[index]
        begin = skips & _SKIP_MASK
        end: i64 = min(len(piece) - (skips >> _TAIL_SHIFT), begin + count)
        parts.append(piece if begin == 0 and end == len(piece) else piece[begin:end])
        count -= end - begin
        if count <= 0:
            return b"".join(parts)
        index += 1
