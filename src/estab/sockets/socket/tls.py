"""Blocking TLS on sockets of ours: what ``ssl.SSLContext.wrap_socket`` gives for one.

- The socket is CPython's own ``ssl.SSLSocket`` with ours as its base. Only the object inside it, which in the original
  reads and writes a descriptor from C, is another: OpenSSL works on memory, and ``Tls`` moves its records.
- No more is taken from the socket than the record that OpenSSL waits for. So ``pending()`` and readiness mean what they
  always mean, and what follows the end of TLS (``unwrap``) can still be received in the clear.
- An error of TCP stays that error, such as ``ConnectionResetError``. Python itself, before 3.11.9 and 3.12.3, raises
  ``SSLEOFError`` instead, which ``suppress_ragged_eofs`` turns into an end of the stream.
- OpenSSL draws its keys from its own entropy and compares certificates with the operating system's calendar, in the lab
  too: times and sizes of a run repeat, the bytes inside of records don't.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from estab.abi import READ_BITS, WRITE_BITS
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.runtime import activated
from estab.sockets.socket import calls
from estab.sockets.socket.socket import Socket

__all__ = ["Tls", "mixture", "new_create", "new_wrap_socket"]

T = TypeVar("T")

_HEADER_BYTES: Final = 5
_RECORD_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 4 * _RECORD_BYTES
"""The part of a longer buffer that is encrypted at once. A socket that does not wait takes one record a call."""
_new_lock: Final = threading.RLock


class Tls:
    """OpenSSL's side of a TLS socket, with the methods of ``_ssl._SSLSocket``."""

    def __init__(self, context: Any, sock: Socket, is_server: bool, server_hostname: str | None, owner: Any,
                 session: Any) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context._wrap_bio(
            self._incoming, self._outgoing, is_server, server_hostname, owner=owner, session=session)
        self._sock = weakref.ref(sock)
        self._mutex = _new_lock()
        """Held while OpenSSL works, never while anything waits."""
        self._arrived: deque[bytes] = deque()
        self._has_ended = False
        self._unsent = bytearray()
        self._unfinished_bytes = 0
        """Text of a write that could not send everything: it is encrypted, and its caller will pass it again."""
        self._header = bytearray()
        self._missing_bytes = 0
        """How much is missing of a record whose header has come."""

    # --- what waits

    def do_handshake(self) -> None:
        """Shake hands, within the socket's timeout."""
        self._work(self._ssl.do_handshake, "handshake")

    def read(self, size: int, buffer: Any = None) -> Any:
        """Read up to ``size`` bytes, or into a buffer; nothing at the end of TLS."""
        sock = self._socket()
        deadline_ns = sock._deadline()
        result = self._step(sock, lambda: self._ssl.read(size) if buffer is None else self._ssl.read(size, buffer),
                            "read", deadline_ns)
        self._send_what_fits(sock)
        return result

    def write(self, data: Any) -> int:
        """Write, waiting until all is in the socket's buffer. Returns how much; without waiting, up to a record."""
        sock = self._socket()
        deadline_ns = sock._deadline()
        if self._unfinished_bytes:
            self._send(sock, "write", deadline_ns)
            count, self._unfinished_bytes = self._unfinished_bytes, 0
            return count
        with memoryview(data) as view, view.cast("B") as octets:
            if sock.gettimeout() == 0.0:
                return self._write(sock, octets[:_RECORD_BYTES], deadline_ns)
            count = self._write(sock, octets[:_CHUNK_BYTES], deadline_ns)
            while count < len(octets):
                count += self._write(sock, octets[count : count + _CHUNK_BYTES], deadline_ns)
            return count

    def shutdown(self) -> Any:
        """End TLS, and wait until the peer ends it, too. Returns the socket, which is no longer encrypted."""
        self._work(self._ssl.shutdown, "")
        return self._sock()

    # --- what does not

    @property
    def context(self) -> Any:
        """The context. A callback for server names may put another in its place."""
        return self._ssl.context

    @context.setter
    def context(self, context: Any) -> None:
        self._ssl.context = context

    @property
    def session(self) -> Any:
        """The session, for the next connection."""
        return self._ssl.session

    @session.setter
    def session(self, session: Any) -> None:
        self._ssl.session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ssl, name)

    # --- inside

    def _socket(self) -> Socket:
        sock = self._sock()
        if sock is None or sock.fd < 0:
            raise ssl.SSLError("Underlying socket has been closed." if sock is not None else
                               "Underlying socket connection gone")
        return sock

    def _work(self, operation: Callable[[], T], name: str) -> T:
        """Do what may be repeated until it succeeds, and send all that it writes."""
        sock = self._socket()
        deadline_ns = sock._deadline()
        result = self._step(sock, operation, name, deadline_ns)
        self._send(sock, name, deadline_ns)
        return result

    def _write(self, sock: Socket, octets: memoryview, deadline_ns: int | None) -> int:
        with octets:
            count: int = self._step(sock, lambda: self._ssl.write(octets), "write", deadline_ns)
        try:
            self._send(sock, "write", deadline_ns)
        except (ssl.SSLWantWriteError, TimeoutError):
            self._unfinished_bytes = count
            raise
        return count

    def _step(self, sock: Socket, operation: Callable[[], T], name: str, deadline_ns: int | None) -> T:
        """Let OpenSSL do something, and receive what it needs for that."""
        while True:
            try:
                with self._mutex:
                    while self._arrived:
                        self._incoming.write(self._arrived.popleft())
                    if self._has_ended:
                        self._incoming.write_eof()
                    try:
                        return operation()
                    finally:
                        self._unsent += self._outgoing.read()
            except ssl.SSLWantReadError:
                # What waits to be sent while one reads is mostly another thread's: to wait until it is sent could be to
                # wait for a peer that does not read before we do.
                if name != "read" or sock.gettimeout() == 0.0:
                    self._send(sock, name, deadline_ns)
                self._receive(sock, name, deadline_ns)
            except ssl.SSLError:
                self._send_what_fits(sock)  # the alert that tells the peer why
                raise

    def _receive(self, sock: Socket, name: str, deadline_ns: int | None) -> None:
        """Receive what there is of the record under way. Send what OpenSSL has written, as far as there is room."""
        host = sock.descriptor
        assert not isinstance(host, DatagramSocket)  # wrap_socket takes streams only
        wanted = self._missing_bytes or _HEADER_BYTES - len(self._header)

        def take(now_ns: int) -> int:
            data = host.recv(self._missing_bytes or _HEADER_BYTES - len(self._header), 0, now_ns)
            self._arrived.append(data)
            self._has_ended = not data
            if self._missing_bytes:
                self._missing_bytes -= len(data)
            else:
                self._header += data
                if len(self._header) == _HEADER_BYTES:
                    self._missing_bytes = int.from_bytes(self._header[3:5], "big")
                    self._header.clear()
            return len(data)

        def send_and_take(now_ns: int) -> int | None:
            with contextlib.suppress(BlockingIOError):
                self._push(sock, now_ns)
            try:
                return take(now_ns)
            except BlockingIOError:
                if self._unsent:
                    raise
                return None  # there is nothing but text to wait for any more

        def receive() -> int:
            while self._unsent:
                count = sock._attempt(send_and_take, READ_BITS | WRITE_BITS, "recv", 0, deadline_ns)
                if count is not None:
                    return count
            return sock._attempt(take, READ_BITS, "recv", 0, deadline_ns)

        try:
            _told(sock, "recv", wanted, receive)
        except BlockingIOError:
            text = "The operation did not complete (read)"
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, text) from None
        except TimeoutError as error:
            raise _timed_out(error, name or "read") from None

    def _send(self, sock: Socket, name: str, deadline_ns: int | None) -> None:
        """Send all that OpenSSL has written."""
        push = partial(self._push, sock)
        try:
            while self._unsent:
                _told(sock, "send", len(self._unsent), lambda: sock._attempt(push, WRITE_BITS, "send", 0, deadline_ns))
        except BlockingIOError:
            text = "The operation did not complete (write)"
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, text) from None
        except TimeoutError as error:
            raise _timed_out(error, name or "write") from None

    def _send_what_fits(self, sock: Socket) -> None:
        """Send what the socket takes now. An error here is ignored: the earlier one matters more."""
        if self._unsent:
            try:
                _told(sock, "send", len(self._unsent), lambda: sock._call(partial(self._push, sock)))
            except OSError:
                return

    def _push(self, sock: Socket, now_ns: int) -> int:
        """Pass to TCP as much of the unsent text as it takes. Returns how much that was."""
        count = sock.descriptor.send(bytes(self._unsent), 0, now_ns) if self._unsent else 0
        del self._unsent[:count]
        return count


