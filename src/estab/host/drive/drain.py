"""Emptying a host after an input: every frame to where it goes, every readiness event to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

from estab.host.host import Host
from estab.host.ip.interface import Outbound

__all__ = ["drain"]


def drain(host: Host, now_ns: int, send: Callable[[Outbound], None], tell: Callable[[int, int], None]) -> int:
    """Take all frames and events that wait in ``host``. Returns its next deadline, ``NEVER`` where it has none."""
    while (outbound := host.poll_frame(now_ns)) is not None:
        send(outbound)
    while (event := host.poll_event()) is not None:
        tell(event[0], event[1])
    return host.next_deadline_ns()
