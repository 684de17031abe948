"""What programs print while many seeds run: kept apart from what a sweep says, and of the last of it only."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO

__all__ = ["OUTPUT_BYTES_MAX", "Output", "quiet"]

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


@contextmanager
def quiet() -> Iterator[Output]:
    """Take standard output and standard error from what runs in the block. Yields what was written to both.

    Both are the process's, so only its main thread takes them: a worker of a cluster that has several threads does not.
    """
    output = Output()
    if threading.current_thread() is not threading.main_thread():
        yield output
        return
    with redirect_stdout(_Text(output, None)), redirect_stderr(_Text(output, sys.stderr)):
        yield output
