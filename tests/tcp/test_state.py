"""The diagram drives: a state changes along an edge of the table, and along no other."""

from __future__ import annotations

import itertools

import pytest

from estab.tcp.arriving.transitions import set_state
from estab.tcp.connection import Connection
from estab.tcp.state import EDGES, State, has_edge
from tests.kit.peer import Peer

PAIRS = list(itertools.product(State, State))


def connection_in(state: State) -> Connection:
    """Make a connection in a state."""
    demux = Peer().demux
    made = demux.unopened(demux.new_options())
    made.state = state
    return made


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_an_edge_of_the_diagram_is_taken(old: State, new: State) -> None:
    connection = connection_in(old)
    assert has_edge(old, new) == ((old, new) in EDGES)
    if (old, new) in EDGES:
        set_state(connection, new, "a test")
        assert connection.state == new
    else:
        with pytest.raises(AssertionError, match=f"no edge from {old} to {new}"):
            set_state(connection, new, "a test")
        assert connection.state == old
