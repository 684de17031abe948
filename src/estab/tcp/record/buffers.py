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


@mypyc_attr(acyclic=True, free_list_len=1)
class ByteQueue:
    """Bytes in order. ``size`` is how many. The first piece is ``_head``.

    Of piece ``i``, the low 32 bits of ``_skips[i]`` say how many bytes do not count at its beginning, the others how
    many at its end.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._skips: list[int] = []
        self._head: i64 = 0
        self._pieces_max: i64 = _PIECES_MAX
        self.size: i64 = 0
        self._held: i64 = 0

    def memory_bytes(self) -> i64:
        """Count the memory that all takes: pieces count whole, also those of which some was taken or never counted."""
        return self._held + (len(self._pieces) - self._head) * _PIECE_BYTES

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
        self.size += length
        self._held += len(data) - (skips >> _TAIL_SHIFT)
        self._pieces.append(data)
        self._skips.append(skips)
        if len(self._pieces) > self._pieces_max:
            self._join_small()

    def peek(self, offset: i64, count: i64) -> bytes:
        """Copy up to ``count`` bytes from ``offset`` on, and leave them."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        pieces = self._pieces
        index: i64 = self._head
        piece = pieces[index]
        skips: i64 = self._skips[index]
        begin = skips & _SKIP_MASK
        end: i64 = len(piece) - (skips >> _TAIL_SHIFT)
        while offset >= end - begin:
            offset -= end - begin
            index += 1
            piece = pieces[index]
            skips = self._skips[index]
            begin = skips & _SKIP_MASK
            end = len(piece) - (skips >> _TAIL_SHIFT)
        begin += offset
        if end - begin >= count:
            if begin == 0 and len(piece) == count:
                return piece
            return piece[begin : begin + count]
        return self._joined(index, begin, count)

    def _joined(self, index: i64, begin: i64, count: i64) -> bytes:
        """Join ``count`` bytes, from byte ``begin`` of piece ``index`` on, which that piece alone does not have."""
        parts: list[bytes] = []
        while True:
            piece = self._pieces[index]
            skips: i64 = self._skips[index]
            end: i64 = min(len(piece) - (skips >> _TAIL_SHIFT), begin + count)
            parts.append(piece if begin == 0 and end == len(piece) else piece[begin:end])
            count -= end - begin
            if count <= 0:
                return b"".join(parts)
            index += 1
            begin = self._skips[index] & _SKIP_MASK

    def take(self, count: i64) -> bytes:
        """Take up to ``count`` bytes from the front."""
        data = self.peek(0, count)
        self.drop(count)
        return data

    def take_part(self, count: i64) -> tuple[bytes, i64]:
        """Take ``count`` bytes from the front, no more than there are: bytes that hold them, and where they begin."""
        if self.size > 0:
            piece = self._pieces[self._head]
            skips: i64 = self._skips[self._head]
            begin = skips & _SKIP_MASK
            if len(piece) - (skips >> _TAIL_SHIFT) - begin >= count:
                self.drop(count)
                return piece, begin
        return self.take(count), 0

    def drop(self, count: i64) -> None:
        """Forget ``count`` bytes from the front."""
        count = min(count, self.size)
        self.size -= count
        pieces = self._pieces
        if self.size == 0:
            pieces.clear()
            self._skips.clear()
            self._head = 0
            self._held = 0
            return
        skips = self._skips
        head = self._head
        while True:
            cut: i64 = skips[head]
            held: i64 = len(pieces[head]) - (cut >> _TAIL_SHIFT)
            left = held - (cut & _SKIP_MASK)
            if count < left:
                break
            count -= left
            self._held -= held
            pieces[head] = b""  # release the memory now, the slot later
            head += 1
        skips[head] += count
        if head > 32 and 2 * head > len(pieces):
            del pieces[:head]
            del skips[:head]
            head = 0
        self._head = head

    def _join_small(self) -> None:
        """Join neighbouring pieces, and allow twice as many as are left before the next time."""
        joined: list[bytes] = []
        run: list[bytes] = []
        run_bytes: i64 = 0
        index: i64 = self._head
        while index < len(self._pieces):
            piece = self._pieces[index]
            skips: i64 = self._skips[index]
            if skips > 0:
                piece = piece[skips & _SKIP_MASK : len(piece) - (skips >> _TAIL_SHIFT)]
            index += 1
            length: i64 = len(piece)
            if run_bytes + length > _JOINED_BYTES and run_bytes > 0:
                joined.append(b"".join(run))
                run.clear()
                run_bytes = 0
            run.append(piece)
            run_bytes += length
        joined.append(b"".join(run))
        self._pieces = joined
        self._skips = [0] * len(joined)
        self._head = 0
        self._held = self.size
        self._pieces_max = max(_PIECES_MAX, 2 * len(joined))
