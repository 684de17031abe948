"""Files over the ends of a host's pipes: what ``os.fdopen`` makes of their numbers."""

from __future__ import annotations

import io
from typing import Any

from estab.sockets.socket.pipe import PipeFile

__all__ = ["open_file"]


class _PipeIO(io.RawIOBase):
    """One end of a pipe as a raw file."""

    def __init__(self, end: PipeFile, mode: str, *, closes: bool) -> None:
        self._end = end
        self._closes = closes
        self.mode = mode
        self.name = end.fileno()

    def readable(self) -> bool:
        """Tell whether this is the end to read from."""
        return not self._end.descriptor.is_writer

    def writable(self) -> bool:
        """Tell whether this is the end to write to."""
        return self._end.descriptor.is_writer

    def fileno(self) -> int:
        """Return the number of the end."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self._end.fileno()

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer. ``None``: there is nothing now."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._end.recv(len(view))
        except BlockingIOError:
            return None
        view[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int | None:
        """Write. ``None``: there is no room now."""
        try:
            return self._end.send(data)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close the file, and the end with it unless ``closefd=False`` was given."""
        if not self.closed:
            super().close()
            if self._closes:
                self._end.close()


def open_file(end: PipeFile, mode: str = "r", buffering: int = -1, encoding: str | None = None,
              errors: str | None = None, newline: str | None = None, closefd: bool = True, opener: Any = None) -> Any:
    """Open a file over an end, as ``open`` does over a number."""
    raw = _PipeIO(end, mode, closes=closefd)
    is_binary = "b" in mode
    if buffering == 0:
        if not is_binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    buffer = io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)
    if is_binary:
        return buffer
    return io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
