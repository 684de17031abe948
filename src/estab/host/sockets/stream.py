"""TCP sockets: the calls of the sockets API, on connections and listeners.

- Nothing waits: EAGAIN and EINPROGRESS say that a call would. The floors above wait, by ``readiness``.
- What a call causes to be sent leaves at the next ``Engine.poll_frame``.
- Errnos and the order of checks are Linux's.
"""

from __future__ import annotations

import errno

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.abi import (
    AF_INET,
    MSG_EOR,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from estab.errors import os_error
from estab.events import TcbCreated
from estab.host.ip.paths import Path
from estab.host.sockets.ports import Binding
from estab.host.sockets.sockaddr import ANY, Endpoint, ensure_has_scope, read_sockaddr
from estab.host.sockets.stream_tables import StreamTables
from estab.host.sockets.stream_view import StreamView
from estab.tcp.arriving.fastopen_client import note_more, put_text
from estab.tcp.connection import Connection
from estab.tcp.context import endpoint_text
from estab.tcp.fastopen import CLIENT, SERVER, SERVER_NO_OPTION
from estab.tcp.listening.listener import Listener
from estab.tcp.record.fast_open import FastOpen
from estab.wire.address import is_multicast

__all__ = ["StreamSocket", "Streams"]


class Streams(StreamTables):
    """What all TCP sockets of one host share, and how they are made."""

    def socket(self, family: i64) -> StreamSocket:
        """Make a socket: a descriptor and its options. EMFILE."""
        self.files.ensure_room()
        made = StreamSocket(self, family, self.demux.new_options(), None)
        self.files.allocate(made, "socket()")
        context = self.context
        if context.observer is not None:
            context.tell(TcbCreated(context.now_ns, context.name, "", made.fd, "CLOSED", "socket()"))
        return made


@mypyc_attr(free_list_len=1)
class StreamSocket(StreamView):
    """A TCP socket of AF_INET or AF_INET6: unconnected, listening, or with a connection."""

    # --- opening

    def bind(self, address: object, now_ns: i64) -> None:
        """Take a local address and port (0: any). EINVAL when bound already, EADDRINUSE, EADDRNOTAVAIL."""
        self.tables.context.now_ns = now_ns
        end = read_sockaddr(self.family, address, "bind")
        is_v6 = self.family != AF_INET
        if end.address and not is_v6:
            self._ensure_may_bind(end)
        if len(end.address) == 16 and is_multicast(end.address):
            raise os_error(errno.EINVAL, "invalid argument: TCP has no multicast, "
                           f"{endpoint_text(end.address, end.port)} is a group")
        connection = self.connection
        is_over = connection is not None and (connection.state == abi.CLOSED or connection.state == abi.TIME_WAIT)
        if is_over and not self.has_bound_port and not self.is_bound_again:
            self._release_binding()
            self.is_bound_again = True
        if self.binding is not None or (connection is not None and not is_over):
            raise os_error(errno.EINVAL, f"invalid argument: the socket is already bound to {self._local_text()}")
        if end.address and is_v6:  # in Linux's order, which is not that of IPv4's sockets
            self._ensure_may_bind(end)
        self.has_bound_address = False
        try:
            self._bind(end.address, end.port)
        except OSError:
            self.local = ANY
            raise
        self.has_bound_address = end.address != ANY
        self._note_bound(end.address)
        self.has_bound_port = end.port != 0
        self._set_scope(end.scope)

    def listen(self, backlog: i64, now_ns: i64) -> None:
        """Open passively: SYNs are taken, into two queues. A second call changes the limit. EINVAL, EADDRINUSE."""
        self.tables.context.now_ns = now_ns
        if self.listener is not None:
            self.listener.set_backlog(backlog)
            return
        if self.connection is not None:
            raise os_error(errno.EINVAL, f"invalid argument: listen on {self.text()}, which has a connection")
        if self.binding is None:
            self._bind(self.local, 0)
        binding = self.binding
        assert binding is not None
        self.tables.ports.set_listening(binding, self.tables)
        is_v6 = self.family != AF_INET and len(self.local) != 4
        context = self.tables.context
        listener = Listener(context, self.local, self.local_port, backlog, self.options, self.v6only, is_v6)
        listener.owner = self
        listener.defer_accept = i64(self._defer_accept)
        flags = context.config.tcp_fastopen
        if (flags & SERVER_NO_OPTION) != 0 and (flags & SERVER) != 0 and self.fast_open.queue.limit == 0:
            self.fast_open.queue.bound(min(max(backlog, 0), context.config.somaxconn))
        listener.fast_open = self.fast_open
        self.listener = listener
        self.demux.listen(listener)

    def connect(self, address: object, now_ns: i64) -> None:
        """Open actively: the SYN is sent, and EINPROGRESS says so. A second call tells the result.

        EALREADY while it goes on, EISCONN when connected, the connection's error when it failed (and then the socket
        may connect again). ENETUNREACH without a route, EADDRNOTAVAIL without a free port. With TCP_FASTOPEN_CONNECT
        and a cookie it is done at once, and the SYN waits for the first write.
        """
        if self.begin_to_connect(address, now_ns):
            raise self.connecting_error()

    def begin_to_connect(self, address: object, now_ns: i64) -> bool:
        """Do what ``connect`` does, but return ``True`` in the place of EINPROGRESS."""
        self.tables.context.now_ns = now_ns
        end = read_sockaddr(self.family, address, "connect")
        if self.listener is not None:
            raise os_error(errno.EISCONN, f"transport endpoint is already connected: {self.text()} listens")
        if self.connection is not None:
            self._connect_again(self.connection)
            return False
        self._start_connecting(end, self._fast_open_for_connect(), now_ns)
        return not self.is_deferred()

    def connecting_error(self) -> OSError:
        """Make EINPROGRESS, which says that the SYN is sent."""
        return os_error(errno.EINPROGRESS, f"operation now in progress: {self.text()} is connecting")

    def told_error(self) -> OSError:
        """Make EPIPE: another thread, which connected the same socket, was told why that failed."""
        return os_error(errno.EPIPE, f"broken pipe: another connect of {self.text()} was told why it failed")

    def disconnect(self, now_ns: i64) -> None:
        """Undo ``connect`` or ``listen`` (Linux: ``connect`` with AF_UNSPEC). The socket can connect again.

        A connection is reset, and ECONNRESET left for SO_ERROR, as Linux's ``tcp_disconnect`` does.
        """
        self.tables.context.now_ns = now_ns
        if self.listener is not None:
            self._stop_listening()
            self._forget_local()
        connection = self.connection
        if connection is not None:
            if connection.disconnect():
                self.own_extras().error_left = errno.ECONNRESET
            self._forget_failed(connection)
        self.is_connect_reported = self.is_disconnecting = False

    def accept(self, now_ns: i64, *, is_told: bool = True) -> StreamSocket:
        """Take the oldest connection of the accept queue, with a descriptor of its own. EAGAIN, EINVAL, EMFILE.

        ``is_told=False``: it is only listed as having news if something has come on it, or it is over.
        """
        tables = self.tables
        tables.context.now_ns = now_ns
        listener = self.listener
        binding = self.binding
        if listener is None or binding is None:
            raise os_error(errno.EINVAL, f"invalid argument: accept on {self.text()}, which does not listen")
        if listener.waiting == 0:
            raise self.nobody_error()
        tables.files.ensure_room()
        connection = listener.accept()
        assert connection is not None
        made = StreamSocket(tables, self.family, None, connection)
        made.local, made.local_port = connection.local, i64(connection.local_port)
        made.has_bound_address = True
        made.tells_inq = self.tells_inq
        extras = self.extras
        if extras is not None and (extras.linger is not None or extras.receive_lowat_bytes != 1):
            made.own_extras().linger = extras.linger
            made.own_extras().receive_lowat_bytes = extras.receive_lowat_bytes
        made._reuse_address, made._reuse_port, made._v6only = self._reuse_address, self._reuse_port, self._v6only
        made.binding = binding
        tables.ports.hold(binding)
        connection.set_owner(made)
        tables.files.allocate(made, "accept()")
        if is_told or not made.is_silent():
            tables.context.wake(made)
        return made

    def nobody_error(self) -> OSError:
        """Make EAGAIN, which says that no connection waits to be accepted."""
        return os_error(errno.EAGAIN, f"resource temporarily unavailable: the accept queue of {self.text()} is empty")

    # --- bytes

    def send(self, data: bytes, flags: i64, now_ns: i64, address: object = None) -> int:
        """Copy as much of ``data`` into the send buffer as there is room for, and say how much. EAGAIN when it is full.

        EPIPE when sending is over or never began; the connection's own error comes first. With MSG_FASTOPEN, see
        ``open_with``; without, ``address`` is ignored.
        """
        self.tables.context.now_ns = now_ns
        if self.opens_with(flags):
            count = self.open_with(data, address, now_ns)
            if count >= 0:
                return count
        connection = self.connection
        if connection is None:
            raise os_error(errno.EPIPE, f"broken pipe: {self.text()} is not connected")
        if self.is_write_shut:
            connection.raise_error()
            raise os_error(errno.EPIPE, f"broken pipe: {self.text()} was shut down before it was connected")
        if (flags & MSG_OOB) != 0:
            count = connection.write_urgent(data, now_ns)
        else:
            count = connection.write(data, now_ns, flags & (MSG_MORE | MSG_EOR))
        if count == 0 and data:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: the send buffer of {self.text()} is full")
        self.demux.touch(connection)
        return count

    def opens_with(self, flags: i64) -> bool:
        """Tell whether a write with these flags is what opens the connection."""
        return (flags & MSG_FASTOPEN) != 0 or self.is_deferred()

    def open_with(self, data: bytes, address: object, now_ns: i64) -> int:
        """Open the connection with text on its SYN (MSG_FASTOPEN): ``connect`` and ``send`` in one (RFC 7413).

        Says how many bytes go on the SYN. EINPROGRESS: it is opening, and none goes, as no cookie is there yet or
        ``data`` is empty. EALREADY: it was opening already. -1: it is open since; send as always. EISCONN,
        EOPNOTSUPP, and what ``connect`` may raise.
        """
        context = self.tables.context
        context.now_ns = now_ns
        if (context.config.tcp_fastopen & CLIENT) == 0:
            raise os_error(errno.EOPNOTSUPP, "operation not supported: tcp_fastopen is off for clients")
        connection = self.connection
        if connection is None:
            if self.listener is not None:
                raise os_error(errno.EISCONN, f"transport endpoint is already connected: {self.text()} listens")
            if address is None:
                raise os_error(errno.EINVAL, "invalid argument: MSG_FASTOPEN without an address to connect to")
            fast_open = FastOpen(self.fast_open.is_cookie_free)
            self._start_connecting(read_sockaddr(self.family, address, "sendto"), fast_open, now_ns)
            connection = self.connection
            assert connection is not None
        elif not self.is_deferred():
            self._connect_again(connection)
            return -1
        fast_open_now = connection.fast_open
        assert fast_open_now is not None
        count = put_text(connection, fast_open_now, data)
        self.demux.touch(connection)
        if count == 0:
            raise os_error(errno.EINPROGRESS, f"operation now in progress: {self.text()} is connecting")
        return count

    def is_deferred(self) -> bool:
        """Tell whether ``connect`` left the SYN to the first write."""
        connection = self.connection
        if connection is None or connection.state != abi.SYN_SENT:
            return False
        return connection.fast_open is not None and connection.fast_open.is_deferred

    def wait_with_text(self, is_waiting: bool) -> None:
        """Note that a program waits to write after what its SYN carries: that text will carry the third segment."""
        connection = self.connection
        if connection is not None and connection.fast_open is not None:
            note_more(connection.fast_open, is_waiting)

    def finish_opening(self, now_ns: i64) -> None:
        """Report how the opening went: return, or raise EALREADY while it goes on, or the error that ended it."""
        self.tables.context.now_ns = now_ns
        connection = self.connection
        if connection is not None and not self.is_connect_reported:
            self._connect_again(connection)

    def is_listening(self) -> bool:
        """Tell whether the socket takes connections."""
        return self.listener is not None

    def recv(self, size: i64, flags: i64, now_ns: i64) -> bytes:
        """Take up to ``size`` bytes of what came; ``b""`` at the end of the stream. EAGAIN when nothing is there yet.

        ENOTCONN without a connection; the connection's error, once, when it has one and all before it was read.
        """
        self.tables.context.now_ns = now_ns
        connection = self.connection
        if connection is None and ((flags & MSG_OOB) == 0 or self.listener is not None):
            if self.is_read_shut and self.listener is None:
                return b""
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: recv on {self.text()}")
        if (flags & MSG_OOB) != 0 or connection is None:
            return self._recv_urgent(connection, (flags & MSG_PEEK) != 0)
        if size <= 0 and connection.unread_bytes() > 0:
            return b""
        data = connection.read(size, (flags & MSG_PEEK) != 0, now_ns)
        if data:
            self.demux.touch(connection)
            return data
        if not connection.is_fin_received:
            connection.raise_error()
        if connection.is_eof():
            return b""
        raise os_error(errno.EAGAIN, f"resource temporarily unavailable: nothing has come on {self.text()}")

    def _recv_urgent(self, connection: Connection | None, is_peek: bool) -> bytes:
        octet = connection.read_urgent(is_peek) if connection is not None else -2
        if octet > -2 and connection is not None and connection.state == abi.CLOSED and not connection.is_fin_received:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: recv on {self.text()}")
        if octet >= 0:
            return bytes([octet])
        if octet == -1:
            raise os_error(errno.EAGAIN,
                           f"resource temporarily unavailable: the urgent byte of {self.text()} is on its way")
        raise os_error(errno.EINVAL, f"invalid argument: {self.text()} has no urgent byte")

    # --- closing

    def shutdown(self, how: i64, now_ns: i64) -> None:
        """End sending (a FIN follows the last byte), reading, or both. ENOTCONN without a connection, EINVAL."""
        self.tables.context.now_ns = now_ns
        if how != SHUT_RD and how != SHUT_WR and how != SHUT_RDWR:
            raise os_error(errno.EINVAL, f"invalid argument: shutdown: how must be 0, 1 or 2, not {how}")
        if self.listener is not None:
            if how != SHUT_WR:
                self._stop_listening()
                self._forget_local()
                self.is_read_shut = self.is_write_shut = False
            return
        connection = self.connection
        if connection is None or connection.state == abi.CLOSED or connection.state == abi.TIME_WAIT:
            if connection is not None:
                self.is_disconnecting = not self.is_connect_reported
            else:
                self.is_read_shut = self.is_read_shut or how != SHUT_WR
                self.is_write_shut = self.is_write_shut or how != SHUT_RD
                self.tables.context.wake(self)
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: shutdown of {self.text()}")
        if connection.snd_una > connection.iss:
            self.is_connect_reported = True
        if how != SHUT_WR:
            connection.shutdown_read()
        if how != SHUT_RD:
            connection.shutdown_write()
        self.tables.context.wake(self)
        self.demux.touch(connection)

    def close(self, now_ns: i64) -> None:
        """Release the descriptor. The connection continues by itself until both sides are done.

        With ``linger`` 0 it is reset instead. A longer ``linger`` is for callers that can wait: see ``is_closing``.
        """
        self.tables.context.now_ns = now_ns
        if self.listener is not None:
            self._stop_listening()
        connection = self.connection
        if connection is not None:
            if self.extras is not None and self.linger == 0:
                connection.abort()
            else:
                connection.close(now_ns)
            self.demux.forget_owner(connection)
            self.demux.touch(connection)
        self._release_binding()
        self.tables.files.release(self)

    def is_closing(self) -> bool:
        """Tell whether our FIN waits to be sent or acknowledged: SO_LINGER's ``close`` waits for that (socket(7))."""
        connection = self.connection
        return connection is not None and connection.is_closing()

    def is_reset_by_close(self) -> bool:
        """Tell whether text is left unread, so that ``close`` is a reset and nothing is waited for."""
        connection = self.connection
        return connection is not None and connection.has_unread()

    # --- inside

    def _ensure_may_bind(self, end: Endpoint) -> None:
        """Raise EADDRNOTAVAIL if an address is not this host's, EINVAL if it has no interface but needs one.

        As on Linux, groups and broadcasts of IPv4 may be bound: nothing arrives there, and ``connect`` passes them by.
        """
        address = end.address
        ensure_has_scope(address, end.scope, ANY)
        if not (self.tables.paths.is_local(address) or self._is_for_many(address)):
            raise os_error(errno.EADDRNOTAVAIL, "cannot assign requested address: "
                           f"{endpoint_text(address, end.port)} is not an address of this host")

    def _is_for_many(self, address: bytes) -> bool:
        """Tell whether an address is an IPv4 group or broadcast."""
        return len(address) == 4 and (is_multicast(address) or self.tables.paths.is_broadcast(address))

    def _bind(self, address: bytes, port: i64) -> None:
        binding = self._new_binding(address, port)
        self.tables.ports.bind(binding, self.tables)
        self.binding = binding
        self.local, self.local_port = address, binding.port

    def _new_binding(self, address: bytes, port: i64) -> Binding:
        is_v4 = self.family == AF_INET or len(address) == 4
        has_v4 = is_v4 or (not address and not self.v6only)
        return Binding(address, port, has_v4, not is_v4, self.reuse_address, self.reuse_port,
                       is_implicit=False)

    def _release_binding(self) -> None:
        binding = self.binding
        if binding is not None:
            self.binding = None
            self.tables.ports.release(binding, self.tables)

    def _stop_listening(self) -> None:
        listener = self.listener
        binding = self.binding
        assert listener is not None
        assert binding is not None
        self.demux.close_listener(listener)
        self.listener = None
        binding.is_listening = False
        self.tables.context.wake(self)

    def _connect_again(self, connection: Connection) -> None:
        """Answer a second ``connect`` with the result of the first."""
        state = connection.state
        if self.is_deferred():
            raise os_error(errno.EISCONN, f"transport endpoint is already connected: {connection.name()}, by the first "
                           "write (TCP_FASTOPEN_CONNECT)")
        if state == abi.SYN_SENT or state == abi.SYN_RECEIVED:
            raise os_error(errno.EALREADY, f"operation already in progress: {connection.name()} is connecting")
        if self.is_disconnecting:
            raise os_error(errno.EINVAL, f"invalid argument: {connection.name()} was shut down after connect() failed")
        if self.is_connect_reported:
            raise os_error(errno.EISCONN, f"transport endpoint is already connected: {connection.name()}")
        if connection.snd_una > connection.iss and state != abi.CLOSED and state != abi.TIME_WAIT:
            self.is_connect_reported = True
            return
        number = connection.take_error()
        text = connection.error_text
        self._forget_failed(connection)
        raise os_error(number if number != 0 else errno.ECONNABORTED, text or "software caused connection abort")

    def _forget_failed(self, connection: Connection) -> None:
        """Make the socket unconnected again after a failed ``connect``, as Linux does. What ``bind`` took stays."""
        self._options = connection.options
        connection.leave()
        self.demux.touch(connection)
        self.is_read_shut = self.is_write_shut = False
        self.connection = None
        if not self.is_bound_again:
            self._forget_local()
        self.is_bound_again = False

    def _forget_local(self) -> None:
        """Release what of the local end was not named by ``bind``. The port's number is still shown, as on Linux."""
        if not self.has_bound_port:
            self._release_binding()
        if not self.has_bound_address:
            self.local = ANY

    def _fast_open_for_connect(self) -> FastOpen | None:
        """Make what a connection needs whose SYN may wait for the first write (TCP_FASTOPEN_CONNECT)."""
        wanted = None if self.extras is None else self.extras.fast_open
        if wanted is None or not wanted.is_on_connect:
            return None
        return FastOpen(wanted.is_cookie_free, is_deferred=True)

    def _start_connecting(self, end: Endpoint, fast_open: FastOpen | None, now_ns: i64) -> None:
        self._check_version(end)
        remote = end.address if end.address else (b"\x7f\0\0\x01" if end.is_v4 else b"\0" * 15 + b"\x01")
        bound = ANY if self._is_for_many(self.local) else self.local
        path = self._path_to(remote, end, bound)
        local = bound if bound else path.source
        is_new_binding = self.binding is None
        if is_new_binding:
            binding = self._new_binding(local, 0)
            self.tables.ports.connect(binding, remote, end.port, self.tables)
            self.binding = binding
            self.local_port = binding.port
        connection = self.demux.new_connection(local, self.local_port, remote, end.port, self.options, self)
        connection.prepare_open(
            fast_open, is_first_ack_delayed=self._defer_accept > 0, is_read_shut=self.is_read_shut,
        )
        try:
            self.demux.connect(connection, now_ns)
        except OSError:
            if is_new_binding:
                self._release_binding()
                self.local_port = 0
            raise
        self.local = local
        self._set_scope(end.scope)
        self.connection = connection
        self._options = None
        self.is_connect_reported = False
        self._narrow_binding(connection)

    def _narrow_binding(self, connection: Connection) -> None:
        """From now on the binding holds one address and serves one connection."""
        binding = self.binding
        if binding is not None and binding.references == 1:
            binding.address = connection.local
            binding.has_v4 = len(connection.local) == 4
            binding.has_v6 = not binding.has_v4
            binding.flow_key = connection.key

    def _check_version(self, end: Endpoint) -> None:
        if self.family != AF_INET and end.is_v4 and self.v6only:
            raise os_error(errno.ENETUNREACH, "network is unreachable: an IPv4 address on an IPV6_V6ONLY socket")
        if self.local and (len(self.local) == 4) != end.is_v4:
            raise os_error(errno.ENETUNREACH, f"network is unreachable: the socket is bound to {self._local_text()}, "
                           "of the other IP version")

    def _path_to(self, remote: bytes, end: Endpoint, bound: bytes) -> Path:
        if not is_multicast(remote):
            ensure_has_scope(remote, end.scope, bound)
        path = self.tables.paths.find_from(remote, bound, end.scope)
        counters = self.tables.context.counters
        if path is None or not path.source or path.is_broadcast or is_multicast(remote):
            counters.of_address(remote).ip_out_no_routes += 1
            what = "no route to" if path is None or not path.source else "no connection can be made to"
            raise os_error(errno.ENETUNREACH, f"network is unreachable: {what} {endpoint_text(remote, end.port)}")
        return path
