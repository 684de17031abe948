"""AnyioChannel: messages over an anyio byte stream, under asyncio or trio. Names, errors and rules are ``Channel``'s.

Time is ``anyio.current_time()``, so that it is virtual where the loop's or trio's clock is.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import ByteStream, SocketAttribute

from estab.messages.codec import Buffer, Codec, FrameError
from estab.messages.exchange import CHUNK_BYTES, EndOfStream, Exchange
from estab.messages.facts import SocketFacts, SocketLike, reset_at_close, socket_facts
from estab.messages.heartbeat import Heartbeat
from estab.messages.waiting import WRITABLE, wait_ready
from estab.units import MS, NEVER, SECOND, duration_ns

__all__ = ["AnyioChannel"]

_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class AnyioChannel:
    """Messages over a ``ByteStream``: ``send``, ``receive``, iteration, ``close``.

    The arguments are ``Channel``'s, without ``reaper``: what was deferred runs in ``close``. One task may receive while
    others send.
    """

    def __init__(
        self, stream: ByteStream, codec: Codec, *, heartbeat: Heartbeat | None = None,
        receive_timeout: int | float | str | None = None, send_timeout: int | float | str | None = None,
        close_at_end: bool = False,
    ) -> None:
        self.stream = stream
        self.codec = codec
        local = stream.extra(SocketAttribute.local_address, None)
        addresses = local, stream.extra(SocketAttribute.remote_address, None)
        self._exchange = Exchange(codec, heartbeat, send_timeout, addresses, _now_ns())
        self.peer = self._exchange.peer
        self._receive_ns = NEVER if receive_timeout is None else duration_ns(receive_timeout, "receive_timeout")
        self._close_at_end = close_at_end
        self._sending = anyio.Lock()
        self.fault: Exception | None = None
        """The last error that ``send`` or ``receive`` raised because of the peer or the stream."""
        self._failure: Exception | None = None
        self._is_receiving = False
        self._reading: anyio.CancelScope | None = None
        self._is_closed = False

    # --- messages

    async def send(self, message: Buffer) -> None:
        """Send one message; returns when the stream has taken all of it.

        Waits while the peer does not read. ValueError if the codec can't carry it; PeerLost, or what the stream raises
        (``anyio.BrokenResourceError``), if the connection is gone. A ``send`` that is cancelled half-way ends the
        channel: nothing can follow half a frame.
        """
        frame = self._exchange.frame(message)
        try:
            await self._write(frame)
        except _BROKEN as error:
            self.fault = error
            raise

    async def receive(self, timeout: int | float | str | None = None) -> bytes:
        """Return the next message; wait for it, at most for ``timeout``.

        EndOfStream when the peer has closed, FrameError when it broke the format, PeerLost when its heartbeat stopped,
        TimeoutError when ``timeout`` passed (nothing is lost: call again, and so it is if the task is cancelled), what
        the stream raises.
        """
        if self._is_receiving:
            raise RuntimeError("receive: another task is receiving on this channel")
        self._is_receiving = True
        try:
            message = self._exchange.take()
            if message is None:
                wait_ns = self._receive_ns if timeout is None else duration_ns(timeout, "timeout")
                due_ns = _now_ns() + wait_ns
                while message is None:
                    await self._fill(due_ns)
                    message = self._exchange.take()
            return message
        except (*_BROKEN, EndOfStream, FrameError) as error:
            self.fault = error
            raise
        finally:
            self._is_receiving = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the messages until the peer closes."""
        while True:
            try:
                message = await self.receive()
            except EndOfStream:
                return
            yield message

    async def send_eof(self) -> None:
        """Say that no more messages will follow, and end the heartbeat. The peer may still send."""
        await self._write(self._exchange.end_control())
        await self.stream.send_eof()

    def stop_receiving(self) -> None:
        """Make ``receive`` end as if the peer had closed, behind what is here. Call it in the loop's thread."""
        self._exchange.is_stopping = True
        if self._reading is not None:
            self._reading.cancel()

    async def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""
        if self._exchange.pulse is not None:
            self._exchange.pulse.turn_off()
            await self._write(b"")

    @property
    def is_heartbeat_on(self) -> bool:
        """Whether pings are sent and silence is judged: False if none was asked for, or either side turned it off."""
        return self._exchange.pulse is not None and self._exchange.pulse.is_on

    def facts(self) -> SocketFacts:
        """What the socket knows now: state, last data in, bytes unacknowledged."""
        return socket_facts(self._socket())

    # --- release

    def defer(self, function: Callable[..., Any], *args: Any) -> None:
        """Have ``function(*args)`` called, and awaited if it is a coroutine's, once the stream is closed."""
        self._exchange.defer(partial(function, *args))

    async def close(self) -> None:
        """Close the stream, then run what was deferred. May be called again.

        What ``send`` took is still delivered, unless the peer was lost: then the connection is reset.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._failure is not None:
                reset_at_close(self._socket())
                await anyio.aclose_forcefully(self.stream)
            else:
                await self.stream.aclose()
        finally:
            await self._clean_up()

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

    def _socket(self) -> SocketLike | None:
        sock: SocketLike | None = self.stream.extra(SocketAttribute.raw_socket, None)
        return sock

    async def _fill(self, due_ns: int) -> None:
        """Read one chunk, waiting for it if need be."""
        exchange = self._exchange
        data: bytes | None = None
        if not exchange.is_stopping:
            data = await self._read(min(due_ns, exchange.next_deadline_ns(_now_ns())))
        if data is None and exchange.is_stopping:
            data = b""
        now_ns = _now_ns()
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

    async def _read(self, deadline_ns: int) -> bytes | None:
        """Read one chunk, empty at the end of the stream; None if the deadline came first, or ``stop_receiving``."""
        # A millisecond at least, so that bytes that have come while the program was away are read before it judges.
        seconds = float("inf") if deadline_ns >= NEVER // 2 else max(deadline_ns - _now_ns(), MS) / SECOND
        try:
            with anyio.move_on_after(seconds) as self._reading:
                return await self.stream.receive(CHUNK_BYTES)
        except anyio.EndOfStream:
            return b""
        finally:
            self._reading = None
        return None

    async def _send_control(self) -> None:
        """Send the heartbeat's messages, if they can leave at once; otherwise they stay due.

        To wait here would hold up both sides for ever if the peer is itself held up in a ``send`` until we read.
        """
        # A task that sends now will see to them when its frame is out.
        if self._sending.locked():
            return
        sock = self._socket()
        if sock is None or wait_ready(sock, WRITABLE, 0):
            with anyio.CancelScope(shield=True):
                await self._write(b"")

    async def _write(self, frame: bytes) -> None:
        """Send a frame whole, and the heartbeat's messages behind it."""
        async with self._sending:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            await self._send_all(frame)
            while self._exchange.has_control:
                await self._send_all(self._exchange.take_control())

    async def _send_all(self, frame: bytes) -> None:
        stall_ns = self._exchange.stall_ns
        seconds = float("inf") if stall_ns >= NEVER // 2 else stall_ns / SECOND
        self._failure = ConnectionAbortedError(f"{self.peer}: a send was cancelled half-way; nothing can follow it")
        try:
            for at in range(0, len(frame), CHUNK_BYTES):
                with anyio.fail_after(seconds):
                    await self.stream.send(frame[at : at + CHUNK_BYTES])
        except TimeoutError as error:
            self._failure = self._exchange.stalled(stall_ns, _now_ns(), self._socket())
            raise self._failure from error
        except Exception as error:
            self._failure = error
            raise
        self._failure = None

    async def _clean_up(self) -> None:
        errors: list[Exception] = []
        for function in self._exchange.take_deferred():
            try:
                result = function()
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("clean-up of a channel failed", errors)


def _now_ns() -> int:
    return int(anyio.current_time() * SECOND)
