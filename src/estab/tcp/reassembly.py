"""Text that came out of order, held until the gap before it is filled (RFC 9293 SHLD-31), and the SACK blocks it makes.

Pieces are kept sorted and apart: what overlaps a piece already held is cut off, as the first copy of a byte wins.
Bytes are bounded by the receive window, pieces by ``Config.ofo_segments_max``; what is over is dropped and will be
sent again. Runs of pieces without a gap between them are the SACK blocks; they are kept apart too, so that telling
them costs nothing.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.buffers import ByteQueue

__all__ = ["Reassembly"]


class Piece:
    """Bytes at a place: ``data`` lies at ``seq`` to ``end`` (unwrapped)."""

    def __init__(self, seq: i64, end: i64, data: bytes) -> None:
        self.seq = seq
        self.end = end
        self.data = data


class Run:
    """A stretch without a gap, ``seq`` to ``end``: one SACK block."""

    def __init__(self, seq: i64, end: i64) -> None:
        self.seq = seq
        self.end = end


class Reassembly:
    """The out-of-order queue of one connection. ``size_bytes`` is what it holds."""

    def __init__(self, pieces_max: i64) -> None:
        self._pieces: list[Piece] = []
        self._runs: list[Run] = []
        self._recent: list[Run] = []
        """The same runs, the one that changed last first."""
        self._pieces_max = pieces_max
        self.size_bytes: i64 = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, seq: i64, data: bytes) -> bool:
        """Hold ``data`` at ``seq``; only the parts not yet held are stored. ``False``: the queue is full, nothing was
        kept.
        """
        end: i64 = seq + len(data)
        pieces = self._pieces
        index = self._find(seq)
        if index == len(pieces) or pieces[index].seq >= end:
            if len(pieces) >= self._pieces_max:
                return False
            pieces.insert(index, Piece(seq, end, data))
            self.size_bytes += end - seq
        elif not self._fill_gaps(index, seq, end, data):
            return False
        self._join(seq, end)
        return True

    def add_fin(self, seq: i64) -> None:
        """Tell in the SACK blocks that the FIN at ``seq`` is here: it takes a number, and holds no byte."""
        self._join(seq, seq + 1)

    def is_empty(self) -> bool:
        """Tell whether nothing is held, neither bytes nor the FIN."""
        return len(self._runs) == 0

    def holds(self, seq: i64, end: i64) -> bool:
        """Tell whether all of ``seq`` to ``end`` is held already."""
        index = self._find_run(seq)
        if index == len(self._runs):
            return False
        run = self._runs[index]
        return run.seq <= seq and end <= run.end

    def touch(self, seq: i64) -> None:
        """Let the run at ``seq`` be told first: a segment for it has just come again (RFC 2018 section 4)."""
        index = self._find_run(seq)
        if index < len(self._runs):
            run = self._runs[index]
            self._recent.remove(run)
            self._recent.insert(0, run)

    def take_into(self, queue: ByteQueue, rcv_nxt: i64) -> i64:
        """Move what now follows ``rcv_nxt`` into ``queue``, and drop what lies before; returns the new RCV.NXT."""
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
            while self._runs and self._runs[0].seq <= rcv_nxt:
                self._recent.remove(self._runs.pop(0))
        return rcv_nxt

    def blocks(self, blocks_max: i64) -> list[int]:
        """Give the SACK blocks to report: left, right, left, right …, the one that changed last first.

        RFC 2018 section 4.
        """
        result: list[int] = []
        for run in self._recent:
            if len(result) >= 2 * blocks_max:
                break
            result.append(run.seq)
            result.append(run.end)
        return result

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

    def _find_run(self, seq: i64) -> i64:
        """Give the index of the first run that ends after ``seq``."""
        low: i64 = 0
        high: i64 = len(self._runs)
        while low < high:
            middle = (low + high) // 2
            if self._runs[middle].end <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _fill_gaps(self, index: i64, seq: i64, end: i64, data: bytes) -> bool:
        """Store the parts of ``data`` that lie between pieces, from the piece at ``index`` on; all of them or none."""
        pieces = self._pieces
        new: list[Piece] = []
        at: i64 = seq
        last = index
        while at < end:
            if last == len(pieces) or pieces[last].seq >= end:
                new.append(Piece(at, end, data[at - seq :]))
                break
            piece = pieces[last]
            if piece.seq > at:
                new.append(Piece(at, piece.seq, data[at - seq : piece.seq - seq]))
            at = piece.end
            last += 1
        if len(pieces) + len(new) > self._pieces_max:
            return False
        for piece in new:
            self.size_bytes += piece.end - piece.seq
            while index < len(pieces) and pieces[index].seq < piece.seq:
                index += 1
            pieces.insert(index, piece)
        return True

    def _join(self, seq: i64, end: i64) -> None:
        """Let ``seq`` to ``end``, now held, be one run with all that it touches, and the one that changed last."""
        first = self._find_run(seq - 1)
        last = first
        while last < len(self._runs) and self._runs[last].seq <= end:
            last += 1
        if first == last:
            run = Run(seq, end)
            self._runs.insert(first, run)
        else:
            run = self._runs[first]
            run.seq = min(run.seq, seq)
            run.end = max(end, self._runs[last - 1].end)
            self._recent.remove(run)
            if last - first > 1:
                for merged in self._runs[first + 1 : last]:
                    self._recent.remove(merged)
                del self._runs[first + 1 : last]
        self._recent.insert(0, run)
