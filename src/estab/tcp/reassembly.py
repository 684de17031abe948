"""Text that came out of order, held until the gap before it is filled (RFC 9293 SHLD-31), and the SACK blocks it makes.

Pieces are kept sorted and apart: what overlaps a piece already held is cut off, as the first copy of a byte wins. Bytes are
bounded by the receive window, pieces by ``Config.ofo_segments_max``; what is over is dropped and will be sent again.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.buffers import ByteQueue

__all__ = ["Reassembly"]

_RECENT_MAX: Final = 4


class Piece:
    """Bytes at a place: ``data`` lies at ``seq`` to ``end`` (unwrapped)."""

    def __init__(self, seq: i64, end: i64, data: bytes) -> None:
        self.seq = seq
        self.end = end
        self.data = data


class Reassembly:
    """The out-of-order queue of one connection. ``size_bytes`` is what it holds."""

    def __init__(self, pieces_max: i64) -> None:
        self._pieces: list[Piece] = []
        self._recent: list[int] = []
        self._pieces_max = pieces_max
        self.size_bytes: i64 = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, seq: i64, data: bytes) -> bool:
        """Hold ``data`` at ``seq``. ``False``: the queue is full and nothing was kept.

        Only the parts not yet held are stored.
        """
        end: i64 = seq + len(data)
        index = self._find(seq)
        self._remember(seq)
        at: i64 = seq
        while at < end:
            piece = self._pieces[index] if index < len(self._pieces) else None
            if piece is not None and piece.seq <= at:
                at = max(at, piece.end)
                index += 1
                continue
            until = end if piece is None else min(end, piece.seq)
            if len(self._pieces) >= self._pieces_max:
                return False
            part = data if at == seq and until == end else data[at - seq : until - seq]
            self._pieces.insert(index, Piece(at, until, part))
            self.size_bytes += until - at
            index += 1
            at = until
        return True

    def holds(self, seq: i64, end: i64) -> bool:
        """Tell whether all of ``seq`` to ``end`` is held already."""
        for piece in self._pieces:
            if piece.seq > seq:
                return False
            if piece.end > seq:
                seq = piece.end
                if seq >= end:
                    return True
        return False

    def take_into(self, queue: ByteQueue, rcv_nxt: i64) -> i64:
        """Move what now follows ``rcv_nxt`` into ``queue``; returns the new RCV.NXT."""
        count: i64 = 0
        for piece in self._pieces:
            if piece.seq > rcv_nxt:
                break
            count += 1
            self.size_bytes -= piece.end - piece.seq
            if piece.end > rcv_nxt:
                queue.append(piece.data if piece.seq == rcv_nxt else piece.data[rcv_nxt - piece.seq :])
                rcv_nxt = piece.end
        if count > 0:
            del self._pieces[:count]
        return rcv_nxt

    def blocks(self, blocks_max: i64) -> list[int]:
        """Give the SACK blocks to report: left, right, left, right …, the one that changed last first (RFC 2018 section 4)."""
        result: list[int] = []
        for seq in self._recent:
            block = self._block_at(seq)
            if block is None or _has(result, block.seq):
                continue
            result.append(block.seq)
            result.append(block.end)
            if len(result) >= 2 * blocks_max:
                break
        return result

    def prune(self) -> i64:
        """Give up the piece furthest ahead to make room; returns the bytes given up."""
        if not self._pieces:
            return 0
        piece = self._pieces.pop()
        size = piece.end - piece.seq
        self.size_bytes -= size
        return size

    def _find(self, seq: i64) -> i64:
        """Give the index of the first piece that ends after ``seq``."""
        low: i64 = 0
        high: i64 = len(self._pieces)
        while low < high:
            middle = (low + high) // 2
            if self._pieces[middle].end <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _remember(self, seq: i64) -> None:
        block = self._recent
        if seq in block:
            block.remove(seq)
        block.insert(0, seq)
        # Forget places that lie in the same block as a newer one, so that four distinct blocks can be told.
        if len(block) > 4 * _RECENT_MAX:
            block.pop()

    def _block_at(self, seq: i64) -> Piece | None:
        """Give the run of pieces without a gap around ``seq``, as one piece without data."""
        index = self._find(seq)
        if index >= len(self._pieces) or self._pieces[index].seq > seq:
            return None
        left = index
        while left > 0 and self._pieces[left - 1].end == self._pieces[left].seq:
            left -= 1
        right = index
        while right + 1 < len(self._pieces) and self._pieces[right].end == self._pieces[right + 1].seq:
            right += 1
        return Piece(self._pieces[left].seq, self._pieces[right].end, b"")


def _has(blocks: list[int], left: i64) -> bool:
    index: i64 = 0
    while index < len(blocks):
        if blocks[index] == left:
            return True
        index += 2
    return False
