"""Text that came out of order, held until the gap before it is filled (RFC 9293 SHLD-31), and its SACK blocks.

Pieces are kept sorted and apart: what overlaps a piece already held is cut off, as the first copy of a byte wins.
Memory is bounded by the receive buffer: bytes, and what each piece costs beside them. If more comes, what lies
farthest from RCV.NXT is dropped first (``prune``), as in Linux; it will be sent again. Runs of pieces without a gap
between them are the SACK blocks. They are kept in a list of their own, so that reporting them costs nothing.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.buffers import ByteQueue

__all__ = ["PIECE_BYTES", "Reassembly"]

PIECE_BYTES: Final = 256
"""What a piece counts beside its text: Linux's ``sk_buff``, and more than a piece takes here."""
_NO_FIN: Final = -1


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
        self.change: int = 0
        """Its key among the recent ones."""


class Reassembly:
    """The out-of-order queue of one connection. ``size_bytes`` is what it holds."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._runs: list[Run] = []
        self._recent: dict[int, Run] = {}
        """The same runs in the order of their last changes, so that the cost of a repeated segment does not depend on
        their number.
        """
        self._changes: int = 0
        self._fin_seq: i64 = _NO_FIN
        self.size_bytes: i64 = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def memory_bytes(self) -> i64:
        """Count the memory that all takes."""
        return self.size_bytes + len(self._pieces) * PIECE_BYTES

    def add(self, seq: i64, data: bytes) -> None:
        """Hold ``data`` at ``seq``; only the parts not yet held are stored. It makes one piece more at most."""
        end: i64 = seq + len(data)
        pieces = self._pieces
        index = self._find(seq)
        if index == len(pieces) or pieces[index].seq >= end:
            pieces.insert(index, Piece(seq, end, data))
            self.size_bytes += end - seq
        else:
            self._fill_gaps(index, seq, end, data)
        self._join(seq, end)

    def prune(self, beyond: i64, wanted: i64) -> bool:
        """Drop what lies farthest, but nothing that begins before ``beyond``, until ``wanted`` bytes are free.

        Returns whether anything was dropped.
        """
        pieces = self._pieces
        count: i64 = len(pieces)
        freed: i64 = 0
        while count > 0 and freed < wanted and pieces[count - 1].seq > beyond:
            count -= 1
            piece = pieces[count]
            self.size_bytes -= piece.end - piece.seq
            freed += piece.end - piece.seq + PIECE_BYTES
        if freed == 0:
            return False
        self._forget_from(pieces[count].seq)
        del pieces[count:]
        return True

    def add_fin(self, seq: i64) -> None:
        """Report in the SACK blocks that the FIN at ``seq`` is here: it takes a number, and holds no byte."""
        self._fin_seq = seq
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

    def first_overlap(self, seq: i64, end: i64) -> tuple[i64, i64]:
        """Return the first part of ``seq`` to ``end`` that is held already: left and right, equal if there is none."""
        index = self._find_run(seq)
        if index == len(self._runs):
            return seq, seq
        run = self._runs[index]
        left = max(run.seq, seq)
        return (left, min(run.end, end)) if left < end else (seq, seq)

    def touch(self, seq: i64) -> None:
        """Let the run at ``seq`` be reported first: a segment for it has just come again (RFC 2018 section 4)."""
        index = self._find_run(seq)
        if index < len(self._runs):
            self._put_last(self._runs[index])

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
            done: i64 = 0
            for run in self._runs:
                if run.seq > rcv_nxt:
                    break
                done += 1
                del self._recent[run.change]
            del self._runs[:done]
        return rcv_nxt

    def blocks(self, blocks_max: i64) -> list[int]:
        """Return the SACK blocks to report: left, right, left, right …, the one that changed last first.

        RFC 2018 section 4.
        """
        result: list[int] = []
        for run in reversed(self._recent.values()):
            if len(result) >= 2 * blocks_max:
                break
            result.append(run.seq)
            result.append(run.end)
        return result

    def _find(self, seq: i64) -> i64:
        """Return the index of the first piece that ends after ``seq``."""
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
        """Return the index of the first run that ends after ``seq``."""
        low: i64 = 0
        high: i64 = len(self._runs)
        while low < high:
            middle = (low + high) // 2
            if self._runs[middle].end <= seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _fill_gaps(self, index: i64, seq: i64, end: i64, data: bytes) -> None:
        """Store what ``data`` has between pieces, from the piece at ``index`` on, as one piece with those it meets.

        A piece that begins before or ends after it stays as it is. So a segment that fills many gaps makes fewer pieces
        of many, never more.
        """
        pieces = self._pieces
        at: i64 = seq
        if pieces[index].seq <= at:
            at = pieces[index].end
            index += 1
        last = index
        parts: list[bytes] = []
        start = at
        while at < end:
            if last == len(pieces) or pieces[last].seq >= end:
                parts.append(data[at - seq :])
                self.size_bytes += end - at
                at = end
                break
            piece = pieces[last]
            if piece.seq > at:
                parts.append(data[at - seq : piece.seq - seq])
                self.size_bytes += piece.seq - at
                at = piece.seq
            if piece.end > end:
                break
            parts.append(piece.data)
            at = piece.end
            last += 1
        if at > start:
            pieces[index:last] = [Piece(start, at, b"".join(parts))]

    def _forget_from(self, seq: i64) -> None:
        """Report in the SACK blocks nothing from ``seq`` on but the FIN."""
        runs = self._runs
        while runs and runs[-1].end > seq:
            run = runs[-1]
            if run.seq < seq:
                run.end = seq
                break
            runs.pop()
            del self._recent[run.change]
        if self._fin_seq >= seq:
            self._join(self._fin_seq, self._fin_seq + 1)

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
            if last - first > 1:
                for merged in self._runs[first + 1 : last]:
                    del self._recent[merged.change]
                del self._runs[first + 1 : last]
        self._put_last(run)

    def _put_last(self, run: Run) -> None:
        """Let a run, new or known, be the one that changed last."""
        self._recent.pop(run.change, None)
        self._changes += 1
        run.change = self._changes
        self._recent[run.change] = run
