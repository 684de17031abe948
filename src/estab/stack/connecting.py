"""Opening a connection of a stack: to the first address of a name that takes it, one after the other or as a race.

The race is that of happy eyeballs (RFC 8305): each attempt begins a while after the one before, or as soon as that has
failed; the first that succeeds wins, and the others are given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket as os_socket
from collections import deque
from typing import TYPE_CHECKING

from estab.errors import explain, os_error
from estab.sockets.names import AddrInfo
from estab.sockets.socket.socket import Socket
from estab.stack.waiting import resolve, sock_connect

if TYPE_CHECKING:
    from estab.realtime.real import RealTime
    from estab.stack.arguments import Connecting

__all__ = ["connect", "interleaved"]


async def connect(runtime: RealTime, host: str | None, port: int | str | None, options: Connecting) -> Socket:
    """Connect, and return a socket that does not block. ``OSError``, with ``all_errors`` an ``ExceptionGroup``."""
    found = await resolve(runtime, host, port, options.family, os_socket.SOCK_STREAM, options.proto, options.flags)
    if options.step():
        found = interleaved(found, options.step())
    local: list[AddrInfo] | None = None
    if options.local_addr is not None:
        local = await resolve(runtime, options.local_addr[0], options.local_addr[1], options.family,
                              os_socket.SOCK_STREAM, options.proto, options.flags)
    errors: list[OSError] = []
    delay_s = options.happy_eyeballs_delay
    if delay_s is None:
        for info in found:
            socket = await _try(runtime, info, local, errors)
            if socket is not None:
                return socket
    else:
        socket = await _race(runtime, found, local, errors, delay_s)
        if socket is not None:
            return socket
    if options.all_errors:
        raise ExceptionGroup("create_connection failed", errors)
    raise _one_of(errors)


def interleaved(found: list[AddrInfo], step: int) -> list[AddrInfo]:
    """Alternate the families of addresses: ``step`` of the first family before the first of another."""
    families: dict[int, deque[AddrInfo]] = {}
    for info in found:
        families.setdefault(info[0], deque()).append(info)
    result: list[AddrInfo] = []
    if families:
        first = next(iter(families.values()))
        for _ in range(min(step - 1, len(first))):
            result.append(first.popleft())
    while any(families.values()):
        result += [waiting.popleft() for waiting in families.values() if waiting]
    return result


async def _try(runtime: RealTime, info: AddrInfo, local: list[AddrInfo] | None, errors: list[OSError]) -> Socket | None:
    """Connect to one address. ``None`` if that failed; ``errors`` then has the reason."""
    family, kind, proto, _, address = info
    socket = Socket(family, kind, proto, runtime=runtime)
    try:
        socket.setblocking(False)
        if local is not None:
            _bind(socket, local)
        await sock_connect(socket, address)
    except OSError as error:
        socket.close()
        errors.append(error)
        return None
    except BaseException:
        socket.close()
        raise
    return socket


def _bind(socket: Socket, local: list[AddrInfo]) -> None:
    """Bind to the first address of the socket's family that can be had."""
    failure: OSError | None = None
    for family, _, _, _, address in local:
        if family != socket.family:
            continue
        try:
            socket.bind(address)
        except OSError as error:
            failure = os_error(error.errno or errno.EADDRNOTAVAIL,
                               f"error while attempting to bind on address {address!r}: {explain(error)}")
        else:
            return
    if failure is None:
        text = f"no matching local address with family={socket.family!r} found"
        failure = os_error(errno.EADDRNOTAVAIL, text)
    raise failure


async def _race(runtime: RealTime, found: list[AddrInfo], local: list[AddrInfo] | None, errors: list[OSError],
                delay_s: float) -> Socket | None:
    loop = asyncio.get_running_loop()
    left = deque(found)
    running: set[asyncio.Task[Socket | None]] = set()
    finished: list[asyncio.Task[Socket | None]] = []
    winner: Socket | None = None
    try:
        while winner is None and (left or running):
            if left:
                running.add(loop.create_task(_try(runtime, left.popleft(), local, errors)))
            done, running = await asyncio.wait(running, timeout=delay_s if left else None,
                                               return_when=asyncio.FIRST_COMPLETED)
            finished += done
            winner = next((made for task in done if (made := task.result()) is not None), None)
        return winner
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in (*finished, *running):
            with contextlib.suppress(asyncio.CancelledError):
                made = task.result()
                if made is not None and made is not winner:
                    made.close()


def _one_of(errors: list[OSError]) -> OSError:
    """Return the error to raise: the only one, or one that says them all."""
    if not errors:
        return OSError("getaddrinfo() returned empty list")
    if all(str(error) == str(errors[0]) for error in errors):
        return errors[0]
    return OSError(f"Multiple exceptions: {', '.join(str(error) for error in errors)}")
