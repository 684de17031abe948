"""Codecs whose frames say their length first: LengthPrefixed, VarintPrefixed, Netstring, FixedSize.

One way for all: a tight loop over the chunk takes every message that lies in it whole (``_scan``: one slice each); what
is left at the end is an unfinished frame, kept as a header without its last bytes (``_head``) or as a body that still
needs ``_need`` bytes (``_body``). A length over the limit is refused when it is read: no byte of its body is kept.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NoReturn, final

from estab.messages.codec import Buffer, FrameFault, Framing, Pile, as_bytes

__all__ = ["DEFAULT_MAX_FRAME", "FixedSize", "LengthPrefixed", "Netstring", "VarintPrefixed"]

DEFAULT_MAX_FRAME: Final = 16 * 1024 * 1024
_FORMATS: Final[dict[int, str]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
_VARINT_BYTES_MAX: Final = 10
_DIGITS: Final = b"0123456789"
_COLON: Final = 58
_COMMA: Final = 44


class _Counted(Framing):
    """A frame is a header that gives the body's length, then the body, then perhaps a trailer."""

    def __init__(self, max_frame: int, header_bytes_max: int, trailer_bytes: int) -> None:
        super().__init__(max_frame)
        self._header_bytes_max: int = header_bytes_max
        self._trailer_bytes: int = trailer_bytes
        self._head: bytes = b""
        """First bytes of a header that is not whole."""
        self._frame_head: int = 0
        """Bytes of the whole header of the body at hand, less those of it that belong to the message."""
        self._need: int = -1
        """How many bytes the body (trailer included) still lacks; -1 when no body is under way."""
        self._body: Pile = Pile()

    @property
    def pending(self) -> int:
        if self._need >= 0:
            return self._frame_head + self._body.size
        return len(self._head)

    def _missing(self) -> str:
        return f", {self._need} more were announced" if self._need >= 0 else ", not yet its whole header"

    def _drop(self) -> None:
        self._head = b""
        self._need = -1
        self._body.clear()

    def _parse(self, chunk: bytes, messages: list[bytes]) -> None:
        at = 0
        if self._need >= 0 or self._head:
            at = self._resume(chunk, messages)
        at = self._scan(chunk, at, messages)
        if at < len(chunk):
            self._begin(chunk, at)

    def _resume(self, chunk: bytes, messages: list[bytes]) -> int:
        """Go on with the unfinished frame. Returns how much of the chunk it took."""
        at = 0
        if self._need < 0:
            held = len(self._head)
            joined = self._head + chunk[: self._header_bytes_max - held]
            at = self._open(joined, -held) - held
            if self._need < 0:
                self._head = joined
                return len(chunk)
        # A chunk that is all body is kept as it is: compiled, even a slice of the whole would be a copy.
        piece = chunk if at == 0 and len(chunk) <= self._need else chunk[at : at + self._need]
        self._body.add(piece)
        self._need -= len(piece)
        if self._need == 0:
            frame_bytes = self._frame_head + self._body.size
            self._need = -1
            at += len(piece)
            messages.append(self._finish(self._body.take(), at - frame_bytes, at))
            return at
        return len(chunk)

    def _begin(self, chunk: bytes, at: int) -> None:
        """Keep the unfinished frame that begins at ``at``."""
        rest = chunk[at:]
        body = self._open(rest, at)
        if self._need < 0:
            self._head = rest
        elif body < len(rest):
            piece = rest[body:]
            self._body.add(piece)
            self._need -= len(piece)

    def _open(self, data: bytes, frame_at: int) -> int:
        """Read the header at the start of ``data``; if whole, get ready for its body, whose offset is returned."""
        length, header = self._header(data, frame_at)
        if header < 0:
            return 0
        lead = self._lead(data)
        self._head = b""
        self._body.add(lead)
        self._frame_head = header - len(lead)
        self._need = length + self._trailer_bytes
        return header

    def _header(self, data: bytes, frame_at: int) -> tuple[int, int]:
        """Read the header at the start of ``data``: the body's length, and the header's (-1 if it is not whole)."""
        raise NotImplementedError

    def _lead(self, data: bytes) -> bytes:
        """The part of the header that belongs to the message."""
        return b""

    def _finish(self, body: bytes, frame_at: int, end: int) -> bytes:
        """Make the message of a whole body; check the trailer, whose last byte is the one before ``end``."""
        return body

    def _scan(self, chunk: bytes, at: int, messages: list[bytes]) -> int:
        """Take all frames that lie whole in the chunk from ``at`` on. Returns where the first that does not begins."""
        raise NotImplementedError


