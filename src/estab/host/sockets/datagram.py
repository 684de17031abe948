"""What a UDP socket is made of: datagrams that came or are being put together, errors that wait, and its options."""

from __future__ import annotations

import errno
from collections import deque
from struct import Struct
from typing import Final

from mypy_extensions import i64

from estab.abi import (
    AF_INET,
    AF_INET6,
    IP_PMTUDISC_WANT,
    IP_RECVERR,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_RECVERR,
    MSG_OOB,
    SOCK_DGRAM,
)
from estab.errors import os_error
from estab.host.ip.paths import HostPaths
from estab.host.sockets.ancillary import Ancillary, SendControl
from estab.host.sockets.bound import BoundDescriptor
from estab.host.sockets.groups import Multicast
from estab.tcp.context import Context, endpoint_text
from estab.undeletable import undeletable
from estab.wire import icmp
from estab.wire.address import is_link_local, is_multicast
from estab.wire.ip import Packet

__all__ = [
    "DatagramSettings", "Pending", "QueuedError", "Received", "already_bound", "ensure_fits", "ensure_has_control",
    "ensure_v4_sends",
]

_V4_TEXT_BYTES_MAX: Final = 65_507
_V6_TEXT_BYTES_MAX: Final = 65_527
_UDP_BYTES_MAX: Final = 0xFFFF
RECEIVE_BUFFER_BYTES: Final = 212_992
"""Default of a socket's queue (Linux's ``rmem_default``), with an overhead for each datagram."""
ERRORS_MAX: Final = 64
"""Errors that wait to be read by MSG_ERRQUEUE; beyond it they are counted in ``errors_dropped_count``."""
_FROM_ICMP: Final = 2
_FROM_ICMPV6: Final = 3
_EXTENDED: Final = Struct("IBBBxII")
_SOCKADDR_IN: Final = Struct("HH4s8x")
_SOCKADDR_IN6: Final = Struct("HHI16sI")


class Received:
    """One datagram in a socket's queue, and what the program may ask about it."""

    def __init__(self, text: bytes, packet: Packet, port: i64, scope: i64) -> None:
        self.text: bytes = text
        self.source: bytes = packet.src
        self.source_port: i64 = port
        self.destination: bytes = packet.dst
        self.ttl: i64 = packet.ttl
        self.tos: i64 = packet.tos
        self.scope: i64 = scope
        """Index of the interface that it came in by."""


class Pending:
    """A datagram that is being put together: its parts, and where it will go."""

    def __init__(self, remote: bytes, port: i64, scope: i64, control: SendControl | None) -> None:
        self.remote: bytes = remote
        self.port: i64 = port
        self.scope: i64 = scope
        self.control: SendControl | None = control
        self.parts: list[bytes] = []
        self.size: i64 = 0


class QueuedError:
    """An ICMP error about a datagram of ours: what MSG_ERRQUEUE gives."""

    def __init__(self, number: i64, offender: bytes, error: icmp.Error) -> None:
        self.number: i64 = number
        self.offender: bytes = offender
        self.error: icmp.Error = error

    def text(self) -> bytes:
        """Return what the error quotes of the datagram's text."""
        at = self.error.quoted.text_at
        return self.error.quote[at:] if at >= 0 else b""

    def ancillary(self, scope: i64) -> Ancillary:
        """Return Linux's ``struct sock_extended_err``, followed by the address that reported it."""
        error = self.error
        is_v4 = error.version == 4
        origin = _FROM_ICMP if is_v4 else _FROM_ICMPV6
        head = _EXTENDED.pack(int(self.number), origin, int(error.type), int(error.code), int(error.mtu), 0)
        if is_v4:
            return IPPROTO_IP, IP_RECVERR, head + _SOCKADDR_IN.pack(AF_INET, 0, self.offender)
        scope_id = int(scope) if is_link_local(self.offender) else 0
        return IPPROTO_IPV6, IPV6_RECVERR, head + _SOCKADDR_IN6.pack(AF_INET6, 0, 0, self.offender, scope_id)


