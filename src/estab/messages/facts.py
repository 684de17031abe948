"""What a socket knows about its connection: when data last arrived, how much is unacknowledged.

Read from the socket itself: ``TCP_INFO``, ``SIOCINQ``, ``SIOCOUTQ`` and ``SIOCOUTQNSD`` on Linux. A socket of another
stack answers by a method ``info()``, as estab's do: the attributes of what it gives are named in ``_from_info``. What
can't be found out is None; nothing here raises.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from estab.units import MS, format_duration

__all__ = ["SocketFacts", "SocketLike", "socket_facts"]

_TCP_INFO: Final = struct.Struct("=8B24I")
"""The head of Linux's ``struct tcp_info``, up to ``tcpi_total_retrans``."""
_STATES: Final = (
    "", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING",
)
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds."""
_SIOCINQ: Final = 0x541B
_SIOCOUTQ: Final = 0x5411
_SIOCOUTQNSD: Final = 0x894B


class SocketLike(Protocol):
    """The calls of a socket that are needed here; asyncio's ``TransportSocket`` has them as well."""

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return an option's bytes."""

    def setsockopt(self, level: int, optname: int, value: bytes, /) -> None:
        """Set an option."""


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What a socket knew at one moment; None if it does not report it. Times are nanoseconds before that moment."""

    state: str | None = None
    """As RFC 9293 writes it."""
    last_data_in_ns: int | None = None
    """How long ago the last segment with data came in (at first: since the connection was made)."""
    last_ack_in_ns: int | None = None
    """How long ago the last acknowledgment came in; on estab, the last segment of any kind."""
    outq_bytes: int | None = None
    """Written by the program and not acknowledged: in flight, or not sent yet (SIOCOUTQ)."""
    unsent_bytes: int | None = None
    """The part of ``outq_bytes`` that has not left (SIOCOUTQNSD)."""
    unread_bytes: int | None = None
    """Received and not yet read by the program (SIOCINQ)."""
    retransmits: int | None = None
    """Retransmission time-outs in a row without an answer."""
    probes: int | None = None
    """Keepalive or window probes without an answer."""

    @property
    def unacked_bytes(self) -> int | None:
        """Sent and not acknowledged by the peer's kernel."""
        if self.outq_bytes is None:
            return None
        return self.outq_bytes - (self.unsent_bytes or 0)

    def __str__(self) -> str:
        parts = []
        if self.state is not None:
            parts.append(f"in {self.state}")
        if self.last_data_in_ns is not None:
            parts.append(f"last data came {format_duration(self.last_data_in_ns)} ago")
        if self.last_ack_in_ns is not None:
            parts.append(f"last ACK {format_duration(self.last_ack_in_ns)} ago")
        if self.outq_bytes is not None:
            parts.append(f"{self.unacked_bytes} bytes unacknowledged, {self.unsent_bytes or 0} unsent")
        if self.unread_bytes:
            parts.append(f"{self.unread_bytes} bytes unread")
        if self.retransmits:
            parts.append(f"{self.retransmits} retransmissions unanswered")
        return "the socket: " + ", ".join(parts) if parts else "the socket reports nothing more"


def socket_facts(sock: SocketLike | None) -> SocketFacts:
    """Ask a socket what it knows. Works on Linux and on estab; elsewhere, and without a socket, all is None."""
    if sock is None:
        return SocketFacts()
    inner = getattr(sock, "_sock", sock)  # asyncio's TransportSocket shows little of the socket it holds
    info = getattr(inner, "info", None)
    return _from_info(info) if callable(info) else _from_kernel(sock)


def _from_info(info: Callable[[], object]) -> SocketFacts:
    try:
        known = info()
    except OSError:
        return SocketFacts()
    names = (
        "state", "last_data_recv_ns", "last_received_ns", "outq_bytes", "notsent_bytes", "inq_bytes", "retransmits",
        "probes",
    )
    return SocketFacts(*(getattr(known, name, None) for name in names))


def _from_kernel(sock: SocketLike) -> SocketFacts:
    state = last_data_in = last_ack_in = retransmits = probes = None
    info = _tcp_info(sock)
    if info is not None:
        state = _STATES[info[0]] if info[0] < len(_STATES) else None
        retransmits, probes = info[2], info[3]
        last_data_in, last_ack_in = info[19] * MS, info[20] * MS
    outq, unsent, unread = (_ioctl(sock.fileno(), request) for request in (_SIOCOUTQ, _SIOCOUTQNSD, _SIOCINQ))
    return SocketFacts(state, last_data_in, last_ack_in, outq, unsent, unread, retransmits, probes)


def reset_at_close(sock: SocketLike | None) -> None:
    """Make the next ``close`` discard what is unsent and reset the connection, if the socket can."""
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)


def unread_bytes(descriptor: int) -> int | None:
    """Ask the kernel how many bytes wait to be read on one of this process's sockets (SIOCINQ)."""
    return _ioctl(descriptor, _SIOCINQ)


def _tcp_info(sock: SocketLike) -> tuple[int, ...] | None:
    option = getattr(socket, "TCP_INFO", None)
    if option is None or sys.platform != "linux":
        return None
    try:
        return _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO.size))
    except (OSError, struct.error, TypeError):
        return None


def _ioctl(descriptor: int, request: int) -> int | None:
    if descriptor < 0 or sys.platform != "linux":
        return None
    import fcntl

    try:
        return int(struct.unpack("i", fcntl.ioctl(descriptor, request, bytes(4)))[0])
    except OSError:
        return None
