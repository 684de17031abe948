"""A queue of bytes that gives back what went in, in order, without copying more than once.

Large pieces are kept as they came; small ones are gathered, so that a peer who sends one byte at a time can't make us
spend a hundred bytes of memory on each.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

__all__ = ["ByteQueue"]

_GATHER_BYTES: Final = 2048
"""Pieces shorter than this are gathered with their neighbours, up to this size."""


class ByteQueue:
    """Bytes in order. ``size`` is how many; the first byte is ``_pieces[_head][_skip]``."""

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self._head: i64 = 0
        self._skip: i64 = 0
        self.size: i64 = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        length: i64 = len(data)
        if length == 0:
            return
        self.size += length
        if length < _GATHER_BYTES and len(self._pieces) > self._head:
            last = self._pieces[-1]
            if len(last) + length <= _GATHER_BYTES:
                if isinstance(last, bytearray):
                    last += data
                else:
                    gathered = bytearray(last)
                    gathered += data
                    self._pieces[-1] = gathered
                return
        self._pieces.append(data)

    def peek(self, offset: i64, count: i64) -> bytes:
        """Copy up to ``count`` bytes from ``offset`` on, and leave them."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        index: i64 = self._head
        skip: i64 = self._skip + offset
        while skip >= len(self._pieces[index]):
            skip -= len(self._pieces[index])
            index += 1
        piece = self._pieces[index]
        if len(piece) - skip >= count:
            return _cut(piece, skip, skip + count)
        parts: list[bytes] = []
        while count > 0:
            piece = self._pieces[index]
            part = _cut(piece, skip, min(len(piece), skip + count))
            parts.append(part)
            count -= len(part)
            skip = 0
            index += 1
        return b"".join(parts)

    def take(self, count: i64) -> bytes:
        """Take up to ``count`` bytes from the front."""
        count = min(count, self.size)
        if count <= 0:
            return b""
        first = self._pieces[self._head]
        if self._skip == 0 and len(first) == count and isinstance(first, bytes):
            self._pieces[self._head] = b""  # let the memory go now, the slot later
            self._head += 1
            self.size -= count
            self._trim()
            return first
        data = self.peek(0, count)
        self.drop(count)
        return data

    def drop(self, count: i64) -> None:
        """Forget ``count`` bytes from the front."""
        count = min(count, self.size)
        self.size -= count
        count += self._skip
        while self._head < len(self._pieces) and count >= len(self._pieces[self._head]):
            count -= len(self._pieces[self._head])
            self._pieces[self._head] = b""
            self._head += 1
        self._skip = count
        self._trim()

    def _trim(self) -> None:
        head = self._head
        if head >= len(self._pieces):
            self._pieces.clear()
            self._head = 0
            self._skip = 0
        elif head > 32 and 2 * head > len(self._pieces):
            del self._pieces[:head]
            self._head = 0


def _cut(piece: bytes | bytearray, start: i64, end: i64) -> bytes:
    if isinstance(piece, bytes):
        if start == 0 and end == len(piece):
            return piece
        return piece[start:end]
    return bytes(piece[start:end])
