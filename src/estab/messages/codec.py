"""What a codec is, how it fails, and what all codecs share.

Rules:

- sans-IO: bytes go in by ``feed``, whole messages come out; no clock, no socket, no thread;
- linear in the bytes fed, however they are cut: no byte is looked at or moved more than a fixed number of times;
- nothing is buffered past the limit: an unfinished frame holds at most ``max_frame`` bytes and its framing;
- bytes from the network raise ``FrameError`` and nothing else; a codec that failed stays failed;
- plain typed Python that mypyc can compile: no closures, no generators, attributes set in ``__init__``.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

__all__ = ["Buffer", "Codec", "FrameError", "FrameFault", "Framing", "Pile"]

Buffer = bytes | bytearray | memoryview

SMALL: Final = 1024
"""Pieces below this are merged, so that many small pieces cost about the memory of their bytes."""


class FrameFault(enum.Enum):
    """Which rule of the format the bytes broke."""

    TOO_LARGE = "message over the limit"
    BAD_PREFIX = "length that the format does not allow"
    BAD_BODY = "frame that does not end where its format says"
    CUT_SHORT = "stream ended inside a frame"


class FrameError(ValueError):
    """Bytes that are not a frame.

    The only exception that the bytes fed to a codec can raise. The connection can't be used further: nothing shows
    where the next frame would begin.
    """

    def __init__(
        self, fault: FrameFault, offset: int, frame_offset: int, detail: str, messages: Sequence[bytes] = ()
    ) -> None:
        where = f"at byte {offset} of the stream, in the frame that began at {frame_offset}"
        super().__init__(f"{fault.value} {where}: {detail}")
        self.fault = fault
        self.offset = offset
        """Offset in the stream, from 0, of the first byte that broke the rule (CUT_SHORT: where the stream ended)."""
        self.frame_offset = frame_offset
        """Offset in the stream of the first byte of the broken frame."""
        self.detail = detail
        self.messages: list[bytes] = list(messages)
        """Whole messages that the same ``feed`` found before the fault. They are returned once, here."""


class Codec(Protocol):
    """Cuts a stream of bytes into messages, and back. One object serves one direction pair of one stream.

    ``encode`` keeps no state; ``feed``, ``pending`` and ``eof`` are about the bytes that come in.
    """

    def encode(self, message: Buffer, /) -> bytes:
        """Return the frame that carries ``message``. ValueError if the format can't carry it."""

    def feed(self, data: Buffer, /) -> list[bytes]:
        """Take bytes of the stream, return the messages they complete, in order. FrameError if a frame is broken."""

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""

    def eof(self) -> None:
        """End the stream. FrameError (CUT_SHORT) if it ended inside a frame."""


class Pile:
    """The pieces of one unfinished message, joined once."""

    def __init__(self) -> None:
        self.size: int = 0
        self._parts: list[bytes] = []
        self._crumbs: bytearray = bytearray()

    def add(self, piece: bytes) -> None:
        """Append ``piece``. A large piece is kept as it is, not copied."""
        self.size += len(piece)
        if len(piece) < SMALL:
            self._crumbs += piece
            return
        if self._crumbs:
            self._parts.append(bytes(self._crumbs))
            self._crumbs = bytearray()
        self._parts.append(piece)

    def take(self) -> bytes:
        """Return all of it as one object and be empty again."""
        crumbs = bytes(self._crumbs)
        if self._parts:
            self._parts.append(crumbs)
            crumbs = b"".join(self._parts)
        self.clear()
        return crumbs

    def clear(self) -> None:
        """Forget all of it."""
        self.size = 0
        self._parts = []
        self._crumbs = bytearray()


class Framing:
    """What the codecs share: where in the stream they are, and a failure that stays."""

    def __init__(self, max_frame: int) -> None:
        if max_frame < 0:
            raise ValueError(f"max_frame: {max_frame} is negative; it is the most bytes that a message may have")
        self.max_frame: int = max_frame
        self._offset: int = 0
        """Offset in the stream of the first byte of the chunk at hand (of the next one, between feeds)."""
        self._error: FrameError | None = None
        self._is_ended: bool = False

    def encode(self, message: Buffer) -> bytes:
        """Return the frame that carries ``message``. ValueError if the format can't carry it."""
        raise NotImplementedError

    def feed(self, data: Buffer) -> list[bytes]:
        """Take bytes of the stream, return the messages they complete, in order.

        FrameError if a frame is broken; its ``messages`` holds those that were whole before. From then on every call
        raises the same error.
        """
        if self._error is not None or self._is_ended:
            self._refuse()
        # `bytes` can't change under us, so slices and whole chunks of it may be kept; anything else is copied first.
        chunk = data if type(data) is bytes else bytes(memoryview(data))
        messages: list[bytes] = []
        try:
            self._parse(chunk, messages)
        except FrameError as error:
            error.messages = messages
            self._error = error
            self._drop()
            raise
        self._offset += len(chunk)
        return messages

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held. 0 after a failure: nothing is kept then."""
        raise NotImplementedError

    @property
    def error(self) -> FrameError | None:
        """The failure that ended this codec, if one did."""
        return self._error

    def eof(self) -> None:
        """End the stream. FrameError (CUT_SHORT) if it ended inside a frame. May be called again."""
        if self._error is not None:
            self._refuse()
        held = self.pending
        self._is_ended = True
        if held == 0:
            return
        self._error = FrameError(
            FrameFault.CUT_SHORT, self._offset, self._offset - held, f"{held} bytes of it had come{self._missing()}"
        )
        self._drop()
        raise self._error

    def _parse(self, chunk: bytes, messages: list[bytes]) -> None:
        """Append the messages that ``chunk`` completes; keep what is left."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Discard all that is held."""
        raise NotImplementedError

    def _missing(self) -> str:
        """What an unfinished frame still lacks, as the end of a sentence."""
        return ""

    def _refuse(self) -> NoReturn:
        error = self._error
        if error is not None:
            raise FrameError(error.fault, error.offset, error.frame_offset, error.detail)
        raise ValueError("data: bytes after the end of the stream; a codec serves one stream")

    def _fail(self, fault: FrameFault, bad_at: int, frame_at: int, detail: str) -> NoReturn:
        """Raise the error for the byte ``bad_at`` in the frame at ``frame_at``, both counted from the chunk's start."""
        raise FrameError(fault, self._offset + bad_at, self._offset + frame_at, detail)

    def _check_size(self, size: int) -> None:
        if size > self.max_frame:
            raise ValueError(f"message: {size} bytes are over max_frame={self.max_frame}")


def as_bytes(message: Buffer) -> bytes:
    """Return ``message`` as bytes, itself if it is bytes. TypeError for anything that is not a buffer."""
    return message if type(message) is bytes else bytes(memoryview(message))
