"""A queue of bytes that gives back what went in, in order, copying as little as it can.

Pieces are kept as they came. When there are many they are joined with their neighbours, so that a peer who sends one
byte at a time can't make us spend a hundred bytes of memory on each; every byte is copied a bounded number of times.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

__all__ = ["ByteQueue"]

_PIECES_MAX: Final = 128
_JOINED_BYTES: Final = 16384
"""Neighbours are joined up to this size."""


@mypyc_attr(acyclic=True, free_list_len=1)
class ByteQueue:
    """Bytes in order. ``size`` is how many; the first byte is ``_pieces[_head][_skip]``."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._head: i64 = 0
        self._skip: i64 = 0
        self._pieces_max: i64 = _PIECES_MAX
        self.size: i64 = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        length: i64 = len(data)
        if length == 0:
            return
        self.size += length
        self._pieces.append(data)
        if len(self._pieces) > self._pieces_max:
            self._join_small()

    def peek(self, offset: i64, count: i64) -> bytes:
        """Copy up to ``count`` bytes from ``offset`` on, and leave them."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        pieces = self._pieces
        index: i64 = self._head
        skip: i64 = self._skip + offset
        piece = pieces[index]
        length: i64 = len(piece)
        while skip >= length:
            skip -= length
            index += 1
            piece = pieces[index]
            length = len(piece)
        if length - skip >= count:
            if skip == 0 and length == count:
                return piece
            return piece[skip : skip + count]
        parts: list[bytes] = []
        while count > 0:
            piece = pieces[index]
            length = len(piece)
            end = min(length, skip + count)
            parts.append(piece if skip == 0 and end == length else piece[skip:end])
            count -= end - skip
            skip = 0
            index += 1
        return b"".join(parts)

    def take(self, count: i64) -> bytes:
        """Take up to ``count`` bytes from the front."""
        count = min(count, self.size)
        if count <= 0:
            return b""
        pieces = self._pieces
        if count == self.size and len(pieces) - self._head == 1 and self._skip == 0:
            data = pieces[self._head]
            pieces.clear()
            self._head = 0
            self.size = 0
            return data
        data = self.peek(0, count)
        self.drop(count)
        return data

    def drop(self, count: i64) -> None:
        """Forget ``count`` bytes from the front."""
        count = min(count, self.size)
        self.size -= count
        pieces = self._pieces
        head = self._head
        count += self._skip
        total: i64 = len(pieces)
        while head < total:
            length: i64 = len(pieces[head])
            if count < length:
                break
            count -= length
            pieces[head] = b""  # let the memory go now, the slot later
            head += 1
        self._skip = count
        if head >= total:
            pieces.clear()
            head = 0
            self._skip = 0
        elif head > 32 and 2 * head > total:
            del pieces[:head]
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
            if index == self._head and self._skip > 0:
                piece = piece[self._skip :]
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
        self._head = 0
        self._skip = 0
        self._pieces_max = max(_PIECES_MAX, 2 * len(joined))
