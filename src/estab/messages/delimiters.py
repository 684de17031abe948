"""Codecs whose frames end with a mark: Delimited and COBS.

The chunk is cut at its marks by ``bytes.split``, in C. What follows the last mark is kept until its own comes; a mark
may lie across two chunks, so the last bytes of what is kept (one fewer than the mark has) are looked at again, no
others.
"""

from __future__ import annotations

from typing import NoReturn, final

from estab.messages.codec import Buffer, FrameFault, Framing, Pile, as_bytes

__all__ = ["COBS", "Delimited"]


class _Marked(Framing):
    """Cuts the stream at every ``mark``; no piece between two marks may have more than ``piece_bytes_max`` bytes."""

    def __init__(self, max_frame: int, mark: bytes, piece_bytes_max: int) -> None:
        super().__init__(max_frame)
        self._mark: bytes = mark
        self._piece_bytes_max: int = piece_bytes_max
        self._rest: Pile = Pile()
        self._tail: bytes = b""
        """Last bytes of ``_rest`` that can be the start of a mark."""

    @property
    def pending(self) -> int:
        return self._rest.size

    def _missing(self) -> str:
        return f", without the {self._mark!r} that ends it"

    def _drop(self) -> None:
        self._rest.clear()
        self._tail = b""

    def _parse(self, chunk: bytes, messages: list[bytes]) -> None:
        if not chunk:
            return
        at = 0
        if self._rest.size:
            at = self._resume(chunk, messages)
            if at < 0:
                return
        pieces = chunk[at:].split(self._mark) if at else chunk.split(self._mark)
        rest = pieces.pop()
        if len(chunk) > self._piece_bytes_max and pieces and len(max(pieces, key=len)) > self._piece_bytes_max:
            self._refuse_piece(pieces, at, messages)
        self._take(pieces, at, messages)
        if rest:
            self._keep(rest, len(chunk) - len(rest))

    def _resume(self, chunk: bytes, messages: list[bytes]) -> int:
        """Look for the mark that ends what is kept. Returns the offset after it; -1 if the chunk has none."""
        held, size, tail = self._rest.size, len(self._mark), self._tail
        across = (tail + chunk[: size - 1]).find(self._mark) if tail else -1
        # `cut` bytes of what is kept belong to a mark that lies across the two.
        cut = len(tail) - across if across >= 0 else 0
        end = chunk.find(self._mark) if cut == 0 else 0
        if end < 0:
            self._keep(chunk, 0)
            return -1
        if held - cut + end > self._piece_bytes_max:
            self._refuse_size(-held)
        if end > 0:
            self._rest.add(chunk[:end])
        piece = self._rest.take()
        self._tail = b""
        self._take([piece[:-cut] if cut else piece], -held, messages)
        return end + size - cut

    def _keep(self, piece: bytes, at: int) -> None:
        """Hold ``piece``, which begins at ``at`` of the chunk and has no mark, until its mark comes."""
        held, size = self._rest.size, len(self._mark)
        if held + len(piece) >= self._piece_bytes_max + size:
            self._refuse_size(at - held)
        self._rest.add(piece)
        if size > 1:
            self._tail = (self._tail + piece[1 - size :])[1 - size :]

    def _refuse_piece(self, pieces: list[bytes], at: int, messages: list[bytes]) -> None:
        """Raise for the first piece that is too large; those before it are good."""
        limit, size = self._piece_bytes_max, len(self._mark)
        start = at
        for i, piece in enumerate(pieces):
            if len(piece) > limit:
                self._take(pieces[:i], at, messages)
                self._refuse_size(start)
            start += len(piece) + size

    def _refuse_size(self, frame_at: int) -> NoReturn:
        self._fail(
            FrameFault.TOO_LARGE, frame_at + self._piece_bytes_max, frame_at,
            f"no {self._mark!r} after its first {self._piece_bytes_max} bytes, max_frame is {self.max_frame}",
        )

    def _take(self, pieces: list[bytes], at: int, messages: list[bytes]) -> None:
        """Make messages of ``pieces``, the first of which begins at ``at`` of the chunk."""
        raise NotImplementedError


@final
class Delimited(_Marked):
    r"""Messages that end with ``delimiter``: ``Delimited(b"\r\n")`` for the line protocols.

    ``max_frame``: the most bytes of a message, its delimiter not counted; 64 KiB by default. A message with a delimiter
    in it can't be sent (ValueError); neither can one whose end and the delimiter make an earlier delimiter.
    """

    def __init__(self, delimiter: bytes = b"\r\n", *, max_frame: int = 65536) -> None:
        self.delimiter: bytes = as_bytes(delimiter)
        if not self.delimiter:
            raise ValueError(f"delimiter: {delimiter!r} is not one or more bytes")
        super().__init__(max_frame, self.delimiter, max_frame)

    def encode(self, message: Buffer) -> bytes:
        """Return ``message`` and its delimiter. ValueError if it is over the limit or would come out as two."""
        data = as_bytes(message)
        self._check_size(len(data))
        frame = data + self.delimiter
        at = frame.find(self.delimiter)
        if at < len(data):
            raise ValueError(f"message: the delimiter {self.delimiter!r} is in it at {at}, so it would come out as two")
        return frame

    def _take(self, pieces: list[bytes], at: int, messages: list[bytes]) -> None:
        messages.extend(pieces)


@final
class COBS(_Marked):
    """Consistent Overhead Byte Stuffing: messages without zeros inside, a zero after each (Cheshire and Baker, 1999).

    n bytes take n + n/254 + 2 at most. Zeros in a row are one end of frame: a sender may begin with a zero to
    make sure of a fresh start, so an empty piece is no message; an empty message is ``01 00``.
    """

    def __init__(self, *, max_frame: int = 65536) -> None:
        super().__init__(max_frame, b"\0", max_frame + max(1, -(-max_frame // 254)))

    def encode(self, message: Buffer) -> bytes:
        """Return the stuffed ``message`` and its zero. ValueError if it is over the limit."""
        data = as_bytes(message)
        self._check_size(len(data))
        frame = bytearray()
        runs = data.split(b"\0")
        last = len(runs) - 1
        for i, run in enumerate(runs):
            start, size = 0, len(run)
            while size - start >= 254:
                frame.append(255)
                frame += run[start : start + 254]
                start += 254
            # A full block has no zero after it: the last run needs no more, another an empty block for its zero.
            if i < last or start < size or size == 0:
                frame.append(size - start + 1)
                frame += run[start:]
        frame.append(0)
        return bytes(frame)

    def _take(self, pieces: list[bytes], at: int, messages: list[bytes]) -> None:
        for piece in pieces:
            if piece:
                messages.append(self._decode(piece, at))
            at += len(piece) + 1

    def _decode(self, piece: bytes, frame_at: int) -> bytes:
        message = bytearray()
        at, end = 0, len(piece)
        while at < end:
            code = piece[at]
            if at + code > end:
                self._fail(
                    FrameFault.BAD_BODY, frame_at + at, frame_at, f"block of {code} bytes where {end - at} are left",
                )
            message += piece[at + 1 : at + code]
            at += code
            if code < 255 and at < end:
                message.append(0)
        if len(message) > self.max_frame:
            self._fail(FrameFault.TOO_LARGE, frame_at, frame_at, f"{len(message)} bytes, max_frame is {self.max_frame}")
        return bytes(message)
