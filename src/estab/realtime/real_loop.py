"""asyncio on a host in real time: as in virtual time, and the operating system's pipes, processes and signals work too.

Pipes, processes, signals and Unix sockets are the system's. A process has the system's network, not the host's.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from estab.sockets import names
from estab.sockets.polling.event_loop import EventLoop

__all__ = ["RealEventLoop"]

_System = asyncio.SelectorEventLoop


class RealEventLoop(EventLoop):
    """An event loop of programs on a host in real time."""

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                          flags: int = 0) -> Any:
        """Look a name up, in a thread."""
        look_up = functools.partial(names.getaddrinfo, self._runtime, host, port, family, type, proto, flags)
        return await self.run_in_executor(None, look_up)

    def close(self) -> None:
        """Close the loop, and restore the signals' handlers."""
        if not self.is_running():
            for sig in list(self._signals):
                self.remove_signal_handler(sig)
        super().close()

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a program."""
        return await _System.subprocess_exec(self, protocol_factory, *args, **kwargs)

    async def subprocess_shell(self, protocol_factory: Any, cmd: Any, **kwargs: Any) -> Any:
        """Start a shell."""
        return await _System.subprocess_shell(self, protocol_factory, cmd, **kwargs)

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect to a Unix socket."""
        return await _System.create_unix_connection(self, *args, **kwargs)

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> Any:
        """Listen on a Unix socket."""
        return await _System.create_unix_server(self, *args, **kwargs)

    async def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """Read from a pipe."""
        return await _System.connect_read_pipe(self, protocol_factory, pipe)

    async def connect_write_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """Write to a pipe."""
        return await _System.connect_write_pipe(self, protocol_factory, pipe)
