"""Pipes between threads and programs of one host, in virtual time, by their numbers (``os.pipe``)."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from estab.abi import READ_BITS
from estab.errors import os_error
from estab.host.sockets.pipe import PIPE_BUF, PipeEnd
from estab.sockets.polling.open_file import File
from estab.sockets.socket import calls
from estab.sockets.socket.blocking import Waiting
from estab.sockets.socket.calls import told

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["PipeFile", "open_pipe"]


class PipeFile(Waiting[PipeEnd]):
    """A number of one end of a pipe."""

    def __init__(self, runtime: Runtime, file: File[PipeEnd], *, is_blocking: bool) -> None:
        self.runtime = runtime
        self._file = file
        self._timeout = None if is_blocking else 0.0

    def recv_all_of(self, buffers: Any) -> int:
        """Read into several buffers, one after the other. Returns how many bytes."""
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data = memoryview(self.recv(sum(map(len, views))))
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return len(data)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read up to ``bufsize`` bytes, as on any number; ``b""`` at the end."""
        return self.read(bufsize)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Write, as on any number, and return how many bytes were taken."""
        return self.write(data)

    @told
    def read(self, bufsize: int, /) -> bytes:
        """Read up to ``bufsize`` bytes; ``b""`` at the end."""
        end = self.descriptor
        return self._attempt(lambda now_ns: end.read(bufsize, now_ns), READ_BITS, "read")

    @told
    def write(self, data: Any, /) -> int:
        """Write, and return how many bytes were taken: all, if the calls wait. EPIPE, and SIGPIPE for who handles it.

        What does not fit at once is written in parts, with those of others between; not so up to ``PIPE_BUF`` bytes.
        """
        view = memoryview(data).cast("B")
        end, at = self.descriptor, 0
        try:
            while True:
                part = bytes(view[at : at + end.pipe.capacity_bytes])
                try:
                    at += self._attempt_write(end, part)
                except BlockingIOError:
                    if at == 0:
                        raise
                    return at
                if at >= len(view) or (self._timeout is not None and len(part) > 0):
                    return at
        except BrokenPipeError:
            if at:
                return at
            self.runtime.tell_broken_pipe()
            raise

    def _attempt_write(self, end: PipeEnd, part: bytes) -> int:
        runtime = self.runtime
        needs = min(len(part), PIPE_BUF) if len(part) <= PIPE_BUF else 1
        with runtime.lock:
            while True:
                try:
                    return self._call(lambda now_ns: end.write(part, now_ns))
                except BlockingIOError:
                    if self._timeout == 0.0:
                        raise
                self._wait_until(lambda: end.fd < 0 or end.other is None or end.has_room(needs), "write", None)
                self.descriptor  # noqa: B018 - raises EBADF where another program closed it meanwhile

    def dup(self) -> PipeFile:
        """Make another number for the same end, which closes with the last of them."""
        file = self._file
        if file is None:
            raise os_error(errno.EBADF, "bad file descriptor: the end of the pipe is closed")
        self.runtime.ensure_may_open()
        file.users += 1
        if file.process is not None:
            file.process.open_files += 1
        return PipeFile(self.runtime, file, is_blocking=self._timeout is None)

    def pass_on(self, file: File[PipeEnd]) -> int:
        """Make a number for the program that runs here, to which the end of the pipe was passed."""
        made = PipeFile(self.runtime, self._file_for_receiver(file), is_blocking=self._timeout is None)
        return made.detach()

    def detach(self) -> int:
        """Leave the end open for as long as nobody closes its number. Returns the number."""
        number = self.fileno()
        self.runtime.detached[number] = self
        return number

    @told
    def close(self) -> None:
        """Close the number, and with the last one the end."""
        file = self._let_go()
        if file is not None and file.users <= 0 and file.descriptor.fd >= 0 and self.runtime.is_last(
                file.descriptor, file.process):
            runtime, number = self.runtime, file.descriptor.fd
            with runtime.lock:
                runtime.close_descriptor(file.descriptor)
                runtime.flush()
                runtime.notify(number)

    def _let_go(self) -> File[PipeEnd] | None:
        file, real = self._file, self._real
        self._file = self._real = None
        if file is not None:
            file.users -= 1
            if file.process is not None:
                file.process.open_files -= 1
        if file is not None and real is not None and real in file.real_descriptors:
            file.real_descriptors.remove(real)
            self.runtime.by_number.discard(real.number)
            self.runtime.detached.pop(real.number, None)
            real.close()
        return file

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never whole
            file = self._let_go()
            if file is not None and file.users <= 0 and file.descriptor.fd >= 0 and self.runtime.is_last(
                    file.descriptor, file.process):
                self.runtime.abandon(file.descriptor)


def open_pipe(runtime: Runtime, *, is_blocking: bool = True) -> tuple[int, int]:
    """Make a pipe: the numbers of the end to read from, and of the end to write to."""
    runtime.ensure_may_open(2)
    with runtime.lock, calls.telling_of_two(runtime, "pipe") as made:
        ends = runtime.engine.pipe(runtime.now_ns)
        made.extend(end.fd for end in ends)
        reader, writer = (PipeFile(runtime, File(end, runtime.own(end)), is_blocking=is_blocking) for end in ends)
        runtime.flush()
    return reader.detach(), writer.detach()
