"""What a program waits for, what a call that sends without waiting counts, and the lock of a host that only one thread
uses. Compiled with the core.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Final

__all__ = ["CHUNK_BYTES", "SEND_WEIGHT", "Unlocked", "Wait", "never"]

SEND_WEIGHT: Final = 10
"""What a call that sends without waiting counts for ``Runtime.spin``."""
CHUNK_BYTES: Final = 262_144
"""The part of a longer buffer that the host gets at once."""


def never() -> bool:
    """Return ``False``."""
    return False


class Wait:
    """What a program waits for, and how long.

    ``is_ready`` is called again when descriptor ``fd`` of the host has news; with ``fd`` -1, whenever the host has done
    anything; below -1, when the channel of that number is notified. ``describe`` says in words what is waited for.
    """

    def __init__(
        self, is_ready: Callable[[], bool], describe: Callable[[], str], deadline_ns: int | None = None, fd: int = -1,
        is_serving: Callable[[], bool] = never, os_fd: int = -1, loop: AbstractEventLoop | None = None,
    ) -> None:
        self.is_ready: Callable[[], bool] = is_ready
        self.describe: Callable[[], str] = describe
        self.deadline_ns: int | None = deadline_ns
        self.fd: int = fd
        self.is_serving: Callable[[], bool] = is_serving
        """Whether it waits for new clients, as a server does: on a listener, or an unconnected datagram socket."""
        self.os_fd: int = os_fd
        """A descriptor of the operating system that ends the wait, too, once it is readable. In real time only."""
        self.loop: AbstractEventLoop | None = loop
        """The event loop that waits; ``None``: no loop does."""


class Unlocked:
    """A lock that locks nothing, for a host whose programs never run at the same time."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        return
