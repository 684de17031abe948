"""What programs print while many seeds run: kept apart from what a sweep says, and of the last of it only.

A scenario's module may keep a standard stream when it is imported: ``logging.basicConfig`` does, so do loggers of other
packages. It is given a stand-in instead, which leads to where the standard stream leads when something is written.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO

__all__ = ["OUTPUT_BYTES_MAX", "Output", "quiet", "stand_in_streams"]

OUTPUT_BYTES_MAX: Final = 1_000_000
"""What is kept of an output. The end is kept, because a failure is near it."""
_OWN: Final = "estab: "


class Output(io.RawIOBase):
    """The last bytes that were written."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Keep bytes, and forget the oldest if there are too many."""
        piece = bytes(data)
        self._kept += piece
        if len(self._kept) > 2 * OUTPUT_BYTES_MAX:
            del self._kept[:-OUTPUT_BYTES_MAX]
        return len(piece)

    def text(self) -> str:
        """Return what is kept."""
        return self._kept[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace")


class _Text(io.TextIOWrapper):
    """A text stream onto an ``Output``. What estab itself says of a run that stands still goes where it always goes."""

    def __init__(self, output: Output, own: TextIO | None) -> None:
        super().__init__(output, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)  # type: ignore[arg-type]
        self._own = own

    def write(self, text: str) -> int:
        if self._own is not None and text.startswith(_OWN):
            return self._own.write(text)
        return super().write(text)


class _StandIn:
    """Stands for a standard stream of the process: what is written to it goes where that leads now."""

    def __init__(self, name: str) -> None:
        self.taken: TextIO | None = None
        """What ``quiet`` put in its place."""
        self._name = name

    def stream(self) -> TextIO:
        """Return the stream that it stands for now."""
        if self.taken is not None:
            return self.taken
        own = getattr(sys, self._name)
        stream: TextIO = getattr(sys, f"__{self._name}__") if own is self else own
        return stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream(), name)


_OUT: Final = _StandIn("stdout")
_ERR: Final = _StandIn("stderr")


@contextmanager
def stand_in_streams() -> Iterator[None]:
    """Give what is imported in the block the stand-ins as standard output and standard error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    out: Any = _OUT
    err: Any = _ERR
    with redirect_stdout(out), redirect_stderr(err):
        yield


@contextmanager
def quiet() -> Iterator[Output]:
    """Take standard output and standard error from what runs in the block. Yields what was written to both.

    Both are the process's, so only its main thread takes them: a worker of a cluster that has several threads does not.
    """
    output = Output()
    if threading.current_thread() is not threading.main_thread():
        yield output
        return
    before = _OUT.taken, _ERR.taken
    out, err = _Text(output, None), _Text(output, _ERR.stream())
    with stand_in_streams():
        _OUT.taken, _ERR.taken = out, err
        try:
            yield output
        finally:
            _OUT.taken, _ERR.taken = before
