"""What a connection with something to send spends its time on (RFC 4898's sender limits, as Linux's tcp_chrono).

One stopwatch runs while something is unacknowledged or waits to be sent: on the send buffer if that is too small for
the window, on the peer's window if that is shut or too small for the next segment, else on mere being busy. The
three are ``tcpi_sndbuf_limited``, ``tcpi_rwnd_limited`` and, together, ``tcpi_busy_time``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.tcb import Tcb

__all__ = ["BUSY", "IDLE", "PEER_WINDOW", "SEND_BUFFER", "spent_ns", "start", "stop", "stop_if_idle"]

IDLE: Final = 0
BUSY: Final = 1
PEER_WINDOW: Final = 2
SEND_BUFFER: Final = 3


def start(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Begin to spend time on ``what``, unless on something of higher rank already."""
    if what > tcb.chrono:
        _switch(tcb, what, now_ns)


def stop(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Spend no more time on ``what``: on being busy, or on nothing if nothing is left to send."""
    if tcb.chrono == what:
        _switch(tcb, BUSY if tcb.sent is not None or tcb.unsent is not None else IDLE, now_ns)


def stop_if_idle(tcb: Tcb, now_ns: i64) -> None:
    """Everything may be acknowledged: then there is nothing to be busy with."""
    if tcb.chrono != IDLE and tcb.sent is None and tcb.unsent is None:
        _switch(tcb, IDLE, now_ns)


def spent_ns(tcb: Tcb, what: i64, now_ns: i64) -> i64:
    """Return the time spent on ``what`` until now."""
    spent = tcb.busy_ns
    if what == PEER_WINDOW:
        spent = tcb.peer_window_ns
    elif what == SEND_BUFFER:
        spent = tcb.send_buffer_ns
    if tcb.chrono == what:
        spent += now_ns - tcb.chrono_ns
    return spent


def _switch(tcb: Tcb, what: i64, now_ns: i64) -> None:
    spent = now_ns - tcb.chrono_ns
    if tcb.chrono == BUSY:
        tcb.busy_ns += spent
    elif tcb.chrono == PEER_WINDOW:
        tcb.peer_window_ns += spent
    elif tcb.chrono == SEND_BUFFER:
        tcb.send_buffer_ns += spent
    tcb.chrono = what
    tcb.chrono_ns = now_ns
