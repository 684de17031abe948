"""What a ``Socket`` has beyond ``socket.socket``: it shows what TCP does, and keeps the history of its calls."""

from __future__ import annotations

import errno
import math
import socket as os_socket
from typing import TYPE_CHECKING

from estab.abi import CLOSED
from estab.errors import os_error
from estab.host.sockets.stream import StreamSocket
from estab.sockets.socket import acked
from estab.sockets.socket.blocking import HOST_FAMILIES, NO_SLOTS
from estab.sockets.socket.calls import told
from estab.sockets.socket.transfer import Transfer
from estab.tcp.state import State
from estab.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from estab.sockets.history import PastCall
    from estab.tcp.info import Info, Queues

__all__ = ["Beyond"]


class Beyond(Transfer):
    """A socket that shows what TCP does."""

    __slots__ = NO_SLOTS

    @property
    def state(self) -> State:
        """TCP's state; ``str()`` of it is as RFC 9293 writes it. A UDP socket has no such attribute."""
        host = self._stream_or_none("state")
        return State(CLOSED if host is None else host.state)

    @property
    def unacked(self) -> int:
        """Bytes that were written and that the peer has not acknowledged (SIOCOUTQ). A UDP socket has no such thing."""
        host = self._stream_or_none("unacked")
        return 0 if host is None else host.outq_bytes

    def info(self) -> Info:
        """Return what TCP_INFO tells, as named fields."""
        return self._stream("info").info(self.runtime.now_ns)

    def queues(self) -> Queues:
        """Return a listener's two queues: what waits in them and for how long, their limits, and what overflowed."""
        return self._stream("queues").queues(self.runtime.now_ns)

    def wait_acked(self, timeout: float | None = None) -> Awaitable[None] | None:
        """Wait until the peer has acknowledged all that was written.

        If an event loop runs, nothing blocks: the caller awaits the result. ``TimeoutError``, or the error that ended
        the connection. Acknowledged is not processed: the peer's TCP has the bytes, its program may not have read them.
        """
        loop = acked.running_loop()
        if loop is not None:
            return acked.wait_in_loop(self.runtime, self._stream("wait_acked"), timeout, loop)
        self._wait_acked(timeout)
        return None

    @told
    def _wait_acked(self, timeout: float | None) -> None:
        host = self._stream("wait_acked")
        deadline_ns = None if timeout is None else self.runtime.now_ns + math.ceil(timeout * SECOND)
        with self.runtime.lock:
            self.runtime.flush()
            if not self._wait_until(lambda: acked.is_over(host), "wait_acked", deadline_ns, -1):
                raise TimeoutError("timed out")
            acked.check(host)

    def history(self) -> list[PastCall]:
        """Return this socket's last calls and what each changed, oldest first; ``str()`` of one prints it in lines.

        Kept from ``keep_history()`` of its host on; ``RuntimeError`` if that was not called.
        """
        if self._past is None and self.runtime.historian is None:
            raise RuntimeError(f"history: nothing is kept on {self.runtime.name}; call its keep_history() first")
        return list(self._past or ())

    def _stream(self, name: str) -> StreamSocket:
        host = self.descriptor
        if not isinstance(host, StreamSocket):
            raise os_error(errno.EOPNOTSUPP, f"operation not supported: {name} on a socket of {host.netid}")
        return host

    def _stream_or_none(self, name: str) -> StreamSocket | None:
        """Return the host's side for an attribute, ``None`` once closed, as code that reads all attributes expects."""
        if self._kind != os_socket.SOCK_STREAM or self._family not in HOST_FAMILIES:
            raise AttributeError(f"a socket that is not TCP has no {name}")
        return None if self.fd < 0 else self._stream(name)
