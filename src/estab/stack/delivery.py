"""What was written arrives: closing a connection and waiting until the peer has acknowledged everything.

A closed connection goes on by itself, as an orphan. ``close_delivered`` follows one; ``Drain`` follows all that a stack
has. Acknowledged is not processed: the peer's TCP has the bytes, its program may not have read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from estab.abi import CLOSED, SYN_SENT
from estab.errors import os_error
from estab.host.sockets.stream import StreamSocket
from estab.stack.news import call_in_loop, runtime_of
from estab.tcp.connection import Connection
from estab.tcp.record.numbers import NO_SEQ

if TYPE_CHECKING:
    from estab.realtime.real import RealTime
    from estab.sockets.socket.socket import Socket

__all__ = ["Delivery", "Drain", "close_delivered", "warn_of_rest"]

_LOG: Final = logging.getLogger("estab.stack")
Told = Callable[[OSError | None], object]


def close_delivered(loop: asyncio.AbstractEventLoop, socket: Socket, tell: Told) -> Delivery | None:
    """Close a TCP socket, and have the loop call ``tell`` when all that was written is acknowledged, the FIN included.

    ``tell`` is given ``None``, or the error that says that it was not. ``None`` is returned if there is nothing to
    wait for: ``tell`` is then called soon. Unread text makes the close a reset, as always.
    """
    runtime = runtime_of(socket)
    with runtime.lock:
        host = socket.descriptor if socket.fd >= 0 else None
        connection = host.connection if isinstance(host, StreamSocket) else None
        if not isinstance(host, StreamSocket) or connection is None:
            socket.close()
            loop.call_soon(tell, None)
            return None
        is_reset = host.is_reset_by_close() and host.outq_bytes > 0
        is_idle = connection.state == CLOSED or (host.outq_bytes == 0 and connection.state == SYN_SENT)
        if host.linger:
            host.linger = None  # to wait for the delivery is what it asks for
        socket.close()
        if is_reset:
            loop.call_soon(tell, os_error(errno.ECONNABORTED, f"software caused connection abort: {connection.name()} "
                                          "was closed with unread text, which is a reset"))
            return None
        if is_idle or is_delivered(connection):
            loop.call_soon(tell, None)
            return None
        return Delivery(loop, runtime, connection, tell)


class Delivery:
    """Looks after one closed connection until all is acknowledged. ``stop`` ends that."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runtime: RealTime, connection: Connection, tell: Told) -> None:
        self._loop = loop
        self._runtime = runtime
        self._connection = connection
        self._tell = tell
        self._is_over = False
        runtime.dependents[self] = None
        runtime.hooks.append(self._look)

    def _look(self) -> None:
        if is_delivered(self._connection):
            self.finish()
        elif self._connection.state == CLOSED:
            self.end(os_error(errno.ECONNRESET, f"connection reset by peer: {self._connection.name()} ended before all "
                              "that was written was acknowledged"))

    def finish(self) -> None:
        """Tell that all arrived."""
        if not self._is_over:
            self.stop()
            call_in_loop(self._loop, self._tell, None)

    def end(self, error: OSError) -> None:
        """Tell that it did not."""
        if not self._is_over:
            self.stop()
            call_in_loop(self._loop, self._tell, error)

    def has_unsent(self) -> bool:
        """Tell that TCP has all text."""
        return False

    def stop(self) -> None:
        """Look no more. The connection finishes all the same."""
        self._is_over = True
        with self._runtime.lock:
            self._runtime.dependents.pop(self, None)
            with contextlib.suppress(ValueError):
                self._runtime.hooks.remove(self._look)


def is_delivered(connection: Connection) -> bool:
    """Tell whether the peer has acknowledged all that was written, and the FIN of a connection that was closed."""
    if connection.state == CLOSED:
        # Our FIN follows all text, and is acknowledged after it.
        return connection.fin_seq != NO_SEQ and connection.snd_una >= connection.fin_seq
    return connection.outq_bytes() == 0 and not (connection.is_orphan and connection.is_closing())


class Drain:
    """Tells whether all that was written on a stack is delivered: ``is_done``, to be asked with the lock held."""

    def __init__(self, runtime: RealTime) -> None:
        self._runtime = runtime
        self._left: list[Connection] = []

    def is_done(self) -> bool:
        """Look at those connections again that were not done before, and at last once more at all."""
        left = self._left
        while True:
            while left and (is_delivered(left[-1]) or left[-1].state == CLOSED):
                left.pop()
            if left or self._runtime.has_unsent():
                return False
            left += undelivered(self._runtime)
            if not left:
                return True

    def describe(self) -> str:
        """Say what is waited for."""
        return f"drain() of stack {self._runtime.name}"


def undelivered(runtime: RealTime) -> list[Connection]:
    """List the connections on which something is not acknowledged."""
    return [found for found in runtime.engine.demux.table.values()
            if isinstance(found, Connection) and found.state != CLOSED and not is_delivered(found)]


def warn_of_rest(runtime: RealTime) -> None:
    """Say in the log what a stack that is closed now leaves undelivered."""
    left = undelivered(runtime)
    if left:
        size = sum(connection.outq_bytes() for connection in left)
        _LOG.warning("stack %s was closed with %d bytes unacknowledged on %d connections, %s among them: "
                     "drain() waits for them", runtime.name, size, len(left), left[0].name())
