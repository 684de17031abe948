"""Channel: messages over a blocking socket.

Rules:

- the channel owns the socket, and makes it non-blocking: every wait is one ``poll`` with the nearest deadline;
- one thread may receive while others send; no frame is cut by another, and the heartbeat's answers go between them;
- a heartbeat works while some thread is in ``receive``: it shows whether the peer's *program* serves its connection;
- the channel reads one chunk ahead of the program and no more, so if the program does not read, the peer's ``send``
  waits;
- ``close`` closes the socket first; deferred clean-up runs after that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

from estab.messages.codec import Buffer, Codec, FrameError
from estab.messages.exchange import CHUNK_BYTES, EndOfStreamError, Exchange
from estab.messages.facts import SocketFacts, reset_at_close, socket_facts
from estab.messages.heartbeat import Heartbeat
from estab.messages.release import Reaper
from estab.messages.waiting import READABLE, WRITABLE, wait_ready
from estab.units import NEVER, duration_ns

__all__ = ["Channel"]



class Channel:
    """Messages over a connected socket: ``send``, ``receive``, iteration, ``close``.

    ``codec``: one that no other stream uses. ``heartbeat``: pings when the peer is silent, and ``PeerLostError`` from
    ``receive`` when it stays so. ``receive_timeout``: that of every ``receive`` which has no other, for a whole
    message, however slowly it arrives. ``send_timeout``: a ``send`` raises ``PeerLostError`` if the peer takes no byte
    of it for that long; the heartbeat's time-out if not given. ``close_at_end``: close the socket as soon as the peer's
    end of stream is read, so that a program which is slow to call ``close`` leaves nothing in CLOSE-WAIT. ``reaper``:
    runs what was deferred, elsewhere.
    """

    def __init__(
        self, sock: socket.socket, codec: Codec, *, heartbeat: Heartbeat | None = None,
        receive_timeout: int | float | str | None = None, send_timeout: int | float | str | None = None,
        close_at_end: bool = False, reaper: Reaper | None = None,
    ) -> None:
        self.sock = sock
        self.codec = codec
        addresses: tuple[object, object] = (None, None)
        with contextlib.suppress(OSError):
            addresses = sock.getsockname(), sock.getpeername()
        self._exchange = Exchange(codec, heartbeat, send_timeout, addresses, time.monotonic_ns())
        self.peer = self._exchange.peer
        self._receive_ns = NEVER if receive_timeout is None else duration_ns(receive_timeout, "receive_timeout")
        self._close_at_end = close_at_end
        self._reaper = reaper
        self._unsent = b""
        """The unsent end of a frame: it is sent before anything else. Guarded by ``_sending``."""
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self.fault: Exception | None = None
        """The last error that ``send`` or ``receive`` raised because of the peer or the stream."""
        self._failure: OSError | None = None
        """What ended the connection for good; sending goes no further, and ``close`` resets."""
        self._is_closed = False
        self._closing = threading.Lock()
        sock.setblocking(False)

    # --- messages

    def send(self, message: Buffer) -> None:
        """Send one message; returns when the socket's buffer has all of it.

        Waits while the peer does not read. ValueError if the codec can't carry it; PeerLostError, or the socket's
        OSError, if the connection is gone.
        """
        frame = self._exchange.frame(message)
        try:
            self._write(frame)
        except OSError as error:
            self.fault = error
            raise

    def receive(self, timeout: int | float | str | None = None) -> bytes:
        """Return the next message; wait for it, at most for ``timeout``.

        EndOfStreamError if the peer has closed, FrameError if it broke the format, PeerLostError if its heartbeat
        stopped, TimeoutError if ``timeout`` passed (nothing is lost: call again), the socket's OSError.
        """
        if not self._receiving.acquire(blocking=False):
            raise RuntimeError("receive: another thread is receiving on this channel")
        try:
            message = self._exchange.take()
            if message is None:
                wait_ns = self._receive_ns if timeout is None else duration_ns(timeout, "timeout")
                due_ns = time.monotonic_ns() + wait_ns
                while message is None:
                    self._fill(due_ns)
                    message = self._exchange.take()
            return message
        except (EndOfStreamError, FrameError, OSError) as error:
            self.fault = error
            raise
        finally:
            self._receiving.release()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the messages until the peer closes."""
        while True:
            try:
                message = self.receive()
            except EndOfStreamError:
                return
            yield message

    def send_eof(self) -> None:
        """Send the end of the stream, and end the heartbeat. The peer may still send."""
        self._write(self._exchange.end_control())
        self.sock.shutdown(socket.SHUT_WR)

    def stop_receiving(self) -> None:
        """End ``receive`` as if the peer had closed, after the messages that have arrived. Any thread may call."""
        self._exchange.is_stopping = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""
        if self._exchange.pulse is not None:
            self._exchange.pulse.turn_off()
            self._write(b"")

    @property
    def is_heartbeat_on(self) -> bool:
        """Whether pings are sent and silence is judged: False if none was asked for, or either side turned it off."""
        return self._exchange.pulse is not None and self._exchange.pulse.is_on

    def facts(self) -> SocketFacts:
        """What the socket knows now: state, last data in, bytes unacknowledged."""
        return socket_facts(self.sock)

    # --- release

    def defer(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(*args)`` after the socket is closed: on the reaper if there is one, or in ``close``."""
        self._exchange.defer(partial(function, *args))

    def close(self) -> None:
        """Close the socket, then run what was deferred, or give it to the reaper. Any thread may call it, and again.

        What ``send`` accepted is still delivered, unless the peer was lost: then the connection is reset.
        """
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        if self._failure is not None:
            reset_at_close(self.sock)
        self.sock.close()
        self._clean_up()

    def abort(self) -> None:
        """Close at once and reset the connection: what is unsent is dropped."""
        if self._failure is None:
            self._failure = ConnectionAbortedError("the channel was aborted")
        # A thread that waits in poll is not woken by close, but by shutdown it is.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- inside

    def _clean_up(self) -> None:
        deferred = self._exchange.take_deferred()
        if self._reaper is not None:
            for function in deferred:
                self._reaper.submit(function)
            return
        errors: list[Exception] = []
        for function in deferred:
            try:
                function()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("clean-up of a channel failed", errors)

    def _fill(self, due_ns: int) -> None:
        """Read one chunk, waiting for it if need be."""
        exchange = self._exchange
        while True:
            wants = READABLE
            try:
                data = self.sock.recv(CHUNK_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            except ssl.SSLWantWriteError:
                wants = WRITABLE
            except TimeoutError as error:
                self._failure = exchange.gave_up(error, time.monotonic_ns(), self.sock)
                raise self._failure from error
            else:
                exchange.on_bytes(data, time.monotonic_ns())
                if exchange.has_control:
                    self._send_control()
                if self._close_at_end and not data:
                    self.close()
                return
            now_ns = time.monotonic_ns()
            try:
                exchange.tick(now_ns, self.sock)
            except OSError as error:
                self._failure = error
                raise
            if now_ns >= due_ns:
                raise TimeoutError(f"{self.peer}: no message in time")
            if (exchange.has_control or self._unsent) and self._send_control():
                wants |= WRITABLE
            wait_ready(self.sock, wants, min(due_ns, exchange.next_deadline_ns(now_ns)) - now_ns)

    def _send_control(self) -> bool:
        """Send the heartbeat's messages if no thread is sending and the socket takes them. True if some are left."""
        while self._exchange.has_control or self._unsent:
            # A thread that sends now will send them after its frame.
            if not self._sending.acquire(blocking=False):
                return False
            try:
                self._push()
                if self._unsent:
                    return True
            finally:
                self._sending.release()
        return False

    def _push(self) -> None:
        """Pass to the socket what is unsent and the heartbeat's messages, as much as it takes. Holds ``_sending``."""
        self._unsent += self._exchange.take_control()
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:  # the connection is broken: the program's own next call says how
            self._unsent = b""

    def _write(self, frame: bytes) -> None:
        """Send a frame whole, whatever was left before it, and the heartbeat's messages after it."""
        with self._sending:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._unsent:
                frame, self._unsent = self._unsent + frame, b""
            if frame:
                self._send_all(frame)
        if self._exchange.has_control:
            self._send_control()

    def _send_all(self, frame: bytes) -> None:
        sock, stall_ns = self.sock, self._exchange.stall_ns
        rest: memoryview | bytes = frame
        moved_ns = 0
        while True:
            wants = WRITABLE
            try:
                sent = sock.send(rest)
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            except ssl.SSLWantReadError:
                wants = READABLE
            except TimeoutError as error:
                self._failure = self._exchange.gave_up(error, time.monotonic_ns(), sock)
                raise self._failure from error
            except OSError as error:
                self._failure = error
                raise
            else:
                if sent == len(rest):
                    return
                rest, moved_ns = memoryview(rest)[sent:], 0
                continue
            now_ns = time.monotonic_ns()
            moved_ns = moved_ns or now_ns
            if now_ns - moved_ns >= stall_ns:
                self._failure = self._exchange.stalled(now_ns - moved_ns, now_ns, sock)
                raise self._failure
            wait_ready(sock, wants, moved_ns + stall_ns - now_ns)
