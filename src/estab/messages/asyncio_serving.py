"""The server of ``serving`` for asyncio: the same rules, tasks instead of threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from estab.messages.asyncio_channel import AsyncioChannel
from estab.messages.codec import Codec
from estab.messages.exchange import peer_name
from estab.messages.heartbeat import Heartbeat
from estab.messages.release import AsyncioReaper, as_failure
from estab.messages.serving import ACCEPT_PAUSE_SECONDS, OnError, Serving, Stopped, no_delay, open_listener
from estab.units import SECOND, duration_ns

__all__ = ["AsyncioServer", "serve_asyncio"]

AsyncHandler = Callable[[AsyncioChannel], Awaitable[Any]]


class AsyncioServer(Serving):
    """A running server: see ``serve_asyncio``. An async context manager: leaving it stops it."""

    def __init__(
        self, handler: AsyncHandler, listener: socket.socket, codec: Callable[[], Codec], connections_max: int,
        options: dict[str, Any], reaper: AsyncioReaper | None, on_error: OnError | None,
    ) -> None:
        super().__init__(listener, connections_max, on_error)
        self._handler = handler
        self._codec = codec
        self._options = options
        self._own_reaper = None if reaper is not None else AsyncioReaper()
        self._reaper = reaper or self._own_reaper
        self._places = asyncio.Semaphore(connections_max)
        self._channels: dict[asyncio.Task[None], AsyncioChannel | None] = {}
        self._acceptor = asyncio.create_task(self._accept_all(), name="estab-accept")

    @property
    def connections(self) -> int:
        """How many connections are being handled."""
        return len(self._channels)

    async def wait(self) -> None:
        """Wait until the server is stopped by another task."""
        await asyncio.wait([self._acceptor])

    async def stop(self, grace: int | float | str = "10s") -> Stopped:
        """Stop: no new connections; every handler's stream ends; after ``grace`` what is left is cut. Once only.

        A handler sees the end of its stream after the messages that have arrived, and can still answer them.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + duration_ns(grace, "grace") / SECOND
        self._is_stopping = True
        self._acceptor.cancel()
        await asyncio.wait([self._acceptor])
        self.listener.close()
        for channel in self._channels.values():
            if channel is not None:
                channel.stop_receiving()
        late: set[asyncio.Task[None]] = set()
        if self._channels:
            _, late = await asyncio.wait(list(self._channels), timeout=max(0.0, due - loop.time()))
        for task in late:
            left = self._channels.get(task)
            if left is not None:
                left.writer.transport.abort()
            task.cancel()
        if late:
            await asyncio.wait(late)
        clean_up = None
        if self._own_reaper is not None:
            clean_up = await self._own_reaper.drain(max(0.0, due - loop.time()))
        return Stopped(self.finished, self.failed, len(late), clean_up)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_stopping:
            await self.stop()

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                sock, address = await loop.sock_accept(self.listener)
            except OSError as error:
                self._places.release()
                if isinstance(error, ConnectionAbortedError):
                    continue
                self._note_accept_error(error)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            self.accepted += 1
            task = asyncio.create_task(self._serve(sock, address), name=f"estab-{peer_name(address)}")
            self._channels[task] = None
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._channels[task]
        self._places.release()

    async def _serve(self, sock: socket.socket, address: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            no_delay(sock)
            reader, writer = await asyncio.open_connection(sock=sock)
            channel = AsyncioChannel(reader, writer, self._codec(), reaper=self._reaper, **self._options)
        except Exception as error:
            sock.close()
            self._report(error, peer_name(address))
            return
        self._channels[task] = channel
        if self._is_stopping:
            channel.stop_receiving()
        try:
            await self._handler(channel)
        except (Exception, SystemExit) as error:  # a SystemExit would end the loop, and all other connections
            if error is not channel.fault:
                self._report(as_failure(error, "a handler"), channel)
                return
        finally:
            with contextlib.suppress(OSError):
                await channel.close()
        self.finished += 1

    def _report(self, error: Exception, channel: Any) -> None:
        self.failed += 1
        self._tell(error, channel)


async def serve_asyncio(
    handler: AsyncHandler, address: tuple[str, int] | socket.socket, codec: Callable[[], Codec], *,
    connections_max: int = 1000, backlog: int = 128, heartbeat: Heartbeat | None = None,
    receive_timeout: int | float | str | None = "10min", send_timeout: int | float | str | None = "30s",
    close_at_end: bool = True, reaper: AsyncioReaper | None = None, on_error: OnError | None = None,
) -> AsyncioServer:
    """Listen on ``address`` and await ``handler(channel)`` in a task for each connection. Returns the running server.

    The arguments are those of ``serve``; the channels are ``AsyncioChannel``s.
    """
    options: dict[str, Any] = {
        "heartbeat": heartbeat, "receive_timeout": receive_timeout, "send_timeout": send_timeout,
        "close_at_end": close_at_end,
    }
    with open_listener(address, backlog) as listener:
        return AsyncioServer(handler, listener, codec, connections_max, options, reaper, on_error)
