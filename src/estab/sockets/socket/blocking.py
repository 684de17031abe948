"""Sockets that wait: what all calls of a ``Socket`` have in common.

A call first tries. If the host says EAGAIN, the runtime waits until the socket is ready, and the call tries again, or
ends if its timeout is over. After each change the runtime's ``flush`` sends.
"""

from __future__ import annotations

import errno
import math
import operator
import socket as os_socket
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from estab.abi import AF_INET, AF_INET6, MSG_DONTWAIT, MSG_OOB, POLLERR, POLLIN, POLLOUT, SOCK_DGRAM
from estab.errors import os_error
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.arguments import refusal
from estab.sockets.ordinals import hash_of_slot
from estab.sockets.polling.interests import wait_for
from estab.sockets.polling.open_file import File, descriptor_of
from estab.sockets.polling.poll import describe, is_serving
from estab.sockets.polling.real_descriptor import RealDescriptor
from estab.sockets.runtime import Wait
from estab.sockets.socket import calls
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.host.sockets.files import Descriptor
    from estab.sockets.history import PastCall
    from estab.sockets.runtime import Numbered, Runtime

__all__ = ["BY_TIMEOUT", "HOST_FAMILIES", "NO_SLOTS", "Blocking", "HostSocket", "Waiting"]

T = TypeVar("T")
D = TypeVar("D", bound="Descriptor")

HostSocket = StreamSocket | DatagramSocket | LocalSocket
"""The host's side of a socket."""
HOST_FAMILIES: Final[dict[int, int]] = {os_socket.AF_INET: AF_INET, os_socket.AF_INET6: AF_INET6}
"""The host's numbers of its families, by the system's."""
POLL_WEIGHT: Final = 100
_ASYNCIO: Final = ("asyncio.selector_events", "estab.sockets.polling.transports", "estab.sockets.polling.event_loop")
"""What asks for a number only as a key."""
NO_SLOTS: Final[tuple[str, ...]] = ()
"""Of a class that leaves it to those derived from it where their attributes are kept."""
_TIMEOUT_MAX_S: Final = 9_223_372_036.0
"""CPython keeps nanoseconds in 64 bits."""
BY_TIMEOUT: Final = -1
"""Stands for a deadline that is computed from the socket's timeout when the call has to wait."""