def _timed_out(error: TimeoutError, name: str) -> TimeoutError:
    """Name the operation, as ``ssl`` does, if the socket's timeout ended it; an error of TCP says what TCP met."""
    return TimeoutError(f"The {name} operation timed out") if error.errno is None else error


def _told(sock: Socket, name: str, size: int, do: Callable[[], int]) -> int:
    """Report to the host's observer the call on TCP below TLS."""
    runtime = sock.runtime
    if runtime.engine.observer is None or runtime.call:
        return do()
    with calls.Telling(runtime, name, lambda: f"{size} bytes of TLS", sock.fd) as telling:
        count = do()
        telling.returned(telling.fd, str(count))
        return count


# --- in the place of the originals

_mixtures: dict[type[Any], type[Socket]] = {}


def mixture(cls: type[Any]) -> type[Socket]:
    """Derive from a subclass of ``socket.socket`` a class that uses a host."""
    found = _mixtures.get(cls)
    if found is None:
        found = _mixtures[cls] = type(cls.__name__, (cls, Socket), {"__module__": cls.__module__})
    return found


def new_create(original: Any) -> Any:
    """Make the replacement of ``ssl.SSLSocket._create``: for a socket of ours, an ``SSLSocket`` that is one, too."""

    def _create(cls: type[Any], sock: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(sock, Socket):
            with activated(None):
                return original.__func__(cls, sock, *args, **kwargs)
        sock.descriptor  # noqa: B018 - raises EBADF once closed
        with activated(sock.runtime):
            return original.__func__(cls if issubclass(cls, Socket) else mixture(cls), sock, *args, **kwargs)

    return classmethod(_create)


def new_wrap_socket(original: Any) -> Any:
    """Make the replacement of ``SSLContext._wrap_socket``, which returns the object inside an ``SSLSocket``."""

    def _wrap_socket(context: Any, sock: Any, server_side: bool, server_hostname: str | None = None, *,
                     owner: Any = None, session: Any = None) -> Any:
        if not isinstance(sock, Socket):
            return original(context, sock, server_side, server_hostname, owner=owner, session=session)
        return Tls(context, sock, server_side, server_hostname, owner, session)

    return _wrap_socket
