"""The descriptor of an epoll object: readable while something that it watches is ready (epoll(7))."""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import i64

from estab.abi import AF_UNIX, POLLIN
from estab.host.sockets.files import Descriptor, Files

__all__ = ["EpollDescriptor"]


class EpollDescriptor(Descriptor):
    """What the number of an epoll object stands for. ``is_ready`` tells whether the object would return something."""

    def __init__(self, files: Files, is_ready: Callable[[], bool]) -> None:
        super().__init__(AF_UNIX, 0, "epoll")
        self.files: Files = files
        self._is_ready: Callable[[], bool] = is_ready

    @property
    def netid(self) -> str:
        """What facts call it: ``epoll``."""
        return self.protocol

    def readiness(self) -> i64:
        """POLL bits that hold now."""
        return POLLIN if self._is_ready() else 0

    def note_news(self) -> None:
        """Report news of the descriptor: what it watches has some."""
        self.files.context.wake(self)

    def close(self, now_ns: i64) -> None:
        """Release the descriptor."""
        self.files.context.now_ns = now_ns
        self.files.release(self)
