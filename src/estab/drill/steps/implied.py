"""FreeBSD's ``sendto`` on a TCP socket that is not connected: it connects, and the text waits in the send buffer.

With TCP_FASTOPEN on the socket, and Fast Open on for clients (``net.inet.tcp.fastopen.client_enable``), the text goes
on the SYN if a cookie is known (RFC 7413). The call returns at once; what could not go yet goes as soon as it can.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from estab import abi
from estab.abi import MSG_FASTOPEN
from estab.drill.machine.machine import Machine
from estab.host.sockets.stream import StreamSocket
from estab.tcp.fastopen import CLIENT

__all__ = ["ImpliedConnects"]


class ImpliedConnects:
    """The sockets of one script that were opened so, and what is left to be sent on them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._left: list[Generator[None, None, None]] = []

    def is_meant(self, socket: StreamSocket) -> bool:
        """Tell whether ``sendto`` to an address opens the connection of this socket."""
        is_freebsd = self.machine.settings.profile == "freebsd"
        return is_freebsd and socket.connection is None and socket.listener is None

    def begin(self, socket: StreamSocket, data: bytes, address: tuple[str, int]) -> int:
        """Connect, and let ``data`` follow. ``OSError`` if the connection can't even begin."""
        now_ns = self.machine.now_ns
        may_be_fast = self.machine.engine.config.tcp_fastopen & CLIENT and socket.fast_open_backlog > 0
        sent = 0
        seconds = socket.defer_accept_s
        socket.defer_accept_s = 1  # the third segment is the text's
        with contextlib.suppress(BlockingIOError):
            if may_be_fast:
                sent = socket.send(data, MSG_FASTOPEN, now_ns, address)
            else:
                socket.connect(address, now_ns)
        socket.defer_accept_s = seconds
        if sent < len(data):
            socket.wait_with_text(True)
            rest = self._send_rest(socket, data[sent:])
            next(rest)
            self._left.append(rest)
        return len(data)

    def go_on(self) -> bool:
        """Send what can be sent now. ``True`` if something was."""
        before = len(self._left)
        self._left = [rest for rest in self._left if next(rest, rest) is None]
        return len(self._left) < before

    def _send_rest(self, socket: StreamSocket, data: bytes) -> Generator[None, None, None]:
        yield
        while socket.state in (abi.SYN_SENT, abi.SYN_RECEIVED):
            yield
        with contextlib.suppress(OSError):  # the connection failed: SO_ERROR tells, as after any call that is over
            while data and socket.connection is not None and socket.connection.error == 0:
                try:
                    data = data[socket.send(data, 0, self.machine.now_ns):]
                except BlockingIOError:
                    yield
