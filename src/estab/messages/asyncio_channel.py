"""AsyncioChannel: messages over asyncio's streams. The names, the errors and the rules are ``Channel``'s.

Time is the loop's (``loop.time()``), so that it is virtual where the loop's is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from estab.messages.codec import Buffer, Codec, FrameError
from estab.messages.exchange import CHUNK_BYTES, EndOfStream, Exchange
from estab.messages.facts import SocketFacts, SocketLike, reset_at_close, socket_facts
from estab.messages.heartbeat import Heartbeat
from estab.messages.release import AsyncioReaper
from estab.units import MS, NEVER, SECOND, duration_ns

__all__ = ["AsyncioChannel"]

_CONTROL_BYTES_MAX: Final = 65536
"""With more than this unsent, the heartbeat's messages wait: a peer that pings and never reads must not fill memory."""


class AsyncioChannel:
    """Messages over a ``StreamReader`` and ``StreamWriter``: ``send``, ``receive``, iteration, ``close``.

    The arguments are ``Channel``'s. One task may receive while others send.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: Codec, *,
        heartbeat: Heartbeat | None = None, receive_timeout: int | float | str | None = None,
        send_timeout: int | float | str | None = None, close_at_end: bool = False,
        reaper: AsyncioReaper | None = None,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = codec
        addresses = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        self._exchange = Exchange(codec, heartbeat, send_timeout, addresses, self._now_ns())
        self.peer = self._exchange.peer
        self._receive_ns = NEVER if receive_timeout is None else duration_ns(receive_timeout, "receive_timeout")
        self._close_at_end = close_at_end
        self._reaper = reaper
        self.fault: Exception | None = None
        """The last error that ``send`` or ``receive`` raised because of the peer or the stream."""
        self._failure: OSError | None = None
        self._is_receiving = False
        self._reading: asyncio.Timeout | None = None
        self._is_closed = False

    # --- messages

    async def send(self, message: Buffer) -> None:
        """Send one message; returns when the stream has room for the next.

        Waits while the peer does not read. ValueError if the codec can't carry it; PeerLost, or the stream's OSError,
        if the connection is gone.
        """
        frame = self._exchange.frame(message)
        try:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            self.writer.write(frame)
            await self._drain()
        except OSError as error:
            self.fault = error
            raise

    async def receive(self, timeout: int | float | str | None = None) -> bytes:
        """Return the next message; wait for it, at most for ``timeout``.

        EndOfStream when the peer has closed, FrameError when it broke the format, PeerLost when its heartbeat stopped,
        TimeoutError when ``timeout`` passed (nothing is lost: call again, and so it is if the task is cancelled), the
        stream's OSError.
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
        except (EndOfStream, FrameError, OSError) as error:
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
        self.writer.write(self._exchange.end_control())
        self.writer.write_eof()
        await self._drain()

    def stop_receiving(self) -> None:
        """Make ``receive`` end as if the peer had closed, behind what is here. Call it in the loop's thread."""
        self._exchange.is_stopping = True
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(0)

    async def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""
        if self._exchange.pulse is not None:
            self._exchange.pulse.turn_off()
            self._send_control()

    @property
    def is_heartbeat_on(self) -> bool:
        """Whether pings are sent and silence is judged: False if none was asked for, or either side turned it off."""
        return self._exchange.pulse is not None and self._exchange.pulse.is_on

    def facts(self) -> SocketFacts:
        """What the socket knows now: state, last data in, bytes unacknowledged."""
        return socket_facts(self._socket())

    # --- release

    def defer(self, function: Callable[..., Any], *args: Any) -> None:
        """Have ``function(*args)`` called, and awaited, once the stream is closed: by the reaper, or by ``close``."""
        self._exchange.defer(partial(function, *args))

    async def close(self) -> None:
        """Close the stream, then run or hand over what was deferred. May be called again.

        What ``send`` took is still delivered, unless the peer was lost: then the connection is reset. A peer that
        takes no byte for ``send_timeout`` holds it up no longer.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._failure is not None:
            reset_at_close(self._socket())
            self.writer.transport.abort()
        self.writer.close()
        try:
            if self._reaper is not None:
                await self._clean_up()
            with contextlib.suppress(OSError):
                await self._progress(self.writer.wait_closed)
        finally:
            self.writer.transport.abort()
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

    def _now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * SECOND)

    def _socket(self) -> SocketLike | None:
        sock: SocketLike | None = self.writer.get_extra_info("socket")
        return sock

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
            self._send_control()
        if data is None and now_ns >= due_ns:
            raise TimeoutError(f"{self.peer}: no message in time")
        if self._close_at_end and data == b"":
            await self.close()

    async def _read(self, deadline_ns: int) -> bytes | None:
        """Read one chunk; None if the deadline came first, or ``stop_receiving``."""
        # A millisecond at least, so that bytes that have come while the program was away are read before it judges.
        when = None if deadline_ns >= NEVER // 2 else max(deadline_ns, self._now_ns() + MS) / SECOND
        self._reading = asyncio.timeout_at(when)
        try:
            async with self._reading:
                return await self.reader.read(CHUNK_BYTES)
        except TimeoutError as error:
            if not self._reading.expired():
                self._failure = self._exchange.gave_up(error, self._now_ns(), self._socket())
                raise self._failure from error
            return None
        finally:
            self._reading = None

    def _send_control(self) -> None:
        if self.writer.transport.get_write_buffer_size() <= _CONTROL_BYTES_MAX and not self.writer.is_closing():
            self.writer.write(self._exchange.take_control())

    async def _drain(self) -> None:
        """Wait until the stream has room again; PeerLost if the peer takes nothing for too long."""
        try:
            await self._progress(self.writer.drain)
        except OSError as error:
            self._failure = error
            raise

    async def _progress(self, wait: Callable[[], Any]) -> None:
        """Await ``wait()`` for as long as bytes leave the write buffer."""
        stall_ns = self._exchange.stall_ns
        transport = self.writer.transport
        while True:
            unsent = transport.get_write_buffer_size()
            limit = asyncio.timeout(None if stall_ns >= NEVER // 2 else stall_ns / SECOND)
            try:
                async with limit:
                    await wait()
                return
            except TimeoutError as error:
                if not limit.expired():
                    raise self._exchange.gave_up(error, self._now_ns(), self._socket()) from error
                if transport.get_write_buffer_size() >= unsent:
                    raise self._exchange.stalled(stall_ns, self._now_ns(), self._socket()) from error

    async def _clean_up(self) -> None:
        deferred = self._exchange.take_deferred()
        if self._reaper is not None:
            for function in deferred:
                await self._reaper.submit(function)
            return
        errors: list[Exception] = []
        async with AsyncioReaper(workers=1, on_error=lambda error, function: errors.append(error)) as reaper:
            for function in deferred:
                await reaper.submit(function)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("clean-up of a channel failed", errors)
