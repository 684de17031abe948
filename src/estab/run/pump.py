"""The pump: the one loop that drains a host after each input. The lab and the wire both turn it.

In goes a frame, a deadline or a program's call; then ``drain`` hands every frame to ``send``, every readiness event to
``tell``, and says when the host wants to be woken next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estab.host.host import Host
    from estab.host.interface import Outbound

__all__ = ["drain"]


def drain(host: Host, now_ns: int, send: Callable[[Outbound], None], tell: Callable[[int, int], None]) -> int:
    """Take all frames and events that wait in ``host``. Returns its next deadline, ``NEVER`` where it has none."""
    while (outbound := host.poll_frame(now_ns)) is not None:
        send(outbound)
    while (event := host.poll_event()) is not None:
        tell(event[0], event[1])
    return host.next_deadline_ns()
