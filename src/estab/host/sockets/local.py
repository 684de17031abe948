"""Unix sockets: streams, datagrams and packets in sequence between programs of one host (unix(7)).

- They are no TCP and no UDP: nothing becomes a packet, and nothing of them is on a wire or in a capture.
- A name is bytes: a path, or bytes that begin with zero (abstract). A path stays after the socket that was bound to it,
  as a file does, until ``Locals.remove``. No file is made.
- What was sent counts against the sender's buffer until the receiver reads it, each message with ``_MESSAGE_BYTES`` on
  top, as on Linux. A receiver of datagrams holds ``net.unix.max_dgram_qlen`` (10) of them.
- A message may carry ``rights``, descriptors on their way (SCM_RIGHTS). What they are the caller knows; here they come
  with the bytes of their message, or are thrown away with them.
- Nothing waits: EAGAIN says that a call would. Errnos and the order of checks are Linux's.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from estab.abi import (
    AF_UNIX,
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
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from estab.errors import os_error
from estab.host.sockets.files import Descriptor, Files
from estab.host.sockets.local_names import name_text, refuse_urgent
from estab.tcp.context import Context

__all__ = ["LocalSocket", "Locals"]

_BUFFER_BYTES: Final = 212_992
"""``net.core.wmem_default``."""
_BUFFER_BYTES_MIN: Final = 4608
_BUFFER_BYTES_MAX: Final = 425_984
_MESSAGE_BYTES: Final = 768
_DATAGRAMS_MAX: Final = 10
_BACKLOG_MAX: Final = 4096
_NETIDS: Final = {SOCK_STREAM: "u_str", SOCK_DGRAM: "u_dgr", SOCK_SEQPACKET: "u_seq"}


class Message:
    """What one ``send`` put into a receiver's queue; of a stream, what is left of it."""

    def __init__(self, data: bytes, sender: LocalSocket) -> None:
        self.data: bytes = data
        self.start: i64 = 0
        self.sender: LocalSocket = sender
        self.name: bytes = sender.name
        self.rights: object | None = None


class Locals:
    """The Unix sockets of one host: their names."""

    def __init__(self, context: Context, files: Files) -> None:
        self.context: Context = context
        self.files: Files = files
        self._names: dict[bytes, LocalSocket] = {}
        self._inodes: dict[bytes, int] = {}
        self._inode: int = 0
        self.discard: Callable[[object], None] | None = None
        """Told of rights that nobody can receive any more."""

    def socket(self, kind: i64) -> LocalSocket:
        """Make a socket. ESOCKTNOSUPPORT, EMFILE."""
        if kind not in _NETIDS:
            raise os_error(errno.ESOCKTNOSUPPORT, f"socket type not supported: {kind} of a Unix socket")
        made = LocalSocket(self, kind)
        self.files.allocate(made, "socket()")
        return made

    def pair(self, kind: i64, credentials: tuple[int, int, int]) -> tuple[LocalSocket, LocalSocket]:
        """Make two sockets that are connected to each other."""
        first = self.socket(kind)
        try:
            second = self.socket(kind)
        except OSError:
            first.close(self.context.now_ns)
            raise
        first.peer, second.peer = second, first
        first.peer_credentials = second.peer_credentials = credentials
        return first, second

    def is_empty(self) -> bool:
        """Tell whether there is no name."""
        return not self._names

    def has(self, place: bytes) -> bool:
        """Tell whether there is such a name."""
        return place in self._names

    def inode(self, place: bytes) -> int:
        """Return the number of a name, as a file has one."""
        return self._inodes[place]

    def remove(self, place: bytes) -> None:
        """Remove a name, as ``unlink`` does. The socket that is bound to it keeps its connections."""
        del self._names[place]
        del self._inodes[place]

    def add(self, name: bytes, socket: LocalSocket, place: bytes = b"") -> None:
        """Give a socket a name. ``place``: under what it is kept, if not the name itself. EADDRINUSE."""
        place = place or name
        if place in self._names:
            raise self.in_use(name)
        self._inode += 1
        self._names[place] = socket
        self._inodes[place] = self._inode

    def in_use(self, name: bytes) -> OSError:
        """Make the error of a name that exists."""
        return os_error(errno.EADDRINUSE, f"address already in use: there is a Unix socket {name_text(name)} on this "
                        "host")

    def add_abstract(self, socket: LocalSocket) -> bytes:
        """Give a socket an abstract name that nobody has: zero and five hexadecimal digits."""
        number = 0
        while True:
            name = b"\0%05x" % number
            if name not in self._names:
                self.add(name, socket)
                return name
            number += 1

    def find(self, name: bytes, kind: i64, place: bytes = b"") -> LocalSocket:
        """Find the socket that has a name. EINVAL, ENOENT, ECONNREFUSED; EPROTOTYPE for a path of another kind."""
        if not name:
            raise os_error(errno.EINVAL, "invalid argument: an empty name is no Unix socket's")
        found = self._names.get(place or name)
        # As on Linux: an abstract name is looked for among the sockets of the kind.
        if found is None or (found.kind != kind and name[:1] == b"\0"):
            number = errno.ENOENT if name[:1] != b"\0" else errno.ECONNREFUSED
            words = "no such file or directory" if number == errno.ENOENT else "connection refused"
            raise os_error(number, f"{words}: there is no Unix socket {name_text(name)} on this host")
        if found.fd < 0:
            raise os_error(errno.ECONNREFUSED, f"connection refused: the Unix socket {name_text(name)} was closed")
        if found.kind != kind:
            raise os_error(errno.EPROTOTYPE, f"protocol wrong type for socket: {name_text(name)} is {found.netid}")
        return found


