"""What a connection with something to send spends its time on (RFC 4898's sender limits, as Linux's tcp_chrono).

One stopwatch runs while something is unacknowledged or waits to be sent: on the send buffer if that is too small for
the window, on the peer's window if that is shut or too small for the next segment, else on mere being busy. The
three are ``tcpi_sndbuf_limited``, ``tcpi_rwnd_limited`` and, together, ``tcpi_busy_time``. While it runs, the sum of
what time is spent on is less by the time at which that began: no field is needed for it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from estab.tcp.record.measured import Traffic
from estab.tcp.record.parts import traffic_of, troubles_of
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.troubles import NO_TROUBLES, Troubles

__all__ = ["BUSY", "IDLE", "PEER_WINDOW", "SEND_BUFFER", "spent_ns", "spent_on", "start", "stop", "stop_if_idle"]

IDLE: Final = 0
BUSY: Final = 1
PEER_WINDOW: Final = 2
SEND_BUFFER: Final = 3


def start(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Begin to spend time on ``what``, unless on something of higher rank already."""
    traffic = traffic_of(tcb)
    if what > i64(traffic.chrono):
        _switch(tcb, traffic, what, now_ns)


def stop(tcb: Tcb, what: i64, now_ns: i64) -> None:
    """Spend no more time on ``what``: on being busy, or on nothing if nothing is left to send."""
    traffic = tcb.traffic
    if traffic is not None and i64(traffic.chrono) == what:
        _switch(tcb, traffic, BUSY if tcb.sent is not None or tcb.unsent is not None else IDLE, now_ns)


def stop_if_idle(tcb: Tcb, now_ns: i64) -> None:
    """Everything may be acknowledged: then there is nothing to be busy with."""
    traffic = tcb.traffic
    if traffic is not None and traffic.chrono != IDLE and tcb.sent is None and tcb.unsent is None:
        _switch(tcb, traffic, IDLE, now_ns)


def spent_on(tcb: Tcb) -> i64:
    """Return what time is spent on now."""
    traffic = tcb.traffic
    if traffic is None:
        return IDLE
    return i64(traffic.chrono)


def spent_ns(tcb: Tcb, what: i64, now_ns: i64) -> i64:
    """Return the time spent on ``what`` until now."""
    traffic = tcb.traffic
    if traffic is None:
        return 0
    spent = traffic.busy_ns
    if what != BUSY:
        troubles = NO_TROUBLES if tcb.troubles is None else tcb.troubles
        spent = troubles.peer_window_ns if what == PEER_WINDOW else troubles.send_buffer_ns
    if i64(traffic.chrono) == what:
        spent += now_ns
    return spent


def _switch(tcb: Tcb, traffic: Traffic, what: i64, now_ns: i64) -> None:
    if traffic.chrono == BUSY:
        traffic.busy_ns += now_ns
    elif traffic.chrono != IDLE:
        _add_waiting(troubles_of(tcb), i64(traffic.chrono), now_ns)
    if what == BUSY:
        traffic.busy_ns -= now_ns
    elif what != IDLE:
        _add_waiting(troubles_of(tcb), what, -now_ns)
    traffic.chrono = u8(what)


def _add_waiting(troubles: Troubles, what: i64, time_ns: i64) -> None:
    if what == PEER_WINDOW:
        troubles.peer_window_ns += time_ns
    else:
        troubles.send_buffer_ns += time_ns
