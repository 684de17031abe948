"""AnyioChannel: messages over an anyio byte stream, under asyncio or trio. Names, errors and rules are ``Channel``'s.

Time is ``anyio.current_time()``, so that it is virtual if the loop's or trio's clock is.
"""

from __future__ import annotations

import inspect

import anyio
from anyio.abc import ByteStream, SocketAttribute

from estab.messages.async_channel import AsyncChannel
from estab.messages.codec import Codec
from estab.messages.exchange import CHUNK_BYTES
from estab.messages.facts import SocketLike, reset_at_close
from estab.messages.heartbeat import Heartbeat
from estab.messages.waiting import WRITABLE, wait_ready
from estab.units import MS, NEVER, SECOND

__all__ = ["AnyioChannel"]


class AnyioChannel(AsyncChannel):
    """Messages over a ``ByteStream``: ``send``, ``receive``, iteration, ``close``.

    The arguments are ``Channel``'s, without ``reaper``: what was deferred runs in ``close``. One task may receive while
    others send. A ``send`` that is cancelled half-way ends the channel: nothing can follow half a frame.
    """

    _faults = (*AsyncChannel._faults, anyio.BrokenResourceError, anyio.ClosedResourceError)

    def __init__(
        self, stream: ByteStream, codec: Codec, *, heartbeat: Heartbeat | None = None,
        receive_timeout: int | float | str | None = None, send_timeout: int | float | str | None = None,
        close_at_end: bool = False,
    ) -> None:
        self.stream = stream
        local = stream.extra(SocketAttribute.local_address, None)
        addresses = local, stream.extra(SocketAttribute.remote_address, None)
        super().__init__(codec, addresses, heartbeat, receive_timeout, send_timeout, close_at_end)
        self._sending = anyio.Lock()
        self._reading: anyio.CancelScope | None = None

    async def send_eof(self) -> None:
        """Send the end of the stream, and end the heartbeat. The peer may still send."""
        await self._write(self._exchange.end_control())
        await self.stream.send_eof()

    def stop_receiving(self) -> None:
        """End ``receive`` as if the peer had closed, after the messages that came. Call it in the loop's thread."""
        self._exchange.is_stopping = True
        if self._reading is not None:
            self._reading.cancel()

    async def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""
        if self._exchange.pulse is not None:
            self._exchange.pulse.turn_off()
            await self._write(b"")

    async def close(self) -> None:
        """Close the stream, then run what was deferred. May be called again.

        What ``send`` accepted is still delivered, unless the peer was lost: then the connection is reset.
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

    def _now_ns(self) -> int:
        return int(anyio.current_time() * SECOND)

    def _socket(self) -> SocketLike | None:
        sock: SocketLike | None = self.stream.extra(SocketAttribute.raw_socket, None)
        return sock

    async def _read(self, deadline_ns: int) -> bytes | None:
        # A millisecond at least, so that bytes that have come while the program was away are read before it judges.
        seconds = float("inf") if deadline_ns >= NEVER // 2 else max(deadline_ns - self._now_ns(), MS) / SECOND
        try:
            with anyio.move_on_after(seconds) as self._reading:
                return await self.stream.receive(CHUNK_BYTES)
        except anyio.EndOfStream:
            return b""
        finally:
            self._reading = None
        return None

    async def _send_control(self) -> None:
        # A task that sends now will send them after its frame.
        if self._sending.locked():
            return
        sock = self._socket()
        if sock is None or wait_ready(sock, WRITABLE, 0):
            with anyio.CancelScope(shield=True):
                await self._write(b"")

    async def _write(self, frame: bytes) -> None:
        """Send a frame whole, and the heartbeat's messages after it."""
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
            self._failure = self._exchange.stalled(stall_ns, self._now_ns(), self._socket())
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