class Waiting(Generic[D]):
    """What stands for a descriptor of a host, with a timeout, and can try and wait."""

    __slots__ = NO_SLOTS
    runtime: Runtime
    _file: File[D] | None = None
    _real: RealDescriptor | None = None
    _timeout: float | None = None
    _past: deque[PastCall] | None = None

    @property
    def descriptor(self) -> D:
        """The host's side of the socket. EBADF once it is closed."""
        return descriptor_of(self._file)  # type: ignore[no-any-return]

    @property
    def fd(self) -> int:
        """The descriptor's number on its host, from 3 on; -1 once closed. Not what ``fileno`` gives."""
        return -1 if self._file is None else self._file.descriptor.fd

    def fileno(self) -> int:
        """Return a real descriptor that becomes readable when this does; -1 once closed.

        Nothing can be read from it. In virtual time asyncio gets a number that is no descriptor.
        """
        file, real = self._file, self._real
        if file is None or file.descriptor.fd < 0:
            return -1
        if real is None:
            real = self._real = RealDescriptor(
                file.descriptor, self.runtime.watches, self._timeout is None, is_virtual=self.runtime.is_virtual,
                is_key=sys._getframe(1).f_globals.get("__name__") in _ASYNCIO)
            file.real_descriptors.append(real)
            self.runtime.by_number[real.number] = self  # type: ignore[assignment]
        return real.number

    def detach(self) -> int:
        """Leave it open for as long as nobody closes its number. Returns the number."""
        raise NotImplementedError

    def past(self, runtime: Runtime) -> deque[PastCall] | None:
        """Return the history of calls; ``None`` if none is kept."""
        if self._past is None and runtime.historian is not None:
            self._past = deque(maxlen=runtime.historian.calls_max)
        return self._past

    def pass_on(self, file: File[D]) -> int:
        """Make a number for the program that runs here, to which the descriptor of this was passed."""
        raise NotImplementedError

    def _file_for_receiver(self, file: File[D]) -> File[D]:
        """Make the file of the program that runs here, to which a descriptor was passed."""
        process = self.runtime.process()
        process.open_files += 1
        self.runtime.shared[file.descriptor].append(process)
        return file.other(process)

    def detach_as(self, number: int, minimum: int = -1) -> int:
        """Detach, under that number; if it is -1 under the lowest free one from ``minimum`` on. Returns the number."""
        before, real = self.fileno(), self._real
        if real is not None:
            del self.runtime.by_number[before]
            if number >= 0:
                real.move(number)
            else:
                real.move_above(minimum)
            self.runtime.by_number[real.number] = cast("Numbered", self)
        return self.detach()

    # --- timeouts

    @property
    def timeout(self) -> float | None:
        """The timeout in seconds."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """Return the timeout in seconds: ``None`` blocks for ever, 0 never."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the timeout of all calls that wait, in seconds. After it they raise ``TimeoutError``."""
        if value is not None:
            given, value = value, value if isinstance(value, float) else float(operator.index(value))
            if not 0 <= value < _TIMEOUT_MAX_S:
                raise refusal("settimeout", (given,), {}) or ValueError("Timeout value out of range")
        descriptor_of(self._file)  # raises EBADF once closed
        self._timeout = value
        if self._real is not None:
            self._real.set_blocking(value is None)

    def getblocking(self) -> bool:
        """Tell whether calls wait."""
        return self._timeout != 0.0

    def setblocking(self, flag: Any) -> None:
        """Let calls wait without a limit, or never."""
        if type(flag) is not bool:
            error = refusal("setblocking", (flag,), {})
            if error is not None:
                raise error
        descriptor_of(self._file)  # raises EBADF once closed
        self._timeout = None if flag else 0.0
        if self._real is not None:
            self._real.set_blocking(self._timeout is None)

    # --- trying and waiting

    def _ensure_stepped(self, name: str) -> None:
        """Raise ENETDOWN if nothing would carry what a call starts: the stack is closed."""
        if self.runtime.is_over:
            raise self.runtime.down_error(f"{name}() on a stack that is closed")

    def _call(self, do: Callable[[int], T]) -> T:
        """Do what never waits. ``do`` gets the time."""
        runtime = self.runtime
        with runtime.lock:
            try:
                return do(runtime.now_ns)
            finally:
                runtime.flush()
                self._follow()

    def _attempt(self, attempt: Callable[[int], T], bits: int, name: str, flags: int = 0,
                 deadline_ns: int | None = BY_TIMEOUT, *, is_in_vain: bool = False) -> T:
        """Try, and wait for POLL ``bits`` and try again while the host says EAGAIN.

        ``is_in_vain``: it is known that the host would say so now, and that the call may wait. ``TimeoutError`` after
        the deadline. As in CPython, a socket with a timeout waits with MSG_DONTWAIT, too.
        """
        runtime, file = self.runtime, self._file
        with runtime.lock:
            if is_in_vain and not runtime.is_over:
                if deadline_ns == BY_TIMEOUT:
                    deadline_ns = self._deadline(bits)
                if not self._wait(bits, name, deadline_ns):
                    raise self._late(name)
                descriptor_of(file)  # raises EBADF if another program closed it meanwhile
            while True:
                # With a timeout CPython polls before it calls: what a call refuses shows once there is news.
                was_ready = not self._timeout or self.descriptor.readiness() & bits != 0
                try:
                    result = attempt(runtime.now_ns)
                except BlockingIOError:
                    if runtime.is_over:
                        raise runtime.down_error(f"{name}() on a stack that is closed") from None
                    if self._timeout == 0.0 or (self._timeout is None and flags & (MSG_DONTWAIT | MSG_OOB)):
                        runtime.spin(POLL_WEIGHT)
                        raise
                except OSError:
                    if was_ready or runtime.is_over:
                        raise
                else:
                    runtime.flush()
                    self._follow()
                    return result
                if deadline_ns == BY_TIMEOUT:
                    deadline_ns = self._deadline(bits)
                if self._timeout and was_ready:
                    # It is ready, and yet has nothing for this call: CPython polls and calls again and again.
                    runtime.spin(POLL_WEIGHT)
                    if deadline_ns is not None and deadline_ns <= runtime.now_ns:
                        raise self._late(name)
                if not self._wait(bits, name, deadline_ns):
                    raise self._late(name)
                descriptor_of(file)  # raises EBADF if another program closed it meanwhile

    def _wait(self, bits: int, name: str, deadline_ns: int | None) -> bool:
        """Wait for one of the POLL ``bits``. ``False``: the deadline came first."""
        return self._wait_for(wait_for(self.descriptor, bits, name, deadline_ns))

    def _wait_until(self, is_ready: Callable[[], bool], name: str, deadline_ns: int | None, fd: int = 0) -> bool:
        """Wait until ``is_ready``. It is called when the socket has news; with ``fd`` -1, when the host has any."""
        host = self.descriptor
        return self._wait_for(Wait(
            is_ready, lambda: f"{name}() on {describe(host)}", deadline_ns, fd or host.fd, lambda: is_serving(host)))

    def _wait_for(self, wait: Wait) -> bool:
        runtime = self.runtime
        if runtime.call == 0:
            return runtime.wait(wait)
        host = self.descriptor
        number = calls.blocked(runtime, host.fd, wait.describe())
        try:
            return runtime.wait(wait)
        finally:
            calls.resumed(runtime, host.fd, number)

    def _deadline(self, bits: int = POLLIN) -> int | None:
        """Return the time at which a call that starts now and waits for ``bits`` must end.

        SO_RCVTIMEO and SO_SNDTIMEO count only if the socket has no timeout of Python's.
        """
        timeout = self._timeout
        if timeout is not None:
            return self.runtime.now_ns + math.ceil(timeout * SECOND)
        host = self.descriptor
        limit_ns = host.send_timeout_ns if bits & POLLOUT else host.receive_timeout_ns
        return self.runtime.now_ns + limit_ns if limit_ns else None

    def _late(self, name: str) -> OSError:
        """Return the error of a call whose time is over."""
        if self._timeout is not None:
            return TimeoutError("timed out")
        option = "SO_SNDTIMEO" if name.startswith("send") else "SO_RCVTIMEO"
        return os_error(errno.EAGAIN, f"resource temporarily unavailable: {option} is over for {name}() on "
                        f"{describe(self.descriptor)}")

    def _follow(self) -> None:
        if self._file is not None and self._file.real_descriptors:
            self._file.follow()


