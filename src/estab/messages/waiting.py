"""One wait for a socket: until it is ready, or a time has passed."""

from __future__ import annotations

import select
from typing import Final, Protocol

from estab.units import MS, NEVER

__all__ = ["READABLE", "WRITABLE", "wait_ready"]

READABLE: Final = 1
WRITABLE: Final = 4
"""The numbers of ``POLLIN`` and ``POLLOUT``, also if there is no ``poll``."""
_POLL_MS_MAX: Final = 86_400_000


class _HasDescriptor(Protocol):
    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""


def wait_ready(sock: _HasDescriptor, wants: int, for_ns: int) -> bool:
    """Wait until the socket is ready for one of ``wants``, broken or closed, or the time has passed (then False)."""
    timeout_ms = None if for_ns >= NEVER // 2 else min(max(0, -(-for_ns // MS)), _POLL_MS_MAX)
    try:
        return _poll(sock, wants, timeout_ms) if hasattr(select, "poll") else _select(sock, wants, timeout_ms)
    except ValueError:  # closed by another thread meanwhile: the next call on it says so
        return True


# The module's functions are looked up at each call, because another stack may have replaced them.


def _poll(sock: _HasDescriptor, wants: int, timeout_ms: int | None) -> bool:
    poll = select.poll()
    poll.register(sock, wants)
    return bool(poll.poll(timeout_ms))


def _select(sock: _HasDescriptor, wants: int, timeout_ms: int | None) -> bool:
    readers = [sock] if wants & READABLE else []
    writers = [sock] if wants & WRITABLE else []
    return any(select.select(readers, writers, [sock], None if timeout_ms is None else timeout_ms / 1000))
