"""A queue of bytes: what went in comes out in order, copied as little as possible.

Pieces are kept as they came. When there are many they are joined with their neighbours, so that a peer that sends one
byte at a time can't make us spend a hundred bytes of memory on each; every byte is copied a bounded number of times.
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


@mypyc_attr(acyclic=True, free_list_len=1)
class ByteQueue:
    """Bytes in order. ``size`` is how many. Piece ``i`` counts from its byte ``_skips[i]``; the first is ``_head``."""

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

    def _push(self, data: bytes, skip: i64, length: i64) -> None:
        self.size += length
        self._held += len(data)
        self._pieces.append(data)
        self._skips.append(skip)
        if len(self._pieces) > self._pieces_max:
            self._join_small()

    def peek(self, offset: i64, count: i64) -> bytes:
        """Copy up to ``count`` bytes from ``offset`` on, and leave them."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        pieces = self._pieces
        skips = self._skips
        index: i64 = self._head
        piece = pieces[index]
        begin: i64 = skips[index]
        length: i64 = len(piece)
        while offset >= length - begin:
            offset -= length - begin
            index += 1
            piece = pieces[index]
            begin = skips[index]
            length = len(piece)
        begin += offset
        if length - begin >= count:
            if begin == 0 and length == count:
                return piece
            return piece[begin : begin + count]
        parts: list[bytes] = []
        while count > 0:
            end = min(length, begin + count)
            parts.append(piece if begin == 0 and end == length else piece[begin:end])
            count -= end - begin
            if count > 0:
                index += 1
                piece = pieces[index]
                begin = skips[index]
                length = len(piece)
        return b"".join(parts)

    def take(self, count: i64) -> bytes:
        """Take up to ``count`` bytes from the front."""
        data = self.peek(0, count)
        self.drop(count)
        return data

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
            left: i64 = len(pieces[head]) - skips[head]
            if count < left:
                break
            count -= left
            self._held -= len(pieces[head])
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
            skip: i64 = self._skips[index]
            if skip > 0:
                piece = piece[skip:]
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
