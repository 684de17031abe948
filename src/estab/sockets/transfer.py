"""Sockets that carry bytes: every way to receive and to send, with the arguments and results of ``socket.socket``."""

from __future__ import annotations

import errno
import socket as os_socket
from collections.abc import Iterable
from operator import index
from typing import Any, Final, NoReturn

from estab.abi import MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP
from estab.errors import os_error
from estab.host.sockaddr import read_sockaddr
from estab.host.stream import StreamSocket
from estab.host.udp import DatagramSocket
from estab.sockets.addresses import numeric
from estab.sockets.blocking import Blocking
from estab.sockets.calls import told

__all__ = ["READ", "WRITE", "Transfer"]

READ: Final = POLLIN | POLLRDHUP | POLLHUP | POLLERR
WRITE: Final = POLLOUT | POLLHUP | POLLERR
_ENDED: Final = POLLRDHUP | POLLHUP | POLLERR
_CHUNK_BYTES: Final = 262_144
"""What is handed to the host at once of a longer buffer."""


class Transfer(Blocking):
    """A socket that receives and sends."""

    # --- receiving

    @told
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to ``bufsize`` bytes; ``b""`` at the end of the stream."""
        return self._recv(bufsize, flags, "recv")[0]

    @told
    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, and say from whom (``None`` with TCP)."""
        data, address, _ = self._recv(bufsize, flags, "recvfrom")
        return data, address

    @told
    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; returns how many bytes."""
        return self._recv_into(buffer, nbytes, flags, "recv_into")[0]

    @told
    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer, and say how many bytes and from whom."""
        return self._recv_into(buffer, nbytes, flags, "recvfrom_into")

    @told
    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """Receive with flags and from whom. There is no ancillary data."""
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        data, address, result_flags = self._recv(bufsize, flags, "recvmsg")
        return data, [], result_flags, address

    @told
    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /,
    ) -> tuple[int, list[Any], int, Any]:
        """Receive into several buffers, one after the other. There is no ancillary data."""
        views = [_writable(buffer, "recvmsg_into") for buffer in buffers]
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        data, address, result_flags = self._recv(sum(map(len, views)), flags, "recvmsg_into")
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return len(data), [], result_flags, address

    def _recv(self, size: int, flags: int, name: str) -> tuple[bytes, Any, int]:
        """Receive: the bytes, the sender's address, and flags of the result."""
        if size < 0:
            raise ValueError(f"negative buffersize in {name}")
        host = self.descriptor
        if isinstance(host, DatagramSocket):
            return self._attempt(lambda now_ns: host.recvfrom(size, flags, now_ns), READ, name, flags)
        if flags & MSG_WAITALL:
            return self._recv_all(host, size, flags, name), None, 0
        return self._attempt(lambda now_ns: host.recv(size, flags, now_ns), READ, name, flags), None, 0

    def _recv_all(self, host: StreamSocket, size: int, flags: int, name: str) -> bytes:
        """Receive until there are ``size`` bytes, the stream ends, or an error or timeout comes after some."""
        deadline_ns = self._deadline()
        if flags & MSG_PEEK:
            if self._timeout != 0.0 and not flags & MSG_DONTWAIT:
                self._wait_until(
                    lambda: host.readable_bytes >= size or host.readiness() & _ENDED != 0, name, deadline_ns)
            return self._attempt(lambda now_ns: host.recv(size, flags, now_ns), READ, name, flags, deadline_ns)
        got = bytearray()

        def receive_more(now_ns: int) -> bytes:
            return host.recv(size - len(got), flags, now_ns)

        while len(got) < size:
            try:
                part = self._attempt(receive_more, READ, name, flags, deadline_ns)
            except OSError:
                if not got:
                    raise
                break
            if not part:
                break
            got += part
        return bytes(got)

    def _recv_into(self, buffer: Any, size: int, flags: int, name: str) -> tuple[int, Any]:
        with _writable(buffer, name) as view:
            if size < 0:
                raise ValueError(f"negative buffersize in {name}")
            if size > len(view):
                raise ValueError(f"buffer too small for requested bytes in {name}" if name == "recv_into" else
                                 "nbytes is greater than the length of the buffer")
            data, address, _ = self._recv(size or len(view), flags & ~MSG_TRUNC, name)
            view[: len(data)] = data
            return len(data), address

    # --- sending

    @told
    def send(self, data: Any, flags: int = 0, /) -> int:
        """Copy into the send buffer as much as there is room for, waiting for some. Returns how much."""
        with _readable(data) as view:
            return self._send(view, flags, "send", self._deadline())

    @told
    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Copy everything into the send buffer, waiting for room. The timeout is for the whole."""
        deadline_ns = self._deadline()
        with _readable(data) as view:
            if len(view) == 0 or not isinstance(self.descriptor, StreamSocket):
                self._send(view, flags, "sendall", deadline_ns)
                return
            at = 0
            while at < len(view):
                with view[at:] as rest:
                    at += self._send(rest, flags, "sendall", deadline_ns)

    @told
    def sendto(self, data: Any, *args: Any) -> int:
        """Send a datagram to an address; TCP ignores the address. ``sendto(data, [flags,] address)``."""
        if len(args) not in (1, 2):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(args) + 1} given)")
        flags, address = (0, args[0]) if len(args) == 1 else args
        with _readable(data) as view:
            return self._sendto(view, index(flags), address, "sendto")

    @told
    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /,
    ) -> int:
        """Send several buffers as one. Ancillary data is refused."""
        view = memoryview(b"".join(_readable(buffer) for buffer in buffers))
        if _check_ancillary(ancdata):
            raise os_error(errno.EINVAL, "invalid argument: sendmsg: a host of estab takes no ancillary data")
        if address is not None:
            return self._sendto(view, index(flags), address, "sendmsg")
        return self._send(view, index(flags), "sendmsg", self._deadline())

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> NoReturn:
        """Have ``sendfile`` read and send by itself: the operating system can't."""
        raise os_socket._GiveupOnSendfile("not a socket of the operating system")  # type: ignore[attr-defined]

    def _send(self, view: memoryview, flags: int, name: str, deadline_ns: int | None) -> int:
        host = self.descriptor
        if isinstance(host, DatagramSocket):
            return self._call(lambda now_ns: host.send(bytes(view), flags, now_ns))
        if len(view) <= _CHUNK_BYTES:
            data = bytes(view)
            return self._attempt(lambda now_ns: host.send(data, flags, now_ns), WRITE, name, flags, deadline_ns)
        at = 0
        while at < len(view):
            chunk = bytes(view[at : at + _CHUNK_BYTES])
            try:
                taken = self._attempt(
                    lambda now_ns, chunk=chunk: host.send(chunk, flags, now_ns),  # type: ignore[misc]
                    WRITE, name, flags if at == 0 else flags | MSG_DONTWAIT, deadline_ns)
            except OSError:
                if at == 0:
                    raise
                break
            at += taken
            if taken < len(chunk):
                break
        return at

    def _sendto(self, view: memoryview, flags: int, address: Any, name: str) -> int:
        host = self.descriptor
        target = numeric(self.kernel, self._family, address, name)
        if isinstance(host, StreamSocket):
            read_sockaddr(host.family, target, name)
            return self._send(view, flags, name, self._deadline())
        return self._call(lambda now_ns: host.sendto(bytes(view), target, flags, now_ns))


def _readable(data: Any) -> memoryview:
    """View a program's buffer as bytes."""
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None


def _writable(buffer: Any, name: str) -> memoryview:
    """View a program's buffer as bytes to be filled."""
    view = _readable(buffer)
    if view.readonly:
        raise TypeError(f"{name}() argument must be read-write bytes-like object, not {type(buffer).__name__}")
    return view


def _check_ancillary(ancdata: Iterable[Any]) -> bool:
    """Check the shape of ancillary data. Tells whether there is any."""
    is_any = False
    for item in ancdata:
        if not isinstance(item, (tuple, list)) or len(item) != 3:
            raise TypeError("[sendmsg() ancillary data items] must be sequences of 3: level, type, data")
        index(item[0])
        index(item[1])
        _readable(item[2])
        is_any = True
    return is_any
