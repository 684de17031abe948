"""What a TCP socket shows without changing: state, addresses, readiness, bytes that wait."""

from __future__ import annotations

import errno
from dataclasses import replace

from mypy_extensions import i64

from estab import abi
from estab.abi import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from estab.errors import os_error
from estab.host.sockets.ancillary import Ancillary, describe_inq
from estab.host.sockets.settings import StreamSettings
from estab.host.sockets.sockaddr import ANY, SockAddr, write_sockaddr
from estab.host.sockets.stream_tables import StreamTables
from estab.tcp.connection import Connection
from estab.tcp.context import endpoint_text
from estab.tcp.info import Info, Queues
from estab.tcp.listening.listener import Listener
from estab.tcp.receiving.receive import is_at_urgent_mark
from estab.tcp.record.options import Options
from estab.wire.address import is_link_local

__all__ = ["StreamView"]


class StreamView(StreamSettings):
    """A TCP socket as it can be looked at: its listener or connection, and its ends."""

    def __init__(
        self, tables: StreamTables, family: i64, options: Options | None, connection: Connection | None,
    ) -> None:
        super().__init__(tables, family, options, connection)
        self.listener: Listener | None = None
        self.local: bytes = ANY
        self.local_port: i64 = 0
        self.has_bound_address: bool = False
        self.has_bound_port: bool = False
        """``bind`` named the port. Any other is released when the connection or the listening ends."""
        self.is_bound_again: bool = False
        """``bind`` was called after the connection ended; it gives a port, and nothing else can be done with it."""
        self.is_connect_reported: bool = connection is not None
        """``connect`` has said that the connection is made; again it says EISCONN."""
        self.is_read_shut: bool = False
        """``shutdown`` came before a connection: it failed, and holds all the same, as on Linux."""
        self.is_write_shut: bool = False
        self.is_disconnecting: bool = False
        """``shutdown`` came when ``connect`` had failed and had not said so yet: it never will."""

    def _apply_options(self, options: Options) -> None:
        if self.listener is not None:
            self.listener.options = options

    def _apply_defer_accept(self) -> None:
        if self.listener is not None:
            self.listener.defer_accept = i64(self._defer_accept)

    @property
    def scope(self) -> i64:
        """The index of the interface that a link-local address is of, 0 for none."""
        extras = self.extras
        return 0 if extras is None else extras.scope

    def readiness(self) -> i64:
        """POLL bits that hold now (Linux's ``tcp_poll``)."""
        listener = self.listener
        if listener is not None:
            return POLLIN if listener.waiting > 0 else 0
        connection = self.connection
        if connection is None:
            return POLLOUT | POLLHUP | (POLLIN | POLLRDHUP if self.is_read_shut else 0)
        state = connection.state
        is_over = state == abi.CLOSED or state == abi.TIME_WAIT
        is_read_over = is_over or connection.is_fin_received or connection.is_read_shut
        extras = self.extras
        bits: i64 = 0
        if is_over or (is_read_over and (connection.fin_wanted or self.is_write_shut)):
            bits |= POLLHUP
        if is_read_over:
            bits |= POLLIN | POLLRDHUP
        elif connection.readable_bytes() >= (1 if extras is None else extras.receive_lowat_bytes):
            bits |= POLLIN
        if connection.is_writable():
            bits |= POLLOUT
        if connection.is_urgent_new and connection.has_urgent_byte:
            bits |= POLLPRI
        if connection.error != 0:
            bits |= POLLERR
        return bits

    def is_silent(self) -> bool:
        """Tell whether the connection is open, and nothing has come that a read would return or raise."""
        connection = self.connection
        if connection is None or connection.state != abi.ESTABLISHED:
            return False
        return connection.received is None and connection.error == 0 and not connection.is_fin_received and (
            not connection.is_read_shut)

    def take_error(self) -> int:
        """Return SO_ERROR and clear it."""
        connection = self.connection
        if connection is not None:
            return connection.take_error()
        extras = self.extras
        if extras is None:
            return 0
        number = extras.error_left
        extras.error_left = 0
        return number

    def error_text(self) -> str:
        """Return the connection's error, also after it was read."""
        connection = self.connection
        return connection.error_text if connection is not None else ""

    def getsockname(self) -> SockAddr:
        """Return the local address; the wildcard and port 0 before there is one."""
        return write_sockaddr(self.family, self.local, self.local_port, self._scope_of(self.local))

    def getpeername(self) -> SockAddr:
        """Return the remote address, or raise ENOTCONN."""
        connection = self.connection
        state = connection.state if connection is not None else abi.CLOSED
        if connection is None or state == abi.SYN_SENT or state == abi.CLOSED or state == abi.TIME_WAIT:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: getpeername of {self.text()}")
        remote = connection.remote
        return write_sockaddr(self.family, remote, i64(connection.remote_port), self._scope_of(remote))

    @property
    def state(self) -> int:
        """The TCP state, as ``abi`` numbers it."""
        if self.listener is not None:
            return abi.LISTEN
        connection = self.connection
        return connection.state if connection is not None else abi.CLOSED

    @property
    def readable_bytes(self) -> int:
        """Bytes that came and wait to be read (SIOCINQ)."""
        connection = self.connection
        return connection.readable_bytes() if connection is not None else 0

    @property
    def is_at_mark(self) -> bool:
        """Whether the next byte to read is the urgent one, or follows it if that is out of line (SIOCATMARK)."""
        connection = self.connection
        return connection is not None and is_at_urgent_mark(connection)

    @property
    def inq_bytes(self) -> int:
        """Bytes that wait to be read, up to the urgent mark if one is among them, as SIOCINQ tells on Linux."""
        connection = self.connection
        if connection is None:
            return 0
        mark = connection.urgent_seq
        if connection.options.is_oob_inline or not connection.copied_seq <= mark < connection.rcv_nxt:
            return connection.readable_bytes()
        return mark - connection.copied_seq

    def ancillary(self) -> list[Ancillary]:
        """Return what ``recvmsg`` tells beside the bytes: with TCP_INQ how many more wait, a FIN being one (Linux)."""
        connection = self.connection
        if not self.tells_inq or connection is None:
            return []
        count = connection.unread_bytes() + (1 if connection.is_fin_received else 0)
        return [describe_inq(count)]

    @property
    def outq_bytes(self) -> int:
        """Bytes written and not acknowledged (SIOCOUTQ)."""
        connection = self.connection
        return connection.outq_bytes() if connection is not None else 0

    @property
    def outq_unsent_bytes(self) -> int:
        """Bytes written and not sent (SIOCOUTQNSD)."""
        connection = self.connection
        return connection.unsent_bytes() if connection is not None else 0

    def info(self, now_ns: i64) -> Info:
        """Return what TCP_INFO tells."""
        connection = self.connection
        if connection is not None:
            return connection.info(now_ns)
        info = self.demux.unopened(self.options).info(now_ns)
        listener = self.listener
        if listener is None:
            return info
        # As Linux: what a listener has instead of segments is connections.
        return replace(info, state="LISTEN", unacked_segments=listener.waiting, sacked_segments=listener.backlog,
                       snd_ssthresh_bytes=0)

    def queues(self, now_ns: i64) -> Queues:
        """Return both queues of a listening socket, or raise EINVAL."""
        listener = self.listener
        if listener is None:
            raise os_error(errno.EINVAL, f"invalid argument: {self.text()} does not listen and has no queues")
        return listener.queues(now_ns)

    def text(self) -> str:
        """Name the socket as facts do: ``10.0.0.1:40000>10.0.0.2:80``, ``*:80>*``."""
        connection = self.connection
        return connection.name() if connection is not None else f"{self._local_text()}>*"

    # --- inside

    def _local_text(self) -> str:
        return endpoint_text(self.local, self.local_port)

    def _scope_of(self, address: bytes) -> i64:
        return self.scope if len(address) == 16 and is_link_local(address) else 0

    def _set_scope(self, scope: i64) -> None:
        """Remember the interface of the address; there seldom is one."""
        if scope != 0 or self.extras is not None:
            self.own_extras().scope = scope
