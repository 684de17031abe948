"""``Socket``: a ``socket.socket`` that uses a host of estab.

- It is a subclass, with the names, arguments, results and errors of the original, but has no socket of the operating
  system. ``makefile`` and the context manager are the original's.
- ``fileno()`` is a real descriptor whose read-readiness follows the socket (``RealDescriptor``). The first call makes
  it.
- Unlike the original it shows what TCP does: ``state``, ``info()``, ``unacked``, ``wait_acked()``, ``queues()``.
"""

from __future__ import annotations

import contextlib
import errno
import socket as os_socket
import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, SupportsIndex

from estab.abi import AF_INET, READ_BITS, SHUT_WR, WRITE_BITS
from estab.errors import os_error
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.sockaddr import write_sockaddr
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.arguments import c_int
from estab.sockets.polling.open_file import File, descriptor_of
from estab.sockets.polling.poll import describe, is_closed
from estab.sockets.runtime import Wait, current
from estab.sockets.socket import calls
from estab.sockets.socket.addresses import named_family, named_kind, numeric
from estab.sockets.socket.at_once import accept_at_once, connect_at_once
from estab.sockets.socket.beyond import Beyond
from estab.sockets.socket.blocking import HOST_FAMILIES, NO_SLOTS, HostSocket
from estab.sockets.socket.calls import told, told_option
from estab.sockets.socket.ioctl import ask
from estab.sockets.socket.local import (
    AF_UNIX,
    credentials_of,
    get_local_option,
    read_name,
    set_local_option,
    show_name,
)
from estab.sockets.socket.options import get_option, set_option
from estab.sockets.socket.transfer import readable
from estab.sockets.socket.unix_paths import place_to_bind, place_to_find
from estab.units import SECOND

if TYPE_CHECKING:

    from estab.sockets.runtime import Runtime

__all__ = ["Socket"]

_new_socket: Final = os_socket.socket.__new__
_close: Final = os_socket.socket.close
_NONBLOCK: Final = getattr(os_socket, "SOCK_NONBLOCK", 0)
_CLOEXEC: Final = getattr(os_socket, "SOCK_CLOEXEC", 0)
_TCP_PROTOCOLS: Final = (0, os_socket.IPPROTO_TCP)
_PROTOCOLS: Final[dict[int, tuple[int, ...]]] = {
    os_socket.SOCK_STREAM: _TCP_PROTOCOLS, os_socket.SOCK_DGRAM: (0, os_socket.IPPROTO_UDP),
}
_KINDS_END: Final = 11
"""Linux's SOCK_MAX."""
_LOCAL_KINDS: Final = (os_socket.SOCK_STREAM, os_socket.SOCK_DGRAM, os_socket.SOCK_SEQPACKET)
_LOCAL_PROTOCOLS: Final = (0,)


