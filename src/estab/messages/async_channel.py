"""What the asynchronous channels have in common: all but how their stream reads, writes and closes.

Names, errors and rules are ``Channel``'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

from estab.messages.codec import Buffer, Codec, FrameError
from estab.messages.exchange import EndOfStreamError, Exchange
from estab.messages.facts import SocketFacts, SocketLike, socket_facts
from estab.messages.heartbeat import Heartbeat
from estab.units import NEVER, duration_ns

__all__ = ["AsyncChannel"]


class AsyncChannel(ABC):
    """Messages over a stream: ``send``, ``receive``, iteration, ``close``. One task may receive while others send."""

    _faults: ClassVar[tuple[type[Exception], ...]] = (OSError, EndOfStreamError, FrameError)
    """Exceptions that the peer or the stream causes."""

    def __init__(
        self, codec: Codec, addresses: tuple[object, object], heartbeat: Heartbeat | None,
        receive_timeout: int | float | str | None, send_timeout: int | float | str | None, close_at_end: bool,
    ) -> None:
        self.codec = codec
        self._exchange = Exchange(codec, heartbeat, send_timeout, addresses, self._now_ns())
        self.peer = self._exchange.peer
        self._receive_ns = NEVER if receive_timeout is None else duration_ns(receive_timeout, "receive_timeout")
        self._close_at_end = close_at_end
        self.fault: Exception | None = None
        """The last error that ``send`` or ``receive`` raised because of the peer or the stream."""
        self._failure: Exception | None = None
        """What ended the connection for good; sending goes no further, and ``close`` resets."""
        self._is_receiving = False
        self._is_closed = False

    # --- messages

    async def send(self, message: Buffer) -> None:
        """Send one message; returns when the stream has taken it, or has room for the next.

        Waits while the peer does not read. ValueError if the codec can't carry it; PeerLostError, or the stream's own
        error, if the connection is gone.
        """
        frame = self._exchange.frame(message)
        try:
            await self._write(frame)
        except self._faults as error:
            self.fault = error
            raise

    async def receive(self, timeout: int | float | str | None = None) -> bytes:
        """Return the next message; wait for it, at most for ``timeout``.

        EndOfStreamError if the peer has closed, FrameError if it broke the format, PeerLostError if its heartbeat
        stopped, TimeoutError if ``timeout`` passed (nothing is lost: call again, also if the task is cancelled), the
        stream's own error.
        """
        if self._is_receiving:
            raise RuntimeError("receive: another task is receiving on this channel")
        self._is_receiving = True
        try:
            message = self._exchange.take()
            if message is None:
                wait_ns = self._receive_ns if timeout is None else duration_ns(timeout, "timeout")
                due_ns = self._now_ns() + wait_ns
                while message is None:
                    await self._fill(due_ns)
                    message = self._exchange.take()
            return message
        except self._faults as error:
            self.fault = error
            raise
        finally:
            self._is_receiving = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the messages until the peer closes."""
        while True:
            try:
                message = await self.receive()
            except EndOfStreamError:
                return
            yield message

    @abstractmethod
    async def send_eof(self) -> None:
        """Send the end of the stream, and end the heartbeat. The peer may still send."""

    @abstractmethod
    def stop_receiving(self) -> None:
        """End ``receive`` as if the peer had closed, after the messages that came. Call it in the loop's thread."""

    @abstractmethod
    async def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""

    @property
    def is_heartbeat_on(self) -> bool:
        """Whether pings are sent and silence is judged: False if none was asked for, or either side turned it off."""
        return self._exchange.pulse is not None and self._exchange.pulse.is_on

    def facts(self) -> SocketFacts:
        """What the socket knows now: state, last data in, bytes unacknowledged."""
        return socket_facts(self._socket())

    # --- release

    def defer(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(*args)`` after the stream is closed, and await it if it is a coroutine function."""
        self._exchange.defer(partial(function, *args))

    @abstractmethod
    async def close(self) -> None:
        """Close the stream, then run what was deferred, or give it to the reaper. May be called again.

        What ``send`` accepted is still delivered, unless the peer was lost: then the connection is reset.
        """

    async def abort(self) -> None:
        """Close at once and reset the connection: what is unsent is dropped."""
        if self._failure is None:
            self._failure = ConnectionAbortedError("the channel was aborted")
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- inside

    async def _fill(self, due_ns: int) -> None:
        """Read one chunk, waiting for it if need be."""
        exchange = self._exchange
        data: bytes | None = None
        if not exchange.is_stopping:
            data = await self._read(min(due_ns, exchange.next_deadline_ns(self._now_ns())))
        if data is None and exchange.is_stopping:
            data = b""
        now_ns = self._now_ns()
        if data is not None:
            exchange.on_bytes(data, now_ns)
        else:
            try:
                exchange.tick(now_ns, self._socket())
            except OSError as error:
                self._failure = error
                raise
        if exchange.has_control:
            await self._send_control()
        if data is None and now_ns >= due_ns:
            raise TimeoutError(f"{self.peer}: no message in time")
        if self._close_at_end and data == b"":
            await self.close()

    @abstractmethod
    def _now_ns(self) -> int:
        """Read the clock of whatever runs the tasks."""

    @abstractmethod
    def _socket(self) -> SocketLike | None:
        """Return the socket below the stream, if there is one."""

    @abstractmethod
    async def _read(self, deadline_ns: int) -> bytes | None:
        """Read one chunk, empty at the end of the stream; None if the deadline came first, or ``stop_receiving``."""

    @abstractmethod
    async def _write(self, frame: bytes) -> None:
        """Pass a whole frame to the stream."""

    @abstractmethod
    async def _send_control(self) -> None:
        """Send the heartbeat's messages, if they can leave at once; otherwise they stay due.

        Waiting here would block both sides for ever if the peer itself is blocked in a ``send`` until we read.
        """
