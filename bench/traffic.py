"""Bulk traffic between hosts of the lab for the benches and their tests: no programs, no threads, only the engine.

A ``Bulk`` is one connection that always has something to send, and whose other end always reads. It stands on the
host's own calls, driven by its readiness events, so that what is measured is TCP and the link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estab.abi import AF_INET, POLLIN, POLLOUT, SOCK_STREAM
from estab.host.sockets.stream import StreamSocket
from estab.lab.host import Host
from estab.lab.network import Network
from estab.units import SECOND

__all__ = ["Bulk", "jain", "wide_open"]

_PIECE = bytes(1 << 20)
_READ_MOST = 1 << 22


def wide_open(buffer_bytes: int) -> dict[str, Any]:
    """Settings of a host whose buffers may grow to ``buffer_bytes``, so that they never limit the flow."""
    return {"tcp_rmem": (4096, 131_072, buffer_bytes), "tcp_wmem": (4096, 16_384, buffer_bytes)}


class _Ready:
    """Calls ``work`` once, outside of the host, after its descriptor had news."""

    def __init__(self, net: Network, host: Host, fd: int, bits: int, work: Callable[[], None]) -> None:
        self._net = net
        self._host = host
        self._bits = bits
        self._work = work
        self._is_asked = False
        host.runtime.watches.add(fd, self)
        self.on_ready(fd, bits)

    def on_ready(self, fd: int, bits: int) -> None:
        """Hear of news."""
        if bits & self._bits and not self._is_asked:
            self._is_asked = True
            agenda = self._net._agenda
            agenda.at(agenda.now_ns, self._act, None)

    def _act(self, nothing: None) -> None:
        self._is_asked = False
        self._work()
        self._host.runtime.flush()


@dataclass(slots=True)
class Mark:
    """What had arrived at a time."""

    now_ns: int
    received_bytes: int


class Bulk:
    """A connection from ``sender`` to ``receiver`` that is never idle, from ``start_s`` (virtual seconds) on."""

    def __init__(
        self, net: Network, sender: Host, receiver: Host, port: int, control: str, start_s: float = 0.0,
    ) -> None:
        self.received_bytes = 0
        self._net = net
        self._sender = sender
        self._receiver = receiver
        self._port = port
        self._control = control
        self._mark = Mark(0, 0)
        self.socket: StreamSocket | None = None
        net.at(start_s, self._open)

    def mark(self) -> None:
        """Measure from now on."""
        self._mark = Mark(self._net.now_ns, self.received_bytes)

    def rate_bps(self) -> float:
        """Give the text that arrived since ``mark``, in bits a second."""
        return (self.received_bytes - self._mark.received_bytes) * 8 * SECOND / (self._net.now_ns - self._mark.now_ns)

    def _open(self) -> None:
        now_ns = self._net.now_ns
        self._listener = _stream(self._receiver, now_ns)
        self._listener.bind(("", self._port), now_ns)
        self._listener.listen(1, now_ns)
        _Ready(self._net, self._receiver, self._listener.fd, POLLIN, self._accept)
        self.socket = _stream(self._sender, now_ns)
        self.socket.congestion = self._control
        try:
            self.socket.connect((self._receiver.address, self._port), now_ns)
        except BlockingIOError:
            pass
        _Ready(self._net, self._sender, self.socket.fd, POLLOUT, self._send)
        self._sender.runtime.flush()

    def _accept(self) -> None:
        if self._listener.listener is None or not self._listener.listener.ready:
            return
        self._end = self._listener.accept(self._net.now_ns)
        _Ready(self._net, self._receiver, self._end.fd, POLLIN, self._receive)

    def _send(self) -> None:
        socket, now_ns = self.socket, self._net.now_ns
        assert socket is not None
        try:
            while socket.send(_PIECE, 0, now_ns):
                pass
        except (BlockingIOError, BrokenPipeError):
            pass

    def _receive(self) -> None:
        try:
            while data := self._end.recv(_READ_MOST, 0, self._net.now_ns):
                self.received_bytes += len(data)
        except BlockingIOError:
            pass


def jain(rates: list[float]) -> float:
    """Give Jain's index of fairness: 1 where all are equal, 1/n where one has all (RFC 5166 section 2.3.2)."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def _stream(host: Host, now_ns: int) -> StreamSocket:
    made = host.engine.socket(AF_INET, SOCK_STREAM, now_ns)
    assert isinstance(made, StreamSocket)
    return made
