"""What a script's descriptors stand for. Numbers are the script's own and have nothing to do with the host's."""

from __future__ import annotations

from dataclasses import dataclass, field

from estab.abi import POLLERR, POLLHUP
from estab.drill.machine.flow import Flow
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket

__all__ = ["Epoll", "File", "PipeEnd", "PlainFile", "Socket", "SocketFile", "Watch"]

Socket = StreamSocket | DatagramSocket
_EDGE = 1 << 31
_ONESHOT = 1 << 30


@dataclass(slots=True)
class File:
    """An open descriptor. ``flags`` are those of F_GETFL."""

    flags: int = 2

    @property
    def is_nonblocking(self) -> bool:
        """O_NONBLOCK is set."""
        return bool(self.flags & 0o4000)


@dataclass(slots=True)
class SocketFile(File):
    """A socket of the host under test, and the flow that it is to the wire."""

    socket: Socket = None  # type: ignore[assignment]
    flow: Flow = None  # type: ignore[assignment]


@dataclass(slots=True)
class PlainFile(File):
    """A file that ``open`` gave; it holds zeros. ``size`` is what is left of it."""

    size: int = 0


@dataclass(slots=True)
class PipeEnd(File):
    """One end of a pipe: both share the list that holds its octets."""

    content: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Watch:
    """What an epoll descriptor has registered for one socket. ``data`` is the program's own: a name and a number.

    ``has_news``: the socket had news since it was last told, which is when an edge (EPOLLET) is told again.
    """

    file: SocketFile
    events: int
    data: tuple[str, int]
    has_news: bool = True


@dataclass(slots=True)
class Epoll(File):
    """An epoll descriptor: what it watches, by the script's descriptors."""

    watches: dict[int, Watch] = field(default_factory=dict)

    def on_news(self, fd: int) -> None:
        """Note news of the host's descriptor ``fd``."""
        for watch in self.watches.values():
            if watch.file.socket.fd == fd:
                watch.has_news = True

    def ready(self) -> list[tuple[Watch, int]]:
        """Return what is ready, and note that it was told."""
        found: list[tuple[Watch, int]] = []
        for watch in self.watches.values():
            bits = int(watch.file.socket.readiness()) & (watch.events & 0xFFFFFFF | POLLERR | POLLHUP)
            if (watch.events & _EDGE and not watch.has_news) or not watch.events & 0xFFFFFFF:
                continue
            watch.has_news = False
            if bits:
                found.append((watch, bits))
                if watch.events & _ONESHOT:
                    watch.events &= ~0xFFFFFFF
        return found