@final
class LengthPrefixed(_Counted):
    """A length of ``size`` bytes, then the message: ``LengthPrefixed(4)`` is Kafka's, and most binary protocols'.

    ``size``: 1, 2, 4 or 8. ``byteorder``: ``"big"`` (the network's) or ``"little"``. ``includes_header``: the length
    counts its own bytes too. ``max_frame``: the most bytes of a message; 16 MiB, or what the length can say if that is
    less.
    ``tag_bytes``: so many bytes before the length belong to the message and the length does not count them:
    ``LengthPrefixed(4, includes_header=True, tag_bytes=1)`` is Postgres, ``LengthPrefixed(4, tag_bytes=1)`` is gRPC.
    """

    def __init__(
        self, size: Literal[1, 2, 4, 8] = 4, *, byteorder: Literal["big", "little"] = "big",
        includes_header: bool = False, max_frame: int | None = None, tag_bytes: int = 0,
    ) -> None:
        if size not in _FORMATS:
            raise ValueError(f"size: {size!r} is not 1, 2, 4 or 8 bytes")
        if byteorder not in ("big", "little"):
            raise ValueError(f'byteorder: {byteorder!r} is not "big" or "little"')
        if tag_bytes < 0:
            raise ValueError(f"tag_bytes: {tag_bytes} is negative; it counts the bytes before the length")
        self.size: int = size
        self.byteorder: Literal["big", "little"] = byteorder
        self.includes_header: bool = includes_header
        self.tag_bytes: int = tag_bytes
        self._extra: int = size if includes_header else 0
        """What the length counts besides the bytes after it."""
        capacity = (1 << 8 * size) - 1 - self._extra + tag_bytes
        if max_frame is None:
            max_frame = min(DEFAULT_MAX_FRAME, capacity)
        elif max_frame > capacity:
            raise ValueError(f"max_frame: {max_frame} does not fit a length of {size} bytes; at most {capacity}")
        super().__init__(max_frame, tag_bytes + size, 0)
        if max_frame < tag_bytes:
            raise ValueError(f"max_frame: {max_frame} is less than tag_bytes={tag_bytes}, a part of every message")
        self._struct = struct.Struct((">" if byteorder == "big" else "<") + _FORMATS[size])

    def encode(self, message: Buffer) -> bytes:
        """Return the length and ``message`` (its tag first). ValueError if it is over the limit or lacks its tag."""
        data = as_bytes(message)
        self._check_size(len(data))
        tag = self.tag_bytes
        if tag == 0:
            return self._struct.pack(len(data) + self._extra) + data
        if len(data) < tag:
            raise ValueError(f"message: {len(data)} bytes, but the first tag_bytes={tag} of it go before the length")
        return data[:tag] + self._struct.pack(len(data) - tag + self._extra) + data[tag:]

    def _header(self, data: bytes, frame_at: int) -> tuple[int, int]:
        if len(data) < self._header_bytes_max:
            return 0, -1
        length: int = self._struct.unpack_from(data, self.tag_bytes)[0] - self._extra
        if length < 0 or length + self.tag_bytes > self.max_frame:
            self._refuse_length(length, frame_at)
        return length, self._header_bytes_max

    def _lead(self, data: bytes) -> bytes:
        return data[: self.tag_bytes]

    def _refuse_length(self, length: int, frame_at: int) -> NoReturn:
        bad_at = frame_at + self.tag_bytes
        if length < 0:
            said = length + self._extra
            self._fail(FrameFault.BAD_PREFIX, bad_at, frame_at, f"length {said} is less than its own {self.size} bytes")
        self._fail(
            FrameFault.TOO_LARGE, bad_at, frame_at, f"{length + self.tag_bytes} bytes, max_frame is {self.max_frame}"
        )

    def _scan(self, chunk: bytes, at: int, messages: list[bytes]) -> int:
        unpack = self._struct.unpack_from
        tag, header, extra = self.tag_bytes, self._header_bytes_max, self._extra
        limit, end = self.max_frame - self.tag_bytes, len(chunk)
        body = at + header
        while body <= end:
            length: int = unpack(chunk, at + tag)[0] - extra
            if length < 0 or length > limit:
                self._refuse_length(length, at)
            stop = body + length
            if stop > end:
                break
            messages.append(chunk[at : at + tag] + chunk[body:stop] if tag else chunk[body:stop])
            at = stop
            body = stop + header
        return at


