"""Receiving and sending in every way that ``socket.socket`` has, with its arguments and results."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from estab.abi import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    POLLERR,
    POLLHUP,
    POLLRDHUP,
    READ_BITS,
    SOCK_DGRAM,
    SOCK_STREAM,
    SYN_RECEIVED,
    SYN_SENT,
    WRITE_BITS,
)
from estab.cpython import check_sendfile, give_up_on_sendfile
from estab.errors import os_error
from estab.host.sockets.ancillary import Ancillary, read_stream_control
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.sockaddr import read_sockaddr
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.arguments import c_size
from estab.sockets.socket.addresses import numeric
from estab.sockets.socket.ancillary import fit, read_items
from estab.sockets.socket.blocking import BY_TIMEOUT, NO_SLOTS, Blocking
from estab.sockets.socket.calls import told
from estab.sockets.socket.flags import linux_flags, message_flags, system_flags
from estab.sockets.socket.local import read_name, show_name
from estab.sockets.socket.rights import Rights, read_rights, receive_rights, throw_away
from estab.sockets.socket.unix_paths import place_to_find
from estab.sockets.waiting import CHUNK_BYTES, SEND_WEIGHT

__all__ = ["Transfer"]

_ENDED: Final = POLLRDHUP | POLLHUP | POLLERR


class Transfer(Blocking):
    """A socket that receives and sends."""

    __slots__ = NO_SLOTS

    # --- receiving

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to ``bufsize`` bytes; ``b""`` at the end of the stream."""
        quick, file = self.runtime.quick, self._file
        if quick is not None and file is not None and flags == 0:
            try:
                data = quick.recv(file, bufsize, self._timeout is None)
            except TypeError:
                data = None  # ``bufsize`` is no plain int: it is read, or refused, below
            if data is not None:
                return data
        return self._recv(bufsize) if flags == 0 else self._recv(bufsize, flags)

    @told
    def _recv(self, bufsize: int, flags: int = 0) -> bytes:
        # Python makes no system call for no bytes; its recvfrom and recvmsg do.
        size, flags = c_size(bufsize), linux_flags(flags)
        return b"" if size == 0 else self._receive(size, flags, "recv")[0]

    @told
    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, and return the sender's address, too (``None`` with TCP)."""
        data, address, _, _ = self._receive(c_size(bufsize), linux_flags(flags), "recvfrom")
        return data, address

    @told
    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; returns how many bytes."""
        return self._recv_into(buffer, c_size(nbytes), linux_flags(flags), "recv_into")[0]

    @told
    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer, and return how many bytes, and the sender's address."""
        return self._recv_into(buffer, c_size(nbytes), linux_flags(flags), "recvfrom_into")

    @told
    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """Receive with ancillary data of up to ``ancbufsize`` bytes, flags, and the sender's address.

        ``host.sockets.ancillary`` lists the ancillary data of a datagram. TCP has what TCP_INQ asks for.
        """
        bufsize, ancbufsize = c_size(bufsize), _ancillary_size(ancbufsize)
        data, address, result_flags, items = self._receive(bufsize, message_flags(flags), "recvmsg", ancbufsize)
        found, cut = fit(items, ancbufsize)
        return data[:bufsize], found, system_flags(result_flags | cut), address

    @told
    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /,
    ) -> tuple[int, list[Any], int, Any]:
        """Receive as ``recvmsg`` into several buffers, one after the other."""
        views = [_writable(buffer, "recvmsg_into") for buffer in buffers]
        ancbufsize = _ancillary_size(ancbufsize)
        data, address, result_flags, items = self._receive(
            sum(map(len, views)), message_flags(flags), "recvmsg_into", ancbufsize)
        found, cut = fit(items, ancbufsize)
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return len(data), found, system_flags(result_flags | cut), address

    def _receive(self, size: int, flags: int, name: str, room: int = 0) -> tuple[bytes, Any, int, list[Ancillary]]:
        """Receive: the bytes, the sender's address, flags of the result and all ancillary data.

        ``room`` is for descriptors, which are made only if there is room for their numbers.
        """
        if size < 0:
            raise ValueError(f"negative buffersize in {name}")
        host = self.descriptor
        if flags & MSG_ERRQUEUE and not isinstance(host, LocalSocket):
            flags |= MSG_DONTWAIT
        may_wait = self._timeout is None and not flags & MSG_DONTWAIT
        if isinstance(host, LocalSocket):
            return self._recv_local(host, size, flags, name, room)
        if isinstance(host, DatagramSocket):
            bits = POLLERR if flags & MSG_ERRQUEUE else READ_BITS
            return self._attempt(lambda now_ns: _receive(host, size, flags, may_wait), bits, name, flags)
        if flags & MSG_ERRQUEUE:
            raise os_error(errno.EAGAIN, "resource temporarily unavailable: TCP queues no errors")
        if flags & MSG_WAITALL and may_wait:
            data = self._recv_all(host, size, flags, name)
        else:
            # An exception costs as much as a segment: a call that would get EAGAIN waits before it tries.
            is_in_vain = flags == 0 and self._timeout != 0.0 and size > 0 and host.is_silent()
            data = self._attempt(lambda now_ns: host.recv(size, flags, now_ns), READ_BITS, name, flags,
                                 is_in_vain=is_in_vain)
        if flags & MSG_OOB and data:  # also without room for it the byte is taken
            return data[:size], None, MSG_OOB if size else MSG_OOB | MSG_TRUNC, host.ancillary()
        return data, None, 0, host.ancillary()

    def _recv_local(self, host: LocalSocket, size: int, flags: int, name: str,
                    room: int) -> tuple[bytes, Any, int, list[Ancillary]]:
        """Receive from a Unix socket: the bytes, the sender's name if it has one, flags of the result."""
        may_wait = self._timeout is None and not flags & MSG_DONTWAIT
        sender, result = b"", 0
        if flags & MSG_WAITALL and may_wait and host.kind == SOCK_STREAM:
            data = self._recv_all(host, size, flags, name)
        else:
            data, sender, result = self._attempt(
                lambda now_ns: _receive_local(host, size, flags, now_ns, may_wait), READ_BITS, name, flags)
        with self.runtime.lock:
            items, cut = receive_rights(host.take_rights(), room, is_peek=bool(flags & MSG_PEEK))
        return data, show_name(sender) if sender else None, result | cut, items

    def _recv_all(self, host: StreamSocket | LocalSocket, size: int, flags: int, name: str) -> bytes:
        """Receive until there are ``size`` bytes, the stream ends, or an error or the option's time comes after some.

        An error that comes after some bytes stays for the next call.
        """
        deadline_ns = self._deadline(READ_BITS)
        if flags & MSG_PEEK:
            self._wait_until(lambda: host.readable_bytes >= size or host.readiness() & _ENDED != 0, name, deadline_ns)
            return self._attempt(lambda now_ns: host.recv(size, flags, now_ns), READ_BITS, name, flags, deadline_ns)
        got = bytearray()

        def receive_more(now_ns: int) -> bytes:
            if got and host.readable_bytes == 0 and host.readiness() & POLLERR:
                return b""
            return host.recv(size - len(got), flags, now_ns)

        while len(got) < size:
            try:
                part = self._attempt(receive_more, READ_BITS, name, flags, deadline_ns)
            except BlockingIOError:
                if not got:
                    raise
                break
            if not part:
                break
            got += part
            if isinstance(host, LocalSocket) and host.rights is not None:
                break
        return bytes(got)

    def _recv_into(self, buffer: Any, size: int, flags: int, name: str) -> tuple[int, Any]:
        with _writable(buffer, name) as view:
            if size < 0:
                raise ValueError(f"negative buffersize in {name}")
            if size > len(view):
                raise ValueError(f"buffer too small for requested bytes in {name}" if name == "recv_into" else
                                 "nbytes is greater than the length of the buffer")
            if len(view) == 0 and name == "recv_into":
                return 0, None
            data, address, _, _ = self._receive(size or len(view), flags, name)
            if not flags & MSG_TRUNC:
                view[: len(data)] = data
            elif self._kind != SOCK_STREAM:
                # The whole length is returned, also of what did not fit. TCP discards the bytes.
                part = data[: size or len(view)]
                view[: len(part)] = part
            return len(data), address

    # --- sending

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Copy into the send buffer as much as there is room for, after waiting for some. Returns how much."""
        quick, file = self.runtime.quick, self._file
        if quick is not None and file is not None and flags == 0 and type(data) is bytes:
            count = quick.send(file, data)
            if count == len(data) or (count > 0 and self._timeout is not None):
                return count
            if count > 0:
                return count + self._send_rest(memoryview(data)[count:])
        return self._send(data) if flags == 0 else self._send(data, flags)

    def _send_rest(self, view: memoryview) -> int:
        """Send what did not fit, if a socket blocks without a limit. An error stays for the next call."""
        try:
            return self._write(view, 0, "send")
        except OSError:
            return 0

    @told
    def _send(self, data: Any, flags: int = 0) -> int:
        if type(data) is bytes:
            return self._write(data, linux_flags(flags), "send")
        with readable(data) as view:
            return self._write(view, linux_flags(flags), "send")

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Copy everything into the send buffer, waiting for room. The timeout is for the whole."""
        quick, file = self.runtime.quick, self._file
        if quick is not None and file is not None and flags == 0 and type(data) is bytes and self._timeout != 0.0:
            count = quick.send(file, data)
            if count == len(data):
                return
            if count > 0:
                data = memoryview(data)[count:]
        if flags == 0:
            self._sendall(data)
        else:
            self._sendall(data, flags)

    @told
    def _sendall(self, data: Any, flags: int = 0) -> None:
        deadline_ns = BY_TIMEOUT if self._timeout is None else self._deadline(WRITE_BITS)
        flags = linux_flags(flags)
        if type(data) is bytes and len(data) <= CHUNK_BYTES and self._timeout is None:
            # What blocks without a limit sends all at once, or raises.
            sent = self._write(data, flags, "sendall", deadline_ns)
            if sent == len(data) or self._kind != SOCK_STREAM:
                return
            data = memoryview(data)[sent:]
        with readable(data) as view:
            if len(view) == 0 or self._kind != SOCK_STREAM:
                self._write(view, flags, "sendall", deadline_ns)
                return
            at = 0
            while at < len(view):
                with view[at:] as rest:
                    at += self._write(rest, flags, "sendall", deadline_ns)

    @told
    def sendto(self, data: Any, *args: Any) -> int:
        """Send a datagram to an address; TCP ignores the address. ``sendto(data, [flags,] address)``."""
        if len(args) not in (1, 2):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(args) + 1} given)")
        flags, address = (0, args[0]) if len(args) == 1 else args
        with readable(data) as view:
            return self._sendto(view, linux_flags(flags), address, "sendto")

    @told
    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /,
    ) -> int:
        """Send several buffers as one, to ``address`` or the connected end.

        Ancillary data holds for this datagram alone: TTL, TOS or traffic class, source address and interface.
        """
        data = b"".join(readable(buffer) for buffer in buffers)
        items, flags, host = read_items(ancdata), message_flags(flags), self.descriptor
        if isinstance(host, LocalSocket):
            name = None if address is None else read_name(address, "sendmsg")
            return self._sendmsg_local(host, memoryview(data), flags, items, name)
        target = None if address is None else numeric(self.runtime, self._family, address, "sendmsg")
        self._ensure_stepped("sendmsg")
        if isinstance(host, DatagramSocket):
            sent = self._call(lambda now_ns: host.sendmsg(data, target, flags, items, now_ns))
            self.runtime.spin(SEND_WEIGHT)
            return sent
        if target is not None:
            read_sockaddr(host.family, target, "sendmsg")
        return self._write(memoryview(data), flags, "sendmsg", BY_TIMEOUT, items, target)

    @told
    def sendmsg_afalg(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: that is for the kernel's own ciphers, sockets of AF_ALG."""
        raise OSError("algset is only supported for AF_ALG")

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a regular file from ``offset`` on by reading it where it is, whatever its own position."""
        check_sendfile(self, file, offset, count)
        try:
            number = file.fileno()
            size = os.fstat(number).st_size
        except (AttributeError, OSError) as error:  # io.UnsupportedOperation is one
            raise give_up_on_sendfile(error) from None
        if not size:
            return 0
        if self._timeout == 0.0:
            raise ValueError("non-blocking sockets are not supported")
        sent = 0
        try:
            while count is None or sent < count:
                part = os.pread(number, min(CHUNK_BYTES, CHUNK_BYTES if count is None else count - sent),
                                offset + sent)
                if not part:
                    break
                sent += self._write(memoryview(part), 0, "sendfile")
            return sent
        finally:
            if sent and hasattr(file, "seek"):
                file.seek(offset + sent)

    def _write(self, view: memoryview | bytes, flags: int, name: str, deadline_ns: int | None = BY_TIMEOUT,
              items: list[Ancillary] | None = None, target: object = None) -> int:
        host = self.descriptor
        self._ensure_stepped(name)
        if isinstance(host, LocalSocket):
            return self._send_local(host, memoryview(view), flags, name, deadline_ns, None)
        if isinstance(host, DatagramSocket):
            sent = self._call(lambda now_ns: host.send(bytes(view), flags, now_ns))
            self.runtime.spin(SEND_WEIGHT)
            return sent
        if items:
            read_stream_control(items)
        if host.opens_with(flags):
            return self._open_with(host, bytes(view), flags, name, target)
        # Linux's send() returns when everything is copied, if the socket blocks without a limit; else with what fits.
        is_whole = self._timeout is None and not flags & MSG_DONTWAIT
        at = 0
        while True:
            chunk = bytes(view[at : at + CHUNK_BYTES])

            def send_more(now_ns: int, chunk: bytes = chunk, is_first: bool = at == 0) -> int:
                # An error that comes after some bytes stays for the next call.
                return host.send(chunk, flags, now_ns) if is_first or not host.readiness() & POLLERR else 0

            try:
                taken = self._attempt(
                    send_more, WRITE_BITS, name, flags if at == 0 or is_whole else flags | MSG_DONTWAIT, deadline_ns)
            except OSError:
                if at == 0:
                    raise
                return at
            at += taken
            self.runtime.spin(SEND_WEIGHT)
            if at >= len(view) or taken == 0 or (taken < len(chunk) and not is_whole):
                return at

    def _sendmsg_local(self, host: LocalSocket, view: memoryview, flags: int, items: list[Ancillary],
                       target: bytes | None) -> int:
        """Send by a Unix socket, and pass the descriptors that ``items`` name."""
        with self.runtime.lock:
            rights = read_rights(self.runtime, items)
            if rights is None:
                return self._send_local(host, view, flags, "sendmsg", BY_TIMEOUT, target)
            host.among.discard = throw_away
            try:
                sent = self._send_local(host, view, flags, "sendmsg", BY_TIMEOUT, target, rights)
            except BaseException:
                rights.close()
                raise
            if sent == 0 and self._kind == SOCK_STREAM:
                rights.close()  # a stream without a byte has no message to carry them
            return sent

    def _send_local(self, host: LocalSocket, view: memoryview, flags: int, name: str, deadline_ns: int | None,
                    target: bytes | None, rights: Rights | None = None) -> int:
        """Send by a Unix socket: a stream's bytes in pieces, anything else as one message."""
        is_stream = host.kind == SOCK_STREAM and target is None
        may_wait = self._timeout is None and not flags & MSG_DONTWAIT
        is_whole = is_stream and may_wait
        place = b""
        if target is not None and host.kind == SOCK_DGRAM and not host.is_write_shut:
            place = place_to_find(host.among, target)
        at, has_tried = 0, False
        while True:
            chunk = bytes(view[at : at + CHUNK_BYTES]) if is_stream else bytes(view)

            def send_more(now_ns: int, chunk: bytes = chunk, rights: Rights | None = None if at else rights) -> int:
                nonlocal has_tried
                if may_wait and has_tried and host.kind != SOCK_DGRAM:
                    # What waited for room looks for an error before it looks whether there is still anybody.
                    host.raise_error()
                has_tried = True
                if target is None:
                    return host.send(chunk, flags, now_ns, rights)
                return host.sendto(chunk, target, flags, now_ns, rights, place)

            try:
                taken = self._attempt(
                    send_more, WRITE_BITS, name, flags if at == 0 or is_whole else flags | MSG_DONTWAIT, deadline_ns)
            except OSError as error:
                if at:
                    return at
                if error.errno == errno.EPIPE and not flags & MSG_NOSIGNAL:
                    self.runtime.tell_broken_pipe()
                raise
            at += taken
            self.runtime.spin(SEND_WEIGHT)
            if not is_stream or at >= len(view) or taken == 0 or (taken < len(chunk) and not is_whole):
                return at

    def _open_with(
        self, host: StreamSocket, data: bytes, flags: int, name: str, target: object,
    ) -> int:
        """Open the connection with text on its SYN, as MSG_FASTOPEN asks: wait until it is open, then send the rest.

        A socket with a timeout does not wait here, as with the kernel's sockets, which CPython makes non-blocking then.
        """
        is_waiting = self._timeout is None and not flags & MSG_DONTWAIT
        sent = 0
        try:
            sent = self._call(lambda now_ns: host.send(data, flags, now_ns, target))
        except BlockingIOError:
            if not is_waiting:
                raise
        if not is_waiting:
            return sent
        if host.state == SYN_SENT or host.state == SYN_RECEIVED:
            host.wait_with_text(sent < len(data))
            self._wait(WRITE_BITS, name, None)
        self._call(host.finish_opening)
        if sent == len(data):
            return sent
        rest = memoryview(data)[sent:]
        return sent + self._write(rest, flags & ~MSG_FASTOPEN, name)

    def _sendto(self, view: memoryview, flags: int, address: Any, name: str) -> int:
        host = self.descriptor
        if isinstance(host, LocalSocket):
            return self._send_local(host, view, flags, name, BY_TIMEOUT, read_name(address, name))
        target = numeric(self.runtime, self._family, address, name)
        read_sockaddr(host.family, target, name)
        self._ensure_stepped(name)
        if isinstance(host, StreamSocket):
            return self._write(view, flags, name, BY_TIMEOUT, None, target)
        sent = self._call(lambda now_ns: host.sendto(bytes(view), target, flags, now_ns))
        self.runtime.spin(SEND_WEIGHT)
        return sent


def readable(data: Any) -> memoryview:
    """View a program's buffer as bytes."""
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None


def _writable(buffer: Any, name: str) -> memoryview:
    """View a program's buffer as bytes to be filled."""
    view = readable(buffer)
    if view.readonly:
        raise TypeError(f"{name}() argument 1 must be read-write bytes-like object, not {type(buffer).__name__}")
    return view


def _ancillary_size(given: int) -> int:
    size = c_size(given)
    if not 0 <= size <= 0x7FFFFFFF:
        raise ValueError("invalid ancillary data buffer length")
    return size


def _receive(host: DatagramSocket, size: int, flags: int, may_wait: bool) -> tuple[bytes, Any, int, list[Ancillary]]:
    """Take a datagram. If reading is shut down and the call would wait, it returns nothing, not even a sender."""
    try:
        return host.recvmsg(size, flags)
    except BlockingIOError:
        if may_wait and host.is_read_shutdown:
            return b"", None, 0, []
        raise


def _receive_local(host: LocalSocket, size: int, flags: int, now_ns: int, may_wait: bool) -> tuple[bytes, bytes, int]:
    """Take what came on a Unix socket. If reading is shut down and the call would wait, nothing comes."""
    try:
        return host.receive(size, flags, now_ns)
    except BlockingIOError:
        if may_wait and host.is_read_shut:
            return b"", b"", 0
        raise
