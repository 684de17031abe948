"""The eleven states of RFC 9293 section 3.3.2 and the edges between them.

The numbers are Linux's (``tcp_info.tcpi_state``). Hot code compares with the plain constants of ``abi``; ``State`` is
for people and for the outer faces. ``EDGES`` is the diagram: whatever the engine does, a state takes only these.
"""

from __future__ import annotations

import enum
from typing import Final

from mypy_extensions import i64

from estab import abi

__all__ = ["EDGES", "State", "has_edge", "is_synchronized", "state_text"]


class State(enum.IntEnum):
    """A TCP state; ``str(state)`` is how the RFC writes it."""

    ESTABLISHED = abi.ESTABLISHED
    SYN_SENT = abi.SYN_SENT
    SYN_RECEIVED = abi.SYN_RECEIVED
    FIN_WAIT_1 = abi.FIN_WAIT_1
    FIN_WAIT_2 = abi.FIN_WAIT_2
    TIME_WAIT = abi.TIME_WAIT
    CLOSED = abi.CLOSED
    CLOSE_WAIT = abi.CLOSE_WAIT
    LAST_ACK = abi.LAST_ACK
    LISTEN = abi.LISTEN
    CLOSING = abi.CLOSING

    def __str__(self) -> str:
        return state_text(int(self))


_TEXTS: Final = [
    "", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING",
]


def state_text(state: i64) -> str:
    """Write a state as the RFC does: ``SYN-RECEIVED``."""
    return _TEXTS[state]


def is_synchronized(state: i64) -> bool:
    """Tell whether both sides have agreed on sequence numbers (RFC 9293 section 3.5.3, group 3)."""
    return state != abi.CLOSED and state != abi.LISTEN and state != abi.SYN_SENT and state != abi.SYN_RECEIVED


EDGES: Final[frozenset[tuple[State, State]]] = frozenset({
    (State.CLOSED, State.LISTEN),
    (State.CLOSED, State.SYN_SENT),
    (State.LISTEN, State.SYN_RECEIVED),
    (State.LISTEN, State.SYN_SENT),
    (State.LISTEN, State.CLOSED),
    (State.SYN_SENT, State.SYN_RECEIVED),
    (State.SYN_SENT, State.ESTABLISHED),
    (State.SYN_SENT, State.CLOSED),
    (State.SYN_RECEIVED, State.ESTABLISHED),
    (State.SYN_RECEIVED, State.FIN_WAIT_1),
    (State.SYN_RECEIVED, State.CLOSE_WAIT),
    (State.SYN_RECEIVED, State.LISTEN),
    (State.SYN_RECEIVED, State.CLOSED),
    (State.ESTABLISHED, State.FIN_WAIT_1),
    (State.ESTABLISHED, State.CLOSE_WAIT),
    (State.ESTABLISHED, State.CLOSED),
    (State.FIN_WAIT_1, State.FIN_WAIT_2),
    (State.FIN_WAIT_1, State.CLOSING),
    (State.FIN_WAIT_1, State.TIME_WAIT),
    (State.FIN_WAIT_1, State.CLOSED),
    (State.FIN_WAIT_2, State.TIME_WAIT),
    (State.FIN_WAIT_2, State.CLOSED),
    (State.CLOSE_WAIT, State.LAST_ACK),
    (State.CLOSE_WAIT, State.CLOSED),
    (State.CLOSING, State.TIME_WAIT),
    (State.CLOSING, State.CLOSED),
    (State.LAST_ACK, State.CLOSED),
    (State.TIME_WAIT, State.CLOSED),
})
"""Every edge of the RFC's diagram, with the ones its text adds (a reset or a timeout closes from any state)."""


def _targets(state: State) -> int:
    """Return the states that follow ``state`` by one edge, a bit each."""
    bits = 0
    for old, new in EDGES:
        if old == state:
            bits |= 1 << int(new)
    return bits


_TARGETS: Final[list[int]] = [_targets(State(number)) if number > 0 else 0 for number in range(len(_TEXTS))]
"""The same table for the engine: by the number of a state, the bits of those that follow."""


def has_edge(old: i64, new: i64) -> bool:
    """Tell whether the diagram has an edge from one state to another."""
    targets: i64 = _TARGETS[old]
    return (targets >> new) & 1 == 1