@final
class VarintPrefixed(_Counted):
    """A base-128 varint, least significant group first, then the message: protobuf's delimited messages.

    A varint longer than needed is taken, as protobuf takes it; one past 64 bits is BAD_PREFIX.
    """

    def __init__(self, *, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        super().__init__(max_frame, _VARINT_BYTES_MAX, 0)

    def encode(self, message: Buffer) -> bytes:
        """Return the length as a varint and ``message``. ValueError if it is over the limit."""
        data = as_bytes(message)
        length = len(data)
        self._check_size(length)
        if length < 128:
            return length.to_bytes(1, "big") + data
        prefix = bytearray()
        while length > 127:
            prefix.append(length & 127 | 128)
            length >>= 7
        prefix.append(length)
        return bytes(prefix) + data

    def _header(self, data: bytes, frame_at: int) -> tuple[int, int]:
        return self._varint(data, 0, frame_at)

    def _varint(self, data: bytes, at: int, frame_at: int) -> tuple[int, int]:
        """Read the varint at ``at``: its value and its length, -1 if it is not whole."""
        length, size, is_whole = 0, 0, False
        while not is_whole and size < _VARINT_BYTES_MAX and at + size < len(data):
            octet = data[at + size]
            length |= (octet & 127) << 7 * size
            is_whole = octet < 128
            size += 1
        if size == _VARINT_BYTES_MAX and (not is_whole or length >> 64):
            self._fail(FrameFault.BAD_PREFIX, frame_at + size - 1, frame_at, "varint of more than 64 bits")
        if is_whole and length > self.max_frame:
            self._fail(FrameFault.TOO_LARGE, frame_at, frame_at, f"{length} bytes, max_frame is {self.max_frame}")
        return (length, size) if is_whole else (0, -1)

    def _scan(self, chunk: bytes, at: int, messages: list[bytes]) -> int:
        limit, end = self.max_frame, len(chunk)
        while at < end:
            length = chunk[at]
            body = at + 1
            if length > 127 or length > limit:
                length, header = self._varint(chunk, at, at)
                if header < 0:
                    break
                body = at + header
            stop = body + length
            if stop > end:
                break
            messages.append(chunk[body:stop])
            at = stop
        return at


@final
class Netstring(_Counted):
    """``5:hello,``: the length in decimal, a colon, the message, a comma (https://cr.yp.to/proto/netstrings.txt).

    A length with a leading zero is BAD_PREFIX, as the format asks; a missing comma is BAD_BODY.
    """

    def __init__(self, *, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        self._digits_max: int = len(str(max_frame))
        super().__init__(max_frame, self._digits_max + 1, 1)

    def encode(self, message: Buffer) -> bytes:
        """Return ``message`` as a netstring. ValueError if it is over the limit."""
        data = as_bytes(message)
        self._check_size(len(data))
        return b"%d:%b," % (len(data), data)

    def _header(self, data: bytes, frame_at: int) -> tuple[int, int]:
        return self._number(data, 0, frame_at)

    def _number(self, data: bytes, at: int, frame_at: int) -> tuple[int, int]:
        """Read ``digits:`` at ``at``: the number and the bytes it takes, -1 if it is not whole."""
        length, size = 0, 0
        while at + size < len(data) and size <= self._digits_max:
            octet = data[at + size]
            if octet == _COLON and size > 0:
                if length > self.max_frame:
                    self._refuse_length(length, frame_at)
                return length, size + 1
            if octet not in _DIGITS:
                self._fail(FrameFault.BAD_PREFIX, frame_at + size, frame_at, f"byte {octet} in the length")
            if size > 0 and length == 0:
                self._fail(FrameFault.BAD_PREFIX, frame_at, frame_at, "length with a leading zero")
            length = length * 10 + octet - _DIGITS[0]
            size += 1
        if size > self._digits_max:
            self._refuse_length(length, frame_at)
        return 0, -1

    def _refuse_length(self, length: int, frame_at: int) -> NoReturn:
        self._fail(FrameFault.TOO_LARGE, frame_at, frame_at, f"{length} bytes or more, max_frame is {self.max_frame}")

    def _finish(self, body: bytes, frame_at: int, end: int) -> bytes:
        if body[-1] != _COMMA:
            self._fail(FrameFault.BAD_BODY, end - 1, frame_at, f"byte {body[-1]} where the comma must be")
        return body[:-1]

    def _scan(self, chunk: bytes, at: int, messages: list[bytes]) -> int:
        end = len(chunk)
        while at < end:
            length, header = self._number(chunk, at, at)
            body = at + header
            stop = body + length
            if header < 0 or stop >= end:
                break
            if chunk[stop] != _COMMA:
                self._fail(FrameFault.BAD_BODY, stop, at, f"byte {chunk[stop]} where the comma must be")
            messages.append(chunk[body:stop])
            at = stop + 1
        return at


@final
class FixedSize(_Counted):
    """Every message has ``size`` bytes and nothing around it. A chunk that is one message comes out uncopied."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: {size} is not a number of bytes from 1 up")
        self.size: int = size
        super().__init__(size, 1, 0)

    def encode(self, message: Buffer) -> bytes:
        """Return ``message`` itself. ValueError if it has another size."""
        data = as_bytes(message)
        if len(data) != self.size:
            raise ValueError(f"message: {len(data)} bytes, every message has size={self.size}")
        return data

    def _header(self, data: bytes, frame_at: int) -> tuple[int, int]:
        return self.size, 0

    def _scan(self, chunk: bytes, at: int, messages: list[bytes]) -> int:
        size = self.size
        if at == 0 and len(chunk) == size:
            messages.append(chunk)
            return size
        stop = at + (len(chunk) - at) // size * size
        messages.extend([chunk[i : i + size] for i in range(at, stop, size)])
        return stop
