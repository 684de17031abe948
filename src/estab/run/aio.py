"""asyncio on a host: its own ``SelectorEventLoop`` over a selector of ours.

Transports, streams, TLS and ``sock_*`` are CPython's. Different here: the clock is the host's, names are looked up at
once and without threads, and what the operating system would have to do fails with a sentence.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from estab.sockets import names
from estab.sockets.selector import Selector
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.sockets.kernel import Kernel

__all__ = ["EventLoop"]


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop of one host's programs."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._wakeable = Selector(kernel)
        super().__init__(self._wakeable)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Give the host's monotonic clock in seconds."""
        return self._kernel.now_ns() / SECOND

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                          flags: int = 0) -> Any:
        """Look a name up in the host's network."""
        return names.getaddrinfo(self._kernel, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Find the name of an address in the host's network."""
        return names.getnameinfo(self._kernel, sockaddr, flags)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> NoReturn:  # type: ignore[override]
        """Raise: signals come to the process, not to a host."""
        raise NotImplementedError("signals come to the process; a program on a host of estab has none of its own")

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: a process of the operating system has its network, not the host's."""
        raise NotImplementedError("a subprocess would use the operating system's network and clock, not the host's: "
                                  "run the other program by @host.run")

    async def subprocess_shell(self, protocol_factory: Any, cmd: Any, **kwargs: Any) -> NoReturn:
        """Raise: a process of the operating system has its network, not the host's."""
        await self.subprocess_exec(protocol_factory)

    # Instead of writing to a socket pair to itself, the loop wakes its selector.

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._wakeable.wake()

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: hosts of estab have no Unix sockets."""
        raise NotImplementedError("a host of estab speaks TCP and UDP; it has no Unix sockets")

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: hosts of estab have no Unix sockets."""
        raise NotImplementedError("a host of estab speaks TCP and UDP; it has no Unix sockets")
