"""Waiting until the peer has acknowledged all that was written: in a call that blocks, or in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from typing import TYPE_CHECKING

from estab.abi import CLOSED
from estab.errors import os_error

if TYPE_CHECKING:
    from estab.host.sockets.stream import StreamSocket
    from estab.sockets.runtime import Runtime

__all__ = ["check", "is_over", "running_loop", "wait_in_loop"]


def is_over(host: StreamSocket) -> bool:
    """Tell whether there is nothing to wait for: everything is acknowledged, or never will be."""
    return host.fd < 0 or host.outq_bytes == 0 or host.state == CLOSED


def check(host: StreamSocket) -> None:
    """Raise if the wait ended without the acknowledgment: EBADF, the connection's error, or EPIPE."""
    if host.fd < 0:
        raise os_error(errno.EBADF, "bad file descriptor: the socket was closed meanwhile")
    number = host.take_error()
    if number:
        raise os_error(number, host.error_text())
    if host.outq_bytes:
        raise os_error(errno.EPIPE, f"broken pipe: {host.outq_bytes} bytes of {host.text()} unacknowledged")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def wait_in_loop(runtime: Runtime, host: StreamSocket, timeout: float | None,
                 loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Return a future that is done when the wait is over."""
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if future.done():
            return
        try:
            if runtime.is_over:
                raise runtime.down_error(f"wait_acked() on {host.text()}")
            check(host)
        except OSError as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    def look() -> None:
        if is_over(host) or runtime.is_over:
            forget()
            with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits any more
                loop.call_soon_threadsafe(settle)

    def forget() -> None:
        with runtime.lock:
            if look in runtime.hooks:
                runtime.hooks.remove(look)

    def expire() -> None:
        if not future.done():
            future.set_exception(TimeoutError("timed out"))

    timer = loop.call_later(timeout, expire) if timeout is not None else None

    def finish(done: asyncio.Future[None]) -> None:
        forget()
        if timer is not None:
            timer.cancel()

    future.add_done_callback(finish)
    with runtime.lock:
        runtime.flush()
        if is_over(host) or runtime.is_over:
            settle()
        else:
            runtime.hooks.append(look)
    return future
