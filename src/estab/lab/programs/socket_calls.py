"""What programs ask of TCP's sockets most often: done at once, or not at all.

- Each method does what a socket's call would do, unless an observer is to be told of that, or it would have to wait
  for a limited time, or what it is for is rare: a descriptor that is shared, SO_LINGER. Then the method does nothing
  and says so, and the socket's call, which is interpreted, goes all the way.
- What the socket's call would raise is raised here, too, or returned where programs mostly catch it at once.
- A call that waited is done here to its end, also if an observer came meanwhile, which is told of later calls.

Compiled with the core.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import i64

from estab.abi import CLOSE_WAIT, ESTABLISHED, READ_BITS, SOCK_STREAM, WRITE_BITS
from estab.host.sockets.files import Descriptor
from estab.host.sockets.sockaddr import write_sockaddr
from estab.host.sockets.stream import StreamSocket
from estab.lab.links.host_side import HostSide
from estab.lab.programs.host_calls import HostCalls, Owner
from estab.lab.programs.strands import Scheduler
from estab.sockets.polling.interests import SPIN_WEIGHT, wait_for
from estab.sockets.polling.open_file import File, descriptor_of
from estab.sockets.polling.real_descriptor import RealDescriptor
from estab.sockets.process import Process
from estab.sockets.runtime import Numbers, Watches
from estab.sockets.socket.options import get_option, set_option
from estab.sockets.waiting import CHUNK_BYTES, SEND_WEIGHT
from estab.tcp.window.room import has_room

if TYPE_CHECKING:
    from estab.lab.programs.program import Programs
    from estab.sockets.runtime import Numbered

__all__ = ["SocketCalls"]

_INT_MIN: Final = -0x80000000
_INT_MAX: Final = 0x7FFFFFFF


class SocketCalls(HostCalls):
    """The calls of one host's programs."""

    def __init__(
        self, side: HostSide, scheduler: Scheduler, programs: Programs, owner: Owner, wake_up_ns: int,
    ) -> None:
        super().__init__(side, scheduler, programs, owner, wake_up_ns)
        self._owners: dict[Descriptor, Process] = owner.owners
        self._shared: dict[Descriptor, list[Process | None]] = owner.shared
        self._detached: dict[int, Numbered] = owner.detached
        self._by_number: Numbers = owner.by_number
        self._watches: Watches = owner.watches

    # --- opening and closing

    def open(self, family: int, kind: int) -> File[Any] | None:
        """Make a TCP socket of AF_INET or AF_INET6."""
        if kind != SOCK_STREAM or self._side.engine.observer is not None:
            return None
        process = self._process()
        if not self._may_open(process):
            return None
        opened = self._side.engine.socket(family, SOCK_STREAM, self.now_ns())
        made = self._own(opened, process)
        self._side.flush()
        return made

    def connect(self, file: File[Any], address: object, is_waiting: bool) -> OSError | bool:
        """Connect, after waiting if that has no limit. ``False``: nothing was done. Returns what went wrong."""
        host = self._tcp(file)
        if host is None or host.connection is not None or host.listener is not None:
            return False
        is_again: bool = False
        while True:
            try:
                descriptor_of(file)  # raises EBADF if another program closed it meanwhile
                if is_again and _has_no_connection(host):
                    return host.told_error()
                is_under_way = host.begin_to_connect(address, self.now_ns())
            except OSError as error:
                if is_again and error.errno == errno.EISCONN:
                    return True  # another thread, which connected it, too, was told first
                return error.with_traceback(None)  # so that no traceback keeps the socket open
            finally:
                self._side.flush()
                file.follow()
            if not is_under_way:
                return True
            if not is_waiting or host.send_timeout_ns != 0:
                return host.connecting_error()
            self.wait(wait_for(host, WRITE_BITS, "connect", None))
            is_again = True

    def accept(self, file: File[Any], timeout: float | None) -> tuple[File[Any], Any] | OSError | None:
        """Take a connection, and its peer's address, after waiting for one if the timeout is ``None``.

        EAGAIN, which asyncio asks for after each connection, is returned: to raise it here would cost as much again.
        """
        host = self._tcp(file)
        if host is None or host.listener is None:
            return None
        process = self._process()
        if not self._may_open(process):
            return None
        if _has_nobody(host):
            if timeout == 0.0:
                self.spin(SPIN_WEIGHT)
                return host.nobody_error()
            if timeout is not None or host.receive_timeout_ns != 0:
                return None
            self.wait(wait_for(host, READ_BITS, "accept", None))
            descriptor_of(file)
            if _has_nobody(host) or not self._may_open(process):
                return None
        taken = host.accept(self.now_ns())
        self._side.flush()
        file.follow()
        connection = taken.connection
        assert connection is not None
        peer = write_sockaddr(taken.family, connection.remote, i64(connection.remote_port), taken.scope)
        return self._own(taken, process), peer

    def close(self, file: File[Any], real: RealDescriptor | None) -> bool:
        """Close a TCP socket. It is told like any other close: a ``makefile`` closes a socket untold, too."""
        host = file.descriptor
        if not isinstance(host, StreamSocket) or host.fd < 0 or file.users != 1 or host in self._shared:
            return False
        if (host.extras is not None and host.linger) or (real is not None and real.number in self._detached):
            return False
        file.users = 0
        process = file.process
        if process is not None:
            process.open_files -= 1
        if real is not None and real in file.real_descriptors:
            file.real_descriptors.remove(real)
            self._by_number.discard(real.number)
            real.close()
        self._owners.pop(host, None)
        side = self._side
        number: int = host.fd
        self._watches.close(number)
        host.close(self.now_ns())
        side.flush()
        side.notify(number)  # the descriptor gets no more news: a call that waits gets EBADF now
        return True

    # --- options

    def get_option(self, file: File[Any], level: Any, name: Any) -> int | None:
        """Read an option that is a number."""
        host = self._tcp(file)
        if host is None or not isinstance(level, int) or not isinstance(name, int):
            return None
        try:
            value = get_option(host, level, name, self.now_ns())
        finally:
            self._side.flush()
            file.follow()
        if isinstance(value, int):
            return value
        return None

    def set_option(self, file: File[Any], level: Any, name: Any, value: Any) -> bool:
        """Set an option to a number."""
        host = self._tcp(file)
        if host is None or not isinstance(level, int) or not isinstance(name, int) or not isinstance(value, int):
            return False
        if not _INT_MIN <= value <= _INT_MAX:
            return False
        try:
            set_option(host, level, name, value, self.now_ns())
        finally:
            self._side.flush()
            file.follow()
        return True

    # --- bytes

    def recv(self, file: File[Any], size: i64, is_waiting: bool) -> bytes | None:
        """Take up to ``size`` bytes of what came, after waiting for some if that has no limit."""
        host = self._tcp(file)
        if host is None or size <= 0:
            return None
        connection = host.connection
        if connection is None:
            return None
        if connection.readable_bytes() == 0:
            if not is_waiting or not host.is_silent() or host.receive_timeout_ns != 0:
                return None
            self.wait(wait_for(host, READ_BITS, "recv", None))
            descriptor_of(file)
        try:
            data = host.recv(size, 0, self.now_ns())
        except BlockingIOError:
            return None
        self._side.flush()
        file.follow()
        return data

    def send(self, file: File[Any], data: bytes) -> int:
        """Copy as much of ``data`` into a TCP socket's send buffer as there is room for. -1: nothing was done."""
        host = self._tcp(file)
        if host is None:
            return -1
        connection = host.connection
        if connection is None or connection.error != 0 or connection.fin_wanted or not 0 < len(data) <= CHUNK_BYTES:
            return -1
        if (connection.state != ESTABLISHED and connection.state != CLOSE_WAIT) or not has_room(connection):
            return -1
        count = host.send(data, 0, self.now_ns())
        self._side.flush()
        file.follow()
        self.spin(SEND_WEIGHT)
        return count

    # --- inside

    def _tcp(self, file: File[Any]) -> StreamSocket | None:
        """Return the open TCP socket of a file, unless an observer is to be told of its calls."""
        if self._side.engine.observer is not None:
            return None
        host = file.descriptor
        if isinstance(host, StreamSocket) and host.fd >= 0:
            return host
        return None

    def _process(self) -> Process:
        strand = self.strand_here()
        process = None if strand is None else strand.process
        return self._owner.process() if process is None else process

    def _may_open(self, process: Process) -> bool:
        """Tell whether a program may open another descriptor: RLIMIT_NOFILE."""
        return process.open_files < process.files_max(self._owner.nofile, self._side.engine.files.limit)

    def _own(self, opened: Descriptor, process: Process) -> File[Any]:
        """Note that a program opened a descriptor."""
        self._owners[opened] = process
        process.open_files += 1
        return File(opened, process)


def _has_nobody(host: StreamSocket) -> bool:
    """Tell whether a listener's accept queue is empty. It may have been shut down meanwhile."""
    listener = host.listener
    return listener is not None and listener.waiting == 0


def _has_no_connection(host: StreamSocket) -> bool:
    """Look anew: compiled, what was found to be ``None`` before a wait is taken for ``None`` after it."""
    return host.connection is None
