"""``ping``: a socket that sends echo requests and keeps the replies.

Linux's "ping socket" (SOCK_DGRAM with IPPROTO_ICMP) with the bookkeeping of the ``ping`` program: round-trip times and
errors come with the sequence number they belong to. Both the requests remembered and the results kept are bounded.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from typing import Final

from mypy_extensions import i64

from estab.abi import AF_INET, AF_INET6, POLLIN, POLLOUT, SOCK_DGRAM
from estab.errors import DropReason, os_error
from estab.host.arriving.icmp import Icmp, Pinger
from estab.host.sockets.files import Files
from estab.wire import icmp as wire
from estab.wire.address import format_address
from estab.wire.ip import Packet

__all__ = ["IcmpSocket", "PingResult"]

RESULTS_MAX: Final = 1024
REQUESTS_MAX: Final = 1024


class PingResult:
    """What became of one request: a reply after ``rtt_ns``, or an error (``errno`` not 0) and its text."""

    def __init__(
        self, sequence: i64, source: str, payload: bytes, ttl: i64, rtt_ns: i64, number: i64, text: str,
    ) -> None:
        self.sequence: i64 = sequence
        self.source: str = source
        self.payload: bytes = payload
        self.ttl: i64 = ttl
        self.rtt_ns: i64 = rtt_ns
        """-1 if the request is not remembered any more."""
        self.errno: i64 = number
        self.text: str = text


class IcmpSocket(Pinger):
    """Echo requests to one destination. ``ident`` tells its replies from others' of the same host."""

    def __init__(self, icmp: Icmp, files: Files, destination: bytes, scope: i64) -> None:
        super().__init__(AF_INET if len(destination) == 4 else AF_INET6, SOCK_DGRAM, "icmp")
        self.icmp: Icmp = icmp
        self.files: Files = files
        self.destination: bytes = destination
        self.scope: i64 = scope
        self.ident: i64 = icmp.add_pinger(self, 4 if len(destination) == 4 else 6)
        self.ttl: i64 = icmp.context.config.ip_default_ttl
        self.tos: i64 = 0
        self.results: deque[PingResult] = deque()
        self.sequence: i64 = 0
        """Number of the last request, from 1, modulo 65536."""
        self._sent_ns: OrderedDict[int, int] = OrderedDict()

    def send(self, payload: bytes, now_ns: i64) -> int:
        """Send the next request and give its sequence number. ENETUNREACH, EMSGSIZE."""
        self.icmp.context.now_ns = now_ns
        sequence: i64 = (self.sequence + 1) & 0xFFFF
        self.icmp.send_echo(self.ident, sequence, payload, b"", self.destination, self.ttl, self.tos, self.scope)
        self.sequence = sequence
        if len(self._sent_ns) >= REQUESTS_MAX:
            del self._sent_ns[next(iter(self._sent_ns))]
        self._sent_ns[sequence] = now_ns
        return sequence

    def receive(self) -> PingResult:
        """Take the oldest result, or raise EAGAIN."""
        if not self.results:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: no reply from "
                           f"{format_address(self.destination)} yet")
        return self.results.popleft()

    def close(self, now_ns: i64) -> None:
        """Release the descriptor; later replies find no socket."""
        self.icmp.remove_pinger(4 if len(self.destination) == 4 else 6, self.ident)
        self.files.release(self)

    def readiness(self) -> i64:
        """POLL bits that hold now."""
        return POLLOUT | (POLLIN if self.results else 0)

    def on_reply(self, packet: Packet, echo: wire.Echo) -> None:
        """Keep a reply."""
        self._keep(PingResult(echo.sequence, format_address(packet.src), echo.payload, packet.ttl,
                              self._rtt_ns(echo.sequence), 0, ""))

    def on_error(self, sequence: i64, number: i64, text: str) -> None:
        """Keep an error, as a result of its request."""
        self._keep(PingResult(sequence, format_address(self.destination), b"", 0, self._rtt_ns(sequence), number, text))

    def _rtt_ns(self, sequence: i64) -> i64:
        sent_ns: i64 = self._sent_ns.pop(sequence, -1)
        return self.icmp.context.now_ns - sent_ns if sent_ns >= 0 else -1

    def _keep(self, result: PingResult) -> None:
        context = self.icmp.context
        if len(self.results) >= RESULTS_MAX:
            context.drop(DropReason.SOCKET_RCVBUFF, "", f"{RESULTS_MAX} ping results wait")
            return
        self.results.append(result)
        context.wake(self)
