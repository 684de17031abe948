"""A server that accepts, handles and releases connections in the right order, in threads.

Rules:

- at most ``connections_max`` handlers run; more connections wait in the listener's queue, not in our memory;
- a connection is closed as soon as its stream or its handler ends, and clean-up that the handler deferred runs after
  the close, on the reaper: a slow clean-up holds neither the socket nor a place;
- a peer that sends nothing, or takes nothing, for too long is disconnected;
- a handler that fails, by ``sys.exit`` too, ends its own connection and is reported; nothing ends the server but
  ``stop``;
- ``stop`` refuses new connections, lets handlers finish what they have, then cuts what is left, then drains the reaper.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from estab.messages.channel import Channel
from estab.messages.codec import Codec
from estab.messages.exchange import peer_name
from estab.messages.heartbeat import Heartbeat
from estab.messages.release import Drained, Reaper, as_failure
from estab.messages.waiting import READABLE, wait_ready
from estab.units import SECOND, duration_ns

__all__ = ["Server", "Stopped", "serve"]

_LOG = logging.getLogger("estab.messages")
_ABORTED_SECONDS: Final = 1.0
"""How long ``stop`` waits for handlers whose connection it has cut."""
ACCEPT_PAUSE_SECONDS: Final = 0.05
"""How long ``accept`` pauses after it failed for lack of descriptors or memory."""

Handler = Callable[[Channel], Any]
OnError = Callable[[Exception, Any], None]


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a server ended."""

    finished: int
    """Handlers that ended by themselves, in the server's whole life."""
    failed: int
    """Handlers that raised."""
    aborted: int
    """Connections that were cut because their handler took longer than the grace."""
    clean_up: Drained | None
    """What the server's own reaper did; None if the caller gave one."""


class Serving:
    """What both servers share: where they listen, and what they count."""

    def __init__(self, listener: socket.socket, connections_max: int, on_error: OnError | None) -> None:
        if connections_max < 1:
            raise ValueError(f"connections_max: {connections_max} is not a number from 1 up")
        listener.setblocking(False)
        self.listener = listener
        self.address: Any = listener.getsockname()
        """Where it listens, as ``getsockname`` says: with the port that was given where 0 was asked for."""
        self.accepted = 0
        """Connections taken."""
        self.finished = 0
        """Handlers that ended by themselves, or with the peer's connection."""
        self.failed = 0
        """Handlers that raised anything else; each was reported."""
        self.accept_errors = 0
        """Connections that could not be taken, for lack of descriptors or memory."""
        self._on_error: OnError = on_error or log_error
        self._is_stopping = False

    def _note_accept_error(self, error: OSError) -> None:
        self.accept_errors += 1
        _LOG.warning("accept on %s failed: %s", peer_name(self.address), error)

    def _tell(self, error: Exception, channel: Any) -> None:
        try:
            self._on_error(error, channel)
        except Exception:
            _LOG.exception("on_error failed")


