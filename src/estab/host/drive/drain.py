"""Draining a host after an input: each frame goes to its device, each event to what waits for it."""

from __future__ import annotations

from collections.abc import Callable

from estab.host.engine import Engine
from estab.host.ip.interface import Outbound

__all__ = ["drain"]


def drain(engine: Engine, now_ns: int, send: Callable[[Outbound], None], tell: Callable[[int, int], None]) -> int:
    """Take all frames and events that wait in ``engine``. Returns its next deadline, ``NEVER`` if it has none."""
    while (outbound := engine.poll_frame(now_ns)) is not None:
        send(outbound)
    while (event := engine.poll_event()) is not None:
        tell(event[0], event[1])
    return engine.next_deadline_ns()
