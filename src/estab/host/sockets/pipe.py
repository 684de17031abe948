"""Pipes between threads and programs of one host (pipe(7)).

- A pipe holds ``CAPACITY_BYTES`` unless F_SETPIPE_SZ says otherwise.
- A write of up to ``PIPE_BUF`` bytes is whole or not at all; a longer one takes what there is room for.
- A pipe can be written when a write of ``PIPE_BUF`` would not wait. Without a reader it is an error, EPIPE.
- Nothing waits: EAGAIN says that a call would.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Final

from mypy_extensions import i64

from estab.abi import AF_UNIX, POLLERR, POLLHUP, POLLIN, POLLOUT
from estab.errors import os_error
from estab.host.sockets.files import Descriptor, Files
from estab.tcp.context import Context

__all__ = ["CAPACITY_BYTES", "PIPE_BUF", "PipeEnd", "open_pipe"]

CAPACITY_BYTES: Final = 65_536
PIPE_BUF: Final = 4096
_CAPACITY_BYTES_MAX: Final = 1 << 20
_FIFO: Final = 0


class Pipe:
    """What both ends share: the bytes between them."""

    def __init__(self, context: Context, files: Files) -> None:
        self.context: Context = context
        self.files: Files = files
        self.parts: deque[bytes] = deque()
        self.size_bytes: i64 = 0
        self.capacity_bytes: i64 = CAPACITY_BYTES


class PipeEnd(Descriptor):
    """One end of a pipe: to read from, or to write to."""

    def __init__(self, pipe: Pipe, *, is_writer: bool) -> None:
        super().__init__(AF_UNIX, _FIFO, "pipe")
        self.pipe: Pipe = pipe
        self.is_writer: bool = is_writer
        self.other: PipeEnd | None = None
        """The other end; ``None`` once that is closed."""

    @property
    def netid(self) -> str:
        """What facts call it: ``pipe``."""
        return self.protocol

    def text(self) -> str:
        """Name the end: ``pipe (to read, 3 bytes)``."""
        return f"pipe (to {'write' if self.is_writer else 'read'}, {self.pipe.size_bytes} bytes in it)"

    def readiness(self) -> i64:
        """POLL bits that hold now (Linux's ``pipe_poll``)."""
        if self.is_writer:
            bits: i64 = POLLOUT if self.has_room(PIPE_BUF) else 0
            return bits | POLLERR if self.other is None else bits
        bits = POLLIN if self.pipe.size_bytes > 0 else 0
        return bits | POLLHUP if self.other is None else bits

    def has_room(self, size: i64) -> bool:
        """Tell whether so many bytes can be written at once."""
        return self.pipe.capacity_bytes - self.pipe.size_bytes >= size

    def read(self, size: i64, now_ns: i64) -> bytes:
        """Take up to ``size`` bytes; ``b""`` if there are none and the other end is closed. EAGAIN, EBADF."""
        pipe = self.pipe
        pipe.context.now_ns = now_ns
        if self.is_writer:
            raise os_error(errno.EBADF, "bad file descriptor: this end of the pipe is to write to")
        if pipe.size_bytes == 0 and self.other is not None and size > 0:
            raise os_error(errno.EAGAIN, "resource temporarily unavailable: the pipe is empty")
        taken: list[bytes] = []
        left = size
        while left > 0 and pipe.parts:
            part = pipe.parts.popleft()
            if len(part) > left:
                pipe.parts.appendleft(part[left:])
                part = part[:left]
            taken.append(part)
            left -= len(part)
        pipe.size_bytes -= size - left
        other = self.other
        if left < size and other is not None:
            pipe.context.wake(other)
        return b"".join(taken)

    def write(self, data: bytes, now_ns: i64) -> int:
        """Add bytes, and return how many were taken. EAGAIN, EPIPE, EBADF."""
        pipe = self.pipe
        pipe.context.now_ns = now_ns
        if not self.is_writer:
            raise os_error(errno.EBADF, "bad file descriptor: this end of the pipe is to read from")
        if not data:
            return 0
        other = self.other
        if other is None:
            raise os_error(errno.EPIPE, "broken pipe: the end to read from is closed")
        room = pipe.capacity_bytes - pipe.size_bytes
        if room <= 0 or (len(data) <= PIPE_BUF and room < len(data)):
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: the pipe holds {pipe.size_bytes} bytes")
        part = data[:room]
        pipe.parts.append(part)
        pipe.size_bytes += len(part)
        pipe.context.wake(other)
        return len(part)

    def set_capacity(self, size_bytes: i64) -> int:
        """Set what the pipe holds, rounded up to pages as Linux does (F_SETPIPE_SZ). EINVAL, EPERM, EBUSY."""
        if size_bytes < 0:
            raise os_error(errno.EINVAL, f"invalid argument: a pipe of {size_bytes} bytes")
        if size_bytes > _CAPACITY_BYTES_MAX:
            raise os_error(errno.EPERM, f"operation not permitted: a pipe holds at most {_CAPACITY_BYTES_MAX} bytes")
        wanted: i64 = PIPE_BUF
        while wanted < size_bytes:
            wanted <<= 1
        if wanted < self.pipe.size_bytes:
            raise os_error(errno.EBUSY, f"device or resource busy: the pipe holds {self.pipe.size_bytes} bytes")
        self.pipe.capacity_bytes = wanted
        self.pipe.context.wake(self)
        return wanted

    def close(self, now_ns: i64) -> None:
        """Release the descriptor: the other end sees the end, or EPIPE."""
        self.pipe.context.now_ns = now_ns
        other = self.other
        self.other = None
        if other is not None:
            other.other = None
            self.pipe.context.wake(other)
        self.pipe.files.release(self)


def open_pipe(context: Context, files: Files) -> tuple[PipeEnd, PipeEnd]:
    """Make a pipe: the end to read from, and the end to write to. EMFILE."""
    pipe = Pipe(context, files)
    reader, writer = PipeEnd(pipe, is_writer=False), PipeEnd(pipe, is_writer=True)
    files.allocate(reader, "pipe()")
    try:
        files.allocate(writer, "pipe()")
    except OSError:
        files.release(reader)
        raise
    reader.other, writer.other = writer, reader
    return reader, writer