class Socket(Beyond):
    """A TCP or UDP socket of a host. ``runtime`` is that host's; inside a program it may be left out."""

    __slots__ = NO_SLOTS
    __module__ = "estab"  # where users find it; texts and warnings name it so

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make one that has no descriptor yet."""
        made: Any = _new_socket(_Compact if cls is Socket else cls)
        made._file = made._real = made._past = made._owner = made._timeout = None
        return made  # type: ignore[no-any-return]

    def __init__(self, family: Any = -1, type: Any = -1, proto: Any = -1, fileno: int | None = None, *,
                 runtime: Runtime | None = None) -> None:
        found = runtime if runtime is not None else current()
        if found is None:
            raise RuntimeError("estab.Socket outside of a program: make it by host.socket() or inside host.installed()")
        self.runtime = found
        self._owner = found.owner()
        self._io_refs = 0
        self._closed = False
        self._timeout = os_socket.getdefaulttimeout()
        if fileno is not None:
            self._adopt(fileno, family, type, proto)
            return
        if not (isinstance(family, int) and isinstance(type, int) and isinstance(proto, int)):
            family, type, proto = c_int(family), c_int(type), c_int(proto)
        kind = os_socket.SOCK_STREAM if type == -1 else type & ~(_NONBLOCK | _CLOEXEC)
        if type != -1 and type & _NONBLOCK:
            self._timeout = 0.0
        self._open(os_socket.AF_INET if family == -1 else family, kind, 0 if proto == -1 else proto)

    def _open(self, family: int, kind: int, proto: int) -> None:
        """Let the host make a descriptor."""
        runtime = self.runtime
        self._family, self._kind, self._proto = named_family(family), named_kind(kind), proto
        if runtime.quick is not None and proto in _TCP_PROTOCOLS and family in HOST_FAMILIES:
            self._file = runtime.quick.open(HOST_FAMILIES[family], kind)
            if self._file is not None:
                return
        if runtime.engine.observer is None:
            self._make_descriptor(runtime, family, kind, proto)
            return
        arguments = (self._family, self._kind, proto)
        written = lambda: calls.write_arguments(arguments, {})  # noqa: E731
        with calls.Telling(runtime, "socket", written, past=self.past(runtime)) as telling:
            self._make_descriptor(runtime, family, kind, proto)
            telling.returned(self.fd, f"<fd {self.fd}>")

    def _make_descriptor(self, runtime: Runtime, family: int, kind: int, proto: int) -> None:
        is_local = family == AF_UNIX and runtime.is_virtual
        if family not in HOST_FAMILIES and not is_local:
            raise os_error(errno.EAFNOSUPPORT, f"address family not supported by protocol: {self._family!r}")
        if not 0 <= kind < _KINDS_END:
            raise os_error(errno.EINVAL, f"invalid argument: no type of socket {kind}")
        if kind not in (_LOCAL_KINDS if is_local else _PROTOCOLS):
            raise os_error(errno.ESOCKTNOSUPPORT, f"socket type not supported: {self._kind!r}")
        if proto not in (_LOCAL_PROTOCOLS if is_local else _PROTOCOLS[kind]):
            raise os_error(errno.EPROTONOSUPPORT, f"protocol not supported: {proto} for this type of socket")
        runtime.ensure_may_open()
        with runtime.lock:
            opened: HostSocket = (
                runtime.engine.local_socket(int(kind), runtime.now_ns) if is_local else
                runtime.engine.socket(HOST_FAMILIES[family], int(kind), runtime.now_ns))
            self._file = File(opened, runtime.own(opened))
            runtime.flush()

    def _adopt(self, number: int, family: int, kind: int, proto: int) -> None:
        """Take the descriptor of that number, which ``detach`` released, or share it with the socket that has it."""
        if not isinstance(number, int):
            raise TypeError(f"an integer is required (got type {number.__class__.__name__})")
        if number < 0:
            raise ValueError("negative file descriptor")
        runtime = self.runtime
        other = runtime.detached.get(number) or runtime.by_number.get(number)
        if not isinstance(other, Socket):
            if other is None and is_closed(number):
                raise os_error(errno.EBADF, f"bad file descriptor: {number} is not open")
            raise os_error(errno.ENOTSOCK, f"socket operation on non-socket: {number} is not of host {runtime.name}")
        left = runtime.detached.pop(number, None)
        self._family = other._family if family == -1 else named_family(family)
        self._kind = other._kind if kind == -1 else named_kind(kind)
        self._proto = proto if proto != -1 else 0 if other._family == AF_UNIX else _PROTOCOLS[other._kind][1]
        self._file, self._real = other._file, other._real
        runtime.by_number[number] = self
        if isinstance(left, Socket):
            left._file = left._real = None

    @staticmethod
    def local_pair(runtime: Runtime, kind: int, proto: int = 0) -> tuple[Socket, Socket]:
        """Make two Unix sockets that are connected to each other."""
        asked = kind & ~(_NONBLOCK | _CLOEXEC)
        if not 0 <= asked < _KINDS_END:
            raise os_error(errno.EINVAL, f"invalid argument: no type of socket {kind}")
        if asked not in _LOCAL_KINDS:
            raise os_error(errno.ESOCKTNOSUPPORT, f"socket type not supported: {kind}")
        if proto:
            raise os_error(errno.EPROTONOSUPPORT, f"protocol not supported: {proto} for Unix sockets")
        runtime.ensure_may_open(2)
        written = lambda: f"AF_UNIX, {calls.write_arguments((named_kind(asked),), {})}"  # noqa: E731
        with runtime.lock, calls.telling_of_two(runtime, "socketpair", written) as made:
            ends = runtime.engine.local_pair(asked, credentials_of(runtime), runtime.now_ns)
            made.extend(end.fd for end in ends)
            runtime.flush()
        first, second = (Socket._of_local(runtime, end, is_blocking=not kind & _NONBLOCK) for end in ends)
        return first, second

    @staticmethod
    def _of_local(runtime: Runtime, end: LocalSocket, *, is_blocking: bool) -> Socket:
        """Make a socket for a Unix socket that the host has made."""
        made = Socket.__new__(Socket)
        made.runtime = runtime
        made._io_refs = 0
        made._closed = False
        made._timeout = os_socket.getdefaulttimeout() if is_blocking else 0.0
        made._file = File(end, runtime.own(end))
        # Where the system has no Unix sockets, Python's own pairs say that they are of IPv4.
        made._family = named_family(AF_UNIX if AF_UNIX != -1 else AF_INET)
        made._kind, made._proto = named_kind(end.kind), 0
        return made

    @staticmethod
    def _wrap(runtime: Runtime, file: File[HostSocket], like: Socket) -> Socket:
        """Make a socket for a descriptor that exists."""
        made = Socket.__new__(Socket)
        made.runtime = runtime
        made._io_refs = 0
        made._closed = False
        made._timeout = os_socket.getdefaulttimeout()
        made._file = file
        made._family, made._kind, made._proto = like._family, like._kind, like._proto
        return made

    # --- what it is

    @property
    def family(self) -> os_socket.AddressFamily:
        """The address family."""
        return self._family

    @property
    def type(self) -> os_socket.SocketKind:
        """The kind of socket."""
        return self._kind

    @property
    def proto(self) -> int:
        """The protocol's number as it was given."""
        return self._proto

    def __repr__(self) -> str:
        name = f"{self.__class__.__module__}.{self.__class__.__qualname__}"
        file = self._file
        kind = f"family={int(self._family)}, type={int(self._kind)}, proto={self._proto}"
        if file is None or file.descriptor.fd < 0:
            return f"<{name} [closed] fd=-1, {kind}>"
        host = file.descriptor
        number = f"fd={self._real.number}, " if self._real is not None else ""
        ends = f"laddr={self.getsockname()}"
        with contextlib.suppress(OSError):
            ends += f", raddr={self.getpeername()}"
        state = f", {self.state}" if isinstance(host, StreamSocket) else ""
        return f"<{name} {number}{kind}, {ends}, fd {host.fd} of {self.runtime.name}{state}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"cannot pickle {self.__class__.__name__!r} object")

    # --- opening

    @told
    def bind(self, address: Any, /) -> None:
        """Take a local address and port."""
        host = self.descriptor
        if isinstance(host, LocalSocket):
            name, local = read_name(address, "bind"), host
            place = place_to_bind(local.among, name)
            self._call(lambda now_ns: local.bind(name, now_ns, place))
            return
        other, target = host, numeric(self.runtime, self._family, address, "bind")
        self._call(lambda now_ns: other.bind(target, now_ns))

    @told
    def listen(self, backlog: SupportsIndex = 128, /) -> None:
        """Take connections from now on. A second call changes the backlog."""
        limit, local = max(0, c_int(backlog)), self.descriptor
        if isinstance(local, LocalSocket):
            unix, credentials = local, credentials_of(self.runtime)
            self._call(lambda now_ns: unix.listen(limit, credentials, now_ns))
            return
        host = self._stream("listen")
        self._call(lambda now_ns: host.listen(limit, now_ns))

    def accept(self) -> tuple[os_socket.socket, Any]:
        """Wait for a connection and take it: a new socket, and the peer's address."""
        quick, file = self.runtime.quick, self._file
        if quick is None or file is None:
            return self._accept()
        taken = quick.accept(file, self._timeout)
        if taken is None:
            return self._accept()
        if isinstance(taken, OSError):
            try:
                raise taken
            finally:
                del taken  # else its traceback refers to this frame, and this to it
        return self._accepted(*taken)

    @told
    def _accept(self) -> tuple[os_socket.socket, Any]:
        host = self.descriptor  # as it is now: another thread may let it go during the wait
        if isinstance(host, LocalSocket):
            return self._accept_local(host)
        taken = self._attempt(lambda now_ns: self._take(
            host if isinstance(host, StreamSocket) else self._stream("accept"), now_ns), READ_BITS, "accept")
        # Not getpeername(): a connection that was reset while it waited in the queue has a peer all the same.
        connection = taken.connection
        assert connection is not None
        peer = write_sockaddr(taken.family, connection.remote, int(connection.remote_port), taken.scope)
        return self._accepted(File(taken, self.runtime.own(taken)), peer)

    def _accepted(self, file: File[HostSocket], peer: Any) -> tuple[os_socket.socket, Any]:
        made = self._wrap(self.runtime, file, self)
        if made._timeout is None and self._timeout:
            made.setblocking(True)
        return made, peer

    def _take(self, host: StreamSocket, now_ns: int) -> StreamSocket:
        """Take a connection. EMFILE comes before EAGAIN, as on Linux, and leaves the connection in the queue."""
        self.runtime.ensure_may_open()
        return host.accept(now_ns)

    def _accept_local(self, host: LocalSocket) -> tuple[os_socket.socket, Any]:
        """Take a connection of a Unix socket: a new socket, and the peer's name."""
        def take(now_ns: int) -> LocalSocket:
            self.runtime.ensure_may_open()
            return host.accept(now_ns)

        taken = self._attempt(take, READ_BITS, "accept")
        return self._accepted(File(taken, self.runtime.own(taken)), self._peer_name(taken))

    @told
    def connect(self, address: Any, /) -> None:
        """Connect to an address, and wait until it is done. UDP: fix the peer."""
        failure = self._connect(address)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # else its traceback refers to this frame, and this to it

    @told
    def connect_ex(self, address: Any, /) -> int:
        """Connect as ``connect`` does, but return the errno instead of raising."""
        failure = self._connect(address, "connect_ex")
        if failure is None:
            return 0
        return errno.EAGAIN if failure.errno is None else failure.errno

    def _connect(self, address: Any, name: str = "connect") -> OSError | None:
        """Connect. Returns what went wrong."""
        if self.fd < 0:
            return os_error(errno.EBADF, "bad file descriptor: the socket is closed")
        host = self.descriptor
        if isinstance(host, LocalSocket):
            return self._connect_local(host, read_name(address, name))
        target = numeric(self.runtime, self._family, address, name)
        self._ensure_stepped("connect")
        with self.runtime.lock:
            failure = self._try_connect(host, target)
            if failure is None or self._timeout == 0.0 or not isinstance(host, StreamSocket):
                return failure
            # Where another thread connects the socket, too, calls without a limit wait for the same, as on Linux.
            if failure.errno != errno.EINPROGRESS and (failure.errno != errno.EALREADY or self._timeout is not None):
                return failure
            deadline_ns, connection = self._deadline(WRITE_BITS), host.connection
            if not self._wait(WRITE_BITS, "connect", deadline_ns):
                return failure if self._timeout is None else TimeoutError("timed out")
            if host.fd < 0:
                return os_error(errno.EBADF, "bad file descriptor: the socket is closed")
            if self._timeout is not None:
                return self._error_of_connecting(host)
            if host.connection is not connection:
                return host.told_error()
            failure = self._try_connect(host, target)
            return None if failure is not None and failure.errno == errno.EISCONN else failure

    def _error_of_connecting(self, host: StreamSocket) -> OSError | None:
        """Return the error that CPython finds after a wait with a timeout, by SO_ERROR. ``None``: it is connected.

        For the kernel the socket still connects, so another ``connect`` gets the result once more, as on Linux.
        """
        number = self._call(lambda now_ns: host.take_error())
        return os_error(number, host.error_text()) if number else None

    def _connect_local(self, host: LocalSocket, name: bytes) -> OSError | None:
        """Connect a Unix socket, and wait while the listener's queue is full. Returns what went wrong."""
        credentials = credentials_of(self.runtime)
        try:
            place = place_to_find(host.among, name)
            self._attempt(lambda now_ns: host.connect(name, credentials, now_ns, place), WRITE_BITS, "connect")
        except OSError as error:
            return error.with_traceback(None)
        return None

    def _try_connect(self, host: StreamSocket | DatagramSocket, target: Any) -> OSError | None:
        quick, file = self.runtime.quick, self._file
        if quick is not None and file is not None:
            result = quick.connect(file, target, self._timeout is None)
            if isinstance(result, OSError):
                return result
            if result:
                return None
        try:
            self._call(lambda now_ns: host.connect(target, now_ns))
        except OSError as error:
            # Its traceback refers to the caller's frame, which refers to it: a cycle that would keep the socket open.
            return error.with_traceback(None)
        return None

    # --- closing

    @told
    def shutdown(self, how: int, /) -> None:
        """End sending, receiving or both."""
        host, sides = self.descriptor, c_int(how)
        self._call(lambda now_ns: host.shutdown(sides, now_ns))

    def close(self) -> None:
        """Close the socket. TCP finishes by itself; files made by ``makefile`` keep the socket open."""
        if self.runtime.engine.observer is None:
            _close(self)
        else:
            self._close()

    @told
    def _close(self) -> None:
        _close(self)

    def _real_close(self, _ss: Any = None) -> None:
        file, quick = self._file, self.runtime.quick
        if quick is not None and file is not None and quick.close(file, self._real):
            self._file = self._real = None
            return
        file = self._let_go()
        if file is not None and file.users <= 0:
            runtime, host = self.runtime, file.descriptor
            if host.fd < 0:
                if file.process is not None and file.process.has_ended:
                    return  # its program's end has closed it
                raise os_error(errno.EBADF, "bad file descriptor: another socket that shared it has closed it")
            if not runtime.is_last(host, file.process):
                return
            with runtime.lock:
                if isinstance(host, StreamSocket) and host.linger:  # non-blocking ones wait, too, as on Linux
                    self._linger(host, host.linger)
                number = host.fd
                runtime.close_descriptor(host)
                runtime.flush()
                runtime.notify(number)  # the descriptor gets no more news: a call that waits gets EBADF now

    def _let_go(self) -> File[HostSocket] | None:
        """Take descriptor and real descriptor from the socket. Returns the descriptor's file, with one user less."""
        file, real = self._file, self._real
        self._file = self._real = None
        if file is not None:
            file.users -= 1
            if file.process is not None:
                file.process.open_files -= 1
            if real is not None and real in file.real_descriptors:
                file.real_descriptors.remove(real)
                self.runtime.by_number.discard(real.number)
                left = self.runtime.detached.pop(real.number, None)
                if isinstance(left, Socket):
                    left._file = left._real = None
                real.close()
        return file

    def _linger(self, host: StreamSocket, seconds: int) -> None:
        """Wait until all is acknowledged, our FIN too, as SO_LINGER asks of ``close``."""
        if host.is_reset_by_close():
            return
        try:
            host.shutdown(SHUT_WR, self.runtime.now_ns)
        except OSError:
            return
        self.runtime.flush()
        due_ns = self.runtime.now_ns + seconds * SECOND
        self.runtime.wait(
            Wait(lambda: not host.is_closing(), lambda: f"close() on {describe(host)} (SO_LINGER)", due_ns))

    def detach(self) -> int:
        """Release the descriptor without closing it.

        Returns the number by which ``socket.socket(fileno=…)`` finds it again.
        """
        number = self.fileno()
        self._closed = True
        file = self._file
        if file is not None and self.runtime.by_number.get(number, self) is not self:
            self._file = self._real = None  # another socket was made with the number and has the descriptor now
        elif file is not None and number >= 0:
            left = self._wrap(self.runtime, file, self)
            left._real = self._real
            self._file = self._real = None
            self.runtime.detached[number] = self.runtime.by_number[number] = left
        return number

    def pass_on(self, file: File[HostSocket]) -> int:
        """Make a number for the program that runs here, to which the descriptor of this socket was passed."""
        return self._wrap(self.runtime, self._file_for_receiver(file), self).detach()

    def dup(self) -> Socket:
        """Make another socket that shares this one's descriptor, which closes with the last of them."""
        file = self._file
        if file is None:
            raise os_error(errno.EBADF, "bad file descriptor: the socket is closed")
        self.runtime.ensure_may_open()
        file.users += 1
        if file.process is not None:
            file.process.open_files += 1
        made = self._wrap(self.runtime, file, self)
        made._timeout = self._timeout
        return made

    def __del__(self) -> None:
        if self._file is None:
            return
        try:
            if not self.runtime.is_closing and self.fd >= 0:  # the end of its program may have closed it
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        finally:  # the warning may be an error
            file = self._let_go()
            if file is not None and file.users == 0 and self.runtime.is_last(file.descriptor, file.process):
                self.runtime.abandon(file.descriptor)

    # --- options and names

    def getsockopt(self, level: int, optname: int, buflen: int | None = None, /) -> Any:
        """Read an option: an int, or up to ``buflen`` bytes if that is given."""
        quick, file = self.runtime.quick, self._file
        if quick is not None and file is not None and buflen is None:
            found = quick.get_option(file, level, optname)
            if found is not None:
                return found
        return self._getsockopt(level, optname) if buflen is None else self._getsockopt(level, optname, buflen)

    @told_option
    def _getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        level, optname, buflen = c_int(level), c_int(optname), None if buflen is None else c_int(buflen)
        if buflen and not 0 < buflen <= 1024:
            raise OSError("getsockopt buflen out of range")  # Python's own, before it asks the kernel
        host = self.descriptor
        if isinstance(host, LocalSocket):
            value = get_local_option(host, level, optname)
        else:
            other = host
            value = self._call(lambda now_ns: get_option(other, level, optname, now_ns))
        if not buflen:
            return value if isinstance(value, int) else int.from_bytes(value[:4], "little")
        if isinstance(value, int):
            # As Linux: an option of IP's that fits is given in one byte to a buffer without room for an int.
            size = 1 if level == os_socket.IPPROTO_IP and buflen < 4 and 0 <= value <= 255 else buflen
            return value.to_bytes(4, "little", signed=True)[:size]
        return value[:buflen]

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """Set an option, to an int or to bytes."""
        quick, file = self.runtime.quick, self._file
        if optlen is not None:
            self._setsockopt(level, optname, value, optlen)
        elif quick is None or file is None or not quick.set_option(file, level, optname, value):
            self._setsockopt(level, optname, value)

    @told_option
    def _setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        level, optname = c_int(level), c_int(optname)
        host = self.descriptor
        if optlen is not None:
            if value is not None:
                raise TypeError(f"setsockopt() takes a length only with None, not with {value!r}")
            raise os_error(errno.EINVAL if optlen < 4 else errno.EFAULT, f"no option takes NULL and {optlen} bytes")
        try:
            given: int | bytes = c_int(value)
        except (TypeError, OverflowError):
            given = bytes(readable(value))
        if isinstance(host, LocalSocket):
            local = host
            self._call(lambda now_ns: set_local_option(local, level, optname, given))
            return
        other = host
        self._call(lambda now_ns: set_option(other, level, optname, given, now_ns))

    def getsockname(self) -> Any:
        """Return the local address."""
        host: HostSocket = descriptor_of(self._file)
        return show_name(host.name) if isinstance(host, LocalSocket) else host.getsockname()

    def getpeername(self) -> Any:
        """Return the peer's address, or raise ENOTCONN."""
        host: HostSocket = descriptor_of(self._file)
        return self._peer_name(host) if isinstance(host, LocalSocket) else host.getpeername()

    @staticmethod
    def _peer_name(host: LocalSocket) -> str | bytes:
        if host.peer is None:
            raise os_error(errno.ENOTCONN, f"transport endpoint is not connected: getpeername of {host.text()}")
        return show_name(host.peer.name)

    def ioctl(self, request: int, /) -> int:
        """Answer SIOCINQ (FIONREAD), SIOCOUTQ (TIOCOUTQ), SIOCOUTQNSD or SIOCATMARK, as the call of that name does.

        EINVAL on a listener, ENOTTY for anything else.
        """
        host = self.descriptor
        return self._call(lambda now_ns: ask(host, request))


class _Compact(Socket):
    """A ``Socket`` that is of no subclass: without a dictionary of attributes it takes a third of the memory."""

    __module__ = Socket.__module__
    __slots__ = ("_estab_number", "_family", "_file", "_kind", "_owner", "_past", "_proto", "_real", "_timeout",
                 "runtime")

    # An event loop asks these instead of ``accept`` and ``connect``, which a program's own class may have replaced.
    _accept_at_once = accept_at_once
    _connect_at_once = connect_at_once


_Compact.__name__ = _Compact.__qualname__ = Socket.__name__
