"""What an event loop asks of a socket most often, without the exceptions that tell a program that it has to wait."""

from __future__ import annotations

from typing import Any

from estab.sockets.socket.addresses import numeric

__all__ = ["accept_at_once", "connect_at_once"]


def accept_at_once(self: Any) -> tuple[Any, Any] | OSError | None:
    """Take a connection for an event loop, one that does not block. ``None``: ``accept`` has to. Returns EAGAIN."""
    quick, file = self.runtime.quick, self._file
    if quick is None or file is None or self._timeout != 0.0:
        return None
    try:
        taken = quick.accept(file, 0.0)
    except OSError:
        return None
    if taken is None or isinstance(taken, OSError):
        return taken
    made = self._wrap(self.runtime, taken[0], self)
    made._timeout = 0.0
    return made, taken[1]


def connect_at_once(self: Any, address: Any) -> OSError | bool:
    """Connect for an event loop. Returns what ``connect`` would raise. ``False``: nothing was done."""
    runtime, file = self.runtime, self._file
    quick = runtime.quick
    if quick is None or file is None or self._timeout != 0.0 or runtime.is_over:
        return False
    try:
        target = numeric(runtime, self._family, address, "connect")
    except Exception:
        return False
    result: OSError | bool = quick.connect(file, target, False)
    return result
