"""Which line of the program read the end of a stream, noted at the moment of reading.

Wrappers around the receiving methods of socket classes see an empty result; the stack then holds the line. Rules:

- the line is the innermost one outside Python's library, installed packages and this one; failing that, in a package;
  the programs of the tour's scenes are in this package and are programs all the same;
- under asyncio the loop reads first and the program later, from a ``StreamReader``: the search ends at the loop, so
  that the line that started the loop is never blamed;
- the notes are bounded, and a note is dropped when its connection is gone.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from estab.messages.exchange import peer_name

__all__ = ["End", "EndTrace"]

_ENDS_MAX: Final = 10_000
_RECEIVING: Final = ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into")
_READING: Final = ("read", "readexactly", "readuntil")
_PYTHON: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_PACKAGES: Final = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_ESTAB: Final = str(Path(__file__).parents[1])
_SCENES: Final = str(Path(_ESTAB, "cli", "chapters"))
_LOOP: Final = asyncio.events.__file__


@dataclass(frozen=True, slots=True)
class End:
    """The end of one stream was read."""

    at_ns: int
    where: str
    """``file:line in function``; empty if the event loop read it and none of the program's code had it yet."""


class EndTrace:
    """Notes which lines read the ends of streams, while it is installed."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._ends: dict[tuple[str, str], End] = {}
        self._lock = threading.Lock()
        self._installed = 0

    def find(self, local: str, peer: str) -> End | None:
        """Return what is known of a connection's end."""
        return self._ends.get((local, peer))

    def forget_all_but(self, keys: set[tuple[str, str]]) -> None:
        """Drop what was noted of connections that are not in CLOSE-WAIT any more."""
        with self._lock:
            self._ends = {key: end for key, end in self._ends.items() if key in keys}

    def explain(self, end: End | None) -> str:
        """Say in words which line read the end."""
        if end is None:
            if not self._installed:
                return "which line has read the end of the stream was not traced"
            return "no line of the program has read the end of the stream"
        if not end.where:
            return "the event loop has read the end of the stream; no line of the program was seen to"
        return f"{end.where} read the end of the stream and did not close"

    @contextmanager
    def installed(self, classes: tuple[type[Any], ...]) -> Iterator[None]:
        """Install the wrappers during the block."""
        with ExitStack() as stack:
            owners: tuple[type[Any], ...] = (socket.socket, *classes)
            for owner in owners:
                for name in _RECEIVING:
                    stack.enter_context(_replaced(owner, name, self._around_receive))
            stack.enter_context(_replaced(ssl.SSLSocket, "read", self._around_receive))
            for name in _READING:
                stack.enter_context(_replaced(asyncio.StreamReader, name, self._around_read))
            self._installed += 1
            try:
                yield
            finally:
                self._installed -= 1

    def _around_receive(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def receive(sock: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(sock, *args, **kwargs)
            if not result or (type(result) is tuple and not result[0]):
                self._note_socket(sock, args, sys._getframe(1))
            return result

        return receive

    def _around_read(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def read(reader: asyncio.StreamReader, *args: Any, **kwargs: Any) -> Any:
            try:
                data = await original(reader, *args, **kwargs)
            except asyncio.IncompleteReadError:
                self._note_reader(reader, sys._getframe(1))
                raise
            if not data and reader.at_eof():
                self._note_reader(reader, sys._getframe(1))
            return data

        return read

    def _note_socket(self, sock: Any, args: tuple[Any, ...], frame: FrameType) -> None:
        # A request for no bytes returns none; and an empty datagram is no end.
        if (args and not isinstance(args[0], int) and not len(args[0])) or (args and args[0] == 0):
            return
        if sock.type == socket.SOCK_STREAM:
            self._note(sock, _line_of_program(frame))

    def _note_reader(self, reader: asyncio.StreamReader, frame: FrameType) -> None:
        transport = getattr(reader, "_transport", None)
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is not None:
            self._note(sock, _line_of_program(frame))

    def _note(self, sock: Any, where: str) -> None:
        try:
            key = peer_name(sock.getsockname()), peer_name(sock.getpeername())
        except OSError:
            return
        with self._lock:
            known = self._ends.get(key)
            if known is not None and (known.where or not where):
                return
            if known is None and len(self._ends) >= _ENDS_MAX:
                del self._ends[next(iter(self._ends))]
            self._ends[key] = End(self._clock_ns() if known is None else known.at_ns, where)


def _line_of_program(frame: FrameType | None) -> str:
    """Find the line of the program that is on the stack, innermost first."""
    fallback = ""
    while frame is not None and frame.f_code.co_filename != _LOOP:
        file = frame.f_code.co_filename
        where = f"{file}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        if file.startswith(_SCENES):
            return where
        if file.startswith(_PACKAGES) and not file.startswith(_ESTAB):
            fallback = fallback or where
        elif not file.startswith((*_PYTHON, _ESTAB, "<frozen ")):
            return where
        frame = frame.f_back
    return fallback


@contextmanager
def _replaced(
    owner: type[Any], name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Replace a class's method with ``around(method)``, and restore it afterwards."""
    original = getattr(owner, name)
    own = vars(owner).get(name)
    setattr(owner, name, around(original))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
