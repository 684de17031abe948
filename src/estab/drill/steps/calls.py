"""System calls: what each does to the host, as a generator that yields while it would block.

A call yields the time at which it stops waiting (``NEVER``: only news help) and is resumed after any news. It returns
the number that the call returns; what else it gives is compared with the script on the way. ``OSError`` is its -1.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Mapping
from typing import Final

from estab import abi
from estab.abi import AF_INET, AF_INET6, MSG_DONTWAIT, MSG_FASTOPEN, MSG_PEEK, MSG_WAITALL, SOCK_DGRAM, SOCK_STREAM
from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.language.syntax import Array, Blank, Call, Expression, Structure, Text, Word
from estab.drill.language.values import constant, expression_text, integer, octets
from estab.drill.machine.files import File, PipeEnd, PlainFile, SocketFile
from estab.drill.machine.flow import Flow, Stage
from estab.drill.machine.machine import Machine
from estab.drill.steps.control import check_control
from estab.drill.steps.descriptors import Steps
from estab.drill.steps.implied import ImpliedConnects
from estab.drill.steps.options import Options
from estab.drill.steps.polling import Polling
from estab.errors import os_error
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.socket.tcp_info import pack_tcp_info, unpack_tcp_info
from estab.units import NEVER, SECOND
from estab.wire.address import format_address, map_v4

__all__ = ["Calls"]

_MSG_ZEROCOPY: Final = 0x4000000
_MSG_ERRQUEUE: Final = 0x2000
_NONBLOCK: Final = 0o4000
_FILE_BYTES: Final = 1 << 20


class Calls:
    """The calls of one script, and the descriptors that they made. ``flow`` is the socket under test."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.settings = machine.settings
        self.files: dict[int, File] = {}
        self.hidden: list[File] = []
        """Descriptors whose number a later one took."""
        self.flow: Flow | None = None
        self.polling = Polling(self)
        self.implied = ImpliedConnects(machine)
        self.options = Options(self, self.polling.on_event, counts_text=machine.settings.profile == "freebsd")
        self._table: dict[str, Callable[[Call], Steps | int]] = {
            "socket": self._socket, "bind": self._bind, "listen": self._listen, "accept": self._accept,
            "accept4": self._accept, "connect": self._connect, "close": self._close, "shutdown": self._shutdown,
            "read": self._read, "readv": self._readv, "recv": self._recv, "recvfrom": self._recv,
            "recvmsg": self._recvmsg,
            "write": self._write, "writev": self._writev, "send": self._send, "sendto": self._sendto,
            "sendmsg": self._sendmsg, "fcntl": self._fcntl, "ioctl": self._ioctl,
            "getsockopt": self.options.getsockopt, "setsockopt": self.options.setsockopt,
            "poll": self.polling.poll, "epoll_create": self.polling.epoll_create,
            "epoll_create1": self.polling.epoll_create, "epoll_ctl": self.polling.epoll_ctl,
            "epoll_wait": self.polling.epoll_wait, "open": self._open, "sendfile": self._sendfile, "pipe": self._pipe,
            "splice": self._splice, "cap_set": self._cap_set,
        }
        machine.on_event = self.polling.on_event

    def start(self, call: Call) -> Steps | int:
        """Begin a call; one that never blocks is over at once. ``UnsupportedError`` names one that is not known."""
        begin = self._table.get(call.name)
        if begin is None:
            raise UnsupportedError(f"unknown system call {call.name}()")
        return begin(call)

    # --- descriptors

    def file(self, value: Expression) -> File:
        """Find a descriptor, or raise EBADF."""
        found = self.files.get(integer(value))
        if found is None:
            raise os_error(errno.EBADF, f"bad file descriptor: {expression_text(value)}")
        return found

    def socket_file(self, value: Expression) -> SocketFile:
        """Find a socket. EBADF, ENOTSOCK."""
        found = self.file(value)
        if not isinstance(found, SocketFile):
            raise os_error(errno.ENOTSOCK, f"socket operation on non-socket: {expression_text(value)}")
        return found

    def add(self, call: Call, file: File) -> int:
        """Return a new descriptor the number that the script expects; one that has it already stays open, out of reach.

        The script's numbers are names: packetdrill, too, lets one stand for the descriptor that had it last.
        """
        number = call.result if isinstance(call.result, int) and call.result >= 0 else self._lowest()
        if number in self.files:
            self.hidden.append(self.files.pop(number))
        self.files[number] = file
        return number

    def _lowest(self) -> int:
        return next(number for number in range(3, 1 << 16) if number not in self.files)

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self.machine.now_ns

    def fields_under_test(self) -> Mapping[str, int] | None:
        """Give the fields of ``TCP_INFO`` of the socket under test, ``None`` if there is no such socket."""
        for file in self.files.values():
            if isinstance(file, SocketFile) and file.flow is self.flow and isinstance(file.socket, StreamSocket):
                return unpack_tcp_info(pack_tcp_info(file.socket.info(self.now_ns), file.socket.state))
        return None

    # --- addresses

    def _address(self, value: Expression, file: SocketFile, default: tuple[str, int]) -> tuple[str, int]:
        """Read an address argument: ``...`` is the run's own."""
        host, port = default
        if isinstance(value, Structure):
            host, port = self._written_address(value)
        if file.socket.family == AF_INET6 and ":" not in host and host:
            host = format_address(map_v4(bytes(map(int, host.split(".")))))
        return host, port

    def _written_address(self, value: Structure) -> tuple[str, int]:
        port = value.get("sin_port", "sin6_port")
        address = value.get("sin_addr", "sin6_addr")
        number = integer(port.argument) if port is not None and hasattr(port, "argument") else 0
        if address is None or not hasattr(address, "argument"):
            raise MismatchError(f"expected an address, not {expression_text(value)}")
        host = octets(address.argument).decode()
        return ("" if host in ("0.0.0.0", "::") else host), number

    def _is_unspec(self, value: Expression) -> bool:
        if isinstance(value, Word):
            return constant(value.name) == abi.AF_UNSPEC
        if not isinstance(value, Structure):
            return False
        family = value.get("sa_family", "sin_family")
        return family is not None and integer(family) == abi.AF_UNSPEC

    # --- making and ending

    def _socket(self, call: Call) -> int:
        family, kind, protocol = _arguments(call, 3)
        number = AF_INET if self.settings.ip_version == "ipv4" else AF_INET6
        if not isinstance(family, Blank):
            number = integer(family)
        kind_bits = integer(kind)
        flags = _NONBLOCK if kind_bits & constant("SOCK_NONBLOCK") else 0
        kind_bits &= 0xF
        if not isinstance(protocol, Blank) and integer(protocol) not in (0, abi.IPPROTO_TCP, abi.IPPROTO_UDP):
            raise UnsupportedError(f"sockets of protocol {expression_text(protocol)} are not spoken here")
        socket = self.machine.engine.socket(number, kind_bits, self.now_ns)
        flow = Flow("tcp" if kind_bits == SOCK_STREAM else "udp", self.machine.local, self.machine.remote)
        self.flow = flow
        return self.add(call, SocketFile(2 | flags, socket, flow))

    def _bind(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        address = self._address(call.arguments[1], file, (self.settings.local, self.settings.bind_port))
        file.socket.bind(address, self.now_ns)
        if file.socket.kind == SOCK_DGRAM:
            file.flow.local_port = address[1]
            file.flow.remote_port = file.flow.remote_port or self.settings.connect_port
        return 0

    def _listen(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        _stream(file).listen(integer(call.arguments[1]), self.now_ns)
        file.flow.stage = Stage.LISTENING
        return 0

    def _accept(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        socket = _stream(file)
        flags = integer(call.arguments[3]) & _NONBLOCK if len(call.arguments) > 3 else 0
        while True:
            try:
                made = socket.accept(self.now_ns)
                break
            except BlockingIOError:
                if file.is_nonblocking:
                    raise
            yield NEVER
        flow = self.flow
        connection = made.connection
        if flow is None or connection is None or flow.remote_port != connection.remote_port:
            flow = Flow("tcp", self.machine.local, self.machine.remote)
        flow.stage = Stage.ACCEPTED
        return self.add(call, SocketFile(2 | flags, made, flow))

    def _connect(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        socket = file.socket
        if len(call.arguments) > 1 and self._is_unspec(call.arguments[1]):
            if isinstance(socket, DatagramSocket):
                socket.disconnect()
            else:
                socket.disconnect(self.now_ns)
            return 0
        address = self._address(call.arguments[1], file, (self.settings.remote, self.settings.connect_port))
        if file.flow.stage is Stage.NEW:
            file.flow.stage = Stage.CONNECTING
            file.flow.remote_port = address[1]
        if isinstance(socket, DatagramSocket):
            socket.connect(address, self.now_ns)
            return 0
        while True:
            try:
                socket.connect(address, self.now_ns)
                return 0
            except BlockingIOError:
                if file.is_nonblocking:
                    raise
            yield NEVER

    def _close(self, call: Call) -> Steps:
        file = self.file(call.arguments[0])
        number = integer(call.arguments[0])
        del self.files[number]
        self.polling.forget(number)
        if isinstance(file, SocketFile):
            socket = file.socket
            linger = socket.linger if isinstance(socket, StreamSocket) else None
            connection = socket.connection if isinstance(socket, StreamSocket) else None
            socket.close(self.now_ns)
            deadline_ns = self.now_ns + (linger or 0) * SECOND
            while linger and connection is not None and connection.is_closing() and self.now_ns < deadline_ns:
                yield deadline_ns
        return 0

    def _shutdown(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        file.socket.shutdown(integer(call.arguments[1]), self.now_ns)
        return 0

    # --- receiving

    def _read(self, call: Call) -> Steps:
        file = self.file(call.arguments[0])
        size = integer(call.arguments[2])
        _check_buffer(call.arguments[1], size)
        if isinstance(file, PipeEnd):
            taken = b"".join(file.content)[:size]
            file.content[:] = [b"".join(file.content)[size:]]
            return len(taken)
        return len((yield from self._receive(self.socket_file(call.arguments[0]), size, 0)))

    def _readv(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        return len((yield from self._receive(file, _vector_bytes(call.arguments[1]), 0)))

    def _recv(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        _check_buffer(call.arguments[1], integer(call.arguments[2]))
        return len((yield from self._receive(file, integer(call.arguments[2]), integer(call.arguments[3]))))

    def _recvmsg(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        message = call.arguments[1]
        flags = integer(call.arguments[2])
        if not isinstance(message, Structure):
            raise MismatchError(f"expected a msghdr, not {expression_text(message)}")
        if flags & _MSG_ERRQUEUE:
            raise UnsupportedError("the error queue (MSG_ERRQUEUE) is not kept here")
        vector = message.get("msg_iov") or Array(())
        data = yield from self._receive(file, _vector_bytes(vector), flags)
        wanted = message.get("msg_flags")
        if wanted is not None and not isinstance(wanted, Blank) and integer(wanted) != 0:
            raise MismatchError(f"recvmsg: expected msg_flags={expression_text(wanted)}, got 0")
        control = message.get("msg_control")
        if control is not None and not isinstance(control, Blank):
            found = file.socket.ancillary() if isinstance(file.socket, StreamSocket) else []
            check_control(control, found)
        return len(data)

    def _receive(self, file: SocketFile, size: int, flags: int) -> Generator[int, None, bytes]:
        """Receive, waiting as the descriptor and ``flags`` allow; MSG_WAITALL waits for all of ``size``."""
        is_waiting = not (file.is_nonblocking or flags & MSG_DONTWAIT)
        socket = file.socket
        taken = b""
        while True:
            try:
                if isinstance(socket, DatagramSocket):
                    text, _, _ = socket.recvfrom(size, flags & ~MSG_WAITALL)
                    return text[:size]
                piece = socket.recv(size - len(taken), flags & ~(MSG_WAITALL | MSG_DONTWAIT), self.now_ns)
                taken += piece
                if not piece or not flags & MSG_WAITALL or flags & MSG_PEEK or len(taken) == size or not is_waiting:
                    return taken
            except BlockingIOError:
                if not is_waiting:
                    raise
            yield NEVER

    # --- sending

    def _write(self, call: Call) -> Steps:
        file = self.file(call.arguments[0])
        size = integer(call.arguments[2])
        if isinstance(file, PipeEnd):
            file.content.append(bytes(size))
            return size
        return (yield from self._transmit(self.socket_file(call.arguments[0]), _buffer(call.arguments[1], size), 0))

    def _writev(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        return (yield from self._transmit(file, bytes(_vector_bytes(call.arguments[1])), 0))

    def _send(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        data = _buffer(call.arguments[1], integer(call.arguments[2]))
        return (yield from self._transmit(file, data, integer(call.arguments[3])))

    def _sendto(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        data = _buffer(call.arguments[1], integer(call.arguments[2]))
        flags = integer(call.arguments[3])
        is_implied = isinstance(file.socket, StreamSocket) and self.implied.is_meant(file.socket)
        if isinstance(file.socket, StreamSocket) and not is_implied:
            return (yield from self._transmit(file, data, flags, call.arguments[4]))
        address = self._address(call.arguments[4], file, (self.settings.remote, self.settings.connect_port))
        file.flow.stage = Stage.CONNECTING
        file.flow.remote_port = address[1]
        if isinstance(file.socket, StreamSocket):
            return self.implied.begin(file.socket, data, address)
        return file.socket.sendto(data, address, flags, self.now_ns)

    def _sendmsg(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        message = call.arguments[1]
        if not isinstance(message, Structure):
            raise MismatchError(f"expected a msghdr, not {expression_text(message)}")
        size = _vector_bytes(message.get("msg_iov") or Array(()))
        name = message.get("msg_name") or Blank()
        return (yield from self._transmit(file, bytes(size), integer(call.arguments[2]), name))

    def _transmit(self, file: SocketFile, data: bytes, flags: int, to: Expression | None = None) -> Steps:
        """Send all of ``data`` if waiting is allowed, else what there is room for."""
        if flags & _MSG_ZEROCOPY:
            raise UnsupportedError("MSG_ZEROCOPY is not done here: a stack in user space copies")
        socket = file.socket
        if isinstance(socket, StreamSocket) and socket.opens_with(flags):
            return (yield from self._open_with(file, socket, data, flags, to))
        is_waiting = not (file.is_nonblocking or flags & MSG_DONTWAIT)
        sent = 0
        while True:
            try:
                sent += file.socket.send(data[sent:], flags & ~MSG_DONTWAIT, self.now_ns)
                if sent >= len(data):
                    return sent
                continue
            except BlockingIOError:
                if not is_waiting:
                    if sent:
                        return sent
                    raise
                while not file.socket.readiness() & (abi.POLLOUT | abi.POLLERR | abi.POLLHUP):
                    yield NEVER
            except OSError:
                if sent:
                    return sent
                raise

    def _open_with(
        self, file: SocketFile, socket: StreamSocket, data: bytes, flags: int, to: Expression | None,
    ) -> Steps:
        """Open the connection with text on its SYN (MSG_FASTOPEN, TCP_FASTOPEN_CONNECT), then send the rest."""
        address: tuple[str, int] | None = None
        if to is not None:
            if self._is_unspec(to):
                raise os_error(errno.EOPNOTSUPP, "operation not supported: MSG_FASTOPEN to no address")
            address = self._address(to, file, (self.settings.remote, self.settings.connect_port))
        if file.flow.stage is Stage.NEW and address is not None:
            file.flow.stage = Stage.CONNECTING
            file.flow.remote_port = address[1]
        is_waiting = not (file.is_nonblocking or flags & MSG_DONTWAIT)
        sent = 0
        try:
            sent = socket.send(data, flags, self.now_ns, address)
        except BlockingIOError:
            if not is_waiting:
                raise
        if not is_waiting:
            return sent
        socket.wait_with_text(sent < len(data))
        while socket.state in (abi.SYN_SENT, abi.SYN_RECEIVED):
            yield NEVER
        socket.finish_opening(self.now_ns)
        if sent < len(data):
            sent += yield from self._transmit(file, data[sent:], flags & ~MSG_FASTOPEN)
        return sent

    # --- descriptors again

    def _fcntl(self, call: Call) -> int:
        file = self.file(call.arguments[0])
        command = integer(call.arguments[1])
        if command == constant("F_GETFL"):
            return file.flags
        if command == constant("F_SETFL"):
            file.flags = file.flags & 3 | integer(call.arguments[2]) & ~3
            return 0
        if command in (constant("F_GETFD"), constant("F_SETFD")):
            return 0
        raise os_error(errno.EINVAL, f"invalid argument: fcntl command {command}")

    def _ioctl(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        request = integer(call.arguments[1])
        socket = _stream(file)
        if request == constant("SIOCINQ"):
            number = socket.readable_bytes
        elif request == constant("SIOCOUTQ"):
            number = socket.outq_bytes
        elif request == constant("SIOCOUTQNSD"):
            number = socket.outq_unsent_bytes
        else:
            raise UnsupportedError(f"unknown ioctl {expression_text(call.arguments[1])}")
        if len(call.arguments) > 2 and not isinstance(call.arguments[2], Blank):
            if socket.listener is not None:
                raise os_error(errno.EINVAL, "invalid argument: a listening socket has no queue of octets")
            if integer(call.arguments[2]) != number:
                name = expression_text(call.arguments[1])
                raise MismatchError(f"{name}: expected {integer(call.arguments[2])}, got {number}")
        return 0

    def _open(self, call: Call) -> int:
        if not isinstance(call.arguments[0], Text):
            raise MismatchError("open() takes a path")
        return self.add(call, PlainFile(size=_FILE_BYTES))

    def _sendfile(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        source = self.file(call.arguments[1])
        size = integer(call.arguments[3])
        if isinstance(source, PlainFile):
            size = min(size, source.size)
        return (yield from self._transmit(file, bytes(size), 0))

    def _pipe(self, call: Call) -> int:
        if not isinstance(call.arguments[0], Array):
            raise MismatchError("pipe() takes [read end, write end]")
        ends = [integer(item) for item in call.arguments[0].items]
        content: list[bytes] = []
        for number in ends:
            self.files[number] = PipeEnd(content=content)
        return 0

    def _splice(self, call: Call) -> int:
        raise UnsupportedError("splice() is not done here")

    def _cap_set(self, call: Call) -> int:
        return 0


def _arguments(call: Call, count: int) -> tuple[Expression, ...]:
    if len(call.arguments) != count:
        raise MismatchError(f"{call.name}() takes {count} arguments, not {len(call.arguments)}")
    return call.arguments


def _stream(file: SocketFile) -> StreamSocket:
    if not isinstance(file.socket, StreamSocket):
        raise os_error(errno.EOPNOTSUPP, "operation not supported: not a TCP socket")
    return file.socket


def _check_buffer(value: Expression, size: int) -> None:
    """Refuse NULL as the place of ``size`` octets: EFAULT."""
    if not isinstance(value, Blank | Text) and size > 0:
        raise os_error(errno.EFAULT, "bad address: NULL")


def _buffer(value: Expression, size: int) -> bytes:
    """Return what a program sends: zeros."""
    _check_buffer(value, size)
    return bytes(size)


def _vector_bytes(value: Expression) -> int:
    """Count the octets of ``[{..., 10}, {..., 20}]``, also written ``{iov_base=..., iov_len=10}``."""
    if not isinstance(value, Array):
        raise MismatchError(f"expected a vector of buffers, not {expression_text(value)}")
    total = 0
    for item in value.items:
        if not isinstance(item, Structure) or len(item.fields) != 2:
            raise MismatchError(f"expected a buffer and its size, not {expression_text(item)}")
        total += integer(item.fields[1].value)
    return total
