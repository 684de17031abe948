"""asyncio on a host in real time: as in virtual time, and beside the host's sockets the operating system's things work.

Pipes, processes, signals and Unix sockets are the system's; a process has the system's network, not the host's.
"""

from __future__ import annotations

import asyncio
import functools
import signal
from typing import TYPE_CHECKING, Any

from estab.sockets import names
from estab.sockets.polling.event_loop import EventLoop

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["RealEventLoop"]

_System = asyncio.SelectorEventLoop


class RealEventLoop(EventLoop):
    """An event loop of programs on a host in real time."""

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is not None:
            self._signals: set[int] = set()
        super().__init__(runtime)

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                          flags: int = 0) -> Any:
        """Look a name up, in a thread."""
        look_up = functools.partial(names.getaddrinfo, self._runtime, host, port, family, type, proto, flags)
        return await self.run_in_executor(None, look_up)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Have a signal call back in the loop. In the main thread only."""
        signal.signal(sig, lambda number, frame: self._on_signal(callback, args))
        self._signals.add(sig)

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo ``add_signal_handler``. ``False`` where there is nothing to undo."""
        if sig not in self._signals:
            return False
        self._signals.discard(sig)
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def close(self) -> None:
        """Close the loop; signals do again what they did without it."""
        if not self.is_running():
            for sig in list(self._signals):
                self.remove_signal_handler(sig)
        super().close()

    def _on_signal(self, callback: Any, args: tuple[Any, ...]) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(callback, *args)

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