class LocalSocket(Descriptor):
    """A Unix socket: unconnected, listening or with a peer."""

    def __init__(self, among: Locals, kind: i64) -> None:
        super().__init__(AF_UNIX, kind, _NETIDS[kind])
        self.among: Locals = among
        self.name: bytes = b""
        self.peer: LocalSocket | None = None
        self.backlog: i64 = -1
        """Connections that may wait for ``accept``; -1: it does not listen."""
        self.pending: deque[LocalSocket] = deque()
        self.queue: deque[Message] = deque()
        self.readable_bytes: i64 = 0
        self.charged_bytes: i64 = 0
        """What was sent and is not read, with what each message costs."""
        self.send_buffer_bytes: i64 = _BUFFER_BYTES
        self.receive_buffer_bytes: i64 = _BUFFER_BYTES
        self.is_read_shut: bool = False
        self.is_write_shut: bool = False
        self.error: i64 = 0
        self.credentials: tuple[int, int, int] = (0, -1, -1)
        """Process, user and group that listen or connect here, and of the peer: SO_PEERCRED."""
        self.peer_credentials: tuple[int, int, int] = (0, -1, -1)
        self.flags: list[int] = []
        """Options that were switched on and change nothing."""
        self.blocked_on: LocalSocket | None = None
        """The socket whose full queue made the last call fail with EAGAIN."""
        self.rights: object | None = None
        """What the last call that received found: its caller takes it (``take_rights``)."""
        self._blocked: list[LocalSocket] = []
        """The sockets that wait for room in this one's queue."""

    @property
    def netid(self) -> str:
        """What ``ss`` calls it: ``u_str``, ``u_dgr`` or ``u_seq``."""
        return self.protocol

    @property
    def is_connected(self) -> bool:
        """Whether it has a peer, or had one: a connection that the peer has closed is one still."""
        return self.peer is not None

    def text(self) -> str:
        """Name the socket: ``u_str /run/app.sock (LISTEN)``."""
        peer = self.peer
        ends = name_text(self.name) if peer is None else f"{name_text(self.name)}>{name_text(peer.name)}"
        return f"{self.netid} {ends} ({self.state()})"

    def state(self) -> str:
        """Return the state as ``ss`` writes it: ``LISTEN``, ``ESTAB`` or ``UNCONN``."""
        if self.backlog >= 0:
            return "LISTEN"
        return "UNCONN" if self.peer is None else "ESTAB"

    def readiness(self) -> i64:
        """POLL bits that hold now (Linux's ``unix_poll`` and ``unix_dgram_poll``)."""
        bits: i64 = 0
        if self.error != 0:
            bits |= POLLERR
        if self.is_read_shut and self.is_write_shut:
            bits |= POLLHUP
        if self.is_read_shut:
            bits |= POLLRDHUP | POLLIN
        if self.queue or self.pending:
            bits |= POLLIN
        if self.kind != SOCK_DGRAM and self.peer is None and self.backlog < 0:
            bits |= POLLHUP
        if self.is_writable():
            bits |= POLLOUT
        return bits

    def is_writable(self) -> bool:
        """Tell whether a quarter of the buffer is in use at most, and a peer of datagrams has room."""
        if self.backlog >= 0 or self.charged_bytes << 2 > self.send_buffer_bytes:
            return False
        peer = self.peer
        if self.kind == SOCK_DGRAM and peer is not None and peer.is_full_for(self):
            peer.note_blocked(self)
            return False
        return True

    def is_full_for(self, sender: LocalSocket) -> bool:
        """Tell whether a datagram of that sender, or a connection, has to wait. A closed socket is not full."""
        if self.fd < 0:
            return False
        if self.kind != SOCK_DGRAM:
            return self.backlog >= 0 and len(self.pending) > self.backlog
        return self is not sender and self.peer is not sender and len(self.queue) > _DATAGRAMS_MAX

    def is_blocked(self) -> bool:
        """Tell whether what made the last call fail with EAGAIN still holds: the other's queue is full."""
        other = self.blocked_on
        return other is not None and other.is_full_for(self)

    def note_blocked(self, other: LocalSocket) -> None:
        """Wake ``other`` once there is room here."""
        if other not in self._blocked:
            self._blocked.append(other)

    def is_listening(self) -> bool:
        """Tell whether the socket takes connections."""
        return self.backlog >= 0

    # --- opening

    def bind(self, name: bytes, now_ns: i64, place: bytes = b"") -> None:
        """Take a name, kept at ``place``; ``b""`` takes an abstract one. EINVAL if it has one, EADDRINUSE."""
        self._begin(now_ns)
        if self.name:
            if self.among.has(place or name):
                raise self.among.in_use(name)
            raise os_error(errno.EINVAL, f"invalid argument: the socket is already bound to {name_text(self.name)}")
        if name:
            self.among.add(name, self, place)
            self.name = name
        else:
            self.name = self.among.add_abstract(self)

    def listen(self, backlog: i64, credentials: tuple[int, int, int], now_ns: i64) -> None:
        """Take connections, ``backlog`` and one more before they are accepted. EOPNOTSUPP, EINVAL."""
        self._begin(now_ns)
        if self.kind == SOCK_DGRAM:
            raise os_error(errno.EOPNOTSUPP, f"operation not supported: listen on {self.text()}")
        if not self.name or self.peer is not None:
            raise os_error(errno.EINVAL, f"invalid argument: listen on {self.text()}, which has "
                           f"{'a peer' if self.peer is not None else 'no name'}")
        self.backlog = min(backlog, _BACKLOG_MAX) if backlog >= 0 else _BACKLOG_MAX
        self.credentials = credentials
        self._wake_blocked()

    def connect(self, name: bytes, credentials: tuple[int, int, int], now_ns: i64, place: bytes = b"") -> None:
        """Connect, at once. EAGAIN if the listener's queue is full; ENOENT, ECONNREFUSED, EPROTOTYPE, EISCONN, EPERM.

        A socket for datagrams takes a peer, or another one.
        """
        self._begin(now_ns)
        self.blocked_on = None
        other = self.among.find(name, self.kind, place)
        if self.kind == SOCK_DGRAM:
            self._ensure_may_send(other)
            self.peer = other
            self.among.context.wake(self)
            return
        if other.backlog < 0 or other.is_read_shut:
            raise os_error(errno.ECONNREFUSED, f"connection refused: {name_text(name)} does not listen")
        if other.is_full_for(self):
            self._block_on(other, f"the queue of {name_text(name)} is full")
        if self.peer is not None:
            raise os_error(errno.EISCONN, f"transport endpoint is already connected: {self.text()}")
        if self.backlog >= 0:
            raise os_error(errno.EINVAL, f"invalid argument: connect on {self.text()}, which listens")
        made = LocalSocket(self.among, self.kind)
        made.name = other.name
        made.peer, self.peer = self, made
        made.peer_credentials, self.peer_credentials = credentials, other.credentials
        other.pending.append(made)
        self.among.context.wake(other)
        self.among.context.wake(self)

    def accept(self, now_ns: i64) -> LocalSocket:
        """Take the oldest connection that waits. EAGAIN, EINVAL, EOPNOTSUPP, EMFILE."""
        self._begin(now_ns)
        if self.kind == SOCK_DGRAM:
            raise os_error(errno.EOPNOTSUPP, f"operation not supported: accept on {self.text()}")
        if self.backlog < 0 or self.is_read_shut:
            raise os_error(errno.EINVAL, f"invalid argument: accept on {self.text()}, which does not listen")
        if not self.pending:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: nobody has connected to {self.text()}")
        self.among.files.ensure_room()
        made = self.pending.popleft()
        self.among.files.allocate(made, "accept()")
        self.among.context.wake(made)
        self._wake_blocked()
        return made

    def disconnect(self, now_ns: i64) -> None:
        """Do without a peer from now on: datagrams come from anybody again."""
        self._begin(now_ns)
        if self.kind != SOCK_DGRAM:
            raise os_error(errno.EINVAL, f"invalid argument: {self.text()} can't be disconnected")
        self.peer = None

    # --- bytes

    def send(self, data: bytes, flags: i64, now_ns: i64, rights: object | None = None) -> int:
        """Send to the peer, and return how many bytes were taken. EAGAIN, ENOTCONN, EPIPE, ECONNREFUSED, EMSGSIZE.

        ``rights`` go with the first byte, or with the message.
        """
        self._begin(now_ns)
        peer = self.peer
        if self.kind == SOCK_DGRAM:
            refuse_urgent(flags)
            self._ensure_fits(data)
        if self.kind == SOCK_SEQPACKET:
            self.raise_error()
        if peer is None:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: send on {self.text()}")
        refuse_urgent(flags)
        if self.kind == SOCK_DGRAM:
            return self._send_message(data, peer, rights)
        if self.is_write_shut or peer.is_read_shut:
            raise os_error(errno.EPIPE, f"broken pipe: {self.text()} can't be written any more")
        if self.kind == SOCK_SEQPACKET:
            return self._send_message(data, peer, rights)
        self.raise_error()
        count: i64 = 0
        piece_max: i64 = (self.send_buffer_bytes >> 1) - 64
        while count < len(data) and self.charged_bytes < self.send_buffer_bytes:
            piece = data[count : count + piece_max]
            self._put(piece, peer, rights if count == 0 else None)
            count += len(piece)
        if count == 0 and data:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: the buffer of {self.text()} is full")
        return count

    def sendto(self, data: bytes, name: bytes, flags: i64, now_ns: i64, rights: object | None = None,
               place: bytes = b"") -> int:
        """Send a datagram to a name. What ``send`` raises, and ENOENT, EPROTOTYPE, EPERM; EISCONN on a stream."""
        self._begin(now_ns)
        if self.kind == SOCK_SEQPACKET:
            return self.send(data, flags, now_ns, rights)
        if self.kind == SOCK_STREAM:
            number = errno.EISCONN if self.peer is not None else errno.EOPNOTSUPP
            words = "transport endpoint is already connected" if self.peer is not None else "operation not supported"
            raise os_error(number, f"{words}: sendto on {self.text()}")
        refuse_urgent(flags)
        self._ensure_fits(data)
        self._ensure_open_to_write()
        return self._send_message(data, self.among.find(name, self.kind, place), rights)

    def receive(self, size: i64, flags: i64, now_ns: i64) -> tuple[bytes, bytes, int]:
        """Take bytes, or one message: data, the sender's name, and MSG_TRUNC if the message was longer. EAGAIN.

        ``b""`` at the end. With MSG_TRUNC in ``flags`` the whole message is returned. ENOTCONN; EINVAL for a stream.
        """
        self._begin(now_ns)
        if self.kind == SOCK_SEQPACKET and self.peer is None:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: recv on {self.text()}")
        refuse_urgent(flags)
        if self.kind == SOCK_STREAM and self.peer is None:
            raise os_error(errno.EINVAL, f"invalid argument: recv on {self.text()}, which is not connected")
        if not self.queue or self.kind != SOCK_STREAM:
            self.raise_error()
        if not self.queue:
            if self.is_read_shut and self.kind != SOCK_DGRAM:
                return b"", b"", 0
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: nothing has come on {self.text()}")
        is_peek = (flags & MSG_PEEK) != 0
        name = self.queue[0].name
        if self.kind == SOCK_STREAM:
            return self._take_bytes(size, is_peek), name, 0
        message = self.queue[0]
        data = message.data
        self.rights = message.rights
        if not is_peek:
            self.queue.popleft()
            self._uncharge(message, len(data), _MESSAGE_BYTES)
            self._wake_blocked()
        result: i64 = MSG_TRUNC if len(data) > size else 0
        return data if (flags & MSG_TRUNC) != 0 else data[:size], name, result

    def recv(self, size: i64, flags: i64, now_ns: i64) -> bytes:
        """Take bytes, or one message. See ``receive``."""
        return self.receive(size, flags, now_ns)[0]

    def take_rights(self) -> object | None:
        """Return what came with the bytes that were just received. With MSG_PEEK it stays with its message, too."""
        rights = self.rights
        self.rights = None
        return rights

    def take_error(self) -> int:
        """Return SO_ERROR and clear it."""
        number = self.error
        self.error = 0
        return number

    def next_bytes(self) -> int:
        """Count what SIOCINQ does: of a stream and of SOCK_SEQPACKET all that waits, else the next message."""
        if self.kind == SOCK_SEQPACKET:
            return sum([len(message.data) for message in self.queue])
        return self.readable_bytes if self.kind == SOCK_STREAM else len(self.queue[0].data) if self.queue else 0

    def set_flag(self, option: int, *, is_on: bool) -> None:
        """Keep whether an option is on that changes nothing here."""
        if is_on and option not in self.flags:
            self.flags.append(option)
        elif not is_on and option in self.flags:
            self.flags.remove(option)

    def set_send_buffer(self, size_bytes: i64) -> None:
        """Set the size of the send buffer, twice what the program asked for (SO_SNDBUF)."""
        self.send_buffer_bytes = max(_BUFFER_BYTES_MIN, min(size_bytes, _BUFFER_BYTES_MAX))
        self.among.context.wake(self)

    # --- closing

    def shutdown(self, how: i64, now_ns: i64) -> None:
        """End sending, receiving or both; a connected peer sees the other side of it. EINVAL."""
        self._begin(now_ns)
        if how != SHUT_RD and how != SHUT_WR and how != SHUT_RDWR:
            raise os_error(errno.EINVAL, f"invalid argument: shutdown: how must be 0, 1 or 2, not {how}")
        self._shut(is_read=how != SHUT_WR, is_write=how != SHUT_RD)
        peer = self.peer
        if peer is not None and self.kind != SOCK_DGRAM:
            peer._shut(is_read=how != SHUT_RD, is_write=how != SHUT_WR)

    def close(self, now_ns: i64) -> None:
        """Release the descriptor. The peer reads what is there and then the end, or ECONNRESET if much was unread."""
        self._begin(now_ns)
        if self.name[:1] == b"\0" and self.among.has(self.name) and self.among.find(self.name, self.kind) is self:
            self.among.remove(self.name)
        self._release(is_embryo=False)
        self.among.files.release(self)

    # --- inside

    def _begin(self, now_ns: i64) -> None:
        self.among.context.now_ns = now_ns

    def _release(self, *, is_embryo: bool) -> None:
        """Let go of the peer and of all that waits."""
        peer = self.peer
        if peer is not None and self.kind != SOCK_DGRAM:
            if self.queue or is_embryo:
                peer.error = errno.ECONNRESET
            peer._shut(is_read=True, is_write=True)
        while self.queue:
            message = self.queue.popleft()
            self._uncharge(message, len(message.data) - message.start, _MESSAGE_BYTES)
            if message.rights is not None and self.among.discard is not None:
                self.among.discard(message.rights)
        while self.pending:
            self.pending.popleft()._release(is_embryo=True)
        self.is_read_shut = self.is_write_shut = True
        self.backlog = -1
        self._wake_blocked()

    def _shut(self, *, is_read: bool, is_write: bool) -> None:
        self.is_read_shut = self.is_read_shut or is_read
        self.is_write_shut = self.is_write_shut or is_write
        self.among.context.wake(self)
        self._wake_blocked()

    def raise_error(self) -> None:
        """Raise what is left for SO_ERROR, if anything is."""
        if self.error != 0:
            number = self.take_error()
            raise os_error(number, f"connection reset by peer: the peer of {self.text()} closed with unread data")

    def _ensure_may_send(self, other: LocalSocket) -> None:
        if other.peer is not None and other.peer is not self:
            raise os_error(errno.EPERM, f"operation not permitted: {name_text(other.name)} has another peer")

    def _block_on(self, other: LocalSocket, why: str) -> None:
        other.note_blocked(self)
        self.blocked_on = other
        raise os_error(errno.EAGAIN, f"resource temporarily unavailable: {why}")

    def _wake_blocked(self) -> None:
        if self._blocked:
            blocked = self._blocked
            self._blocked = []
            for other in blocked:
                if self.is_full_for(other):
                    self._blocked.append(other)
                else:
                    self.among.context.wake(other)

    def _send_message(self, data: bytes, other: LocalSocket, rights: object | None) -> int:
        """Put a whole message into another's queue."""
        self.blocked_on = None
        self._ensure_fits(data)
        self.raise_error()
        self._ensure_open_to_write()
        if other.fd < 0 and self.kind == SOCK_DGRAM:
            if other is self.peer:
                self.peer = None
            raise os_error(errno.ECONNREFUSED, f"connection refused: {name_text(other.name)} was closed")
        self._ensure_may_send(other)
        if other.is_read_shut:
            raise os_error(errno.EPIPE, f"broken pipe: {name_text(other.name)} receives nothing any more")
        if self.charged_bytes >= self.send_buffer_bytes:
            raise os_error(errno.EAGAIN, f"resource temporarily unavailable: the buffer of {self.text()} is full")
        if other.kind == SOCK_DGRAM and other.is_full_for(self):
            self._block_on(other, f"the queue of {name_text(other.name)} is full")
        self._put(data, other, rights)
        return len(data)

    def _ensure_fits(self, data: bytes) -> None:
        if len(data) > self.send_buffer_bytes - 32:
            raise os_error(errno.EMSGSIZE, f"message too long: {len(data)} bytes, the buffer has "
                           f"{self.send_buffer_bytes}")

    def _ensure_open_to_write(self) -> None:
        if self.is_write_shut:
            raise os_error(errno.EPIPE, f"broken pipe: {self.text()} can't be written any more")

    def _put(self, data: bytes, other: LocalSocket, rights: object | None) -> None:
        message = Message(data, self)
        message.rights = rights
        other.queue.append(message)
        other.readable_bytes += len(data)
        self.charged_bytes += len(data) + _MESSAGE_BYTES
        self.among.context.wake(other)

    def _take_bytes(self, size: i64, is_peek: bool) -> bytes:
        """Take up to ``size`` bytes of a stream, from as many messages as they are in: none beyond one with rights."""
        parts: list[bytes] = []
        left = size
        for message in tuple(self.queue):
            if left <= 0:
                break
            part = message.data[message.start : message.start + left]
            parts.append(part)
            left -= len(part)
            rights = message.rights
            if rights is not None:
                self.rights = rights
            if is_peek:
                if rights is not None:
                    break
                continue
            message.rights = None
            message.start += len(part)
            is_taken = message.start == len(message.data)
            if is_taken:
                self.queue.popleft()
            self._uncharge(message, len(part), _MESSAGE_BYTES if is_taken else 0)
            if rights is not None:
                break
        return b"".join(parts)

    def _uncharge(self, message: Message, size: i64, cost: i64) -> None:
        self.readable_bytes -= size
        sender = message.sender
        sender.charged_bytes -= size + cost
        if sender.fd >= 0 and sender.charged_bytes << 2 <= sender.send_buffer_bytes:
            self.among.context.wake(sender)
