"""AsyncioChannel: messages over asyncio's streams. The names, the errors and the rules are ``Channel``'s.

Time is the loop's (``loop.time()``), so that it is virtual if the loop's is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from estab.messages.async_channel import AsyncChannel
from estab.messages.codec import Codec
from estab.messages.exchange import CHUNK_BYTES
from estab.messages.facts import SocketLike, reset_at_close
from estab.messages.heartbeat import Heartbeat
from estab.messages.release import AsyncioReaper
from estab.units import MS, NEVER, SECOND

__all__ = ["AsyncioChannel"]

_CONTROL_BYTES_MAX: Final = 65536
"""With more than this unsent, the heartbeat's messages wait: a peer that pings and never reads must not fill memory."""


class AsyncioChannel(AsyncChannel):
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
        addresses = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        super().__init__(codec, addresses, heartbeat, receive_timeout, send_timeout, close_at_end)
        self._reaper = reaper
        self._reading: asyncio.Timeout | None = None

    async def send_eof(self) -> None:
        """Send the end of the stream, and end the heartbeat. The peer may still send."""
        self.writer.write(self._exchange.end_control())
        self.writer.write_eof()
        await self._drain()

    def stop_receiving(self) -> None:
        """End ``receive`` as if the peer had closed, after the messages that came. Call it in the loop's thread."""
        self._exchange.is_stopping = True
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(0)

    async def heartbeat_off(self) -> None:
        """Turn the heartbeat off for both sides. Nothing happens if there is none."""
        if self._exchange.pulse is not None:
            self._exchange.pulse.turn_off()
            await self._send_control()

    async def close(self) -> None:
        """Close the stream, then run what was deferred, or give it to the reaper. May be called again.

        What ``send`` accepted is still delivered, unless the peer was lost: then the connection is reset. A peer that
        takes no byte for ``send_timeout`` does not delay it further.
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

    def _now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * SECOND)

    def _socket(self) -> SocketLike | None:
        sock: SocketLike | None = self.writer.get_extra_info("socket")
        return sock

    async def _read(self, deadline_ns: int) -> bytes | None:
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

    async def _write(self, frame: bytes) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        self.writer.write(frame)
        await self._drain()

    async def _send_control(self) -> None:
        if self.writer.transport.get_write_buffer_size() <= _CONTROL_BYTES_MAX and not self.writer.is_closing():
            self.writer.write(self._exchange.take_control())

    async def _drain(self) -> None:
        """Wait until the stream has room again; PeerLostError if the peer takes nothing for too long."""
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