class DatagramSettings(BoundDescriptor):
    """What a UDP socket is made of, and its options.

    ``ttl``, ``tos`` and ``broadcast`` may be set at any time.
    """

    def __init__(self, context: Context, family: i64) -> None:
        super().__init__(family, SOCK_DGRAM, "udp")
        self.context: Context = context
        self.keepalive: bool = False
        """SO_KEEPALIVE and SO_OOBINLINE: shown, and without a meaning for datagrams."""
        self.oob_inline: bool = False
        self.ttl: i64 = context.config.ip_default_ttl
        self.tos: i64 = 0
        self.pmtu_discover: i64 = IP_PMTUDISC_WANT
        """IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: whether datagrams may be cut on the way."""
        self.multicast = Multicast(family)
        self._receive_buffer_bytes: i64 = RECEIVE_BUFFER_BYTES
        self._send_buffer_bytes: i64 = RECEIVE_BUFFER_BYTES
        """Shown, and without effect: a datagram that was sent is on its way at once."""
        self.is_corked: bool = False
        """UDP_CORK: what is sent is kept, and goes as one datagram when the option is cleared."""
        self._keeps_errors: bool = False
        self.errors: deque[QueuedError] = deque()
        self.errors_dropped_count: i64 = 0

    @property
    def receive_buffer_bytes(self) -> int:
        """SO_RCVBUF: bytes of the queue with its overhead, from 2304 to twice ``rmem_max``."""
        return self._receive_buffer_bytes

    @receive_buffer_bytes.setter
    def receive_buffer_bytes(self, value: int) -> None:
        self._receive_buffer_bytes = max(2304, min(value, 2 * self.context.config.rmem_max))

    @property
    def send_buffer_bytes(self) -> int:
        """SO_SNDBUF: the size of the send buffer, as it is. What is sent leaves at once and never fills it."""
        return self._send_buffer_bytes

    @send_buffer_bytes.setter
    def send_buffer_bytes(self, value: int) -> None:
        self._send_buffer_bytes = max(4608, min(value, 2 * self.context.config.wmem_max))

    @property
    def keeps_errors(self) -> bool:
        """IP_RECVERR, IPV6_RECVERR: every ICMP error is reported, of unconnected sockets too, and kept to be read."""
        return self._keeps_errors

    @keeps_errors.setter
    def keeps_errors(self, value: bool) -> None:
        self._keeps_errors = value
        if not value:
            self.errors.clear()

    def set_keepalive(self, is_on: bool, now_ns: i64) -> None:
        """Switch SO_KEEPALIVE."""
        self.keepalive = is_on

    def takes(self, received: Received) -> bool:
        """Tell whether the socket wants what came to a group or a broadcast address."""
        return not is_multicast(received.destination) or self.says.takes(
            received.destination, received.scope, received.source)

    @property
    def says(self) -> Multicast:
        """What it says of multicast."""
        multicast = self.multicast
        assert multicast is not None
        return multicast

    def keep_error(self, queued: QueuedError) -> None:
        """Put an error where MSG_ERRQUEUE finds it."""
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(queued)
        else:
            self.errors_dropped_count += 1


undeletable(DatagramSettings, "receive_buffer_bytes", "send_buffer_bytes", "keeps_errors")


def already_bound(where: str) -> OSError:
    """Make the error of a second ``bind``."""
    return os_error(errno.EINVAL, f"invalid argument: the socket is already bound to {where}")


def ensure_v4_sends(size: i64, flags: i64) -> None:
    """Raise EMSGSIZE or EOPNOTSUPP for what UDP over IPv4 refuses before it looks at anything else, as Linux does.

    UDP over IPv6 passes over MSG_OOB.
    """
    if size > _UDP_BYTES_MAX:
        raise os_error(errno.EMSGSIZE, f"message too long: {size} bytes, and UDP counts {_UDP_BYTES_MAX}")
    if (flags & MSG_OOB) != 0:
        raise os_error(errno.EOPNOTSUPP, "operation not supported: UDP has no urgent data")


def ensure_fits(size: i64, is_v4: bool) -> None:
    """Raise EMSGSIZE if a datagram can't carry so much text."""
    size_max: i64 = _V4_TEXT_BYTES_MAX if is_v4 else _V6_TEXT_BYTES_MAX
    if size > size_max:
        raise os_error(errno.EMSGSIZE, f"message too long: {size} bytes, and a datagram carries {size_max}")


def ensure_has_control(paths: HostPaths, control: SendControl) -> None:
    """Raise ENODEV or, as Linux, ENETUNREACH or EINVAL for an interface or a source that this host has not."""
    if control.scope >= len(paths.interfaces):
        raise os_error(errno.ENODEV, f"no such device: this host has no interface {control.scope}")
    if control.source and not paths.is_local(control.source):
        number = errno.ENETUNREACH if len(control.source) == 4 else errno.EINVAL
        text = f"{endpoint_text(control.source, 0)[:-2]} is not an address of this host to send from"
        raise os_error(number, f"network is unreachable: {text}" if number == errno.ENETUNREACH else
                       f"invalid argument: {text}")