class Server(Serving):
    """A running server: see ``serve``. A context manager: leaving it stops it. No handler may stop its own server."""

    def __init__(
        self, handler: Handler, listener: socket.socket, codec: Callable[[], Codec], connections_max: int,
        options: dict[str, Any], reaper: Reaper | None, on_error: OnError | None,
    ) -> None:
        super().__init__(listener, connections_max, on_error)
        self._handler = handler
        self._codec = codec
        self._options = options
        self._own_reaper = None if reaper is not None else Reaper()
        self._reaper = reaper or self._own_reaper
        self._connections_max = connections_max
        self._changed = threading.Condition()
        self._channels: set[Channel] = set()
        self._waker, self._wakes = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept_all, name="estab-accept", daemon=True)

    @property
    def connections(self) -> int:
        """How many connections are being handled."""
        with self._changed:
            return len(self._channels)

    def start(self) -> Self:
        """Begin to accept, in a thread."""
        self._acceptor.start()
        return self

    def wait(self) -> None:
        """Wait until the server is stopped by another thread."""
        self._acceptor.join()

    def stop(self, grace: int | float | str = "10s") -> Stopped:
        """Stop: no new connections; every handler's stream ends; after ``grace`` what is left is cut. Once only.

        A handler sees the end of its stream after the messages that have arrived, and can still answer them.
        """
        due = time.monotonic() + duration_ns(grace, "grace") / SECOND
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._waker.send(b".")
        self._acceptor.join()
        self.listener.close()
        with self._changed:
            channels = list(self._channels)
        for channel in channels:
            channel.stop_receiving()
        self._wait_for_handlers(due)
        with self._changed:
            left = list(self._channels)
        for channel in left:
            channel.abort()
        self._wait_for_handlers(time.monotonic() + _ABORTED_SECONDS)
        clean_up = None
        if self._own_reaper is not None:
            clean_up = self._own_reaper.drain(max(0.0, due - time.monotonic()))
        self._waker.close()
        self._wakes.close()
        return Stopped(self.finished, self.failed, len(left), clean_up)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_stopping:
            self.stop()

    def _wait_for_handlers(self, due: float) -> None:
        with self._changed:
            while self._channels and (left := due - time.monotonic()) > 0:
                self._changed.wait(left)

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)
            while self._wait_for_place():
                selector.select()
                if self._is_stopping:
                    return
                self._accept()

    def _wait_for_place(self) -> bool:
        """Wait until one more handler may run. False if the server stops."""
        with self._changed:
            while len(self._channels) >= self._connections_max and not self._is_stopping:
                self._changed.wait()
            return not self._is_stopping

    def _accept(self) -> None:
        try:
            sock, address = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._note_accept_error(error)
            wait_ready(self._wakes, READABLE, int(ACCEPT_PAUSE_SECONDS * SECOND))
            return
        self._begin(sock, address)

    def _begin(self, sock: socket.socket, address: Any) -> None:
        try:
            no_delay(sock)
            channel = Channel(sock, self._codec(), reaper=self._reaper, **self._options)
        except Exception as error:
            sock.close()
            self._report(error, address)
            return
        with self._changed:
            self.accepted += 1
            self._channels.add(channel)
        thread = threading.Thread(target=self._serve, args=(channel,), name=f"estab-{channel.peer}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._end(channel, error)

    def _serve(self, channel: Channel) -> None:
        failure: BaseException | None = None
        try:
            self._handler(channel)
        except BaseException as error:
            if not isinstance(error, (Exception, SystemExit)):
                raise
            failure = error
        finally:
            self._end(channel, None if failure is channel.fault else failure)

    def _end(self, channel: Channel, failure: BaseException | None) -> None:
        with contextlib.suppress(OSError):
            channel.close()
        with self._changed:
            self._channels.discard(channel)
            if failure is None:
                self.finished += 1
            self._changed.notify_all()
        if failure is not None:
            self._report(as_failure(failure, "a handler"), channel)

    def _report(self, error: Exception, channel: Any) -> None:
        with self._changed:
            self.failed += 1
        self._tell(error, channel)


def serve(
    handler: Handler, address: tuple[str, int] | socket.socket, codec: Callable[[], Codec], *,
    connections_max: int = 200, backlog: int = 128, heartbeat: Heartbeat | None = None,
    receive_timeout: int | float | str | None = "10min", send_timeout: int | float | str | None = "30s",
    close_at_end: bool = True, reaper: Reaper | None = None, on_error: OnError | None = None,
) -> Server:
    r"""Listen on ``address`` and call ``handler(channel)`` in a thread for each connection. Returns the running server.

    ``address``: ``(host, port)``, port 0 for any, or a listening socket. ``codec``: called for each connection:
    ``Netstring``, or ``lambda: Delimited(b"\r\n")``. The handler may return, raise, or leave its ``channel`` open: it
    is closed in any case. What it gives to ``channel.defer`` runs after the close, on ``reaper`` or on one of the
    server's own. What the channel raises (the peer's broken frame, reset, time-out or silence) may end the handler and
    is no error of ours; whatever else the handler raises goes to ``on_error(error, channel)``, or to the log
    ``estab.messages``.
    """
    options: dict[str, Any] = {
        "heartbeat": heartbeat, "receive_timeout": receive_timeout, "send_timeout": send_timeout,
        "close_at_end": close_at_end,
    }
    with open_listener(address, backlog) as listener:
        return Server(handler, listener, codec, connections_max, options, reaper, on_error).start()


@contextlib.contextmanager
def open_listener(address: tuple[str, int] | socket.socket, backlog: int) -> Iterator[socket.socket]:
    """Return a listening socket; close it if the block raises and it is not the caller's own."""
    if isinstance(address, socket.socket):
        yield address
        return
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=backlog)
    try:
        yield listener
    except BaseException:
        listener.close()
        raise


def log_error(error: Exception, channel: Any) -> None:
    """Report a handler's error to the log ``estab.messages``."""
    _LOG.error("handler of %s failed: %r", getattr(channel, "peer", channel), error, exc_info=error)


def no_delay(sock: socket.socket) -> None:
    """Send small messages at once: Nagle's algorithm would hold each until the one before is acknowledged."""
    if sock.family in (socket.AF_INET, getattr(socket, "AF_INET6", None)):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

