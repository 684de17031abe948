"""UDP (RFC 768): datagrams in and out, and the socket that programs see.

- A datagram goes to the socket that fits it best: bound address, then connected remote, each counts (Linux's
  ``compute_score``); among equals the newest, or with SO_REUSEPORT the one that a keyed hash of the flow picks. A
  broadcast goes to every socket that fits.
- Each socket's queue is bounded in bytes; a datagram that does not fit is dropped and counted (UdpRcvbufErrors).
- A datagram for no socket is answered with port unreachable; one that comes back to a connected socket is its
  ECONNREFUSED.
- What is sent to a multicast group goes to every socket that fits (``groups``).
"""

from __future__ import annotations

import errno
from collections import deque
from hashlib import blake2s
from typing import Final

from mypy_extensions import i64

from estab.abi import (
    AF_INET,
    AF_INET6,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from estab.errors import DropReason, WireError, os_error
from estab.events import ErrorReported
from estab.host.ip.output import Output
from estab.host.ip.paths import HostPaths, Path
from estab.host.sockets.ancillary import Ancillary, SendControl, describe_arrival
from estab.host.sockets.datagram import (
    DatagramSettings,
    Pending,
    QueuedError,
    Received,
    already_bound,
    ensure_fits,
    ensure_has_control,
    ensure_v4_sends,
)
from estab.host.sockets.files import Files
from estab.host.sockets.groups import Groups
from estab.host.sockets.ports import Binding, FlowTable, Ports
from estab.host.sockets.sockaddr import (
    ANY,
    Endpoint,
    SockAddr,
    ensure_has_scope,
    is_scoped,
    read_sockaddr,
    write_sockaddr,
)
from estab.tcp.context import Context, endpoint_text, flow_text
from estab.wire import icmp as wire_icmp
from estab.wire import udp as wire_udp
from estab.wire.address import is_multicast
from estab.wire.ip import IpHeader, Packet
from estab.wire.ip import parse as parse_ip

__all__ = ["DatagramSocket", "Udp"]

_OVERHEAD_BYTES: Final = 512


class Udp(FlowTable):
    """UDP on one host: the sockets by port, and the ports."""

    def __init__(self, context: Context, files: Files, paths: HostPaths, output: Output, ports: Ports) -> None:
        self.context: Context = context
        self.files: Files = files
        self.paths: HostPaths = paths
        self.output: Output = output
        self.ports: Ports = ports
        self.groups: Groups = Groups(paths)
        self._by_port: dict[int, list[DatagramSocket]] = {}

    def is_flow_taken(self, local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> bool:
        """UDP shares no port between flows: a port with any binding is taken."""
        return local_port in self._by_port

    def is_in_use(self, binding: Binding) -> bool:
        """Return that nothing of a closed UDP socket remains."""
        return False

    def add(self, socket: DatagramSocket) -> None:
        """Deliver to this socket from now on."""
        self._by_port.setdefault(socket.local_port, []).append(socket)

    def remove(self, socket: DatagramSocket) -> None:
        """Deliver to it no more."""
        bucket = self._by_port[socket.local_port]
        bucket.remove(socket)
        if not bucket:
            del self._by_port[socket.local_port]

    def sockets(self) -> list[DatagramSocket]:
        """Every bound socket, by port."""
        return [socket for port in sorted(self._by_port) for socket in self._by_port[port]]

    # --- from the wire

    def on_packet(self, packet: Packet, scope: i64, is_checksum_known_good: bool) -> bool:
        """Deliver a datagram. ``False``: no socket wants it, and its sender should be told."""
        try:
            datagram = wire_udp.parse(packet, is_checksum_known_good)
        except WireError as error:
            self._count_bad(packet.version, error.reason)
            self.context.drop(error.reason, "", error.detail)
            return True
        text = datagram.data[datagram.start : datagram.end]
        received = Received(text, packet, datagram.sport, scope)
        if is_multicast(packet.dst) or self.paths.is_broadcast(packet.dst):
            self._deliver_to_all(received, datagram.dport)
            return True
        socket = self.find(packet.dst, datagram.dport, packet.src, datagram.sport)
        if socket is None:
            self._count_no_port(received, datagram.dport)
            return False
        socket.deliver(received)
        return True

    def find(self, local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> DatagramSocket | None:
        """Find the socket that a datagram from ``remote`` fits best."""
        bucket = self._by_port.get(local_port)
        if bucket is None:
            return None
        best: DatagramSocket | None = None
        best_score: i64 = -1
        for socket in bucket:
            score = socket.score(local, remote, remote_port)
            if score >= best_score and score >= 0:
                best, best_score = socket, score
        if best is not None and best.binding is not None and best.binding.is_reuse_port and len(bucket) > 1:
            return self._pick(bucket, best_score, local, remote, remote_port)
        return best

    def _pick(self, bucket: list[DatagramSocket], score: i64, local: bytes, remote: bytes,
              remote_port: i64) -> DatagramSocket:
        """Spread flows over the sockets that share a port by SO_REUSEPORT."""
        equals = [socket for socket in bucket
                  if socket.score(local, remote, remote_port) == score
                  and socket.binding is not None and socket.binding.is_reuse_port]
        port: int = remote_port
        digest = blake2s(local + remote + port.to_bytes(2, "big"), key=self.context.secret, digest_size=4).digest()
        return equals[int.from_bytes(digest, "big") % len(equals)]

    def _deliver_to_all(self, received: Received, port: i64) -> None:
        has_taker = False
        for socket in self._by_port.get(port, []):
            score = socket.score(received.destination, received.source, received.source_port)
            if score >= 0 and socket.takes(received):
                has_taker = True
                socket.deliver(received)
        if not has_taker:
            self._count_no_port(received, port)

    def _count_no_port(self, received: Received, port: i64) -> None:
        self.context.counters.of_address(received.destination).udp_no_ports += 1
        name = flow_text(received.destination, port, received.source, received.source_port)
        self.context.drop(DropReason.NO_SOCKET, name, "UDP")

    def _count_bad(self, version: i64, reason: DropReason) -> None:
        counters = self.context.counters.of(version)
        counters.udp_in_errors += 1
        counters.udp_in_csum_errors += 1 if reason is DropReason.UDP_CSUM else 0

    # --- from ICMP

    def on_error(self, error: wire_icmp.Error, offender: bytes, number: i64, text: str, is_hard: bool) -> bool:
        """Take an ICMP error about a datagram of ours (RFC 1122 section 4.1.3.3). ``False``: no socket sent it."""
        quoted = error.quoted
        socket = self.find(quoted.src, quoted.sport, quoted.dst, quoted.dport)
        if socket is None:
            return False
        if socket.keeps_errors:
            socket.keep_error(QueuedError(number, offender, error))
            socket.fail(number, text)
        elif is_hard and socket.remote and socket.remote == quoted.dst and socket.remote_port == quoted.dport:
            socket.fail(number, text)
        return True


class DatagramSocket(DatagramSettings):
    """A UDP socket of AF_INET or AF_INET6. Every call takes the time and never waits: EAGAIN says that it would.

    ``local`` and ``remote`` are packed addresses, ``b""`` while unbound or unconnected.
    """

    def __init__(self, udp: Udp, family: i64) -> None:
        super().__init__(udp.context, family)
        self.udp: Udp = udp
        self.local: bytes = ANY
        self.local_port: i64 = 0
        self.remote: bytes = ANY
        self.remote_port: i64 = 0
        self.scope: i64 = 0
        self.has_bound_address: bool = False
        self.error: i64 = 0
        self.error_text: str = ""
        self.queue: deque[Received] = deque()
        self.queue_bytes: i64 = 0
        """What the queue counts against ``receive_buffer_bytes``: texts and an overhead for each."""
        self.dropped_count: i64 = 0
        self.is_read_shutdown: bool = False
        self.is_write_shutdown: bool = False
        self._pending: Pending | None = None
        """A datagram that MSG_MORE or UDP_CORK holds back."""

    # --- calls

    def bind(self, address: object, now_ns: i64) -> None:
        """Take a local address and port. EINVAL when already bound, EADDRINUSE, EADDRNOTAVAIL."""
        end = read_sockaddr(self.family, address, "bind")
        is_group = bool(end.address) and is_multicast(end.address)
        if self.binding is not None and self.family != AF_INET:  # Linux's order, which for IPv4 is another
            raise already_bound(self._local_text())
        ensure_has_scope(end.address, end.scope, ANY)
        if end.address and not (is_group or self.udp.paths.is_local(end.address)
                                or self.udp.paths.is_broadcast(end.address)):
            raise os_error(errno.EADDRNOTAVAIL, "cannot assign requested address: "
                           f"{endpoint_text(end.address, end.port)} is not an address of this host")
        if self.binding is not None:
            raise already_bound(self._local_text())
        self._bind(end.address, end.port)
        self.has_bound_address = end.address != ANY
        self._note_bound(end.address)

    def connect(self, address: object, now_ns: i64) -> None:
        """Fix the remote end: send to it by default, receive only from it, and get its ICMP errors. ENETUNREACH."""
        self.udp.context.now_ns = now_ns
        end = read_sockaddr(self.family, address, "connect")
        if self.binding is None:
            self._bind(ANY, 0)
        self._check_family(end)
        remote = end.address if end.address else self._loopback(end.is_v4)
        scope = self.says.scope_for(remote, end.scope)
        ensure_has_scope(remote, scope, self.local)
        path = self._path_to(remote, self._source_for(remote), scope)
        self._check_broadcast(path, remote)
        self.remote, self.remote_port, self.scope = remote, end.port, end.scope
        if not self.local:
            self.local = path.source

    def disconnect(self) -> None:
        """Undo ``connect`` (Linux: ``connect`` with AF_UNSPEC)."""
        self.remote, self.remote_port, self.scope = ANY, 0, 0
        if not self.has_bound_address:
            self.local = ANY

    def send(self, data: bytes, flags: i64, now_ns: i64) -> int:
        """Send to the connected remote end. EDESTADDRREQ when there is none."""
        return self.sendmsg(data, None, flags, None, now_ns)

    def sendto(self, data: bytes, address: object, flags: i64, now_ns: i64) -> int:
        """Send one datagram. EMSGSIZE when it is longer than UDP allows, ENETUNREACH, EACCES for a broadcast."""
        return self.sendmsg(data, address, flags, None, now_ns)

    def sendmsg(self, data: bytes, address: object | None, flags: i64, items: list[Ancillary] | None,
                now_ns: i64) -> int:
        """Send one datagram, to ``address`` or the connected end, with ancillary data that holds for it alone.

        With MSG_MORE or UDP_CORK it is held back, and what is sent next becomes a part of it.
        """
        end = read_sockaddr(self.family, address, "sendto") if address is not None else None
        if self.binding is None:
            self._bind(ANY, 0)
        if self.family == AF_INET or (end.is_v4 if end is not None else len(self.remote) == 4):
            ensure_v4_sends(len(data), flags)
        pending = self._pending
        is_more = (flags & MSG_MORE) != 0 or self.is_corked
        if pending is not None:  # whatever address is given, and whether there is one
            return self._append(pending, data, is_more, now_ns)
        if end is None:
            if not self.remote:
                raise os_error(errno.EDESTADDRREQ, f"destination address required: {self.text()} is not connected")
            remote, port, scope = self.remote, self.remote_port, self.scope
        else:
            self._check_family(end)
            if end.port == 0:
                raise os_error(errno.EINVAL, "invalid argument: sendto: port 0 can't be sent to")
            remote, port, scope = end.address if end.address else self._loopback(end.is_v4), end.port, end.scope
        control: SendControl | None = None
        if items:
            control = SendControl()
            control.read(items, len(remote) == 4)
        self._check_sending(len(data), len(remote) == 4)
        if not is_more:
            return self._send(data, remote, port, scope, control, now_ns)
        return self._append(Pending(remote, port, scope, control), data, is_more, now_ns)

    def set_cork(self, is_on: bool, now_ns: i64) -> None:
        """Switch UDP_CORK; off, what was held back goes."""
        self.is_corked = is_on
        if not is_on and self._pending is not None:
            self._append(self._pending, b"", is_more=False, now_ns=now_ns)

    def recvfrom(self, size: i64, flags: i64) -> tuple[bytes, SockAddr, int]:
        """Take the oldest datagram: text cut to ``size``, its sender, MSG_TRUNC if it was cut. EAGAIN: none came.

        With MSG_TRUNC in ``flags`` the text comes whole, so that its length can be told.
        """
        text, address, result_flags, _ = self.recvmsg(size, flags)
        return text, address, result_flags

    def recvmsg(self, size: i64, flags: i64) -> tuple[bytes, SockAddr, int, list[Ancillary]]:
        """Take the oldest datagram as ``recvfrom``, with the ancillary data that the socket wants.

        With MSG_ERRQUEUE: the oldest error that IP_RECVERR kept, with what is left of the datagram and whom it was to.
        """
        if (flags & MSG_ERRQUEUE) != 0:
            return self._take_queued_error(size)
        received = self.receive((flags & MSG_PEEK) != 0)
        text = received.text
        result_flags: i64 = 0
        if len(text) > size:
            result_flags = MSG_TRUNC
            if (flags & MSG_TRUNC) == 0:
                text = text[:size]
        scope = received.scope if is_scoped(received.source) else 0
        own = self.udp.paths.own_address(received.destination, received.source) if self.wanted != 0 else b""
        items = describe_arrival(
            self.wanted, received.destination, own, received.scope, received.ttl, received.tos, self.family == AF_INET6)
        return text, write_sockaddr(self.family, received.source, received.source_port, scope), result_flags, items

    def _take_queued_error(self, size: i64) -> tuple[bytes, SockAddr, int, list[Ancillary]]:
        if not self.errors:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: no error is queued on {self.text()}")
        queued = self.errors.popleft()
        quoted = queued.error.quoted
        text = queued.text()
        result_flags: i64 = MSG_ERRQUEUE
        if len(text) > size:
            text = text[:size]
            result_flags |= MSG_TRUNC
        if self.errors:
            self.error = self.errors[0].number
        elif self.error == queued.number:
            self.error, self.error_text = 0, ""
        address = write_sockaddr(self.family, quoted.dst, quoted.dport, 0)
        return text, address, result_flags, [queued.ancillary(self.scope)]

    def receive(self, is_peek: bool) -> Received:
        """Take (or look at) the oldest datagram with all that is known of it. The pending error, or EAGAIN."""
        self._raise_error()
        if not self.queue:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: no datagram has come to {self.text()}")
        if is_peek:
            return self.queue[0]
        received = self.queue.popleft()
        self.queue_bytes -= len(received.text) + _OVERHEAD_BYTES
        return received

    def shutdown(self, how: i64, now_ns: i64) -> None:
        """Close one or both directions. ENOTCONN if there is no remote end; they are closed all the same."""
        if how != SHUT_RD and how != SHUT_WR and how != SHUT_RDWR:
            raise os_error(errno.EINVAL, f"invalid argument: shutdown: how must be 0, 1 or 2, not {how}")
        if how != SHUT_WR:
            self.is_read_shutdown = True
        if how != SHUT_RD:
            self.is_write_shutdown = True
        self.udp.context.wake(self)
        if not self.remote or self.remote_port == 0:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: shutdown of {self.text()}")

    def close(self, now_ns: i64) -> None:
        """Release the descriptor and the port; what waits in the queue is lost."""
        self.udp.groups.leave_all(self.says)
        if self.binding is not None:
            self.udp.remove(self)
            self.udp.ports.release(self.binding, self.udp)
            self.binding = None
        self.queue.clear()
        self.queue_bytes = 0
        self.errors.clear()
        self._pending = None
        self.udp.files.release(self)

    def readiness(self) -> i64:
        """POLL bits that hold now (Linux's ``datagram_poll``)."""
        bits: i64 = 0
        if self.error != 0 or self.errors:
            bits |= POLLERR
        if self.is_read_shutdown:
            bits |= POLLRDHUP | POLLIN
            if self.is_write_shutdown:
                bits |= POLLHUP
        if self.queue:
            bits |= POLLIN
        return bits | POLLOUT

    def take_error(self) -> int:
        """Return SO_ERROR and clear it."""
        number = self.error
        self.error, self.error_text = 0, ""
        return number

    def getsockname(self) -> SockAddr:
        """Return the local address."""
        return write_sockaddr(self.family, self.local, self.local_port, self.scope if is_scoped(self.local) else 0)

    def getpeername(self) -> SockAddr:
        """Return the connected remote address, or raise ENOTCONN."""
        if not self.remote or self.remote_port == 0:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: getpeername of {self.text()}")
        return write_sockaddr(self.family, self.remote, self.remote_port, self.scope)

    @property
    def readable_bytes(self) -> int:
        """Length of the oldest datagram (SIOCINQ)."""
        return len(self.queue[0].text) if self.queue else 0

    # --- for Udp

    def score(self, local: bytes, remote: bytes, remote_port: i64) -> i64:
        """Say how well a datagram to ``local`` from ``remote`` fits; -1: not at all."""
        binding = self.binding
        if binding is None:
            return -1
        result: i64 = 0
        if self.local:
            if self.local != local:
                return -1
            result += 4
        elif len(local) == 4:
            if not binding.has_v4:
                return -1
            result += 1 if self.family == AF_INET else 0
        elif not binding.has_v6:
            return -1
        if self.remote:
            if self.remote != remote or self.remote_port != remote_port:
                return -1
            result += 4
        return result

    def deliver(self, received: Received) -> None:
        """Queue a datagram, or drop it when the queue is full."""
        context = self.udp.context
        size: i64 = len(received.text) + _OVERHEAD_BYTES
        counters = context.counters.of_address(received.destination)
        if self.queue_bytes + size > self._receive_buffer_bytes:
            self.dropped_count += 1
            counters.udp_rcvbuf_errors += 1
            counters.udp_in_errors += 1
            context.drop(DropReason.SOCKET_RCVBUFF, self.text(), f"{len(self.queue)} datagrams wait")
            return
        counters.udp_in_datagrams += 1
        self.queue.append(received)
        self.queue_bytes += size
        context.wake(self)

    def fail(self, number: i64, text: str) -> None:
        """Keep an error for the program (``SO_ERROR``)."""
        self.error = number
        self.error_text = text
        context = self.udp.context
        context.wake(self)
        if context.observer is not None:
            context.tell(ErrorReported(context.now_ns, context.name, self.text(), number, text, is_soft=False))

    def text(self) -> str:
        """Name the socket as facts do."""
        if self.remote:
            return flow_text(self.local, self.local_port, self.remote, self.remote_port)
        return f"{self._local_text()}>*"

    # --- inside

    def _local_text(self) -> str:
        return endpoint_text(self.local, self.local_port)

    def _bind(self, address: bytes, port: i64) -> None:
        is_v4 = self.family == AF_INET or len(address) == 4
        has_v4 = is_v4 or (not address and not self.v6only)
        binding = Binding(address, port, has_v4, not is_v4, self.reuse_address, self.reuse_port,
                          is_implicit=False)
        self.udp.ports.bind(binding, self.udp)
        self.binding = binding
        self.local, self.local_port = address, binding.port
        self.udp.add(self)

    def _check_family(self, end: Endpoint) -> None:
        if self.family == AF_INET6 and end.is_v4 and self.v6only:
            raise os_error(errno.ENETUNREACH, "network is unreachable: an IPv4 address on an IPV6_V6ONLY socket")
        if self.local and (len(self.local) == 4) != end.is_v4:
            raise os_error(errno.ENETUNREACH, "network is unreachable: the socket is bound to "
                           f"{self._local_text()}, of the other IP version")

    def _loopback(self, is_v4: bool) -> bytes:
        """What Linux makes of a wildcard as destination: this host."""
        return b"\x7f\0\0\x01" if is_v4 else b"\0" * 15 + b"\x01"

    def _path_to(self, remote: bytes, source: bytes, scope: i64) -> Path:
        path = self.udp.paths.find_from(remote, source, scope)
        if path is None or not path.source:
            self.udp.context.counters.of_address(remote).ip_out_no_routes += 1
            raise os_error(errno.ENETUNREACH, f"network is unreachable: no route to {endpoint_text(remote, 0)[:-2]}")
        return path

    def _check_broadcast(self, path: Path, remote: bytes) -> None:
        if (path.is_broadcast or remote == b"\xff\xff\xff\xff") and not self.broadcast:
            raise os_error(errno.EACCES, "permission denied: SO_BROADCAST is not set and the address is a broadcast")

    def _append(self, pending: Pending, data: bytes, is_more: bool, now_ns: i64) -> int:
        """Add to a datagram that is being put together, and send it unless more is to come."""
        size: i64 = pending.size + len(data)
        try:
            ensure_fits(size, len(pending.remote) == 4)
        except OSError:
            self._pending = None
            raise
        if is_more:
            pending.parts.append(data)
            pending.size = size
            self._pending = pending
            return len(data)
        self._pending = None
        self._send(b"".join(pending.parts) + data, pending.remote, pending.port, pending.scope, pending.control, now_ns)
        return len(data)

    def _check_sending(self, size: i64, is_v4: bool) -> None:
        """Raise what keeps a datagram of that size from being sent now, or from being begun with MSG_MORE."""
        ensure_fits(size, is_v4)
        self._raise_error()
        if self.is_write_shutdown:
            raise os_error(errno.EPIPE, f"broken pipe: {self.text()} is shut down for writing")

    def _send(self, data: bytes, remote: bytes, port: i64, scope: i64, control: SendControl | None, now_ns: i64) -> int:
        context = self.udp.context
        context.now_ns = now_ns
        is_v4 = len(remote) == 4
        is_group = is_multicast(remote)
        source, scope = self._source_for(remote), self.says.scope_for(remote, scope)
        ttl = self.says.hops_for(is_v4) if is_group else self.ttl
        tos = self.tos
        if control is not None:
            ttl = control.ttl if control.ttl >= 0 else ttl
            tos = control.tos if control.tos >= 0 else tos
            scope = control.scope if control.scope > 0 else scope
            source = control.source if control.source else source
            ensure_has_control(self.udp.paths, control)
        path = self._path_to(remote, source, scope)
        self._check_broadcast(path, remote)
        source = source if source else path.source
        size: i64 = len(data) + (28 if is_v4 else 48)
        limit = path.link_mtu if self.pmtu_discover >= IP_PMTUDISC_PROBE else path.mtu
        forbids = self.udp.paths.forbids_cutting(path, self.pmtu_discover)
        if forbids and size > limit and self.pmtu_discover != IP_PMTUDISC_WANT:
            raise os_error(errno.EMSGSIZE, f"message too long: {size} bytes, the path carries {limit}, and "
                           "IP_MTU_DISCOVER forbids to cut them")
        # Linux's IP_PMTUDISC_WANT: DF if it fits the path, so that routers report; fragments if it doesn't.
        has_df = size <= limit and forbids and not path.is_local
        ident: i64 = 0
        if is_v4 and not has_df and not path.is_local:
            ident = self.udp.output.ident_for(source, remote, 0xFFFF)
        label = context.flow_label(remote, source, port, self.local_port)
        packet = wire_udp.emit_packet(
            self.local_port, port, data, IpHeader(source, remote, ttl, ident, has_df, label), tos)
        context.counters.of_address(remote).udp_out_datagrams += 1
        is_member = is_group and self.udp.groups.has(remote, path.interface.index, source)
        is_looped = is_member and self.says.loops(is_v4)
        if is_group and path.is_local:  # lo brings it back, whatever IP_MULTICAST_LOOP and the TTL say
            is_looped = is_member
        elif ttl != 0 or not (is_member if is_v4 else is_looped):  # as on Linux: else 0 hops reach the link
            self.udp.output.send(path, packet)
        if is_looped:
            self.udp.on_packet(parse_ip(packet, 0), path.interface.index, is_checksum_known_good=True)
        return len(data)

    def _source_for(self, remote: bytes) -> bytes:
        """Return the address to send from, ``b""`` if the way there decides. A group that is bound to is none."""
        source = self.local if not self.local or not is_multicast(self.local) else b""
        return source or (self.says.source if len(remote) == 4 and is_multicast(remote) else b"")

    @property
    def path_mtu(self) -> int:
        """The MTU of the way to the connected peer (IP_MTU). ENOTCONN without one."""
        path = self.udp.paths.find(self.remote) if self.remote else None
        if path is None:
            raise os_error(errno.ENOTCONN, "transport endpoint is not connected: IP_MTU is the path's")
        return path.mtu

    def _raise_error(self) -> None:
        if self.error != 0:
            text = self.error_text
            raise os_error(self.take_error(), text)