class Blocking(Waiting[HostSocket], os_socket.socket):
    """A socket of a host, with a timeout, that can try and wait."""

    __slots__ = NO_SLOTS
    __hash__ = hash_of_slot
    _family: os_socket.AddressFamily
    _kind: os_socket.SocketKind
    _proto: int

    def _wait(self, bits: int, name: str, deadline_ns: int | None) -> bool:
        """Wait for one of the POLL ``bits``, as far as it means that the call gives something.

        A Unix socket that may be written to is waited for until the other's queue is not full. POLLERR of a kept error
        is for MSG_ERRQUEUE, and POLLIN of a datagram socket whose reading is shut down for calls without a timeout.
        """
        host = self.descriptor
        if isinstance(host, StreamSocket):
            return self._wait_for(wait_for(host, bits, name, deadline_ns))
        if isinstance(host, DatagramSocket) and not bits & POLLOUT:
            return self._wait_until(self._datagram_comes(host, bits), name, deadline_ns)
        if isinstance(host, LocalSocket) and (bits & POLLOUT or host.kind == SOCK_DGRAM):
            return self._wait_until(self._local_is_ready(host, bits), name, deadline_ns)
        return super()._wait(bits, name, deadline_ns)

    def _datagram_comes(self, host: DatagramSocket, bits: int) -> Callable[[], bool]:
        if bits == POLLERR:
            return lambda: host.fd < 0 or bool(host.errors)
        has_end = self._timeout is None
        return lambda: host.fd < 0 or bool(host.queue) or host.error != 0 or (has_end and host.is_read_shutdown)

    def _local_is_ready(self, host: LocalSocket, bits: int) -> Callable[[], bool]:
        if bits & POLLOUT:
            return lambda: host.fd < 0 or (host.readiness() & bits != 0 and not host.is_blocked())
        has_end = self._timeout is None
        return lambda: host.fd < 0 or (host.readiness() & bits != 0
                                       and (has_end or bool(host.queue) or not host.is_read_shut))

