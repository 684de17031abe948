"""``News``: news of one socket of a stack, brought into an event loop.

The loop knows nothing of the stack: if a socket has news, the thread that runs the engine makes the loop call a
function. If the socket is closed, or the stack is, another function is called, once, with the error that says so.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from estab.abi import POLLNVAL
from estab.cpython import get_ident
from estab.errors import os_error
from estab.sockets.socket.socket import Socket

if TYPE_CHECKING:
    from estab.realtime.real import RealTime

__all__ = ["News", "call_in_loop", "runtime_of"]


def runtime_of(socket: Socket) -> RealTime:
    """Return the runtime of a stack's socket."""
    runtime: RealTime = socket.runtime  # type: ignore[assignment]
    return runtime


def call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> bool:
    """Make a loop call a function soon. Any thread may do so. ``False``: the loop is closed."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        return False
    return True


class News:
    """Makes a loop call ``on_news``, once for any amount of news of one socket, or ``on_end`` if there will be no more.

    Any thread may report news. ``on_end`` is called once at most; after it, or after ``stop``, nothing is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Socket, on_news: Callable[[], None],
                 on_end: Callable[[OSError], None], unsent_bytes: Callable[[], int] | None = None) -> None:
        self._loop = loop
        self._ident = get_ident()
        self._on_news = on_news
        self._on_end = on_end
        self._unsent_bytes = unsent_bytes
        self._is_scheduled = False
        self._is_stopped = False
        self._fd = socket.fd
        self._runtime = runtime_of(socket)
        self._runtime.watches.add(self._fd, self)
        self._runtime.dependents[self] = None

    def on_ready(self, fd: int, bits: int) -> None:
        """Receive the socket's news."""
        if bits & POLLNVAL:
            self.end(os_error(errno.EBADF, "bad file descriptor: the socket was closed"))
        else:
            self.schedule()

    def schedule(self) -> None:
        """Call ``on_news`` soon, in the loop."""
        if self._is_scheduled:
            return
        self._is_scheduled = True
        if get_ident() == self._ident:
            self._loop.call_soon(self._run)
        elif not call_in_loop(self._loop, self._run):
            self._is_scheduled = False

    def end(self, error: OSError) -> None:
        """Call ``on_end`` soon, in the loop: there will be no more news."""
        if not self._is_stopped:
            self._forget()
            call_in_loop(self._loop, self._run_end, error)

    def has_unsent(self) -> bool:
        """Tell whether there is text that the socket has not taken yet."""
        return self._unsent_bytes is not None and self._unsent_bytes() > 0

    def stop(self) -> None:
        """Receive no more news."""
        self._forget()
        self._is_stopped = True

    def _forget(self) -> None:
        self._runtime.watches.remove(self._fd, self)
        self._runtime.dependents.pop(self, None)

    def _run(self) -> None:
        self._is_scheduled = False
        if not self._is_stopped:
            self._on_news()

    def _run_end(self, error: OSError) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._on_end(error)
