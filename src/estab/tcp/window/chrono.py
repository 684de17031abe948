"""What a connection with something to send spends its time on (RFC 4898's sender limits, as Linux's tcp_chrono).

One stopwatch runs while something is unacknowledged or waits to be sent: on the send buffer if that is too small for
the window, on the peer's window if that is shut or too small for the next segment, else on mere being busy. The
three are ``tcpi_sndbuf_limited``, ``tcpi_rwnd_limited`` and, together, ``tcpi_busy_time``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.measured import Usage
from estab.tcp.record.parts import usage_of
from estab.tcp.record.tcb import Tcb

__all__ = ["BUSY", "IDLE", "PEER_WINDOW", "SEND_BUFFER", "spent_ns", "spent_on", "start", "stop", "stop_if_idle"]

IDLE: Final = 0
BUSY: Final = 1
PEER_WINDOW: Final = 2
SEND_BUFFER: Final = 3


def start(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Begin to spend time on ``what``, unless on something of higher rank already."""
    usage = usage_of(tcb)
    if what > usage.chrono:
        _switch(usage, what, now_ns)


def stop(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Spend no more time on ``what``: on being busy, or on nothing if nothing is left to send."""
    usage = tcb.usage
    if usage is not None and usage.chrono == what:
        _switch(usage, BUSY if tcb.sent is not None or tcb.unsent is not None else IDLE, now_ns)


def stop_if_idle(tcb: Tcb, now_ns: i64) -> None:
    """Everything may be acknowledged: then there is nothing to be busy with."""
    usage = tcb.usage
    if usage is not None and usage.chrono != IDLE and tcb.sent is None and tcb.unsent is None:
        _switch(usage, IDLE, now_ns)


def spent_on(tcb: Tcb) -> i64:
    """Return what time is spent on now."""
    usage = tcb.usage
    return IDLE if usage is None else usage.chrono


def spent_ns(tcb: Tcb, what: i64, now_ns: i64) -> i64:
    """Return the time spent on ``what`` until now."""
    usage = tcb.usage
    if usage is None:
        return 0
    spent = usage.busy_ns
    if what == PEER_WINDOW:
        spent = usage.peer_window_ns
    elif what == SEND_BUFFER:
        spent = usage.send_buffer_ns
    if usage.chrono == what:
        spent += now_ns - usage.chrono_ns
    return spent


def _switch(usage: Usage, what: i64, now_ns: i64) -> None:
    spent = now_ns - usage.chrono_ns
    if usage.chrono == BUSY:
        usage.busy_ns += spent
    elif usage.chrono == PEER_WINDOW:
        usage.peer_window_ns += spent
    elif usage.chrono == SEND_BUFFER:
        usage.send_buffer_ns += spent
    usage.chrono = what
    usage.chrono_ns = now_ns
